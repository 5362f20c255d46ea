//! Asking: all questions at once, by the loop's client of the DNS or by the system.

use std::fmt;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sockeye::endpoint::{Host, Target};
use sockeye::event_loop::names::{DnsConfig, NameSource, Way};
use sockeye::event_loop::{EventLoop, LoopOptions};
use sockeye::resolver::dns::{
    Answer, Carrier, LocalNames, LookupId, Name, QueryError, RecordType, Request, Server,
};
use sockeye::resolver::files::{Environment, Paths, SystemNames};
use sockeye::resolver::{self, AddressFamily, Progress, Resolver};

use super::Arguments;
use super::words;
use crate::exit::Failure;
use crate::output::{note, shows_progress};

/// After this long somebody who waits is told what for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of one question.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) record_type: RecordType,
    pub(super) result: Result<Answer, Unanswered>,
    pub(super) took: Duration,
}

/// Why there is no answer: what the client says of it, and what ended the connection to the server, if one did.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) error: QueryError,
    because: Option<String>,
}

impl Unanswered {
    fn of(events: &mut EventLoop, error: QueryError) -> Self {
        let server = match error {
            QueryError::Unreachable { server } | QueryError::Unusable { server } => Some(server),
            _ => None,
        };
        let fault = server.and_then(|server| events.name_server_fault(server));
        Self {
            error,
            because: fault.map(super::tls::because),
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.because, self.error) {
            // The server was reached: what ended the connection says more.
            (Some(because), QueryError::Unreachable { server }) if because.starts_with("TLS") => {
                write!(f, "name server {server}: {because}")
            }
            (Some(because), error) => write!(f, "{error}: {because}"),
            (None, error) => write!(f, "{error}"),
        }
    }
}

/// One question to the client.
pub(super) enum Question {
    /// Records of a name, as it is.
    Records(Name, RecordType),
    /// Both families of addresses, with the search list.
    Addresses(Name, bool),
}

/// The client of the program: a loop with nothing on it but names.
pub(super) struct Client {
    events: EventLoop,
    timeout: Duration,
}

impl Client {
    /// A client that asks the servers of the arguments, or else those of this machine.
    pub(super) fn new(arguments: &Arguments, servers: &[String]) -> anyhow::Result<Self> {
        let timeout = Duration::from_secs_f64(arguments.timeout);
        let mut events = EventLoop::with_options(LoopOptions::default()).context("start the loop")?;
        let carrier = match (arguments.tls, arguments.tcp) {
            (true, _) => Carrier::Tls,
            (_, true) => Carrier::Tcp,
            _ => Carrier::Udp,
        };
        if !servers.is_empty() || carrier != Carrier::Udp {
            events.set_names(NameSource::Dns(Box::new(configured(
                arguments, servers, carrier, timeout,
            )?)));
        }
        if carrier == Carrier::Tls {
            super::tls::carry(&mut events, arguments)?;
        }
        Ok(Self { events, timeout })
    }

    /// Who answers for the addresses of targets.
    pub(super) fn way(&mut self) -> Way {
        self.events.name_way()
    }

    /// Asks everything at once and waits for all: the outcomes in the order of the questions.
    pub(super) fn ask(&mut self, questions: Vec<Question>) -> anyhow::Result<Vec<Vec<Outcome>>> {
        let start = Instant::now();
        let mut waiting: Vec<(LookupId, usize)> = Vec::new();
        let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
        for question in questions {
            let request = match question {
                Question::Records(name, record_type) => Request::records(name, record_type),
                Question::Addresses(name, search) => {
                    let request = Request::addresses(name);
                    if search { request.with_search() } else { request }
                }
            };
            let id = self.events.resolve(request.within(self.timeout))?;
            waiting.push((id, outcomes.len()));
            outcomes.push(Vec::new());
        }
        let mut told = false;
        while !waiting.is_empty() {
            while let Some(event) = self.events.next_answer() {
                let Some(place) = waiting.iter().position(|(id, _)| *id == event.lookup) else {
                    continue;
                };
                let (_, question) = waiting[place];
                let result = event.result;
                let result = result.map_err(|error| Unanswered::of(&mut self.events, error));
                if event.is_last {
                    waiting.swap_remove(place);
                }
                outcomes[question].push(Outcome {
                    record_type: event.record_type,
                    result,
                    took: start.elapsed(),
                });
            }
            if waiting.is_empty() {
                break;
            }
            if !told && start.elapsed() > PATIENCE && shows_progress() && std::io::stderr().is_terminal() {
                told = true;
                note(format!("waiting for {} of the answers", waiting.len()));
            }
            self.events.turn(Some(Duration::from_millis(200)))?;
        }
        Ok(outcomes)
    }
}

