//! From the link layer to the IP packet in it.

use pcap_file::DataLink;

/// What a frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// An IP packet, so many bytes into the frame.
    Ip { at: usize, vlans: Vec<u16> },
    /// Something else, by its EtherType.
    Other { ethertype: u16, vlans: Vec<u16> },
    /// The frame ends inside the link layer: so many bytes were needed.
    Cut { required: usize },
    /// A link layer that is not decoded.
    Unknown { link_type: u32 },
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Tags of 802.1Q, 802.1ad, and the number that was used before the latter.
const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// More tags than these nobody sends.
const MAX_VLANS: usize = 8;

/// Looks into a frame.
pub(super) fn look(link: DataLink, frame: &[u8]) -> Inside {
    match link {
        DataLink::ETHERNET => ethertype(frame, 12),
        DataLink::LINUX_SLL => ethertype(frame, 14),
        DataLink::LINUX_SLL2 => match word(frame, 0) {
            Some(IPV4 | IPV6) => inside(frame, 20, Vec::new()),
            Some(other) => Inside::Other {
                ethertype: other,
                vlans: Vec::new(),
            },
            None => Inside::Cut { required: 20 },
        },
        // Four bytes of address family, in the order of whoever captured; the version nibble says the same.
        DataLink::NULL | DataLink::LOOP => match frame.get(4).map(|first| first >> 4) {
            Some(4 | 6) => inside(frame, 4, Vec::new()),
            Some(_) => Inside::Other {
                ethertype: 0,
                vlans: Vec::new(),
            },
            None => Inside::Cut { required: 5 },
        },
        // 12 and 14 are the raw types of BSD, and land in captures too.
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => inside(frame, 0, Vec::new()),
        other => match u32::from(other) {
            12 | 14 => inside(frame, 0, Vec::new()),
            link_type => Inside::Unknown { link_type },
        },
    }
}

/// What stands behind the link header and its tags; the whole frame where that is not known.
pub(super) fn behind_header(link: DataLink, frame: &[u8]) -> &[u8] {
    let at = match (look(link, frame), link) {
        (Inside::Ip { at, .. }, _) => at,
        (Inside::Other { vlans, .. }, DataLink::ETHERNET) => 14 + 4 * vlans.len(),
        (Inside::Other { vlans, .. }, DataLink::LINUX_SLL) => 16 + 4 * vlans.len(),
        (Inside::Other { .. }, DataLink::LINUX_SLL2) => 20,
        _ => 0,
    };
    frame.get(at..).unwrap_or(&[])
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    frame
        .get(at..)?
        .first_chunk()
        .map(|bytes| u16::from_be_bytes(*bytes))
}

fn inside(frame: &[u8], at: usize, vlans: Vec<u16>) -> Inside {
    if frame.len() <= at {
        Inside::Cut { required: at + 1 }
    } else {
        Inside::Ip { at, vlans }
    }
}

/// Follows an EtherType at `at` through VLAN tags.
fn ethertype(frame: &[u8], mut at: usize) -> Inside {
    let mut vlans = Vec::new();
    loop {
        match word(frame, at) {
            Some(IPV4 | IPV6) => return inside(frame, at + 2, vlans),
            Some(tag) if VLAN_TAGS.contains(&tag) && vlans.len() < MAX_VLANS => {
                let Some(control) = word(frame, at + 2) else {
                    return Inside::Cut { required: at + 4 };
                };
                vlans.push(control & 0xfff);
                at += 4;
            }
            Some(ethertype) => return Inside::Other { ethertype, vlans },
            None => return Inside::Cut { required: at + 2 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tags_before_ipv6() {
        let mut frame = [0; 23];
        frame[12..22].copy_from_slice(&[0x88, 0xa8, 0x20, 5, 0x81, 0, 0, 7, 0x86, 0xdd]);
        assert_eq!(
            look(DataLink::ETHERNET, &frame),
            Inside::Ip {
                at: 22,
                vlans: vec![5, 7]
            }
        );
        assert_eq!(
            look(DataLink::ETHERNET, &frame[..22]),
            Inside::Cut { required: 23 }
        );
        assert_eq!(
            look(DataLink::ETHERNET, &frame[..15]),
            Inside::Cut { required: 16 }
        );
    }

    #[test]
    fn other_link_layers() {
        assert_eq!(look(DataLink::RAW, &[0x45]), Inside::Ip { at: 0, vlans: vec![] });
        assert_eq!(
            look(DataLink::NULL, &[2, 0, 0, 0, 0x45]),
            Inside::Ip { at: 4, vlans: vec![] }
        );
        let mut cooked = [0; 17];
        cooked[14] = 8;
        assert_eq!(
            look(DataLink::LINUX_SLL, &cooked),
            Inside::Ip {
                at: 16,
                vlans: vec![]
            }
        );
        assert_eq!(
            look(DataLink::IEEE802_11, &[]),
            Inside::Unknown { link_type: 105 }
        );
        let mut arp = [0; 20];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(
            look(DataLink::ETHERNET, &arp),
            Inside::Other {
                ethertype: 0x0806,
                vlans: vec![]
            }
        );
    }
}
