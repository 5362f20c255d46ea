//! Headers as bytes: what is one, what is none, and where.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_event_loop::UnixName;

use super::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn read(bytes: &[u8]) -> Parsed {
    parse(bytes, &ParseOptions::default())
}

fn header(bytes: &[u8]) -> (usize, Header) {
    match read(bytes) {
        Parsed::Header { consumed, header } => (consumed, header),
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

fn fault(bytes: &[u8]) -> (usize, HeaderFault) {
    match read(bytes) {
        Parsed::Invalid(invalid) => (invalid.at, invalid.why),
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

/// Signature, command, family, and what follows with its true length.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &len[..], value].concat()
}

const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xc3, 0x50, 0x01, 0xbb];

fn four() -> Addresses {
    Addresses::ip(
        "192.0.2.1:50000".parse().unwrap(),
        "198.51.100.7:443".parse().unwrap(),
    )
}

/// What every prefix is, is told the same way: incomplete up to some byte, and from there on what the whole is.
fn is_the_same_however_it_is_cut(bytes: &[u8]) {
    let whole = read(bytes);
    let mut decided = false;
    for cut in 0..=bytes.len() {
        match read(&bytes[..cut]) {
            Parsed::Incomplete { needed } => {
                assert!(!decided, "undecided again at {cut}: {}", bytes.escape_ascii());
                assert!(needed > cut, "{needed} at {cut}: {}", bytes.escape_ascii());
                if let Parsed::Header { consumed, .. } = whole {
                    assert!(needed <= consumed, "waits for {needed} of {consumed}");
                }
            }
            other => {
                decided = true;
                assert_eq!(other, whole, "at {cut}: {}", bytes.escape_ascii());
            }
        }
    }
}

#[test]
fn the_lines_of_the_specification() {
    // Section 2.1: the longest of each.
    let four = b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
    let six = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let unknown = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let (all4, all6) = (Ipv4Addr::BROADCAST, Ipv6Addr::from([0xff; 16]));
    for (line, ip, len) in [
        (&four[..], Some(all4.into()), 56),
        (&six[..], Some(all6.into()), 104),
        (&unknown[..], None, 107),
        (&b"PROXY UNKNOWN\r\n"[..], None, 15),
    ] {
        let (consumed, header) = header(&[line, b"GET"].concat());
        assert_eq!((consumed, line.len()), (len, len));
        let at = ip.map(|ip| SocketAddr::new(ip, 65535));
        assert_eq!(header.addresses, at.map(|at| Addresses::ip(at, at)));
        assert_eq!((header.version, header.tlvs().count()), (Version::V1, 0));
        is_the_same_however_it_is_cut(line);
    }
}

#[test]
fn what_is_no_line_says_where() {
    use HeaderFault as F;
    for (line, at, why) in [
        ("GET / HTTP/1.1\r\n", 0, F::NoHeader),
        ("PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n", 5, F::NoHeader),
        ("PROXY\r\n", 5, F::NoHeader),
        ("PROXY \r\n", 6, F::Protocol),
        ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", 6, F::Protocol),
        ("PROXY UNKNOWNS\r\n", 6, F::Protocol),
        ("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", 11, F::Address),
        ("PROXY TCP4 ::1 1.2.3.4 1 2\r\n", 11, F::Address),
        ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", 19, F::Address),
        ("PROXY TCP4 1.2.3.4 01.2.3.4 1 2\r\n", 19, F::Address),
        ("PROXY TCP6 ::1 fe80::1%eth0 1 2\r\n", 15, F::Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", 27, F::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", 27, F::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 +2\r\n", 29, F::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", 28, F::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", 31, F::Excess),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", 31, F::Excess),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", 30, F::LineEnd),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX", 31, F::LineEnd),
    ] {
        assert_eq!(fault(line.as_bytes()), (at, why), "{line:?}");
        is_the_same_however_it_is_cut(line.as_bytes());
    }
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 500]].concat();
    assert_eq!(fault(&endless), (107, F::TooLong(107)));
    is_the_same_however_it_is_cut(&endless);
    // One byte more than fits.
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 92], b"\r\n".to_vec()].concat();
    assert_eq!((long.len(), fault(&long)), (108, (107, F::TooLong(107))));
    is_the_same_however_it_is_cut(&long);
}

