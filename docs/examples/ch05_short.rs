//! Writes to a peer that does not read, until nothing more is accepted.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use sockeye::tcp::{ListenOptions, StreamOptions, TcpStream};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    // Small buffers at both ends: otherwise the kernel takes megabytes.
    let small = StreamOptions::new().send_buffer(16 * 1024).recv_buffer(16 * 1024);
    let listener = ListenOptions::new().stream(small).bind("127.0.0.1:0".parse()?)?;
    let mut writer = TcpStream::options()
        .stream(small)
        .connect(listener.local_addr()?, PATIENCE)?;
    listener.wait_readable(PATIENCE)?;
    let (mut reader, _) = listener.accept()?;

    let data = vec![b'x'; 1_000_000];
    let mut accepted = 0;
    loop {
        match writer.write(&data) {
            Ok(len) => {
                accepted += len;
                println!("write of {} bytes: {len} accepted", data.len());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    println!(
        "then: WouldBlock, and {} bytes unread at the peer",
        reader.unread()?
    );

    let mut buffer = [0; 4096];
    let mut received = 0;
    while received < accepted {
        reader.wait_readable(PATIENCE)?;
        received += reader.read(&mut buffer)?;
    }
    println!("the reader has read everything: {}", received == accepted);
    println!("there is room again: {}", writer.wait_writable(PATIENCE)?);
    Ok(())
}
// ANCHOR_END: program
