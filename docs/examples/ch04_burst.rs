//! Sends bursts to a socket that nobody reads, and counts what is there afterwards. `ch04_burst [BYTES...]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::SocketAddr;

use sockeye::udp::UdpSocket;

const BURSTS: [u32; 9] = [1, 32, 64, 96, 128, 192, 256, 384, 512];

fn main() -> Result<(), Box<dyn Error>> {
    let mut sizes: Vec<usize> = std::env::args()
        .skip(1)
        .map(|word| word.parse())
        .collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![16, 1_000];
    }
    println!("bytes,sent,received");
    for size in sizes {
        for sent in BURSTS {
            println!("{size},{sent},{}", received(size, sent)?);
        }
    }
    Ok(())
}

/// How many of `sent` datagrams of `size` bytes can be read once all of them were sent.
fn received(size: usize, sent: u32) -> std::io::Result<u32> {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let (sender, receiver) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
    let payload = vec![0; size];
    for _ in 0..sent {
        // Each of them succeeds.
        sender.send_to(&payload, receiver.local_addr()?)?;
    }
    let mut count = 0;
    let mut buffer = [0; 1];
    while receiver.recv_from(&mut buffer).is_ok() {
        count += 1;
    }
    Ok(count)
}
// ANCHOR_END: program
