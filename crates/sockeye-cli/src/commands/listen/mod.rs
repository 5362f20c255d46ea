//! `sockeye listen ADDRESS...`: a peer that comes to stdin and stdout, or a command for each.

mod exec;

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use sockeye::endpoint::{Address, Endpoint, NetSet, Network, Scheme, Transport, UnixName};
use sockeye::event_loop::{
    EventLoop, ListenOptions, ListenerId, ServiceHandle, StreamOptions, StreamService, UnixListenOptions,
};
use sockeye::udp::UdpOptions;
use sockeye::unix::{UnixDatagram, UnixSeqpacketListener};

use crate::address::over_datagrams;
use crate::exit::{Exit, Failure};
#[cfg(feature = "tls")]
use crate::identity::Server;
use crate::names;
use crate::output::{Format, Output, note};
use crate::privileges;
use crate::signals::stop_on_signals;
use crate::talk::allow::Allow;
use crate::talk::carry::carry;
use crate::talk::message::{self, Messages, Receiving, Socket};
use crate::talk::options::{Secrets, Talking};
use crate::talk::stream::{Carrier, Listening};
use crate::talk::{Cut, End, STREAM_PIECE, Talk, trust};
use exec::Executor;

/// How long a conversation that is over by time may take to send what waits.
const CLOSE: Duration = Duration::from_secs(1);
/// How long connections with commands have to end after a signal; then both are ended.
const DRAIN: Duration = Duration::from_secs(1);
/// Commands at a time, unless `--max-connections` says it.
const MAX_COMMANDS: u32 = 100;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye listen tcp://127.0.0.1:7007\n\
\x20 sockeye listen udp://[::1]:7007 -k\n\
\x20 sockeye listen tls://127.0.0.1:8443 --cert C.pem --key K.pem\n\
\x20 sockeye listen unix:/run/log.sock --datagram --tee log.txt\n\
\x20 sockeye listen tcp://127.0.0.1:7007 -k --exec 'tr a-z A-Z'\n\
\x20 sockeye listen :7007 -k --exec date --allow 192.0.2.0/24,127.0.0.0/8\n\
\n\
The first peer that comes has stdin and stdout; it is over when both the peer\n\
and stdin have ended (at a terminal: when the peer has). With -k others follow,\n\
one after another. Over udp and on Unix datagrams the first sender is the only\n\
one; with -k all are received, and stdin goes to the one that was heard last.\n\
-q SECONDS of nc is --linger here.\n\
\n\
--exec runs a command by /bin/sh for each connection: its stdin and stdout are\n\
the connection, the address of the peer is in SOCKEYE_PEER. Whoever can connect\n\
can run it: on an address that any host may reach it needs --allow.")]
pub(crate) struct Arguments {
    /// Where: 127.0.0.1:7007 (tcp://), udp://[::1]:0 (port 0: any free one, which is printed), tls://127.0.0.1:8443,
    /// unix:/run/a.sock, unix:@a, or :7007 on all addresses; of datagrams and seqpackets one only
    #[arg(value_name = "ADDRESS", required_unless_present = "ports", value_parser = crate::address::listening)]
    addresses: Vec<Address>,
    /// A port on all addresses of this machine: -p 7007 is the address :7007
    #[arg(short = 'p', long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// UDP, where an address has no scheme: -u 127.0.0.1:7007 is udp://127.0.0.1:7007
    #[arg(short = 'u', long)]
    udp: bool,
    /// Listen, as this command does anyway
    #[arg(short = 'l', hide = true)]
    _listens: bool,
    /// Go on listening after the first peer
    #[arg(short = 'k', long)]
    keep_open: bool,
    /// Seconds without a byte either way that end a conversation
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    timeout: Option<f64>,
    /// Run this command for each connection, with the connection as its stdin and stdout
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Peers that may come: networks and addresses with commas between them
    #[arg(long, value_name = "NETS", value_parser = networks)]
    allow: Option<NetSet>,
    /// Commands at a time; other connections wait [default: 100]
    #[arg(long, value_name = "COUNT", requires = "exec", requires = "keep_open",
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    max_connections: Option<u32>,
    /// The interface to listen on
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Unix sockets are of datagrams
    #[arg(long, conflicts_with = "seqpacket")]
    datagram: bool,
    /// Unix sockets are of seqpackets
    #[arg(long)]
    seqpacket: bool,
    #[command(flatten)]
    talking: Talking,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Networks and addresses with commas between them.
fn networks(text: &str) -> Result<NetSet, String> {
    let network = |word: &str| match word.parse::<IpAddr>() {
        Ok(ip) => Ok(Network::from(ip)),
        Err(_) => word
            .parse::<Network>()
            .map_err(|error| format!("{word:?}: {error} (expected such as 127.0.0.1,192.0.2.0/24)")),
    };
    text.split(',').map(network).collect()
}

impl Arguments {
    fn of_messages(&self, address: &Address) -> bool {
        match address {
            Address::Unix(_) => self.datagram || self.seqpacket,
            Address::Ip { endpoint, .. } => endpoint.transport() == Transport::Udp,
        }
    }

