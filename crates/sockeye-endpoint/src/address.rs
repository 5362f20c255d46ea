//! The address grammar of programs: an endpoint with what carries it, or a Unix socket.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::parse::{self, fail};
use crate::unix_name;
use crate::{
    Endpoint, Host, ParseError, ParseErrorKind as Kind, Target, TargetDefaults, Transport, UnixName,
};

/// An address as a program takes it: an endpoint, an endpoint behind a [carrier](Carrier), or a Unix socket.
///
/// It reads what [`Endpoint`] reads, and `unix:/path`, `unix:@name` (abstract), `tls://127.0.0.1:443` (over TCP) and
/// `quic://127.0.0.1:443` (over UDP). `Address<Target>` takes host names where `Address` takes addresses.
///
/// Whether an address can be served is for the program to say: [`must_be`](Self::must_be) refuses the others with a list
/// of those that can.
///
/// ```
/// use sockeye_endpoint::{Address, Carrier, Endpoint, Scheme, Target, Transport, endpoint};
///
/// assert_eq!("tcp://[::1]:80".parse(), Ok(Address::from(endpoint!("tcp://[::1]:80"))));
/// let Address::Ip { carrier, endpoint } = "tls://127.0.0.1:443".parse::<Address>()? else { unreachable!() };
/// assert_eq!((carrier, endpoint.transport()), (Some(Carrier::Tls), Transport::Tcp));
/// let named: Address<Target> = "quic://localhost:https".parse()?;
/// assert_eq!(named.to_string(), "quic://localhost:443");
///
/// let address: Address = "unix:@app".parse()?;
/// let refused = address.must_be(&[Scheme::Tcp, Scheme::Tls]).unwrap_err();
/// assert_eq!(refused.to_string(), "unix: addresses cannot be used here (tcp:// and tls:// can)");
/// assert!(Endpoint::try_from(address).is_err());
/// # Ok::<(), sockeye_endpoint::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address<E = Endpoint> {
    /// An endpoint, and what carries the stream there if it is not the transport itself.
    Ip {
        /// What is between the transport and the service.
        carrier: Option<Carrier>,
        /// The endpoint, of the carrier's transport where there is one.
        endpoint: E,
    },
    /// A Unix socket with a name.
    Unix(UnixName),
}

/// What carries a stream between a transport and a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Carrier {
    /// TLS over TCP (RFC 8446).
    Tls,
    /// Streams of QUIC over UDP (RFC 9000).
    Quic,
}

impl Carrier {
    /// The transport beneath.
    #[must_use]
    pub const fn transport(self) -> Transport {
        match self {
            Self::Tls => Transport::Tcp,
            Self::Quic => Transport::Udp,
        }
    }

    const fn scheme(self) -> Scheme {
        match self {
            Self::Tls => Scheme::Tls,
            Self::Quic => Scheme::Quic,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tls => "tls",
            Self::Quic => "quic",
        })
    }
}

/// The forms of an [`Address`], by what stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// `tcp://`
    Tcp,
    /// `udp://`
    Udp,
    /// `udplite://`
    UdpLite,
    /// `icmp://`, `icmpv6://` and `ip+N://`
    Ip,
    /// `unix:`
    Unix,
    /// `tls://`
    Tls,
    /// `quic://`
    Quic,
}

impl Scheme {
    const fn of(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
            Transport::UdpLite => Self::UdpLite,
            Transport::Ip(_) => Self::Ip,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp://",
            Self::Udp => "udp://",
            Self::UdpLite => "udplite://",
            Self::Ip => "ip+N://",
            Self::Unix => "unix:",
            Self::Tls => "tls://",
            Self::Quic => "quic://",
        })
    }
}

/// An address of a form that cannot be served, and the forms that can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("{scheme} addresses cannot be used here ({}{})", List(can), if can.is_empty() { "" } else { " can" })]
pub struct NotServed {
    /// The form of the address.
    pub scheme: Scheme,
    /// The forms that can be served.
    pub can: &'static [Scheme],
}

/// `a, b and c`.
struct List(&'static [Scheme]);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0 else {
            return f.write_str("none can");
        };
        write!(f, "{first}")?;
        let Some((last, between)) = rest.split_last() else {
            return Ok(());
        };
        for scheme in between {
            write!(f, ", {scheme}")?;
        }
        write!(f, " and {last}")
    }
}

