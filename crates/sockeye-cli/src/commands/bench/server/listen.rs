//! The sockets of a server.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use anyhow::Context as _;
use sockeye::endpoint::{Address, Carrier, Endpoint, Scheme, TargetDefaults, Transport};
use sockeye::event_loop::{
    DatagramOptions, EventLoop, ListenOptions, PacketKind, PacketOptions, ServiceHandle, UnixListenOptions,
};

use super::super::flows::datagram::{Sorter, Table};
use super::PORT;
use super::runs::Runs;
use super::service::{Joins, Server};
use crate::exit::Failure;
use crate::names;
use crate::secure;

/// For experiments and tests (RFC 3692): nobody else's traffic.
pub(crate) const RAW_PROTOCOL: u8 = 253;
/// What a burst of datagrams may fill. The kernel may grant less.
pub(crate) const DATAGRAM_BUFFER: usize = 4 << 20;
/// Ports that are tried until both TCP and UDP have the same one.
const TRIES: usize = 16;

/// What to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(SocketAddr),
    /// TCP for the control connection, and UDP at the same port.
    Udp(SocketAddr),
    Tls(SocketAddr),
    /// TCP for the control connection, and packets of the address.
    Raw(SocketAddr),
    Unix(sockeye::endpoint::UnixName),
    /// TCP and UDP at every address of a family, which the machine need not have.
    Any(IpAddr),
}

impl Place {
    /// The name of a Unix socket.
    pub(super) const fn unix_name(&self) -> Option<sockeye::endpoint::UnixName> {
        match self {
            Self::Unix(name) => Some(*name),
            _ => None,
        }
    }
}

/// Reads `--listen`.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn places(texts: &[String]) -> anyhow::Result<Vec<Place>> {
    if texts.is_empty() {
        let any = [
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ];
        return Ok(any.map(Place::Any).to_vec());
    }
    texts.iter().map(|text| place(text)).collect()
}

fn place(text: &str) -> anyhow::Result<Place> {
    let wrong = |why: String| Failure::usage(format!("--listen {text}: {why}"));
    let (text_of_ip, is_raw) = match text.strip_prefix("raw://") {
        Some(rest) => (format!("tcp://{}", with_port(rest)), true),
        None => (text.to_owned(), false),
    };
    let defaults = TargetDefaults {
        transport: Some(Transport::Tcp),
        port: Some(PORT),
    };
    let address = Address::<Endpoint>::parse_with(&text_of_ip, defaults);
    // An endpoint has to have its port; this one has a usual one.
    let address = address.or_else(|error| {
        let with_port = match text_of_ip.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", with_port(rest)),
            None => with_port(&text_of_ip),
        };
        Address::parse_with(&with_port, defaults).map_err(|_| wrong(error.to_string()))
    })?;
    let served = [Scheme::Tcp, Scheme::Udp, Scheme::Tls, Scheme::Unix];
    match address {
        Address::Unix(name) => Ok(Place::Unix(name)),
        _ if !served.contains(&address.scheme()) => Err(wrong(
            "tcp://, udp://, tls://, unix: and raw:// can be measured".to_owned(),
        )),
        Address::Ip { carrier, endpoint } => {
            let at = names::socket_addr(&endpoint)?;
            Ok(match (carrier, endpoint.transport()) {
                _ if is_raw => Place::Raw(at),
                (Some(Carrier::Tls), _) => Place::Tls(at),
                (_, Transport::Udp) => Place::Udp(at),
                // Without a scheme it is for both.
                _ if !text.contains("://") => Place::Udp(at),
                _ => Place::Tcp(at),
            })
        }
    }
}

/// An address with the usual port where it has none.
fn with_port(text: &str) -> String {
    let has_port = match text.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => text.matches(':').count() == 1,
    };
    match has_port {
        true => text.to_owned(),
        false => format!("{}:{PORT}", names::bracketed(text)),
    }
}

/// The services of a server, and what they listen on.
pub(super) struct Sockets {
    streams: ServiceHandle<Server>,
    datagrams: ServiceHandle<Sorter<Joins>>,
    packets: Option<ServiceHandle<Sorter<Joins>>>,
    runs: Rc<RefCell<Runs>>,
    table: Table,
    /// The control connection of UDP may have its listener by another address already.
    tcp: HashMap<SocketAddr, SocketAddr>,
    max_connections: usize,
}

impl Sockets {
    pub(super) fn new(
        events: &mut EventLoop,
        streams: ServiceHandle<Server>,
        runs: &Rc<RefCell<Runs>>,
        table: &Table,
        max_connections: usize,
    ) -> Self {
        let sorter = Sorter {
            flows: Rc::clone(table),
            joining: Joins(Rc::clone(runs)),
        };
        Self {
            streams,
            datagrams: events.add_datagram_service(sorter),
            packets: None,
            runs: Rc::clone(runs),
            table: Rc::clone(table),
            tcp: HashMap::new(),
            max_connections,
        }
    }

