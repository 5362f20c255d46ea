//! UDP and UDP-Lite: strict and lax agree, ports change without breaking the checksum.

use sockeye_packet::{ChecksumStatus, Pseudo, Udp, UdpLite};

pub(crate) fn run(data: &[u8]) {
    let under = Pseudo::V4 {
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
    };
    if let Ok(view) = UdpLite::new(data) {
        let _ = (view.checksum_status(under), view.payload());
    }
    let Ok(lax) = Udp::lax(data) else {
        return assert!(Udp::new(data).is_err());
    };
    assert_eq!(Udp::new(data).err(), lax.stopped);
    assert!(lax.view.payload().len() + 8 <= data.len());
    if lax.stopped.is_none() {
        let mut copy = data.to_vec();
        let mut view = Udp::new(copy.as_mut_slice()).unwrap();
        view.fill_checksum(under);
        view.set_source_port(u16::from(data[0]));
        view.set_destination_port(u16::from(data[1]));
        assert_eq!(view.checksum_status(under), ChecksumStatus::Valid);
    }
}
