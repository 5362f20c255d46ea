//! Endpoints from any bytes: nothing panics, what is accepted prints and parses back, and std and ipnet agree but for
//! the reasons listed here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use proptest::prelude::*;
use sockeye::endpoint::ipnet::IpNet;
use sockeye::endpoint::{
    AddressRange, Endpoint, Host, NetMap, NetSet, Network, ParseError, ParseErrorKind as Kind, PortSet,
    PublicOnly, Reachability, ServiceName, Target, Transport, Zone, parse_ip, parse_scoped_ip,
    parse_socket_addr, reachability, special,
};

/// Texts of every sort: any characters, the characters of the grammars, and well-formed ones with a few slips.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9a-fx.:%/\\[\\]+ -]{0,40}",
        "(tcp|udp|udplite|icmp|icmpv6|ip\\+[0-9]{1,4})://[0-9a-z.:%\\[\\]_-]{0,40}",
        "[0-9]{1,4}(\\.[0-9]{1,4}){2,4}(:[0-9]{1,6})?",
        "\\[[0-9a-f:]{1,30}(%[a-z0-9]{1,17})?\\](:[0-9]{1,6})?",
        "([0-9a-f]{0,5}:){1,8}[0-9a-f]{0,4}(/[0-9]{1,3})?",
        "([0-9]{1,6}(-[0-9]{1,6})?,?){0,6}",
        "([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,3}(,([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,2})*",
        "[a-zA-Z0-9._-]{1,80}(:[a-z0-9-]{1,20})?",
        (endpoints(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(endpoint, place, slip)| {
            let mut letters: Vec<char> = endpoint.to_string().chars().collect();
            let place = place.index(letters.len());
            letters[place] = slip;
            letters.into_iter().collect()
        }),
    ]
}

fn ips() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
        // Few bits set: long runs of zero groups.
        any::<[bool; 8]>()
            .prop_map(|groups| Ipv6Addr::from(groups.map(|set| u16::from(set) * 0x0db8)).into()),
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped().into()),
    ]
}

fn transports() -> impl Strategy<Value = Transport> {
    prop_oneof![
        Just(Transport::Tcp),
        Just(Transport::Udp),
        Just(Transport::UdpLite),
        any::<u8>().prop_map(Transport::Ip),
    ]
}

fn zones() -> impl Strategy<Value = Option<Zone>> {
    prop_oneof![
        Just(None),
        any::<u32>().prop_map(Zone::from_index),
        "[a-z][a-z0-9._-]{0,14}".prop_map(|name| name.parse().ok()),
    ]
}

fn endpoints() -> impl Strategy<Value = Endpoint> {
    (transports(), ips(), zones(), any::<u16>())
        .prop_map(|(transport, ip, zone, port)| Endpoint::new(transport, ip, port).with_zone(zone))
}

fn networks() -> impl Strategy<Value = Network> {
    (ips(), 0u8..=128).prop_filter_map("a prefix longer than the address", |(ip, len)| {
        Network::of(ip, len)
    })
}

/// Parses, and where that succeeds: what is printed parses to the same, and prints the same.
fn round_trip<T: FromStr<Err = ParseError> + PartialEq + std::fmt::Debug + ToString>(
    text: &str,
) -> Result<(), TestCaseError> {
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            let again = printed.parse::<T>();
            prop_assert_eq!(again.as_ref(), Ok(&value), "{:?} printed {:?}", text, printed);
            prop_assert_eq!(again.map(|again| again.to_string()), Ok(printed));
        }
        Err(error) => prop_assert!(error.at <= text.len(), "{text:?}: {error}"),
    }
    Ok(())
}

/// What std takes and we do not.
fn std_is_laxer(kind: Kind) -> bool {
    matches!(
        kind,
        // `127.0.0.1:000080`, `[fe80::1%007]:80`, and `%0`, which names no zone.
        Kind::LeadingZero
    )
}

