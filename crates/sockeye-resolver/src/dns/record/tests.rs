//! Records as text.

use std::net::Ipv6Addr;

use super::{Binding, Record, RecordData, RecordType, RecordTypeError};
use crate::dns::name::Name;

#[test]
fn types_are_named_and_numbered() {
    for (number, name) in RecordType::NAMED {
        assert_eq!(number.to_string(), *name);
        assert_eq!(name.to_lowercase().parse(), Ok(*number));
        assert_eq!(format!("type{}", number.0).parse(), Ok(*number));
    }
    for text in [
        "",
        "TYPE",
        "TYPE65536",
        "TYPE-1",
        "TYPE+1",
        "NOPE",
        "TYPE 1",
        "ü",
        "typü1",
    ] {
        assert_eq!(text.parse::<RecordType>(), Err(RecordTypeError), "{text}");
    }
}

#[test]
fn what_a_stranger_wrote_prints_as_ascii() {
    let records = [
        RecordData::Txt(vec![b"\x1b[2J\"\\"[..].into(), Box::new([])]),
        RecordData::Caa {
            flags: 128,
            tag: b"is\x07sue"[..].into(),
            value: b"\xff"[..].into(),
        },
        RecordData::Other {
            record_type: RecordType(65_400),
            data: Box::new([0x1b]),
        },
        RecordData::Https(Box::new(Binding {
            priority: 1,
            target: Name::root(),
            parameters: vec![
                (1, b"\x02h2\x02\x1b["[..].into()),
                (3, Box::new([1])),
                (9, b"\x1b"[..].into()),
            ],
        })),
    ];
    for data in records {
        let text = data.to_string();
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
    }
}

#[test]
fn bindings_print_as_in_zone_files() {
    let binding = Binding {
        priority: 1,
        target: "svc.example.test".parse().unwrap(),
        parameters: vec![
            (1, b"\x02h2\x02h3"[..].into()),
            (2, Box::new([])),
            (3, Box::new([0x20, 0xfb])),
            (4, Box::new([192, 0, 2, 1, 192, 0, 2, 2])),
            (6, Ipv6Addr::LOCALHOST.octets().into()),
            (7, b"/q{?dns}"[..].into()),
            (65_000, b"x"[..].into()),
        ],
    };
    assert_eq!(
        binding.to_string(),
        "1 svc.example.test. alpn=h2,h3 no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=::1 \
         dohpath=\"/q{?dns}\" key65000=\"x\""
    );
}

#[test]
fn records_print_as_lines_of_a_zone() {
    let record = Record::new(
        "example.test".parse().unwrap(),
        300,
        RecordData::Mx {
            preference: 10,
            exchange: "mx.example.test".parse().unwrap(),
        },
    );
    assert_eq!(record.to_string(), "example.test. 300 IN MX 10 mx.example.test.");
}
