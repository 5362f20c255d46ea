//! Messages as strangers write them: the bytes are spelled out by the RFCs, not by the code under test.

use super::*;

/// A header with these counts: a query's answer, recursion desired and available.
fn header(counts: [u16; 4]) -> Vec<u8> {
    let mut wire = vec![0xbe, 0xef, 0x81, 0x80];
    counts
        .iter()
        .for_each(|count| wire.extend_from_slice(&count.to_be_bytes()));
    wire
}

/// The question `a.test A`: its name is at offset 12, `test` at 14.
const QUESTION: &[u8] = b"\x01a\x04test\x00\x00\x01\x00\x01";

/// A record of class IN with a TTL of 60, owned by the name at offset 12.
fn record(record_type: u16, data: &[u8]) -> Vec<u8> {
    full_record(b"\xc0\x0c", record_type, 1, 60, data)
}

fn full_record(owner: &[u8], record_type: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut wire = owner.to_vec();
    wire.extend_from_slice(&record_type.to_be_bytes());
    wire.extend_from_slice(&class.to_be_bytes());
    wire.extend_from_slice(&ttl.to_be_bytes());
    wire.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    wire.extend_from_slice(data);
    wire
}

/// An answer to [`QUESTION`] with these records in its first section.
fn answer(records: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = header([1, u16::try_from(records.len()).unwrap(), 0, 0]);
    wire.extend_from_slice(QUESTION);
    records.iter().for_each(|record| wire.extend_from_slice(record));
    wire
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Data of every type that has a form, as it stands in a message, and what it means.
fn samples() -> Vec<(u16, Vec<u8>, RecordData)> {
    let soa = Soa {
        primary: name("ns.test"),
        mailbox: name("me.test"),
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum: 5,
    };
    let soa_wire = [
        &b"\x02ns\xc0\x0e\x02me\xc0\x0e"[..],
        &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5],
    ];
    let binding = Box::new(Binding {
        priority: 1,
        target: Name::root(),
        parameters: vec![(1, b"\x02h2"[..].into()), (3, Box::new([1, 187]))],
    });
    let binding_wire = b"\x00\x01\x00\x00\x01\x00\x03\x02h2\x00\x03\x00\x02\x01\xbb".to_vec();
    let target = || name("b.test");
    let mx = RecordData::Mx {
        preference: 10,
        exchange: target(),
    };
    let srv = RecordData::Srv {
        priority: 1,
        weight: 2,
        port: 3,
        target: target(),
    };
    let caa = RecordData::Caa {
        flags: 128,
        tag: b"issue"[..].into(),
        value: b"ca"[..].into(),
    };
    let other = RecordData::Other {
        record_type: RecordType(65_400),
        data: Box::new([1, 2, 3]),
    };
    let text = RecordData::Txt(vec![b"one"[..].into(), b"two"[..].into()]);
    let pointed = || b"\x01b\xc0\x0e".to_vec();
    vec![
        (1, vec![192, 0, 2, 1], RecordData::A([192, 0, 2, 1].into())),
        (28, vec![0; 16], RecordData::Aaaa([0; 16].into())),
        (2, pointed(), RecordData::Ns(target())),
        (5, pointed(), RecordData::Cname(target())),
        (12, pointed(), RecordData::Ptr(target())),
        (39, b"\x01b\x04test\x00".to_vec(), RecordData::Dname(target())),
        (15, b"\x00\x0a\x01b\xc0\x0e".to_vec(), mx),
        (33, b"\x00\x01\x00\x02\x00\x03\x01b\xc0\x0e".to_vec(), srv),
        (6, soa_wire.concat(), RecordData::Soa(Box::new(soa))),
        (16, b"\x03one\x03two".to_vec(), text),
        (64, binding_wire.clone(), RecordData::Svcb(binding.clone())),
        (65, binding_wire, RecordData::Https(binding)),
        (257, b"\x80\x05issueca".to_vec(), caa),
        (65_400, vec![1, 2, 3], other),
    ]
}

/// Types whose data may be cut or go on anywhere.
const LOOSE: [u16; 2] = [257, 65_400];

