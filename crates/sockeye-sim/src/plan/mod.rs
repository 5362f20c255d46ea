//! Plans: everything that chance decides about a run, written down.
//!
//! A seed expands into a plan, and the plan is what runs. So a failure is reported as a text that can be read,
//! changed and run again, and what is shrunk is the list of faults and not a number:
//!
//! ```text
//! seed 42
//! hosts 4
//! connections 32
//! messages 1000
//! network latency 100us jitter 20us loss 0ppm duplicate 0ppm reorder 0ppm bandwidth 0kbps mtu 1500
//! healed at 5000000us
//! at 12000us for 300000us cut 0 1
//! at 90000us for 0us fail 2 accept 3 EMFILE
//! ```

mod text;

use std::time::Duration;

pub use text::{PlanError, PlanFault};

use crate::errno;
use crate::link::LinkOptions;
use crate::random::Random;
use crate::world::Call;

/// What runs, and what goes wrong meanwhile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// For all chance that the plan does not spell out: which packet is lost, which port is picked.
    pub seed: u64,
    /// Hosts.
    pub hosts: u16,
    /// Connections between them.
    pub connections: u32,
    /// Messages in all.
    pub messages: u32,
    /// How links are while nothing goes wrong.
    pub network: Network,
    /// Microseconds after which nothing goes wrong any more.
    pub healed_at_us: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Links while nothing goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// One-way latency in microseconds.
    pub latency_us: u32,
    /// Jitter in microseconds.
    pub jitter_us: u32,
    /// Loss in millionths.
    pub loss_ppm: u32,
    /// Duplicated datagrams in millionths.
    pub duplicate_ppm: u32,
    /// Reordered datagrams in millionths.
    pub reorder_ppm: u32,
    /// Kilobits a second; 0 is without bound.
    pub bandwidth_kbps: u32,
    /// Bytes of the longest packet.
    pub mtu: u32,
}

impl Network {
    /// The same for a link.
    #[must_use]
    pub fn options(self) -> LinkOptions {
        LinkOptions {
            latency: Duration::from_micros(self.latency_us.into()),
            jitter: Duration::from_micros(self.jitter_us.into()),
            loss_ppm: self.loss_ppm,
            duplicate_ppm: self.duplicate_ppm,
            reorder_ppm: self.reorder_ppm,
            bandwidth: (self.bandwidth_kbps != 0).then(|| u64::from(self.bandwidth_kbps) * 1000),
            mtu: usize::try_from(self.mtu).unwrap_or(1500).max(68),
            ..LinkOptions::default()
        }
    }
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// When it begins, in microseconds.
    pub at_us: u64,
    /// How long it lasts, in microseconds.
    pub for_us: u64,
    /// What it is.
    pub what: What,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A link.
    Link {
        /// What about it.
        knob: LinkKnob,
        /// One end; for [`LinkKnob::OneWay`] the sending one.
        a: u16,
        /// The other end.
        b: u16,
        /// How much, in the knob's unit.
        amount: u32,
    },
    /// A host.
    Host {
        /// What about it.
        knob: HostKnob,
        /// Which.
        host: u16,
        /// How much, in the knob's unit.
        amount: u32,
    },
    /// One system call of a host fails.
    Fail {
        /// Which host.
        host: u16,
        /// Which call.
        call: Call,
        /// The how manieth from then on, 1 being the next.
        nth: u32,
        /// The error, by Linux's number.
        errno: i32,
    },
}

/// What can go wrong with a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKnob {
    /// Nothing passes.
    Cut,
    /// Nothing passes in one direction.
    OneWay,
    /// Loss, in millionths.
    Loss,
    /// Latency, in microseconds.
    Latency,
    /// Jitter, in microseconds.
    Jitter,
    /// Duplicated datagrams, in millionths.
    Duplicate,
    /// Reordered datagrams, in millionths.
    Reorder,
    /// Bandwidth, in kilobits a second.
    Bandwidth,
}

