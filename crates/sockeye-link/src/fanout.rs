//! Fanout: several sockets share the frames of an interface.

use sockeye_socket::filter::Filter;

/// How a group of sockets shares frames.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FanoutKind {
    /// By a hash of addresses and ports: the frames of one flow go to one socket.
    Hash,
    /// In turn.
    RoundRobin,
    /// By the CPU that handles the frame.
    Cpu,
    /// By chance.
    Random,
    /// By the queue of the interface.
    Queue,
    /// To the first that has room.
    Rollover,
    /// By a classic BPF program: what it returns, modulo the number of sockets, is the socket's place in the group. The last
    /// socket that joins sets the program of the group.
    Filter(Filter),
}

/// Membership in a group of sockets that share frames. All members are bound to the same interface and protocol; a frame
/// goes to one of them.
///
/// ```no_run
/// use sockeye_link::{Fanout, FanoutKind, LinkOptions};
///
/// let options = LinkOptions::new().fanout(Fanout::new(7, FanoutKind::Hash));
/// let workers = [options.open("eth0")?, options.open("eth0")?];
/// # Ok::<(), sockeye_link::LinkError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[doc(alias = "PACKET_FANOUT")]
pub struct Fanout {
    group: u16,
    kind: FanoutKind,
    defragment: bool,
    rollover: bool,
}

impl Fanout {
    /// The group of this number in the network namespace, made by its first member.
    pub const fn new(group: u16, kind: FanoutKind) -> Self {
        Self {
            group,
            kind,
            defragment: false,
            rollover: false,
        }
    }

    /// The kernel puts IPv4 fragments together first, so that all of a datagram goes to one socket.
    #[doc(alias = "PACKET_FANOUT_FLAG_DEFRAG")]
    pub const fn defragment(mut self, on: bool) -> Self {
        self.defragment = on;
        self
    }

    /// A frame whose socket is full goes to another one.
    #[doc(alias = "PACKET_FANOUT_FLAG_ROLLOVER")]
    pub const fn rollover(mut self, on: bool) -> Self {
        self.rollover = on;
        self
    }

    /// The value of the option: the group below, kind and flags above.
    pub(crate) fn value(&self) -> u32 {
        let kind = match self.kind {
            FanoutKind::Hash => 0,
            FanoutKind::RoundRobin => 1,
            FanoutKind::Cpu => 2,
            FanoutKind::Rollover => 3,
            FanoutKind::Random => 4,
            FanoutKind::Queue => 5,
            FanoutKind::Filter(_) => 6,
        };
        let flags = if self.rollover { 0x1000 } else { 0 } | if self.defragment { 0x8000 } else { 0 };
        u32::from(self.group) | (kind | flags) << 16
    }

    pub(crate) fn filter(&self) -> Option<&Filter> {
        match &self.kind {
            FanoutKind::Filter(filter) => Some(filter),
            _ => None,
        }
    }
}
