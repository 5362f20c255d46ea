//! Both sides against captured bytes of iperf3 3.12, against each other, and against wrong input.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What `iperf3 -c 127.0.0.1 -u --bidir -P 2 -t 1 -O 1 -b 200K --get-server-output` sends.
const PARAMETERS: &str = r#"{"udp":true,"omit":1,"time":1,"num":0,"blockcount":0,"parallel":2,"bidirectional":true,"len":32768,"bandwidth":200000,"pacing_timer":1000,"get_server_output":1,"client_version":"3.12"}"#;
/// What the client of `-R -P 2 -n 3M` sends after the test.
const RESULTS: &str = r#"{"cpu_util_total":4.2229445046346452,"cpu_util_user":0,"cpu_util_system":4.2004734962481445,"sender_has_retransmits":18446744073709551615,"congestion_used":"cubic","streams":[{"id":1,"bytes":1637416,"retransmits":18446744073709551615,"jitter":0,"errors":0,"packets":0,"start_time":0,"end_time":0.113888},{"id":3,"bytes":1637416,"retransmits":18446744073709551615,"jitter":0,"errors":0,"packets":0,"start_time":0,"end_time":0.113902}]}"#;

fn framed(text: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A test of the captured parameters with a turn.
fn asked() -> ServerTest {
    let mut test = ServerTest::new(Timeouts::default(), Duration::ZERO);
    assert_eq!(test.take_output(), [9]);
    let bytes = framed(PARAMETERS);
    let (taken, event) = test.on_bytes(&bytes, Duration::ZERO).unwrap();
    assert_eq!((taken, event), (bytes.len(), Some(ServerEvent::Parameters)));
    test
}

/// A test of it that runs since 0.
fn running() -> ServerTest {
    let mut test = asked();
    test.accept(Duration::ZERO);
    assert_eq!(test.take_output(), [10]);
    for index in 0..4 {
        let joined = test.join(Duration::ZERO).unwrap();
        assert_eq!(joined == Joined::Last, index == 3);
        assert_eq!(test.parameters().server_sends(index), index >= 2);
    }
    assert_eq!([0, 1, 2, 3].map(stream_id), [1, 3, 4, 5]);
    assert_eq!(test.take_output(), [1, 2]);
    assert_eq!(test.join(Duration::ZERO), None);
    test
}

#[test]
fn the_captured_parameters_are_read() {
    let test = asked();
    let parameters = test.parameters();
    assert_eq!(parameters.check(), Ok(Protocol::Udp));
    assert_eq!((parameters.omit, parameters.time, parameters.parallel), (1, 1, 2));
    assert_eq!((parameters.len, parameters.bandwidth), (32_768, 200_000));
    assert!(parameters.bidirectional && parameters.get_server_output && !parameters.reverse);
    assert_eq!(parameters.client_version.as_deref(), Some("3.12"));
    assert_eq!(parameters.streams(), 4);
}

#[test]
fn minus_one_is_read_in_each_of_its_forms() {
    let results: Results = serde_json::from_str(RESULTS).unwrap();
    assert_eq!(results.sender_has_retransmits, None);
    assert_eq!(results.streams[1].id, 3);
    assert_eq!(
        (results.streams[1].bytes, results.streams[1].retransmits),
        (1_637_416, None)
    );
    for text in ["-1", "18446744073709551615", "1.8446744073709552e+19", "-1.0"] {
        let stream = format!(r#"{{"id":1,"bytes":1e+15,"retransmits":{text},"jitter":0,"new":[{{}}]}}"#);
        let stream: StreamResults = serde_json::from_str(&stream).unwrap();
        assert_eq!(
            (stream.bytes, stream.retransmits),
            (1_000_000_000_000_000, None),
            "{text}"
        );
        assert!(
            serde_json::to_string(&stream)
                .unwrap()
                .contains(r#""retransmits":-1"#)
        );
    }
    for text in [
        r#"{"id":1}"#,
        r#"{"id":-1,"bytes":1}"#,
        r#"{"id":1,"bytes":"1"}"#,
        "[]",
    ] {
        assert!(serde_json::from_str::<StreamResults>(text).is_err(), "{text}");
    }
}

#[test]
fn a_test_goes_through_its_states() {
    let mut test = running();
    assert_eq!(test.due(), Some(SECOND), "the omitted second");
    assert_eq!(test.on_time(SECOND).unwrap(), Some(ServerEvent::OmitOver));
    assert_eq!(
        test.due(),
        Some(17 * SECOND),
        "1 omitted, 1 of the test, 15 of grace"
    );
    let (taken, event) = test.on_bytes(&[4, 0, 0], 2 * SECOND).unwrap();
    assert_eq!((taken, event), (1, Some(ServerEvent::End)));
    assert_eq!(test.take_output(), [13]);
    let (_, event) = test.on_bytes(&framed(RESULTS), 2 * SECOND).unwrap();
    assert!(matches!(event, Some(ServerEvent::Results(_))));
    test.answer(&Results::default());
    let output = test.take_output();
    assert_eq!(output.last(), Some(&14));
    let (taken, event) = test.on_bytes(&[16, 9], 2 * SECOND).unwrap();
    assert_eq!((taken, event), (1, Some(ServerEvent::Done)));
    test.on_eof().unwrap();
    assert_eq!(test.due(), None);
}

#[test]
fn what_comes_at_the_wrong_time_is_named_with_the_time() {
    let says = |mut test: ServerTest, bytes: &[u8]| {
        let error = test.on_bytes(bytes, Duration::ZERO).unwrap_err();
        assert_eq!(test.phase(), Phase::Over);
        error.to_string()
    };
    assert_eq!(
        says(asked(), &[4]),
        "TEST_END came while waiting for the turn of this test"
    );
    assert_eq!(
        says(running(), &[7]),
        "unknown state 7 came while the test was running"
    );
    assert_eq!(
        says(running(), &[12]),
        "the client has ended the test (while the test was running)"
    );
    let new = || ServerTest::new(Timeouts::default(), Duration::ZERO);
    assert_eq!(
        says(new(), &100_000_000_u32.to_be_bytes()),
        "a message of 100000000 bytes was announced while waiting for the parameters: at most 65536 are accepted"
    );
    assert!(
        says(new(), &framed("{\"tcp\":true,"))
            .starts_with("a message that cannot be read came while waiting")
    );
    assert_eq!(
        says(new(), &framed(r#"{"tcp":true,"parallel":129}"#)),
        "the parameters were refused: 129 parallel streams: 1 to 128 are possible"
    );
    let mut ended = running();
    ended.on_bytes(&[4], Duration::ZERO).unwrap();
    assert_eq!(
        says(ended, &framed(r#"{"streams":[{"id":2,"bytes":1}]}"#)),
        "the results name a stream 2, which this test does not have"
    );
}

#[test]
fn silence_ends_each_step() {
    let step = Timeouts::default().step;
    let mut test = ServerTest::new(Timeouts::default(), SECOND);
    assert_eq!(test.on_time(step).unwrap(), None);
    let error = test.on_time(SECOND + step).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing came for 10 s while waiting for the parameters"
    );
    let mut waiting = asked();
    assert_eq!(waiting.due(), None, "it waits for others, not for the client");
    waiting.accept(SECOND);
    assert_eq!(waiting.due(), Some(SECOND + step));
    assert!(waiting.on_eof().is_err());
}

#[test]
fn parameters_have_limits() {
    let tcp = Parameters::new(Protocol::Tcp);
    let udp = Parameters::new(Protocol::Udp);
    assert_eq!((tcp.check(), udp.check()), (Ok(Protocol::Tcp), Ok(Protocol::Udp)));
    let wrong = [
        Parameters::default(),
        Parameters {
            udp: true,
            ..tcp.clone()
        },
        Parameters {
            sctp: true,
            ..tcp.clone()
        },
        Parameters {
            parallel: 0,
            ..tcp.clone()
        },
        Parameters {
            len: MAX_BLOCK + 1,
            ..tcp.clone()
        },
        Parameters {
            len: 15,
            ..udp.clone()
        },
        Parameters {
            len: MAX_DATAGRAM + 1,
            ..udp
        },
        Parameters {
            time: MAX_TIME_S + 1,
            ..tcp.clone()
        },
        Parameters {
            omit: MAX_OMIT_S + 1,
            ..tcp.clone()
        },
        Parameters {
            reverse: true,
            bidirectional: true,
            ..tcp
        },
    ];
    for parameters in wrong {
        let error = parameters.check().unwrap_err();
        assert!(error.code().words().is_some(), "{error}");
    }
}

#[test]
fn a_cookie_is_refused_at_its_first_wrong_byte() {
    let cookie = Cookie::new([u64::MAX, 0, 0x1234_5678]);
    assert_eq!(Cookie::parse(cookie.as_bytes()).unwrap(), Some(cookie));
    assert_eq!(Cookie::parse(&cookie.as_bytes()[..36]).unwrap(), None);
    let error = Cookie::parse(b"GET / HTTP/1.1\r\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "not iperf3: byte 14 of what came first is 0x0d, which no cookie has"
    );
    assert!(Cookie::parse(&[b'a'; 37]).is_err(), "no NUL at its end");
    assert_eq!(format!("{cookie:?}"), "Cookie(..)");
}

#[test]
fn greetings_are_answered_in_their_byte_order() {
    for (greeting, answer) in [(b"9876", b"6789"), (b"6789", b"9876")] {
        assert_eq!(&Greeting::parse(greeting).unwrap().answer(), answer);
        assert!(Greeting::is_answer(answer));
    }
    let old = 123_456_789_u32.to_le_bytes();
    assert_eq!(
        Greeting::parse(&old).unwrap().answer(),
        987_654_321_u32.to_le_bytes()
    );
    assert_eq!(Greeting::parse(b"abcd"), None);
    assert_eq!(Greeting::parse(b"98765"), None);
}

#[test]
fn the_header_of_a_datagram_is_that_of_a_capture() {
    let captured = [0, 0, 0xd5, 0xcc, 0, 1, 0xe7, 0x89, 0, 0, 0, 1];
    let header = DatagramHeader::parse(&captured, false).unwrap();
    assert_eq!(header.sent_at, Duration::new(54_732, 124_809_000));
    assert_eq!(header.number, 1);
    let mut written = [0; 12];
    header.write(&mut written, false);
    assert_eq!(written, captured);
    assert_eq!(DatagramHeader::parse(&captured, true), None, "too short");
}

#[test]
fn loss_and_order_are_counted_as_iperf3_does() {
    let mut counter = DatagramCounter::new();
    for number in [1, 2, 5, 3, 8, 8] {
        counter.received(
            &DatagramHeader {
                sent_at: SECOND,
                number,
            },
            SECOND,
        );
    }
    let counts = counter.counts();
    // 3, 4 were lost, 3 came after all; 6, 7 were lost, and the second 8 counts as one of them.
    assert_eq!((counts.received, counts.highest), (6, 8));
    assert_eq!((counts.lost, counts.out_of_order), (2, 2));
    assert_eq!(counter.jitter(), Duration::ZERO);
    let late = SECOND + Duration::from_millis(16);
    counter.received(
        &DatagramHeader {
            sent_at: SECOND,
            number: 9,
        },
        late,
    );
    assert_eq!(
        counter.jitter().as_micros(),
        1000,
        "a sixteenth of the difference"
    );
    // A clock that is far off, and numbers at the end of what there is.
    let far = DatagramHeader {
        sent_at: Duration::from_secs(u64::from(u32::MAX)),
        number: u64::MAX,
    };
    counter.received(&far, Duration::ZERO);
    counter.received(&DatagramHeader { number: 0, ..far }, Duration::ZERO);
    assert!(counter.jitter() > SECOND);
}

#[test]
fn a_pacer_catches_up_and_never_runs_ahead() {
    let mut pacer = Pacer::new(8_000, SECOND);
    assert!(pacer.may_send(SECOND));
    pacer.sent(500);
    assert!(!pacer.may_send(SECOND));
    assert_eq!(pacer.next(), SECOND + SECOND / 2);
    pacer.sent(u64::MAX);
    assert!(pacer.next() > 1_000_000 * SECOND);
    let mut free = Pacer::new(0, SECOND);
    free.sent(u64::MAX);
    assert!(free.may_send(Duration::ZERO) && !free.is_limited());
}

#[test]
fn the_servers_errors_are_told_in_words() {
    let mut test = ServerTest::new(Timeouts::default(), Duration::ZERO);
    let _ = test.take_output();
    test.refuse(ErrorCode::CREATE_STREAM, 98);
    let bytes = test.take_output();
    let mut client = client(Parameters::new(Protocol::Tcp));
    let error = client.on_bytes(&bytes, Duration::ZERO).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("the server reports: a stream could not be made (iperf3's error 200): "),
        "{said}"
    );
    assert!(said.ends_with("(errno 98)"), "{said}");
    let mut busy = self::client(Parameters::new(Protocol::Tcp));
    assert!(matches!(
        busy.on_bytes(&[0xff], Duration::ZERO),
        Err(ControlError::Denied)
    ));
}

fn client(parameters: Parameters) -> ClientTest {
    let mut client = ClientTest::new(
        &Cookie::new([1, 2, 3]),
        parameters,
        Timeouts::default(),
        Duration::ZERO,
    );
    assert_eq!(client.take_output().len(), Cookie::LEN);
    client
}

/// Gives bytes to one side piece by piece, and the events that came.
fn feed<E>(
    bytes: &[u8],
    cuts: &[usize],
    mut take: impl FnMut(&[u8]) -> Result<(usize, Option<E>), ControlError>,
) -> Result<Vec<E>, ControlError> {
    let mut events = Vec::new();
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let len = cuts.next().copied().unwrap_or(1).clamp(1, rest.len());
        let (mut piece, behind) = rest.split_at(len);
        while !piece.is_empty() {
            let (taken, event) = take(piece)?;
            assert!(taken > 0);
            piece = &piece[taken..];
            events.extend(event);
        }
        rest = behind;
    }
    Ok(events)
}

proptest! {
    /// A whole test between both sides, whatever the pieces are in which their bytes arrive.
    #[test]
    fn prop_both_sides_agree_however_bytes_are_cut(cuts in proptest::collection::vec(1_usize..40, 1..8), omit in 0_u32..2) {
        let parameters = Parameters { omit, time: 3, parallel: 2, ..Parameters::new(Protocol::Tcp) };
        let mut client = client(parameters.clone());
        let mut server = ServerTest::new(Timeouts::default(), Duration::ZERO);
        let now = Duration::ZERO;
        feed(&server.take_output(), &cuts, |data| client.on_bytes(data, now)).unwrap();
        let events = feed(&client.take_output(), &cuts, |data| server.on_bytes(data, now)).unwrap();
        prop_assert_eq!(events, [ServerEvent::Parameters]);
        prop_assert_eq!(server.parameters(), &parameters);
        server.accept(now);
        let events = feed(&server.take_output(), &cuts, |data| client.on_bytes(data, now)).unwrap();
        prop_assert_eq!(events, [ClientEvent::CreateStreams]);
        prop_assert_eq!(server.join(now), Some(Joined::Early));
        prop_assert_eq!(server.join(now), Some(Joined::Last));
        let events = feed(&server.take_output(), &cuts, |data| client.on_bytes(data, now)).unwrap();
        prop_assert_eq!(events, [ClientEvent::Begin]);
        if omit > 0 {
            prop_assert_eq!(client.on_time(client.due().unwrap()).unwrap(), Some(ClientEvent::OmitOver));
        }
        let now = client.due().unwrap();
        prop_assert_eq!(now, (omit + 3) * SECOND);
        prop_assert_eq!(client.on_time(now).unwrap(), Some(ClientEvent::TimeOver));
        client.end(now);
        let events = feed(&client.take_output(), &cuts, |data| server.on_bytes(data, now)).unwrap();
        prop_assert_eq!(events, [ServerEvent::End]);
        let events = feed(&server.take_output(), &cuts, |data| client.on_bytes(data, now)).unwrap();
        prop_assert_eq!(events, [ClientEvent::ResultsWanted]);
        let ours = Results { streams: vec![StreamResults { bytes: 7, ..StreamResults::new(3) }], ..Results::default() };
        client.answer(&ours);
        let events = feed(&client.take_output(), &cuts, |data| server.on_bytes(data, now)).unwrap();
        prop_assert_eq!(events, [ServerEvent::Results(ours.clone())]);
        server.answer(&ours);
        let events = feed(&server.take_output(), &cuts, |data| client.on_bytes(data, now)).unwrap();
        prop_assert_eq!(events, [ClientEvent::Results(Box::new(ours)), ClientEvent::Done]);
        let events = feed(&client.take_output(), &cuts, |data| server.on_bytes(data, now)).unwrap();
        prop_assert_eq!(events, [ServerEvent::Done]);
    }

    #[test]
    fn prop_anything_at_all_is_refused_or_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Cookie::parse(&bytes);
        let mut server = running();
        let _ = feed(&bytes, &[7], |data| server.on_bytes(data, SECOND));
        let mut client = client(Parameters::new(Protocol::Udp));
        let _ = feed(&bytes, &[7], |data| client.on_bytes(data, SECOND));
    }

    #[test]
    fn prop_headers_are_read_as_they_were_written(s in any::<u32>(), us in 0_u32..1_000_000, number in any::<u64>(), is_64 in any::<bool>()) {
        let sent_at = Duration::from_secs(s.into()) + Duration::from_micros(us.into());
        let number = if is_64 { number } else { number & 0xffff_ffff };
        let header = DatagramHeader { sent_at, number };
        let mut bytes = [0; HEADER_LEN_64];
        header.write(&mut bytes, is_64);
        prop_assert_eq!(DatagramHeader::parse(&bytes, is_64), Some(header));
    }
}
