//! What only a try shows: each on a socket of its own, on the loopback.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use sockeye::resolver::files::{Environment, Paths, SystemNames, Way};
use sockeye::tcp::{ListenOptions, Mptcp, TcpListener};
use sockeye::udp::UdpOptions;

use super::Finding;
use crate::exit::words;

pub(super) fn findings() -> Vec<Finding> {
    let mut findings = offloads();
    findings.extend([reuse_port(), mptcp(), ipv6(), names()]);
    findings
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn offloads() -> Vec<Finding> {
    let socket = UdpOptions::new().gro(true).bind(LOOPBACK);
    let (gso, gro) = match socket.map(|socket| socket.capabilities()) {
        Ok(Ok(has)) => (
            has.segmentation.then(|| format!("{} segments", has.max_segments)),
            has.coalesced_receive,
        ),
        _ => (None, false),
    };
    let newer = "a newer kernel: Linux 5.0";
    vec![
        match gso {
            Some(segments) => Finding::ok("UDP GSO", segments, "many datagrams in one send"),
            None => Finding::hint(
                "UDP GSO",
                "not available",
                "one datagram a message: sends cost more",
                newer,
            ),
        },
        if gro {
            Finding::ok("UDP GRO", "available", "many datagrams in one receive")
        } else {
            Finding::hint(
                "UDP GRO",
                "not available",
                "one datagram a message: receives cost more",
                newer,
            )
        },
    ]
}

fn reuse_port() -> Finding {
    const NAME: &str = "SO_REUSEPORT";
    let options = ListenOptions::new().reuse_port(true);
    let first = options.bind(LOOPBACK);
    let second = first
        .as_ref()
        .ok()
        .and_then(|first| first.local_addr().ok())
        .map(|address| options.bind(address));
    match second {
        Some(Ok(_)) => Finding::ok(NAME, "available", "several loops listen on one port (--shards)"),
        _ => Finding::warn(
            NAME,
            "not available",
            "one listener a port: --shards shares it",
            "allow setsockopt(SO_REUSEPORT) in the sandbox",
        ),
    }
}

fn mptcp() -> Finding {
    const NAME: &str = "MPTCP";
    match ListenOptions::new().mptcp(Mptcp::Require).bind(LOOPBACK) {
        Ok(_) => Finding::ok(NAME, "available", "connections over several paths"),
        Err(error) => Finding::hint(
            NAME,
            format!("not available ({})", words(&error)),
            "connections have one path",
            "sysctl -w net.mptcp.enabled=1 (needs a kernel with CONFIG_MPTCP)",
        ),
    }
}

fn ipv6() -> Finding {
    const NAME: &str = "IPv6";
    match TcpListener::bind(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)) {
        Ok(_) => Finding::ok(NAME, "available", "on the loopback"),
        Err(error) => Finding::warn(
            NAME,
            format!("not available ({})", words(&error)),
            "no address ::1",
            "sysctl -w net.ipv6.conf.lo.disable_ipv6=0",
        ),
    }
}

fn names() -> Finding {
    const NAME: &str = "names";
    let names = SystemNames::load(&Paths::default(), &Environment::from_process());
    let way = names.way();
    if let Some(problem) = names.problems.first() {
        return Finding::warn(
            NAME,
            way.to_string(),
            problem.to_string(),
            "ls -l /etc/resolv.conf",
        );
    }
    let meaning = match way {
        Way::Dns => "lookups without threads, by the servers of resolv.conf",
        Way::System { .. } => "lookups by the system on threads, which cannot be cancelled",
    };
    Finding::ok(NAME, way.to_string(), meaning)
}
