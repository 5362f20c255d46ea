//! Asks tally by MPTCP, and says what became of it. `ch08_mptcp [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use sockeye::tcp::{Mptcp, MptcpState, TcpStream};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:7009".to_owned())
        .parse()?;
    let mut stream = TcpStream::options().mptcp(Mptcp::Prefer).connect(at, PATIENCE)?;
    stream.write_all(b"salmon 3\n")?;
    stream.wait_readable(PATIENCE)?;
    let mut answer = [0; 100];
    let len = stream.read(&mut answer)?;
    print!("{}", String::from_utf8_lossy(&answer[..len]));
    match stream.mptcp()? {
        MptcpState::Active { extra_subflows } => {
            println!("MPTCP, with {extra_subflows} paths beside the first")
        }
        MptcpState::FellBack => println!("the other side has no MPTCP: this is TCP"),
        _ => println!("this kernel has no MPTCP: this is TCP"),
    }
    Ok(())
}
// ANCHOR_END: program
