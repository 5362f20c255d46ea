//! `sockeye bench`: this machine over its loopback, or two machines with a server and a client.

mod client;
mod flows;
mod iperf3;
mod loopback;
mod server;
mod sockperf;

use clap::Subcommand;

use crate::exit::Exit;
use crate::output::{Format, Output};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    side: Option<Side>,
    #[command(flatten)]
    loopback: loopback::Arguments,
}

/// The two sides of a measurement between processes.
#[derive(Debug, Subcommand)]
enum Side {
    /// Wait for clients, many at once, and measure with them
    Server(server::Arguments),
    /// Measure with a server
    Client(Box<client::Arguments>),
}

impl Arguments {
    /// The format that was asked for.
    pub(crate) fn format(&self) -> Format {
        match &self.side {
            None => self.loopback.format.of(&loopback::ROWS),
            Some(Side::Server(arguments)) => arguments.format,
            Some(Side::Client(arguments)) => arguments.format.of(&client::ROWS),
        }
    }
}

/// Measures, and reports.
///
/// # Errors
/// As the side that was asked for.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    match &arguments.side {
        None => loopback::run(&arguments.loopback, output),
        Some(Side::Server(arguments)) => server::run(arguments, output),
        Some(Side::Client(arguments)) => client::run(arguments, output),
    }
}
