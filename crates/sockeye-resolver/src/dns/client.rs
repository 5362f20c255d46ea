//! [`Client`]: the engine with sockets, for those who want to block. Without a thread and without a runtime.

use std::collections::HashMap;
use std::fmt;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, Finding, QueryError};
use super::engine::{DnsOptions, DnsStats, Engine, Event, LocalNames, LookupId, Request, Wanted};
use super::random::os_random;
use super::record::RecordType;
use crate::files::{Environment, Paths, SystemFiles, SystemNames};

mod transport;

use transport::Transport;

/// How many requests of [`Client::query_all`] are under way at a time where nothing else is said: as many datagrams as the
/// receive buffer of a server on Linux holds by default.
const AT_ONCE: usize = 128;

/// How long files are left alone after they have been looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A client of the DNS that blocks: it sends, waits and receives on the caller's thread.
///
/// Answers are cached from call to call. Sockets and connections are kept for the next call, too; idle ones are closed
/// when it begins. Each deadline holds to the millisecond, whatever the servers do.
///
/// A client serves one caller at a time. Behind a [`Mutex`](std::sync::Mutex) it serves several threads, one after the
/// other; threads that must not wait for each other have clients of their own, as
/// [`Resolver`](crate::Resolver) arranges it.
///
/// TLS is not spoken here: a server with [`Carrier::Tls`](super::Carrier::Tls) counts as one that cannot be reached.
///
/// ```no_run
/// use sockeye_resolver::dns::{Client, RecordType, Request};
///
/// let mut client = Client::from_system();
/// let answer = client.query(Request::records("example.com".parse()?, RecordType::MX))?;
/// for record in &answer.content.records {
///     println!("{record}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    engine: Engine,
    transport: Transport,
    files: Option<SystemFiles>,
    max_lookups: usize,
    at_once: usize,
    clock: Clock,
}

/// The addresses of a name, each family with its own result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// AAAA; `None` where [`DnsOptions::no_aaaa`] rules it out.
    pub v6: Option<Result<Answer, QueryError>>,
    /// A.
    pub v4: Result<Answer, QueryError>,
}

/// The time since the client was made.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> Duration {
        self.0.elapsed()
    }
}

impl Client {
    /// A client that asks these servers, with randomness from the system ([`os_random`]).
    #[must_use]
    pub fn new(options: DnsOptions, local: LocalNames) -> Self {
        let max_lookups = options.max_lookups;
        let mut engine = Engine::new(unbounded(options), os_random());
        engine.set_local_names(local);
        Self {
            engine,
            transport: Transport::default(),
            files: None,
            max_lookups,
            at_once: AT_ONCE,
            clock: Clock(Instant::now()),
        }
    }

    /// A client that asks the servers of resolv.conf, and knows the names of the hosts file. Both are looked at again as time
    /// goes by, at most once a second.
    ///
    /// It asks the DNS whatever nsswitch.conf says; [`SystemNames::way`] tells whether other programs do. Files that cannot
    /// be read count as missing.
    #[must_use]
    pub fn from_system() -> Self {
        let environment = Environment::from_process();
        Self::from_files(SystemFiles::load(&Paths::default(), &environment, LOOK_AGAIN))
    }

    /// [`from_system`](Self::from_system) with other files.
    #[must_use]
    pub fn from_files(files: SystemFiles) -> Self {
        let client = Self::of_names(files.names());
        Self {
            files: Some(files),
            ..client
        }
    }

    /// A client that goes by what files say now.
    pub(crate) fn of_names(names: &SystemNames) -> Self {
        let (options, local) = configuration(names);
        Self::new(options, local)
    }

    /// Has [`query_all`](Self::query_all) keep this many requests under way, in the place of 128. More are faster where
    /// servers are far away; what overflows a server's receive buffer is lost and costs a timeout.
    #[must_use]
    pub fn with_at_once(self, at_once: usize) -> Self {
        Self { at_once, ..self }
    }

    /// Looks up a name, and waits for the answer.
    ///
    /// A request for addresses has two: this returns that of a family that has some. [`addresses`](Self::addresses)
    /// returns both.
    ///
    /// # Errors
    /// [`QueryError`]. "No such name" and "no such records" are answers ([`Answer::finding`]).
    pub fn query(&mut self, request: Request) -> Result<Answer, QueryError> {
        let mut result = None;
        self.run(&mut iter::once(request), &mut |_, event| {
            keep_better(&mut result, event.result);
        });
        result.unwrap_or(NO_ANSWER)
    }

