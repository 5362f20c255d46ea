//! Datagrams of iperf3: headers are written as they were read, and no order of numbers makes counts that cannot be.

use std::time::Duration;

use sockeye_measure::iperf3::{DatagramCounter, DatagramHeader, Greeting, HEADER_LEN, HEADER_LEN_64};

pub(crate) fn run(data: &[u8]) {
    if let Some(greeting) = Greeting::parse(data) {
        assert_eq!(&greeting.as_bytes()[..], data);
        assert!(Greeting::is_answer(&greeting.answer()));
    }
    for (is_64, len) in [(false, HEADER_LEN), (true, HEADER_LEN_64)] {
        let mut counter = DatagramCounter::new();
        for (at, datagram) in data.chunks(len).enumerate() {
            let Some(header) = DatagramHeader::parse(datagram, is_64) else {
                assert!(datagram.len() < len);
                continue;
            };
            let mut written = vec![0; len];
            header.write(&mut written, is_64);
            // More than a million microseconds are carried over to the seconds.
            if header.sent_at.as_micros()
                == u128::from(seconds(datagram)) * 1_000_000 + u128::from(micros(datagram))
                && micros(datagram) < 1_000_000
            {
                assert_eq!(written, datagram);
            }
            counter.received(&header, Duration::from_micros(at as u64));
            let counts = counter.counts();
            assert!(counts.lost <= counts.highest);
            assert!(counts.out_of_order <= counts.received);
            let _ = counter.jitter();
        }
    }
}

fn seconds(datagram: &[u8]) -> u32 {
    u32::from_be_bytes(datagram[..4].try_into().expect("a header"))
}

fn micros(datagram: &[u8]) -> u32 {
    u32::from_be_bytes(datagram[4..8].try_into().expect("a header"))
}