    /// Opens one, and says the addresses that clients name.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(
        &mut self,
        events: &mut EventLoop,
        place: &Place,
        tls: Option<&secure::Service>,
    ) -> anyhow::Result<Vec<String>> {
        match place {
            Place::Tcp(at) => Ok(vec![format!("tcp://{}", self.tcp(events, *at)?)]),
            Place::Udp(at) => {
                let at = self.both(events, *at)?;
                Ok(vec![format!("tcp://{at}"), format!("udp://{at}")])
            }
            Place::Any(ip) => match self.both(events, SocketAddr::new(*ip, PORT)) {
                Ok(at) => Ok(vec![format!("tcp://{at}"), format!("udp://{at}")]),
                // A machine without that family.
                Err(error) if ip.is_ipv6() && is_no_such_family(&error) => Ok(Vec::new()),
                Err(error) => Err(error),
            },
            Place::Raw(at) => {
                let control = self.tcp(events, *at)?;
                let sorter = || Sorter {
                    flows: Rc::clone(&self.table),
                    joining: Joins(Rc::clone(&self.runs)),
                };
                let service = *self
                    .packets
                    .get_or_insert_with(|| events.add_packet_service(sorter()));
                events.open_packet(service, &packet_options(at.ip()))?;
                self.runs.borrow_mut().has_raw = true;
                Ok(vec![format!("raw://{control}")])
            }
            Place::Tls(at) => {
                let tls = tls.ok_or_else(|| Failure::usage("tls:// needs --cert and --key"))?;
                let id = tls.listen(events, *at, &self.listen_options(*at))?;
                Ok(vec![format!("tls://{}", events.local_addr(id)?)])
            }
            Place::Unix(name) => {
                let options = UnixListenOptions {
                    max_connections: self.max_connections,
                    ..UnixListenOptions::default()
                };
                let id = events.listen_unix(self.streams, name, &options)?;
                Ok(vec![format!("unix:{}", events.local_unix(id)?)])
            }
        }
    }

    fn listen_options(&self, at: SocketAddr) -> ListenOptions {
        ListenOptions {
            // Each family has its own.
            v6_only: at.is_ipv6().then_some(true),
            max_connections: self.max_connections,
            ..ListenOptions::default()
        }
    }

    fn tcp(&mut self, events: &mut EventLoop, at: SocketAddr) -> anyhow::Result<SocketAddr> {
        if let Some(bound) = self.tcp.get(&at) {
            return Ok(*bound);
        }
        let id = events.listen(self.streams, at, &self.listen_options(at))?;
        let bound = events.local_addr(id)?;
        self.tcp.insert(bound, bound);
        Ok(bound)
    }

    /// TCP and UDP at one port.
    fn both(&mut self, events: &mut EventLoop, at: SocketAddr) -> anyhow::Result<SocketAddr> {
        let options = datagram_options(at);
        for _ in 1..TRIES {
            // The port is chosen by UDP; TCP may have given it to somebody else.
            let id = events.bind(self.datagrams, at, &options)?;
            let bound = events.local_addr(id)?;
            match self.tcp(events, bound) {
                Ok(bound) => {
                    self.runs.borrow_mut().has_udp = true;
                    return Ok(bound);
                }
                Err(error) if at.port() != 0 => return Err(error),
                Err(_) => {
                    let _ = events.with(self.streams, |_, context| context.close_datagrams(id));
                }
            }
        }
        Err(io::Error::from(io::ErrorKind::AddrInUse)).context("find a port for both TCP and UDP")
    }
}

/// How UDP sockets of a run are made; those that serve several families answer from the address that was asked.
pub(crate) fn datagram_options(at: SocketAddr) -> DatagramOptions {
    DatagramOptions {
        v6_only: at.is_ipv6().then_some(true),
        recv_buffer: Some(DATAGRAM_BUFFER),
        send_buffer: Some(DATAGRAM_BUFFER),
        packet_info: at.ip().is_unspecified(),
        ..DatagramOptions::default()
    }
}

/// How raw sockets of a run are made.
pub(crate) fn packet_options(local: IpAddr) -> PacketOptions {
    PacketOptions {
        recv_buffer: Some(DATAGRAM_BUFFER),
        send_buffer: Some(DATAGRAM_BUFFER),
        ..PacketOptions::new(
            PacketKind::Ip {
                protocol: RAW_PROTOCOL,
            },
            local,
        )
    }
}

fn is_no_such_family(error: &anyhow::Error) -> bool {
    use sockeye::socket::errno;
    let of = |error: &io::Error| error.raw_os_error();
    let code = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<io::Error>().and_then(of);
        io.or_else(|| {
            let operation = cause.downcast_ref::<sockeye::socket::OpError>()?;
            of(operation.io_error())
        })
    });
    matches!(code, Some(errno::EAFNOSUPPORT | errno::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_what_is_measured_and_may_leave_out_the_port() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (text, expected) in [
            ("tcp://127.0.0.1:80", Place::Tcp(at("127.0.0.1:80"))),
            ("tcp://127.0.0.1", Place::Tcp(at("127.0.0.1:5202"))),
            ("udp://[::1]", Place::Udp(at("[::1]:5202"))),
            ("tls://[::1]:443", Place::Tls(at("[::1]:443"))),
            ("raw://127.0.0.1", Place::Raw(at("127.0.0.1:5202"))),
            ("raw://[::1]:7", Place::Raw(at("[::1]:7"))),
            ("127.0.0.1", Place::Udp(at("127.0.0.1:5202"))),
            ("::1", Place::Udp(at("[::1]:5202"))),
            ("[::1]:0", Place::Udp(at("[::1]:0"))),
        ] {
            assert_eq!(place(text).unwrap(), expected, "{text}");
        }
        assert!(matches!(place("unix:@x").unwrap(), Place::Unix(_)));
        for text in [
            "quic://127.0.0.1:1",
            "icmp://127.0.0.1",
            "localhost",
            "tcp://127.1",
            "",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
        assert_eq!(places(&[]).unwrap().len(), 2);
    }
}
