//! Ping on the event loop: a packet service, with a timer for what does not come. `ch07_loop [ADDRESS [COUNT]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye::event_loop::{EventLoop, Packet, PacketKind, PacketOptions, PacketService, Packets};
use sockeye::packet::{Icmpv4, Icmpv4Builder};

struct Ping {
    host: IpAddr,
    left: u16,
    answered: u16,
}

const GIVE_UP: u64 = 1;

impl Ping {
    fn send(&mut self, socket: &mut Packets<'_>) {
        let mut message = [0; 64];
        if let Ok(len) = Icmpv4Builder::echo_request(7, self.left, b"salmon").write(&mut message) {
            let _ = socket.send_to(&message[..len], SocketAddr::new(self.host, 0));
        }
    }
}

impl PacketService for Ping {
    fn on_open(&mut self, socket: &mut Packets<'_>) {
        self.send(socket);
        socket.set_timer(Duration::from_secs(5), GIVE_UP);
    }

    fn on_packet(&mut self, socket: &mut Packets<'_>, packet: Packet<'_>) {
        let Ok(message) = Icmpv4::new(&*packet.data) else {
            return;
        };
        if message.message_type() != 0 || message.sequence() != self.left {
            return; // a request, or something else that is not ours
        }
        self.answered += 1;
        println!("reply {} from {}", self.answered, packet.source.ip());
        self.left -= 1;
        if self.left == 0 {
            socket.context().stop();
        } else {
            self.send(socket);
        }
    }

    fn on_timer(&mut self, socket: &mut Packets<'_>, _: u64) {
        println!("no reply");
        socket.context().stop();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or("127.0.0.1".to_owned()).parse()?;
    let left = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let mut events = EventLoop::new()?;
    let ping = events.add_packet_service(Ping {
        host,
        left,
        answered: 0,
    });
    let options = PacketOptions::new(PacketKind::Icmp, IpAddr::from([0, 0, 0, 0]));
    events.open_packet(ping, &options)?;
    Ok(events.run()?)
}
// ANCHOR_END: program
