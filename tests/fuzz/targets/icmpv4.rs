//! ICMPv4: messages, quotes and extensions of any length.

use sockeye_packet::Icmpv4;

pub(crate) fn run(data: &[u8]) {
    let Ok(message) = Icmpv4::new(data) else { return };
    let _ = (message.message(), message.checksum_ok());
    if let Some(Ok(quoted)) = message.quoted() {
        assert!(quoted.payload.len() < data.len());
        let _ = (quoted.transport(), quoted.ports(), quoted.pseudo());
    }
    if let Some(Ok(extensions)) = message.extensions() {
        assert!(extensions.count() <= data.len());
        for object in extensions.flatten() {
            let _ = object.labels().count();
        }
    }
}
