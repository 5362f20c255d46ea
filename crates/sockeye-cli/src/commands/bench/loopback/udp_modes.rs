//! UDP without the loop: bursts over the loopback on one thread, by each of the ways the kernel moves datagrams.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sockeye::udp::{Outgoing, RecvBatch, SendBatch, UdpOptions, UdpSocket};

use super::report::Rate;

/// Datagrams a burst.
const BURST: usize = 64;
/// The sizes that are measured: a small message, and about what a packet holds.
pub(crate) const SIZES: [usize; 2] = [64, 1200];
/// Room for a burst of the larger size with what the kernel adds to each. It may grant less.
const BUFFER: u32 = 4 << 20;
/// What the largest message of several datagrams takes.
const SLOT_LEN: usize = 65_536;

/// A way of moving datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One call a datagram.
    Single,
    /// `sendmmsg` and `recvmmsg`.
    Batch,
    /// Sent as segments of one message, received one by one in batches.
    Gso,
    /// Sent as segments of one message, and received coalesced.
    GsoGro,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::Single, Self::Batch, Self::Gso, Self::GsoGro];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Gso => "gso",
            Self::GsoGro => "gso+gro",
        }
    }

    /// Moves bursts of datagrams of `size` bytes for `time`, and counts those that arrive.
    ///
    /// # Errors
    /// When a socket cannot be made or breaks.
    pub(crate) fn measure(self, size: usize, time: Duration) -> anyhow::Result<Rate> {
        let mut bursts = Bursts::new(self, size)?;
        // Pages are touched and caches filled before the clock starts.
        bursts.round()?;
        bursts.rate = Rate::default();
        let start = Instant::now();
        while start.elapsed() < time {
            bursts.round()?;
        }
        bursts.rate.time = start.elapsed();
        Ok(bursts.rate)
    }
}

/// Two sockets, and the storage that bursts pass through.
struct Bursts {
    mode: Mode,
    sender: UdpSocket,
    receiver: UdpSocket,
    to: SocketAddr,
    payload: Vec<u8>,
    buffer: Vec<u8>,
    outbox: SendBatch,
    inbox: RecvBatch,
    rate: Rate,
}

impl Bursts {
    fn new(mode: Mode, size: usize) -> anyhow::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let options = UdpOptions::new().recv_buffer(BUFFER).send_buffer(BUFFER);
        let receiver = options.clone().gro(mode == Mode::GsoGro).bind(any)?;
        // A socket goes without it where it must; a measurement under its name does not.
        if mode == Mode::GsoGro && !receiver.capabilities()?.coalesced_receive {
            anyhow::bail!(
                "this kernel refuses UDP_GRO: there is no {} to measure",
                mode.name()
            );
        }
        let mut outbox = SendBatch::new(BURST);
        outbox.set_coalescing(matches!(mode, Mode::Gso | Mode::GsoGro));
        Ok(Self {
            mode,
            sender: options.bind(any)?,
            to: receiver.local_addr()?,
            receiver,
            payload: vec![b's'; size],
            buffer: vec![0; size],
            outbox,
            inbox: RecvBatch::new(BURST, SLOT_LEN),
            rate: Rate::default(),
        })
    }

    /// One burst out and in. On the loopback it is queued at the receiver when the send returns, or lost.
    fn round(&mut self) -> anyhow::Result<()> {
        if self.mode == Mode::Single {
            for _ in 0..BURST {
                self.sender
                    .send_to(&self.payload, self.to)
                    .context("send a datagram")?;
            }
        } else {
            let report = self
                .outbox
                .send_with(&self.sender, 0..BURST, |_| Outgoing::to(self.to, &self.payload));
            if let Some(error) = report.error {
                return Err(error).context("send a burst");
            }
        }
        let arrived = self.receive().context("receive a burst")?;
        self.rate.messages += arrived as u64;
        self.rate.lost += (BURST - arrived.min(BURST)) as u64;
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut arrived = 0;
        while arrived < BURST {
            let received = if self.mode == Mode::Single {
                self.receiver.recv_from(&mut self.buffer).map(|_| 1)
            } else {
                self.receiver
                    .recv_batch(&mut self.inbox)
                    .map(|_| self.inbox.iter().map(|incoming| incoming.segments().len()).sum())
            };
            match received {
                Ok(received) => arrived += received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_moves_every_size() {
        for mode in Mode::ALL {
            for size in SIZES {
                let rate = mode.measure(size, Duration::from_millis(5)).unwrap();
                assert!(rate.messages > 0, "{} {size}", mode.name());
            }
        }
    }
}