#[test]
fn a_query_and_its_answer_go_there_and_back() {
    let question = Question::new(name("Example.test"), RecordType::MX);
    let mut query = Message::query(0xbeef, question.clone());
    query.edns = Some(Edns {
        udp_size: 1_232,
        version: 0,
        dnssec_ok: false,
        cookie: Some(Box::new([7; 8])),
    });
    let mut wire = Vec::new();
    query.write(512, &mut wire);
    assert_eq!(Message::parse(&wire).unwrap(), query);

    let mut answer = Message::answer_to(&query);
    answer.code = ResponseCode::BAD_COOKIE;
    answer.edns = query.edns;
    let mx = RecordData::Mx {
        preference: 5,
        exchange: name("mx.example.test"),
    };
    answer.answers.push(Record::new(question.name, 60, mx));
    let mut wire = Vec::new();
    answer.write(512, &mut wire);
    assert_eq!(Message::parse(&wire).unwrap(), answer);
}

#[test]
fn every_type_is_read_and_written() {
    for (number, data, meaning) in samples() {
        let read = Message::parse(&answer(&[record(number, &data)])).unwrap();
        let expected = Record::new(name("a.test"), 60, meaning);
        assert_eq!(read.answers, [expected], "{number}");
        assert_eq!(read.id, 0xbeef);
        assert!(read.flags.response && read.flags.recursion_desired && read.flags.recursion_available);
        let mut again = Vec::new();
        read.write(512, &mut again);
        assert_eq!(Message::parse(&again).unwrap(), read, "{number}");
    }
}

#[test]
fn data_that_is_longer_or_shorter_than_its_type_is_refused() {
    for (number, data, _) in samples() {
        // A text of one byte may follow another: the byte that is too much says that five follow.
        let long = [&data[..], &[5]].concat();
        let short = &data[..data.len() - 1];
        for data in [&long[..], short] {
            let read = Message::parse(&answer(&[record(number, data)]));
            assert_eq!(
                read.is_ok(),
                LOOSE.contains(&number),
                "{number} {data:?}: {read:?}"
            );
        }
    }
    for number in [1, 28, 2, 5, 12, 39, 15, 33, 6, 64, 65, 257] {
        let read = Message::parse(&answer(&[record(number, &[])]));
        assert!(read.is_err(), "{number}: {read:?}");
    }
    // Against RFC 1035 section 3.3.14, but harmless: no text at all.
    let read = Message::parse(&answer(&[record(16, &[])])).unwrap();
    assert_eq!(read.answers[0].data, RecordData::Txt(Vec::new()));
}

#[test]
fn a_length_that_lies_about_the_bytes_behind_it_is_refused() {
    for (number, data, _) in samples() {
        let mut wire = answer(&[record(number, &data)]);
        let at = wire.len() - data.len() - 2;
        let longer = u16::try_from(data.len() + 1).unwrap();
        wire[at..at + 2].copy_from_slice(&longer.to_be_bytes());
        assert_eq!(
            Message::parse(&wire),
            Err(MessageError::Short(Part::Answer)),
            "{number}"
        );
        wire[at..at + 2].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(
            Message::parse(&wire),
            Err(MessageError::Short(Part::Answer)),
            "{number}"
        );
    }
}

#[test]
fn a_message_that_is_cut_anywhere_is_short() {
    let records: Vec<_> = samples()
        .iter()
        .map(|(number, data, _)| record(*number, data))
        .collect();
    let mut wire = answer(&records);
    wire[11] = 1;
    wire.extend(full_record(
        &[0],
        41,
        1_232,
        0,
        b"\x00\x0a\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08",
    ));
    assert!(Message::parse(&wire).is_ok());
    for len in 0..wire.len() {
        let error = Message::parse(&wire[..len]).unwrap_err();
        assert!(matches!(error, MessageError::Short(_)), "{len}: {error}");
    }
    wire.push(7);
    assert!(
        Message::parse(&wire).is_ok(),
        "bytes after the last record are ignored"
    );
}

#[test]
fn counts_that_lie_are_refused_in_each_section() {
    for (place, part) in [
        (5, Part::Question),
        (7, Part::Answer),
        (9, Part::Authority),
        (11, Part::Additional),
    ] {
        let mut wire = header([0, 0, 0, 0]);
        assert!(Message::parse(&wire).is_ok());
        wire[place] = 1;
        assert_eq!(Message::parse(&wire), Err(MessageError::Short(part)));
        // A record where another one is promised.
        if part != Part::Question {
            wire.extend(full_record(&[0], 1, 1, 0, &[192, 0, 2, 1]));
            assert!(Message::parse(&wire).is_ok());
            wire[place] = 2;
            assert_eq!(Message::parse(&wire), Err(MessageError::Short(part)));
        }
    }
}

