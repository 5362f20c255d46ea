//! The texts on which parsers in use disagree, and what is said of each here.

use std::net::{SocketAddr, ToSocketAddrs};

use sockeye_endpoint::{
    Endpoint, Network, ParseErrorKind as Kind, ServiceName, Target, Transport, Zone, endpoint,
    is_globally_reachable, services,
};

#[track_caller]
fn fails(text: &str, kind: Kind, at: usize) {
    let said = text.parse::<Endpoint>().map_err(|error| (error.kind, error.at));
    assert_eq!(said, Err((kind, at)), "{text}");
}

/// `inet_aton` and with it std's `to_socket_addrs` take all three for 127.0.0.1.
#[test]
fn octal_short_and_hexadecimal_addresses_are_errors_though_resolvers_take_them() {
    fails("tcp://0177.0.0.1:80", Kind::LeadingZero, 6);
    fails("tcp://127.1:80", Kind::TooFewOctets, 11);
    fails("tcp://0x7f000001:80", Kind::Hexadecimal, 6);
    fails("tcp://2130706433:80", Kind::NumberTooBig, 6);
    for text in ["0177.0.0.1:80", "127.1:80", "0x7f000001:80", "2130706433:80"] {
        assert!(text.parse::<SocketAddr>().is_err());
        let resolved: Vec<_> = text.to_socket_addrs().unwrap().collect();
        assert_eq!(
            resolved,
            ["127.0.0.1:80".parse().unwrap()],
            "the trap is gone for {text}"
        );
        assert!(
            text.parse::<Target>().is_err(),
            "{text} is neither an address nor a name"
        );
    }
}

/// Some URL parsers read it as 87.0.0.1.
#[test]
fn an_octal_first_part_is_an_error() {
    fails("tcp://0127.0.0.1:80", Kind::LeadingZero, 6);
    fails("tcp://127.0.0.00:80", Kind::LeadingZero, 14);
}

/// ipnet takes the first, cidr and ipnetwork the others.
#[test]
fn a_network_with_leading_zeros_signs_or_host_bits_is_an_error() {
    let fails = |text: &str| {
        text.parse::<Network>()
            .map_err(|error| (error.kind, error.at))
            .unwrap_err()
    };
    assert!("010.0.0.0/8".parse::<ipnet::IpNet>().is_ok(), "the trap is gone");
    assert_eq!(fails("010.0.0.0/8"), (Kind::LeadingZero, 0));
    assert_eq!(fails("10.0.0.0/08"), (Kind::LeadingZero, 9));
    assert_eq!(fails("10.0.0.0/+8"), (Kind::Sign, 9));
    assert_eq!(fails("10.0.0.0/33"), (Kind::NumberTooBig, 9));
    assert_eq!(fails("10.0.0.1/8"), (Kind::HostBits, 8));
    assert_eq!(fails("10.0.0.0"), (Kind::MissingPrefix, 8));
    assert_eq!(fails("10/8"), (Kind::TooFewOctets, 2));
    assert_eq!(fails("fe80::1%lo/10"), (Kind::UnexpectedZone, 7));
    assert_eq!(fails("2001:db8::/129"), (Kind::NumberTooBig, 11));
    assert_eq!(fails("[::]/0"), (Kind::UnexpectedCharacter, 0));
    // `::` beside eight groups.
    assert!(
        "1:2:3::4:5:6:7:8/128".parse::<ipnet::IpNet>().is_ok(),
        "the trap is gone"
    );
    assert_eq!(fails("1:2:3::4:5:6:7:8/128"), (Kind::TooManyGroups, 16));
    let (ip, network) = Network::parse_interface("10.0.0.1/8").unwrap();
    assert_eq!(
        (ip.to_string(), network.to_string()),
        ("10.0.0.1".into(), "10.0.0.0/8".into())
    );
}

/// std's `SocketAddr` takes numbers only, and its `to_socket_addrs` the name without brackets only.
#[test]
fn a_zone_by_name_stands_in_brackets() {
    assert!(
        "[fe80::1%lo]:80".parse::<SocketAddr>().is_err(),
        "the trap is gone"
    );
    let scoped = endpoint!("tcp://[fe80::1%lo]:80");
    assert!(matches!(scoped.zone(), Some(Zone::Name(name)) if name.as_str() == "lo"));
    fails("tcp://fe80::1%lo:80", Kind::MissingBrackets, 6);
    assert_eq!(scoped.socket_addr().unwrap_err().name.as_str(), "lo");
    let resolved = scoped
        .socket_addr_with(|name| (name == "lo").then_some(1))
        .unwrap();
    assert_eq!(resolved, "[fe80::1%1]:80".parse().unwrap());
}

