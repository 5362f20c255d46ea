//! Datagrams that services answer to: most UDP services are silent unless they are spoken to in their own protocol.

/// A harmless question to the service that usually has a UDP port; empty where none is known. Every one of them reads
/// something and changes nothing.
#[must_use]
pub const fn payload(port: u16) -> &'static [u8] {
    match port {
        // A question for the name servers of the root (RFC 1035, section 4.1), without recursion.
        53 => b"\x5e\x01\0\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01",
        // The same as a legacy multicast query, for the services of the host (RFC 6763, section 9).
        5353 => {
            b"\0\0\0\0\0\x01\0\0\0\0\0\0\x09_services\x07_dns-sd\x04_udp\x05local\0\0\x0c\0\x01"
        }
        // Reading a file that is not there (RFC 1350, section 5). The answer comes from another port, or is an error.
        69 => b"\0\x01sockeye-scan\0octet\0",
        // NULLPROC of the port mapper (RFC 5531, section 9; RFC 1833, section 3).
        111 => {
            b"\x5e\x01\x5e\x01\0\0\0\0\0\0\0\x02\0\x01\x86\xa0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        }
        // A client's request, version 4 (RFC 5905, section 7.3).
        123 => {
            b"\xe3\0\x04\xfa\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xc5\x4f\x23\x4b\x71\xb1\x52\xf3"
        }
        // The status of the node (RFC 1002, section 4.2.17).
        137 => {
            b"\x5e\x01\0\0\0\x01\0\0\0\0\0\0\x20CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0\0\x21\0\x01"
        }
        // Discovery of the engine: an empty GET of SNMPv3, reportable, without any name of a user (RFC 3414, section 4).
        161 => {
            b"\x30\x3a\x02\x01\x03\x30\x0f\x02\x02\x4a\x69\x02\x03\0\xff\xe3\x04\x01\x04\x02\x01\x03\x04\x10\x30\x0e\x04\0\x02\x01\0\x02\x01\0\x04\0\x04\0\x04\0\x30\x12\x04\0\x04\0\xa0\x0c\x02\x02\x37\xf0\x02\x01\0\x02\x01\0\x30\0"
        }
        // A search of a device (UPnP Device Architecture 1.1, section 1.3.2).
        1900 => {
            b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n"
        }
        // A binding request (RFC 8489, section 5).
        3478 => b"\0\x01\0\0\x21\x12\xa4\x42sockeye-scan",
        // OPTIONS (RFC 3261, section 11).
        5060 => {
            b"OPTIONS sip:scan@localhost SIP/2.0\r\nVia: SIP/2.0/UDP localhost;branch=z9hG4bKscan;rport\r\nFrom: <sip:scan@localhost>;tag=scan\r\nTo: <sip:scan@localhost>\r\nCall-ID: scan@localhost\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        }
        // A confirmable GET of /.well-known/core (RFC 7252, section 3; RFC 6690, section 4).
        5683 => b"\x40\x01\x5e\x01\xbb.well-known\x04core",
        // `version` in a UDP frame (memcached, doc/protocol.txt, "UDP protocol").
        11211 => b"\0\x01\0\0\0\x01\0\0version\r\n",
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_lengths_of_their_protocols() {
        assert_eq!(payload(53).len(), 12 + 5);
        assert_eq!(payload(111).len(), 40);
        assert_eq!(payload(123).len(), 48);
        assert_eq!(payload(137).len(), 12 + 34 + 4);
        assert_eq!(payload(161).len(), 2 + 0x3a);
        assert_eq!(payload(3478).len(), 20);
        assert_eq!(payload(9), b"");
    }
}
