//! What a host's kernel does to its program: errors at the n-th call, short reads, false alarms.

use crate::errno;
use crate::random::Random;

/// A system call of a simulated program, for errors at the n-th one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Call {
    /// Opening a socket of any kind.
    Socket,
    /// Listening.
    Listen,
    /// Starting a connect.
    Connect,
    /// Accepting.
    Accept,
    /// Reading from a stream.
    Read,
    /// Writing to a stream.
    Write,
    /// Shutting down a stream.
    Shutdown,
    /// Receiving datagrams or packets.
    Receive,
    /// Sending a datagram or packet.
    Send,
    /// Registering with the poller.
    Register,
    /// Setting an option of a stream.
    Option,
}

impl Call {
    /// Every call, in the order of their names in a plan.
    pub const ALL: [Self; 11] = [
        Self::Socket,
        Self::Listen,
        Self::Connect,
        Self::Accept,
        Self::Read,
        Self::Write,
        Self::Shutdown,
        Self::Receive,
        Self::Send,
        Self::Register,
        Self::Option,
    ];

    /// Its name in a plan.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Listen => "listen",
            Self::Connect => "connect",
            Self::Accept => "accept",
            Self::Read => "read",
            Self::Write => "write",
            Self::Shutdown => "shutdown",
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Register => "register",
            Self::Option => "option",
        }
    }
}

/// The knobs of one host. The two that each poll asks for come first, in a line with what it asks of the host.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Knobs {
    /// Whether anything here is not as it should be: the one test on the fast path.
    pub(crate) active: bool,
    pub(crate) permute: bool,
    short_ppm: u32,
    spurious_ppm: u32,
    interrupt_ppm: u32,
    /// Errors to come: which call, how many more succeed before, and the error.
    errors: Vec<(Call, u32, i32)>,
    short: Random,
    spurious: Random,
    interrupt: Random,
    order: Random,
}

impl Knobs {
    pub(crate) fn new(seed: u64, host: u16) -> Self {
        let stream = |kind| Random::stream(seed, kind, u64::from(host));
        Self {
            active: false,
            short_ppm: 0,
            spurious_ppm: 0,
            interrupt_ppm: 0,
            permute: false,
            errors: Vec::new(),
            short: stream(60),
            spurious: stream(61),
            interrupt: stream(62),
            order: stream(63),
        }
    }

    pub(crate) fn set_short(&mut self, ppm: u32) {
        self.short_ppm = ppm;
        self.refresh();
    }

    pub(crate) fn set_spurious(&mut self, ppm: u32) {
        self.spurious_ppm = ppm;
        self.refresh();
    }

    pub(crate) fn set_interrupts(&mut self, ppm: u32) {
        self.interrupt_ppm = ppm;
        self.refresh();
    }

    pub(crate) fn set_permute(&mut self, on: bool) {
        self.permute = on;
        self.refresh();
    }

    /// The `nth` of the following calls of that kind (1 is the next one) fails with `errno`.
    pub(crate) fn fail(&mut self, call: Call, nth: u32, errno: i32) {
        self.errors.push((call, nth.max(1), errno));
        self.refresh();
    }

    /// Everything is as it should be again.
    pub(crate) fn heal(&mut self) {
        self.short_ppm = 0;
        self.spurious_ppm = 0;
        self.interrupt_ppm = 0;
        self.permute = false;
        self.errors.clear();
        self.refresh();
    }

    fn refresh(&mut self) {
        self.active = self.short_ppm != 0
            || self.spurious_ppm != 0
            || self.interrupt_ppm != 0
            || self.permute
            || !self.errors.is_empty();
    }

    /// Counts the call; the error it fails with, if it does.
    #[cold]
    pub(crate) fn call(&mut self, call: Call) -> Result<(), i32> {
        let mut failed = None;
        self.errors.retain_mut(|(which, left, error)| {
            if *which != call {
                return true;
            }
            // A call that fails is one of the following calls too; two errors for the same call come one after another.
            *left = left.saturating_sub(1).max(u32::from(failed.is_some()));
            if *left == 0 {
                failed = Some(*error);
            }
            *left != 0
        });
        self.refresh();
        if let Some(error) = failed {
            return Err(error);
        }
        let interruptible = matches!(
            call,
            Call::Read | Call::Write | Call::Accept | Call::Receive | Call::Send
        );
        if interruptible && self.interrupt.chance(self.interrupt_ppm) {
            return Err(errno::EINTR);
        }
        Ok(())
    }

    /// How much of `len` a read or write may do.
    #[cold]
    pub(crate) fn shorten(&mut self, len: usize) -> usize {
        if len > 1 && self.short.chance(self.short_ppm) {
            let most = (len as u64 - 1).min(64);
            usize::try_from(self.short.between(1, most)).unwrap_or(1)
        } else {
            len
        }
    }

    /// Whether this poll reports something that is not so.
    #[cold]
    pub(crate) fn is_spurious(&mut self) -> bool {
        self.spurious.chance(self.spurious_ppm)
    }

    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.spurious.below(count as u64)).unwrap_or(0)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        if self.permute {
            self.order.shuffle(items);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_fails_and_only_it() {
        let mut knobs = Knobs::new(1, 0);
        knobs.fail(Call::Accept, 3, errno::EMFILE);
        let outcomes: Vec<_> = (0..5).map(|_| knobs.call(Call::Accept)).collect();
        assert_eq!(outcomes, [Ok(()), Ok(()), Err(errno::EMFILE), Ok(()), Ok(())]);
        assert!(!knobs.active);
    }

    #[test]
    fn other_calls_do_not_count() {
        let mut knobs = Knobs::new(1, 0);
        knobs.fail(Call::Read, 1, errno::ENOMEM);
        assert_eq!(knobs.call(Call::Write), Ok(()));
        assert_eq!(knobs.call(Call::Read), Err(errno::ENOMEM));
    }

    #[test]
    fn a_short_read_is_never_empty() {
        let mut knobs = Knobs::new(1, 0);
        knobs.set_short(1_000_000);
        assert!((2..500).all(|len| (1..len).contains(&knobs.shorten(len))));
        assert_eq!(knobs.shorten(1), 1);
        knobs.heal();
        assert_eq!(knobs.shorten(500), 500);
    }
}
