//! What the owner asks for: a name that may have to be completed, of one type or of both families of addresses.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::timers::Due;
use super::{Engine, Event, Settled, Waiter};
use crate::dns::answer::{Answer, Finding, Origin, QueryError};
use crate::dns::message::Question;
use crate::dns::name::Name;
use crate::dns::record::RecordType;

/// How long a lookup waits for a server before it is given what is stale (RFC 8767 section 5).
const STALE_AFTER: Duration = Duration::from_millis(1_800);
/// How long a lookup takes at most where nothing else is said.
const DEADLINE: Duration = Duration::from_secs(30);

/// A lookup under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId {
    index: u32,
    generation: u32,
}

/// What is wanted of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The records of a type.
    Records(RecordType),
    /// The addresses of both families: of one and the same name if a search list completes it.
    Addresses,
}

/// A lookup to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name.
    pub name: Name,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// Whether the name may be completed by the search list. Not if its text ends in a dot.
    pub search: bool,
    /// Whether what is kept or known to this host is left aside.
    pub fresh: bool,
    /// After how long to give up.
    pub deadline: Duration,
}

impl Request {
    /// The records of a type, of a complete name; 30 s.
    #[must_use]
    pub fn records(name: Name, record_type: RecordType) -> Self {
        Self {
            name,
            wanted: Wanted::Records(record_type),
            search: false,
            fresh: false,
            deadline: DEADLINE,
        }
    }

    /// The addresses of a name, IPv6 and IPv4 apart; 30 s.
    #[must_use]
    pub fn addresses(name: Name) -> Self {
        Self {
            wanted: Wanted::Addresses,
            ..Self::records(name, RecordType::A)
        }
    }

    /// Lets the search list complete the name.
    #[must_use]
    pub fn with_search(self) -> Self {
        Self { search: true, ..self }
    }

    /// Gives up after so long.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

/// Why a lookup did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// [`DnsOptions::max_lookups`](super::DnsOptions::max_lookups) are under way.
    #[error("too many lookups are under way")]
    Busy,
}

#[derive(Debug)]
enum PartState {
    /// Asked: of which question, and how many wait for it besides does not matter here.
    Asked(Arc<Question>),
    /// Its result, kept back until the other part's is known.
    Kept(Result<Answer, QueryError>),
    /// Told to the owner.
    Told,
}

#[derive(Debug)]
struct Part {
    record_type: RecordType,
    state: PartState,
}

#[derive(Debug)]
pub(crate) struct Lookup {
    parts: Vec<Part>,
    /// Names to ask for after the one that is asked for now.
    candidates: std::vec::IntoIter<Name>,
    fresh: bool,
    /// One part has found records: the name is decided.
    decided: bool,
    /// "No such records" of a name before: better than "no such name" of the last.
    best: Option<Vec<Result<Answer, QueryError>>>,
    started: Duration,
    deadline: Duration,
    stale_at: Option<Duration>,
}

impl Engine {
    /// Begins a lookup. Its results are events, some of them at once.
    ///
    /// # Errors
    /// [`StartError::Busy`].
    pub fn lookup(&mut self, now: Duration, request: Request) -> Result<LookupId, StartError> {
        if self.lookups.len() >= self.options.max_lookups {
            return Err(StartError::Busy);
        }
        self.stats.lookups += 1;
        let alone = !request.search || (self.options.search.is_empty() && !self.options.no_tld_query);
        if let Wanted::Records(record_type) = request.wanted
            && alone
            && !request.fresh
            && self.local.surely_lacks(&request.name, record_type)
            && let Some(hit) = self.cache.find(&request.name, record_type, now)
            && !hit.stale
            && !hit.late
        {
            // The most frequent lookup by far: it takes no timer, no copy of the name and no place among those under way.
            self.stats.cached += 1;
            self.instant = self.instant.wrapping_add(1);
            // Nobody under way has this place, so it is over already.
            let lookup = LookupId {
                index: u32::MAX,
                generation: self.instant,
            };
            self.events.push_back(Event {
                lookup,
                record_type,
                result: Ok(Answer {
                    question: Question::new(request.name, record_type),
                    content: hit.content,
                    origin: Origin::Cache,
                    age: hit.age,
                    took: Duration::ZERO,
                }),
                is_last: true,
            });
            return Ok(lookup);
        }
        Ok(self.begin(now, request))
    }