    /// With the addresses of `-p` and `-u`.
    fn complete(&self) -> anyhow::Result<Self> {
        let mut whole = self.clone();
        for port in &self.ports {
            let address = crate::address::listening(&port.to_string()).map_err(Failure::usage)?;
            whole.addresses.push(address);
        }
        if self.udp {
            for address in &mut whole.addresses {
                *address = over_datagrams(address).map_err(Failure::usage)?;
            }
        }
        Ok(whole)
    }

    /// Refuses what makes no sense together.
    fn check(&self) -> anyhow::Result<()> {
        for address in &self.addresses {
            self.check_address(address)
                .map_err(|why| Failure::usage(format!("{address}: {why}")))?;
        }
        let has = |scheme| self.addresses.iter().any(|address| address.scheme() == scheme);
        if has(Scheme::Tls) {
            trust::is_there()?;
            if self.secrets.cert.is_none() {
                return Err(Failure::usage(
                    "tls:// needs a certificate and its key: --cert FILE --key FILE",
                ));
            }
        } else if self.secrets.is_given() {
            return Err(Failure::usage(
                "--cert, --key and --alpn are for tls:// addresses",
            ));
        }
        if !has(Scheme::Unix) && (self.datagram || self.seqpacket) {
            return Err(Failure::usage(
                "--datagram and --seqpacket are for unix: addresses",
            ));
        }
        if self.allow.is_some()
            && self
                .addresses
                .iter()
                .all(|address| address.scheme() == Scheme::Unix)
        {
            return Err(Failure::usage(
                "--allow has networks: who may come to a Unix socket its permissions say (chmod)",
            ));
        }
        self.check_stdin()
    }

    fn check_address(&self, address: &Address) -> Result<(), String> {
        address
            .must_be(&[Scheme::Tcp, Scheme::Udp, Scheme::Tls, Scheme::Unix])
            .map_err(|refused| refused.to_string())?;
        if *address == Address::Unix(UnixName::UNNAMED) {
            return Err("a path or an @name is needed".to_owned());
        }
        if self.of_messages(address) && self.addresses.len() > 1 {
            return Err("of datagrams and seqpackets there can be one address only".to_owned());
        }
        if self.of_messages(address) && self.exec.is_some() {
            return Err("--exec is for connections of streams: tcp://, tls:// and unix:".to_owned());
        }
        if let Address::Ip { endpoint, .. } = address
            && self.exec.is_some()
            && self.allow.is_none()
            && endpoint.ip().to_canonical().is_unspecified()
        {
            return Err(
                "any host that reaches this one could run the command: --allow NETS says which may, or listen on one \
                 address, such as 127.0.0.1"
                    .to_owned(),
            );
        }
        if self.interface.is_some() && address.scheme() == Scheme::Unix {
            return Err("a Unix socket has no --interface".to_owned());
        }
        Ok(())
    }

    fn check_stdin(&self) -> anyhow::Result<()> {
        self.talking.check()?;
        if self.exec.is_some() {
            if let Some(option) = self.talking.of_stdin() {
                return Err(Failure::usage(format!(
                    "{option} is for stdin and stdout, which --exec gives to the command"
                )));
            }
        } else if self.format.json {
            return Err(Failure::usage(
                "--json is for --exec: else stdout has the bytes of the peer",
            ));
        }
        self.secrets.check_stdin(None, self.exec.is_none())
    }

