//! Clients that block, as many as there are callers at a time, for [`Resolver::resolve`](crate::Resolver::resolve).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sockeye_endpoint::HostName;
use sockeye_socket::os::AddressFamily;

use super::answer::{Answer, Finding, Origin, QueryError};
use super::client::{Addresses, Client};
use super::engine::{DnsOptions, LocalNames, Request};
use super::message::ResponseCode;
use super::name::Name;
use crate::files::{Environment, Hosts, Paths, SystemFiles, Way};
use crate::lookup::LookupError;

/// How many clients without a caller are kept, with what they have cached.
const KEPT: usize = 4;

/// How long the files are left alone after they have been looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Clients that block. A caller has one for itself as long as it waits: a mutex around a single one would have each deadline
/// wait for all others.
pub(crate) struct Clients {
    state: Mutex<State>,
}

struct State {
    source: Source,
    /// Goes up with each change of the files.
    version: u64,
    /// Clients that wait for a caller, and the version that they know; the one used last is at the end.
    idle: Vec<(u64, Client)>,
    origin: Instant,
}

enum Source {
    /// Files; `None` are those of the machine, which are not read before the first name is looked up.
    Files(Option<Box<SystemFiles>>),
    Given(Box<DnsOptions>, LocalNames),
}

/// What a lookup has found, in each family.
pub(crate) struct Found {
    pub(crate) v6: Result<Vec<SocketAddr>, LookupError>,
    pub(crate) v4: Result<Vec<SocketAddr>, LookupError>,
}

impl Clients {
    /// Clients that go by the files of the machine.
    pub(crate) fn of_machine() -> Self {
        Self::new(Source::Files(None))
    }

    /// Clients that go by these files.
    pub(crate) fn of_files(files: SystemFiles) -> Self {
        Self::new(Source::Files(Some(files.into())))
    }

    /// Clients that ask these servers, whatever files say.
    pub(crate) fn of(options: DnsOptions, local: LocalNames) -> Self {
        Self::new(Source::Given(options.into(), local))
    }

    fn new(source: Source) -> Self {
        Self {
            state: Mutex::new(State {
                source,
                version: 0,
                idle: Vec::new(),
                origin: Instant::now(),
            }),
        }
    }

    /// Which way names are looked up now.
    pub(crate) fn way(&self) -> Way {
        let mut state = self.lock();
        state.look();
        state.way()
    }

    /// The addresses of a name, at most `max` of each family; `None` if the system is to be asked.
    pub(crate) fn addresses(&self, host: &HostName, deadline: Instant, max: usize) -> Option<Found> {
        let name = Name::try_from(host).ok()?;
        let (version, mut client, hosts) = self.lock().take()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let request = Request::addresses(name).within(left);
        let request = if host.as_str().ends_with('.') {
            request
        } else {
            request.with_search()
        };
        let Addresses { v6, v4 } = client.addresses(request);
        let mut state = self.lock();
        if state.idle.len() < KEPT {
            state.idle.push((version, client));
        }
        drop(state);
        let family = |result: Result<Answer, QueryError>, family| {
            let mut addresses = of_family(result, deadline, || {
                hosts.addresses(host.as_str(), family).collect()
            })?;
            addresses.truncate(max);
            Ok(addresses)
        };
        Some(Found {
            v6: v6.map_or(Err(LookupError::NotFound), |v6| family(v6, AddressFamily::V6)),
            v4: family(v4, AddressFamily::V4),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Looks at the files.
    fn look(&mut self) {
        let files = match &mut self.source {
            Source::Files(files) => files.get_or_insert_with(|| {
                let environment = Environment::from_process();
                SystemFiles::load(&Paths::default(), &environment, LOOK_AGAIN).into()
            }),
            Source::Given(..) => return,
        };
        if files.reload_if_changed(self.origin.elapsed()) {
            self.version += 1;
        }
    }

    fn way(&self) -> Way {
        match &self.source {
            Source::Files(Some(files)) => files.names().way(),
            Source::Files(None) | Source::Given(..) => Way::Dns,
        }
    }

    /// A client that knows what the files say now, and the hosts file; `None` if the system is to be asked.
    fn take(&mut self) -> Option<(u64, Client, Arc<Hosts>)> {
        self.look();
        if self.way() != Way::Dns {
            return None;
        }
        let idle = self.idle.pop();
        Some(match &self.source {
            Source::Files(Some(files)) => {
                let names = files.names();
                let client = match idle {
                    Some((version, client)) if version == self.version => client,
                    Some((_, mut client)) => {
                        client.configure(names);
                        client
                    }
                    None => Client::of_names(names),
                };
                (self.version, client, Arc::clone(&names.hosts))
            }
            Source::Given(options, local) => {
                let client = idle.map(|(_, client)| client);
                let client = client.unwrap_or_else(|| Client::new(DnsOptions::clone(options), local.clone()));
                (self.version, client, Arc::clone(&local.hosts))
            }
            // It has been looked at above.
            Source::Files(None) => return None,
        })
    }
}

/// The addresses of a family, with port 0. The hosts file has zones, which records do not.
fn of_family(
    result: Result<Answer, QueryError>,
    deadline: Instant,
    in_hosts: impl FnOnce() -> Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, LookupError> {
    let answer = result.map_err(|error| match error {
        QueryError::TimedOut { .. } if deadline <= Instant::now() => LookupError::TimedOut,
        QueryError::TimedOut { .. } | QueryError::Unreachable { .. } => LookupError::TryAgain,
        QueryError::Failed {
            code: ResponseCode::SERVER_FAILURE,
            ..
        } => LookupError::TryAgain,
        _ => LookupError::Failed,
    })?;
    if answer.finding() != Finding::Records {
        return Err(LookupError::NotFound);
    }
    let in_hosts = if answer.origin == Origin::Hosts {
        in_hosts()
    } else {
        Vec::new()
    };
    Ok(if in_hosts.is_empty() {
        answer.addresses().map(|ip| SocketAddr::new(ip, 0)).collect()
    } else {
        in_hosts
    })
}
