//! The runtime of tokio with a socket of Sockeye: a batch of datagrams in one call. `cookbook_tokio`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io;

use sockeye::udp::{RecvBatch, UdpSocket};
use tokio::io::unix::AsyncFd;

/// Receives a batch: one system call for many datagrams. Tokio's own socket has no such call.
async fn recv_batch(socket: &AsyncFd<UdpSocket>, batch: &mut RecvBatch) -> io::Result<usize> {
    loop {
        let mut ready = socket.readable().await?;
        // On WouldBlock the event was about nothing: `try_io` clears it, and we wait again.
        if let Ok(received) = ready.try_io(|socket| socket.get_ref().recv_batch(batch)) {
            return received;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    #[expect(deprecated, reason = "the new way is unsafe: a promise that UdpSocket keeps")]
    let receiver = AsyncFd::new(UdpSocket::bind("127.0.0.1:0".parse()?)?)?;
    let sender = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    for word in ["one", "two", "three"] {
        sender.send_to(word.as_bytes(), receiver.get_ref().local_addr()?)?;
    }
    let mut batch = RecvBatch::new(32, 2048);
    let mut words = 0;
    while words < 3 {
        for at in 0..recv_batch(&receiver, &mut batch).await? {
            if let Some(datagram) = batch.get(at) {
                println!("{}", String::from_utf8_lossy(datagram.payload));
                words += 1;
            }
        }
    }
    Ok(())
}
// ANCHOR_END: program
