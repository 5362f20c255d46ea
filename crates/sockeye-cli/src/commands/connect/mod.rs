//! `sockeye connect ADDRESS`: stdin to the peer, the peer to stdout.

mod own;
mod probe;

use std::cell::RefCell;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::thread::CapabilitySet;
use sockeye::endpoint::{Address, ParseError, PortSet, Scheme, Target, Transport, UnixName};
use sockeye::event_loop::{ConnectOptions, ConnectRequest, EventLoop, ServiceHandle, StreamOptions};
use sockeye::udp::UdpOptions;
use sockeye::unix::{ConnectOptions as UnixConnect, UnixDatagram};

use crate::address::over_datagrams;
use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::{Format, Output};
use crate::privileges;
use crate::probing::Family;
use crate::signals::stop_on_signals;
use crate::talk::carry::carry;
use crate::talk::errors::of_address;
use crate::talk::message::{self, Messages, Socket};
use crate::talk::options::{Secrets, Talking};
#[cfg(feature = "quic")]
use crate::talk::quic;
use crate::talk::stream::Carrier;
use crate::talk::{Cut, End, STREAM_PIECE, Talk, trust};

/// Seconds that a connect may take, unless `-w` says it.
const CONNECT_TIMEOUT: f64 = 10.0;
/// After this much silence behind the end of stdin datagrams are over: nobody tells their end.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a conversation that is over by time may take to send what waits.
const CLOSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye connect tcp://127.0.0.1:7007\n\
\x20 echo hello | sockeye connect tcp://localhost:echo\n\
\x20 sockeye connect unix:/run/echo.sock\n\
\x20 printf 'GET / HTTP/1.0\\n\\n' | sockeye connect tls://example.com:443 --crlf\n\
\x20 echo '<13>hello' | sockeye connect unix:/dev/log --datagram --line\n\
\x20 sockeye connect -z tcp://192.0.2.1:1 --ports 22,80,8000-8010\n\
\n\
At the end of stdin our side of a stream is ended, and what the peer still\n\
sends is received (--no-half-close, --linger). When the peer ends first, the\n\
rest of stdin is still sent, unless stdin is a terminal. Pieces of stdin become\n\
datagrams of up to 1400 bytes over udp, 16384 on Unix sockets; with --line each\n\
line is one. A closed UDP port is an error. -q SECONDS of nc is --linger here.\n\
\n\
-z sends no data (over udp an empty datagram) and prints open, closed or\n\
silent, over udp open|silent where nobody refuses or answers; the status is 0\n\
where at least one port is open, else 1.")]
pub(crate) struct Arguments {
    /// Whom to connect to: tcp://127.0.0.1:7007, tcp://localhost:echo, udp://[::1]:53, tls://example.com:443,
    /// quic://example.com:443, unix:/run/echo.sock or unix:@echo
    #[arg(value_name = "ADDRESS", value_parser = crate::address::peer)]
    target: Address<Target>,
    /// Over UDP, where the address has no scheme: -u HOST:PORT is udp://HOST:PORT
    #[arg(short = 'u', long)]
    udp: bool,
    /// Seconds that the connect may take [default: 10]; if given, also seconds without a byte either way that end it
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    timeout: Option<f64>,
    #[command(flatten)]
    family: Family,
    /// The address, and port if given, to connect from
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = crate::talk::options::source)]
    source: Option<SocketAddr>,
    /// The interface to connect through
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// The Unix socket is one of datagrams
    #[arg(long, conflicts_with = "seqpacket")]
    datagram: bool,
    /// The Unix socket is one of seqpackets
    #[arg(long)]
    seqpacket: bool,
    /// Only say whether it is open
    #[arg(short = 'z', long)]
    zero: bool,
    /// With -z: these ports instead of that of the address, such as 22,80,8000-8010
    #[arg(long, value_name = "PORTS", requires = "zero", value_parser = ports)]
    ports: Option<PortSet>,
    #[command(flatten)]
    talking: Talking,
    #[command(flatten)]
    secrets: Secrets,
    /// Certificates to trust (PEM) instead of this machine's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Believe every certificate: whoever is on the way can read and change everything
    #[arg(long)]
    insecure: bool,
    /// The name that the certificate has to have, and that the server is told, instead of the address's
    #[arg(long, value_name = "NAME")]
    servername: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Ports and ranges with commas between them.
