//! Chapter 5, exercise 1: requests with their length in front instead of a line break behind.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

const MAX_FRAME: u16 = 1000;

/// Two bytes of length, big-endian, then so many bytes.
fn write_frame(stream: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let len = u16::try_from(content.len()).ok().filter(|&len| len <= MAX_FRAME);
    let len = len.ok_or(io::ErrorKind::InvalidInput)?;
    // One write: two would wait for each other (Nagle).
    stream.write_all(&[&len.to_be_bytes(), content].concat())
}

/// The next frame, or `None` at an end between two frames. An end inside a frame is an
/// error.
fn read_frame(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 2];
    if stream.read(&mut len[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut len[1..])?;
    let len = u16::from_be_bytes(len);
    if len > MAX_FRAME {
        // Before any memory is taken for it.
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut content = vec![0; len.into()];
    stream.read_exact(&mut content)?;
    Ok(Some(content))
}
// ANCHOR_END: program

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    for content in ["salmon 3", "", "a line\nis nothing special"] {
        write_frame(&mut client, content.as_bytes())?;
    }
    client.write_all(&[0, 9, b'c', b'u', b't'])?;
    drop(client);
    loop {
        match read_frame(&mut server) {
            Ok(Some(content)) => println!("{:?}", String::from_utf8_lossy(&content)),
            Ok(None) => println!("the end"),
            Err(error) => {
                println!("error: {}", error.kind());
                return Ok(());
            }
        }
    }
}
