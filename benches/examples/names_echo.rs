//! A name server that does next to nothing: `names_echo PORT [silent]` turns each question round and appends one address. What
//! clients of the DNS are measured against. Whatever is no address of IPv4 it has none of; it knows no EDNS. A silent one
//! answers nothing.

use std::net::SocketAddr;

use sockeye::event_loop::{Datagram, DatagramOptions, DatagramService, Datagrams, EventLoop};
use sockeye::socket::Outgoing;
use sockeye_benches::{announce, listen_address};

/// Sockets that share the port: one has room for some hundred questions, and a client sends a thousand at once.
const SOCKETS: usize = 64;

/// A (1) in IN (1), of the name at byte 12, for 60 s: 192.0.2.1.
const ADDRESS: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];

struct Names {
    silent: bool,
}

impl DatagramService for Names {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        if self.silent {
            return;
        }
        let Some(end) = end_of_question(datagram.data) else {
            return;
        };
        let has_address = datagram.data[end - 4..end] == [0, 1, 0, 1];
        let message = Outgoing::to(datagram.source, &[]);
        let _ = socket.send_with(&message, end + ADDRESS.len(), |out| {
            out[..end].copy_from_slice(&datagram.data[..end]);
            // QR and RA; the question, an answer or none, nothing else.
            out[2] |= 0x80;
            out[3] = 0x80;
            out[4..12].copy_from_slice(&[0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
            if !has_address {
                return end;
            }
            out[end..end + ADDRESS.len()].copy_from_slice(&ADDRESS);
            end + ADDRESS.len()
        });
    }
}

/// Where the first question ends: the header, labels up to the empty one, type and class.
fn end_of_question(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1 + len;
        if len == 0 {
            break;
        }
    }
    (at + 4 <= message.len()).then_some(at + 4)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let silent = std::env::args().nth(2).is_some_and(|word| word == "silent");
    let mut events = EventLoop::new()?;
    let service = events.add_datagram_service(Names { silent });
    let options = DatagramOptions {
        reuse_port: true,
        // As much as the kernel allows.
        recv_buffer: Some(4 << 20),
        ..DatagramOptions::default()
    };
    let first = events.bind(service, listen_address()?, &options)?;
    let at: SocketAddr = events.local_addr(first)?;
    for _ in 1..SOCKETS {
        events.bind(service, at, &options)?;
    }
    announce(at)?;
    Ok(events.run()?)
}