fn ports(text: &str) -> Result<PortSet, String> {
    let ports: PortSet = text
        .parse()
        .map_err(|error: ParseError| crate::address::place(text, error))?;
    match ports.contains(0) || ports.is_empty() {
        true => Err("expected ports from 1 to 65535, such as 22,80,8000-8010".to_owned()),
        false => Ok(ports),
    }
}

impl Arguments {
    /// How long a connect may take.
    fn connect_within(&self) -> Duration {
        Duration::from_secs_f64(self.timeout.unwrap_or(CONNECT_TIMEOUT))
    }

    /// Refuses what makes no sense together.
    fn check(&self) -> anyhow::Result<()> {
        let target = &self.target;
        let usage = |why: &str| Err(Failure::usage(format!("{target}: {why}")));
        if let Err(refused) = target.must_be(SCHEMES) {
            return usage(&refused.to_string());
        }
        let is_unix = target.scheme() == Scheme::Unix;
        if !is_unix && (self.datagram || self.seqpacket) {
            return usage("--datagram and --seqpacket are for unix: addresses");
        }
        if is_unix && (self.source.is_some() || self.interface.is_some() || self.ports.is_some()) {
            return usage("a Unix socket has no --source, --interface or --ports");
        }
        if self.zero && (self.datagram || self.seqpacket) {
            return usage("-z asks Unix sockets of streams only");
        }
        if self.format.json && !self.zero {
            return usage("--json is for -z: else stdout has the bytes of the peer");
        }
        if self.zero
            && let Some(option) = self.talking.of_stdin()
        {
            return usage(&format!("{option} has no meaning with -z, which sends nothing"));
        }
        let is_secret =
            self.secrets.is_given() || self.ca.is_some() || self.insecure || self.servername.is_some();
        let by_quic = target.scheme() == Scheme::Quic;
        if target.scheme() != Scheme::Tls && !by_quic && is_secret {
            return usage(
                "--ca, --cert, --key, --insecure, --alpn and --servername are for tls:// and quic:// addresses",
            );
        }
        if by_quic && self.zero {
            return usage("-z: a port of UDP does not say whether QUIC is spoken there: connect without -z");
        }
        if by_quic && cfg!(not(feature = "quic")) {
            return usage("this program was built without QUIC: build it with the feature `quic`");
        }
        if target.scheme() == Scheme::Tls {
            trust::is_there()?;
        }
        self.talking.check()?;
        self.secrets.check_stdin(self.ca.as_deref(), !self.zero)
    }

    /// The capabilities without which a connection could not be made that these arguments ask for.
    fn needed_to_connect(&self) -> CapabilitySet {
        let mut needed = privileges::for_ports(self.source.map(|source| source.port()));
        if self.interface.is_some() {
            needed |= privileges::RAW;
        }
        if let Address::Unix(name) = &self.target {
            needed |= privileges::for_unix(name);
        }
        needed
    }

    /// The addresses of the target that the family and the source admit.
    fn addresses(&self, endpoint: &Target) -> anyhow::Result<Vec<SocketAddr>> {
        let mut all = names::addresses(endpoint, self.connect_within())?;
        all.retain(|address| self.family.admits(address));
        if all.is_empty() {
            let family = self.family.name();
            let why = format!(
                "{endpoint} has no {family} address (sockeye resolve {} shows them)",
                endpoint.host()
            );
            return Err(Failure::with(Exit::Resolution, why));
        }
        if let Some(source) = self.source {
            all.retain(|address| address.is_ipv4() == source.is_ipv4());
            if all.is_empty() {
                return Err(Failure::usage(format!(
                    "--source {}: {endpoint} has no address of that family",
                    source.ip()
                )));
            }
        }
        Ok(all)
    }
}

