//! Messages of the DNS, to and from their wire format (RFC 1035 section 4, RFC 6891). The codec underneath is `domain`'s.

use domain::base::iana::{Class, Opcode, OptRcode, OptionCode, Rcode as HeaderCode, Rtype};
use domain::base::message_builder::{PushError, RecordSectionBuilder};
use domain::base::name::ParsedName;
use domain::base::opt::UnknownOptData;
use domain::base::rdata::UnknownRecordData;
use domain::base::record::ParsedRecord;
use domain::base::wire::{Composer, ParseError};
use domain::base::{self, MessageBuilder, StaticCompressor, Ttl};
use domain::rdata::{A, Aaaa, Cname, Dname, Https, Mx, Ns, Ptr, Soa as WireSoa, Srv, Svcb, Txt};
use thiserror::Error;

use super::name::Name;
use super::record::{Binding, Record, RecordData, RecordType, Soa};

/// Records that one message may have. One of 64 KiB has room for less than 6,000.
const MAX_RECORDS: usize = 6_000;

/// A message: a question, or the answer to one.
///
/// ```
/// use sockeye_resolver::dns::{Message, Question, Record, RecordData, RecordType};
///
/// let question = Question::new("example.test".parse()?, RecordType::A);
/// let mut answer = Message::answer_to(&Message::query(7, question.clone()));
/// answer.answers.push(Record::new(question.name.clone(), 60, RecordData::A([192, 0, 2, 1].into())));
///
/// let mut wire = Vec::new();
/// answer.write(512, &mut wire);
/// assert_eq!(Message::parse(&wire)?, answer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The number by which the answer finds its question.
    pub id: u16,
    /// What the header says besides.
    pub flags: Flags,
    /// What became of the question.
    pub code: ResponseCode,
    /// What is asked. Messages have one, or in some errors none.
    pub question: Option<Question>,
    /// The answer.
    pub answers: Vec<Record>,
    /// Who is responsible: with "no such name" the beginning of the zone.
    pub authorities: Vec<Record>,
    /// What may help besides, without the pseudo record of EDNS.
    pub additionals: Vec<Record>,
    /// EDNS, if the message has it.
    pub edns: Option<Edns>,
}

/// What is asked: a name and a type, in class IN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type.
    pub record_type: RecordType,
}

impl Question {
    /// A question.
    #[must_use]
    pub fn new(name: Name, record_type: RecordType) -> Self {
        Self { name, record_type }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.record_type)
    }
}

/// The flags of a header (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// QR: this is an answer.
    pub response: bool,
    /// AA: the server is responsible for the zone.
    pub authoritative: bool,
    /// TC: it did not fit; ask by TCP.
    pub truncated: bool,
    /// RD: the server is to ask others.
    pub recursion_desired: bool,
    /// RA: the server asks others.
    pub recursion_available: bool,
    /// AD: the server has checked the signatures.
    pub authentic: bool,
    /// CD: the server is not to check signatures.
    pub checking_disabled: bool,
}

/// What became of a question: the code of a response, extended by EDNS to 12 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ResponseCode(pub u16);

impl ResponseCode {
    /// Answered, be it by "there are no such records".
    pub const NO_ERROR: Self = Self(0);
    /// The server does not understand the question.
    pub const FORMAT_ERROR: Self = Self(1);
    /// The server has failed.
    pub const SERVER_FAILURE: Self = Self(2);
    /// There is no such name.
    pub const NAME_ERROR: Self = Self(3);
    /// The server does not do such a thing.
    pub const NOT_IMPLEMENTED: Self = Self(4);
    /// The server does not want to.
    pub const REFUSED: Self = Self(5);
    /// The server does not know the version of EDNS.
    pub const BAD_VERSION: Self = Self(16);
    /// The cookie of the server is not one that it gave (RFC 7873).
    pub const BAD_COOKIE: Self = Self(23);
}

