//! Chapter 7, exercise 1: ping over IPv6. `ch07_ex1_ping6 [IPV6-ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use sockeye::raw::{Access, Family, IcmpSocket};

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let host: Ipv6Addr = std::env::args()
        .nth(1)
        .map_or(Ok(Ipv6Addr::LOCALHOST), |text| text.parse())?;
    let socket = IcmpSocket::open(Family::V6, Access::Auto)?;
    let id = socket.identifier().to_be_bytes();
    // Type 128, and no checksum: it covers the addresses too, and only the kernel
    // knows which source it will take.
    let request = [
        128, 0, 0, 0, id[0], id[1], 0, 1, b's', b'a', b'l', b'm', b'o', b'n',
    ];
    socket.send_to(&request, SocketAddr::new(IpAddr::V6(host), 0))?;
    let begin = Instant::now();
    let mut buffer = [0; 1500];
    while begin.elapsed() < PATIENCE && socket.wait_readable(PATIENCE)? {
        let (len, from) = socket.recv_from(&mut buffer)?;
        let reply = &buffer[..len];
        if reply.first() == Some(&129) && reply.get(4..) == request.get(4..) {
            println!("reply from {}", from.ip());
            return Ok(());
        }
    }
    println!("no reply");
    Ok(())
}
// ANCHOR_END: program
