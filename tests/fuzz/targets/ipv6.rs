//! IPv6 and its extension headers: strict and lax agree, chains end, everything stays inside the bytes.

use sockeye_packet::{Extension, ExtensionHeaders, Ipv6, MAX_EXTENSION_HEADERS};

pub(crate) fn run(data: &[u8]) {
    let Ok(lax) = Ipv6::lax(data) else {
        return assert!(Ipv6::new(data).is_err());
    };
    assert_eq!(Ipv6::new(data).err(), lax.stopped);
    let view = lax.view;
    assert!(view.payload().len() + 40 <= data.len());
    let _ = (view.jumbo_len(), view.pseudo());
    let mut end = 0;
    let walk = ExtensionHeaders::new(view.next_header(), view.payload());
    assert!(walk.count() <= MAX_EXTENSION_HEADERS + 1);
    for header in walk.flatten() {
        assert_eq!(header.offset, end);
        end = header.offset + header.len;
        match header.extension {
            Extension::HopByHop(options) | Extension::DestinationOptions(options) => {
                assert!(options.count() <= header.len);
            }
            Extension::Routing(routing) => {
                let _ = (routing.addresses().count(), routing.final_destination());
            }
            _ => {}
        }
    }
    if let Ok(upper) = view.upper_layer() {
        assert_eq!(upper.offset, end);
        assert_eq!(upper.offset + upper.payload.len(), view.payload().len());
    }
}
