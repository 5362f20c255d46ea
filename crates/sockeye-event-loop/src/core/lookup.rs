//! Connects to names: the lookup's answers and the race of their addresses (RFC 8305) drive the attempts.

use std::any::TypeId;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sockeye_endpoint::{Host, Target};
use sockeye_resolver::Resolver;
use sockeye_resolver::dns::{self, LookupId, Name, Request, StartError};
use sockeye_resolver::happy_eyeballs::{Attempt, Config, Event, HappyEyeballs, Step};

use super::race::{Asked, Race};
use super::{Core, Inner};
use crate::backend::Backend;
use crate::connect::{AddressFilter, ConnectId};
use crate::dns::{self as client, DnsDatagrams, DnsStreams};
use crate::driver::{ForDatagrams, Messages, Streams};
use crate::id::Token;
use crate::names::{Asker, NameSource, Way};
use crate::options::StreamOptions;
use crate::outcome::{ConnectFault, PeerName};
use crate::remote::Command;
use crate::time::Time;

/// How long a lookup may take where the connect has no deadline.
const LOOKUP: Duration = Duration::from_secs(30);

fn since_origin(now: Time) -> Duration {
    now.since(Time::ZERO)
}

impl<B: Backend> Inner<B> {
    /// Asks for the target's addresses; they are tried as they come.
    pub(super) fn start_race(&mut self, id: ConnectId, target: &Target, filter: Option<AddressFilter>) {
        let now = self.now();
        let Some(attempts) = self.shared.connects.entry(id) else {
            return;
        };
        let within = attempts.deadline.map_or(LOOKUP, |at| at.since(now));
        let config = Config {
            attempt_delay: attempts.attempt_delay,
            ..Config::default()
        };
        let asked = match self.ask(id, target, within) {
            Ok(asked) => asked,
            Err(error) => return self.connect_failed(id, Some(ConnectFault::Unresolved(error))),
        };
        let race = Race {
            asked,
            eyeballs: HappyEyeballs::new(config, since_origin(now)),
            running: Vec::new(),
            filter,
            filtered: false,
            unresolved: None,
        };
        if let Some(attempts) = self.shared.connects.entry(id) {
            attempts.race = Some(Box::new(race));
        }
        self.drive_race(id);
        self.arm_connect(id);
        // What the client knows already comes at once.
        let names = Rc::clone(&self.names);
        client::pump(&names, self);
    }

    /// Asks whoever is to be asked: the client of the DNS for names, unless it is the system's turn.
    fn ask(&mut self, id: ConnectId, target: &Target, within: Duration) -> io::Result<Asked> {
        if let Host::Name(name) = target.host() {
            let client = Rc::clone(&self.names);
            let way = client.borrow_mut().way(self).clone();
            if way == Way::Dns {
                let name = Name::try_from(name).map_err(io::Error::other)?;
                let complete = matches!(target.host(), Host::Name(name) if name.as_str().ends_with('.'));
                let request = Request::addresses(name).within(within);
                let request = if complete { request } else { request.with_search() };
                let lookup = client.borrow_mut().lookup(self, request, Asker::Connect(id));
                return Ok(Asked::Dns {
                    lookup: lookup.map_err(io::Error::other)?,
                    port: target.port(),
                    arrived: Vec::new(),
                });
            }
        }
        let remote = Arc::clone(&self.remote);
        // Not refused by a full queue: two answers a lookup, and lookups are bounded.
        let waker = Arc::new(move || remote.force(Command::Resolved(id)));
        let query = Resolver::shared().start(target, Instant::now() + within, waker);
        query.map(Asked::System).map_err(io::Error::other)
    }

    pub(crate) fn resolve_now(&mut self, request: Request, asker: Asker) -> Result<LookupId, StartError> {
        let names = Rc::clone(&self.names);
        client::resolve(&names, self, request, asker)
    }

    pub(crate) fn cancel_resolve_now(&mut self, id: LookupId) -> bool {
        let names = Rc::clone(&self.names);
        client::cancel(&names, self, id)
    }

    /// The client of the DNS has a result for a connect.
    pub(super) fn resolved_now(&mut self, id: ConnectId, event: dns::Event) {
        let race = self
            .shared
            .connects
            .entry(id)
            .and_then(|attempts| attempts.race.as_mut());
        if let Some(Asked::Dns { arrived, .. }) = race.map(|race| &mut race.asked) {
            arrived.push(event);
            self.drive_race(id);
        }
    }