    /// Begins a lookup that takes a place among those under way.
    #[inline(never)]
    fn begin(&mut self, now: Duration, request: Request) -> LookupId {
        let types = match request.wanted {
            Wanted::Records(record_type) => vec![record_type],
            Wanted::Addresses if self.options.no_aaaa => vec![RecordType::A],
            Wanted::Addresses => vec![RecordType::AAAA, RecordType::A],
        };
        let mut candidates = self.candidates(&request).into_iter();
        let first = candidates.next();
        let deadline = now.saturating_add(request.deadline);
        let part = |record_type| Part {
            record_type,
            state: PartState::Told,
        };
        let index = self.lookups.insert(Lookup {
            parts: types.into_iter().map(part).collect(),
            candidates,
            fresh: request.fresh,
            decided: false,
            best: None,
            started: now,
            deadline,
            stale_at: None,
        });
        let id = LookupId {
            index,
            generation: self.lookups.generation(index),
        };
        self.timers.set(deadline, Due::Lookup(index));
        match first {
            Some(name) => self.ask_for(now, index, &request.name, name),
            None => self.give_local(now, index, &request.name),
        }
        self.settle(now);
        id
    }

    /// Gives up a lookup. No event of it follows. `false` if it was over.
    pub fn cancel(&mut self, now: Duration, id: LookupId) -> bool {
        let known =
            self.lookups.generation(id.index) == id.generation && self.lookups.get(id.index).is_some();
        if known {
            let told = |part: &Part| matches!(part.state, PartState::Told);
            let has_events = self
                .lookups
                .get(id.index)
                .is_some_and(|lookup| lookup.parts.iter().any(told));
            self.remove_lookup(now, id.index);
            if has_events {
                self.events.retain(|event| event.lookup != id);
            }
        }
        known
    }

    /// The names to ask for, in their order (resolv.conf(5), `ndots` and `search`).
    fn candidates(&self, request: &Request) -> Vec<Name> {
        let alone = || request.name.clone();
        if !request.search {
            return vec![alone()];
        }
        let with_alone = !self.options.no_tld_query || request.name.label_count() != 1;
        let completed = self
            .options
            .search
            .iter()
            .filter_map(|suffix| request.name.below(suffix).ok());
        let alone = with_alone.then(alone);
        if request.name.label_count() > self.options.ndots {
            alone.into_iter().chain(completed).collect()
        } else {
            completed.chain(alone).collect()
        }
    }

    /// Asks for the next name. What this host knows itself goes by the name as it was given.
    fn ask_for(&mut self, now: Duration, index: u32, given: &Name, name: Name) {
        let Some(lookup) = self.lookups.get(index) else {
            return;
        };
        let (fresh, types) = (
            lookup.fresh,
            lookup
                .parts
                .iter()
                .map(|part| part.record_type)
                .collect::<Vec<_>>(),
        );
        let generation = self.lookups.generation(index);
        // All parts first: one that is answered at once must not be taken for the last.
        let questions: Vec<_> = types
            .into_iter()
            .map(|record_type| Arc::new(Question::new(name.clone(), record_type)))
            .collect();
        if let Some(lookup) = self.lookups.get_mut(index) {
            for (part, question) in lookup.parts.iter_mut().zip(&questions) {
                part.state = PartState::Asked(Arc::clone(question));
            }
        }
        for (place, question) in questions.into_iter().enumerate() {
            let record_type = question.record_type;
            let waiter = Waiter {
                lookup: index,
                generation,
                part: u8::try_from(place).unwrap_or_default(),
            };
            if !fresh && let Some((content, origin)) = self.local.answer(given, record_type) {
                self.stats.local += 1;
                let question = Question::new(given.clone(), record_type);
                let answer = Answer {
                    question,
                    content,
                    origin,
                    age: Duration::ZERO,
                    took: Duration::ZERO,
                };
                self.take_result(now, waiter, Ok(answer));
                continue;
            }
            let hit = if fresh {
                None
            } else {
                self.cache.get(&question, now)
            };
            match hit {
                Some(hit) if !hit.stale => {
                    self.stats.cached += 1;
                    if hit.late {
                        self.ask(now, &question, None);
                    }
                    let question = Question::clone(&question);
                    let answer = Answer {
                        question,
                        content: hit.content,
                        origin: Origin::Cache,
                        age: hit.age,
                        took: Duration::ZERO,
                    };
                    self.take_result(now, waiter, Ok(answer));
                }
                Some(_) => {
                    self.ask(now, &question, Some(waiter));
                    self.arm_stale(now, index);
                }
                None => self.ask(now, &question, Some(waiter)),
            }
        }
    }

