//! TCP: strict and lax agree, options end, setters keep the checksum.

use sockeye_packet::{ChecksumStatus, Pseudo, Tcp, TcpFlags};

pub(crate) fn run(data: &[u8]) {
    let under = Pseudo::V4 {
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
    };
    let Ok(lax) = Tcp::lax(data) else {
        return assert!(Tcp::new(data).is_err());
    };
    assert_eq!(Tcp::new(data).err(), lax.stopped);
    assert!(lax.view.options().count() <= 41);
    for option in lax.view.options().flatten() {
        let _ = option.sack_blocks().count();
    }
    let mut copy = data.to_vec();
    let mut view = Tcp::lax(copy.as_mut_slice()).unwrap().view;
    view.fill_checksum(under);
    view.set_sequence(7);
    view.set_flags(TcpFlags::from_bits(u16::from(data[0])));
    view.set_window(u16::from(data[1]));
    assert_eq!(view.checksum_status(under), ChecksumStatus::Valid);
}
