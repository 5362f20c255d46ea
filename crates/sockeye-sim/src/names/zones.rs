//! Zones as plain data, and what a server that is responsible for them finds under a name.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use sockeye_resolver::dns::{Name, Question, Record, RecordData, RecordType, ResponseCode, Soa};

use super::text::{ZoneError, parse};

/// Aliases that one answer follows, at most.
const MAX_CHAIN: usize = 16;

/// The zones of a name server, as plain data: built by code, or read from the text of a zone file.
///
/// A zone begins at each name that has an SOA record. Everything at and below that name belongs to it, up to the next SOA
/// record; there is no delegation. A lookup takes the same time however many names there are.
///
/// ```
/// use sockeye_sim::names::Zones;
///
/// let zones: Zones = "$ORIGIN example.test.
/// @    3600 SOA ns admin 1 7200 900 1209600 60
/// www  300  A   192.0.2.1
/// *    300  TXT \"anyone\"".parse()?;
/// let same = Zones::new().zone("example.test".parse()?);
/// assert_eq!((zones.name_count(), same.name_count()), (3, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Zones {
    /// Every name that exists. One without records of its own stands above another that has some (RFC 4592 section 2.2.2).
    names: HashMap<Name, Vec<Entry>>,
    /// Where zones begin.
    apexes: HashSet<Name>,
    /// Names that have records.
    count: usize,
}

/// A record without its name.
#[derive(Clone, Debug)]
struct Entry {
    data: RecordData,
    ttl: u32,
}

/// What was found under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whether there is such a name, at the end of all aliases.
    pub code: ResponseCode,
    /// Aliases in the order in which they lead on, and the records at their end.
    pub answers: Vec<Record>,
    /// The SOA record of the zone, if there are no such records (RFC 2308 section 3).
    pub authorities: Vec<Record>,
}

/// What one step of a chain of aliases leads to.
enum Step {
    /// Records of the type, or none.
    End { code: ResponseCode, negative: bool },
    /// Another name.
    Alias(Name),
}

impl Zones {
    /// No zone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text of a zone file; relative names stand below `origin` until the text says otherwise.
    ///
    /// The form is that of RFC 1035 section 5: `$ORIGIN`, `$TTL`, `@`, lines that begin with a blank for the last owner,
    /// parentheses, comments, quoted strings; and `\# LENGTH HEX` for the data of any type (RFC 3597 section 5).
    ///
    /// # Errors
    /// [`ZoneError`], with the line.
    pub fn from_text(text: &str, origin: &Name) -> Result<Self, ZoneError> {
        let mut zones = Self::new();
        parse(text, origin, |record| zones.insert(record))?;
        Ok(zones)
    }

    /// The same with a zone that begins at `apex`: an SOA record whose negative answers may be kept for 60 seconds.
    #[must_use]
    pub fn zone(self, apex: Name) -> Self {
        let below = |label: &str| -> Name {
            let name: Option<Name> = label.parse().ok();
            name.and_then(|name| name.below(&apex).ok())
                .unwrap_or_else(|| apex.clone())
        };
        let soa = Soa {
            primary: below("ns"),
            mailbox: below("hostmaster"),
            serial: 1,
            refresh: 7_200,
            retry: 900,
            expire: 1_209_600,
            minimum: 60,
        };
        self.with(Record::new(apex, 3_600, RecordData::Soa(Box::new(soa))))
    }

    /// The same with another record.
    #[must_use]
    pub fn with(mut self, record: Record) -> Self {
        self.insert(record);
        self
    }

    /// Adds a record.
    pub fn insert(&mut self, record: Record) {
        let Record { name, data, ttl } = record;
        if matches!(data, RecordData::Soa(_)) {
            self.apexes.insert(name.clone());
        }
        if !self.names.contains_key(&name) {
            let mut above = name.parent();
            while let Some(parent) = above {
                above = parent.parent();
                if self.names.contains_key(&parent) {
                    break;
                }
                self.names.insert(parent, Vec::new());
            }
        }
        let entries = self.names.entry(name).or_default();
        self.count += usize::from(entries.is_empty());
        entries.push(Entry { data, ttl });
    }

    /// Removes the records of a name, or those of one type. The name itself stays, without records.
    pub fn remove(&mut self, name: &Name, record_type: Option<RecordType>) {
        let Some(entries) = self.names.get_mut(name) else {
            return;
        };
        let before = entries.len();
        entries.retain(|entry| record_type.is_some_and(|wanted| entry.data.record_type() != wanted));
        self.count -= usize::from(before > 0 && entries.is_empty());
        if !entries
            .iter()
            .any(|entry| matches!(entry.data, RecordData::Soa(_)))
        {
            self.apexes.remove(name);
        }
    }

