//! The peers of the UDP benchmarks: each sends one burst over loopback and receives all of it, on one thread.

pub mod bare;
pub mod libraries;
pub mod ours;

/// Datagrams a burst.
pub const BURST: usize = 64;

/// Payload bytes that one message may have.
pub const MAX_MESSAGE: usize = 65_507;

/// Receive buffers hold two bursts.
pub const BUFFER: usize = 4 << 20;

/// One way of moving a burst.
pub struct Contender {
    pub name: &'static str,
    pub round: Box<dyn FnMut()>,
}

impl Contender {
    pub fn new(name: &'static str, round: impl FnMut() + 'static) -> Self {
        Self {
            name,
            round: Box::new(round),
        }
    }
}

/// Bytes of the messages that a burst of datagrams of `size` bytes makes as segments.
pub fn segment_messages(size: usize) -> Vec<usize> {
    let most = (MAX_MESSAGE / size).min(BURST);
    let mut left = BURST;
    let mut messages = Vec::new();
    while left > 0 {
        let now = left.min(most);
        messages.push(now * size);
        left -= now;
    }
    messages
}