impl std::fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match *self {
            Self::NO_ERROR => "NOERROR",
            Self::FORMAT_ERROR => "FORMERR",
            Self::SERVER_FAILURE => "SERVFAIL",
            Self::NAME_ERROR => "NXDOMAIN",
            Self::NOT_IMPLEMENTED => "NOTIMP",
            Self::REFUSED => "REFUSED",
            Self::BAD_VERSION => "BADVERS",
            Self::BAD_COOKIE => "BADCOOKIE",
            Self(number) => return write!(f, "RCODE{number}"),
        };
        f.write_str(name)
    }
}

impl std::fmt::Debug for ResponseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// EDNS (RFC 6891), and the cookie in it (RFC 7873).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edns {
    /// The longest UDP message that the sender takes, in bytes.
    pub udp_size: u16,
    /// The version; 0 is the only one.
    pub version: u8,
    /// DO: signatures are wanted.
    pub dnssec_ok: bool,
    /// The cookie option: 8 bytes of the client, and 8 to 32 of the server once it is known.
    pub cookie: Option<Box<[u8]>>,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It ends before its header, or before what its counts and lengths promise.
    #[error("the message ends before its {0}")]
    Short(Part),
    /// A name, a length or a record is not in its form: compression that does not lead backwards, a name of more than 255
    /// bytes, data longer or shorter than its record says.
    #[error("the {0} of the message is malformed")]
    Malformed(Part),
    /// It asks more than one question.
    #[error("the message has {0} questions")]
    Questions(u16),
    /// It has more than 6,000 records.
    #[error("the message has too many records")]
    TooManyRecords,
    /// It is neither a query nor the answer to one.
    #[error("the message is neither a query nor the answer to one")]
    Opcode,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The first 12 bytes.
    Header,
    /// The question.
    Question,
    /// The answers.
    Answer,
    /// Who is responsible.
    Authority,
    /// What may help besides.
    Additional,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Question => "question",
            Self::Answer => "answer section",
            Self::Authority => "authority section",
            Self::Additional => "additional section",
        })
    }
}

impl Message {
    /// A question that asks the server to ask others. Without EDNS.
    #[must_use]
    pub fn query(id: u16, question: Question) -> Self {
        Self {
            id,
            flags: Flags {
                recursion_desired: true,
                ..Flags::default()
            },
            code: ResponseCode::NO_ERROR,
            question: Some(question),
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            edns: None,
        }
    }

    /// An answer to a query, still empty: its id, question and flags are the query's.
    #[must_use]
    pub fn answer_to(query: &Self) -> Self {
        Self {
            id: query.id,
            flags: Flags {
                response: true,
                recursion_desired: query.flags.recursion_desired,
                checking_disabled: query.flags.checking_disabled,
                ..Flags::default()
            },
            code: ResponseCode::NO_ERROR,
            question: query.question.clone(),
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            edns: None,
        }
    }

