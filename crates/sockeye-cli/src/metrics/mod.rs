//! `--metrics ADDRESS`: OpenMetrics at `/metrics`, a page for people at `/`, and what the page shows at `/status.json`.
//!
//! The server is a service of the command's own event loop. A question goes through the loop's remote to the service that
//! knows the answer, which makes a [`Snapshot`] between two events; a thread encodes it. So a scrape costs the loop a copy of
//! its counters, whatever their number, and what counts takes no lock that anybody else holds for long.
//!
//! | module | what |
//! |---|---|
//! | `http` | requests: what is asked for, and every refusal |
//! | `server` | the service: connections, limits, answers |
//! | `encoding` | the thread that makes bodies of snapshots |
//! | [`exposition`] | OpenMetrics, by `prometheus-client` |
//! | `common` | what every command tells |
//! | [`histogram`] | durations in buckets |
//! | `page` | the page, from `page.html` |
//!
//! Its connections have places of their own: they take none of the command's, and it can be asked when the command has none
//! left.
//!
//! `/status.json` is an object. Of every command it has `schema` (1), `command`, `version`, `started_unix_ms`, `now_unix_ms`, and
//! `loop`: what the event loops have done. The tables of a command (`listeners`, `pools` and `backends` of `relay`, `addresses` of
//! `serve`, `hosts` of `ping`) are arrays of objects, cut to [`ROWS`] rows, those that are down first; how many rows there are is
//! in `listeners_total`, `pools_total`, `backends_total`, `addresses_total` and `hosts_total`, and `totals` adds up all of them:
//! `open`, `sessions`, `unserved`, `received_bytes` and `sent_bytes` of the listeners, `open`, `connections`, `received_bytes`,
//! `sent_bytes`, `received_datagrams` and `sent_datagrams` of the addresses, `sent`, `received` and `lost` of the hosts. All but
//! `open` only grow; rates are the reader's to work out.
//!
//! There is no password: whoever reaches the address may read. Without more words that is this machine alone. A browser on
//! it could be made to read by a page of a stranger whose name points here (DNS rebinding); so the host of a request has to be
//! an address, `localhost`, or a name that was allowed.

mod common;
mod encoding;
pub(crate) mod exposition;
pub(crate) mod histogram;
mod http;
mod page;
mod server;

use std::net::SocketAddr;
use std::time::SystemTime;

use anyhow::Context as _;
use serde_json::json;
use sockeye::endpoint::{Address, Scheme};
use sockeye::event_loop::{EventLoop, ListenOptions, Remote, RemoteError, UnixListenOptions};

use crate::exit::Failure;
use crate::names;
use crate::output::{Output, warn};
use common::Common;
pub(crate) use common::float;
pub(crate) use encoding::Ask;
pub(crate) use exposition::{Exposition, In, Snapshot};
use server::Server;

/// Rows of a table of the status; the metrics have all.
pub(crate) const ROWS: usize = 500;

/// The options of the commands that have an endpoint.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Endpoint {
    /// Serve metrics over HTTP: OpenMetrics at /metrics, a live page at /. Such as 127.0.0.1:9100 (port 0: any free one,
    /// which is printed) or unix:/run/relay.sock. There is no password
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    metrics: Option<Address>,
    /// Answer requests to --metrics that have this name in their Host header too; localhost and addresses always may
    #[arg(long, value_name = "NAME", requires = "metrics")]
    metrics_host: Vec<String>,
}

fn address(text: &str) -> Result<Address, String> {
    let address = crate::address::listening(&names::bracketed(text))?;
    match address.must_be(&[Scheme::Tcp, Scheme::Unix]) {
        Ok(()) => Ok(address),
        Err(refused) => Err(refused.to_string()),
    }
}

/// What a browser on this machine opens; none of a Unix socket.
fn url(address: &Address) -> Option<String> {
    let Address::Ip { endpoint, .. } = address else {
        return None;
    };
    let (ip, port) = (endpoint.ip(), endpoint.port());
    Some(if ip.to_canonical().is_unspecified() {
        format!("http://localhost:{port}/")
    } else {
        format!("http://{}/", SocketAddr::new(ip, port))
    })
}

