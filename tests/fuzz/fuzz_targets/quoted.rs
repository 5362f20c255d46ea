//! The quote of an ICMP error, of either family.
#![no_main]

use libfuzzer_sys::fuzz_target;

use sockeye_packet::Quoted;

fuzz_target!(|data: &[u8]| {
    for quoted in [Quoted::v4(data), Quoted::v6(data)].into_iter().flatten() {
        assert!(quoted.payload.len() <= data.len());
        let _ = (quoted.transport(), quoted.ports());
    }
});