/// What can go wrong with a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostKnob {
    /// Its program stops, its kernel goes on.
    Pause,
    /// Program, kernel and clock stop.
    Suspend,
    /// It is gone, and boots when the fault ends.
    Crash,
    /// Reads and writes are short, in millionths.
    Short,
    /// Polls report what is not so, in millionths.
    Spurious,
    /// Calls are interrupted, in millionths.
    Interrupt,
    /// Events come in any order.
    Permute,
    /// The descriptors that it may have open.
    Descriptors,
    /// The ephemeral ports that it has.
    Ports,
}

impl LinkKnob {
    /// Every knob, with its name in a plan and its unit, if it has an amount.
    pub const ALL: [(Self, &'static str, Option<&'static str>); 8] = [
        (Self::Cut, "cut", None),
        (Self::OneWay, "oneway", None),
        (Self::Loss, "loss", Some("ppm")),
        (Self::Latency, "latency", Some("us")),
        (Self::Jitter, "jitter", Some("us")),
        (Self::Duplicate, "duplicate", Some("ppm")),
        (Self::Reorder, "reorder", Some("ppm")),
        (Self::Bandwidth, "bandwidth", Some("kbps")),
    ];
}

impl HostKnob {
    /// Every knob, with its name in a plan and its unit, if it has an amount.
    pub const ALL: [(Self, &'static str, Option<&'static str>); 9] = [
        (Self::Pause, "pause", None),
        (Self::Suspend, "suspend", None),
        (Self::Crash, "crash", None),
        (Self::Short, "short", Some("ppm")),
        (Self::Spurious, "spurious", Some("ppm")),
        (Self::Interrupt, "interrupt", Some("ppm")),
        (Self::Permute, "permute", None),
        (Self::Descriptors, "descriptors", Some("open")),
        (Self::Ports, "ports", Some("ports")),
    ];
}

/// How long the chaos of a seed lasts.
const CHAOS_US: u64 = 2_000_000;
/// The errors that a plan of a seed injects, by call. None of them stands for success.
const ERRORS: [(Call, &[i32]); 6] = [
    (
        Call::Accept,
        &[
            errno::EMFILE,
            errno::ENFILE,
            errno::ENOBUFS,
            errno::ENOMEM,
            errno::ECONNABORTED,
        ],
    ),
    (Call::Read, &[errno::ECONNRESET, errno::ETIMEDOUT, errno::EINTR]),
    (Call::Write, &[errno::ECONNRESET, errno::EPIPE, errno::EINTR]),
    (
        Call::Connect,
        &[errno::ENETUNREACH, errno::EADDRNOTAVAIL, errno::ETIMEDOUT],
    ),
    (Call::Send, &[errno::ENOBUFS, errno::EPERM, errno::EHOSTUNREACH]),
    (Call::Register, &[errno::ENOSPC, errno::ENOMEM]),
];

impl Plan {
    /// The plan of a seed: four to six hosts, at least 32 connections, 1,000 messages and 20 faults.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::stream(seed, 1000, 0);
        let hosts = small(random.between(4, 6));
        let network = Network {
            latency_us: wide(random.between(0, 400)),
            jitter_us: wide(random.between(0, 100)),
            loss_ppm: if random.chance(500_000) {
                wide(random.below(5_000))
            } else {
                0
            },
            duplicate_ppm: wide(random.below(10_000)),
            reorder_ppm: wide(random.below(20_000)),
            bandwidth_kbps: if random.chance(300_000) {
                wide(random.between(10_000, 1_000_000))
            } else {
                0
            },
            mtu: 1500,
        };
        let faults = (0..random.between(20, 28))
            .map(|_| Fault::random(&mut random, hosts))
            .collect();
        Self {
            seed,
            hosts,
            connections: wide(random.between(32, 40)),
            messages: wide(random.between(1000, 1200)),
            network,
            healed_at_us: CHAOS_US,
            faults,
        }
    }

    /// A plan out of arbitrary bytes, for a fuzzer: any bytes are some plan, and more bytes are more faults.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (head, rest) = bytes.split_at(bytes.len().min(8));
        let mut seed = [0; 8];
        seed[..head.len()].copy_from_slice(head);
        let mut plan = Self::of_seed(u64::from_le_bytes(seed));
        plan.connections = 32;
        plan.messages = 200;
        plan.faults = rest
            .chunks(8)
            .take(64)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                Fault::random(&mut Random::new(u64::from_le_bytes(word)), plan.hosts)
            })
            .collect();
        plan
    }

    /// Hosts named in faults are there, and every fault ends when the plan is healed.
    pub(crate) fn bounded(&self) -> impl Iterator<Item = Fault> + '_ {
        self.faults.iter().map(|fault| {
            let mut fault = *fault;
            fault.at_us = fault.at_us.min(self.healed_at_us);
            fault.for_us = fault.for_us.min(self.healed_at_us - fault.at_us);
            fault
        })
    }
}

