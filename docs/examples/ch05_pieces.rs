//! What a reader gets of what a writer has written: pieces of any size.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut writer = TcpStream::connect(listener.local_addr()?)?;
    let (mut reader, _) = listener.accept()?;

    println!("three writes, one read:");
    for request in ["salmon 3\n", "trout 1\n", "salmon 2\n"] {
        writer.write_all(request.as_bytes())?;
    }
    wait_for(&reader, 26)?;
    show(&mut reader, 100)?;

    println!("one write, three reads:");
    writer.write_all(b"salmon 3\ntrout 1\nsalmon 2\n")?;
    wait_for(&reader, 26)?;
    for _ in 0..3 {
        show(&mut reader, 11)?;
    }

    println!("a read does not wait for the rest of a line:");
    writer.write_all(b"sal")?;
    show(&mut reader, 100)?;
    writer.write_all(b"mon 3\n")?;
    show(&mut reader, 100)
}

/// Reads once into a buffer of `room` bytes.
fn show(reader: &mut TcpStream, room: usize) -> io::Result<()> {
    let mut buffer = vec![0; room];
    let len = reader.read(&mut buffer)?;
    println!("    {len} bytes: {:?}", String::from_utf8_lossy(&buffer[..len]));
    Ok(())
}

/// Waits until so many bytes have arrived, and leaves them there.
fn wait_for(reader: &TcpStream, len: usize) -> io::Result<()> {
    let mut buffer = vec![0; len];
    while reader.peek(&mut buffer)? < len {
        std::thread::yield_now();
    }
    Ok(())
}
// ANCHOR_END: program
