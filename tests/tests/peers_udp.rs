//! Faults that quinn-udp has on Linux, each beside what happens here: the same datagrams, the same kernel.
//!
//! The table in `docs/peers-udp.md` says in words what these tests assert. Where a later quinn-udp has mended a fault,
//! its assertion fails here: then the table is to be corrected.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod udp_common;

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use sockeye::udp::{Dscp, Ecn, Fault, Metadata, Outgoing, RecvBatch, SendBatch, UdpOptions};
use udp_common::{PATIENCE, Path, addr, closed_port, recv, recv_datagrams, recv_error};

/// A socket driven by quinn-udp.
struct Quinn {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Quinn {
    fn bind() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
        Self { socket, state }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn send(
        &self,
        destination: SocketAddr,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> std::io::Result<()> {
        let transmit = Transmit {
            destination,
            ecn: Some(EcnCodepoint::Ect0),
            contents,
            segment_size,
            src_ip: None,
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// One receive with one buffer of `len` bytes.
    fn recv(&self, len: usize) -> RecvMeta {
        assert!(sockeye_tests::wait::ready(
            &self.socket,
            sockeye_tests::wait::Readiness::Readable,
            PATIENCE
        ));
        let mut buffer = vec![0; len];
        let mut meta = [RecvMeta::default()];
        let count = self.state.recv(
            UdpSockRef::from(&self.socket),
            &mut [IoSliceMut::new(&mut buffer)],
            &mut meta,
        );
        assert_eq!(count.unwrap(), 1);
        meta[0]
    }
}

/// A sender of ours that leaves runs as segments.
fn sender() -> sockeye::udp::UdpSocket {
    udp_common::bind("127.0.0.1:0").unwrap()
}

#[test]
fn ecn_survives_reads_that_gro_coalesced() {
    let payload = [7; 1000];
    let marked = |to| Outgoing::to(to, &payload).segment_size(500).ecn(Ecn::Ect0);

    let wanted = Metadata::DESTINATION | Metadata::TRAFFIC_CLASS | Metadata::TIMESTAMP;
    let ours = UdpOptions::new()
        .gro(true)
        .metadata(wanted)
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    sender().send_msg(&marked(ours.local_addr().unwrap())).unwrap();
    let mut buffer = [0; 65_536];
    let incoming = recv(&ours, &mut buffer);
    assert_eq!(
        (incoming.segment_size, incoming.meta.ecn),
        (Some(500), Some(Ecn::Ect0))
    );
    assert!(incoming.meta.timestamp.is_some() && incoming.meta.destination.is_some());

    let theirs = Quinn::bind();
    sender().send_msg(&marked(theirs.address())).unwrap();
    let meta = theirs.recv(65_536);
    assert_eq!((meta.stride, meta.len), (500, 1000));
    assert_eq!(meta.ecn, None, "quinn-udp keeps ECN on coalesced reads now");
    // It is there where nothing was coalesced.
    sender()
        .send_msg(&Outgoing::to(theirs.address(), &payload).ecn(Ecn::Ect0))
        .unwrap();
    assert_eq!(theirs.recv(65_536).ecn, Some(EcnCodepoint::Ect0));
}

#[test]
fn one_send_to_port_zero_costs_no_offload_and_no_ecn() {
    let (nowhere, payload) = (addr("127.0.0.1:0"), [7; 1000]);
    let options = UdpOptions::new().gro(true).metadata(Metadata::TRAFFIC_CLASS);
    let receiver = options.bind(addr("127.0.0.1:0")).unwrap();
    let to = receiver.local_addr().unwrap();
    let mut buffer = [0; 65_536];

    let (ours, mut batch) = (sender(), SendBatch::new(16));
    let make = |to| move |_| Outgoing::to(to, &[7u8; 500]).ecn(Ecn::Ect0);
    assert_eq!(
        batch.send_with(&ours, 0..2, make(nowhere)).error.unwrap().fault(),
        Fault::Invalid
    );
    assert_eq!(batch.send_with(&ours, 0..2, make(to)).count, 2);
    let incoming = recv(&receiver, &mut buffer);
    assert_eq!(
        (incoming.segments().len(), incoming.meta.ecn),
        (2, Some(Ecn::Ect0))
    );

    let theirs = Quinn::bind();
    assert!(theirs.state.max_gso_segments() > 1);
    theirs.send(nowhere, &payload, Some(500)).unwrap_err();
    assert_eq!(
        theirs.state.max_gso_segments(),
        1,
        "quinn-udp keeps segmentation now"
    );
    theirs.send(to, &payload, None).unwrap();
    assert_eq!(
        recv(&receiver, &mut buffer).meta.ecn,
        Some(Ecn::NotEct),
        "quinn-udp keeps ECN now"
    );
}

#[test]
fn a_truncated_datagram_is_told() {
    let ours = sender();
    sender().send_to(&[7; 1000], ours.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 100];
    let incoming = recv(&ours, &mut buffer);
    assert!(incoming.truncated && incoming.len == 1000);

    let theirs = Quinn::bind();
    sender().send_to(&[7; 1000], theirs.address()).unwrap();
    let meta = theirs.recv(100);
    assert_eq!(
        (meta.len, meta.stride),
        (100, 100),
        "quinn-udp tells truncation now"
    );
}

#[test]
fn a_hundred_coalesced_segments_all_arrive() {
    let payloads = vec![[7; 500]; 100];
    let send = |to| {
        assert_eq!(
            SendBatch::new(16)
                .send_with(sender(), 0..100, |i| Outgoing::to(to, &payloads[i]))
                .count,
            100
        )
    };

    let ours = UdpOptions::new().gro(true).bind(addr("127.0.0.1:0")).unwrap();
    send(ours.local_addr().unwrap());
    assert_eq!(recv_datagrams(&ours, 100).len(), 100);
    // And where the buffer is as small as theirs, the loss is told.
    send(ours.local_addr().unwrap());
    let mut batch = RecvBatch::new(1, 64 * 500);
    assert_eq!(ours.recv_batch(&mut batch).unwrap(), 1);
    assert!(batch.get(0).unwrap().truncated);

    let theirs = Quinn::bind();
    send(theirs.address());
    // The buffer its documentation asks for: as many segments as it says can come.
    let meta = theirs.recv(theirs.state.gro_segments() * 500);
    assert_eq!(meta.len / meta.stride, 64, "quinn-udp takes all of them now");
    theirs
        .socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    assert!(
        theirs.socket.recv(&mut [0; 500]).is_err(),
        "the other 36 are lost"
    );
}

#[test]
fn the_sockets_dscp_survives_a_message_with_ecn() {
    let receiver = UdpOptions::new()
        .metadata(Metadata::TRAFFIC_CLASS)
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    let to = receiver.local_addr().unwrap();
    let class = |receiver| {
        let meta = recv(receiver, &mut [0; 8]).meta;
        (meta.dscp, meta.ecn)
    };

    let ours = sender();
    ours.set_dscp(Dscp::EF).unwrap();
    ours.send_msg(&Outgoing::to(to, b"x").ecn(Ecn::Ect0)).unwrap();
    assert_eq!(class(&receiver), (Some(Dscp::EF), Some(Ecn::Ect0)));

    let theirs = Quinn::bind();
    socket2::SockRef::from(&theirs.socket)
        .set_tos_v4(46 << 2)
        .unwrap();
    theirs.send(to, b"x", None).unwrap();
    assert_eq!(
        class(&receiver),
        (Some(Dscp::DEFAULT), Some(Ecn::Ect0)),
        "quinn-udp keeps the DSCP now"
    );
}

#[test]
fn a_queued_error_names_the_destination() {
    let closed = closed_port();
    let ours = Path::V4.bind(&UdpOptions::new().error_queue(true));
    ours.send_msg(&Outgoing::to(closed, b"x")).unwrap();
    assert_eq!(recv_error(&ours).destination, Some(closed));

    let theirs = Quinn::bind();
    theirs
        .state
        .enable_transport_errors(UdpSockRef::from(&theirs.socket))
        .unwrap();
    theirs.send(closed, b"x", None).unwrap();
    let error = sockeye_tests::wait::value("quinn-udp's error", PATIENCE, || {
        theirs
            .state
            .recv_transport_error(UdpSockRef::from(&theirs.socket))
            .unwrap()
    });
    assert_eq!(
        error.addr,
        Some(addr("127.0.0.1:0")),
        "quinn-udp names the destination now"
    );
}