impl<E: Place> Address<E> {
    /// The form of the address.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Unix(_) => Scheme::Unix,
            Self::Ip {
                carrier: Some(carrier),
                ..
            } => carrier.scheme(),
            Self::Ip {
                carrier: None,
                endpoint,
            } => Scheme::of(endpoint.transport()),
        }
    }

    /// Refuses an address whose form is not among `can`.
    ///
    /// # Errors
    ///
    /// [`NotServed`], which prints those that can be served.
    pub fn must_be(&self, can: &'static [Scheme]) -> Result<(), NotServed> {
        let scheme = self.scheme();
        if can.contains(&scheme) {
            return Ok(());
        }
        Err(NotServed { scheme, can })
    }

    /// An endpoint behind a carrier. It becomes one of the carrier's transport, whatever it was.
    #[must_use]
    pub fn carried(carrier: Carrier, endpoint: E) -> Self {
        Self::Ip {
            carrier: Some(carrier),
            endpoint: endpoint.on(carrier.transport()),
        }
    }

    /// Parses an address whose text may leave out what `defaults` supplies. A default port is for targets; an endpoint
    /// has to have its own.
    ///
    /// # Errors
    ///
    /// What is wrong and at which byte: what [`Endpoint`] or [`Target`] says of their texts, what
    /// [`UnixName::parse`] says of what follows `unix:`, [`Kind::MissingScheme`], [`Kind::UnknownScheme`].
    pub fn parse_with(text: &str, defaults: TargetDefaults) -> Result<Self, ParseError> {
        if text.is_empty() {
            return fail(Kind::Empty, 0);
        }
        if let Some(from) = unix_prefix(text) {
            return unix_name::parse_from(text, from).map(Self::Unix);
        }
        for carrier in [Carrier::Tls, Carrier::Quic] {
            if let Some(rest) = carrier_prefix(text, carrier) {
                let defaults = TargetDefaults {
                    transport: Some(carrier.transport()),
                    ..defaults
                };
                let from = text.len() - rest.len();
                // A second scheme would otherwise be read as the first.
                if let (Some(_), _) = parse::scheme(rest.as_bytes()).unwrap_or((Some(Transport::Tcp), 0)) {
                    return fail(Kind::UnexpectedCharacter, from);
                }
                return match E::parse(rest, defaults) {
                    Ok(endpoint) => Ok(Self::Ip {
                        carrier: Some(carrier),
                        endpoint,
                    }),
                    Err(error) => Err(ParseError::new(error.kind, from + error.at)),
                };
            }
        }
        match E::parse(text, defaults) {
            Ok(endpoint) => Ok(Self::Ip {
                carrier: None,
                endpoint,
            }),
            Err(error) => Err(ParseError::new(
                match error.kind {
                    Kind::MissingTransport => Kind::MissingScheme,
                    Kind::UnknownTransport => Kind::UnknownScheme,
                    kind => kind,
                },
                error.at,
            )),
        }
    }
}

/// Where the name begins, behind `unix:` in any case.
fn unix_prefix(text: &str) -> Option<usize> {
    const PREFIX: &str = "unix:";
    let prefix = text.get(..PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(PREFIX.len())
}

/// What follows `tls://` or `quic://`, in any case.
fn carrier_prefix(text: &str, carrier: Carrier) -> Option<&str> {
    let (word, rest) = text.split_once("://")?;
    let name = match carrier {
        Carrier::Tls => "tls",
        Carrier::Quic => "quic",
    };
    word.eq_ignore_ascii_case(name).then_some(rest)
}

/// What stands behind a scheme: [`Endpoint`] or [`Target`]. Sealed.
pub trait Place: sealed::Place {}

impl<E: sealed::Place> Place for E {}

mod sealed {
    use core::fmt;

    use crate::{ParseError, TargetDefaults, Transport};

    pub trait Place: Sized + fmt::Display {
        fn parse(text: &str, defaults: TargetDefaults) -> Result<Self, ParseError>;
        fn transport(&self) -> Transport;
        fn on(self, transport: Transport) -> Self;
        /// The host and the port.
        fn write_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    }
}

impl sealed::Place for Endpoint {
    fn parse(text: &str, defaults: TargetDefaults) -> Result<Self, ParseError> {
        parse::endpoint(text.as_bytes(), defaults.transport)
    }

    fn transport(&self) -> Transport {
        self.transport()
    }

    fn on(self, transport: Transport) -> Self {
        self.with_transport(transport)
    }

    fn write_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::endpoint::write_host(f, self.ip(), self.zone())?;
        write!(f, ":{}", self.port())
    }
}

