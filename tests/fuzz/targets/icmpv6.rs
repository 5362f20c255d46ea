//! ICMPv6: messages, quotes and extensions of any length.

use sockeye_packet::Icmpv6;
use sockeye_packet::{Icmpv6Message, Pseudo};

pub(crate) fn run(data: &[u8]) {
    let Ok(message) = Icmpv6::new(data) else { return };
    match message.message() {
        Icmpv6Message::MldReportV2 { records } => assert!(records.count() <= data.len()),
        Icmpv6Message::RouterSolicitation { options }
        | Icmpv6Message::RouterAdvertisement { options, .. }
        | Icmpv6Message::NeighbourSolicitation { options, .. }
        | Icmpv6Message::NeighbourAdvertisement { options, .. }
        | Icmpv6Message::Redirect { options, .. } => assert!(options.count() <= data.len()),
        _ => {}
    }
    let _ = message.checksum_status(Pseudo::None);
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
