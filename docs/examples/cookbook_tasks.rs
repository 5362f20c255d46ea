//! Tally as tokio would have it: a task for each client. `cookbook_tasks [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use counters::{Counters, MAX_LINE};

async fn serve(client: TcpStream, counters: Rc<RefCell<Counters>>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut line = Vec::new();
    loop {
        line.clear();
        // Without a limit a line is as long as its sender likes.
        let mut limited = (&mut client).take(MAX_LINE as u64 + 1);
        let read = timeout(Duration::from_secs(60), limited.read_until(b'\n', &mut line)).await??;
        if read == 0 || !line.ends_with(b"\n") {
            return Ok(()); // the end, half a line, or one that is too long
        }
        let answer = counters.borrow_mut().answer(line.trim_ascii_end()) + "\n";
        // Who does not read is ended.
        timeout(Duration::from_secs(2), client.write_all(answer.as_bytes())).await??;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let listener = TcpListener::bind(at).await?;
    println!("listening on {}", listener.local_addr()?);
    let counters = Rc::new(RefCell::new(Counters::default()));
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            loop {
                match listener.accept().await {
                    Ok((client, _)) => {
                        let counters = Rc::clone(&counters);
                        tokio::task::spawn_local(serve(client, counters));
                    }
                    // No descriptors, perhaps: a pause, or this spins.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        })
        .await
}
// ANCHOR_END: program