impl sealed::Place for Target {
    fn parse(text: &str, defaults: TargetDefaults) -> Result<Self, ParseError> {
        Self::parse_with(text, defaults)
    }

    fn transport(&self) -> Transport {
        self.transport()
    }

    fn on(self, transport: Transport) -> Self {
        let (host, port): (Host, u16) = (self.host().clone(), self.port());
        Self::new(transport, host, port)
    }

    fn write_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port())
    }
}

impl FromStr for Address {
    type Err = ParseError;

    /// The scheme has to be there.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, TargetDefaults::default())
    }
}

impl FromStr for Address<Target> {
    type Err = ParseError;

    /// The scheme may be left out, and is `tcp://` then, as [`Target`] has it.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(
            text,
            TargetDefaults {
                transport: Some(Transport::Tcp),
                port: None,
            },
        )
    }
}

impl<E: Place> fmt::Display for Address<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(name) => write!(f, "unix:{name}"),
            Self::Ip {
                carrier: None,
                endpoint,
            } => fmt::Display::fmt(endpoint, f),
            Self::Ip {
                carrier: Some(carrier),
                endpoint,
            } => {
                write!(f, "{carrier}://")?;
                endpoint.write_rest(f)
            }
        }
    }
}

impl<E: Place> fmt::Debug for Address<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E: Place> From<E> for Address<E> {
    fn from(endpoint: E) -> Self {
        Self::Ip {
            carrier: None,
            endpoint,
        }
    }
}

impl<E> From<UnixName> for Address<E> {
    fn from(name: UnixName) -> Self {
        Self::Unix(name)
    }
}

impl From<Address> for Address<Target> {
    fn from(address: Address) -> Self {
        match address {
            Address::Ip { carrier, endpoint } => Self::Ip {
                carrier,
                endpoint: endpoint.into(),
            },
            Address::Unix(name) => Self::Unix(name),
        }
    }
}

/// What a plain socket of the Internet serves.
const PLAIN: &[Scheme] = &[Scheme::Tcp, Scheme::Udp, Scheme::UdpLite, Scheme::Ip];

fn plain<E: Place>(address: Address<E>) -> Result<E, NotServed> {
    let scheme = address.scheme();
    match address {
        Address::Ip {
            carrier: None,
            endpoint,
        } => Ok(endpoint),
        _ => Err(NotServed { scheme, can: PLAIN }),
    }
}

impl TryFrom<Address> for Endpoint {
    type Error = NotServed;

    /// Refuses Unix sockets and carriers.
    fn try_from(address: Address) -> Result<Self, NotServed> {
        plain(address)
    }
}

impl TryFrom<Address<Self>> for Target {
    type Error = NotServed;

    /// Refuses Unix sockets and carriers.
    fn try_from(address: Address<Self>) -> Result<Self, NotServed> {
        plain(address)
    }
}

impl<E: Place> TryFrom<Address<E>> for UnixName {
    type Error = NotServed;

