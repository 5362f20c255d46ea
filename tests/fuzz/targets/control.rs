//! Control messages and error-queue entries: whatever the bytes, they are read or passed over.

use sockeye_socket::QueueEntry;
use sockeye_socket::testing::{read_control, read_queue_entry};

pub(crate) fn run(data: &[u8]) {
    let (meta, segment_size) = read_control(data);
    // Nothing is made of nothing.
    if data.len() < 16 {
        assert_eq!((meta, segment_size), (sockeye_socket::Meta::NONE, None));
    }
    let destination = "192.0.2.1:9".parse().ok();
    if let QueueEntry::Error(error) = read_queue_entry(data, destination, data) {
        assert_eq!(error.destination, destination);
        assert!(data.starts_with(&error.quoted));
        assert!(
            error
                .offender
                .is_none_or(|offender| offender == offender.to_canonical())
        );
        assert_ne!(error.mtu, Some(0));
    }
}
