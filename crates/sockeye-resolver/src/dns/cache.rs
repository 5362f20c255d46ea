//! Answers that may still be given: bounded in number and bytes, the longest unused go first.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use super::answer::Content;
use super::index::{Index, NONE};
use super::keyed::Keyed;
use super::message::Question;
use super::name::Name;
use super::record::{Record, RecordData, RecordType};

/// The bounds of a cache, and what it is to do besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// How many answers are kept; 0 for none.
    pub max_entries: usize,
    /// About how many bytes they may take in all.
    pub max_bytes: usize,
    /// For how long an answer is kept at most, whatever its TTL says.
    pub max_ttl: Duration,
    /// For how long "no such name" and "no such records" are kept at most (RFC 2308 section 5).
    pub max_negative_ttl: Duration,
    /// Whether an answer in the last tenth of its time that is asked for is asked for anew.
    pub prefetch: bool,
    /// For how long an answer that should be gone is given where no server can be asked (RFC 8767); zero for never.
    pub stale: Duration,
}

impl Default for CacheOptions {
    /// 10,000 answers, 8 MiB, a day (RFC 8767 section 4 allows a week), three hours, no prefetch, nothing stale.
    fn default() -> Self {
        Self {
            max_entries: 10_000,
            max_bytes: 8 << 20,
            max_ttl: Duration::from_secs(86_400),
            max_negative_ttl: Duration::from_secs(3 * 3_600),
            prefetch: false,
            stale: Duration::ZERO,
        }
    }
}

#[derive(Debug)]
struct Entry {
    question: Question,
    hash: u64,
    content: Arc<Content>,
    stored: Duration,
    expires: Duration,
    bytes: usize,
    /// Towards what was used later.
    newer: u32,
    /// Towards what was used earlier.
    older: u32,
}

/// What the cache has of a question.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) content: Arc<Content>,
    pub(crate) age: Duration,
    /// Its time is over; it is only there for when nobody answers.
    pub(crate) stale: bool,
    /// It is in the last tenth of its time.
    pub(crate) late: bool,
}

#[derive(Debug)]
pub(crate) struct Cache {
    options: CacheOptions,
    keyed: Keyed,
    places: Index,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    bytes: usize,
}

impl Cache {
    pub(crate) fn new(options: CacheOptions) -> Self {
        Self {
            options,
            keyed: Keyed::default(),
            places: Index::default(),
            entries: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.options);
    }

    /// What is known, and makes it the last to go.
    pub(crate) fn get(&mut self, question: &Question, now: Duration) -> Option<Hit> {
        self.find(&question.name, question.record_type, now)
    }

    /// The same by the parts of a question.
    #[inline(always)]
    pub(crate) fn find(&mut self, name: &Name, record_type: RecordType, now: Duration) -> Option<Hit> {
        let place = self.place(self.hash(name, record_type), name, record_type)?;
        let entry = self.entries.get(place as usize)?.as_ref()?;
        let stale = now >= entry.expires;
        if stale && now >= entry.expires.saturating_add(self.options.stale) {
            self.remove(place);
            return None;
        }
        let hit = Hit {
            content: Arc::clone(&entry.content),
            age: now.saturating_sub(entry.stored),
            stale,
            late: self.options.prefetch
                && (entry.expires - entry.stored) / 10 >= entry.expires.saturating_sub(now),
        };
        if self.newest != place {
            self.unlink(place);
            self.link(place);
        }
        Some(hit)
    }