#[test]
fn more_records_than_a_message_has_room_for_are_not_looked_for() {
    for counts in [
        [1, 65_535, 0, 0],
        [1, 6_001, 0, 0],
        [1, 2_001, 2_000, 2_000],
        [0, 65_535, 65_535, 65_535],
    ] {
        let mut wire = header(counts);
        wire.extend_from_slice(QUESTION);
        assert_eq!(
            Message::parse(&wire),
            Err(MessageError::TooManyRecords),
            "{counts:?}"
        );
    }
    let mut wire = header([1, 6_000, 0, 0]);
    wire.extend_from_slice(QUESTION);
    assert_eq!(Message::parse(&wire), Err(MessageError::Short(Part::Answer)));

    // As many as 65,535 bytes hold.
    let empty = full_record(&[0], 65_400, 1, 0, &[]);
    let count = (65_535 - 12) / empty.len();
    let mut wire = header([0, u16::try_from(count).unwrap(), 0, 0]);
    wire.extend(empty.repeat(count));
    assert_eq!(Message::parse(&wire).unwrap().answers.len(), count);
}

#[test]
fn pointers_lead_backwards_or_nowhere() {
    let malformed = Err(MessageError::Malformed(Part::Answer));
    // The first record's owner is at offset 24.
    let itself = full_record(b"\xc0\x18", 1, 1, 60, &[0; 4]);
    assert_eq!(Message::parse(&answer(&[itself])), malformed);
    let label_and_itself = full_record(b"\x01a\xc0\x18", 1, 1, 60, &[0; 4]);
    assert_eq!(Message::parse(&answer(&[label_and_itself])), malformed);
    let forward = full_record(b"\xc0\x24", 1, 1, 60, &[0; 4]);
    assert_eq!(Message::parse(&answer(&[forward])), malformed);
    let beyond = full_record(b"\xff\xff", 1, 1, 60, &[0; 4]);
    assert_eq!(Message::parse(&answer(&[beyond])), malformed);
    // Two records' data that point at each other: the first of them points forward.
    let first = record(5, b"\xc0\x32");
    let second = record(5, b"\xc0\x24");
    assert_eq!(Message::parse(&answer(&[first, second])), malformed);
    // A chain of two, backwards.
    let first = record(5, b"\x01b\xc0\x0e");
    let second = record(5, b"\xc0\x24");
    let read = Message::parse(&answer(&[first, second])).unwrap();
    assert_eq!(read.answers[1].data, RecordData::Cname(name("b.test")));

    let mut question = header([1, 0, 0, 0]);
    question.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01");
    assert_eq!(
        Message::parse(&question),
        Err(MessageError::Malformed(Part::Question))
    );
    // 01 and 10 in the upper bits of a length have no meaning.
    for kind in [0x40, 0x80] {
        let mut question = header([1, 0, 0, 0]);
        question.extend_from_slice(&[kind, b'a', 0, 0, 1, 0, 1]);
        assert_eq!(
            Message::parse(&question),
            Err(MessageError::Malformed(Part::Question))
        );
    }
}

#[test]
fn a_long_chain_of_pointers_ends() {
    // Data that no type explains holds pointers, each to the one before it; a name at the end follows them all.
    let mut chain = b"\x01b\x00".to_vec();
    let start = u16::try_from(12 + QUESTION.len() + 12).unwrap();
    let mut last = start;
    for _ in 0..5_000 {
        let here = start + u16::try_from(chain.len()).unwrap();
        chain.extend_from_slice(&(0xc000 | last).to_be_bytes());
        last = here;
    }
    let owner = (0xc000 | last).to_be_bytes();
    let wire = answer(&[record(65_400, &chain), full_record(&owner, 1, 1, 60, &[0; 4])]);
    assert_eq!(Message::parse(&wire), Err(MessageError::Malformed(Part::Answer)));
}

