//! A capture, pcap or pcapng: frames come out of bytes that are there, and there is an end.

use sockeye_link::capture::Reader;

pub(crate) fn run(data: &[u8]) {
    let Ok(mut reader) = Reader::new(data) else {
        return;
    };
    let mut taken = 0;
    while let Ok(Some(frame)) = reader.next_frame() {
        // Each frame has a header of some bytes at least.
        taken += frame.data.len() + 8;
        assert!(taken <= data.len(), "{frame:?}");
    }
}