    fn stream_options(&self) -> StreamOptions {
        StreamOptions {
            close_timeout: if self.exec.is_some() { 5 * CLOSE } else { CLOSE },
            ..StreamOptions::default()
        }
    }
}

/// Waits for peers and carries bytes both ways.
///
/// # Errors
/// When an address cannot be listened on, or the conversation breaks.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let arguments = &arguments.complete()?;
    arguments.check()?;
    let mut events = EventLoop::new().context("make an event loop")?;
    match (&arguments.exec, arguments.addresses.as_slice()) {
        (Some(command), _) => with_commands(arguments, &mut events, command, output),
        (None, [address]) if arguments.of_messages(address) => with_messages(arguments, &mut events, address),
        _ => with_streams(arguments, &mut events),
    }
}

/// The status by how it ended; a signal is no failure of who was served.
fn finished(end: Option<End>, served: u64) -> anyhow::Result<Exit> {
    match end {
        Some(End::Closed) => Ok(Exit::Success),
        Some(End::Peer(error) | End::Here(error)) => Err(error),
        None if served > 0 => Ok(Exit::Success),
        None => Ok(Exit::Interrupted),
    }
}

fn with_streams(arguments: &Arguments, events: &mut EventLoop) -> anyhow::Result<Exit> {
    stop_on_signals(events).context("take signals")?;
    let cut = Cut {
        piece: STREAM_PIECE,
        line: STREAM_PIECE,
    };
    let talk = Rc::new(RefCell::new(Talk::new(&arguments.talking, cut)?));
    let ends_with_peer = io::stdin().is_terminal();
    let carrier = Carrier::new(Rc::clone(&talk), arguments.talking.half_closes(), ends_with_peer);
    let mut service = events.add_stream_service(carrier, arguments.stream_options());
    let mut listeners = Vec::new();
    for (id, bound) in open_all(arguments, events, service, 1)? {
        note(format_args!("listening on {bound}"));
        listeners.push(id);
    }
    let listening = Listening {
        keep_open: arguments.keep_open,
        allow: Allow(arguments.allow.clone()),
        listeners,
        ..Listening::default()
    };
    events.with(service, |carrier, _| carrier.listen(listening));
    let limits = arguments.talking.limits(arguments.timeout, None);
    let end = carry(events, &mut service, &talk, limits, privileges::drop_all)?;
    let served = events.service(service).map_or(0, |carrier| carrier.served());
    finished(end, served)
}

fn with_messages(arguments: &Arguments, events: &mut EventLoop, address: &Address) -> anyhow::Result<Exit> {
    stop_on_signals(events).context("take signals")?;
    let listen = || format!("listen on {address}");
    let (socket, cut, bound) = match address {
        Address::Ip { endpoint, .. } => {
            let at = names::socket_addr(endpoint)?;
            let options = match &arguments.interface {
                Some(name) => UdpOptions::new().device(name.clone()),
                None => UdpOptions::new(),
            };
            let socket = options.bind(at).with_context(listen)?;
            let bound = Address::from(endpoint.with_port(socket.local_addr()?.port()));
            (Socket::Udp(socket), message::UDP, bound)
        }
        Address::Unix(name) if arguments.seqpacket => {
            let listener = UnixSeqpacketListener::options().bind_seqpacket(name);
            let listener = listener.with_context(listen)?;
            (Socket::Listener(listener, None), message::UNIX, *address)
        }
        Address::Unix(name) => {
            let socket = UnixDatagram::options().bind(name);
            let socket = socket.with_context(listen)?;
            (Socket::Unix(socket), message::UNIX, *address)
        }
    };
    note(format_args!("listening on {bound}"));
    let talk = Rc::new(RefCell::new(Talk::new(&arguments.talking, cut)?));
    let receiving = Receiving {
        keep_open: arguments.keep_open,
        allow: Allow(arguments.allow.clone()),
    };
    let ends = (arguments.talking.half_closes(), io::stdin().is_terminal());
    let mut messages = Messages::new(socket, Rc::clone(&talk), ends, Some(receiving));
    let limits = arguments.talking.limits(arguments.timeout, None);
    let end = carry(events, &mut messages, &talk, limits, privileges::drop_all)?;
    finished(end, messages.served())
}

