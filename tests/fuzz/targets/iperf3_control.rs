//! The control connection of iperf3, both sides: the same however bytes are cut, and no bytes do harm.

use std::time::Duration;

use sockeye_measure::iperf3::{
    ClientEvent, ClientTest, ControlError, Cookie, Parameters, Protocol, Results, ServerEvent, ServerTest,
    Timeouts,
};

const NOW: Duration = Duration::from_secs(1);

/// A server that does what it is told; what it said, and how it ended.
fn serve(data: &[u8], piece: usize) -> (Vec<u8>, Result<(), String>) {
    let mut test = ServerTest::new(Timeouts::default(), NOW);
    let mut said = test.take_output();
    for mut piece in data.chunks(piece) {
        while !piece.is_empty() {
            match test.on_bytes(piece, NOW) {
                Ok((taken, event)) => {
                    assert!(taken > 0);
                    piece = &piece[taken..];
                    match event {
                        Some(ServerEvent::Parameters) => {
                            test.accept(NOW);
                            while test.join(NOW).is_some() {}
                        }
                        Some(ServerEvent::Results(_)) => test.answer(&Results::default()),
                        _ => {}
                    }
                }
                Err(error) => {
                    if let Some(code) = error.code() {
                        test.refuse(code, 0);
                    }
                    said.extend(test.take_output());
                    return (said, Err(error.to_string()));
                }
            }
            said.extend(test.take_output());
        }
    }
    (said, Ok(()))
}

/// Likewise a client.
fn measure(data: &[u8], piece: usize) -> (Vec<u8>, Result<(), String>) {
    let cookie = Cookie::new([1, 2, 3]);
    let mut test = ClientTest::new(&cookie, Parameters::new(Protocol::Tcp), Timeouts::default(), NOW);
    let mut said = test.take_output();
    for mut piece in data.chunks(piece) {
        while !piece.is_empty() {
            match test.on_bytes(piece, NOW) {
                Ok((taken, event)) => {
                    assert!(taken > 0);
                    piece = &piece[taken..];
                    match event {
                        Some(ClientEvent::Begin) => test.end(NOW),
                        Some(ClientEvent::ResultsWanted) => test.answer(&Results::default()),
                        _ => {}
                    }
                }
                Err(error) => {
                    let is_named = !matches!(error, ControlError::Cookie { .. });
                    assert!(is_named);
                    said.extend(test.take_output());
                    return (said, Err(error.to_string()));
                }
            }
            said.extend(test.take_output());
        }
    }
    (said, Ok(()))
}

pub(crate) fn run(data: &[u8]) {
    if let Ok(Some(cookie)) = Cookie::parse(data) {
        assert_eq!(&cookie.as_bytes()[..], &data[..Cookie::LEN]);
    }
    let whole = serve(data, usize::MAX);
    assert_eq!(serve(data, 1), whole);
    assert_eq!(serve(data, 7), whole);
    let whole = measure(data, usize::MAX);
    assert_eq!(measure(data, 1), whole);
    assert_eq!(measure(data, 7), whole);
}
