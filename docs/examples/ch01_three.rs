//! The same two words through a stream, through datagrams, and through packets of a raw socket. `ch01_three`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sockeye::raw::IpSocket;

fn main() -> Result<(), Box<dyn Error>> {
    let any: SocketAddr = "127.0.0.1:0".parse()?; // port 0: any that is free

    // A stream: bytes in order, and no borders between them.
    let listener = TcpListener::bind(any)?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"sock")?;
    client.write_all(b"eye")?;
    drop(client);
    let mut text = String::new();
    server.read_to_string(&mut text)?;
    println!("stream:    {text}");

    // Datagrams: each arrives alone, whole or not at all.
    let (client, server) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
    client.send_to(b"sock", server.local_addr()?)?;
    client.send_to(b"eye", server.local_addr()?)?;
    let mut buffer = [0; 2048];
    for _ in 0..2 {
        let length = server.recv(&mut buffer)?;
        println!("datagram:  {}", String::from_utf8_lossy(&buffer[..length]));
    }

    // Packets: no ports. Who has this protocol number gets all that comes with it.
    let protocol = 253; // for experiments (RFC 3692)
    let (client, server) = (IpSocket::bind(any, protocol)?, IpSocket::bind(any, protocol)?);
    client.send_to(b"sock", any)?;
    server.wait_readable(Duration::from_secs(5))?;
    let packet = server.recv_msg(&mut buffer)?;
    let header = packet.header.ok_or("IPv4 packets come with their header")?;
    let text = String::from_utf8_lossy(packet.message.payload);
    println!(
        "raw:       {text}, from {} to {}",
        header.source(),
        header.destination()
    );
    Ok(())
}
// ANCHOR_END: program
