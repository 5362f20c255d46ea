//! Port sets, networks and address ranges: what the sets say agrees with their parts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sockeye_endpoint::{AddressRange, NetSet, PortSet};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (one, other) = text.split_once(';').unwrap_or((text, "1-9,80"));
    if let (Ok(one), Ok(other)) = (one.parse::<PortSet>(), other.parse::<PortSet>()) {
        let (both, all, without) = (one.intersection(&other), one.union(&other), one.subtract(&other));
        for port in [0, 1, 9, 79, 80, 81, 65_535]
            .into_iter()
            .chain(one.iter().take(32))
        {
            let (of_one, of_other) = (one.contains(port), other.contains(port));
            assert_eq!(both.contains(port), of_one && of_other);
            assert_eq!(all.contains(port), of_one || of_other);
            assert_eq!(without.contains(port), of_one && !of_other);
            assert_eq!(one.complement().contains(port), !of_one);
        }
        assert_eq!(one.len(), one.iter().count());
    }
    if let (Ok(one), Ok(other)) = (one.parse::<NetSet>(), other.parse::<NetSet>()) {
        let (both, all, without) = (one.intersection(&other), one.union(&other), one.subtract(&other));
        let ends = one
            .networks()
            .take(16)
            .flat_map(|network| [network.address(), network.last()]);
        let fixed = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for ip in ends.chain(fixed) {
            let (of_one, of_other) = (one.contains(ip), other.contains(ip));
            assert_eq!(both.contains(ip), of_one && of_other, "{ip}");
            assert_eq!(all.contains(ip), of_one || of_other, "{ip}");
            assert_eq!(without.contains(ip), of_one && !of_other, "{ip}");
        }
    }
    if let Ok(range) = one.parse::<AddressRange>() {
        let mut last = None;
        for (index, ip) in (0u128..).zip(range.addresses()).take(64) {
            assert!(range.contains(ip) && range.get(index) == Some(ip));
            assert!(last.is_none_or(|last| last < ip));
            last = Some(ip);
        }
    }
}
