//! What takes control messages and an error queue in C: who was asked, and which datagram was refused. `cookbook_c`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye::udp::{Metadata, Outgoing, QueueEntry, UdpOptions};

fn main() -> Result<(), Box<dyn Error>> {
    // IP_PKTINFO and IP_RECVTTL for both families; the control buffer is as large as they need.
    let server = UdpOptions::new()
        .metadata(Metadata::DESTINATION | Metadata::HOP_LIMIT)
        .bind("0.0.0.0:0".parse()?)?;
    // IP_RECVERR: without it nobody says which datagram an error is about.
    let client = UdpOptions::new().error_queue(true).bind("127.0.0.1:0".parse()?)?;

    let to = SocketAddr::from(([127, 0, 0, 2], server.local_addr()?.port()));
    // IP_TTL, for this datagram alone.
    client.send_msg(&Outgoing::to(to, b"hello").hop_limit(7))?;
    server.wait_readable(Duration::from_secs(5))?;
    let mut buffer = [0; 2048];
    let request = server.recv_msg(&mut buffer)?;
    let (asked, hops) = (request.meta.destination, request.meta.hop_limit);
    println!(
        "asked: {asked:?}, hops left: {hops:?}, truncated: {}",
        request.truncated
    );
    server.send_msg(&request.reply(b"world"))?; // leaves from 127.0.0.2, as a client expects
    client.wait_readable(Duration::from_secs(5))?;
    client.recv_msg(&mut [0; 2048])?;

    let closed = SocketAddr::from(([127, 0, 0, 1], 9));
    client.send_to(b"anybody?", closed)?;
    client.wait_readable(Duration::from_secs(5))?; // poll(2) wakes up for the error queue as well
    // MSG_ERRQUEUE, sock_extended_err and the address behind it.
    let Some(QueueEntry::Error(error)) = client.recv_error()? else {
        return Err("no error came".into());
    };
    println!(
        "to {:?}: errno {}, {:?}",
        error.destination, error.errno, error.cause
    );
    Ok(())
}
// ANCHOR_END: program
