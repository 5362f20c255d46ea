//! Name servers: zones as plain data, answered by UDP and TCP, honestly or not (feature `names`).
//!
//! A [`NameServer`] serves [`Zones`] and behaves as its [`Behaviour`] says: with latency, loss and outages, with codes and
//! lies. It runs on a simulated host, where a client of names can be tested against all that, and on the kernel, where
//! `dig` can ask it (`cargo run -p sockeye-sim --features names --example name_server`). Time and randomness come from the
//! loop it runs on, so that a simulated run repeats.
//!
//! ```
//! use std::time::Duration;
//! use sockeye_event_loop::names::{DnsConfig, NameSource};
//! use sockeye_resolver::dns::{RecordType, Request, ResponseCode};
//! use sockeye_sim::Sim;
//! use sockeye_sim::names::{Behaviour, NameServer, Rule, Zones};
//!
//! let zones: Zones = "
//! $ORIGIN example.test.
//! $TTL 1h
//! @    SOA   ns admin 1 2h 15m 14d 60
//! www  A     192.0.2.1
//!      AAAA  2001:db8::1
//! ".parse()?;
//! // 20 ms away, and AAAA fails.
//! let broken = Rule::for_type(RecordType::AAAA, Behaviour::code(ResponseCode::SERVER_FAILURE));
//! let server = NameServer::new(zones)
//!     .with(Behaviour::latency(Duration::from_millis(20)))
//!     .with_rule(broken);
//!
//! let mut sim = Sim::new(7);
//! let (host, client) = (sim.host([10, 0, 0, 53]), sim.host([10, 0, 0, 1]));
//! let served = server.serve(sim.on(host), ([10, 0, 0, 53], 53).into())?;
//!
//! // A simulated host has no resolv.conf: it is told whom to ask.
//! let config = DnsConfig::with_servers([served.address]);
//! sim.on(client).set_names(NameSource::Dns(Box::new(config)));
//! let request = Request::records("www.example.test".parse()?, RecordType::A);
//! sim.on(client).resolve(request)?;
//! sim.run_for(Duration::from_secs(1))?;
//! let answer = sim.on(client).next_answer().expect("it has answered").result?;
//! assert_eq!(answer.addresses().next(), Some([192, 0, 2, 1].into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With such a client, `ConnectRequest::to_target` connects by Happy Eyeballs as on the kernel. To cut a server off:
//! [`Sim::partition`](crate::Sim::partition) for the network between, [`NameServer::set_down`] or
//! [`Behaviour::outages`](Behaviour) for the server alone.
//!
//! | type | what it is |
//! |---|---|
//! | [`Zones`], [`Found`], [`ZoneError`] | records by name, from code or from the text of a zone file |
//! | [`Behaviour`], [`Rule`], [`Lie`], [`TcpSupport`], [`EdnsSupport`], [`CookieSupport`] | how a server behaves |
//! | [`NameServer`], [`Served`] | the handle of a server, and where it listens |
//! | [`NameServerUdp`], [`NameServerTcp`] | its services |
//! | [`Counters`], [`Asked`], [`Transport`] | what it has done, and what it was asked |
mod answer;
mod behaviour;
mod data;
mod lies;
mod server;
mod tcp;
mod text;
mod udp;
mod zones;

#[cfg(test)]
mod tests;

pub use behaviour::{Behaviour, CookieSupport, EdnsSupport, Lie, Rule, TcpSupport};
pub use server::{Asked, Counters, NameServer, Served, Transport};
pub use tcp::{NameServerTcp, Session};
pub use text::{ZoneError, ZoneFault};
pub use udp::NameServerUdp;
pub use zones::{Found, Zones};
