//! Messages of the DNS with hickory-proto as oracle: what one writes the other reads, and it means the same.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use hickory_proto::op::{Message as Theirs, MessageType};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::svcb::SVCB;
use hickory_proto::rr::{Name as TheirName, RData, Record as TheirRecord};
use hickory_proto::serialize::binary::BinEncodable;
use proptest::prelude::*;
use sockeye_resolver::dns::{
    Binding, Edns, Flags, Message, Name, Question, Record, RecordData, RecordType, ResponseCode, Soa,
};

/// Names that often share their ends, so that there is something to compress.
fn name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![
        4 => "[a-zA-Z0-9_-]{1,8}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1..20),
        1 => prop::collection::vec(b'a'..=b'z', 63),
    ];
    let end = prop::sample::select(vec![".", "test", "example.test", "a.b.c.example.test"]);
    (prop::collection::vec(label, 0..4), end).prop_filter_map(
        "a name of at most 255 bytes",
        |(labels, end)| {
            let mut wire = Vec::new();
            for label in labels {
                wire.push(u8::try_from(label.len()).unwrap());
                wire.extend(label);
            }
            wire.extend_from_slice(end.parse::<Name>().unwrap().as_wire());
            Name::from_wire(&wire).ok()
        },
    )
}

fn bytes(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Box<[u8]>> {
    prop::collection::vec(any::<u8>(), len).prop_map(Into::into)
}

/// Seconds that hickory holds in an i32.
fn seconds() -> impl Strategy<Value = u32> {
    0..=0x7fff_ffff_u32
}

fn soa() -> impl Strategy<Value = RecordData> {
    let times = (seconds(), seconds(), seconds(), seconds());
    (name(), name(), any::<u32>(), times).prop_map(|(primary, mailbox, serial, times)| {
        let (refresh, retry, expire, minimum) = times;
        RecordData::Soa(Box::new(Soa {
            primary,
            mailbox,
            serial,
            refresh,
            retry,
            expire,
            minimum,
        }))
    })
}

fn https() -> impl Strategy<Value = RecordData> {
    let alpn = prop::option::of(Just(Box::from(&b"\x02h2\x08http/1.1"[..])));
    let port = prop::option::of(any::<u16>().prop_map(|port| Box::from(port.to_be_bytes())));
    let hints =
        prop::option::of(prop::collection::vec(any::<[u8; 4]>(), 1..4).prop_map(|ips| ips.concat().into()));
    let private = prop::option::of(bytes(1..20));
    let parameters = (alpn, port, hints, private);
    (1..9_u16, name(), parameters).prop_map(|(priority, target, (alpn, port, hints, private))| {
        let parameters: [(u16, Option<Box<[u8]>>); 4] = [(1, alpn), (3, port), (4, hints), (65_300, private)];
        RecordData::Https(Box::new(Binding {
            priority,
            target,
            parameters: parameters
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
                .collect(),
        }))
    })
}

fn data() -> impl Strategy<Value = RecordData> {
    let srv = (any::<[u16; 3]>(), name()).prop_map(|([priority, weight, port], target)| RecordData::Srv {
        priority,
        weight,
        port,
        target,
    });
    let caa = (
        any::<bool>(),
        "issue|issuewild|iodef|[a-z0-9]{1,15}",
        bytes(0..40),
    );
    let caa = caa.prop_map(|(critical, tag, value)| RecordData::Caa {
        flags: u8::from(critical) << 7,
        tag: tag.into_bytes().into(),
        value,
    });
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| RecordData::A(ip.into())),
        any::<[u8; 16]>().prop_map(|ip| RecordData::Aaaa(ip.into())),
        name().prop_map(RecordData::Cname),
        name().prop_map(RecordData::Ptr),
        name().prop_map(RecordData::Ns),
        (any::<u16>(), name()).prop_map(|(preference, exchange)| RecordData::Mx { preference, exchange }),
        prop::collection::vec(bytes(0..=255), 1..4).prop_map(RecordData::Txt),
        srv,
        soa(),
        caa,
        https(),
    ]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (name(), seconds(), data());
    prop::collection::vec(
        record.prop_map(|(name, ttl, data)| Record::new(name, ttl, data)),
        0..6,
    )
}