/// What can be connected to.
const SCHEMES: &[Scheme] = &[Scheme::Tcp, Scheme::Udp, Scheme::Tls, Scheme::Quic, Scheme::Unix];

/// How UDP sockets of `arguments` are made.
fn udp_options(arguments: &Arguments) -> UdpOptions {
    let options = UdpOptions::new();
    match &arguments.interface {
        Some(name) => options.device(name.clone()),
        None => options,
    }
}

/// Carries bytes both ways until the peer closes.
///
/// # Errors
/// When the name has no address, nobody answers, or the connection breaks.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut arguments = arguments.clone();
    if arguments.udp {
        arguments.target = over_datagrams(&arguments.target).map_err(Failure::usage)?;
    }
    arguments.check()?;
    talk(&arguments, output).map_err(|error| own::named(&arguments, error))
}

fn talk(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let target = &arguments.target;
    let outcome = match target {
        Address::Ip { endpoint, .. } => {
            let addresses = arguments.addresses(endpoint)?;
            if arguments.zero {
                let ports = arguments.ports.as_ref().map(|ports| ports.iter().collect());
                let ports = ports.unwrap_or_else(|| vec![endpoint.port()]);
                return probe::run(arguments, &addresses, &ports, output);
            }
            match endpoint.transport() {
                #[cfg(feature = "quic")]
                _ if target.scheme() == Scheme::Quic => over_quic(arguments, endpoint, &addresses),
                Transport::Udp => over_udp(arguments, &addresses),
                _ => over_streams(arguments, ConnectRequest::any_of(addresses)),
            }
        }
        Address::Unix(_) if arguments.zero => return probe::run(arguments, &[], &[0], output),
        Address::Unix(name) if arguments.datagram => over_unix_datagrams(arguments, name),
        Address::Unix(name) if arguments.seqpacket => over_seqpackets(arguments, name),
        Address::Unix(name) => over_streams(arguments, ConnectRequest::to_unix(*name)),
    };
    match outcome? {
        Some(End::Closed) => Ok(Exit::Success),
        Some(End::Peer(error)) => Err(error.context(format!("connect {target}"))),
        Some(End::Here(error)) => Err(error),
        None => Ok(Exit::Interrupted),
    }
}

/// Whether the end of the peer ends it all.
fn ends_with_peer() -> bool {
    io::stdin().is_terminal()
}

/// The loop, what is said, and the service that carries it.
fn stage(arguments: &Arguments) -> anyhow::Result<(EventLoop, Rc<RefCell<Talk>>, ServiceHandle<Carrier>)> {
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let cut = Cut {
        piece: STREAM_PIECE,
        line: STREAM_PIECE,
    };
    let talk = Rc::new(RefCell::new(Talk::new(&arguments.talking, cut)?));
    let carrier = Carrier::new(
        Rc::clone(&talk),
        arguments.talking.half_closes(),
        ends_with_peer(),
    );
    let options = StreamOptions {
        close_timeout: CLOSE,
        ..StreamOptions::default()
    };
    let service = events.add_stream_service(carrier, options);
    Ok((events, talk, service))
}