/// RFC 9844 replaced RFC 6874: a plain `%`, and nothing is decoded.
#[test]
fn a_zone_is_not_percent_decoded() {
    assert_eq!(endpoint!("udp://[fe80::1%25]:53").zone(), Zone::from_index(25));
    assert_eq!(
        endpoint!("udp://[fe80::1%25eth0]:53").zone().unwrap().to_string(),
        "25eth0"
    );
    fails("udp://[fe80::1%eth%30]:53", Kind::UnexpectedCharacter, 18);
}

/// std takes `000080`.
#[test]
fn a_port_has_neither_leading_zeros_nor_a_sign() {
    assert!(
        "127.0.0.1:000080".parse::<SocketAddr>().is_ok(),
        "the trap is gone"
    );
    fails("tcp://127.0.0.1:000080", Kind::LeadingZero, 16);
    fails("tcp://127.0.0.1:+80", Kind::Sign, 16);
    fails("tcp://127.0.0.1:-80", Kind::Sign, 16);
    fails("tcp://127.0.0.1: 80", Kind::Blank, 16);
    fails("tcp://127.0.0.1:80 ", Kind::Blank, 18);
    fails("tcp://127.0.0.1:65536", Kind::NumberTooBig, 16);
    fails("tcp://127.0.0.1:99999999999999999999", Kind::NumberTooBig, 16);
    assert_eq!(endpoint!("tcp://127.0.0.1:0").port(), 0);
}

/// `::1:80` is the address of eight groups that ends in 0080 as much as it is port 80 of `::1`.
#[test]
fn an_ipv6_address_stands_in_brackets() {
    fails("tcp://::1:80", Kind::MissingBrackets, 6);
    fails("tcp://::1", Kind::MissingBrackets, 6);
    fails("icmpv6://fe80::1", Kind::MissingBrackets, 9);
    fails("tcp://[::1:80", Kind::UnclosedBracket, 13);
    fails("tcp://[127.0.0.1]:80", Kind::UnexpectedBracket, 6);
    fails("tcp://[]:80", Kind::UnexpectedBracket, 7);
    fails("tcp://[::1]80", Kind::UnexpectedCharacter, 11);
}

#[test]
fn an_ipv6_address_is_eight_groups_or_has_one_ellipsis() {
    fails("tcp://[1:2:3:4:5:6:7]:80", Kind::TooFewGroups, 20);
    fails("tcp://[1:2:3:4:5:6:7:8:9]:80", Kind::TooManyGroups, 23);
    fails("tcp://[1:2:3:4::5:6:7:8]:80", Kind::TooManyGroups, 23);
    fails("tcp://[1::2::3]:80", Kind::SecondEllipsis, 11);
    fails("tcp://[:::]:80", Kind::LoneColon, 8);
    fails("tcp://[:1]:80", Kind::LoneColon, 7);
    fails("tcp://[1:]:80", Kind::LoneColon, 8);
    fails("tcp://[12345::]:80", Kind::GroupTooLong, 7);
    fails("tcp://[::g]:80", Kind::UnexpectedCharacter, 9);
    fails("tcp://[::1.2.3]:80", Kind::TooFewOctets, 14);
    fails("tcp://[::01.2.3.4]:80", Kind::LeadingZero, 9);
    fails("tcp://[1:2:3:4:5:6:7:1.2.3.4]:80", Kind::TooManyGroups, 21);
    assert_eq!(
        endpoint!("tcp://[1:2:3:4:5:6:7::]:80").to_string(),
        "tcp://[1:2:3:4:5:6:7:0]:80"
    );
}

#[test]
fn zones_of_every_wrong_form() {
    fails("udp://[fe80::1%]:53", Kind::EmptyZone, 15);
    fails("udp://[fe80::1%0]:53", Kind::LeadingZero, 15);
    fails("udp://[fe80::1%01]:53", Kind::LeadingZero, 15);
    fails("udp://[fe80::1%4294967296]:53", Kind::NumberTooBig, 15);
    fails("udp://[fe80::1%sixteen-letters-]:53", Kind::ZoneTooLong, 15);
    fails("udp://[fe80::1%et h]:53", Kind::Blank, 17);
    fails("udp://[fe80::1%eth0:53", Kind::UnclosedBracket, 22);
    fails("udp://10.0.0.1%eth0:53", Kind::UnexpectedZone, 14);
}