    /// Hands results of questions to the lookups that wait for them.
    pub(super) fn settle(&mut self, now: Duration) {
        while let Some(settled) = self.settled.pop_front() {
            let waiter = settled.waiter;
            if self.lookups.generation(waiter.lookup) != waiter.generation {
                continue;
            }
            // A part that was given what is stale has its answer, or asks for another name by now.
            if let Some(result) = self.answer_of(now, settled) {
                self.take_result(now, waiter, result);
            }
        }
    }

    /// The answer for one who waits: the content, or what is stale in place of an error. `None` for one who does not wait for
    /// this question.
    fn answer_of(&mut self, now: Duration, settled: Settled) -> Option<Result<Answer, QueryError>> {
        let lookup = self.lookups.get(settled.waiter.lookup)?;
        let part = lookup.parts.get(usize::from(settled.waiter.part))?;
        if !matches!(&part.state, PartState::Asked(question) if *question == settled.question) {
            return None;
        }
        let (fresh, took) = (lookup.fresh, now.saturating_sub(lookup.started));
        let answer = |content, origin, age| Answer {
            question: Question::clone(&settled.question),
            content,
            origin,
            age,
            took,
        };
        Some(match settled.result {
            Ok(content) => Ok(answer(content, Origin::Server, Duration::ZERO)),
            Err(error) if fresh => Err(error),
            Err(error) => match self.cache.get(&settled.question, now) {
                Some(hit) => {
                    self.stats.stale += 1;
                    Ok(answer(hit.content, Origin::Stale, hit.age))
                }
                None => Err(error),
            },
        })
    }

    /// A part of a lookup has its result: it is told, kept back, or leads to the next name of the search list.
    fn take_result(&mut self, now: Duration, waiter: Waiter, result: Result<Answer, QueryError>) {
        let Some(lookup) = self.lookups.get_mut(waiter.lookup) else {
            return;
        };
        let found = matches!(&result, Ok(answer) if answer.finding() == Finding::Records);
        lookup.decided |= found;
        if let Some(part) = lookup.parts.get_mut(usize::from(waiter.part)) {
            part.state = PartState::Kept(result);
        }
        let settled = lookup
            .parts
            .iter()
            .all(|part| !matches!(part.state, PartState::Asked(_)));
        let more = lookup.candidates.len() > 0 && !lookup.decided;
        if !more && (lookup.best.is_none() || lookup.decided) {
            // The order of what is told is the order in which it came.
            self.give(now, waiter.lookup);
        } else if settled {
            self.next_candidate(now, waiter.lookup);
        }
    }

    /// No part has found anything by this name: the next one, unless the servers are silent.
    fn next_candidate(&mut self, now: Duration, index: u32) {
        let Some(lookup) = self.lookups.get_mut(index) else {
            return;
        };
        let results: Vec<_> = lookup
            .parts
            .iter_mut()
            .filter_map(|part| match std::mem::replace(&mut part.state, PartState::Told) {
                PartState::Kept(result) => Some(result),
                _ => None,
            })
            .collect();
        let rank = |results: &[Result<Answer, QueryError>]| -> u8 {
            let of = |result: &Result<Answer, QueryError>| match result {
                Ok(answer) if answer.finding() == Finding::NoRecords => 3,
                Err(_) => 2,
                Ok(_) => 1,
            };
            results.iter().map(of).max().unwrap_or_default()
        };
        let silent = results.iter().all(|result| {
            matches!(result, Err(error) if !matches!(error, QueryError::Failed { .. } | QueryError::Unusable { .. }))
        });
        let keep = lookup
            .best
            .as_ref()
            .is_none_or(|best| rank(&results) > rank(best));
        if keep {
            lookup.best = Some(results);
        }
        let next = if silent { None } else { lookup.candidates.next() };
        match next {
            Some(name) => self.ask_for(now, index, &name.clone(), name),
            None => {
                let best = lookup.best.take().unwrap_or_default();
                for (part, result) in lookup.parts.iter_mut().zip(best) {
                    part.state = PartState::Kept(result);
                }
                self.give(now, index);
            }
        }
    }

