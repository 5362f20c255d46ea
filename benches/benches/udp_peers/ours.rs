//! Ours: batches with and without coalescing, segments of one payload, one call a datagram.

use sockeye::udp::{Outgoing, RecvBatch, SendBatch, UdpOptions, UdpSocket};

use super::{BUFFER, BURST, Contender, segment_messages};

fn pair(gro: bool) -> (UdpSocket, UdpSocket, std::net::SocketAddr) {
    let options = UdpOptions::new()
        .recv_buffer(BUFFER as u32)
        .send_buffer(BUFFER as u32);
    let receiver = options
        .clone()
        .gro(gro)
        .bind("127.0.0.1:0".parse().unwrap())
        .unwrap();
    let to = receiver.local_addr().unwrap();
    (
        receiver,
        options.bind("127.0.0.1:0".parse().unwrap()).unwrap(),
        to,
    )
}

/// Receives until a whole burst has come.
fn burst(receiver: &UdpSocket, inbox: &mut RecvBatch) {
    let mut datagrams = 0;
    while datagrams < BURST {
        receiver.recv_batch(inbox).unwrap();
        datagrams += inbox
            .iter()
            .map(|incoming| incoming.segments().len())
            .sum::<usize>();
    }
}

/// `SendBatch` and `RecvBatch`, coalescing as asked.
pub(crate) fn batch(size: usize, coalescing: bool) -> Contender {
    let (receiver, sender, to) = pair(coalescing);
    let payloads = vec![7u8; size * BURST];
    let mut inbox = RecvBatch::new(BURST, 65_536);
    let mut outbox = SendBatch::new(BURST);
    outbox.set_coalescing(coalescing);
    let name = if coalescing {
        "sockeye batch, coalesced"
    } else {
        "sockeye batch"
    };
    Contender::new(name, move || {
        let make = |i: usize| Outgoing::to(to, &payloads[i * size..(i + 1) * size]);
        assert_eq!(outbox.send_with(&sender, 0..BURST, make).count, BURST);
        burst(&receiver, &mut inbox);
    })
}

/// The same with payloads that do not lie side by side.
pub(crate) fn scattered_batch(size: usize) -> Contender {
    let (receiver, sender, to) = pair(true);
    let payloads: Vec<Vec<u8>> = (0..BURST).map(|_| vec![7u8; size]).collect();
    let mut inbox = RecvBatch::new(BURST, 65_536);
    let mut outbox = SendBatch::new(BURST);
    Contender::new("sockeye batch, scattered", move || {
        let make = |i: usize| Outgoing::to(to, &payloads[i]);
        assert_eq!(outbox.send_with(&sender, 0..BURST, make).count, BURST);
        burst(&receiver, &mut inbox);
    })
}

/// One payload cut by the kernel, as the reference does it.
pub(crate) fn segments(size: usize) -> Contender {
    let (receiver, sender, to) = pair(true);
    let payload = vec![7u8; size * BURST];
    let messages = segment_messages(size);
    let mut inbox = RecvBatch::new(BURST, 65_536);
    Contender::new("sockeye gso+gro", move || {
        for len in &messages {
            sender
                .send_msg(&Outgoing::to(to, &payload[..*len]).segment_size(size as u16))
                .unwrap();
        }
        burst(&receiver, &mut inbox);
    })
}

/// `send_to` and `recv_from`.
pub(crate) fn single(size: usize, burst: usize) -> Contender {
    let (receiver, sender, to) = pair(false);
    let (payload, mut buffer) = (vec![7u8; size], vec![0; 65_536]);
    Contender::new("sockeye recv_from", move || {
        for _ in 0..burst {
            sender.send_to(&payload, to).unwrap();
        }
        for _ in 0..burst {
            assert_eq!(receiver.recv_from(&mut buffer).unwrap().0, size);
        }
    })
}

/// `send_msg` and `recv_msg`, without metadata.
pub(crate) fn single_message(size: usize) -> Contender {
    let (receiver, sender, to) = pair(false);
    let (payload, mut buffer) = (vec![7u8; size], vec![0; 65_536]);
    Contender::new("sockeye recv_msg", move || {
        for _ in 0..BURST {
            sender.send_msg(&Outgoing::to(to, &payload)).unwrap();
        }
        for _ in 0..BURST {
            assert_eq!(receiver.recv_msg(&mut buffer).unwrap().len, size);
        }
    })
}