    /// Refuses everything else.
    fn try_from(address: Address<E>) -> Result<Self, NotServed> {
        address.must_be(&[Scheme::Unix])?;
        match address {
            Address::Unix(name) => Ok(name),
            Address::Ip { .. } => Err(NotServed {
                scheme: address.scheme(),
                can: &[Scheme::Unix],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str, kind: Kind, at: usize) {
        assert_eq!(
            text.parse::<Address>(),
            Err(ParseError::new(kind, at)),
            "{text:?}"
        );
    }

    #[test]
    fn every_form_prints_as_it_is_read() {
        let texts = [
            "tcp://127.0.0.1:80",
            "udp://[fe80::1%eth0]:53",
            "ip+89://10.0.0.1",
            "unix:/run/app.sock",
            "unix:app.sock",
            "unix:@app",
            "unix:@a\\x00b",
            "tls://[::1]:443",
            "quic://192.0.2.1:443",
        ];
        for text in texts {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let target: Address<Target> = text.parse().unwrap();
            assert_eq!((target.to_string(), target), (text.to_string(), address.into()));
        }
        assert_eq!(
            "TLS://127.0.0.1:1".parse(),
            "tls://127.0.0.1:1".parse::<Address>()
        );
        assert_eq!("Unix:/A".parse(), "unix:/A".parse::<Address>());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        refused("", Kind::Empty, 0);
        refused("127.0.0.1:80", Kind::MissingScheme, 0);
        refused("http://127.0.0.1:80", Kind::UnknownScheme, 0);
        refused("unix:", Kind::Empty, 5);
        refused("unix:@", Kind::Empty, 6);
        refused("unix://run/app.sock", Kind::SecondSlash, 6);
        refused("unix:unix:/run/app.sock", Kind::UnixPrefix, 5);
        refused("unix:///run/app.sock", Kind::SecondSlash, 6);
        refused("unix:/a\u{1b}", Kind::ControlCharacter, 7);
        refused("tls://127.0.0.01:443", Kind::LeadingZero, 14);
        refused("tls://127.0.0.1", Kind::MissingPort, 15);
        refused("tls://", Kind::Empty, 6);
        refused("tls://tcp://127.0.0.1:443", Kind::UnexpectedCharacter, 6);
        refused("quic://tls://127.0.0.1:443", Kind::UnexpectedCharacter, 7);
        refused("tls:/run/app.sock", Kind::MissingScheme, 0);
        refused("tls://unix:/run/app.sock", Kind::UnexpectedCharacter, 6);
    }

    #[test]
    fn who_cannot_serve_it_says_what_can_be_served() {
        let address: Address = "quic://127.0.0.1:443".parse().unwrap();
        let error = Endpoint::try_from(address).unwrap_err();
        assert_eq!(
            error.to_string(),
            "quic:// addresses cannot be used here (tcp://, udp://, udplite:// and ip+N:// can)"
        );
        assert_eq!(
            UnixName::try_from(address).unwrap_err().to_string(),
            "quic:// addresses cannot be used here (unix: can)"
        );
        assert_eq!(
            address.must_be(&[]).unwrap_err().to_string(),
            "quic:// addresses cannot be used here (none can)"
        );
        assert_eq!(address.must_be(&[Scheme::Tcp, Scheme::Quic]), Ok(()));
        let name = UnixName::from_path(b"/a").unwrap();
        assert_eq!(UnixName::try_from(Address::<Endpoint>::from(name)), Ok(name));
    }

    #[test]
    fn a_carrier_decides_the_transport() {
        let endpoint = crate::endpoint!("tcp://127.0.0.1:443");
        let address = Address::carried(Carrier::Quic, endpoint);
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(
            address,
            Address::Ip {
                carrier: Some(Carrier::Quic),
                endpoint: endpoint.with_transport(Transport::Udp)
            }
        );
    }

    proptest! {
        #[test]
        fn prop_any_text_is_refused_in_its_bounds_or_reads_back(text in prop_oneof![
            any::<String>(),
            "(unix:|tls://|quic://|tcp://|UNIX:|Tls://|unix)[@/.]{0,3}[a-z0-9\\[\\]:%.\\\\x-]{0,40}",
            "(tls|quic|tcp|udp)://[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}:[0-9]{1,5}",
        ]) {
            match text.parse::<Address>() {
                Ok(address) => {
                    prop_assert_eq!(address.to_string().parse(), Ok(address));
                    let target = text.parse::<Address<Target>>();
                    prop_assert_eq!(target, Ok(address.into()));
                }
                Err(error) => prop_assert!(error.at <= text.len(), "{:?}: {}", text, error),
            }
            match text.parse::<Address<Target>>() {
                Ok(address) => prop_assert_eq!(address.to_string().parse(), Ok(address)),
                Err(error) => prop_assert!(error.at <= text.len(), "{:?}: {}", text, error),
            }
        }

        #[test]
        fn prop_an_endpoint_is_an_address(text in "(tcp|udp|ip\\+[0-9]{1,3})://([0-9]{1,3}\\.){3}[0-9]{1,3}(:[0-9]{1,5})?") {
            let endpoint = text.parse::<Endpoint>();
            prop_assert_eq!(endpoint.map(Address::from), text.parse());
        }
    }
}
