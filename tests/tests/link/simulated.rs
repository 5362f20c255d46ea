//! Frames in the simulation: the same kind of service as on the kernel.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{
    Datagram, DatagramOptions, DatagramService, Datagrams, Frame, FrameOptions, FrameService, Frames,
    Outgoing, Sent,
};
use sockeye::packet::{
    Ethernet, EthernetBuilder, Ipv4, Ipv4Builder, Ipv6, Ipv6Builder, MacAddr, Udp, UdpBuilder, ethertype,
};
use sockeye::sim::Sim;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PORT: u16 = 9;

/// Writes a datagram into a frame by hand, and keeps the frames that come.
struct ByHand {
    frame: Vec<u8>,
    came: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl FrameService for ByHand {
    fn on_open(&mut self, socket: &mut Frames<'_>) {
        assert_eq!(socket.send(&Outgoing::connected(&self.frame)), Sent::Sent);
    }

    fn on_frame(&mut self, _: &mut Frames<'_>, frame: Frame<'_>) {
        assert!(frame.meta.timestamp.is_some());
        assert_eq!(frame.len, frame.data.len());
        self.came.borrow_mut().push(frame.data.to_vec());
    }
}

/// Answers as UDP does.
struct Echo;

impl DatagramService for Echo {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        assert_eq!(socket.send(&datagram.echo()), Sent::Sent);
    }
}

fn frame_with(udp: &UdpBuilder<&[u8]>, from: IpAddr, to: IpAddr) -> Vec<u8> {
    let (mut packet, mut frame) = ([0; 128], vec![0; 160]);
    let (len, kind) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (
            Ipv4Builder::new(from, to).write(&mut packet, udp),
            ethertype::IPV4,
        ),
        (IpAddr::V6(from), IpAddr::V6(to)) => (
            Ipv6Builder::new(from, to).write(&mut packet, udp),
            ethertype::IPV6,
        ),
        _ => unreachable!("one family"),
    };
    let ethernet = EthernetBuilder::new(MacAddr::ZERO, MacAddr::BROADCAST, &packet[..len.unwrap()]);
    let len = ethernet.ethertype(kind).write(&mut frame).unwrap();
    frame.truncate(len);
    frame
}

/// What comes back to a frame that was written by hand.
fn answers(from: IpAddr, to: IpAddr) -> Vec<Vec<u8>> {
    let mut sim = Sim::new(7);
    let (a, b) = (sim.host(from), sim.host(to));
    let came = Rc::new(RefCell::new(Vec::new()));
    let events = sim.on(b);
    let echo = events.add_datagram_service(Echo);
    events
        .bind(echo, SocketAddr::new(to, PORT), &DatagramOptions::default())
        .unwrap();
    let question: &[u8] = b"by hand";
    let service = ByHand {
        frame: frame_with(&UdpBuilder::new(4000, PORT, question), from, to),
        came: Rc::clone(&came),
    };
    let events = sim.on(a);
    let service = events.add_frame_service(service);
    let mut options = FrameOptions::new("eth0");
    options.timestamps = true;
    events.open_link(service, &options).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    came.take()
}

#[test]
fn a_datagram_in_a_frame_is_answered_in_a_frame() {
    let came = answers(A.into(), B.into());
    let frame = Ethernet::new(&came[0][..]).unwrap();
    assert_eq!(frame.ethertype(), Some(ethertype::IPV4));
    let ip = Ipv4::new(frame.payload()).unwrap();
    assert!(ip.checksum_ok());
    assert_eq!((ip.source(), ip.destination()), (B, A));
    let udp = Udp::new(ip.payload()).unwrap();
    assert_eq!(
        (udp.source_port(), udp.destination_port(), udp.payload()),
        (PORT, 4000, &b"by hand"[..])
    );
}

#[test]
fn ipv6_goes_by_frames_as_well() {
    let (a, b): (IpAddr, IpAddr) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let came = answers(a, b);
    let frame = Ethernet::new(&came[0][..]).unwrap();
    assert_eq!(frame.ethertype(), Some(ethertype::IPV6));
    let ip = Ipv6::new(frame.payload()).unwrap();
    assert_eq!(IpAddr::from(ip.source()), b);
    assert_eq!(Udp::new(ip.payload()).unwrap().payload(), b"by hand");
}
