//! Sockets that a service manager has opened for this process (socket activation).

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use sockeye::endpoint::{Address, Carrier, Endpoint, UnixName};
use sockeye::socket::{Protocol, Socket, Type, options, os};

use crate::exit::{Exit, Failure};

/// Where a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(UnixName),
}

impl Place {
    /// The same as an address, under TLS if the listener wants that.
    pub(super) fn address(self, tls: bool) -> Address {
        match self {
            Self::Tcp(at) if tls => Address::carried(Carrier::Tls, Endpoint::tcp(at)),
            Self::Tcp(at) => Endpoint::tcp(at).into(),
            Self::Udp(at) => Endpoint::udp(at).into(),
            Self::Unix(name) => Address::Unix(name),
        }
    }
}

/// A socket that was passed.
#[derive(Debug)]
pub(super) struct Passed {
    name: Option<String>,
    pub(super) place: Place,
    /// Until a listener has it.
    pub(super) socket: Option<OwnedFd>,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.address(false);
        match &self.name {
            Some(name) => write!(f, "{place} (passed as {name})"),
            None => write!(f, "{place} (passed without a name)"),
        }
    }
}

/// Which of them a listener means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// By its name.
    Name(String),
    /// By its place among them, from 0.
    Index(usize),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "fd:{name}"),
            Self::Index(index) => write!(f, "fd:{index}"),
        }
    }
}

impl Which {
    /// What follows `fd:`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("fd: wants the name of a socket that was passed, or its number from 0".to_owned());
        }
        Ok(text
            .parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Index))
    }

    /// Its place among them.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn find(&self, passed: &[Passed]) -> anyhow::Result<usize> {
        let found = match self {
            Self::Name(name) => passed.iter().position(|one| one.name.as_ref() == Some(name)),
            Self::Index(index) => (*index < passed.len()).then_some(*index),
        };
        found.ok_or_else(|| {
            let there = match passed {
                [] => "no socket was passed (LISTEN_FDS, LISTEN_PID; systemd does so for a .socket unit)"
                    .to_owned(),
                all => format!(
                    "passed were {}",
                    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                ),
            };
            Failure::usage(format!("--listen {self}: there is no such socket: {there}"))
        })
    }
}

/// The sockets that were passed.
///
/// # Errors
/// Where the environment is wrong, or one of them is of no use for a relay.
pub(super) fn passed() -> anyhow::Result<Vec<Passed>> {
    let all = os::inherited_fds().context("take the sockets that were passed")?;
    all.into_iter()
        .map(|inherited| {
            let socket = Socket::from(inherited.fd);
            let name = inherited.name;
            let place = place(&socket).map_err(|why| {
                let name = name.as_deref().unwrap_or("without a name");
                Failure::with(Exit::Io, format!("the socket that was passed ({name}): {why}"))
            })?;
            Ok(Passed {
                name,
                place,
                socket: Some(socket.into()),
            })
        })
        .collect()
}

fn place(socket: &Socket) -> Result<Place, String> {
    let said = |error: std::io::Error| error.to_string();
    if let Ok(name) = socket.local_unix() {
        return match socket.listens_as_unix(Type::STREAM).map_err(said)? {
            Some(true) => Ok(Place::Unix(name)),
            Some(false) => Err("it does not listen".to_owned()),
            None => Err("only Unix sockets of streams can be relayed".to_owned()),
        };
    }
    let at = socket.local_addr().map_err(said)?;
    let protocol = socket.get(options::SO_PROTOCOL).map_err(said)?;
    if protocol == i32::from(Protocol::UDP) {
        return Ok(Place::Udp(at));
    }
    if ![Protocol::TCP, Protocol::MPTCP]
        .map(i32::from)
        .contains(&protocol)
    {
        return Err("it is neither TCP nor UDP nor a Unix socket".to_owned());
    }
    if !socket.get(options::SO_ACCEPTCONN).map_err(said)? {
        return Err("it does not listen (Accept=no in the .socket unit)".to_owned());
    }
    Ok(Place::Tcp(at))
}