    /// How many names have records.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.count
    }

    /// What is there for a question. `None` if it is in none of the zones.
    ///
    /// Aliases (CNAME, DNAME) are followed within the zones, 16 of them at most; wildcards stand for names that do not exist
    /// (RFC 4592). The name keeps the case in which it was asked for.
    #[must_use]
    pub fn find(&self, question: &Question) -> Option<Found> {
        let mut apex = self.apex(&question.name)?;
        let mut found = Found {
            code: ResponseCode::NO_ERROR,
            answers: Vec::new(),
            authorities: Vec::new(),
        };
        let mut name = question.name.clone();
        for _ in 0..=MAX_CHAIN {
            match self.step(&name, question.record_type, &apex, &mut found.answers) {
                Step::End { code, negative } => {
                    found.code = code;
                    if negative {
                        found.authorities.extend(self.soa(&apex));
                    }
                    break;
                }
                Step::Alias(target) => {
                    // Out of the zones the one who asks goes on.
                    let Some(next) = self.apex(&target) else { break };
                    (name, apex) = (target, next);
                }
            }
        }
        Some(found)
    }

    fn step(&self, name: &Name, wanted: RecordType, apex: &Name, answers: &mut Vec<Record>) -> Step {
        let missing = Step::End {
            code: ResponseCode::NAME_ERROR,
            negative: true,
        };
        // The closest name above that exists, and a subtree's alias as high up as there is one.
        let (mut encloser, mut subtree) = (None, None);
        let mut above = (name != apex).then(|| name.parent()).flatten();
        while let Some(parent) = above {
            if let Some(entries) = self.names.get(&parent) {
                if let Some(entry) = entries
                    .iter()
                    .find(|entry| matches!(entry.data, RecordData::Dname(_)))
                {
                    subtree = Some((parent.clone(), entry));
                }
                encloser.get_or_insert_with(|| parent.clone());
            }
            above = (parent != *apex).then(|| parent.parent()).flatten();
        }
        if let Some((owner, entry)) = subtree {
            return rewritten(name, owner, entry, answers).map_or(
                // RFC 6672 section 2.2: the new name is too long.
                Step::End {
                    code: ResponseCode(6),
                    negative: false,
                },
                Step::Alias,
            );
        }
        if let Some(entries) = self.names.get(name) {
            return taken(name, wanted, entries, answers);
        }
        let any: Option<Name> = "*".parse().ok();
        let wildcard = any
            .zip(encloser)
            .and_then(|(any, encloser)| any.below(&encloser).ok());
        match wildcard.and_then(|wildcard| self.names.get(&wildcard)) {
            Some(entries) => taken(name, wanted, entries, answers),
            None => missing,
        }
    }

    /// Where the zone of a name begins.
    fn apex(&self, name: &Name) -> Option<Name> {
        let mut next = Some(name.clone());
        while let Some(name) = next {
            if self.apexes.contains(&name) {
                return Some(name);
            }
            next = name.parent();
        }
        None
    }

    /// The beginning of a zone as negative answers show it: its TTL says how long they may be kept.
    fn soa(&self, apex: &Name) -> Option<Record> {
        self.names.get(apex)?.iter().find_map(|entry| match &entry.data {
            RecordData::Soa(soa) => {
                let ttl = entry.ttl.min(soa.minimum);
                Some(Record::new(apex.clone(), ttl, entry.data.clone()))
            }
            _ => None,
        })
    }
}

/// Takes the records of the wanted type, or the alias that stands there.
fn taken(name: &Name, wanted: RecordType, entries: &[Entry], answers: &mut Vec<Record>) -> Step {
    let before = answers.len();
    let mut alias = None;
    for entry in entries {
        if let RecordData::Cname(target) = &entry.data
            && wanted != RecordType::CNAME
            && wanted != RecordType::ANY
        {
            alias = Some(target.clone());
        } else if wanted != RecordType::ANY && wanted != entry.data.record_type() {
            continue;
        }
        answers.push(Record::new(name.clone(), entry.ttl, entry.data.clone()));
    }
    alias.map_or(
        Step::End {
            code: ResponseCode::NO_ERROR,
            negative: answers.len() == before,
        },
        Step::Alias,
    )
}

/// The name that a subtree's alias makes of a name, after the two records that say so (RFC 6672 section 3.1).
fn rewritten(name: &Name, owner: Name, entry: &Entry, answers: &mut Vec<Record>) -> Option<Name> {
    let RecordData::Dname(target) = &entry.data else {
        return None;
    };
    let kept = name.label_count().checked_sub(owner.label_count())?;
    answers.push(Record::new(owner, entry.ttl, entry.data.clone()));
    let mut wire = Vec::new();
    for label in name.labels().take(kept) {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend_from_slice(label);
    }
    wire.extend_from_slice(target.as_wire());
    let target = Name::from_wire(&wire).ok()?;
    answers.push(Record::new(
        name.clone(),
        entry.ttl,
        RecordData::Cname(target.clone()),
    ));
    Some(target)
}

impl FromStr for Zones {
    type Err = ZoneError;

    /// As [`Zones::from_text`], from the root.
    fn from_str(text: &str) -> Result<Self, ZoneError> {
        Self::from_text(text, &Name::root())
    }
}

impl Extend<Record> for Zones {
    fn extend<I: IntoIterator<Item = Record>>(&mut self, records: I) {
        records.into_iter().for_each(|record| self.insert(record));
    }
}
