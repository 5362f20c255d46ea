//! Messages of sockperf: what is read is written back, and an answer is never answered.

use sockeye_measure::sockperf::{HEADER_LEN, Header, MAX_LEN};

pub(crate) fn run(data: &[u8]) {
    match Header::parse(data) {
        Ok(None) => assert!(data.len() < HEADER_LEN),
        Err(error) => {
            assert!(usize::try_from(error.len).map_or(true, |len| !(HEADER_LEN..=MAX_LEN).contains(&len)))
        }
        Ok(Some(header)) => {
            let mut written = data.to_vec();
            written[..HEADER_LEN].fill(0);
            header.write(&mut written);
            assert_eq!(written, data);
            assert!(!header.answer().is_answered());
        }
    }
}
