//! Which kind of word it is: by its form alone, so that a slip is an error and never another kind.

use std::net::IpAddr;

use sockeye::endpoint::{
    Address, Carrier, Endpoint, Host, Network, ParseError, ParseErrorKind, ServiceName, Target,
    TargetDefaults, Transport, UnixName, Zone, parse_scoped_ip,
};

/// What a word can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    Endpoint,
    Network,
    Target,
    Port,
    Service,
    Unix,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Endpoint => "endpoint",
            Self::Network => "network",
            Self::Target => "target",
            Self::Port => "port",
            Self::Service => "service",
            Self::Unix => "unix",
        }
    }
}

/// A word that has been understood.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) kind: Kind,
    pub(super) canonical: String,
    pub(super) transport: Option<Transport>,
    /// A host name.
    pub(super) host: Option<String>,
    pub(super) ip: Option<IpAddr>,
    pub(super) zone: Option<Zone>,
    pub(super) port: Option<u16>,
    pub(super) network: Option<Network>,
    pub(super) service: Option<ServiceName>,
    /// What carries the stream to the endpoint or target.
    pub(super) carrier: Option<Carrier>,
    pub(super) unix: Option<UnixName>,
}

impl Word {
    fn of(kind: Kind, canonical: String) -> Self {
        Self {
            kind,
            canonical,
            transport: None,
            host: None,
            ip: None,
            zone: None,
            port: None,
            network: None,
            service: None,
            carrier: None,
            unix: None,
        }
    }

    /// Tells kinds apart by `://`, `/`, colons and letters, in this order.
    ///
    /// # Errors
    /// What is wrong with it as the kind that its form says it is.
    pub(super) fn parse(text: &str) -> Result<Self, ParseError> {
        if text.contains("://") || text.starts_with("unix:") {
            return Self::with_scheme(text);
        }
        if let Some(service) = known_service(text) {
            return Ok(Self::service(service));
        }
        if text.contains('/') {
            let network: Network = text.parse()?;
            let word = Self::of(Kind::Network, network.to_string());
            return Ok(Self {
                ip: Some(network.address()),
                network: Some(network),
                ..word
            });
        }
        if let Some(port) = text.strip_prefix(':').filter(|port| !port.contains(':')) {
            return Self::port_or_service(port).map_err(|error| ParseError {
                at: error.at + 1,
                ..error
            });
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::port_or_service(text);
        }
        if !text.starts_with('[') && text.bytes().filter(|byte| *byte == b':').count() > 1 {
            let (ip, zone) = parse_scoped_ip(text)?;
            return Ok(Self::address(ip, zone));
        }
        if text.rsplit(']').next().is_some_and(|behind| behind.contains(':')) {
            return Self::with_port(text);
        }
        match text.parse::<Host>()? {
            Host::Ip(ip, zone) => Ok(Self::address(ip, zone)),
            Host::Name(name) => {
                let word = Self::of(Kind::Target, name.to_string());
                Ok(Self {
                    host: Some(name.to_string()),
                    ..word
                })
            }
        }
    }

    fn with_scheme(text: &str) -> Result<Self, ParseError> {
        let address = Address::<Target>::parse_with(text, TargetDefaults::default())?;
        Ok(match &address {
            Address::Unix(name) => Self {
                unix: Some(*name),
                ..Self::of(Kind::Unix, address.to_string())
            },
            Address::Ip { carrier, endpoint } => Self {
                carrier: *carrier,
                canonical: address.to_string(),
                ..Self::target(endpoint, Some(endpoint.transport()))
            },
        })
    }

    fn address(ip: IpAddr, zone: Option<Zone>) -> Self {
        let canonical = match zone {
            Some(zone) => format!("{ip}%{zone}"),
            None => ip.to_string(),
        };
        Self {
            ip: Some(ip),
            zone,
            ..Self::of(Kind::Address, canonical)
        }
    }

    fn service(service: ServiceName) -> Self {
        let port = [Transport::Tcp, Transport::Udp]
            .into_iter()
            .find_map(|transport| service.port(transport));
        Self {
            port,
            service: Some(service),
            ..Self::of(Kind::Service, service.to_string())
        }
    }

    /// What may stand behind a colon on its own.
    fn port_or_service(text: &str) -> Result<Self, ParseError> {
        if let Some(service) = known_service(text) {
            return Ok(Self::service(service));
        }
        // A target's parser says best what is wrong with a port.
        let prefix = "tcp://[::]:";
        let target: Target = format!("{prefix}{text}")
            .parse()
            .map_err(|error: ParseError| ParseError {
                at: error.at - prefix.len(),
                ..error
            })?;
        let port = target.port();
        Ok(Self {
            port: Some(port),
            ..Self::of(Kind::Port, port.to_string())
        })
    }

    /// A host and a port without a transport. A service name may be known on UDP only.
    fn with_port(text: &str) -> Result<Self, ParseError> {
        let on = |transport| {
            Target::parse_with(
                text,
                TargetDefaults {
                    transport: Some(transport),
                    port: None,
                },
            )
        };
        let target = match on(Transport::Tcp) {
            Err(error) if error.kind == ParseErrorKind::UnknownService => {
                let target = on(Transport::Udp).map_err(|_| error)?;
                return Ok(Self::target(&target, Some(Transport::Udp)));
            }
            parsed => parsed?,
        };
        Ok(Self::target(&target, None))
    }

    /// A target, or the endpoint that it is; `named` where the text or the service says the transport.
    fn target(target: &Target, named: Option<Transport>) -> Self {
        let has_ports = target.transport().has_ports();
        let word = match target.endpoint() {
            Some(endpoint) => Self {
                ip: Some(endpoint.ip()),
                zone: endpoint.zone(),
                ..Self::of(Kind::Endpoint, canonical(&endpoint, named))
            },
            None => Self {
                host: Some(target.host().to_string()),
                ..Self::of(Kind::Target, target.to_string())
            },
        };
        Self {
            transport: named,
            port: has_ports.then_some(target.port()),
            ..word
        }
    }
}

/// An endpoint as text; without its transport where nobody has named one.
fn canonical(endpoint: &Endpoint, named: Option<Transport>) -> String {
    let text = endpoint.to_string();
    match (named, text.split_once("://")) {
        (None, Some((_, rest))) => rest.to_owned(),
        _ => text,
    }
}

/// A service that the table knows on any transport.
fn known_service(text: &str) -> Option<ServiceName> {
    let service = ServiceName::parse(text).ok()?;
    let known = [Transport::Tcp, Transport::Udp]
        .into_iter()
        .any(|transport| service.port(transport).is_some());
    known.then_some(service)
}
