//! Bytes as lines: an offset, eight groups of two bytes, and the characters, as tcpdump prints them behind a tab.

use std::fmt::Write as _;

use sockeye::link::capture::CapturedFrame;
use sockeye::packet::{LinkType, ethertype};

/// What stands behind the link header and its tags; the whole frame where the link is another one.
pub(super) fn behind_header(frame: &CapturedFrame) -> &[u8] {
    let data = &frame.data;
    let mut at = match LinkType::from_number(frame.link_type) {
        Some(LinkType::Ethernet) => 14,
        Some(LinkType::Cooked) => 16,
        Some(LinkType::Cooked2) => return data.get(20..).unwrap_or(&[]),
        Some(LinkType::Null | LinkType::Loop) => return data.get(4..).unwrap_or(&[]),
        _ => return data,
    };
    // A tag stands in the place of the type, and has the next type at its end.
    let kind = |at: usize| Some(u16::from_be_bytes(*data.get(at - 2..)?.first_chunk()?));
    while kind(at).is_some_and(ethertype::is_vlan) {
        at += 4;
    }
    data.get(at..).unwrap_or(&[])
}

/// Sixteen bytes a line.
pub(super) fn lines(bytes: &[u8], with_characters: bool) -> Vec<String> {
    let line = |(index, row): (usize, &[u8])| {
        let mut line = format!("        0x{:04x}: ", index * 16);
        for pair in row.chunks(2) {
            line.push(' ');
            for byte in pair {
                // Writing into a String cannot fail.
                let _ = write!(line, "{byte:02x}");
            }
        }
        if with_characters {
            // The characters begin where those of a full line do.
            let width = row.len() * 2 + row.len().div_ceil(2);
            line.push_str(&" ".repeat(40_usize.saturating_sub(width) + 2));
            line.extend(row.iter().map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            }));
        }
        line
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_tcpdump_prints_them() {
        // tcpdump 4.99 -X on the same bytes.
        let bytes = b"E\x00\x00\x1c\x00\x01\x00\x00@\x11|\xce\x7f\x00\x00\x01abc";
        assert_eq!(
            lines(bytes, true),
            [
                "        0x0000:  4500 001c 0001 0000 4011 7cce 7f00 0001  E.......@.|.....",
                "        0x0010:  6162 63                                  abc",
            ]
        );
        assert_eq!(lines(&bytes[..3], false), ["        0x0000:  4500 00"]);
        assert!(lines(&[], true).is_empty());
    }
}
