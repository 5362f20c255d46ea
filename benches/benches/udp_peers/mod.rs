//! The peers of the UDP benchmarks: each sends one burst over loopback and receives all of it, on one thread.

pub(crate) mod bare;
pub(crate) mod libraries;
pub(crate) mod ours;

/// Datagrams a burst.
pub(crate) const BURST: usize = 64;

/// Payload bytes that one message may have.
pub(crate) const MAX_MESSAGE: usize = 65_507;

/// Receive buffers hold two bursts.
pub(crate) const BUFFER: usize = 4 << 20;

/// One way of moving a burst.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) round: Box<dyn FnMut()>,
}

impl Contender {
    pub(crate) fn new(name: &'static str, round: impl FnMut() + 'static) -> Self {
        Self {
            name,
            round: Box::new(round),
        }
    }
}

/// Bytes of the messages that a burst of datagrams of `size` bytes makes as segments.
pub(crate) fn segment_messages(size: usize) -> Vec<usize> {
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