#[test]
fn the_port_that_a_cut_leaves_out_is_incomplete_and_not_wrong() {
    // ppp 2.3 says invalid here.
    assert!(matches!(
        read(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 "),
        Parsed::Incomplete { .. }
    ));
}

#[test]
fn addresses_of_every_family_in_version_2() {
    let six = [
        &[0x20, 1, 0xd, 0xb8][..],
        &[0; 11],
        &[1],
        &[0; 15],
        &[1],
        &[0, 80, 0, 81],
    ]
    .concat();
    let mut unix = [0; 216];
    unix[..9].copy_from_slice(b"/run/a.so");
    unix[108..112].copy_from_slice(b"\0abs");
    let (source, destination) = (
        UnixName::from_path(b"/run/a.so").unwrap(),
        UnixName::from_abstract_name(b"abs").unwrap(),
    );
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    for (family, bytes, expected) in [
        (0x11, &FOUR[..], Some(four())),
        (
            0x12,
            &FOUR,
            Some(Addresses::Ip {
                source: at("192.0.2.1:50000"),
                destination: at("198.51.100.7:443"),
                transport: Transport::Datagram,
            }),
        ),
        (
            0x21,
            &six,
            Some(Addresses::ip(at("[2001:db8::1]:80"), at("[::1]:81"))),
        ),
        (
            0x31,
            &unix,
            Some(Addresses::Unix {
                source,
                destination,
                transport: Transport::Stream,
            }),
        ),
        (0x00, &[], None),
    ] {
        let bytes = v2(0x21, family, &[bytes, &tlv(0x05, b"id")].concat());
        let (consumed, header) = header(&[&bytes[..], b"rest"].concat());
        assert_eq!((consumed, header.addresses), (bytes.len(), expected));
        assert_eq!(
            (header.version, header.unique_id()),
            (Version::V2, Some(&b"id"[..]))
        );
        is_the_same_however_it_is_cut(&bytes);
    }
}

#[test]
fn a_relay_that_speaks_for_itself_may_say_anything_about_addresses() {
    for (family, rest) in [
        (0, &[][..]),
        (0x11, &FOUR),
        (0x11, &[1]),
        (0x77, b"whatever"),
        (0x01, &[]),
    ] {
        let bytes = v2(0x20, family, rest);
        assert_eq!(
            header(&bytes),
            (
                bytes.len(),
                Header {
                    addresses: None,
                    ..header(&bytes).1
                }
            )
        );
        is_the_same_however_it_is_cut(&bytes);
    }
}

#[test]
fn what_is_no_header_of_version_2_says_where() {
    use HeaderFault as F;
    let with = |rest: &[u8]| v2(0x21, 0x11, &[&FOUR, rest].concat());
    for (bytes, at, why) in [
        (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), 10, F::NoHeader),
        (v2(0x11, 0x11, &FOUR), 12, F::Version),
        (v2(0x22, 0x11, &FOUR), 12, F::Command),
        (v2(0x21, 0x13, &FOUR), 13, F::Family),
        (v2(0x21, 0x41, &FOUR), 13, F::Family),
        (v2(0x21, 0x10, &FOUR), 13, F::Family),
        (v2(0x21, 0x01, &FOUR), 13, F::Family),
        (v2(0x21, 0x11, &FOUR[..11]), 14, F::Length),
        (v2(0x21, 0x21, &FOUR), 14, F::Length),
        (v2(0x21, 0x31, &FOUR), 14, F::Length),
        (v2(0x21, 0x11, &[0; 4081]), 14, F::TooLong(4096)),
        (with(&[5]), 28, F::Tlv(TlvError::Truncated)),
        (with(&[5, 0, 2, 1]), 28, F::Tlv(TlvError::Truncated)),
        (
            with(&[&tlv(4, b"x")[..], &[5, 0xff, 0xff]].concat()),
            32,
            F::Tlv(TlvError::Truncated),
        ),
        (with(&tlv(3, &[1, 2, 3])), 28, F::Tlv(TlvError::Length)),
        (with(&tlv(5, &[0; 129])), 28, F::Tlv(TlvError::Length)),
        (with(&tlv(2, &[0xff])), 28, F::Tlv(TlvError::Text)),
        (with(&tlv(0x20, &[0; 4])), 28, F::Tlv(TlvError::Length)),
        (
            with(&tlv(0x20, &[0, 0, 0, 0, 0, 0x21, 0, 9])),
            28,
            F::Tlv(TlvError::Truncated),
        ),
        (with(&tlv(3, &[1, 2, 3, 4])), 31, F::Checksum),
    ] {
        assert_eq!(fault(&bytes), (at, why), "{}", bytes.escape_ascii());
        is_the_same_however_it_is_cut(&bytes);
    }
    // A length that is not there yet is waited for, and no further than the bound.
    let mut lie = v2(0x21, 0x11, &FOUR);
    lie[14..16].copy_from_slice(&4000_u16.to_be_bytes());
    assert_eq!(read(&lie), Parsed::Incomplete { needed: 4016 });
}

