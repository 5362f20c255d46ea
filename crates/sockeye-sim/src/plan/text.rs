//! Plans as text: one line for each thing, blanks between the words.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};

use super::{Fault, HostKnob, LinkKnob, Network, Plan, What};
use crate::errno;
use crate::world::Call;

/// A text that is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plan, line {line}: {fault}")]
pub struct PlanError {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub fault: PlanFault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// A word is missing.
    #[error("it ends early: {0} expected")]
    Missing(&'static str),
    /// A word is not what belongs there.
    #[error("not {0}")]
    Wrong(&'static str),
    /// Words follow that do not belong there.
    #[error("words left over")]
    LeftOver,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Network {
            latency_us,
            jitter_us,
            loss_ppm,
            duplicate_ppm,
            reorder_ppm,
            bandwidth_kbps,
            mtu,
        } = self.network;
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "hosts {}", self.hosts)?;
        writeln!(f, "connections {}", self.connections)?;
        writeln!(f, "messages {}", self.messages)?;
        write!(
            f,
            "network latency {latency_us}us jitter {jitter_us}us loss {loss_ppm}ppm duplicate {duplicate_ppm}ppm "
        )?;
        writeln!(
            f,
            "reorder {reorder_ppm}ppm bandwidth {bandwidth_kbps}kbps mtu {mtu}"
        )?;
        writeln!(f, "healed at {}us", self.healed_at_us)?;
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}us for {}us ", self.at_us, self.for_us)?;
        match self.what {
            What::Link { knob, a, b, amount } => {
                let (_, name, unit) = LinkKnob::ALL[knob as usize];
                write!(f, "{name} {a} {b}")?;
                unit.map_or(Ok(()), |unit| write!(f, " {amount}{unit}"))
            }
            What::Host { knob, host, amount } => {
                let (_, name, unit) = HostKnob::ALL[knob as usize];
                write!(f, "{name} {host}")?;
                unit.map_or(Ok(()), |unit| write!(f, " {amount}{unit}"))
            }
            What::Fail {
                host,
                call,
                nth,
                errno,
            } => {
                write!(f, "fail {host} {} {nth} ", call.name())?;
                match errno::name(errno) {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{errno}"),
                }
            }
        }
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::of_seed(0);
        plan.faults.clear();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("");
            plan.read_line(line).map_err(|fault| PlanError {
                line: index + 1,
                fault,
            })?;
        }
        Ok(plan)
    }
}

impl Plan {
    fn read_line(&mut self, line: &str) -> Result<(), PlanFault> {
        let mut words = Words(line.split_whitespace());
        let Some(first) = words.0.next() else {
            return Ok(());
        };
        match first {
            "seed" => self.seed = words.number("", "a seed")?,
            "hosts" => self.hosts = words.number("", "a number of hosts").and_then(at_least_two)?,
            "connections" => self.connections = words.number("", "a number of connections")?,
            "messages" => self.messages = words.number("", "a number of messages")?,
            "network" => self.network = words.network()?,
            "healed" => {
                words.exactly("at")?;
                self.healed_at_us = words.number("us", "a time in us")?;
            }
            "at" => {
                let fault = words.fault()?;
                self.faults.push(fault);
            }
            _ => return Err(PlanFault::Wrong("the beginning of a line")),
        }
        if words.0.next().is_some() {
            Err(PlanFault::LeftOver)
        } else {
            Ok(())
        }
    }
}

fn at_least_two(hosts: u16) -> Result<u16, PlanFault> {
    if hosts >= 2 {
        Ok(hosts)
    } else {
        Err(PlanFault::Wrong("two hosts or more"))
    }
}

