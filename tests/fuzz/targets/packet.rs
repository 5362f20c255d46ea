//! A whole packet: strict and lax agree, errors point inside or just behind the bytes.

use sockeye_packet::Packet;

pub(crate) fn run(data: &[u8]) {
    let Ok(lax) = Packet::lax(data) else {
        return assert!(Packet::new(data).is_err());
    };
    assert_eq!(Packet::new(data).err(), lax.stopped);
    if let Some(error) = lax.stopped {
        assert!(error.offset <= data.len(), "{error}");
    }
    let _ = (
        lax.view.transport_checksum(),
        lax.view.source(),
        lax.view.destination(),
    );
}