/// CRC-32C bit by bit (RFC 3720, section B.4), for what a table must not get wrong.
fn crc32c_by_bits(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 * (sum & 1))
        })
    })
}

#[test]
fn a_header_with_everything_in_it() {
    assert_eq!(crc32c_by_bits(b"123456789"), 0xe306_9283);
    let mut bytes = [
        v2(0x21, 0x11, &[127, 0, 0, 1, 192, 168, 0, 1, 48, 57, 1, 187])[..14].to_vec(),
        vec![0, 104, 127, 0, 0, 1, 192, 168, 0, 1, 48, 57, 1, 187],
        tlv(3, &[0; 4]),
        tlv(5, b"1234"),
        tlv(
            0x20,
            &[
                vec![7, 0, 0, 0, 0],
                tlv(0x21, b"TLSv1.3"),
                tlv(0x22, b"localhost"),
                tlv(0x25, b"RSA4096"),
                tlv(0x24, b"RSA-SHA256"),
                tlv(0x23, b"TLS_AES_256_GCM_SHA384"),
            ]
            .concat(),
        ),
    ]
    .concat();
    let sum = crc32c_by_bits(&bytes);
    bytes[31..35].copy_from_slice(&sum.to_be_bytes());
    let (consumed, header) = header(&bytes);
    assert_eq!((consumed, header.is_checksummed()), (120, true));
    assert_eq!(header.unique_id(), Some(&b"1234"[..]));
    let ssl = header.ssl().unwrap();
    assert_eq!((ssl.client(), ssl.is_tls(), ssl.verify()), (7, true, 0));
    let all = [
        (SslField::Version, "TLSv1.3"),
        (SslField::CommonName, "localhost"),
        (SslField::KeyAlgorithm, "RSA4096"),
        (SslField::SignatureAlgorithm, "RSA-SHA256"),
        (SslField::Cipher, "TLS_AES_256_GCM_SHA384"),
    ];
    for (field, text) in all {
        assert_eq!(ssl.field(field), Some(text));
    }
    let value = Ssl::encode(7, 0, &all).unwrap();
    assert_eq!(Ssl::parse(&value), Ok(ssl));
    is_the_same_however_it_is_cut(&bytes);
    for at in 16..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        assert!(matches!(read(&wrong), Parsed::Invalid(_)), "a wrong byte at {at}");
    }
}

