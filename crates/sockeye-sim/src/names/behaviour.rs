//! How a name server behaves, honest or not: plain data.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use sockeye_event_loop::Time;
use sockeye_resolver::dns::{Name, Question, RecordType, ResponseCode};

/// How a name server behaves. The default is a server that answers at once and tells the truth.
///
/// ```
/// use std::time::Duration;
/// use sockeye_sim::names::{Behaviour, Lie};
///
/// let slow = Behaviour { latency: Duration::from_millis(30), loss_ppm: 100_000, ..Behaviour::default() };
/// let spoofed = Behaviour { lies: vec![Lie::WrongId], honest_after: true, ..Behaviour::default() };
/// assert_ne!(slow, spoofed);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// How long each answer takes, at least.
    pub latency: Duration,
    /// What is added to that by chance, at most.
    pub jitter: Duration,
    /// Queries by UDP that are dropped, in millionths.
    pub loss_ppm: u32,
    /// When nothing is answered, by the loop's clock.
    pub outages: Vec<Range<Time>>,
    /// Every query is answered with this code.
    pub code: Option<ResponseCode>,
    /// What the server makes of EDNS.
    pub edns: EdnsSupport,
    /// What it makes of cookies.
    pub cookies: CookieSupport,
    /// RA: it says that it asks others.
    pub recursion_available: bool,
    /// It is not responsible and asks nobody: empty answers without AA and RA.
    pub lame: bool,
    /// Records have this TTL, whatever the zone says.
    pub ttl: Option<u32>,
    /// Answers by UDP are truncated, whatever their length.
    pub truncate: bool,
    /// The longest answer by UDP in bytes, however long a one the client takes.
    pub max_udp: u16,
    /// Each answer by UDP is sent so many times more.
    pub duplicates: u8,
    /// From the second time on that a question is asked, addresses of the same family in its answer are these.
    pub rebind: Vec<IpAddr>,
    /// What is sent by UDP in the place of the answer, in order.
    pub lies: Vec<Lie>,
    /// The answer follows the lies.
    pub honest_after: bool,
    /// What the server does by TCP.
    pub tcp: TcpSupport,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss_ppm: 0,
            outages: Vec::new(),
            code: None,
            edns: EdnsSupport::default(),
            cookies: CookieSupport::default(),
            recursion_available: true,
            lame: false,
            ttl: None,
            truncate: false,
            max_udp: 4_096,
            duplicates: 0,
            rebind: Vec::new(),
            lies: Vec::new(),
            honest_after: false,
            tcp: TcpSupport::default(),
        }
    }
}

impl Behaviour {
    /// Answers every query with this code.
    #[must_use]
    pub fn code(code: ResponseCode) -> Self {
        Self {
            code: Some(code),
            ..Self::default()
        }
    }

    /// Answers after this time.
    #[must_use]
    pub fn latency(latency: Duration) -> Self {
        Self {
            latency,
            ..Self::default()
        }
    }

    /// Lies in the place of each answer by UDP.
    #[must_use]
    pub fn lie(lie: Lie) -> Self {
        Self {
            lies: vec![lie],
            ..Self::default()
        }
    }

    /// Sends the lie first, and then the answer.
    #[must_use]
    pub fn spoofed(lie: Lie) -> Self {
        Self {
            honest_after: true,
            ..Self::lie(lie)
        }
    }

    /// By TCP it does this.
    #[must_use]
    pub fn tcp(tcp: TcpSupport) -> Self {
        Self {
            tcp,
            ..Self::default()
        }
    }

    pub(super) fn is_out(&self, now: Time) -> bool {
        self.outages.iter().any(|outage| outage.contains(&now))
    }
}

/// What a server makes of EDNS (RFC 6891).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdnsSupport {
    /// It has it.
    #[default]
    Full,
    /// It does not see it: answers are without, and have 512 bytes at most.
    Ignored,
    /// It answers FORMERR, as servers from before EDNS do.
    FormatError,
}

/// What a server makes of cookies (RFC 7873).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieSupport {
    /// A client's cookie is answered with it and the server's.
    #[default]
    Answered,
    /// It does not see them.
    Ignored,
    /// By UDP, a client with a cookie but without a good one of the server gets BADCOOKIE.
    Required,
    /// The client's cookie comes back changed: a lie that counts as one.
    Wrong,
}

/// What a server does by TCP.
///
/// One that does not listen at all, so that connections are refused, is made by `close_listener` of
/// [`Served::listener`](super::Served::listener).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpSupport {
    /// It answers, in the order in which answers are ready.
    #[default]
    Full,
    /// It resets each connection at once.
    Reset,
    /// It takes queries and never answers.
    Silent,
    /// It sends one byte after each such time.
    Slow(Duration),
    /// It closes the connection after so many answers; with 0 at the first query.
    ClosesAfter(u32),
}

/// An answer that is wrong, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lie {
    /// It has another id.
    WrongId,
    /// It is to a question about another name.
    WrongQuestion,
    /// Its question is in lower-case letters. A lie only where the question was not.
    WrongCase,
    /// It has no question.
    NoQuestion,
    /// It is no answer: QR is 0.
    NotAResponse,
    /// It comes from another port: that of another socket of the service; see [`NameServer::udp`](super::NameServer::udp).
    /// Without one nothing is sent.
    OtherPort,
    /// It comes from this address of the host; the server's socket has to be bound to an unspecified one.
    OtherAddress(IpAddr),
    /// The addresses in it are this one, where it is of their family.
    Address(IpAddr),
    /// It ends in the middle.
    Cut,
    /// The header is the answer's, the rest is nonsense.
    Nonsense,
    /// The header says 65,535 answers in each section.
    ManyRecords,
    /// The answer is an alias of itself.
    AliasLoop,
    /// The answer is a chain of so many aliases, without an end.
    LongChain(u16),
    /// There is no answer, and no SOA record either.
    Empty,
}

/// A behaviour for some questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// About this name; `None` is about any.
    pub name: Option<Name>,
    /// About this type; `None` is about any.
    pub record_type: Option<RecordType>,
    /// How the server behaves then. What it does by TCP is decided by the server's own behaviour.
    pub behaviour: Behaviour,
}

impl Rule {
    /// For questions of a type, whatever the name.
    #[must_use]
    pub fn for_type(record_type: RecordType, behaviour: Behaviour) -> Self {
        Self {
            name: None,
            record_type: Some(record_type),
            behaviour,
        }
    }

    /// For questions about a name, whatever the type.
    #[must_use]
    pub fn for_name(name: Name, behaviour: Behaviour) -> Self {
        Self {
            name: Some(name),
            record_type: None,
            behaviour,
        }
    }

    pub(super) fn is_for(&self, question: &Question) -> bool {
        self.name.as_ref().is_none_or(|name| *name == question.name)
            && self
                .record_type
                .is_none_or(|wanted| wanted == question.record_type)
    }
}
