//! The hosts file: each pair of a name and an address is found from both ends, whatever the bytes.

use sockeye_resolver::AddressFamily;
use sockeye_resolver::files::Hosts;

pub(crate) fn run(data: &[u8]) {
    let hosts = Hosts::parse(data, |name| u32::try_from(name.len()).ok());
    assert!(hosts.len() <= data.len());
    let words = data.split(|byte| !byte.is_ascii_graphic() || *byte == b'#');
    for name in words.filter_map(|word| str::from_utf8(word).ok()).take(64) {
        let mut found = 0;
        for family in [AddressFamily::V4, AddressFamily::V6] {
            for address in hosts.addresses(name, family) {
                assert_eq!(address.is_ipv4(), family == AddressFamily::V4);
                let name = name.strip_suffix('.').unwrap_or(name);
                assert!(
                    hosts
                        .names(address.ip())
                        .any(|other| other.eq_ignore_ascii_case(name))
                );
                found += 1;
            }
        }
        assert_eq!(hosts.contains(name), found > 0);
        assert!(found <= hosts.len());
    }
}
