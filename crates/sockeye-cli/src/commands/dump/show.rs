//! A packet that has just passed, as a line for people: the time as tcpdump prints it, then where and whereto.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use sockeye::link::{IncomingFrame, PacketType};
use sockeye::socket::os;

/// Hours, minutes, seconds and microseconds of local time.
pub(super) fn time(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let offset = os::utc_offset_s(i64::try_from(seconds).unwrap_or(0));
    let of_day = seconds.saturating_add_signed(i64::from(offset)) % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!(
        "{hour:02}:{minute:02}:{second:02}.{:06}",
        since_1970.subsec_micros()
    )
}

/// Whom it was for, in tcpdump's words for `-i any`.
pub(super) const fn way(kind: PacketType) -> &'static str {
    match kind {
        PacketType::Host => "In",
        PacketType::Broadcast => "B",
        PacketType::Multicast => "M",
        PacketType::OtherHost => "P",
        PacketType::Outgoing => "Out",
        _ => "?",
    }
}

/// The link header: of Ethernet who to whom, of others the sender.
pub(super) fn link_header(frame: &IncomingFrame<'_>, is_ethernet: bool) -> String {
    let protocol = frame.meta.source.protocol;
    let name = match protocol {
        0x0800 => "IPv4",
        0x0806 => "ARP",
        0x86dd => "IPv6",
        0x88cc => "LLDP",
        _ => "Unknown",
    };
    let mut text = match (is_ethernet, frame.bytes.get(..6), frame.bytes.get(6..12)) {
        (true, Some(to), Some(from)) => format!(" {} > {},", hardware(from), hardware(to)),
        _ => format!(" {}", hardware(frame.meta.source.hardware())),
    };
    if let Some(tag) = frame.meta.vlan {
        // Writing into a String cannot fail.
        let _ = write!(text, " vlan {}, p {},", tag.id(), tag.priority());
    }
    let tag_len = if is_ethernet && frame.meta.vlan.is_some() {
        4
    } else {
        0
    };
    let _ = write!(
        text,
        " ethertype {name} (0x{protocol:04x}), length {}:",
        frame.len + tag_len
    );
    text
}

fn hardware(address: &[u8]) -> String {
    let bytes: Vec<_> = address.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// What `-v` adds: the fields of the IP header that the line does not have.
pub(super) fn detail(event: &Value) -> String {
    let network = &event["network"];
    if network.is_null() {
        return String::new();
    }
    let field = |name: &str, value: &Value| (!value.is_null()).then(|| format!("{name} {value}"));
    let fields = [
        field("ttl", &network["ttl"]),
        field("id", &network["fragment"]["id"]),
        field("proto", &network["protocol"]),
        field("length", &network["total_len"]),
    ];
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    format!(" ({})", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use sockeye::link::{FrameMeta, LinkAddress};

    use super::*;

    #[test]
    fn a_time_of_day_has_microseconds() {
        // Whatever the zone, the minutes of most are those of UTC, and all have these digits.
        let text = time(Duration::new(1_700_000_000, 123_456_789));
        assert_eq!(text.len(), "22:13:20.123456".len());
        assert!(text.ends_with(":20.123456"), "{text}");
    }

    #[test]
    fn a_link_header_says_who_to_whom() {
        let bytes = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45];
        let meta = FrameMeta::new(LinkAddress::new(1, 0x0800).with_hardware(&bytes[6..12]));
        let frame = IncomingFrame::new(&bytes, meta);
        assert_eq!(
            link_header(&frame, true),
            " 02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 15:"
        );
        assert_eq!(
            link_header(&frame, false),
            " 02:00:00:00:00:01 ethertype IPv4 (0x0800), length 15:"
        );
    }
}
