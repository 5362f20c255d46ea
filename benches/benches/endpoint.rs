//! Endpoints: parsing, classification, services, networks, each beside what its peer takes for the same.
//!
//! `cargo xtask bench endpoint`; the instructions, which do not depend on the machine's load, by
//! `cargo xtask bench endpoint --instructions`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use criterion::{Criterion, criterion_group, criterion_main};
use sockeye::endpoint::{
    Endpoint, NetMap, NetSet, Network, PublicOnly, ServiceName, Target, Transport, is_globally_reachable,
    parse_socket_addr, services, special,
};

const V4: &str = "192.168.100.200:8080";
const V6: &str = "[2001:db8:85a3::8a2e:370:7334]:8080";

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("endpoint/parse");
    for (family, text) in [("v4", V4), ("v6", V6)] {
        group.bench_function(format!("{family}/sockeye"), |b| {
            b.iter(|| parse_socket_addr(black_box(text)))
        });
        group.bench_function(format!("{family}/std"), |b| {
            b.iter(|| black_box(text).parse::<SocketAddr>())
        });
        group.bench_function(format!("{family}/sockeye Endpoint"), |b| {
            b.iter(|| Endpoint::parse_or(black_box(text), Transport::Tcp));
        });
    }
    group.bench_function("target/sockeye", |b| {
        b.iter(|| black_box("tcp://127.0.0.1:http").parse::<Target>())
    });
    group.bench_function("target/std", |b| {
        b.iter(|| black_box("127.0.0.1:80").to_socket_addrs().map(Iterator::count));
    });
    group.bench_function("network/sockeye", |b| {
        b.iter(|| black_box("2001:db8::/32").parse::<Network>())
    });
    group.bench_function("network/ipnet", |b| {
        b.iter(|| black_box("2001:db8::/32").parse::<ipnet::IpNet>())
    });
    group.finish();
}

fn printing(criterion: &mut Criterion) {
    use std::fmt::Write as _;

    let mut group = criterion.benchmark_group("endpoint/print");
    let endpoint = Endpoint::parse_or(V6, Transport::Tcp).ok();
    let address = V6.parse::<SocketAddr>().ok();
    let mut text = String::with_capacity(128);
    group.bench_function("v6/sockeye", |b| {
        b.iter(|| {
            text.clear();
            endpoint.map(|endpoint| write!(text, "{endpoint}"))
        });
    });
    group.bench_function("v6/std", |b| {
        b.iter(|| {
            text.clear();
            address.map(|address| write!(text, "{address}"))
        });
    });
    group.finish();
}

fn classification(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("endpoint/classify");
    let policy = PublicOnly::new();
    for text in ["100.64.0.1", "8.8.8.8", "2001:db8::7", "2606:4700::1111"] {
        let Ok(ip) = text.parse::<IpAddr>() else { continue };
        group.bench_function(format!("special {text}/sockeye"), |b| {
            b.iter(|| special(black_box(ip)))
        });
        group.bench_function(format!("reachable {text}/sockeye"), |b| {
            b.iter(|| is_globally_reachable(black_box(ip)))
        });
        group.bench_function(format!("public only {text}/sockeye"), |b| {
            b.iter(|| policy.check_ip(black_box(ip)))
        });
    }
    group.finish();
}

fn service_names(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("endpoint/services");
    group.bench_function("name of a port/sockeye", |b| {
        b.iter(|| ServiceName::of(black_box(Transport::Tcp), black_box(443)));
    });
    group.bench_function("port of a text/sockeye", |b| {
        b.iter(|| services::port(black_box(Transport::Tcp), black_box("postgresql")));
    });
    // The peer of the table: a map of the same rows.
    let map: BTreeMap<(String, bool), u16> = [Transport::Tcp, Transport::Udp]
        .into_iter()
        .flat_map(|t| {
            services::all(t).map(move |(port, name)| ((name.to_string(), t == Transport::Tcp), port))
        })
        .collect();
    group.bench_function("port of a text/BTreeMap", |b| {
        b.iter(|| map.get(&(black_box("postgresql").to_owned(), true)));
    });
    group.finish();
}

fn networks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("endpoint/networks");
    // 4,096 networks of /24, each second one of 10.0.0.0/11.
    let wanted: Vec<Network> = (0..4_096u32)
        .filter_map(|n| Network::of(IpAddr::V4((0x0a00_0000 + n * 512).into()), 24))
        .collect();
    let set: NetSet = wanted.iter().copied().collect();
    let map: NetMap<usize> = wanted.iter().copied().zip(0..).collect();
    let plain: Vec<ipnet::IpNet> = wanted.iter().map(Network::ipnet).collect();
    let ip: IpAddr = [10, 11, 4, 7].into();
    group.bench_function("4096 networks/sockeye NetSet", |b| {
        b.iter(|| set.contains(black_box(ip)))
    });
    group.bench_function("4096 networks/sockeye NetMap", |b| {
        b.iter(|| map.lookup(black_box(ip)).is_some())
    });
    group.bench_function("4096 networks/ipnet", |b| {
        b.iter(|| plain.iter().any(|net| net.contains(&black_box(ip))));
    });
    group.bench_function("aggregate 4096/sockeye NetSet", |b| {
        b.iter(|| {
            black_box(&wanted)
                .iter()
                .copied()
                .collect::<NetSet>()
                .networks()
                .count()
        });
    });
    group.bench_function("aggregate 4096/ipnet", |b| {
        b.iter(|| ipnet::IpNet::aggregate(black_box(&plain)).len());
    });
    group.finish();
}

criterion_group!(
    benches,
    parsing,
    printing,
    classification,
    service_names,
    networks
);
criterion_main!(benches);