#[test]
fn names_end_at_255_bytes() {
    let labels = |last: u8| {
        let mut wire = [&[63][..], &[b'a'; 63]].concat().repeat(3);
        wire.push(last);
        wire.extend(std::iter::repeat_n(b'b', last.into()));
        wire.push(0);
        wire
    };
    let question = |name: &[u8]| {
        let mut wire = header([1, 0, 0, 0]);
        wire.extend_from_slice(name);
        wire.extend_from_slice(&[0, 1, 0, 1]);
        Message::parse(&wire)
    };
    let malformed = Err(MessageError::Malformed(Part::Question));
    let longest = labels(61);
    assert_eq!(longest.len(), 255);
    let read = question(&longest).unwrap();
    assert_eq!(read.question.as_ref().unwrap().name.as_wire(), longest);
    let mut wire = Vec::new();
    read.write(512, &mut wire);
    assert_eq!(Message::parse(&wire), Ok(read));
    assert_eq!(labels(62).len(), 256);
    assert_eq!(question(&labels(62)), malformed);

    // 255 bytes, with a label more by a pointer.
    let mut wire = header([1, 1, 0, 0]);
    wire.extend_from_slice(&longest);
    wire.extend_from_slice(&[0, 1, 0, 1]);
    wire.extend(full_record(b"\x01a\xc0\x0c", 1, 1, 60, &[0; 4]));
    assert_eq!(Message::parse(&wire), Err(MessageError::Malformed(Part::Answer)));

    // A label of 64 bytes is written as what is no label.
    let mut label = vec![64];
    label.extend_from_slice(&[b'a'; 64]);
    label.push(0);
    assert_eq!(question(&label), malformed);
}

#[test]
fn other_opcodes_and_two_questions_are_refused() {
    for opcode in 1..16_u8 {
        let mut wire = header([1, 0, 0, 0]);
        wire[2] |= opcode << 3;
        wire.extend_from_slice(QUESTION);
        assert_eq!(Message::parse(&wire), Err(MessageError::Opcode));
    }
    let mut wire = header([2, 0, 0, 0]);
    wire.extend_from_slice(&QUESTION.repeat(2));
    assert_eq!(Message::parse(&wire), Err(MessageError::Questions(2)));
}

#[test]
fn records_of_other_classes_are_left_out() {
    let chaos = full_record(b"\xc0\x0c", 16, 3, 0, b"\x01x");
    let odd = full_record(b"\xc0\x0c", 1, 3, 0, b"five!");
    let wire = answer(&[chaos, record(1, &[192, 0, 2, 1]), odd]);
    let read = Message::parse(&wire).unwrap();
    assert_eq!(
        read.answers,
        [Record::new(
            name("a.test"),
            60,
            RecordData::A([192, 0, 2, 1].into())
        )]
    );
}

#[test]
fn a_ttl_with_the_highest_bit_is_none() {
    for (wire_ttl, ttl) in [
        (0x8000_0000, 0),
        (u32::MAX, 0),
        (0x7fff_ffff, 0x7fff_ffff),
        (0, 0),
    ] {
        let wire = answer(&[full_record(b"\xc0\x0c", 1, 1, wire_ttl, &[0; 4])]);
        assert_eq!(Message::parse(&wire).unwrap().answers[0].ttl, ttl);
    }
}

fn with_edns(ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut wire = header([1, 0, 0, 1]);
    wire.extend_from_slice(QUESTION);
    wire.extend(full_record(&[0], 41, 4_096, ttl, data));
    wire
}

#[test]
fn edns_gives_its_size_its_flags_the_high_bits_of_the_code_and_the_cookie() {
    // BADCOOKIE is 23: 1 and 7. An option of another kind (NSID) stands before the cookie.
    let data =
        b"\x00\x03\x00\x02id\x00\x0a\x00\x10\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
    let mut wire = with_edns(0x0100_8000, data);
    wire[3] |= 7;
    let read = Message::parse(&wire).unwrap();
    assert_eq!(read.code, ResponseCode::BAD_COOKIE);
    assert!(read.additionals.is_empty());
    let cookie: Vec<u8> = (0..16).collect();
    let edns = Edns {
        udp_size: 4_096,
        version: 0,
        dnssec_ok: true,
        cookie: Some(cookie.into()),
    };
    assert_eq!(read.edns, Some(edns));
    let mut again = Vec::new();
    read.write(512, &mut again);
    assert_eq!(Message::parse(&again), Ok(read));

    let unknown = Message::parse(&with_edns(0x0107_0000, b"")).unwrap();
    assert_eq!(
        (unknown.code, unknown.edns.unwrap().version),
        (ResponseCode::BAD_VERSION, 7)
    );
}

