//! Blocks of a receive ring: whatever the bytes, the frames lie within them and end.

use sockeye_socket::link::Block;

pub(crate) fn run(data: &[u8]) {
    let block = Block::new(data);
    let mut frames = block.frames();
    let mut count = 0;
    let bytes = data.as_ptr_range();
    for frame in frames.by_ref() {
        count += 1;
        let inside = frame.bytes.as_ptr_range();
        assert!(bytes.start <= inside.start && inside.end <= bytes.end);
        assert!(frame.len >= frame.bytes.len());
        let mut whole = Vec::new();
        frame.write_tagged(&mut whole);
        assert!(whole.len() >= frame.bytes.len());
    }
    // Each has a header of its own.
    assert!(count <= data.len() / 48);
    assert_eq!(frames.is_malformed(), count < block.frame_count() as usize);
}
