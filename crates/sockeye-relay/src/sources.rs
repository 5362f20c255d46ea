//! How many sessions each source has. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::balance::{hash_bytes, mix};
use crate::config::SourceLimits;

/// A source: an address, or the network that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

/// Sessions by source; holds only those that have one.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    limits: SourceLimits,
    sessions: HashMap<Source, u32>,
}

impl Sources {
    /// Other limits from now on. Sessions that are open stay counted for the source that they were counted for.
    pub(crate) fn set_limits(&mut self, limits: SourceLimits) {
        self.limits = limits;
    }

    /// Counts a session. `Err` if its source has as many as it may; `Ok(None)` where nothing is counted.
    pub(crate) fn open(&mut self, ip: Option<IpAddr>) -> Result<Option<Source>, TooMany> {
        let (Some(most), Some(ip)) = (self.limits.max_sessions, ip) else {
            return Ok(None);
        };
        let source = Source(masked(ip, &self.limits));
        let open = self.sessions.entry(source).or_default();
        if *open >= most {
            // A limit that has become lower finds some open; one of none is refused by the check.
            return Err(TooMany);
        }
        *open += 1;
        Ok(Some(source))
    }

    /// A session that was counted is over.
    pub(crate) fn close(&mut self, source: Option<Source>) {
        let Some(source) = source else { return };
        if let Some(open) = self.sessions.get_mut(&source) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.sessions.remove(&source);
            }
        }
    }
}

/// The source has as many sessions as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

fn masked(ip: IpAddr, limits: &SourceLimits) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let host = u32::MAX.checked_shr(limits.v4_prefix.into()).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & !host))
        }
        IpAddr::V6(ip) => {
            let host = u128::MAX.checked_shr(limits.v6_prefix.into()).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !host))
        }
    }
}

/// A number that is the same for the same source address, whatever the port. Clients without an address are told apart by
/// `else_by`.
pub(crate) fn hash_of(ip: Option<IpAddr>, else_by: u64) -> u64 {
    match ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => hash_bytes(&ip.octets()),
        Some(IpAddr::V6(ip)) => hash_bytes(&ip.octets()),
        None => mix(else_by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_network_is_one_source() {
        let mut sources = Sources::default();
        sources.set_limits(SourceLimits {
            max_sessions: Some(2),
            v4_prefix: 24,
            v6_prefix: 64,
        });
        let first = sources.open(ip("192.0.2.1")).unwrap();
        assert!(
            sources.open(ip("::ffff:192.0.2.200")).unwrap().is_some(),
            "a mapped address is the same"
        );
        assert_eq!(sources.open(ip("192.0.2.3")), Err(TooMany));
        assert!(sources.open(ip("192.0.3.3")).is_ok());
        sources.close(first);
        assert!(sources.open(ip("192.0.2.3")).is_ok());
        for last in 1..3 {
            assert!(sources.open(ip(&format!("2001:db8::{last}"))).is_ok());
        }
        assert_eq!(sources.open(ip("2001:db8::ffff:0:0:1")), Err(TooMany));
        assert_eq!(sources.open(None), Ok(None), "no address, no source");
    }

    #[test]
    fn nothing_is_kept_of_who_has_gone() {
        let mut sources = Sources::default();
        sources.set_limits(SourceLimits {
            max_sessions: Some(1),
            v4_prefix: 0,
            v6_prefix: 128,
        });
        let all = sources.open(ip("192.0.2.1")).unwrap();
        assert_eq!(
            sources.open(ip("10.0.0.1")),
            Err(TooMany),
            "a prefix of 0 is everybody"
        );
        sources.close(all);
        sources.close(all);
        assert!(sources.sessions.is_empty());
        sources.set_limits(SourceLimits::default());
        assert_eq!(sources.open(ip("192.0.2.1")), Ok(None));
    }
}