fn edns() -> impl Strategy<Value = Edns> {
    let cookie = prop::option::of(prop_oneof![bytes(8), bytes(16..=40)]);
    (512..=u16::MAX, any::<bool>(), cookie).prop_map(|(udp_size, dnssec_ok, cookie)| Edns {
        udp_size,
        version: 0,
        dnssec_ok,
        cookie,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let question = (name(), prop::sample::select(vec![1_u16, 28, 15, 65, 257, 65_400]))
        .prop_map(|(name, number)| Question::new(name, RecordType(number)));
    let sections = (records(), records(), records(), prop::option::of(edns()));
    let code = prop::sample::select(vec![0_u16, 1, 2, 3, 4, 5, 16, 23]);
    (any::<u16>(), any::<[bool; 7]>(), code, question, sections).prop_map(
        |(id, flags, code, question, (answers, authorities, additionals, edns))| Message {
            id,
            flags: Flags {
                response: flags[0],
                authoritative: flags[1],
                truncated: flags[2],
                recursion_desired: flags[3],
                recursion_available: flags[4],
                authentic: flags[5],
                checking_disabled: flags[6],
            },
            // Without EDNS there are four bits for the code.
            code: ResponseCode(if edns.is_some() { code } else { code & 7 }),
            question: Some(question),
            answers,
            authorities,
            additionals,
            edns,
        },
    )
}

/// Whatever the case: a name may point at one that differs in it.
fn is_name(ours: &Name, theirs: &TheirName) -> bool {
    let lower = |label: &[u8]| label.to_ascii_lowercase();
    ours.labels().map(lower).eq(theirs.iter().map(lower))
}

/// Parameters one by one in the wire format, which hickory begins with their length.
fn is_binding(ours: &Binding, theirs: &SVCB) -> bool {
    let theirs_written: Vec<(u16, Box<[u8]>)> = theirs
        .svc_params
        .iter()
        .map(|(key, value)| (u16::from(*key), value.to_bytes().unwrap()[2..].into()))
        .collect();
    ours.priority == theirs.svc_priority
        && is_name(&ours.target, &theirs.target_name)
        && ours.parameters == theirs_written
}

fn is_data(ours: &RecordData, theirs: &RData) -> bool {
    match (ours, theirs) {
        (RecordData::A(ours), RData::A(theirs)) => *ours == theirs.0,
        (RecordData::Aaaa(ours), RData::AAAA(theirs)) => *ours == theirs.0,
        (RecordData::Cname(ours), RData::CNAME(theirs)) => is_name(ours, &theirs.0),
        (RecordData::Ptr(ours), RData::PTR(theirs)) => is_name(ours, &theirs.0),
        (RecordData::Ns(ours), RData::NS(theirs)) => is_name(ours, &theirs.0),
        (RecordData::Mx { preference, exchange }, RData::MX(theirs)) => {
            *preference == theirs.preference && is_name(exchange, &theirs.exchange)
        }
        (RecordData::Txt(ours), RData::TXT(theirs)) => **ours == *theirs.txt_data,
        (
            RecordData::Srv {
                priority,
                weight,
                port,
                target,
            },
            RData::SRV(theirs),
        ) => {
            [*priority, *weight, *port] == [theirs.priority, theirs.weight, theirs.port]
                && is_name(target, &theirs.target)
        }
        (RecordData::Soa(ours), RData::SOA(theirs)) => {
            let signed =
                [ours.refresh, ours.retry, ours.expire].map(|seconds| i32::try_from(seconds).unwrap());
            is_name(&ours.primary, &theirs.mname)
                && is_name(&ours.mailbox, &theirs.rname)
                && (ours.serial, ours.minimum) == (theirs.serial, theirs.minimum)
                && signed == [theirs.refresh, theirs.retry, theirs.expire]
        }
        (RecordData::Caa { flags, tag, value }, RData::CAA(theirs)) => {
            (*flags == 128) == theirs.issuer_critical
                && **tag == *theirs.tag.as_bytes()
                && **value == *theirs.value
        }
        (RecordData::Https(ours), RData::HTTPS(theirs)) => is_binding(ours, &theirs.0),
        _ => false,
    }
}

fn are_records(ours: &[Record], theirs: &[TheirRecord]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| {
            is_name(&ours.name, &theirs.name) && ours.ttl == theirs.ttl && is_data(&ours.data, &theirs.data)
        })
}

fn is_edns(ours: &Edns, theirs: &hickory_proto::op::Edns) -> bool {
    let cookie = theirs.option(EdnsCode::Cookie).map(|option| match option {
        EdnsOption::Unknown(_, data) => data.clone(),
        other => panic!("a cookie is read as {other:?}"),
    });
    (ours.udp_size, ours.version, ours.dnssec_ok)
        == (theirs.max_payload(), theirs.version(), theirs.flags().dnssec_ok)
        && ours.cookie.as_deref() == cookie.as_deref()
}

fn is_message(ours: &Message, theirs: &Theirs) -> bool {
    let (flags, meta) = (ours.flags, &theirs.metadata);
    let question = ours.question.as_ref().unwrap();
    ours.id == meta.id
        && flags.response == (meta.message_type == MessageType::Response)
        && flags.authoritative == meta.authoritative
        && flags.truncated == meta.truncation
        && flags.recursion_desired == meta.recursion_desired
        && flags.recursion_available == meta.recursion_available
        && flags.authentic == meta.authentic_data
        && flags.checking_disabled == meta.checking_disabled
        && ours.code.0 == u16::from(meta.response_code)
        && theirs.queries.len() == 1
        && is_name(&question.name, theirs.queries[0].name())
        && question.record_type.0 == u16::from(theirs.queries[0].query_type())
        && are_records(&ours.answers, &theirs.answers)
        && are_records(&ours.authorities, &theirs.authorities)
        && are_records(&ours.additionals, &theirs.additionals)
        && match (&ours.edns, &theirs.edns) {
            (Some(ours), Some(theirs)) => is_edns(ours, theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
}

proptest! {
    #[test]
    fn what_one_writes_the_other_reads(message in message()) {
        let mut wire = Vec::new();
        message.write(65_535, &mut wire);
        prop_assert_eq!(Message::parse(&wire).unwrap(), message.clone());
        let theirs = Theirs::from_vec(&wire).unwrap();
        prop_assert!(is_message(&message, &theirs), "{message:?}\n{theirs:?}");
        let back = theirs.to_vec().unwrap();
        prop_assert_eq!(Message::parse(&back).unwrap(), message);
    }

    /// Whatever the bytes, no panic; and what is read can be written and read again.
    #[test]
    fn a_changed_message_is_refused_or_read_and_written(
        message in message(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut wire = Vec::new();
        message.write(65_535, &mut wire);
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        if let Ok(read) = Message::parse(&wire) {
            let mut again = Vec::new();
            read.write(65_535, &mut again);
            let again = Message::parse(&again).unwrap();
            prop_assert!(again == read || (again.flags.truncated && again.answers.is_empty()));
        }
    }
}
