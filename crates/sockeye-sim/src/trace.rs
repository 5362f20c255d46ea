//! What happened, as one number: two runs that differ in anything differ in it.

/// A running hash over everything the simulated kernels did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    hash: u64,
    steps: u64,
}

/// The kinds of steps. The numbers are part of the hash, so they are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Read = 1,
    Write = 2,
    Arrive = 3,
    Loss = 4,
    Connect = 5,
    Accept = 6,
    Reset = 7,
    Fin = 8,
    Send = 9,
    Receive = 10,
    Icmp = 11,
    Fault = 12,
    Poll = 13,
    Close = 14,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            hash: seed ^ 0x736f_636b_6579_6521,
            steps: 0,
        }
    }

    #[inline]
    pub(crate) fn step(&mut self, now: u64, step: Step, who: u32, amount: u64) {
        let word = now ^ (u64::from(who) << 40) ^ ((step as u64) << 56) ^ amount.rotate_left(20);
        self.hash = (self.hash ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
        self.steps += 1;
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash ^ self.steps
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_time_and_amount_all_count() {
        let hash = |steps: &[(u64, Step, u32, u64)]| {
            let mut trace = Trace::new(1);
            for &(now, step, who, amount) in steps {
                trace.step(now, step, who, amount);
            }
            trace.hash()
        };
        let base = [(1, Step::Read, 0, 5), (2, Step::Write, 1, 6)];
        assert_eq!(hash(&base), hash(&base));
        assert_ne!(hash(&base), hash(&[base[1], base[0]]));
        assert_ne!(hash(&base), hash(&[base[0], (3, Step::Write, 1, 6)]));
        assert_ne!(hash(&base), hash(&[base[0], (2, Step::Write, 1, 7)]));
        assert_ne!(hash(&base), hash(&base[..1]));
    }
}
