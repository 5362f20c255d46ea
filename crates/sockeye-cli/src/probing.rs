//! What `ping`, `trace` and `mtu` share: whom to probe, and a loop that probes until it is over or interrupted.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use sockeye::endpoint::{Target, TargetDefaults, Transport};
use sockeye::event_loop::EventLoop;
use sockeye::probe::RttStats;
use sockeye::socket::OpError;

use crate::address::place;
use crate::exit::{Exit, Failure, classify, describe};
use crate::names;

/// How long a name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The port that traceroute made its own.
pub(crate) const TRACE_PORT: u16 = 33_434;

/// Which of a name's addresses.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Family {
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "v6")]
    v4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    v6: bool,
}

impl Family {
    pub(crate) const fn admits(self, address: &SocketAddr) -> bool {
        match address {
            SocketAddr::V4(_) => !self.v6,
            SocketAddr::V6(_) => !self.v4,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        if self.v6 { "IPv6" } else { "IPv4" }
    }
}

/// Reads a host such as `example.com`, `192.0.2.1`, `::1` or `udp://host:53`: what it does not say is taken from
/// `transport` and `port`.
///
/// # Errors
/// Where the text is no host, and with which part.
pub(crate) fn target(text: &str, transport: Transport, port: u16) -> anyhow::Result<Target> {
    let defaults = TargetDefaults {
        transport: Some(transport),
        port: Some(port),
    };
    Target::parse_with(&names::bracketed(text), defaults)
        .map_err(|error| Failure::usage(format!("{text:?}: {}", place(&names::bracketed(text), error))))
}

/// Why no socket could be opened. Echo requests go over a ping socket or a raw one: whom neither was allowed hears
/// of both permissions.
pub(crate) fn refused(error: OpError, is_echo: bool) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    if is_echo && classify(&error) == Exit::Permission {
        let said = describe(&error);
        let both = format!("{said}, or for echo alone a group within sysctl net.ipv4.ping_group_range");
        return Failure::with(Exit::Permission, both);
    }
    error
}

/// The first address of a target that the family admits.
///
/// # Errors
/// When the name has no address within ten seconds, or none of that family.
pub(crate) fn address(target: &Target, family: Family) -> anyhow::Result<SocketAddr> {
    let addresses = match target.endpoint() {
        Some(endpoint) => vec![names::socket_addr(&endpoint)?],
        None => names::addresses(target, LOOKUP_TIMEOUT)?,
    };
    addresses
        .into_iter()
        .find(|address| family.admits(address))
        .ok_or_else(|| {
            Failure::with(
                Exit::Resolution,
                format!("{} has no {} address", target.host(), family.name()),
            )
        })
}

/// A number that nobody can guess: the standard library seeds its hashers from the system.
pub(crate) fn secret() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A duration in the unit of the JSON output.
pub(crate) fn nanoseconds(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// A duration in the unit that people expect: `0.123 ms`.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1e3)
}

/// A share in percent, in six columns at most; `-` before there is one.
pub(crate) fn loss(loss: Option<f64>) -> String {
    loss.map_or_else(|| "-".to_owned(), |loss| format!("{:.1}%", loss * 100.0))
}

/// Milliseconds in seven columns at most, with as many decimals as say something; `-` where there is no time.
pub(crate) fn time(time: Option<Duration>) -> String {
    let Some(time) = time else { return "-".to_owned() };
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 {
        format!("{ms:.2}")
    } else if ms < 1000.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.0}")
    }
}

/// Round-trip times for programs.
pub(crate) fn rtt_json(rtt: &RttStats) -> Value {
    let percentile = |percent| rtt.percentile(percent).map(nanoseconds);
    json!({
        "min": rtt.min().map(nanoseconds), "avg": rtt.mean().map(nanoseconds), "max": rtt.max().map(nanoseconds),
        "mdev": rtt.deviation().map(nanoseconds),
        "p50": percentile(50.0), "p90": percentile(90.0), "p99": percentile(99.0),
    })
}

/// Seconds from 0 on.
pub(crate) fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds: 0 to 86400".to_owned()),
    }
}

/// Where an engine's events wait until they are printed, between two turns of the loop.
#[derive(Debug)]
pub(crate) struct Inbox<T>(Rc<RefCell<VecDeque<T>>>);

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self(Rc::default())
    }

    pub(crate) fn put(&self, event: T) {
        self.0.borrow_mut().push_back(event);
    }

    /// Everything that waits.
    pub(crate) fn take_all(&self) -> Vec<T> {
        self.0.borrow_mut().drain(..).collect()
    }

    /// The next one, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.borrow_mut().pop_front()
    }
}

/// The error of a prober that has given up.
///
/// # Errors
/// That one.
pub(crate) fn given_up(fault: Option<io::Error>) -> anyhow::Result<()> {
    match fault {
        Some(error) => Err(anyhow::Error::from(error).context("receive answers")),
        None => Ok(()),
    }
}

/// Turns the loop and hands out events until `print` says that the last one has come (`true`) or a signal has
/// (`false`).
///
/// # Errors
/// What the loop or `print` reports.
pub(crate) fn run<T>(
    events: &mut EventLoop,
    inbox: &Inbox<T>,
    mut print: impl FnMut(&mut EventLoop, T) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    loop {
        events.turn(None).context("run the event loop")?;
        while let Some(event) = inbox.take() {
            if print(events, event)? {
                return Ok(true);
            }
        }
        if events.is_stopping() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_in_all_their_spellings() {
        let spelled = |text| target(text, Transport::Udp, 9).unwrap().to_string();
        assert_eq!(spelled("192.0.2.1"), "udp://192.0.2.1:9");
        assert_eq!(spelled("::1"), "udp://[::1]:9");
        assert_eq!(spelled("[::1]:53"), "udp://[::1]:53");
        assert_eq!(spelled("localhost:53"), "udp://localhost:53");
        assert_eq!(spelled("tcp://localhost:80"), "tcp://localhost:80");
        let error = target("127.1", Transport::ICMP, 0).unwrap_err().to_string();
        assert!(error.starts_with("\"127.1\": "), "{error}");
    }

    #[test]
    fn a_family_that_is_not_there_is_an_error_of_resolution() {
        let v6 = Family { v4: false, v6: true };
        let target = target("192.0.2.1", Transport::Udp, 9).unwrap();
        let error = address(&target, v6).unwrap_err();
        assert_eq!(classify(&error), Exit::Resolution);
        assert!(error.to_string().contains("has no IPv6 address"), "{error}");
    }

    #[test]
    fn times_have_the_decimals_that_say_something() {
        let shown = |us| time(Some(Duration::from_micros(us)));
        assert_eq!(
            [shown(47), shown(9_990), shown(12_340), shown(1_234_000)],
            ["0.05", "9.99", "12.3", "1234"]
        );
    }
}