    /// Keeps an answer for as long as its records allow; one that allows no time, or says "no" without saying for how long,
    /// is not kept.
    pub(crate) fn put(
        &mut self,
        question: &Question,
        content: &Arc<Content>,
        negative_ttl: Option<u32>,
        now: Duration,
    ) {
        let positive = content
            .records
            .iter()
            .any(|record| record.record_type() == question.record_type);
        let shortest = content.records.iter().map(|record| record.ttl).min();
        let (ttl, cap) = if positive {
            (shortest, self.options.max_ttl)
        } else {
            (
                negative_ttl.map(|ttl| ttl.min(shortest.unwrap_or(ttl))),
                self.options.max_negative_ttl,
            )
        };
        let ttl = Duration::from_secs(ttl.unwrap_or(0).into()).min(cap);
        let hash = self.hash(&question.name, question.record_type);
        let bytes = weight(question, content);
        if let Some(place) = self.place(hash, &question.name, question.record_type) {
            self.remove(place);
        }
        if ttl.is_zero() || self.options.max_entries == 0 || bytes > self.options.max_bytes {
            return;
        }
        while self.len() >= self.options.max_entries || self.bytes + bytes > self.options.max_bytes {
            self.remove(self.oldest);
        }
        let entry = Entry {
            question: question.clone(),
            hash,
            content: Arc::clone(content),
            stored: now,
            expires: now.saturating_add(ttl),
            bytes,
            newer: NONE,
            older: NONE,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        });
        if let Some(slot) = self.entries.get_mut(place as usize) {
            *slot = Some(entry);
        }
        self.bytes += bytes;
        self.places.insert(hash, place);
        self.link(place);
    }

    #[inline]
    fn hash(&self, name: &Name, record_type: RecordType) -> u64 {
        let mut hasher = self.keyed.build_hasher();
        name.hash(&mut hasher);
        hasher.write_u16(record_type.0);
        hasher.finish()
    }

    /// Where the answer to a question is.
    #[inline]
    fn place(&self, hash: u64, name: &Name, record_type: RecordType) -> Option<u32> {
        self.places.find(hash, |place| {
            let entry = self.entries.get(place as usize).and_then(Option::as_ref);
            entry.is_some_and(|entry| {
                entry.question.record_type == record_type && entry.question.name == *name
            })
        })
    }

    fn entry(&mut self, place: u32) -> Option<&mut Entry> {
        self.entries.get_mut(place as usize)?.as_mut()
    }

    fn remove(&mut self, place: u32) {
        self.unlink(place);
        if let Some(entry) = self.entries.get_mut(place as usize).and_then(Option::take) {
            self.places.remove(entry.hash, place);
            self.bytes -= entry.bytes;
            self.free.push(place);
        }
    }

    fn unlink(&mut self, place: u32) {
        let Some((newer, older)) = self.entry(place).map(|entry| (entry.newer, entry.older)) else {
            return;
        };
        match self.entry(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entry(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, place: u32) {
        let newest = self.newest;
        if let Some(entry) = self.entry(place) {
            (entry.newer, entry.older) = (NONE, newest);
        }
        match self.entry(newest) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }
}

/// About how many bytes an answer takes: what is allocated for it, and its place in the tables.
fn weight(question: &Question, content: &Content) -> usize {
    let record = |record: &Record| {
        let data = match &record.data {
            RecordData::Cname(name)
            | RecordData::Ptr(name)
            | RecordData::Ns(name)
            | RecordData::Dname(name) => name.as_wire().len(),
            RecordData::Mx { exchange: name, .. } | RecordData::Srv { target: name, .. } => {
                name.as_wire().len()
            }
            RecordData::Txt(texts) => texts.iter().map(|text| text.len() + 16).sum(),
            RecordData::Soa(_) => 100,
            RecordData::Svcb(binding) | RecordData::Https(binding) => {
                binding
                    .parameters
                    .iter()
                    .map(|(_, value)| value.len() + 24)
                    .sum::<usize>()
                    + 100
            }
            RecordData::Caa { tag, value, .. } => tag.len() + value.len(),
            RecordData::Other { data, .. } => data.len(),
            RecordData::A(_) | RecordData::Aaaa(_) => 0,
        };
        size_of::<Record>() + record.name.as_wire().len() + data
    };
    let records = content.records.iter().chain(&content.authorities);
    size_of::<Entry>()
        + size_of::<Content>()
        + 64
        + question.name.as_wire().len()
        + records.map(record).sum::<usize>()
}
