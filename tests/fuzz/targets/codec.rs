//! Frames: the same however the bytes are cut, never longer than is allowed, and written as they are read.

use sockeye_event_loop::codec::{Codec, Fixed, Found, FrameError, LengthPrefixed, Lines, Width};

/// A frame's content, or why there is none.
type Frames = (Vec<Vec<u8>>, Option<FrameError>);

pub(crate) fn run(data: &[u8]) {
    let Some(([which, max, step], data)) = data.split_first_chunk() else {
        return;
    };
    let (max, step) = (usize::from(*max), usize::from(*step) + 1);
    match which % 5 {
        0 => check(&Lines::new(max), data, max, step),
        1 => check(&LengthPrefixed::new(Width::One, max), data, max, step),
        2 => check(&LengthPrefixed::new(Width::Two, max), data, max, step),
        3 => check(&LengthPrefixed::new(Width::Four, max), data, max, step),
        _ => check(&Fixed::new(max.max(1)), data, max.max(1), step),
    }
}

fn check(codec: &dyn Codec, data: &[u8], max: usize, step: usize) {
    let whole = frames(codec, data, data.len().max(1));
    assert_eq!(frames(codec, data, step), whole);
    let mut out = Vec::new();
    for frame in &whole.0 {
        assert!(frame.len() <= max);
        out.clear();
        match codec.encode(frame, &mut out) {
            Ok(()) => assert_eq!(frames(codec, &out, out.len().max(1)), (vec![frame.clone()], None)),
            // A line may have a carriage return at its end that is part of it.
            Err(error) => assert_eq!(error, FrameError::Unsendable),
        }
    }
}

/// Cuts all frames out of `data`, of which `step` bytes more are there each time.
fn frames(codec: &dyn Codec, data: &[u8], step: usize) -> Frames {
    let (mut start, mut end, mut searched) = (0, 0, 0);
    let mut all = Vec::new();
    loop {
        match codec.find(&data[start..end], searched) {
            Ok(Found::Frame { content, len }) => {
                assert!(content.end <= len && len <= end - start && len > 0);
                all.push(data[start..end][content].to_vec());
                start += len;
                searched = 0;
            }
            Ok(Found::Partial { searched: seen, len }) => {
                assert!(seen <= end - start && (len == 0 || len > end - start));
                if end == data.len() {
                    return (all, None);
                }
                searched = seen;
                end = data.len().min(end + step);
            }
            // How long it is may not be known yet.
            Err(FrameError::TooLong { max, .. }) => {
                return (all, Some(FrameError::TooLong { len: max + 1, max }));
            }
            Err(error) => return (all, Some(error)),
        }
    }
}
