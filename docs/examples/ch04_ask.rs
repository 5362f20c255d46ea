//! Asks tally over UDP, and asks again when no answer comes. `ch04_ask [ADDRESS [NAME [NUMBER]]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::time::Duration;

use sockeye::udp::UdpOptions;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let server = words.next().unwrap_or("127.0.0.1:7007".to_owned()).parse()?;
    let name = words.next().unwrap_or("salmon".to_owned());
    let number = words.next().unwrap_or("3".to_owned());

    // Connected: what comes from anybody else is not for us, and a refusal is told.
    let socket = UdpOptions::new().connect(None, server)?;
    let mut buffer = [0; 2048];
    for attempt in 1..=3 {
        socket.send(format!("{name} {number}").as_bytes())?;
        if socket.wait_readable(Duration::from_secs(1))? {
            let length = socket.recv(&mut buffer)?;
            println!("{}", String::from_utf8_lossy(&buffer[..length]));
            return Ok(());
        }
        println!("attempt {attempt}: no answer within a second");
    }
    Err("no answer".into())
}
// ANCHOR_END: program