    /// Reads a whole message. Records of classes other than IN are left out; bytes after the last record are ignored.
    ///
    /// # Errors
    /// [`MessageError`]. Nothing that `bytes` may hold makes it loop, panic or take more memory than some times its length.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let wire = base::Message::from_slice(bytes).map_err(|_| MessageError::Short(Part::Header))?;
        let (header, counts) = (wire.header(), wire.header_counts());
        if header.opcode() != Opcode::QUERY {
            return Err(MessageError::Opcode);
        }
        let total = [counts.ancount(), counts.nscount(), counts.arcount()];
        if total.iter().map(|count| usize::from(*count)).sum::<usize>() > MAX_RECORDS {
            return Err(MessageError::TooManyRecords);
        }
        let mut message = Self {
            id: header.id(),
            flags: Flags {
                response: header.qr(),
                authoritative: header.aa(),
                truncated: header.tc(),
                recursion_desired: header.rd(),
                recursion_available: header.ra(),
                authentic: header.ad(),
                checking_disabled: header.cd(),
            },
            code: ResponseCode(header.rcode().to_int().into()),
            question: None,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            edns: None,
        };
        if counts.qdcount() > 1 {
            return Err(MessageError::Questions(counts.qdcount()));
        }
        let mut questions = wire.question();
        for question in questions.by_ref() {
            let question = question.map_err(|error| of(error, Part::Question))?;
            let name = owned(question.qname()).ok_or(MessageError::Malformed(Part::Question))?;
            message.question = Some(Question::new(name, RecordType(question.qtype().to_int())));
        }
        let mut section = questions.answer().map_err(|error| of(error, Part::Question))?;
        for (part, records) in [
            (Part::Answer, &mut message.answers),
            (Part::Authority, &mut message.authorities),
            (Part::Additional, &mut message.additionals),
        ] {
            for record in section.by_ref() {
                let record = record.map_err(|error| of(error, part))?;
                if record.rtype() == Rtype::OPT {
                    // One, and among what may help besides (RFC 6891 section 6.1.1).
                    if part != Part::Additional || message.edns.is_some() {
                        return Err(MessageError::Malformed(part));
                    }
                    let (edns, high) = read_edns(&record).map_err(|error| of(error, part))?;
                    message.code.0 |= high << 4;
                    message.edns = Some(edns);
                } else if record.class() == Class::IN {
                    records.push(read_record(&record, part)?);
                }
            }
            match section.next_section().map_err(|error| of(error, part))? {
                Some(next) => section = next,
                None => break,
            }
        }
        Ok(message)
    }

    /// Appends the wire format, at most `max_len` bytes of it: if the records do not fit, all of them are left out, and the
    /// flag says so. The question and EDNS are never left out.
    pub fn write(&self, max_len: usize, out: &mut Vec<u8>) {
        if self.write_sections(max_len, false, out).is_err() {
            // With nothing but a question and EDNS it is at most 320 bytes.
            let _ = self.write_sections(usize::from(u16::MAX), true, out);
        }
    }

    fn write_sections<'a>(&'a self, max_len: usize, cut: bool, out: &mut Vec<u8>) -> Result<(), PushError> {
        let start = out.len();
        let target = StaticCompressor::new(Vec::with_capacity(max_len.min(512)));
        let mut builder = MessageBuilder::from_target(target).map_err(|_| PushError::ShortBuf)?;
        // The codec's limit is the first length that is too long.
        builder.set_push_limit(max_len.min(usize::from(u16::MAX)) + 1);
        let header = builder.header_mut();
        header.set_id(self.id);
        header.set_qr(self.flags.response);
        header.set_aa(self.flags.authoritative);
        header.set_tc(self.flags.truncated || cut);
        header.set_rd(self.flags.recursion_desired);
        header.set_ra(self.flags.recursion_available);
        header.set_ad(self.flags.authentic);
        header.set_cd(self.flags.checking_disabled);
        let low = u8::try_from(self.code.0 & 15).unwrap_or_default();
        header.set_rcode(HeaderCode::checked_from_int(low).unwrap_or(HeaderCode::SERVFAIL));
        let mut builder = builder.question();
        if let Some(question) = &self.question {
            let name = borrowed(&question.name)?;
            builder.push((name, Rtype::from_int(question.record_type.0)))?;
        }
        let mut builder = builder.answer();
        let mut data = Vec::new();
        let kept = |records: &'a [Record]| if cut { &[][..] } else { records };
        push_all(&mut builder, kept(&self.answers), &mut data)?;
        let mut builder = builder.authority();
        push_all(&mut builder, kept(&self.authorities), &mut data)?;
        let mut builder = builder.additional();
        push_all(&mut builder, kept(&self.additionals), &mut data)?;
        if let Some(edns) = &self.edns {
            let code = self.code.0;
            builder.opt(|opt| {
                opt.set_udp_payload_size(edns.udp_size);
                opt.set_version(edns.version);
                opt.set_dnssec_ok(edns.dnssec_ok);
                opt.set_rcode(OptRcode::masked_from_int(code));
                if let Some(cookie) = &edns.cookie {
                    let len = u16::try_from(cookie.len()).unwrap_or_default();
                    opt.push_raw_option(OptionCode::COOKIE, len, |target| {
                        use domain::dep::octseq::OctetsBuilder as _;
                        target.append_slice(cookie)
                    })?;
                }
                Ok(())
            })?;
        }
        let written = builder.finish().into_target();
        debug_assert_eq!(start, out.len());
        out.extend_from_slice(&written);
        Ok(())
    }

    /// For how long an answer of "no such name" or "no such records" may be kept, in seconds: by the zone's beginning among
    /// [`authorities`](Self::authorities) (RFC 2308 section 5); `None` without one.
    #[must_use]
    pub fn negative_ttl(&self) -> Option<u32> {
        self.authorities.iter().find_map(|record| match &record.data {
            RecordData::Soa(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
    }
}

/// Appends records to a section; `data` is room for one record's data.
fn push_all<T: Composer>(
    builder: &mut impl RecordSectionBuilder<T>,
    records: &[Record],
    data: &mut Vec<u8>,
) -> Result<(), PushError> {
    for record in records {
        data.clear();
        record.data.write(data);
        let record_type = Rtype::from_int(record.record_type().0);
        let data =
            UnknownRecordData::from_octets(record_type, data.as_slice()).map_err(|_| PushError::ShortBuf)?;
        let ttl = Ttl::from_secs(record.ttl);
        builder.push((borrowed(&record.name)?, Class::IN, ttl, data))?;
    }
    Ok(())
}

type Parsed<'a> = ParsedName<&'a [u8]>;
type Raw<'a> = ParsedRecord<'a, [u8]>;

fn of(error: ParseError, part: Part) -> MessageError {
    match error {
        ParseError::ShortInput => MessageError::Short(part),
        ParseError::Form(_) => MessageError::Malformed(part),
    }
}

fn borrowed(name: &Name) -> Result<&base::Name<[u8]>, PushError> {
    base::Name::from_slice(name.as_wire()).map_err(|_| PushError::ShortBuf)
}

fn owned(name: &Parsed<'_>) -> Option<Name> {
    Name::from_labels(
        name.iter()
            .map(|label| label.as_slice())
            .filter(|label| !label.is_empty()),
    )
    .ok()
}

fn read_record(record: &Raw<'_>, part: Part) -> Result<Record, MessageError> {
    let malformed = || MessageError::Malformed(part);
    let owner = record.owner();
    let labels = owner
        .iter()
        .map(|label| label.as_slice())
        .filter(|label| !label.is_empty());
    let name = Name::from_labels(labels).map_err(|_| malformed())?;
    let data = read_data(record)
        .map_err(|error| of(error, part))?
        .ok_or_else(malformed)?;
    // The highest bit is taken for a negative number, which is no time (RFC 2181 section 8).
    let ttl = record.ttl().as_secs();
    let ttl = if ttl >> 31 == 1 { 0 } else { ttl };
    Ok(Record::new(name, ttl, data))
}

/// `None` if a name within is none.
fn read_data(record: &Raw<'_>) -> Result<Option<RecordData>, ParseError> {
    let name = |name: &Parsed<'_>| owned(name);
    Ok(match record.rtype() {
        Rtype::A => record
            .to_record::<A>()?
            .map(|record| RecordData::A(record.data().addr())),
        Rtype::AAAA => record
            .to_record::<Aaaa>()?
            .map(|record| RecordData::Aaaa(record.data().addr())),
        Rtype::CNAME => record
            .to_record::<Cname<Parsed<'_>>>()?
            .and_then(|record| name(record.data().cname()).map(RecordData::Cname)),
        Rtype::PTR => record
            .to_record::<Ptr<Parsed<'_>>>()?
            .and_then(|record| name(record.data().ptrdname()).map(RecordData::Ptr)),
        Rtype::NS => record
            .to_record::<Ns<Parsed<'_>>>()?
            .and_then(|record| name(record.data().nsdname()).map(RecordData::Ns)),
        Rtype::DNAME => record
            .to_record::<Dname<Parsed<'_>>>()?
            .and_then(|record| name(record.data().dname()).map(RecordData::Dname)),
        Rtype::MX => record.to_record::<Mx<Parsed<'_>>>()?.and_then(|record| {
            let mx = record.data();
            Some(RecordData::Mx {
                preference: mx.preference(),
                exchange: name(mx.exchange())?,
            })
        }),
        Rtype::TXT => record
            .to_record::<Txt<&[u8]>>()?
            .map(|record| RecordData::Txt(record.data().iter().map(Into::into).collect())),
        Rtype::SRV => record.to_record::<Srv<Parsed<'_>>>()?.and_then(|record| {
            let srv = record.data();
            Some(RecordData::Srv {
                priority: srv.priority(),
                weight: srv.weight(),
                port: srv.port(),
                target: name(srv.target())?,
            })
        }),
        Rtype::SOA => record.to_record::<WireSoa<Parsed<'_>>>()?.and_then(|record| {
            let soa = record.data();
            Some(RecordData::Soa(Box::new(Soa {
                primary: name(soa.mname())?,
                mailbox: name(soa.rname())?,
                serial: soa.serial().into_int(),
                refresh: soa.refresh().as_secs(),
                retry: soa.retry().as_secs(),
                expire: soa.expire().as_secs(),
                minimum: soa.minimum().as_secs(),
            })))
        }),
        Rtype::SVCB => record.to_record::<Svcb<&[u8], Parsed<'_>>>()?.and_then(|record| {
            let svcb = record.data();
            binding(svcb.priority(), svcb.target(), svcb.params().as_slice()).map(RecordData::Svcb)
        }),
        Rtype::HTTPS => record
            .to_record::<Https<&[u8], Parsed<'_>>>()?
            .and_then(|record| {
                let https = record.data();
                binding(https.priority(), https.target(), https.params().as_slice()).map(RecordData::Https)
            }),
        Rtype::CAA => record
            .to_record::<UnknownRecordData<&[u8]>>()?
            .and_then(|record| authorisation(record.data().data())),
        other => record
            .to_record::<UnknownRecordData<&[u8]>>()?
            .map(|record| RecordData::Other {
                record_type: RecordType(other.to_int()),
                data: (*record.data().data()).into(),
            }),
    })
}