/// The words of a line that are left.
struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn word(&mut self, what: &'static str) -> Result<&'a str, PlanFault> {
        self.0.next().ok_or(PlanFault::Missing(what))
    }

    fn exactly(&mut self, expected: &'static str) -> Result<(), PlanFault> {
        if self.word(expected)? == expected {
            Ok(())
        } else {
            Err(PlanFault::Wrong(expected))
        }
    }

    fn number<T: FromStr>(&mut self, unit: &str, what: &'static str) -> Result<T, PlanFault> {
        let word = self.word(what)?;
        let digits = word.strip_suffix(unit).ok_or(PlanFault::Wrong(what))?;
        digits.parse().map_err(|_| PlanFault::Wrong(what))
    }

    fn named<T: FromStr>(&mut self, name: &'static str, unit: &str) -> Result<T, PlanFault> {
        self.exactly(name)?;
        self.number(unit, name)
    }

    fn network(&mut self) -> Result<Network, PlanFault> {
        Ok(Network {
            latency_us: self.named("latency", "us")?,
            jitter_us: self.named("jitter", "us")?,
            loss_ppm: self.named("loss", "ppm")?,
            duplicate_ppm: self.named("duplicate", "ppm")?,
            reorder_ppm: self.named("reorder", "ppm")?,
            bandwidth_kbps: self.named("bandwidth", "kbps")?,
            mtu: self.named("mtu", "")?,
        })
    }

    fn fault(&mut self) -> Result<Fault, PlanFault> {
        let at_us = self.number("us", "a time in us")?;
        self.exactly("for")?;
        let for_us = self.number("us", "a time in us")?;
        let name = self.word("a fault")?;
        let what = if let Some((knob, _, unit)) =
            LinkKnob::ALL.into_iter().find(|(_, known, _)| *known == name)
        {
            let (a, b) = (self.number("", "a host")?, self.number("", "a host")?);
            What::Link {
                knob,
                a,
                b,
                amount: self.amount(unit)?,
            }
        } else if let Some((knob, _, unit)) = HostKnob::ALL.into_iter().find(|(_, known, _)| *known == name) {
            let host = self.number("", "a host")?;
            What::Host {
                knob,
                host,
                amount: self.amount(unit)?,
            }
        } else if name == "fail" {
            self.failure()?
        } else {
            return Err(PlanFault::Wrong("a fault"));
        };
        Ok(Fault { at_us, for_us, what })
    }

    fn amount(&mut self, unit: Option<&'static str>) -> Result<u32, PlanFault> {
        unit.map_or(Ok(0), |unit| self.number(unit, "an amount"))
    }

    fn failure(&mut self) -> Result<What, PlanFault> {
        let host = self.number("", "a host")?;
        let name = self.word("a call")?;
        let call = Call::ALL
            .into_iter()
            .find(|call| call.name() == name)
            .ok_or(PlanFault::Wrong("a call"))?;
        let nth = self.number("", "a count")?;
        let name = self.word("an error")?;
        let errno = errno::by_name(name)
            .or_else(|| name.parse().ok())
            .ok_or(PlanFault::Wrong("an error"))?;
        Ok(What::Fail {
            host,
            call,
            nth,
            errno,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, line, fault) in [
            ("seed 1\nhosts one", 2, PlanFault::Wrong("a number of hosts")),
            ("hosts 1", 1, PlanFault::Wrong("two hosts or more")),
            ("at 5us for 5us cut 0", 1, PlanFault::Missing("a host")),
            ("at 5ms for 5us cut 0 1", 1, PlanFault::Wrong("a time in us")),
            ("at 5us for 5us bend 0 1", 1, PlanFault::Wrong("a fault")),
            (
                "at 5us for 5us fail 0 accept 1 EWHAT",
                1,
                PlanFault::Wrong("an error"),
            ),
            ("seed 1 2", 1, PlanFault::LeftOver),
            ("sed 1", 1, PlanFault::Wrong("the beginning of a line")),
        ] {
            assert_eq!(text.parse::<Plan>(), Err(PlanError { line, fault }), "{text}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        let plan: Plan = "# a plan\n\nseed 7 # lucky\nat 1us for 2us fail 1 read 3 ECONNRESET"
            .parse()
            .unwrap();
        assert_eq!((plan.seed, plan.faults.len()), (7, 1));
    }
}
