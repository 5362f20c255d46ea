//! Libraries: the standard one, tokio, quinn-udp.

use std::io::IoSliceMut;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::bare::socket;
use super::{BURST, Contender, segment_messages};

/// `send_to` and `recv_from` of the standard library.
pub(crate) fn std_single(size: usize, burst: usize) -> Contender {
    let (receiver, sender) = (socket(), socket());
    let to = receiver.local_addr().unwrap();
    let (payload, mut buffer) = (vec![7u8; size], vec![0; 65_536]);
    Contender::new("std recv_from", move || {
        for _ in 0..burst {
            sender.send_to(&payload, to).unwrap();
        }
        for _ in 0..burst {
            assert_eq!(receiver.recv_from(&mut buffer).unwrap().0, size);
        }
    })
}

/// tokio's, on its single-threaded runtime.
pub(crate) fn tokio_single(size: usize, burst: usize) -> Contender {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let receiver = tokio::net::UdpSocket::from_std(socket()).unwrap();
    let sender = tokio::net::UdpSocket::from_std(socket()).unwrap();
    let to = receiver.local_addr().unwrap();
    let (payload, mut buffer) = (vec![7u8; size], vec![0; 65_536]);
    drop(_guard);
    Contender::new("tokio recv_from", move || {
        runtime.block_on(async {
            for _ in 0..burst {
                sender.send_to(&payload, to).await.unwrap();
            }
            for _ in 0..burst {
                assert_eq!(receiver.recv_from(&mut buffer).await.unwrap().0, size);
            }
        });
    })
}

/// quinn-udp with segments and GRO.
pub(crate) fn quinn_segments(size: usize) -> Contender {
    let (receiver, sender) = (socket(), socket());
    let receiver_state = UdpSocketState::new(UdpSockRef::from(&receiver)).unwrap();
    let sender_state = UdpSocketState::new(UdpSockRef::from(&sender)).unwrap();
    let destination = receiver.local_addr().unwrap();
    let payload = vec![7u8; size * BURST];
    let messages = segment_messages(size);
    let mut storage = vec![0u8; BATCH_SIZE * 65_536];
    Contender::new("quinn-udp gso+gro", move || {
        for len in &messages {
            let transmit = Transmit {
                destination,
                ecn: None,
                contents: &payload[..*len],
                segment_size: Some(size),
                src_ip: None,
            };
            sender_state
                .try_send(UdpSockRef::from(&sender), &transmit)
                .unwrap();
        }
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut slots = storage.chunks_mut(65_536);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap()));
        let mut datagrams = 0;
        while datagrams < BURST {
            let count = receiver_state
                .recv(UdpSockRef::from(&receiver), &mut buffers, &mut meta)
                .unwrap();
            datagrams += meta[..count]
                .iter()
                .map(|meta| meta.len.div_ceil(meta.stride))
                .sum::<usize>();
        }
    })
}