/// A CAA record (RFC 8659 section 4.1).
fn authorisation(data: &[u8]) -> Option<RecordData> {
    let (&[flags, len], rest) = data.split_first_chunk::<2>()?;
    let (tag, value) = rest.split_at_checked(len.into())?;
    Some(RecordData::Caa {
        flags,
        tag: tag.into(),
        value: value.into(),
    })
}

fn binding(priority: u16, target: &Parsed<'_>, parameters: &[u8]) -> Option<Box<Binding>> {
    let mut rest = parameters;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (&[k0, k1, l0, l1], after) = rest.split_first_chunk::<4>()?;
        let (value, tail) = after.split_at_checked(u16::from_be_bytes([l0, l1]).into())?;
        all.push((u16::from_be_bytes([k0, k1]), value.into()));
        rest = tail;
    }
    Some(Box::new(Binding {
        priority,
        target: owned(target)?,
        parameters: all,
    }))
}

/// EDNS, and the high bits of the response's code.
fn read_edns(record: &Raw<'_>) -> Result<(Edns, u16), ParseError> {
    let ttl = record.ttl().as_secs();
    let [high, version, flags, _] = ttl.to_be_bytes();
    let mut edns = Edns {
        udp_size: record.class().to_int(),
        version,
        dnssec_ok: flags & 0x80 != 0,
        cookie: None,
    };
    if let Some(record) = record.to_record::<base::opt::Opt<&[u8]>>()? {
        for option in record.data().iter::<UnknownOptData<&[u8]>>() {
            let option = option?;
            if option.code() == OptionCode::COOKIE {
                edns.cookie = Some(option.as_slice().into());
            }
        }
    }
    Ok((edns, high.into()))
}

#[cfg(test)]
mod tests;
