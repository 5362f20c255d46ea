//! The protocol of `sockeye bench`: frames, messages and headers. What is read is written and read again as the same.

use sockeye_measure::run::datagram::{HEADER_LEN, Header, parse_stream_header, stream_header};
use sockeye_measure::run::{
    FrameError, HELLO, HELLO_LEN, LENGTH_LEN, Limits, MAX_REPLY, MAX_REQUEST, Message, Mode, Parameters,
    check_hello, decode, encode,
};

/// Messages of a connection, one behind the other, under a bound.
fn frames(mut data: &[u8], max: usize) {
    loop {
        let announced = data
            .first_chunk()
            .map(|length| u32::from_be_bytes(*length) as usize);
        match (decode(data, max), announced) {
            (Ok(None), None) => return assert!(data.len() < LENGTH_LEN),
            (Ok(None), Some(len)) => return assert!(len <= max && data.len() < LENGTH_LEN + len),
            (Err(FrameError::TooLong { len, max: bound }), Some(announced)) => {
                return assert!(len == announced && len > max && bound == max);
            }
            (Err(_), Some(len)) => return assert!(len <= max && data.len() >= LENGTH_LEN + len),
            (Ok(Some((message, used))), Some(len)) => {
                assert_eq!(used, LENGTH_LEN + len);
                assert!(
                    matches!(decode(&data[..used - 1], max), Ok(None)),
                    "half a message"
                );
                again(&message);
                data = &data[used..];
            }
            (outcome, None) => panic!("{outcome:?} without a length"),
        }
    }
}

fn again(message: &Message) {
    // The other spelling of the same may be longer than the bound.
    let bytes = encode(message, usize::MAX).expect("what was read is short enough for a length");
    let (read, used) = decode(&bytes, usize::MAX)
        .expect("what was written is read")
        .expect("all of it is there");
    assert_eq!((&read, used), (message, bytes.len()));
    assert!(
        encode(message, bytes.len() - LENGTH_LEN - 1).is_err(),
        "a bound holds"
    );
    if let Message::Parameters(parameters) = message {
        wanted(parameters);
    }
}

/// What a server accepts is within its limits, and the shares of a direction are the whole.
fn wanted(parameters: &Parameters) {
    let limits = Limits::default();
    if parameters.check(&limits).is_err() {
        return;
    }
    let flows = parameters.flows();
    assert!((1..=limits.flows).contains(&flows));
    assert!((parameters.min_length()..=limits.length).contains(&parameters.length));
    assert!((1..=flows).filter(|flow| parameters.is_down(*flow)).count() == parameters.down as usize);
    let is_bytes = parameters.mode == Mode::Stream && !parameters.transport.is_datagrams();
    for direction in [1..=parameters.up, parameters.up + 1..=flows] {
        let shares: Vec<u64> = direction.filter_map(|flow| parameters.bytes_of(flow)).collect();
        let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
        if let (Some(bytes), false) = (parameters.bytes, shares.is_empty()) {
            assert!(sum == bytes.into() || !is_bytes, "{sum} of {bytes}");
            assert!(
                sum >= bytes.into() || shares.contains(&u64::MAX),
                "{sum} of {bytes}"
            );
        }
    }
}

pub(crate) fn run(data: &[u8]) {
    match check_hello(data) {
        Ok(true) => assert!(data.starts_with(&HELLO)),
        Ok(false) => assert!(data.len() < HELLO_LEN && HELLO.starts_with(data)),
        Err(_) => assert!(!HELLO.starts_with(data) && !data.starts_with(&HELLO)),
    }
    // As a connection begins, and as it goes on.
    frames(data.strip_prefix(&HELLO).unwrap_or(data), MAX_REQUEST);
    frames(data, MAX_REPLY);
    frames(data, 64);
    if let Some(header) = Header::parse(data) {
        assert_eq!(header.to_bytes()[..], data[..HEADER_LEN]);
        assert_eq!(Header::parse(&data[..HEADER_LEN - 1]), None);
        let mut written = data.to_vec();
        written[..HEADER_LEN].fill(0);
        header.write(&mut written);
        assert_eq!(written, data);
        let run = header.run();
        assert_eq!(Header::join(run, header.flow).run(), run);
    }
    if let Some(head) = data.first_chunk() {
        let (number, sent_ns) = parse_stream_header(*head);
        assert_eq!(stream_header(number, sent_ns), *head);
    }
}
