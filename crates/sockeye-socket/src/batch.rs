//! Many messages in one system call, from and into storage that is allocated once.

mod recv;
mod send;

pub use recv::RecvBatch;
pub use send::{SendBatch, SendReport};

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::{Ecn, Metadata, Outgoing, Socket, options, recv_msg, send_msg};

    fn pair() -> (Socket, Socket, std::net::SocketAddr) {
        let receiver = Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let sender = Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        receiver.set_nonblocking(true).unwrap();
        let to = receiver.local_addr().unwrap();
        (receiver, sender, to)
    }

    /// Every pointer of every header is followed by the kernel here; AddressSanitizer watches where it writes.
    #[test]
    fn batches_of_every_size_cross_the_kernel() {
        let (receiver, sender, to) = pair();
        Metadata::ALL
            .without(Metadata::ORIGINAL_DESTINATION)
            .enable(&receiver)
            .unwrap();
        let payload = vec![9u8; 3000];
        for gro in [false, true] {
            receiver.set(options::UDP_GRO, gro).unwrap();
            for slots in [1, 3, 64] {
                for count in [1, 2, 63, 130] {
                    // The first is longer than the rest, the slot shorter than either.
                    let make =
                        |i: usize| Outgoing::to(to, &payload[..if i == 0 { 90 } else { 70 }]).ecn(Ecn::Ce);
                    let mut inbox = RecvBatch::new(slots, 64);
                    assert_eq!(
                        SendBatch::new(slots).send_with(&sender, 0..count, make).count,
                        count
                    );
                    let mut bytes = 0;
                    while inbox.recv(&receiver).is_ok() {
                        for (slot, incoming) in inbox.iter().enumerate() {
                            assert!(incoming.truncated && !incoming.control_truncated);
                            assert_eq!(incoming.meta.ecn, Some(Ecn::Ce));
                            assert_eq!(inbox.payload(slot), [9; 64]);
                            bytes += incoming.len;
                        }
                    }
                    assert_eq!(bytes, 90 + 70 * (count - 1));
                }
            }
        }
    }

    #[test]
    fn a_batch_moves_with_what_its_headers_point_to() {
        let (receiver, sender, to) = pair();
        let mut inbox = RecvBatch::new(2, 16);
        let mut outbox = SendBatch::new(2);
        for byte in 0..3u8 {
            // Through another place in memory, and through another thread.
            (inbox, outbox) = *Box::new((inbox, outbox));
            (inbox, outbox) = std::thread::spawn(move || (inbox, outbox)).join().unwrap();
            assert_eq!(
                outbox
                    .send_with(&sender, 0..1, |_| Outgoing::to(to, &[7; 8]))
                    .count,
                1
            );
            assert_eq!(inbox.recv(&receiver).unwrap(), 1);
            inbox.payload_mut(0)[0] = byte;
            assert_eq!(inbox.payload(0)[..2], [byte, 7]);
        }
    }

    #[test]
    fn an_empty_range_and_an_empty_batch_are_no_calls() {
        let (receiver, sender, to) = pair();
        let report = SendBatch::new(0).send_with(&sender, 5..5, |_| Outgoing::to(to, b""));
        assert_eq!(
            report,
            SendReport {
                count: 0,
                error: None
            }
        );
        assert!(RecvBatch::new(0, 10).is_empty());
        assert!(RecvBatch::new(4, 10).recv(&receiver).is_err());
        // A slot of no bytes still takes the message off the queue.
        send_msg(&sender, &Outgoing::to(to, b"gone")).unwrap();
        let mut none = RecvBatch::new(1, 0);
        assert_eq!(none.recv(&receiver).unwrap(), 1);
        assert_eq!(
            none.get(0).map(|incoming| (incoming.len, incoming.truncated)),
            Some((4, true))
        );
    }

    #[test]
    fn one_message_with_everything_crosses_the_kernel() {
        let (receiver, sender, to) = pair();
        Metadata::ALL
            .without(Metadata::ORIGINAL_DESTINATION)
            .enable(&receiver)
            .unwrap();
        for len in [0, 1, 40, 65_000] {
            let payload = vec![3; len];
            let message = Outgoing::to(to, &payload)
                .ecn(Ecn::Ect0)
                .hop_limit(9)
                .source(to.ip())
                .interface(1);
            send_msg(&sender, &message).unwrap();
            let mut buffer = vec![0; len / 2 + 1];
            let incoming = recv_msg(&receiver, &mut buffer).unwrap();
            assert_eq!((incoming.len, incoming.meta.hop_limit), (len, Some(9)));
            assert_eq!(incoming.truncated, len / 2 + 1 < len);
        }
    }
}