#[test]
fn transports_of_every_wrong_form() {
    fails("", Kind::Empty, 0);
    fails("127.0.0.1:80", Kind::MissingTransport, 0);
    fails("http://127.0.0.1:80", Kind::UnknownTransport, 0);
    fails("://127.0.0.1:80", Kind::UnknownTransport, 0);
    fails("ip+256://127.0.0.1", Kind::NumberTooBig, 3);
    fails("ip+089://127.0.0.1", Kind::LeadingZero, 3);
    fails("ip+://127.0.0.1", Kind::UnknownTransport, 0);
    fails("ip+8x://127.0.0.1", Kind::UnexpectedCharacter, 4);
    fails("icmp://10.0.0.1:80", Kind::UnexpectedPort, 15);
    fails("icmp://[::1]", Kind::WrongFamily, 7);
    fails("icmpv6://10.0.0.1", Kind::WrongFamily, 9);
    fails("tcp://127.0.0.1", Kind::MissingPort, 15);
    assert_eq!(endpoint!("IP+1://10.0.0.1"), endpoint!("icmp://10.0.0.1"));
    assert_eq!(endpoint!("ip+1://[::1]").to_string(), "ip+1://[::1]");
    assert_eq!(
        Endpoint::parse_or("127.0.0.1:80", Transport::Tcp),
        Ok(endpoint!("TCP://127.0.0.1:80"))
    );
    assert_ne!(endpoint!("ip+6://10.0.0.1"), endpoint!("tcp://10.0.0.1:0"));
}

/// What std's unstable `is_global` and Python 3.13's `is_global` get wrong.
#[test]
fn reachability_where_std_and_python_are_wrong() {
    for (text, global) in [
        ("2001:1::3", true),
        ("100:0:0:1::1", false),
        ("224.0.0.1", false),
        ("ff02::1", false),
        ("fec0::1", false),
        ("::8.8.8.8", false),
        ("64:ff9b::10.0.0.1", false),
        ("3fff::1", false),
        ("5f00::1", false),
    ] {
        assert_eq!(is_globally_reachable(text.parse().unwrap()), global, "{text}");
    }
}

#[test]
fn mapped_and_scoped_addresses_are_different_and_the_same_endpoint() {
    let (mapped, plain) = (
        endpoint!("tcp://[::ffff:10.0.0.1]:80"),
        endpoint!("tcp://10.0.0.1:80"),
    );
    assert_ne!(mapped, plain);
    assert!(mapped.same_endpoint(&plain));
    assert_eq!(mapped.canonical().to_string(), "tcp://10.0.0.1:80");
    let (zoned, bare) = (
        endpoint!("tcp://[2001:db8::1%2]:80"),
        endpoint!("tcp://[2001:db8::1]:80"),
    );
    assert!(zoned != bare && zoned.same_endpoint(&bare));
    assert!(!endpoint!("tcp://[fe80::1%2]:80").same_endpoint(&endpoint!("tcp://[fe80::1%3]:80")));
    assert!(!endpoint!("tcp://[fe80::1%2]:80").same_endpoint(&endpoint!("udp://[fe80::1%2]:80")));
    assert!(!endpoint!("udp://[ff02::1%2]:80").same_endpoint(&endpoint!("udp://[ff02::1]:80")));
    assert!(endpoint!("udp://[ff0e::1%2]:80").same_endpoint(&endpoint!("udp://[ff0e::1]:80")));
}

#[test]
fn flow_information_is_not_lost_silently() {
    let flow = SocketAddr::V6(std::net::SocketAddrV6::new("::1".parse().unwrap(), 80, 7, 0));
    assert_eq!(
        Endpoint::try_from((Transport::Tcp, flow)).unwrap_err().flowinfo,
        7
    );
    assert_eq!(Endpoint::tcp(flow), endpoint!("tcp://[::1]:80"));
}

#[test]
fn ports_512_to_514_are_other_services_on_udp() {
    for (port, tcp, udp) in [
        (512, "exec", "biff"),
        (513, "login", "who"),
        (514, "shell", "syslog"),
    ] {
        assert_eq!(ServiceName::of(Transport::Tcp, port).unwrap().as_str(), tcp);
        assert_eq!(ServiceName::of(Transport::Udp, port).unwrap().as_str(), udp);
    }
}

/// With the whole registry compiled in: the figures are those of the file of the table's date.
#[cfg(feature = "services-full")]
#[test]
fn pairs_of_several_names_in_the_whole_registry() {
    let several = [Transport::Tcp, Transport::Udp]
        .into_iter()
        .flat_map(|transport| (1..=u16::MAX).filter(move |port| services::names(transport, *port).len() > 1));
    assert_eq!((services::DATE, several.count()), ("2024-04-30", 226));
}

#[cfg(not(feature = "services-full"))]
#[test]
fn without_the_whole_registry_the_well_known_ports_are_there() {
    assert!(services::all(Transport::Tcp).count() > 500);
    assert_eq!(
        ServiceName::of(Transport::Tcp, 5432).unwrap().as_str(),
        "postgresql"
    );
}
