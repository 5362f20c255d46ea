//! Asks with an identifier, so that asking again counts once. `ch04_ex1_ask [ADDRESS [NAME [NUMBER]]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: identified
use std::error::Error;
use std::time::Duration;

use sockeye::udp::UdpOptions;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let server = words.next().unwrap_or("127.0.0.1:7007".to_owned()).parse()?;
    let name = words.next().unwrap_or("salmon".to_owned());
    let number = words.next().unwrap_or("3".to_owned());

    let socket = UdpOptions::new().connect(None, server)?;
    // A real program takes a random number here.
    let id = format!("{:x}", std::process::id());
    let mut buffer = [0; 2048];
    for attempt in 1..=3 {
        // The same id each time.
        socket.send(format!("{id} {name} {number}").as_bytes())?;
        while socket.wait_readable(Duration::from_secs(1))? {
            let length = socket.recv(&mut buffer)?;
            let answer = String::from_utf8_lossy(&buffer[..length]);
            // An answer to an older request may come late: it has another id, and is not ours.
            if let Some(answer) = answer.strip_prefix(&format!("{id} ")) {
                println!("{answer}");
                return Ok(());
            }
        }
        println!("attempt {attempt}: no answer within a second");
    }
    Err("no answer".into())
}
// ANCHOR_END: identified
