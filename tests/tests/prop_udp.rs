//! Properties of batches: whatever is sent arrives once, whole and in the order of each destination.

mod udp_common;

use proptest::prelude::*;
use sockeye::udp::{Dscp, Ecn, Metadata, Outgoing, RecvBatch, SendBatch, UdpOptions};
use udp_common::{Path, recv_datagrams};

/// One datagram of a plan: which receiver, how many bytes, which class.
#[derive(Clone, Debug)]
struct Planned {
    receiver: usize,
    len: usize,
    ecn: Option<u8>,
    dscp: Option<u8>,
}

fn planned() -> impl Strategy<Value = Planned> {
    // Sizes that repeat, so that runs form and break.
    let len = prop_oneof![Just(0usize), Just(1), Just(100), Just(1200), 0usize..2000];
    (
        0usize..3,
        len,
        proptest::option::of(0u8..4),
        proptest::option::of(0u8..64),
    )
        .prop_map(|(receiver, len, ecn, dscp)| Planned {
            receiver,
            len,
            ecn,
            dscp,
        })
}

/// Runs of equal datagrams, as real senders have them.
fn plan() -> impl Strategy<Value = Vec<Planned>> {
    proptest::collection::vec((planned(), 1usize..30), 1..12).prop_map(|runs| {
        runs.into_iter()
            .flat_map(|(one, count)| vec![one; count])
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn prop_every_datagram_arrives_once_whole_and_in_order(
        plan in plan(),
        messages in 1usize..20,
        gro in any::<bool>(),
        coalescing in any::<bool>(),
        path in prop::sample::select(Path::ALL.to_vec()),
    ) {
        let options = UdpOptions::new().recv_buffer(8 << 20).gro(gro);
        let receivers: Vec<_> = (0..3).map(|_| path.bind(&options)).collect();
        let to: Vec<_> = receivers.iter().map(|r| path.loopback(r.local_addr().unwrap().port())).collect();
        let sender = path.bind(&UdpOptions::new());
        let payloads: Vec<Vec<u8>> =
            plan.iter().enumerate().map(|(i, one)| i.to_le_bytes().into_iter().cycle().take(one.len).collect()).collect();
        let make = |i: usize| {
            let mut message = Outgoing::to(to[plan[i].receiver], &payloads[i]);
            if let Some(bits) = plan[i].ecn {
                message = message.ecn(Ecn::from_class(bits));
            }
            if let Some(dscp) = plan[i].dscp.and_then(Dscp::new) {
                message = message.dscp(dscp);
            }
            message
        };
        let mut batch = SendBatch::new(messages);
        batch.set_coalescing(coalescing);
        let report = batch.send_with(&sender, 0..plan.len(), make);
        prop_assert_eq!((report.count, report.error), (plan.len(), None));
        for (number, receiver) in receivers.iter().enumerate() {
            let expected: Vec<_> =
                plan.iter().zip(&payloads).filter(|(one, _)| one.receiver == number).map(|(_, p)| p.clone()).collect();
            prop_assert_eq!(recv_datagrams(receiver, expected.len()), expected);
            prop_assert!(receiver.recv(&mut [0; 16]).is_err());
        }
    }

    #[test]
    fn prop_what_a_message_asks_for_is_what_arrives(
        ecn in proptest::option::of(0u8..4),
        dscp in proptest::option::of(0u8..64),
        hops in proptest::option::of(1u8..=255),
        of_socket in 0u8..64,
        connected in any::<bool>(),
        path in prop::sample::select(Path::ALL.to_vec()),
    ) {
        let wanted = UdpOptions::new().metadata(Metadata::TRAFFIC_CLASS | Metadata::HOP_LIMIT);
        let (receiver, sender, to) = path.pair(&wanted, &UdpOptions::new());
        sender.set_dscp(Dscp::new(of_socket).unwrap()).unwrap();
        if connected {
            sender.connect(to).unwrap();
        }
        let mut message = if connected { Outgoing::connected(b"x") } else { Outgoing::to(to, b"x") };
        if let Some(bits) = ecn {
            message = message.ecn(Ecn::from_class(bits));
        }
        if let Some(dscp) = dscp.and_then(Dscp::new) {
            message = message.dscp(dscp);
        }
        if let Some(hops) = hops {
            message = message.hop_limit(hops);
        }
        prop_assert!(sender.send_msg(&message).is_ok());
        let mut buffer = [0; 8];
        let meta = udp_common::recv(&receiver, &mut buffer).meta;
        prop_assert_eq!(meta.ecn, Some(Ecn::from_class(ecn.unwrap_or(0))));
        prop_assert_eq!(meta.dscp, Dscp::new(dscp.unwrap_or(of_socket)));
        prop_assert_eq!(meta.hop_limit, Some(hops.unwrap_or(64)));
    }

    #[test]
    fn prop_a_pushed_batch_reads_like_a_received_one(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        slot in 0usize..150,
        segment in proptest::option::of(1usize..50),
    ) {
        let mut batch = RecvBatch::new(1, slot);
        let source = "192.0.2.1:9".parse().unwrap();
        prop_assert!(batch.push(&payload, source, segment, sockeye::udp::Meta::NONE));
        let incoming = batch.get(0).unwrap();
        prop_assert_eq!(incoming.payload, &payload[..payload.len().min(slot)]);
        prop_assert_eq!(incoming.truncated, payload.len() > slot);
        prop_assert_eq!(incoming.segments().flatten().copied().collect::<Vec<_>>(), incoming.payload);
    }
}