impl Endpoint {
    /// Whether it was asked for: what is counted for it alone need not be otherwise.
    pub(crate) const fn is_asked(&self) -> bool {
        self.metrics.is_some()
    }

    /// Serves, if it was asked for, and says where. `source` brings a question to where it can be answered.
    ///
    /// # Errors
    /// When the address cannot be listened on, or there can be no thread.
    pub(crate) fn start(
        &self,
        events: &mut EventLoop,
        command: &'static str,
        output: &mut Output,
        source: impl Fn(&Remote, Ask) -> Result<(), RemoteError> + 'static,
    ) -> anyhow::Result<()> {
        let Some(address) = self.metrics else {
            return Ok(());
        };
        let (jobs, queue) = encoding::queue();
        let server = Server {
            common: Common {
                command,
                started: SystemTime::now(),
            },
            source: Box::new(source),
            jobs,
            remote: events.remote(),
            names: matches!(address, Address::Ip { .. }).then(|| self.metrics_host.clone()),
            forms: Default::default(),
            serial: 0,
            bodies: Vec::new(),
        };
        let service = events.add_stream_service(server, server::stream_options());
        let tried = || format!("serve --metrics {address}");
        let at = match address {
            Address::Unix(name) => {
                let options = UnixListenOptions {
                    max_connections: server::CONNECTIONS,
                    apart: true,
                    ..UnixListenOptions::default()
                };
                events.listen_unix(service, &name, &options).with_context(tried)?;
                address
            }
            Address::Ip { endpoint, .. } => {
                let options = ListenOptions {
                    max_connections: server::CONNECTIONS,
                    apart: true,
                    ..ListenOptions::default()
                };
                let to = names::socket_addr(&endpoint)?;
                if !to.ip().to_canonical().is_loopback() {
                    warn(format_args!(
                        "sockeye: {command}: --metrics {address}: whoever reaches this machine there can read it: it asks for \
                         no password"
                    ));
                }
                let listener = events.listen(service, to, &options).with_context(tried)?;
                Address::from(endpoint.with_port(events.local_addr(listener)?.port()))
            }
        };
        encoding::start(queue, events.remote(), service).context("start the thread of --metrics")?;
        let url = url(&at);
        match &url {
            Some(url) => output.line(format_args!("metrics on {url}"))?,
            None => output.line(format_args!("metrics on {at}"))?,
        }
        output.event("metrics", json!({ "endpoint": at.to_string(), "url": url }))?;
        Ok(())
    }

    /// Where it is asked for.
    pub(crate) const fn address(&self) -> Option<&Address> {
        self.metrics.as_ref()
    }

    /// Refuses an address that the command itself listens on.
    ///
    /// # Errors
    /// That it is given twice.
    pub(crate) fn apart_from<'a>(&self, others: impl IntoIterator<Item = &'a Address>) -> anyhow::Result<()> {
        let Some(address) = self.metrics else {
            return Ok(());
        };
        let any_port = matches!(address, Address::Ip { endpoint, .. } if endpoint.port() == 0);
        if !any_port && others.into_iter().any(|other| *other == address) {
            return Err(Failure::usage(format!(
                "--metrics {address}: --listen has that address too: give it another port"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_can_be_opened() {
        for (at, opens) in [
            ("tcp://127.0.0.1:9100", Some("http://127.0.0.1:9100/")),
            ("tcp://[::1]:9100", Some("http://[::1]:9100/")),
            ("tcp://0.0.0.0:9100", Some("http://localhost:9100/")),
            ("tcp://[::]:9100", Some("http://localhost:9100/")),
            ("unix:/run/a.sock", None),
        ] {
            assert_eq!(url(&at.parse().unwrap()).as_deref(), opens);
        }
    }
}
