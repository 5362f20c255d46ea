//! IPv4: strict and lax agree, every walk ends, setters keep the checksum.

use sockeye_packet::{Ipv4, Ipv4Option};

pub(crate) fn run(data: &[u8]) {
    let Ok(lax) = Ipv4::lax(data) else {
        return assert!(Ipv4::new(data).is_err());
    };
    assert_eq!(Ipv4::new(data).err(), lax.stopped);
    let view = lax.view;
    assert!(view.header().len() + view.payload().len() <= data.len());
    assert!(view.options().count() <= 41);
    for option in view.options().flatten() {
        let _ = option.route().count();
        if let Ipv4Option::Timestamp(stamps) = option {
            let _ = stamps.entries().count();
        }
    }
    if lax.stopped.is_none() {
        let mut copy = data.to_vec();
        let mut view = Ipv4::new(copy.as_mut_slice()).unwrap();
        view.fill_checksum();
        view.set_ttl(data[1]);
        view.set_id(u16::from(data[2]));
        view.set_source([data[0], data[1], data[2], data[3]].into());
        assert!(view.checksum_ok());
    }
}