fn with_commands(
    arguments: &Arguments,
    events: &mut EventLoop,
    command: &str,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    // Each connection takes three descriptors, and the soft limit is made for programs that use select(2).
    sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;
    let child_ended = Rc::new(Cell::new(false));
    exec::take_signals(events, &child_ended).context("take signals")?;
    let cut = Cut {
        piece: STREAM_PIECE,
        line: STREAM_PIECE,
    };
    let talk = Rc::new(RefCell::new(Talk::new(&arguments.talking, cut)?));
    let max = arguments.max_connections.unwrap_or(MAX_COMMANDS);
    let max = usize::try_from(if arguments.keep_open { max } else { 1 }).unwrap_or(usize::MAX);
    let executor = Executor::new(command, Rc::clone(&talk), max, arguments.format.json);
    let service = events.add_stream_service(executor, arguments.stream_options());
    let mut listeners = Vec::new();
    for (id, bound) in open_all(arguments, events, service, max)? {
        output.line(format_args!("listening on {bound}"))?;
        output.event("listening", json!({ "endpoint": bound.to_string() }))?;
        listeners.push(id);
    }
    let listening = Listening {
        keep_open: arguments.keep_open,
        allow: Allow(arguments.allow.clone()),
        listeners,
        ..Listening::default()
    };
    let idle = arguments.timeout.map(Duration::from_secs_f64);
    events.with(service, |executor, _| executor.listen(listening, idle));
    let mut wire = exec::Commands::new(service, child_ended);
    let end = carry(events, &mut wire, &talk, Default::default(), privileges::drop_own)?;
    events.drain(DRAIN).context("end the connections")?;
    let served = wire.finish(events);
    finished(end, served)
}

/// Opens every address, for a service.
fn open_all<S: StreamService>(
    arguments: &Arguments,
    events: &mut EventLoop,
    service: ServiceHandle<S>,
    max: usize,
) -> anyhow::Result<Vec<(ListenerId, Address)>> {
    #[cfg(feature = "tls")]
    let secured = match (&arguments.secrets.cert, &arguments.secrets.key) {
        (Some(cert), Some(key)) => {
            let server = Server {
                cert: cert.clone(),
                key: key.clone(),
                alpn: arguments.secrets.alpn.clone(),
            };
            Some(trust::server(
                events,
                &server,
                service,
                arguments.stream_options(),
            )?)
        }
        _ => None,
    };
    let mut all = Vec::new();
    for address in &arguments.addresses {
        let opened = match address {
            #[cfg(feature = "tls")]
            Address::Ip {
                carrier: Some(_),
                endpoint,
            } => {
                let secured = secured.context("tls:// needs a certificate")?;
                open(arguments, events, secured, endpoint, max)
                    .map(|(id, endpoint)| (id, Address::carried(sockeye::endpoint::Carrier::Tls, endpoint)))
            }
            Address::Ip { endpoint, .. } => open(arguments, events, service, endpoint, max)
                .map(|(id, endpoint)| (id, Address::from(endpoint))),
            Address::Unix(name) => {
                let options = UnixListenOptions {
                    max_connections: max,
                    ..UnixListenOptions::default()
                };
                let opened = events.listen_unix(service, name, &options);
                opened.map(|id| (id, *address)).map_err(anyhow::Error::from)
            }
        };
        all.push(opened.with_context(|| format!("listen on {address}"))?);
    }
    Ok(all)
}

fn open<S: StreamService>(
    arguments: &Arguments,
    events: &mut EventLoop,
    service: ServiceHandle<S>,
    endpoint: &Endpoint,
    max: usize,
) -> anyhow::Result<(ListenerId, Endpoint)> {
    let at: SocketAddr = names::socket_addr(endpoint)?;
    let options = ListenOptions {
        device: arguments.interface.clone(),
        max_connections: max,
        ..ListenOptions::default()
    };
    let id = events.listen(service, at, &options)?;
    Ok((id, endpoint.with_port(events.local_addr(id)?.port())))
}