/// What ipnet takes and we do not.
fn ipnet_is_laxer(kind: Kind) -> bool {
    matches!(
        kind,
        // `010.0.0.0/8`, `10.0.0.0/08`; `10.0.0.1/8`, which is an interface's address.
        // `1:2:3::4:5:6:7:8/64`: `::` beside eight groups, which stands for none.
        Kind::LeadingZero | Kind::HostBits | Kind::TooManyGroups
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn parse_print_parse_is_the_identity(text in texts()) {
        round_trip::<Endpoint>(&text)?;
        round_trip::<Target>(&text)?;
        round_trip::<Host>(&text)?;
        round_trip::<Network>(&text)?;
        round_trip::<NetSet>(&text)?;
        round_trip::<AddressRange>(&text)?;
        round_trip::<PortSet>(&text)?;
        round_trip::<Transport>(&text)?;
        round_trip::<Zone>(&text)?;
        round_trip::<ServiceName>(&text)?;
        if let Err(error) = parse_scoped_ip(&text) {
            prop_assert!(error.at <= text.len());
        }
    }

    #[test]
    fn every_endpoint_prints_and_parses_back(endpoint in endpoints()) {
        let text = endpoint.to_string();
        prop_assert_eq!(text.parse::<Endpoint>(), Ok(endpoint), "{}", text);
        prop_assert_eq!(text.parse::<Target>().map(|target| target.endpoint()), Ok(Some(endpoint)));
        let json = serde_json::to_string(&endpoint).unwrap();
        prop_assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
    }

    #[test]
    fn a_target_that_is_an_endpoint_is_read_alike(text in texts()) {
        let endpoint = Endpoint::parse(&text);
        if let Ok(endpoint) = endpoint {
            prop_assert_eq!(text.parse::<Target>().map(|target| target.endpoint()), Ok(Some(endpoint)));
        }
    }

    #[test]
    fn std_agrees_on_addresses(text in texts()) {
        prop_assert_eq!(parse_ip(&text).ok(), text.parse::<IpAddr>().ok(), "{:?}", text);
    }

    #[test]
    fn std_agrees_on_socket_addresses_but_for_the_listed_reasons(text in texts()) {
        match (parse_socket_addr(&text), text.parse::<SocketAddr>()) {
            (Ok(ours), theirs) => prop_assert_eq!(Ok(ours), theirs),
            (Err(error), Ok(_)) => prop_assert!(std_is_laxer(error.kind), "{text:?}: {error}"),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn ipnet_agrees_on_networks_but_for_the_listed_reasons(text in texts()) {
        match (text.parse::<Network>(), text.parse::<IpNet>()) {
            (Ok(ours), theirs) => prop_assert_eq!(Some(ours.ipnet()), theirs.ok()),
            (Err(error), Ok(_)) => prop_assert!(ipnet_is_laxer(error.kind), "{text:?}: {error}"),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn canonical_is_final_and_the_same_place(endpoint in endpoints()) {
        let canonical = endpoint.canonical();
        prop_assert_eq!(canonical.canonical(), canonical);
        prop_assert!(endpoint.same_endpoint(&canonical));
        prop_assert_eq!(canonical.transport(), endpoint.transport());
    }

    #[test]
    fn the_most_specific_block_is_found(ip in ips()) {
        let slowly = sockeye::endpoint::special_blocks()
            .filter(|block| block.network().contains(ip))
            .max_by_key(|block| block.prefix_len);
        prop_assert_eq!(special(ip), slowly);
        if let Reachability::Special(block) = reachability(ip) {
            prop_assert_eq!(Some(block), special(ip));
        }
    }

    #[test]
    fn no_embedding_carries_a_private_address_past_the_policy(bits in any::<u32>(), rest in any::<u64>()) {
        let inner = Ipv4Addr::from_bits(bits);
        let policy = PublicOnly::new();
        let [a, b, c, d] = inner.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let rest = rest.to_be_bytes().map(u16::from);
        let carriers = [
            IpAddr::from(inner.to_ipv6_mapped()),
            [0x64, 0xff9b, 0, 0, 0, 0, high, low].into(),
            [0x2002, high, low, rest[0], rest[1], 0, 0, 1].into(),
            [0x2001, 0, high, low, 0, 0, !high, !low].into(),
            [0, 0, 0, 0, 0, 0, high, low].into(),
        ];
        let public = policy.check_ip(inner.into()).is_ok();
        prop_assert_eq!(public, reachability(inner.into()).is_global());
        for carrier in carriers {
            prop_assert!(public || policy.check_ip(carrier).is_err(), "{}", carrier);
        }
    }

    #[test]
    fn sets_and_maps_of_networks_are_those_of_a_plain_list(
        list in prop::collection::vec(networks(), 0..12),
        other in prop::collection::vec(networks(), 0..6),
        ip in ips(),
    ) {
        let (set, others): (NetSet, NetSet) = (list.iter().copied().collect(), other.iter().copied().collect());
        let within = |list: &[Network], ip| list.iter().any(|network| network.contains(ip));
        let mut asked = vec![ip];
        asked.extend(list.iter().flat_map(|network| [network.address(), network.last()]));
        for ip in asked {
            let (here, there) = (within(&list, ip), within(&other, ip));
            prop_assert_eq!(set.contains(ip), here);
            prop_assert_eq!(set.union(&others).contains(ip), here || there);
            prop_assert_eq!(set.intersection(&others).contains(ip), here && there);
            prop_assert_eq!(set.subtract(&others).contains(ip), here && !there);
            prop_assert_eq!(set.complement().contains(ip), !here);
        }
        let networks: Vec<Network> = set.networks().collect();
        prop_assert_eq!(&networks.iter().copied().collect::<NetSet>(), &set);
        prop_assert!(networks.iter().all(|network| set.contains_network(*network)));
        let map: NetMap<Network> = list.iter().map(|network| (*network, *network)).collect();
        let slowly = list.iter().filter(|network| network.contains(ip)).max_by_key(|network| network.prefix_len());
        prop_assert_eq!(map.lookup(ip).map(|(network, value)| (network, *value)), slowly.map(|n| (*n, *n)));
    }
}

/// A long text is refused or taken in time and memory that its length bounds.
#[test]
fn long_texts_are_no_trouble() {
    let long = 1 << 20;
    for text in [
        "1".repeat(long),
        "a.".repeat(long),
        ":".repeat(long),
        "[".repeat(long),
        "ü".repeat(long),
    ] {
        assert!(text.parse::<Endpoint>().is_err());
        assert!(text.parse::<Target>().is_err());
        assert!(text.parse::<Network>().is_err());
        assert!(ServiceName::parse(&text).is_err());
    }
    let ports = "1-65535,".repeat(10_000);
    assert_eq!(ports[..ports.len() - 1].parse::<PortSet>().unwrap().len(), 65_535);
}
