//! What is to be measured, from the arguments: refused here is what makes no sense together.

use std::net::SocketAddr;
use std::time::Duration;

use sockeye::endpoint::{Address, Carrier, Scheme, Target, TargetDefaults, Transport as Carries, UnixName};
use sockeye::measure::run::{Limits, Mode, Parameters, Transport};

use super::super::flows::nanoseconds;
use super::super::server::PORT;
use super::Arguments;
use super::arguments;
use super::figures::Protocol;
use crate::exit::Failure;
use crate::names;

/// For a name to be looked up.
const LOOKUP: Duration = Duration::from_secs(10);
/// What a datagram carries through links of 1500 bytes, by IPv4 and IPv6 and tunnels of them.
const DATAGRAM: u32 = 1400;
const BLOCK: u32 = 128 * 1024;
const REQUEST: u32 = 64;
/// A datagram rate that does no harm.
const DATAGRAM_BITS: u64 = 1_000_000;

/// Where the server is.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Ip(Vec<SocketAddr>),
    Unix(UnixName),
}

/// The whole of it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) parameters: Parameters,
    pub(super) way: Way,
    /// The name that the certificate of a server has to have, of TLS.
    pub(super) server_name: Option<String>,
    /// How long round trips are measured before the load; none at all where it is zero.
    pub(super) idle: Duration,
    /// The CPU of this side.
    pub(super) cpu: Option<u16>,
}

impl Plan {
    /// # Errors
    /// What makes no sense, or a name that has no address.
    pub(super) fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let (address, transport) = target(arguments)?;
        let (cpu, server_cpu) = affinity(arguments.affinity.as_deref())?;
        let mut parameters = parameters(arguments, transport)?;
        parameters.cpu = server_cpu;
        let (way, server_name) = match &address {
            Address::Unix(name) => (Way::Unix(*name), None),
            Address::Ip { endpoint, .. } => {
                let all = addresses(arguments, endpoint)?;
                (Way::Ip(all), server_name(arguments, endpoint, transport))
            }
        };
        let plan = Self {
            idle: Duration::from_secs_f64(if parameters.probe { arguments.idle } else { 0.0 }),
            parameters,
            way,
            server_name,
            cpu,
        };
        plan.parameters
            .check(&Limits::default())
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(plan)
    }
}

/// The addresses of a server, of the family that is wanted.
///
/// # Errors
/// Where it has none.
pub(crate) fn addresses(arguments: &Arguments, server: &Target) -> anyhow::Result<Vec<SocketAddr>> {
    let mut all = names::addresses(server, LOOKUP)?;
    all.retain(|address| arguments.family.admits(address));
    if all.is_empty() {
        let family = arguments.family.name();
        return Err(Failure::with(
            crate::exit::Exit::Resolution,
            format!("{} has no {family} address", server.host()),
        ));
    }
    Ok(all)
}

/// The CPU of this side with a server that does not take one.
///
/// # Errors
/// Of what is no number, or two.
pub(crate) fn own_cpu(arguments: &Arguments, protocol: Protocol) -> anyhow::Result<Option<u16>> {
    match affinity(arguments.affinity.as_deref())? {
        (cpu, None) => Ok(cpu),
        (_, Some(_)) => Err(Failure::usage(format!(
            "-A: with --{} it takes the number of one CPU, for this side",
            protocol.name()
        ))),
    }
}

/// Refuses the options that a protocol has no use for.
///
/// # Errors
/// The first of those that were given, together with those that only our own protocol knows.
pub(crate) fn refuse(arguments: &Arguments, protocol: Protocol, more: &[(&str, bool)]) -> anyhow::Result<()> {
    let ours = [
        ("--ca", arguments.ca.is_some()),
        ("--insecure", arguments.insecure),
        ("--servername", arguments.servername.is_some()),
    ];
    let given = ours.iter().chain(more).find(|(_, is_given)| *is_given);
    match given {
        None => Ok(()),
        Some((option, _)) => Err(Failure::usage(format!(
            "{option}: {name} does not have it: leave out --{name}",
            name = protocol.name()
        ))),
    }
}

fn server_name(arguments: &Arguments, endpoint: &Target, transport: Transport) -> Option<String> {
    if transport != Transport::Tls {
        return None;
    }
    let of_target = || match endpoint.endpoint() {
        Some(endpoint) => endpoint.ip().to_string(),
        None => endpoint.host().to_string(),
    };
    Some(arguments.servername.clone().unwrap_or_else(of_target))
}

