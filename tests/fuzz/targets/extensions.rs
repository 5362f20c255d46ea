//! ICMP extensions (RFC 4884, 4950, 5837) at any offset of any message.

use sockeye_packet::IcmpExtensions;

pub(crate) fn run(data: &[u8]) {
    let Some((&offset, message)) = data.split_first() else {
        return;
    };
    let Ok(extensions) = IcmpExtensions::at(message, offset.into()) else {
        return;
    };
    let _ = (extensions.stored_checksum(), extensions.checksum_ok());
    let objects: Vec<_> = extensions.flatten().collect();
    assert!(objects.len() <= message.len() / 4);
    for object in &objects {
        assert!(object.labels().count() <= message.len() / 4);
    }
}