fn over_streams(arguments: &Arguments, request: ConnectRequest) -> anyhow::Result<Option<End>> {
    let (mut events, talk, mut service) = stage(arguments)?;
    let options = ConnectOptions {
        source: arguments.source,
        device: arguments.interface.clone(),
        ..ConnectOptions::default()
    };
    let request = request.options(options).deadline(arguments.connect_within());
    #[cfg(feature = "tls")]
    let request = match &arguments.target {
        Address::Ip {
            carrier: Some(_),
            endpoint,
        } => {
            let name = arguments
                .servername
                .clone()
                .unwrap_or_else(|| trust::name_of(endpoint));
            let client = arguments.secrets.client(arguments.ca.clone(), arguments.insecure);
            trust::connect(&mut events, service, &client, &name, request)?;
            None
        }
        _ => Some(request),
    };
    #[cfg(not(feature = "tls"))]
    let request = Some(request);
    if let Some(request) = request {
        events.connect(service, request);
    }
    let limits = arguments.talking.limits(arguments.timeout, None);
    // The rest goes once the connection is established.
    let needed = arguments.needed_to_connect();
    carry(&mut events, &mut service, &talk, limits, || {
        privileges::keep(needed)
    })
}

/// One stream of a connection of its own, to the first address that answers.
#[cfg(feature = "quic")]
fn over_quic(
    arguments: &Arguments,
    endpoint: &Target,
    addresses: &[SocketAddr],
) -> anyhow::Result<Option<End>> {
    let (mut events, talk, mut service) = stage(arguments)?;
    let name = arguments
        .servername
        .clone()
        .unwrap_or_else(|| trust::name_of(endpoint));
    let client = arguments.secrets.client(arguments.ca.clone(), arguments.insecure);
    let from = (arguments.source, arguments.interface.clone());
    let within = arguments.connect_within();
    quic::connect(&mut events, service, (&client, &name), addresses, from, within)?;
    let limits = arguments.talking.limits(arguments.timeout, None);
    // Its socket is open.
    let end = carry(&mut events, &mut service, &talk, limits, privileges::drop_all)?;
    // What was sent last may be lost on the way: nobody sends it again once the program is gone.
    events.drain(CLOSE).context("end the connection")?;
    Ok(end)
}

fn over_udp(arguments: &Arguments, addresses: &[SocketAddr]) -> anyhow::Result<Option<End>> {
    let peer = *addresses.first().context("no address")?;
    let socket = udp_options(arguments).connect(arguments.source, peer);
    let socket = socket.map_err(|error| {
        if arguments.source.is_some() || arguments.interface.is_some() {
            return error.into();
        }
        of_address(Transport::Udp, error.into(), peer)
    });
    over_messages(arguments, Socket::Udp(socket?), message::UDP, Some(SILENCE))
}

fn over_unix_datagrams(arguments: &Arguments, name: &UnixName) -> anyhow::Result<Option<End>> {
    // With a name that the kernel makes up: who has none gets no answer.
    let socket = UnixDatagram::options().bind(&UnixName::UNNAMED)?;
    socket.connect_name(name).map_err(|error| {
        sockeye::socket::OpError::unix(sockeye::socket::Op::Connect, error).with_peer_name(*name)
    })?;
    over_messages(arguments, Socket::Unix(socket), message::UNIX, Some(SILENCE))
}

fn over_seqpackets(arguments: &Arguments, name: &UnixName) -> anyhow::Result<Option<End>> {
    let connecting = UnixConnect::new().start_seqpacket(name)?;
    let socket = connecting.wait(arguments.connect_within())?;
    over_messages(arguments, Socket::Seqpacket(socket), message::UNIX, None)
}

fn over_messages(
    arguments: &Arguments,
    socket: Socket,
    cut: Cut,
    silence: Option<Duration>,
) -> anyhow::Result<Option<End>> {
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let talk = Rc::new(RefCell::new(Talk::new(&arguments.talking, cut)?));
    let ends = (arguments.talking.half_closes(), ends_with_peer());
    let mut messages = Messages::new(socket, Rc::clone(&talk), ends, None);
    let limits = arguments.talking.limits(arguments.timeout, silence);
    carry(&mut events, &mut messages, &talk, limits, privileges::drop_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_that_can_be_asked() {
        assert_eq!(ports("22,80-82").unwrap().len(), 4);
        assert!(ports("0").is_err() && ports("").is_err() && ports("x").is_err());
    }
}
