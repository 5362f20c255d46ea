//! What a frame service receives, and how a frame travels through the loop's one batch for messages: with what is known of it
//! in front of its bytes.

use std::time::{Duration, SystemTime};

use sockeye_socket::link::{ChecksumStatus, FrameMeta, IncomingFrame, LinkAddress, PacketType, VlanTag};

/// A received frame.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The frame as far as it fitted: with its link header, or without on a socket for
    /// [cooked](crate::FrameOptions::cooked) frames. It may be changed in place.
    pub data: &'a mut [u8],
    /// Its length on the link, which may be more.
    pub len: usize,
    /// What is known of it.
    pub meta: FrameMeta,
}

/// Bytes in front of a frame.
const HEADER: usize = 48;

const VLAN: u8 = 1;
const TIME: u8 = 2;
const AFTER_LOSS: u8 = 4;

/// Puts a frame with what is known of it into `to`, as a backend hands it to the loop in a batch of messages. What was in
/// `to` is gone.
pub fn pack(frame: &IncomingFrame<'_>, to: &mut Vec<u8>) {
    let FrameMeta {
        source,
        vlan,
        checksum,
        timestamp,
        after_loss,
        ..
    } = frame.meta;
    let since = timestamp.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let tag = vlan.unwrap_or(VlanTag {
        control: 0,
        protocol: 0,
    });
    let mut flags = if vlan.is_some() { VLAN } else { 0 };
    flags |= if since.is_some() { TIME } else { 0 };
    flags |= if after_loss { AFTER_LOSS } else { 0 };
    let since = since.unwrap_or_default();
    let hardware = source.hardware();

    to.clear();
    to.extend_from_slice(&(frame.len as u64).to_ne_bytes());
    to.extend_from_slice(&since.as_secs().to_ne_bytes());
    to.extend_from_slice(&since.subsec_nanos().to_ne_bytes());
    to.extend_from_slice(&source.interface.to_ne_bytes());
    for word in [source.protocol, source.hardware_type, tag.control, tag.protocol] {
        to.extend_from_slice(&word.to_ne_bytes());
    }
    to.push(flags);
    to.push(source.packet_type.number());
    to.push(match checksum {
        ChecksumStatus::Unknown => 0,
        ChecksumStatus::Valid => 1,
        ChecksumStatus::NotReady => 2,
    });
    to.push(u8::try_from(hardware.len()).unwrap_or(0));
    to.extend_from_slice(hardware);
    to.resize(HEADER, 0);
    to.extend_from_slice(frame.bytes);
}

/// The frame in what [`pack`] has made; `None` where bytes come from elsewhere.
pub(crate) fn unpack(message: &mut [u8]) -> Option<Frame<'_>> {
    let (header, data) = message.split_first_chunk_mut::<HEADER>()?;
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let long = |at: usize| Some(u64::from_ne_bytes(*header.get(at..)?.first_chunk()?));
    let middle = |at: usize| Some(u32::from_ne_bytes(*header.get(at..)?.first_chunk()?));
    let flags = header[32];
    let hardware = header.get(36..36 + usize::from(header[35]))?;
    let mut source = LinkAddress::new(middle(20)?, word(24)).with_hardware(hardware);
    source.hardware_type = word(26);
    source.packet_type = PacketType::of(header[33]);
    let mut meta = FrameMeta::new(source);
    meta.vlan = (flags & VLAN != 0).then_some(VlanTag {
        control: word(28),
        protocol: word(30),
    });
    meta.checksum = match header[34] {
        1 => ChecksumStatus::Valid,
        2 => ChecksumStatus::NotReady,
        _ => ChecksumStatus::Unknown,
    };
    let since = Duration::new(long(8)?, middle(16)?.min(999_999_999));
    meta.timestamp = (flags & TIME != 0)
        .then(|| SystemTime::UNIX_EPOCH.checked_add(since))
        .flatten();
    meta.after_loss = flags & AFTER_LOSS != 0;
    let len = usize::try_from(long(0)?).unwrap_or(usize::MAX);
    Some(Frame { data, len, meta })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_same_at_the_other_end() {
        let mut meta = FrameMeta::new(LinkAddress::new(7, 0x0806).with_hardware(&[1, 2, 3, 4, 5, 6]));
        let mut packed = Vec::new();
        for round in 0..2 {
            let mut incoming = IncomingFrame::new(b"bytes", meta);
            incoming.len = 9;
            pack(&incoming, &mut packed);
            let frame = unpack(&mut packed).unwrap();
            assert_eq!(
                (&*frame.data, frame.len, frame.meta),
                (&b"bytes"[..], 9, meta),
                "{round}"
            );
            meta.vlan = Some(VlanTag {
                control: 5,
                protocol: 0x8100,
            });
            meta.source.hardware_type = 1;
            meta.source.packet_type = PacketType::OtherHost;
            meta.checksum = ChecksumStatus::NotReady;
            meta.timestamp = Some(SystemTime::UNIX_EPOCH + Duration::new(5, 6));
            meta.after_loss = true;
        }
        assert!(unpack(&mut packed[..HEADER - 1]).is_none());
    }
}
