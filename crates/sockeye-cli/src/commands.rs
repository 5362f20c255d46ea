//! The subcommands: one module each, with its arguments and `run`.
//!
//! A subcommand is an `Arguments` struct and `run(arguments, output) -> anyhow::Result<Exit>`. What it found
//! goes to `output` as lines for people and as events for programs; an error it returns is reported, and gets
//! its status, in [`exit`](crate::exit).

mod bench;
mod completions;
mod connect;
mod doctor;
mod dump;
mod explain;
mod listen;
mod man;
mod mtu;
mod ping;
#[cfg(feature = "relay")]
mod relay;
mod resolve;
mod scan;
mod serve;
#[cfg(feature = "sockets")]
pub(crate) mod sockets;
mod trace;

use clap::Subcommand;

use crate::exit::Exit;
use crate::output::{Format, Output};

/// What `sockeye` can be told to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a small service: echo, discard, chargen, daytime, time, qotd or active-users
    Serve(serve::Arguments),
    /// Relay streams and datagrams to backends
    #[cfg(feature = "relay")]
    Relay(relay::Arguments),
    /// Connect: stdin to the peer, the peer to stdout
    Connect(connect::Arguments),
    /// Wait for a peer: stdin to it, it to stdout; or a command for each
    Listen(listen::Arguments),
    /// Ask hosts whether they are there, and measure how far away
    Ping(ping::Arguments),
    /// Find the routers on the way to a host
    Trace(trace::Arguments),
    /// Find the largest packet that arrives at a host
    Mtu(mtu::Arguments),
    /// Find the open ports of hosts and networks
    Scan(scan::Arguments),
    /// Say what addresses, endpoints, networks, targets, ports and service names are
    Explain(explain::Arguments),
    /// Look names up: the addresses in the order a connection would try them, and why
    Resolve(resolve::Arguments),
    /// Show the sockets of this machine: states, queues, peers, processes
    #[cfg(feature = "sockets")]
    Sockets(sockets::Arguments),
    /// Decode packets: of a capture file, or as they pass an interface
    Dump(dump::Arguments),
    /// Measure sockets: over the loopback, or with a server on another machine
    Bench(bench::Arguments),
    /// Say what this machine allows, and which command changes it
    Doctor(doctor::Arguments),
    /// Print the completions of a shell
    Completions(completions::Arguments),
    /// Print the manual page, or write one for each command
    Man(man::Arguments),
}

impl Command {
    /// The format that the subcommand was asked for.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Serve(arguments) => arguments.format,
            #[cfg(feature = "relay")]
            Self::Relay(arguments) => arguments.format.of(&relay::ROWS),
            Self::Connect(arguments) => arguments.format,
            Self::Listen(arguments) => arguments.format,
            Self::Completions(_) | Self::Man(_) => Format::default(),
            Self::Ping(arguments) => arguments.format.of(&ping::ROWS),
            Self::Trace(arguments) => arguments.format(),
            Self::Mtu(arguments) => arguments.format,
            Self::Scan(arguments) => arguments.format.of(&scan::ROWS),
            Self::Explain(arguments) => arguments.format,
            Self::Resolve(arguments) => arguments.format,
            #[cfg(feature = "sockets")]
            Self::Sockets(arguments) => arguments.format.of(&sockets::ROWS),
            Self::Dump(arguments) => arguments.format,
            Self::Bench(arguments) => arguments.format(),
            Self::Doctor(arguments) => arguments.format.of(&doctor::ROWS),
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Whatever ended it early.
    pub(crate) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        match self {
            Self::Serve(arguments) => serve::run(&arguments, output),
            #[cfg(feature = "relay")]
            Self::Relay(arguments) => relay::run(&arguments, output),
            Self::Connect(arguments) => connect::run(&arguments, output),
            Self::Listen(arguments) => listen::run(&arguments, output),
            Self::Ping(arguments) => ping::run(&arguments, output),
            Self::Trace(arguments) => trace::run(&arguments, output),
            Self::Mtu(arguments) => mtu::run(&arguments, output),
            Self::Scan(arguments) => scan::run(&arguments, output),
            Self::Explain(arguments) => explain::run(&arguments, output),
            Self::Resolve(arguments) => resolve::run(&arguments, output),
            #[cfg(feature = "sockets")]
            Self::Sockets(arguments) => sockets::run(&arguments, output),
            Self::Dump(arguments) => dump::run(&arguments, output),
            Self::Bench(arguments) => bench::run(&arguments, output),
            Self::Doctor(arguments) => doctor::run(&arguments, output),
            Self::Completions(arguments) => completions::run(&arguments, output),
            Self::Man(arguments) => man::run(&arguments, output),
        }
    }
}