    /// Tells the owner what is kept back; the lookup ends with the last part.
    fn give(&mut self, now: Duration, index: u32) {
        let id = LookupId {
            index,
            generation: self.lookups.generation(index),
        };
        let Some(lookup) = self.lookups.get_mut(index) else {
            return;
        };
        let mut left = lookup
            .parts
            .iter()
            .filter(|part| !matches!(part.state, PartState::Told))
            .count();
        let took = now.saturating_sub(lookup.started);
        for part in &mut lookup.parts {
            if !matches!(part.state, PartState::Kept(_)) {
                continue;
            }
            let PartState::Kept(result) = std::mem::replace(&mut part.state, PartState::Told) else {
                continue;
            };
            left -= 1;
            let result = result.map(|answer| Answer { took, ..answer });
            self.events.push_back(Event {
                lookup: id,
                record_type: part.record_type,
                result,
                is_last: left == 0,
            });
        }
        if left == 0 {
            self.remove_lookup(now, index);
        }
    }

    /// There is no name to ask a server for: the result is what this host knows of the name itself, or an error.
    fn give_local(&mut self, now: Duration, index: u32, given: &Name) {
        let error = if self.options.search.is_empty() {
            QueryError::SingleLabel
        } else {
            QueryError::LongName
        };
        let Some(lookup) = self.lookups.get_mut(index) else {
            return;
        };
        for part in &mut lookup.parts {
            let known = self.local.answer(given, part.record_type);
            let result = known.filter(|_| !lookup.fresh).map(|(content, origin)| Answer {
                question: Question::new(given.clone(), part.record_type),
                content,
                origin,
                age: Duration::ZERO,
                took: Duration::ZERO,
            });
            self.stats.local += u64::from(result.is_some());
            part.state = PartState::Kept(result.ok_or(error));
        }
        self.give(now, index);
    }

    /// Ends every part that is not told with an error.
    fn give_all(&mut self, now: Duration, index: u32, error: QueryError) {
        let mut asked = Vec::new();
        if let Some(lookup) = self.lookups.get_mut(index) {
            for part in &mut lookup.parts {
                if let PartState::Asked(question) = &part.state {
                    asked.push(Arc::clone(question));
                    part.state = PartState::Kept(Err(error));
                }
            }
        }
        for question in asked {
            self.leave(now, &question);
        }
        self.give(now, index);
    }

    /// The deadline of a lookup has passed.
    pub(super) fn lookup_timed_out(&mut self, now: Duration, index: u32) {
        let last = self.lookups.get(index).and_then(|lookup| {
            lookup.parts.iter().find_map(|part| match &part.state {
                PartState::Asked(question) => {
                    let flight = self.by_question.get(question)?;
                    self.server_of(*flight).map(|(address, _)| address)
                }
                _ => None,
            })
        });
        self.give_stale(now, index);
        self.give_all(now, index, QueryError::TimedOut { last });
    }

    fn arm_stale(&mut self, now: Duration, index: u32) {
        if let Some(lookup) = self.lookups.get_mut(index)
            && lookup.stale_at.is_none()
        {
            let at = now.saturating_add(STALE_AFTER).min(lookup.deadline);
            lookup.stale_at = Some(at);
            self.timers.set(at, Due::Stale(index));
        }
    }

    /// Gives a lookup what is stale; the question stays under way, so that the next one finds it fresh.
    pub(super) fn give_stale(&mut self, now: Duration, index: u32) {
        let generation = self.lookups.generation(index);
        let Some(lookup) = self.lookups.get_mut(index) else {
            return;
        };
        lookup.stale_at = None;
        if lookup.fresh {
            return;
        }
        let started = lookup.started;
        let asked = |(place, part): (usize, &Part)| match &part.state {
            PartState::Asked(question) => Some((place, Arc::clone(question))),
            _ => None,
        };
        let asked: Vec<_> = lookup.parts.iter().enumerate().filter_map(asked).collect();
        for (place, question) in asked {
            let Some(hit) = self.cache.get(&question, now) else {
                continue;
            };
            self.stats.stale += 1;
            let answer = Answer {
                question: Question::clone(&question),
                content: hit.content,
                origin: if hit.stale { Origin::Stale } else { Origin::Cache },
                age: hit.age,
                took: now.saturating_sub(started),
            };
            let waiter = Waiter {
                lookup: index,
                generation,
                part: u8::try_from(place).unwrap_or_default(),
            };
            self.take_result(now, waiter, Ok(answer));
        }
    }

    fn remove_lookup(&mut self, now: Duration, index: u32) {
        let Some(lookup) = self.lookups.remove(index) else {
            return;
        };
        self.timers.clear(lookup.deadline, Due::Lookup(index));
        if let Some(at) = lookup.stale_at {
            self.timers.clear(at, Due::Stale(index));
        }
        for part in lookup.parts {
            if let PartState::Asked(question) = part.state {
                self.leave(now, &question);
            }
        }
    }
}
