//! The fuzz targets: one function a parser, which takes any bytes and panics where a promise is broken.
//!
//! The fuzzer (`tests/fuzz`) and the test that replays all seeds (`tests/tests/fuzz_seeds.rs`) share them.

mod capture;
mod checksum;
mod codec;
mod control;
mod dns_message;
mod endpoint;
mod extensions;
mod filter;
mod fragments;
mod hosts;
mod icmpv4;
mod icmpv6;
mod iperf3_control;
mod iperf3_datagram;
mod ipv4;
mod ipv6;
mod layers;
mod measure_run;
mod mux;
mod packet;
mod plan;
mod proxy;
mod quoted;
mod reassemble;
mod resolv_conf;
mod ring_block;
mod sets;
mod sockperf;
mod tcp;
mod udp;

/// A name, and what it does with bytes.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them, in the order of their names.
pub(crate) const TARGETS: &[Target] = &[
    ("capture", capture::run),
    ("checksum", checksum::run),
    ("codec", codec::run),
    ("control", control::run),
    ("dns_message", dns_message::run),
    ("endpoint", endpoint::run),
    ("extensions", extensions::run),
    ("filter", filter::run),
    ("fragments", fragments::run),
    ("hosts", hosts::run),
    ("icmpv4", icmpv4::run),
    ("icmpv6", icmpv6::run),
    ("iperf3_control", iperf3_control::run),
    ("iperf3_datagram", iperf3_datagram::run),
    ("ipv4", ipv4::run),
    ("ipv6", ipv6::run),
    ("layers", layers::run),
    ("measure_run", measure_run::run),
    ("mux", mux::run),
    ("packet", packet::run),
    ("plan", plan::run),
    ("proxy", proxy::run),
    ("quoted", quoted::run),
    ("reassemble", reassemble::run),
    ("resolv_conf", resolv_conf::run),
    ("ring_block", ring_block::run),
    ("sets", sets::run),
    ("sockperf", sockperf::run),
    ("tcp", tcp::run),
    ("udp", udp::run),
];