    /// Looks up the addresses of both families at once, whatever the request [wants](Request::wanted), and waits for both.
    ///
    /// With a search list both are of one and the same name.
    pub fn addresses(&mut self, request: Request) -> Addresses {
        let request = Request {
            wanted: Wanted::Addresses,
            ..request
        };
        let mut found = Addresses {
            v6: None,
            v4: NO_ANSWER,
        };
        self.run(&mut iter::once(request), &mut |_, event| {
            if event.record_type == RecordType::AAAA {
                found.v6 = Some(event.result);
            } else {
                found.v4 = event.result;
            }
        });
        found
    }

    /// Looks up many names at once, and waits for all. The results are in the order of the requests, each as of
    /// [`query`](Self::query).
    ///
    /// A request's time begins when it is sent its first question: at most 128 are under way at a time
    /// ([`with_at_once`](Self::with_at_once)), and the others wait for their turn.
    pub fn query_all(
        &mut self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Answer, QueryError>> {
        let mut results: Vec<Option<Result<Answer, QueryError>>> = Vec::new();
        self.run(&mut requests.into_iter(), &mut |place, event| {
            results.resize_with(results.len().max(place + 1), || None);
            if let Some(result) = results.get_mut(place) {
                keep_better(result, event.result);
            }
        });
        results
            .into_iter()
            .map(|result| result.unwrap_or(NO_ANSWER))
            .collect()
    }

    /// What the client has done so far.
    #[must_use]
    pub fn stats(&self) -> DnsStats {
        self.engine.stats()
    }

    /// Forgets the answers that are kept.
    pub fn clear_cache(&mut self) {
        self.engine.clear_cache();
    }

    /// Takes over what files say.
    pub(crate) fn configure(&mut self, names: &SystemNames) {
        let (options, local) = configuration(names);
        self.max_lookups = options.max_lookups;
        self.engine.set_local_names(local);
        self.engine.reconfigure(self.clock.now(), unbounded(options));
    }

    fn reload(&mut self) {
        let Some(mut files) = self.files.take() else {
            return;
        };
        if files.reload_if_changed(self.clock.now()) {
            self.configure(files.names());
        }
        self.files = Some(files);
    }

    /// Does all that is requested, and hands each event on with the place of its request.
    fn run(&mut self, requests: &mut dyn Iterator<Item = Request>, on_event: &mut dyn FnMut(usize, Event)) {
        let mut places: HashMap<LookupId, usize> = HashMap::new();
        let mut requests = requests.enumerate();
        let mut is_exhausted = false;
        loop {
            // What is overdue from the call before goes first: sockets that are idle are not used again.
            self.engine.handle_timeout(self.clock.now());
            self.reload();
            while !is_exhausted && places.len() < self.at_once.min(self.max_lookups).max(1) {
                let Some((place, request)) = requests.next() else {
                    is_exhausted = true;
                    break;
                };
                if let Ok(id) = self.engine.lookup(self.clock.now(), request) {
                    places.insert(id, place);
                }
                self.hand_on(&mut places, on_event);
            }
            self.transport.transmit(&mut self.engine, self.clock);
            self.hand_on(&mut places, on_event);
            if places.is_empty() && is_exhausted {
                return;
            }
            if !places.is_empty() {
                self.transport.wait(&mut self.engine, self.clock);
            }
        }
    }

    fn hand_on(&mut self, places: &mut HashMap<LookupId, usize>, on_event: &mut dyn FnMut(usize, Event)) {
        while let Some(event) = self.engine.poll_event() {
            let place = if event.is_last {
                places.remove(&event.lookup)
            } else {
                places.get(&event.lookup).copied()
            };
            if let Some(place) = place {
                on_event(place, event);
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("engine", &self.engine)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

/// The client itself keeps to the bound: what is too much waits for its turn.
fn unbounded(options: DnsOptions) -> DnsOptions {
    DnsOptions {
        max_lookups: usize::MAX,
        ..options
    }
}

/// What stands for a result until there is one.
const NO_ANSWER: Result<Answer, QueryError> = Err(QueryError::TimedOut { last: None });

/// Of two results of one request, keeps the one that has records; of two without, the later one.
fn keep_better(kept: &mut Option<Result<Answer, QueryError>>, result: Result<Answer, QueryError>) {
    let has_records = matches!(kept, Some(Ok(answer)) if answer.finding() == Finding::Records);
    if !has_records {
        *kept = Some(result);
    }
}

fn configuration(names: &SystemNames) -> (DnsOptions, LocalNames) {
    let local = LocalNames {
        hosts: Arc::clone(&names.hosts),
        ..LocalNames::default()
    };
    (DnsOptions::from_resolv_conf(&names.resolv_conf), local)
}
