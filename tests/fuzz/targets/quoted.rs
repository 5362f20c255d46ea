//! The quote of an ICMP error, of either family.

use sockeye_packet::Quoted;

pub(crate) fn run(data: &[u8]) {
    for quoted in [Quoted::v4(data), Quoted::v6(data)].into_iter().flatten() {
        assert!(quoted.payload.len() <= data.len());
        let _ = (quoted.transport(), quoted.ports());
    }
}
