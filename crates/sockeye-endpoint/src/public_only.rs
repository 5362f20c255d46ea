//! A policy against server-side request forgery: only what is public.

use core::fmt;
use core::net::IpAddr;

use thiserror::Error;

use crate::classify::{Embedded, Reachability, embedded_ipv4, reachability};
use crate::endpoint::Endpoint;
use crate::net_set::NetSet;
use crate::port_set::PortSet;

/// Lets through only endpoints at globally reachable unicast addresses. What is not known to be public is refused.
///
/// Embedded addresses are unwrapped: a mapped or translated address is as public as the IPv4 address in it, and 6to4,
/// Teredo and IPv4-compatible addresses are refused whatever is in them. Check every address that a name resolves to,
/// and connect to the address that was checked, not to the name.
///
/// ```
/// use sockeye_endpoint::{PublicOnly, endpoint};
///
/// let policy = PublicOnly::new();
/// assert!(policy.check(&endpoint!("tcp://8.8.8.8:53")).is_ok());
/// for inside in [endpoint!("tcp://127.0.0.1:80"), endpoint!("tcp://[::ffff:10.0.0.1]:80")] {
///     assert!(policy.check(&inside).is_err());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PublicOnly {
    ports: PortSet,
    allowed: NetSet,
    denied: NetSet,
}

impl Default for PublicOnly {
    fn default() -> Self {
        Self {
            ports: PortSet::all(),
            allowed: NetSet::new(),
            denied: NetSet::new(),
        }
    }
}

impl PublicOnly {
    /// Every port at every public address.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets through these ports only. Endpoints without ports are not concerned.
    #[must_use]
    pub fn ports(mut self, ports: PortSet) -> Self {
        self.ports = ports;
        self
    }

    /// Lets through these addresses although they are not public. Embedded addresses count as the IPv4 address.
    #[must_use]
    pub fn also(mut self, networks: NetSet) -> Self {
        self.allowed = networks;
        self
    }

    /// Refuses these addresses although they are public. It overrides [`also`](Self::also).
    #[must_use]
    pub fn except(mut self, networks: NetSet) -> Self {
        self.denied = networks;
        self
    }

    /// Checks an endpoint; what comes back is its canonical form, the one to connect to.
    ///
    /// # Errors
    ///
    /// [`NotPublic`] with the address that was refused and the reason. A zone is a reason: it names one of this
    /// machine's own links.
    pub fn check(&self, endpoint: &Endpoint) -> Result<Endpoint, NotPublic> {
        let refuse = |reason| NotPublic {
            ip: endpoint.ip(),
            reason,
        };
        if endpoint.zone().is_some() {
            return Err(refuse(Refusal::Zone));
        }
        if endpoint.transport().has_ports() && !self.ports.contains(endpoint.port()) {
            return Err(refuse(Refusal::Port(endpoint.port())));
        }
        self.check_ip(endpoint.ip())?;
        Ok(endpoint.canonical())
    }

    /// Checks an address; what comes back is its canonical form, the one to connect to.
    ///
    /// # Errors
    ///
    /// [`NotPublic`] with the address that was refused and the reason.
    pub fn check_ip(&self, ip: IpAddr) -> Result<IpAddr, NotPublic> {
        let canonical = ip.to_canonical();
        let inner = match embedded_ipv4(canonical) {
            Some(Embedded::Nat64(inner)) => IpAddr::V4(inner),
            _ => canonical,
        };
        let refuse = |reason| NotPublic { ip, reason };
        if [ip, canonical, inner]
            .into_iter()
            .any(|layer| self.denied.contains(layer))
        {
            return Err(refuse(Refusal::Denied));
        }
        if self.allowed.contains(inner) {
            return Ok(canonical);
        }
        match reachability(canonical) {
            Reachability::Global => Ok(canonical),
            other => Err(refuse(Refusal::NotGlobal(other))),
        }
    }
}

/// What [`PublicOnly`] has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("{ip} is refused: {reason}")]
pub struct NotPublic {
    /// The address as it was given.
    pub ip: IpAddr,
    /// Why.
    pub reason: Refusal,
}

/// Why [`PublicOnly`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The address, or the one embedded in it, is not globally reachable.
    NotGlobal(Reachability),
    /// It is among the networks of [`PublicOnly::except`].
    Denied,
    /// The port is not among [`PublicOnly::ports`].
    Port(u16),
    /// The address has a zone.
    Zone,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGlobal(reachability) => fmt::Display::fmt(reachability, f),
            Self::Denied => f.pad("excluded by the policy"),
            Self::Port(port) => write!(f, "port {port} is not permitted"),
            Self::Zone => f.pad("a zone names a link of this machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ssrf_list_is_refused() {
        let policy = PublicOnly::new();
        for text in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "2001:0:808:808::1",
            "fe80::1",
            "fc00::1",
            "fec0::1",
            "224.0.0.1",
            "ff02::1",
            "100.64.0.1",
            "192.0.0.170",
            "198.18.0.1",
            "240.0.0.1",
            "::ffff:0:127.0.0.1",
        ] {
            assert!(policy.check_ip(text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn mapped_and_translated_public_addresses_pass_as_what_they_are() {
        let policy = PublicOnly::new();
        let check = |text: &str| policy.check_ip(text.parse().unwrap());
        assert_eq!(check("::ffff:8.8.8.8"), Ok("8.8.8.8".parse().unwrap()));
        assert_eq!(check("64:ff9b::8.8.8.8"), Ok("64:ff9b::8.8.8.8".parse().unwrap()));
        assert!(check("2606:4700::1111").is_ok());
    }

    #[test]
    fn exceptions_see_through_embedding_and_denial_wins() {
        let policy = PublicOnly::new()
            .also("10.0.0.0/8".parse().unwrap())
            .except("10.1.0.0/16,8.8.8.8/32".parse().unwrap())
            .ports("443".parse().unwrap());
        let check = |text: &str| policy.check(&text.parse().unwrap());
        assert!(check("tcp://10.0.0.1:443").is_ok());
        assert!(check("tcp://[::ffff:10.0.0.1]:443").is_ok());
        assert_eq!(
            check("tcp://[64:ff9b::10.1.0.1]:443").unwrap_err().reason,
            Refusal::Denied
        );
        assert_eq!(
            check("tcp://[::ffff:8.8.8.8]:443").unwrap_err().reason,
            Refusal::Denied
        );
        assert_eq!(check("tcp://1.1.1.1:80").unwrap_err().reason, Refusal::Port(80));
        assert_eq!(
            check("udp://[2606:4700::1%2]:443").unwrap_err().reason,
            Refusal::Zone
        );
    }
}
