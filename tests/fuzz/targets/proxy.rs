//! PROXY headers of either version: the same however they are cut, and what was read can be written and read again.

use sockeye_relay::proxy::{ParseOptions, Parsed, Tlv, Version, encode_v1, encode_v2, parse};

pub(crate) fn run(data: &[u8]) {
    let options = ParseOptions::default();
    let whole = parse(data, &options);
    for cut in 0..data.len().min(600) {
        match parse(&data[..cut], &options) {
            Parsed::Incomplete { needed } => assert!(needed > cut),
            decided => assert_eq!(decided, whole),
        }
    }
    let Parsed::Header { consumed, header } = whole else {
        return;
    };
    assert!(consumed <= data.len());
    let tlvs: Vec<Tlv<'_>> = header
        .tlvs()
        .filter(|tlv| !matches!(tlv, Tlv::Crc32c(_)))
        .collect();
    if let Some(ssl) = header.ssl() {
        let _ = (ssl.client(), ssl.verify(), ssl.is_tls());
    }
    let again = match header.version {
        Version::V1 => encode_v1(header.addresses.as_ref()),
        // Addresses of IPv4 in IPv6 form are written as IPv4, and that is all that may differ.
        Version::V2 => {
            encode_v2(header.addresses.as_ref(), &tlvs, header.is_checksummed()).expect("it was read")
        }
    };
    let Parsed::Header { header: read, .. } = parse(&again, &options) else {
        panic!("{}", again.escape_ascii());
    };
    assert_eq!(read.addresses.is_some(), header.addresses.is_some());
    assert_eq!(read.tlvs().count(), header.tlvs().count());
}