fn target(arguments: &Arguments) -> anyhow::Result<(Address<Target>, Transport)> {
    let text = arguments.target.as_str();
    let wrong = |why: String| Failure::usage(format!("{text}: {why}"));
    let raw = text.strip_prefix("raw://");
    let defaults = TargetDefaults {
        transport: Some(if arguments.udp { Carries::Udp } else { Carries::Tcp }),
        port: Some(PORT),
    };
    let bare = names::bracketed(raw.unwrap_or(text));
    let address = Address::<Target>::parse_with(&bare, defaults).map_err(|error| wrong(error.to_string()))?;
    let transport = match (address.scheme(), raw) {
        (Scheme::Tcp, Some(_)) => Transport::Raw,
        (Scheme::Tcp, None) => Transport::Tcp,
        (Scheme::Udp, None) => Transport::Udp,
        (Scheme::Tls, None) => Transport::Tls,
        (Scheme::Unix, None) => Transport::Unix,
        _ => {
            return Err(wrong(
                "tcp://, udp://, tls://, unix: and raw:// can be measured".to_owned(),
            ));
        }
    };
    if arguments.udp && transport != Transport::Udp {
        return Err(wrong(
            "-u is for a target without a scheme, or with udp://".to_owned(),
        ));
    }
    let is_secret = arguments.ca.is_some() || arguments.insecure || arguments.servername.is_some();
    if is_secret && transport != Transport::Tls {
        return Err(wrong(
            "--ca, --insecure and --servername are for tls://".to_owned(),
        ));
    }
    // The control connection of datagrams is one of TCP, at the same host and port.
    let address = match address {
        Address::Ip {
            carrier: Some(Carrier::Tls),
            ..
        }
        | Address::Unix(_) => address,
        Address::Ip { endpoint, .. } => Address::Ip {
            carrier: None,
            endpoint: control_of(&endpoint).map_err(wrong)?,
        },
    };
    Ok((address, transport))
}

/// The same host and port by TCP.
fn control_of(endpoint: &Target) -> Result<Target, String> {
    let text = endpoint.to_string();
    let (_, rest) = text.split_once("://").unwrap_or(("", &text));
    format!("tcp://{rest}")
        .parse()
        .map_err(|error| format!("{error}"))
}

fn affinity(text: Option<&str>) -> anyhow::Result<(Option<u16>, Option<u16>)> {
    let Some(text) = text else {
        return Ok((None, None));
    };
    let wrong = || Failure::usage(format!("-A {text}: expected CPU or CPU,CPU, such as 0 or 0,1"));
    let (client, server) = match text.split_once(',') {
        Some((client, server)) => (client, Some(server)),
        None => (text, None),
    };
    let cpu = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    Ok((Some(cpu(client)?), server.map(cpu).transpose()?))
}

fn parameters(arguments: &Arguments, transport: Transport) -> anyhow::Result<Parameters> {
    let wrong = |why: &str| Err(Failure::usage(why));
    let mode = match arguments.mode {
        arguments::ModeArgument::Stream => Mode::Stream,
        arguments::ModeArgument::Rr => Mode::Rr,
        arguments::ModeArgument::Crr => Mode::Crr,
        arguments::ModeArgument::Oneway => Mode::Oneway,
    };
    let is_answered = matches!(mode, Mode::Rr | Mode::Crr);
    if is_answered && (arguments.reverse || arguments.bidir) {
        return wrong("--mode rr and crr go both ways already: -R and --bidir are for stream and oneway");
    }
    if mode == Mode::Crr && transport.is_datagrams() {
        return wrong("--mode crr opens connections: it is for tcp://, tls:// and unix:");
    }
    if arguments.rate.is_some() && (mode == Mode::Stream || arguments.bitrate.is_some()) {
        return wrong("--rate is for --mode rr, crr and oneway, and takes the place of -b");
    }
    if is_answered && arguments.bitrate.is_some() {
        return wrong("-b is for --mode stream and oneway; --rate says how many requests a second");
    }
    if arguments.zerocopy && (mode != Mode::Stream || transport.is_datagrams() || transport == Transport::Tls)
    {
        return wrong("-Z is for --mode stream over tcp:// and unix:");
    }
    let is_counted = arguments.bytes.is_some() || arguments.blocks.is_some();
    if is_counted && arguments.omit > 0.0 {
        return wrong("-O is for a time: with -n or -k everything counts");
    }
    let bits = match (mode, transport, arguments.bitrate) {
        (Mode::Stream, Transport::Udp | Transport::Raw, None) => Some(DATAGRAM_BITS),
        (_, _, bits) => bits.filter(|bits| *bits > 0),
    };
    let length = length(arguments, mode, transport, bits)?;
    let bytes = arguments.bytes.or_else(|| {
        arguments
            .blocks
            .map(|blocks| blocks.saturating_mul(length.into()))
    });
    let parallel = u32::from(arguments.parallel);
    let (up, down) = match (arguments.reverse, arguments.bidir) {
        (_, true) => (parallel, parallel),
        (true, _) => (0, parallel),
        _ => (parallel, 0),
    };
    let time = |seconds: f64| nanoseconds(Duration::from_secs_f64(seconds));
    Ok(Parameters {
        mode,
        transport,
        up,
        down,
        probe: mode == Mode::Stream && arguments.idle > 0.0,
        length,
        time_ns: if is_counted { 0 } else { time(arguments.time) },
        omit_ns: time(arguments.omit),
        bytes,
        bitrate: bits,
        rate: arguments.rate,
        interval_ns: time(arguments.interval),
        window: match arguments.window.map(u32::try_from) {
            Some(Err(_)) => return wrong("-w: more than 4G"),
            window => window.and_then(Result::ok),
        },
        zerocopy: arguments.zerocopy,
        cpu: None,
    })
}

