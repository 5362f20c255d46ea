//! Which contender is ours, which one is the practical limit and which one a peer: by name, here and nowhere else.

use super::model::Role;

/// A contender whose name begins with this is ours.
const OURS: &str = "sockeye";

/// Others that are ours, by kind.
const ALSO_OURS: &[(&str, &str)] = &[
    ("tls", "event loop"),
    ("tls", "tls_relay"),
    ("tls", "TLS"),
    ("quic", "event loop"),
    ("relay", "whole relay"),
    ("relay", "join"),
    ("resolver", "event loop"),
    ("event_loop", "event loop"),
    ("tcp", "event loop"),
    ("unix", "event loop"),
];

/// The same by the bare calls, or by hand on what the loop itself stands on: less is hardly possible. `*` is every kind.
const LIMITS: &[(&str, &str)] = &[
    // Its streams add nothing to the system calls.
    ("tcp", "std"),
    ("unix", "std"),
    ("udp", "std recv_from"),
    // Blocking calls need no word of readiness.
    ("event_loop", "blocking"),
    ("*", "by hand"),
    ("*", "splice by hand"),
    ("*", "bare mio"),
    ("*", "libc"),
    ("*", "libc mmsg"),
    ("*", "libc gso+gro"),
    ("*", "libc gso+gro, scattered"),
    ("tls", "rustls on mio by hand"),
    ("tls", "rustls on mio"),
    // What moves the bytes, without the rest of a relay.
    ("relay", "bare join"),
];

/// Other libraries and programs that do the same.
const PEERS: &[&str] = &[
    "mio",
    "tokio",
    "std",
    "tokio-rustls",
    "quinn",
    "haproxy",
    "haproxy, splice",
    "nginx",
    "hickory-resolver",
    "hickory-proto",
    "getaddrinfo x 1",
    "getaddrinfo x 16",
    "getaddrinfo x 64",
    "etherparse",
    "smoltcp",
    "pnet",
    "ipnet",
    "BTreeMap",
    "quinn-udp gso+gro",
    "tokio recv_from",
    "turmoil",
    "read and write",
    // The same on a loop, by other transports than a pair.
    "unix",
    "tcp",
];

/// What a contender of a kind is; `None` for a name that nobody has put here.
pub(crate) fn of(kind: &str, contender: &str) -> Option<Role> {
    let is = |(of, name): &(&str, &str)| (*of == kind || *of == "*") && *name == contender;
    let ours = contender
        .strip_prefix(OURS)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    if ours || ALSO_OURS.iter().any(is) {
        Some(Role::Ours)
    } else if LIMITS.iter().any(is) {
        Some(Role::Limit)
    } else {
        PEERS.contains(&contender).then_some(Role::Peer)
    }
}

/// What a value of a criterion group is of.
pub(crate) fn unit_of(kind: &str, group: &str) -> &'static str {
    match (kind, group) {
        ("tcp", "connection") => "connection",
        ("tcp", "sender's CPU") => "file",
        ("udp", _) | ("unix", "datagram") => "datagram",
        ("raw", _) => "packet",
        ("sim", _) | (_, "round trip" | "there and back") => "round trip",
        ("tcp" | "unix" | "event_loop", _) => "message",
        ("probe", "scan") => "port",
        ("probe", _) => "probe",
        _ => "call",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_role_in_a_kind() {
        assert_eq!(of("tcp", "sockeye"), Some(Role::Ours));
        assert_eq!(of("udp", "sockeye batch, coalesced"), Some(Role::Ours));
        assert_eq!(of("udp", "sockeyes"), None);
        assert_eq!(of("tcp", "std"), Some(Role::Limit));
        assert_eq!(of("resolver", "std"), Some(Role::Peer));
        assert_eq!(of("raw", "libc"), Some(Role::Limit));
        assert_eq!(of("relay", "bare join"), Some(Role::Limit));
        assert_eq!(of("relay", "nobody"), None);
    }
}