impl Fault {
    fn random(random: &mut Random, hosts: u16) -> Self {
        let at_us = random.below(CHAOS_US * 9 / 10);
        let for_us = random.between(1_000, 400_000);
        let host = small(random.below(hosts.into()));
        let what = match random.below(10) {
            0..5 => Self::random_link(random, host, hosts),
            5..8 => Self::random_host(random, host),
            _ => {
                let (call, errors) = ERRORS[pick(random, ERRORS.len())];
                let errno = errors[pick(random, errors.len())];
                What::Fail {
                    host,
                    call,
                    nth: wide(random.between(1, 20)),
                    errno,
                }
            }
        };
        Self { at_us, for_us, what }
    }

    fn random_link(random: &mut Random, a: u16, hosts: u16) -> What {
        let b = (a + small(random.between(1, u64::from(hosts) - 1))) % hosts;
        let (knob, ..) = LinkKnob::ALL[pick(random, LinkKnob::ALL.len())];
        let amount = match knob {
            LinkKnob::Cut | LinkKnob::OneWay => 0,
            LinkKnob::Loss => random.between(1_000, 300_000),
            LinkKnob::Duplicate | LinkKnob::Reorder => random.between(1_000, 500_000),
            LinkKnob::Latency => random.between(1_000, 100_000),
            LinkKnob::Jitter => random.between(100, 50_000),
            LinkKnob::Bandwidth => random.between(100, 10_000),
        };
        What::Link {
            knob,
            a,
            b,
            amount: wide(amount),
        }
    }

    fn random_host(random: &mut Random, host: u16) -> What {
        let (knob, ..) = HostKnob::ALL[pick(random, HostKnob::ALL.len())];
        let amount = match knob {
            HostKnob::Pause | HostKnob::Suspend | HostKnob::Crash | HostKnob::Permute => 0,
            HostKnob::Short | HostKnob::Spurious => random.between(10_000, 800_000),
            HostKnob::Interrupt => random.between(1_000, 100_000),
            HostKnob::Descriptors => random.between(2, 30),
            HostKnob::Ports => random.between(1, 20),
        };
        What::Host {
            knob,
            host,
            amount: wide(amount),
        }
    }
}

fn small(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn wide(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_seed_has_at_least_what_is_promised() {
        for seed in 0..200 {
            let plan = Plan::of_seed(seed);
            assert!(
                plan.hosts >= 4 && plan.connections >= 32 && plan.messages >= 1000 && plan.faults.len() >= 20
            );
            assert_eq!(plan, Plan::of_seed(seed));
        }
    }

    #[test]
    fn every_kind_of_fault_occurs() {
        let mut seen = std::collections::BTreeSet::new();
        for fault in (0..200).flat_map(|seed| Plan::of_seed(seed).faults) {
            seen.insert(match fault.what {
                What::Link { knob, .. } => format!("{knob:?}"),
                What::Host { knob, .. } => format!("{knob:?}"),
                What::Fail { call, .. } => format!("{call:?}"),
            });
        }
        assert_eq!(
            seen.len(),
            LinkKnob::ALL.len() + HostKnob::ALL.len() + ERRORS.len(),
            "{seen:?}"
        );
    }

    proptest! {
        #[test]
        fn prop_a_plan_prints_and_parses_back(seed in any::<u64>()) {
            let plan = Plan::of_seed(seed);
            prop_assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
        }

        #[test]
        fn prop_any_bytes_are_a_plan(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let plan = Plan::from_bytes(&bytes);
            prop_assert!(plan.faults.len() <= 64);
            prop_assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
        }

        #[test]
        fn prop_no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = text.parse::<Plan>();
        }
    }
}