fn length(arguments: &Arguments, mode: Mode, transport: Transport, bits: Option<u64>) -> anyhow::Result<u32> {
    if let Some(length) = arguments.length {
        return u32::try_from(length).map_err(|_| Failure::usage("-l: more than 4G"));
    }
    let usual = match (mode, transport.is_datagrams()) {
        (Mode::Stream, true) => DATAGRAM,
        // At a low rate a large block would leave every now and then: ten a second at least.
        (Mode::Stream, false) => {
            let tenth = bits.map_or(u64::MAX, |bits| bits / 80);
            u32::try_from(tenth).unwrap_or(BLOCK).clamp(1, BLOCK)
        }
        // The header of a datagram fits.
        _ => REQUEST,
    };
    Ok(usual)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::exit::{Exit, classify};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn plan(words: &str) -> anyhow::Result<Plan> {
        let words = ["x"].into_iter().chain(words.split_whitespace());
        Plan::new(&Line::try_parse_from(words)?.arguments)
    }

    #[test]
    fn targets_say_the_transport_and_the_control_connection() {
        for (words, transport, at) in [
            ("127.0.0.1", Transport::Tcp, "127.0.0.1:5202"),
            ("127.0.0.1 -u", Transport::Udp, "127.0.0.1:5202"),
            ("udp://127.0.0.1:7", Transport::Udp, "127.0.0.1:7"),
            ("::1", Transport::Tcp, "[::1]:5202"),
            ("raw://127.0.0.1", Transport::Raw, "127.0.0.1:5202"),
            ("raw://::1", Transport::Raw, "[::1]:5202"),
            ("tls://127.0.0.1:443", Transport::Tls, "127.0.0.1:443"),
        ] {
            let plan = plan(words).unwrap();
            assert_eq!(plan.parameters.transport, transport, "{words}");
            let Way::Ip(addresses) = &plan.way else {
                panic!("{words}");
            };
            assert_eq!(addresses.first().unwrap().to_string(), at, "{words}");
        }
        assert!(matches!(plan("unix:@x").unwrap().way, Way::Unix(_)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_starts() {
        for words in [
            "127.0.0.1 --mode rr -R",
            "127.0.0.1 --mode crr -u",
            "127.0.0.1 --rate 5",
            "127.0.0.1 --mode oneway --rate 5 -b 1M",
            "127.0.0.1 --mode rr -b 1M",
            "127.0.0.1 -u -Z",
            "127.0.0.1 -n 5 -O 1",
            "127.0.0.1 -u -l 31",
            "127.0.0.1 -u -l 70000",
            "127.0.0.1 -A x",
            "127.0.0.1 -i 0.001",
            "127.0.0.1 --insecure",
            "icmp://127.0.0.1",
            "unix:@x -u",
        ] {
            let error = plan(words).unwrap_err();
            assert_eq!(classify(&error), Exit::Usage, "{words}: {error}");
        }
    }

    #[test]
    fn lengths_and_rates_are_those_of_the_transport() {
        let of = |words: &str| plan(words).unwrap().parameters;
        assert_eq!(of("127.0.0.1").length, BLOCK);
        assert_eq!(of("127.0.0.1 -b 80K").length, 1000);
        assert_eq!(of("127.0.0.1 -u").bitrate, Some(DATAGRAM_BITS));
        assert_eq!(of("127.0.0.1 -u -b 0").bitrate, None);
        assert_eq!(of("127.0.0.1 --mode rr").length, 64);
        assert_eq!(of("127.0.0.1 -k 3 -l 100").bytes, Some(300));
        let both = of("127.0.0.1 --bidir -P 3");
        assert_eq!((both.up, both.down, both.probe), (3, 3, true));
        assert!(!of("127.0.0.1 --idle 0").probe);
        let cpus = plan("127.0.0.1 -A 0,1").unwrap();
        assert_eq!((cpus.cpu, cpus.parameters.cpu), (Some(0), Some(1)));
    }
}