    /// A connect is decided: what was asked for it is of no use any more.
    pub(super) fn end_race(&mut self, race: Option<Box<Race>>) {
        if let Some(Asked::Dns { lookup, .. }) = race.map(|race| race.asked) {
            let client = Rc::clone(&self.names);
            client.borrow_mut().cancel(self, lookup);
        }
    }

    /// Does what is to be done now. `false` if the connect is no race.
    pub(super) fn drive_race(&mut self, id: ConnectId) -> bool {
        let Some(mut race) = self
            .shared
            .connects
            .entry(id)
            .and_then(|attempts| attempts.race.take())
        else {
            return false;
        };
        let now = self.now();
        let backend = &mut self.backend;
        race.take_answers(since_origin(now), |address| backend.source_of(address));
        let wait = loop {
            match race.eyeballs.poll(since_origin(now)) {
                Step::Start(attempt, address) => self.start_in_race(id, &mut race, attempt, address),
                Step::Cancel(attempt) => {
                    if let Some(place) = race.running.iter().position(|&(running, _)| running == attempt) {
                        let (_, token) = race.running.swap_remove(place);
                        self.drop_attempt(token);
                    }
                }
                Step::WaitUntil(at) => break Some(Time::ZERO + at),
                Step::Wait => break None,
                Step::Done(outcome) => {
                    let fault = race.fault(outcome);
                    self.end_race(Some(race));
                    self.connect_failed(id, fault);
                    return true;
                }
            }
        };
        if let Some(attempts) = self.shared.connects.entry(id) {
            attempts.next_attempt = wait;
            attempts.running = race.running.iter().map(|&(_, token)| token).collect();
            attempts.race = Some(race);
        }
        self.arm_connect(id);
        true
    }

    fn start_in_race(&mut self, id: ConnectId, race: &mut Race, attempt: Attempt, address: SocketAddr) {
        let now = self.now();
        let Some(attempts) = self.shared.connects.entry(id) else {
            return;
        };
        let (service, tag, options) = (attempts.service, attempts.tag, attempts.options.clone());
        match self.start_attempt(id, service, tag, &PeerName::Ip(address), &options) {
            Ok(token) => race.running.push((attempt, token)),
            Err(error) => {
                race.eyeballs.on(since_origin(now), Event::Failed(attempt));
                if let Some(attempts) = self.shared.connects.entry(id) {
                    attempts.failed.push((PeerName::Ip(address), error));
                }
            }
        }
    }

    /// An attempt of a race failed. `false` if the connect is no race.
    pub(super) fn race_lost(&mut self, id: ConnectId, token: Token) -> bool {
        let now = since_origin(self.now());
        let Some(race) = self
            .shared
            .connects
            .entry(id)
            .and_then(|attempts| attempts.race.as_mut())
        else {
            return false;
        };
        if let Some(place) = race.running.iter().position(|&(_, running)| running == token) {
            let (attempt, _) = race.running.swap_remove(place);
            race.eyeballs.on(now, Event::Failed(attempt));
        }
        self.drive_race(id)
    }
}

impl<B: Backend> Core<B> {
    /// Gives the loop's client of the DNS the services that drive it.
    pub(crate) fn add_names(&mut self) {
        let names = &self.inner.names;
        let datagrams = Box::new(Messages(ForDatagrams(DnsDatagrams(Rc::clone(names)))));
        let streams = Box::new(Streams::new(DnsStreams(Rc::clone(names))));
        let datagrams = self.add_datagrams(datagrams, TypeId::of::<DnsDatagrams>());
        let streams = self.add_streams(
            streams,
            StreamOptions::default(),
            Some(TypeId::of::<DnsStreams>()),
        );
        self.inner.names.borrow_mut().set_services(datagrams, streams);
    }

    /// Chooses who answers for names.
    pub(crate) fn set_names(&mut self, source: NameSource) {
        let names = Rc::clone(&self.inner.names);
        names.borrow_mut().set_source(&mut self.inner, source);
        client::pump(&names, &mut self.inner);
    }

    /// Who answers for names.
    pub(crate) fn name_way(&mut self) -> Way {
        let names = Rc::clone(&self.inner.names);
        let mut names = names.borrow_mut();
        names.way(&mut self.inner).clone()
    }
}
