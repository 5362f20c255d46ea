//! A frame service on the loop of the kernel, between two interfaces of a namespace.

use std::time::Duration;

use sockeye::event_loop::{
    EventLoop, Frame, FrameOptions, FrameService, Frames, Outgoing, PacketType, Sent, errno,
};
use sockeye_tests::netns::{self, Namespace};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait;

/// An ethertype for experiments.
const EXPERIMENT: u16 = 0x88b5;

fn pair(namespace: &Namespace) {
    namespace.ip("link add a0 address 02:00:00:00:00:01 type veth peer name b0 address 02:00:00:00:00:02");
    namespace.ip("link set a0 up");
    namespace.ip("link set b0 up");
    wait::until("a pair that is up", wait::PATIENCE, || {
        ["a0", "b0"].iter().all(|name| {
            namespace
                .ip(&format!("-o link show dev {name}"))
                .contains("state UP")
        })
    });
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    bytes.extend_from_slice(&EXPERIMENT.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Sends what comes back to where it came from, its addresses exchanged.
struct Mirror;

impl FrameService for Mirror {
    fn on_frame(&mut self, socket: &mut Frames<'_>, frame: Frame<'_>) {
        let (to, from) = frame.data[..12].split_at_mut(6);
        to.swap_with_slice(from);
        assert_eq!(socket.send(&Outgoing::connected(frame.data)), Sent::Sent);
    }
}

/// Sends some frames, and ends the loop when all are back.
struct Asks {
    wanted: usize,
    came: Vec<Vec<u8>>,
    refused: Option<i32>,
}

impl FrameService for Asks {
    fn on_open(&mut self, socket: &mut Frames<'_>) {
        for number in 0..self.wanted {
            let number = u8::try_from(number).unwrap();
            let sent = socket.send(&Outgoing::connected(&frame(&[number; 60])));
            assert_eq!(sent, Sent::Sent);
        }
        // One that no link carries is told, and stops nothing.
        assert_eq!(socket.send(&Outgoing::connected(&[0; 5])), Sent::Sent);
    }

    fn on_frame(&mut self, socket: &mut Frames<'_>, frame: Frame<'_>) {
        assert_eq!(frame.meta.source.packet_type, PacketType::Host);
        assert_eq!(frame.meta.source.hardware(), [2, 0, 0, 0, 0, 2]);
        assert!(frame.meta.timestamp.is_some());
        assert_eq!(frame.len, frame.data.len());
        self.came.push(frame.data[14..].to_vec());
        if self.came.len() == self.wanted {
            socket.context().stop();
        }
    }

    fn on_send_error(&mut self, _: &mut Frames<'_>, failure: sockeye::event_loop::SendFailure) {
        self.refused = Some(failure.error.errno());
    }
}

#[test]
fn a_service_exchanges_frames_with_another() {
    if !require(&[Need::Namespaces]) || !netns::enter("looped::a_service_exchanges_frames_with_another", pair)
    {
        return;
    }
    let mut events = EventLoop::new().unwrap();
    let options = |name: &str| {
        let mut options = FrameOptions::new(name);
        options.protocol = EXPERIMENT;
        options.timestamps = true;
        options
    };
    let mirror = events.add_frame_service(Mirror);
    let asks = events.add_frame_service(Asks {
        wanted: 200,
        came: Vec::new(),
        refused: None,
    });
    events.open_link(mirror, &options("b0")).unwrap();
    events.open_link(asks, &options("a0")).unwrap();
    let late = std::time::Instant::now() + wait::PATIENCE;
    while !events.is_stopping() {
        assert!(std::time::Instant::now() < late, "all frames come back");
        events.turn(Some(Duration::from_millis(100))).unwrap();
    }
    events.with(asks, |asks, _| {
        let numbers: Vec<_> = asks.came.iter().map(|payload| payload[0]).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<u8>>());
        assert_eq!(asks.refused, Some(errno::EINVAL));
    });
}

#[test]
fn an_interface_that_is_not_there_is_an_error() {
    if !require(&[Need::Namespaces])
        || !netns::enter("looped::an_interface_that_is_not_there_is_an_error", |_| {})
    {
        return;
    }
    let mut events = EventLoop::new().unwrap();
    let mirror = events.add_frame_service(Mirror);
    let error = events.open_link(mirror, &FrameOptions::new("none")).unwrap_err();
    assert!(error.to_string().contains("no such interface"), "{error}");
}
