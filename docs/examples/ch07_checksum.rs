//! Two echo requests, one with a wrong checksum: which one is answered?
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::time::Duration;

use sockeye::raw::{Access, Family, IcmpSocket};

fn main() -> Result<(), Box<dyn Error>> {
    // ANCHOR: wrong
    let socket = IcmpSocket::open(Family::V4, Access::Raw)?;
    let mut request = [0; 64];
    let len = socket.write_echo(&mut request, 1, b"salmon")?;
    for (name, flipped, patience_ms) in [("wrong", 1, 500), ("right", 0, 10_000)] {
        let patience = Duration::from_millis(patience_ms);
        request[2] ^= flipped;
        socket.send_to(&request[..len], "127.0.0.1:0".parse()?)?;
        request[2] ^= flipped;
        println!("checksum {name}: an answer: {}", socket.wait_readable(patience)?);
    }
    // ANCHOR_END: wrong
    Ok(())
}
