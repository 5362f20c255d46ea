//! What became of a question: the records, or why there are none.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::message::{Flags, Message, Question, ResponseCode};
use super::name::Name;
use super::record::{Record, RecordData, RecordType};

/// An answer, positive or negative. Clones share the records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// What was answered: with a search list the name is the one that was found.
    pub question: Question,
    /// The records, as they came.
    pub content: Arc<Content>,
    /// Who knew.
    pub origin: Origin,
    /// How old the records are: take it off their TTLs.
    pub age: Duration,
    /// From the question to the answer.
    pub took: Duration,
}

/// What an answer holds, however often it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Content {
    /// [`ResponseCode::NO_ERROR`] or [`ResponseCode::NAME_ERROR`].
    pub code: ResponseCode,
    /// Aliases first, in their order, then the records of the type that was asked for.
    pub records: Vec<Record>,
    /// The beginning of the zone, where there are no records.
    pub authorities: Vec<Record>,
    /// The flags of the last server's answer.
    pub flags: Flags,
    /// The server that answered last; `None` of what this host knows itself.
    pub server: Option<SocketAddr>,
    /// By what the answer came.
    pub carrier: Carrier,
}

/// What carries messages to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// Datagrams, and TCP where they are too short.
    #[default]
    Udp,
    /// TCP (RFC 7766).
    Tcp,
    /// TLS (RFC 7858).
    Tls,
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

/// Who knew an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A server, now.
    Server,
    /// A server, before; the records may still be kept.
    Cache,
    /// A server, so long ago that the records should be gone: no server can be asked now (RFC 8767).
    Stale,
    /// The hosts file.
    Hosts,
    /// The rules of RFC 6761: `localhost` and `invalid`.
    SpecialUse,
}

/// What an answer says in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// There are such records.
    Records,
    /// The name exists and has no records of the type.
    NoRecords,
    /// There is no such name.
    NoName,
}

impl Answer {
    /// Whether there are records, and if not, why.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let wanted = self.question.record_type;
        let is_wanted = |record: &Record| wanted == RecordType::ANY || record.record_type() == wanted;
        if self.content.records.iter().any(is_wanted) {
            Finding::Records
        } else if self.content.code == ResponseCode::NAME_ERROR {
            Finding::NoName
        } else {
            Finding::NoRecords
        }
    }

    /// The addresses among the records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.content
            .records
            .iter()
            .filter_map(|record| record.data.address())
    }

    /// For how many seconds more a record may be kept.
    #[must_use]
    pub fn ttl_left(&self, record: &Record) -> u32 {
        let age = u32::try_from(self.age.as_secs()).unwrap_or(u32::MAX);
        record.ttl.saturating_sub(age)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No server answered before the deadline, or within all attempts.
    #[error("no answer from the name servers{}", of(*.last))]
    TimedOut {
        /// The server that was asked last.
        last: Option<SocketAddr>,
    },
    /// Every server failed or refused.
    #[error("name server {server} answered {code}")]
    Failed {
        /// What the last one said.
        code: ResponseCode,
        /// Which it was.
        server: SocketAddr,
    },
    /// Every server gave nothing of use: messages that are malformed, referrals to others, connections that end.
    #[error("name server {server} gave no usable answer")]
    Unusable {
        /// The server that was asked last.
        server: SocketAddr,
    },
    /// No server could be reached: the network refused what was sent.
    #[error("name server {server} cannot be reached")]
    Unreachable {
        /// The server that was asked last.
        server: SocketAddr,
    },
    /// There is no server to ask.
    #[error("no name server is configured (resolv.conf has no usable `nameserver` line)")]
    NoServers,
    /// The aliases lead in a circle, or there are too many of them.
    #[error("the aliases (CNAME) of the name lead in a circle or are too many")]
    Aliases,
    /// The name has one label and may not be asked for alone ([`DnsOptions::no_tld_query`](super::DnsOptions::no_tld_query)),
    /// and there is no search list to complete it.
    #[error(
        "a name without dots is not looked up alone (`no-tld-query` in resolv.conf), and there is no search list"
    )]
    SingleLabel,
    /// The name with a suffix of the search list is too long, and there is no other to ask for.
    #[error("the name is too long")]
    LongName,
}

fn of(server: Option<SocketAddr>) -> String {
    server
        .map(|server| format!(" (last asked: {server})"))
        .unwrap_or_default()
}

/// What a response means for its question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the answer, as far as the chain of aliases goes.
    Complete,
    /// The aliases lead to a name of which it says nothing.
    Follow(Name),
    /// The aliases lead in a circle or are more than allowed.
    Circle,
    /// Nothing of use: a referral, or nothing at all.
    Lame,
}