/// The servers of the arguments or of this machine, by a carrier of choice.
fn configured(
    arguments: &Arguments,
    servers: &[String],
    carrier: Carrier,
    timeout: Duration,
) -> anyhow::Result<DnsConfig> {
    let names = SystemNames::load(&Paths::default(), &Environment::from_process());
    let mut config = DnsConfig::of(&names);
    let port = if carrier == Carrier::Tls { 853 } else { 53 };
    if !servers.is_empty() {
        // Whoever names a server wants to hear that server, whatever this machine knows of the name.
        config.local = LocalNames {
            asks_for_reserved: true,
            ..LocalNames::default()
        };
        config.options.servers.clear();
        for text in servers {
            let addresses = words::server(text, port, timeout)?;
            config
                .options
                .servers
                .extend(addresses.into_iter().map(Server::new));
        }
    }
    let tls_name = arguments
        .tls_name
        .as_ref()
        .map(|name| {
            name.parse()
                .map_err(|error| Failure::usage(format!("--tls-name {name}: {error}")))
        })
        .transpose()?;
    for server in &mut config.options.servers {
        server.carrier = carrier;
        server.tls_name.clone_from(&tls_name);
        if servers.is_empty() && carrier == Carrier::Tls {
            server.address.set_port(port);
        }
    }
    // What somebody asks a server by hand is to be its own answer.
    config.options.trust_ad = true;
    Ok(config)
}

/// The addresses of a target by the system's resolver: what came of each family.
pub(super) fn system(target: &Target, timeout: Duration) -> anyhow::Result<Vec<resolver::Answer>> {
    let mut query = Resolver::shared().start(target, Instant::now() + timeout, Arc::new(|| {}))?;
    let mut answers = Vec::new();
    while let Progress::Answer(answer) = query.wait() {
        answers.push(answer);
    }
    Ok(answers)
}

/// What came of a family of a target's addresses, whoever was asked.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) family: AddressFamily,
    pub(super) result: Result<Vec<SocketAddr>, String>,
    pub(super) took: Duration,
    /// The answer of the DNS, if that was asked.
    pub(super) answer: Option<Answer>,
}

impl From<resolver::Answer> for Family {
    fn from(answer: resolver::Answer) -> Self {
        Self {
            family: answer.family,
            result: answer.result.map_err(|error| error.to_string()),
            took: answer.took,
            answer: None,
        }
    }
}

impl Family {
    pub(super) fn of(outcome: Outcome, port: u16) -> Self {
        let family = if outcome.record_type == RecordType::AAAA {
            AddressFamily::V6
        } else {
            AddressFamily::V4
        };
        let result = match &outcome.result {
            Ok(answer) => {
                let addresses: Vec<_> = answer.addresses().map(|ip| SocketAddr::new(ip, port)).collect();
                if addresses.is_empty() {
                    Err(super::print::none(answer))
                } else {
                    Ok(addresses)
                }
            }
            Err(error) => Err(error.to_string()),
        };
        Self {
            family,
            result,
            took: outcome.took,
            answer: outcome.result.ok(),
        }
    }
}

/// The name of a target, and whether the search list may complete it; `None` of an address.
pub(super) fn name_of(target: &Target) -> Option<anyhow::Result<(Name, bool)>> {
    match target.host() {
        Host::Ip(..) => None,
        Host::Name(host) => {
            let search = !host.as_str().ends_with('.');
            Some(
                Name::try_from(host)
                    .map(|name| (name, search))
                    .map_err(Into::into),
            )
        }
    }
}
