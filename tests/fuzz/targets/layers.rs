//! A frame of any link type: headers lie one behind the other, faults point inside or just behind the bytes, and there is an end.

use sockeye_packet::{Found, Header, Layers, LinkType, MAX_LAYERS};

pub(crate) fn run(data: &[u8]) {
    let Some((link, frame)) = data.split_first() else {
        return;
    };
    let link = LinkType::ALL[usize::from(*link) % LinkType::ALL.len()];
    let (mut last, mut count) = (0, 0);
    for Found {
        offset,
        header,
        fault,
    } in Layers::new(link, frame)
    {
        assert!(offset >= last && offset <= frame.len(), "{link:?}");
        last = offset;
        count += 1;
        if let Some(fault) = fault {
            // A header length that lies may point further than the bytes go, but not its field.
            assert!(fault.offset <= frame.len() + 4, "{fault}");
        }
        touch(&header);
    }
    assert!(count <= MAX_LAYERS + 1);
}

/// Reads what each header has to say.
fn touch(header: &Header<'_>) {
    match header {
        Header::Arp(arp) => {
            let _ = (arp.sender(), arp.target(), arp.target_protocol().len());
        }
        Header::Mpls(mpls) => assert!(mpls.labels().count() * 4 <= mpls.bytes().len()),
        Header::Radiotap(radio) => {
            let _ = (radio.channel_mhz(), radio.signal_dbm(), radio.payload().len());
        }
        Header::Wifi(wifi) => {
            let _ = (wifi.source(), wifi.destination(), wifi.payload().len());
        }
        Header::Gre(gre) => {
            let _ = (
                gre.key(),
                gre.sequence(),
                gre.acknowledgment(),
                gre.checksum_status(),
            );
        }
        Header::Geneve(geneve) => assert!(geneve.options().count() <= 64),
        Header::Packet(packet) => {
            let _ = packet.transport_checksum();
        }
        _ => {}
    }
}
