//! Many datagrams a system call: 64 requests go out together, and come in together. `ch04_batch`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye::udp::{Outgoing, RecvBatch, SendBatch, UdpSocket};

fn main() -> Result<(), Box<dyn Error>> {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let (client, server) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
    let to = server.local_addr()?;
    let requests: Vec<String> = (0..64).map(|number| format!("salmon {number}")).collect();

    let mut outbox = SendBatch::new(64);
    let report = client.send_batch(&mut outbox, 0..64, |at| Outgoing::to(to, requests[at].as_bytes()));
    println!("sent: {}", report.count);

    // Room for 64 datagrams of up to 128 bytes, allocated once.
    let mut inbox = RecvBatch::new(64, 128);
    server.wait_readable(Duration::from_secs(1))?;
    let count = server.recv_batch(&mut inbox)?;
    println!("received in one call: {count}");
    for request in inbox.iter().skip(count - 1) {
        println!("the last: {}", String::from_utf8_lossy(request.payload));
    }
    Ok(())
}
// ANCHOR_END: program