#[test]
fn what_is_written_is_what_the_specification_shows() {
    assert_eq!(encode_v1(None), b"PROXY UNKNOWN\r\n");
    assert_eq!(
        encode_v1(Some(&four())),
        b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 443\r\n"
    );
    let mixed = Addresses::ip(
        "[::ffff:1.2.3.4]:1".parse().unwrap(),
        "[fe80::1%3]:2".parse().unwrap(),
    );
    assert_eq!(
        encode_v1(Some(&mixed)),
        b"PROXY TCP6 ::ffff:1.2.3.4 fe80::1 1 2\r\n"
    );
    let mapped = Addresses::ip(
        "[::ffff:1.2.3.4]:1".parse().unwrap(),
        "1.2.3.5:2".parse().unwrap(),
    );
    assert_eq!(encode_v1(Some(&mapped)), b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n");
    assert_eq!(
        encode_v2(Some(&four()), &[], false).unwrap(),
        v2(0x21, 0x11, &FOUR)
    );
    assert_eq!(encode_v2(None, &[], false).unwrap(), v2(0x20, 0, &[]));
    let huge = vec![0; 65_535];
    let other = Tlv::Other {
        kind: 0xe0,
        value: &huge,
    };
    assert_eq!(encode_v2(None, &[other], false), Err(EncodeError::TooLong));
}

mod generated {
    use super::*;

    fn tlvs() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        let text = |kind| "[a-z.]{0,40}".prop_map(move |text| (kind, text.into_bytes()));
        let one = prop_oneof![
            (
                prop_oneof![Just(1_u8), Just(4), Just(5), Just(0xe3)],
                vec(any::<u8>(), 0..100)
            ),
            text(2),
            text(0x30),
            (any::<u8>(), any::<u32>(), "[a-z]{0,20}").prop_map(|(client, verify, text)| {
                (
                    0x20,
                    Ssl::encode(client, verify, &[(SslField::Cipher, &text)]).unwrap(),
                )
            }),
        ];
        vec(one, 0..6)
    }

    fn addresses() -> impl Strategy<Value = Option<Addresses>> {
        let name = prop_oneof![
            Just(UnixName::UNNAMED),
            "/[a-z]{0,100}".prop_map(|path| UnixName::from_path(path.as_bytes()).unwrap()),
            "[a-z]{1,107}".prop_map(|name| UnixName::from_abstract_name(name.as_bytes()).unwrap()),
        ];
        let unix = (name.clone(), name).prop_map(|(source, destination)| Addresses::Unix {
            source,
            destination,
            transport: Transport::Stream,
        });
        let ip = any::<(SocketAddr, SocketAddr)>().prop_map(|(one, other)| Addresses::ip(one, other));
        prop_oneof![Just(None), ip.prop_map(Some), unix.prop_map(Some)]
    }

    /// Bytes that get further than the first: parts of headers in any order, some of them whole.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(SIGNATURE.to_vec()),
            Just(b"PROXY ".to_vec()),
            Just(b"TCP4 1.2.3.4 5.6.7.8 1 ".to_vec()),
            Just(b"UNKNOWN".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(vec![0x21, 0x11, 0, 20]),
            Just(vec![0x20, 0x31, 0, 3]),
            Just(FOUR.to_vec()),
            vec(any::<u8>(), 0..6),
        ];
        vec(part, 0..7).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn prop_what_was_written_is_read(addresses in addresses(), tlvs in tlvs(), checksum: bool, rest in vec(any::<u8>(), 0..20)) {
            let values: Vec<Tlv<'_>> = tlvs.iter().map(|(kind, value)| Tlv::read(*kind, value).unwrap()).collect();
            let mut bytes = encode_v2(addresses.as_ref(), &values, checksum).unwrap();
            let len = bytes.len();
            is_the_same_however_it_is_cut(&bytes);
            bytes.extend_from_slice(&rest);
            let (consumed, header) = header(&bytes);
            prop_assert_eq!((consumed, header.addresses, header.is_checksummed()), (len, addresses, checksum));
            let back: Vec<_> = header.tlvs().filter(|tlv| !matches!(tlv, Tlv::Crc32c(_))).collect();
            prop_assert_eq!(back, values);
        }

        #[test]
        fn prop_a_line_that_was_written_is_read(addresses in addresses(), rest in vec(any::<u8>(), 0..20)) {
            let mut bytes = encode_v1(addresses.as_ref());
            let len = bytes.len();
            is_the_same_however_it_is_cut(&bytes);
            bytes.extend_from_slice(&rest);
            let (consumed, header) = header(&bytes);
            let expected = addresses.filter(|addresses| matches!(addresses, Addresses::Ip { .. }));
            prop_assert_eq!((consumed, header.addresses), (len, expected));
        }

        #[test]
        fn prop_any_bytes_are_the_same_however_they_are_cut(bytes in prop_oneof![vec(any::<u8>(), 0..200), nearly()]) {
            is_the_same_however_it_is_cut(&bytes);
        }

        #[test]
        fn prop_a_header_with_a_wrong_byte_is_read_or_refused(tlvs in tlvs(), at: proptest::sample::Index, byte: u8) {
            let values: Vec<Tlv<'_>> = tlvs.iter().map(|(kind, value)| Tlv::read(*kind, value).unwrap()).collect();
            let mut bytes = encode_v2(Some(&four()), &values, true).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            is_the_same_however_it_is_cut(&bytes);
        }
    }
}
