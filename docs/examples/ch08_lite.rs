//! UDP-Lite: datagrams of which a part may arrive damaged. Needs CAP_NET_RAW for the damaged ones.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sockeye::packet::{Emit, Pseudo, UdpLiteBuilder, protocol};
use sockeye::raw::IpSocket;
use sockeye::socket::{Domain, Protocol, Socket, Type};
use sockeye::udp::UdpSocket;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn main() -> Result<(), Box<dyn Error>> {
    // A datagram socket of protocol 136 instead of 17; everything else is as with UDP,
    // its own ports included.
    let server = udp_lite(SocketAddr::new(HERE.into(), 7007))?;
    let client = udp_lite(SocketAddr::new(HERE.into(), 0))?;
    client.send_to(b"salmon 3", server.local_addr()?)?;
    report(&server, "intact")?;

    // Datagrams by hand, so that a byte can be changed on the way, after the checksum.
    let wire = IpSocket::bind(SocketAddr::new(HERE.into(), 0), protocol::UDP_LITE)?;
    for (name, coverage, damaged) in [
        ("all covered, last byte damaged", 0, 15),
        ("first 12 covered, last byte damaged", 12, 15),
        ("first 12 covered, 9th byte damaged", 12, 8),
    ] {
        let mut datagram = [0; 16];
        let under = Pseudo::V4 {
            source: HERE,
            destination: HERE,
        };
        UdpLiteBuilder::new(4007, 7007, b"salmon 3")
            .coverage(coverage)
            .emit(&mut datagram, under)?;
        datagram[damaged] ^= 1;
        wire.send_to(&datagram, SocketAddr::new(HERE.into(), 0))?;
        report(&server, name)?;
    }
    Ok(())
}

fn udp_lite(at: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::from(136)))?;
    socket.bind(&at)?;
    Ok(UdpSocket::from(socket))
}

fn report(server: &UdpSocket, name: &str) -> std::io::Result<()> {
    let mut buffer = [0; 100];
    server.wait_readable(Duration::from_secs(2))?;
    match server.recv_from(&mut buffer) {
        Ok((len, _)) => println!("{name}: {:?}", String::from_utf8_lossy(&buffer[..len])),
        // Also where it was said to be readable: the kernel may look at a checksum
        // only when somebody reads.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => println!("{name}: nothing arrives"),
        Err(error) => return Err(error),
    }
    Ok(())
}
// ANCHOR_END: program