#[test]
fn edns_in_no_form_is_refused() {
    for data in [
        &b"\x00"[..],
        b"\x00\x0a\x00",
        b"\x00\x0a\x00\x08short",
        b"\x00\x0a\xff\xff",
    ] {
        assert!(Message::parse(&with_edns(0, data)).is_err(), "{data:?}");
    }
    let mut two = with_edns(0, b"");
    two[11] = 2;
    two.extend(full_record(&[0], 41, 512, 0, b""));
    assert_eq!(
        Message::parse(&two),
        Err(MessageError::Malformed(Part::Additional))
    );
    let among_answers = answer(&[full_record(&[0], 41, 512, 0, b"")]);
    assert_eq!(
        Message::parse(&among_answers),
        Err(MessageError::Malformed(Part::Answer))
    );
}

#[test]
fn texts_bindings_and_authorisations_in_no_form_are_refused() {
    for (number, data) in [
        (16, &b"\x05abc"[..]),
        (16, b"\x03abc\xff"),
        (257, b"\x00"),
        (257, b"\x00\x06issue"),
        (257, b"\x00\xff"),
        (65, b"\x00"),
        (65, b"\x00\x01"),
        (65, b"\x00\x01\x00\x00"),
        (65, b"\x00\x01\x00\x00\x01\x00"),
        (65, b"\x00\x01\x00\x00\x01\x00\x05\x02h2"),
        // Keys go upwards, each once.
        (65, b"\x00\x01\x00\x00\x03\x00\x00\x00\x01\x00\x00"),
        (64, b"\x00\x01\x00\x00\x03\x00\x00\x00\x03\x00\x00"),
    ] {
        let read = Message::parse(&answer(&[record(number, data)]));
        assert!(read.is_err(), "{number} {data:?}: {read:?}");
    }
    let no_tag = Message::parse(&answer(&[record(257, b"\x00\x00x")])).unwrap();
    assert_eq!(no_tag.answers[0].data.to_string(), "0  \"x\"");
}

#[test]
fn what_does_not_fit_is_left_out_and_said() {
    let question = Question::new(name("Example.test"), RecordType::A);
    let mut query = Message::query(7, question.clone());
    query.edns = Some(Edns {
        udp_size: 1_232,
        ..Edns::default()
    });
    let mut message = Message::answer_to(&query);
    message.edns = query.edns;
    for last in 0..30 {
        let data = RecordData::A([192, 0, 2, last].into());
        message.answers.push(Record::new(question.name.clone(), 60, data));
    }
    let mut whole = Vec::new();
    message.write(65_535, &mut whole);
    // The owner is written once, and pointed at from then on.
    assert_eq!(whole.len(), 12 + 18 + 30 * 16 + 11);
    assert_eq!(Message::parse(&whole).as_ref(), Ok(&message));
    let mut exact = Vec::new();
    message.write(whole.len(), &mut exact);
    assert_eq!(exact, whole);
    for len in [0, 11, 41, 512, whole.len() - 1] {
        let mut cut = Vec::new();
        message.write(len, &mut cut);
        let read = Message::parse(&cut).unwrap();
        assert!(read.flags.truncated && cut.len() <= len.max(41), "{len}");
        assert_eq!(
            (read.answers.len(), &read.question, &read.edns),
            (0, &message.question, &message.edns)
        );
        assert!(read.question.unwrap().name.has_case_of(&question.name));
    }
}

#[test]
fn it_is_appended_to_what_is_there() {
    let mut wire = Vec::new();
    Message::query(7, Question::new(name("a.test"), RecordType::A)).write(512, &mut wire);
    let mut both = vec![0, 24];
    assert_eq!(wire.len(), 24);
    Message::query(7, Question::new(name("a.test"), RecordType::A)).write(512, &mut both);
    assert_eq!(both, [&[0, 24][..], &wire].concat());
}

#[test]
fn negative_answers_are_kept_for_the_lower_of_two_times() {
    let (_, soa, _) = samples().swap_remove(8);
    let mut wire = header([1, 0, 1, 0]);
    wire.extend_from_slice(QUESTION);
    wire.extend(record(6, &soa));
    assert_eq!(Message::parse(&wire).unwrap().negative_ttl(), Some(5));
    assert_eq!(Message::parse(&answer(&[])).unwrap().negative_ttl(), None);
}