/// Takes from a response the records that belong to the question: the aliases from `name` on and the records of the type at
/// their end. Everything else a server may add is left out, so that nobody speaks for names that were not asked for.
pub(crate) fn judge(
    question: &Question,
    from: &Name,
    response: &Message,
    max_aliases: usize,
    records: &mut Vec<Record>,
) -> Verdict {
    let wanted = question.record_type;
    let mut name = from;
    let aliases_before = records.iter().filter(|record| is_alias(record)).count();
    let mut aliases = aliases_before;
    loop {
        let before = records.len();
        let belongs = |record: &&Record| {
            record.name == *name && (wanted == RecordType::ANY || record.record_type() == wanted)
        };
        records.extend(response.answers.iter().filter(belongs).cloned());
        if records.len() > before {
            return Verdict::Complete;
        }
        let alias = response.answers.iter().find_map(|record| match &record.data {
            RecordData::Cname(target) if record.name == *name => Some((record, target)),
            _ => None,
        });
        let Some((record, target)) = alias else { break };
        records.push(record.clone());
        aliases += 1;
        if aliases > max_aliases || records.iter().any(|record| record.name == *target) {
            return Verdict::Circle;
        }
        name = target;
    }
    let responsible = response
        .authorities
        .iter()
        .any(|record| record.record_type() == RecordType::SOA);
    if response.code == ResponseCode::NAME_ERROR || responsible {
        return Verdict::Complete;
    }
    if aliases > aliases_before {
        return Verdict::Follow(name.clone());
    }
    // "No such records" without the zone's beginning: an answer from whoever answers for others or for the zone, else lame.
    let refers = response
        .authorities
        .iter()
        .any(|record| record.record_type() == RecordType::NS);
    let answers = response.flags.recursion_available || response.flags.authoritative;
    if answers && !refers {
        Verdict::Complete
    } else {
        Verdict::Lame
    }
}

fn is_alias(record: &Record) -> bool {
    record.record_type() == RecordType::CNAME
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::record::Soa;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn a(owner: &str) -> Record {
        Record::new(name(owner), 60, RecordData::A([192, 0, 2, 1].into()))
    }

    fn cname(owner: &str, target: &str) -> Record {
        Record::new(name(owner), 60, RecordData::Cname(name(target)))
    }

    fn soa() -> Record {
        let soa = Soa {
            primary: name("ns.test"),
            mailbox: name("root.test"),
            serial: 1,
            refresh: 1,
            retry: 1,
            expire: 1,
            minimum: 1,
        };
        Record::new(name("test"), 60, RecordData::Soa(Box::new(soa)))
    }

    fn judged(change: impl FnOnce(&mut Message)) -> (Verdict, Vec<Record>) {
        let question = Question::new(name("www.test"), RecordType::A);
        let mut response = Message::answer_to(&Message::query(1, question.clone()));
        response.flags.recursion_available = true;
        change(&mut response);
        let mut records = Vec::new();
        let verdict = judge(&question, &question.name, &response, 4, &mut records);
        (verdict, records)
    }

    #[test]
    fn an_answer_is_what_belongs_to_the_question() {
        let (verdict, records) = judged(|response| {
            response.answers = vec![
                a("bank.test"),
                a("b.test"),
                cname("WWW.test", "b.test"),
                a("b.test"),
            ];
        });
        assert_eq!(
            (verdict, records),
            (
                Verdict::Complete,
                vec![cname("www.test", "b.test"), a("b.test"), a("b.test")]
            )
        );
    }

    #[test]
    fn aliases_that_lead_out_of_the_message_are_followed() {
        let (verdict, records) = judged(|response| response.answers = vec![cname("www.test", "other.test")]);
        assert_eq!((verdict, records.len()), (Verdict::Follow(name("other.test")), 1));
        let (verdict, _) = judged(|response| {
            response.answers = vec![cname("www.test", "other.test")];
            response.authorities = vec![soa()];
        });
        assert_eq!(
            verdict,
            Verdict::Complete,
            "the zone says that there are no such records"
        );
    }

    #[test]
    fn circles_and_long_chains_end() {
        let circle = [cname("www.test", "b.test"), cname("b.test", "www.test")];
        assert_eq!(
            judged(|response| response.answers = circle.into()).0,
            Verdict::Circle
        );
        assert_eq!(
            judged(|response| response.answers = vec![cname("www.test", "www.test")]).0,
            Verdict::Circle
        );
        let mut chain = vec![cname("www.test", "n0.test")];
        chain.extend((0..9).map(|n| cname(&format!("n{n}.test"), &format!("n{}.test", n + 1))));
        assert_eq!(judged(|response| response.answers = chain).0, Verdict::Circle);
    }

    #[test]
    fn nothing_is_an_answer_only_from_who_may_say_so() {
        assert_eq!(judged(|_| {}).0, Verdict::Complete);
        assert_eq!(
            judged(|response| response.flags.recursion_available = false).0,
            Verdict::Lame
        );
        let referral = |response: &mut Message| {
            response.authorities = vec![Record::new(name("test"), 60, RecordData::Ns(name("ns.test")))];
        };
        assert_eq!(judged(referral).0, Verdict::Lame);
        assert_eq!(
            judged(|response| response.code = ResponseCode::NAME_ERROR).0,
            Verdict::Complete
        );
    }
}
