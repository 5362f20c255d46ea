//! QUIC of `connect`: one stream of one connection.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sockeye::event_loop::{DatagramOptions, EventLoop, ServiceHandle};
use sockeye::quic::{QuicClient, QuicConnect, socket_options};

use super::stream::Carrier;
use crate::certificates;
use crate::files::Files;
use crate::identity::Client;

/// Connects to the first of the addresses that answers, for one stream.
///
/// # Errors
/// What is wrong with the files or the name, and when there is no socket for it.
pub(crate) fn connect(
    events: &mut EventLoop,
    service: ServiceHandle<Carrier>,
    (client, name): (&Client, &str),
    to: &[SocketAddr],
    from: (Option<SocketAddr>, Option<String>),
    within: Duration,
) -> anyhow::Result<()> {
    let config = certificates::client(client, &mut Files::default())?;
    let made = QuicClient::new(config)?;
    let quic = made.handle();
    let own = made.add_to(events);
    let (source, device) = from;
    let options = DatagramOptions {
        device,
        ..socket_options()
    };
    let any = [IpAddr::from([0; 4]), IpAddr::from([0; 16])].map(|ip| SocketAddr::new(ip, 0));
    let sources = source.map_or_else(|| any.to_vec(), |source| vec![source]);
    let is_needed = |from: &&SocketAddr| to.iter().any(|to| to.is_ipv4() == from.is_ipv4());
    let (mut bound, mut refused) = (0, None);
    for from in sources.iter().filter(is_needed) {
        match events.bind(own, *from, &options) {
            Ok(_) => bound += 1,
            Err(error) => refused = Some(error),
        }
    }
    // A machine without one of the families still has the other.
    if let Some(error) = refused.filter(|_| bound == 0) {
        return Err(error.into());
    }
    let (first, others) = to.split_first().context("there is no address")?;
    let request = QuicConnect::new(*first, name)
        .alternatives(others.iter().copied())
        .stream(service, 0)
        .deadline(within);
    let begun = events
        .with(service, |_, context| quic.connect(context, request))
        .context("the service has left the loop")?;
    begun.map(|_| ()).map_err(|error| anyhow!(error))
}
