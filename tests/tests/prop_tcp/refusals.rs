//! The model refuses what is wrong: after each history exactly these outcomes of a call are possible, and no other.

use std::net::Shutdown;

use crate::model::Outcome::{Blocked, BrokenPipe, Bytes, Reset};
use crate::model::{Event, Model, Outcome};

type History<'a> = &'a [(usize, Event)];

const CLOSE: Event = Event::Close;
const ABORT: Event = Event::Abort;
/// The poller's word that something has come.
const READABLE: Event = Event::Readable;
/// One byte.
const WRITE: Event = wrote(1, Bytes(1));
const SHUT_READ: Event = shut(Shutdown::Read);
const SHUT_WRITE: Event = shut(Shutdown::Write);
const SHUT_BOTH: Event = shut(Shutdown::Both);

const fn wrote(len: u64, outcome: Outcome) -> Event {
    Event::Write { len, outcome }
}

const fn read(outcome: Outcome) -> Event {
    let (len, takes) = (9, true);
    Event::Read { len, takes, outcome }
}

const fn shut(how: Shutdown) -> Event {
    Event::Shutdown { how, done: true }
}

fn model(history: History<'_>) -> Model {
    let mut model = Model::new();
    for &(end, event) in history {
        model.observe(end, event).unwrap();
    }
    model
}

#[track_caller]
fn exactly(history: History<'_>, end: usize, call: fn(Outcome) -> Event, outcomes: &[Outcome]) {
    let before = model(history);
    let all = [Bytes(0), Bytes(1), Bytes(2), Bytes(3), Blocked, Reset, BrokenPipe];
    let possible: Vec<_> = all
        .into_iter()
        .filter(|&outcome| before.clone().observe(end, call(outcome)).is_ok())
        .collect();
    assert_eq!(possible, outcomes, "after {history:?}");
}

#[track_caller]
fn reads(history: History<'_>, end: usize, outcomes: &[Outcome]) {
    exactly(history, end, read, outcomes);
}

#[track_caller]
fn writes(history: History<'_>, end: usize, outcomes: &[Outcome]) {
    exactly(history, end, |outcome| wrote(1, outcome), outcomes);
}

#[test]
fn bytes_come_once_and_in_any_pieces() {
    reads(&[], 0, &[Blocked]);
    reads(&[(1, WRITE), (1, WRITE)], 0, &[Bytes(1), Bytes(2), Blocked]);
    reads(&[(1, WRITE), (1, WRITE), (0, READABLE)], 0, &[Bytes(1), Bytes(2)]);
    reads(&[(1, WRITE), (1, WRITE), (0, Event::Unread(2))], 0, &[Bytes(2)]);
    reads(&[(1, WRITE), (1, WRITE), (0, read(Bytes(2)))], 0, &[Blocked]);
    let peek = Event::Read {
        len: 9,
        takes: false,
        outcome: Bytes(1),
    };
    reads(&[(1, WRITE), (0, peek)], 0, &[Bytes(1)]);
}

#[test]
fn a_write_is_refused_for_want_of_room_only() {
    writes(&[], 0, &[Bytes(1)]);
    writes(&[(0, wrote(9000, Bytes(9000)))], 0, &[Bytes(1), Blocked]);
    writes(&[(0, SHUT_WRITE)], 0, &[BrokenPipe]);
    writes(&[(1, SHUT_READ)], 0, &[Bytes(1)]);
    writes(&[(1, SHUT_WRITE)], 0, &[Bytes(1)]);
}

#[test]
fn an_end_comes_after_every_byte() {
    reads(&[(1, SHUT_WRITE)], 0, &[Bytes(0), Blocked]);
    reads(&[(1, SHUT_WRITE), (0, READABLE)], 0, &[Bytes(0)]);
    reads(&[(1, WRITE), (1, SHUT_WRITE), (0, READABLE)], 0, &[Bytes(1)]);
    reads(
        &[(1, WRITE), (1, CLOSE), (0, READABLE), (0, read(Bytes(1)))],
        0,
        &[Bytes(0), Blocked],
    );
}

#[test]
fn a_shut_reading_end_still_reads() {
    reads(&[(0, SHUT_READ)], 0, &[Bytes(0)]);
    reads(&[(0, SHUT_READ), (1, WRITE)], 0, &[Bytes(0), Bytes(1)]);
    // Readable says nothing here, bytes that are counted do.
    reads(
        &[(0, SHUT_READ), (1, WRITE), (0, READABLE)],
        0,
        &[Bytes(0), Bytes(1)],
    );
    reads(
        &[(0, SHUT_READ), (1, WRITE), (0, Event::Unread(1))],
        0,
        &[Bytes(1)],
    );
    assert!(model(&[(0, SHUT_READ), (1, WRITE)]).bytes_come(0));
}

#[test]
fn a_close_with_everything_read_is_an_end() {
    let closed = [(0, WRITE), (1, READABLE), (1, read(Bytes(1))), (1, CLOSE)];
    reads(&closed, 0, &[Bytes(0), Blocked]);
    writes(&closed, 0, &[Bytes(1)]);
    // The byte of that write is answered by a reset: after the end, an EPIPE.
    let mut late = closed.to_vec();
    late.extend([(0, READABLE), (0, WRITE)]);
    writes(&late, 0, &[Bytes(1), BrokenPipe]);
    reads(&late, 0, &[Bytes(0)]);
    late.push((0, wrote(1, BrokenPipe)));
    writes(&late, 0, &[BrokenPipe]);
}

#[test]
fn a_close_with_a_byte_that_has_arrived_is_a_reset() {
    let closed = [(0, WRITE), (1, READABLE), (1, CLOSE)];
    reads(&closed, 0, &[Blocked, Reset]);
    writes(&closed, 0, &[Bytes(1), Reset]);
    let told = [
        (0, WRITE),
        (1, READABLE),
        (1, CLOSE),
        (0, READABLE),
        (0, read(Reset)),
    ];
    reads(&told, 0, &[Bytes(0)]);
    writes(&told, 0, &[BrokenPipe]);
}

#[test]
fn a_close_with_a_byte_under_way_is_an_end_or_a_reset() {
    let closed = [(0, WRITE), (1, CLOSE), (0, READABLE)];
    reads(&closed, 0, &[Bytes(0), Reset]);
    writes(&closed, 0, &[Bytes(1), Reset, BrokenPipe]);
    // Once the end is seen, the reset is an EPIPE.
    let ended = [(0, WRITE), (1, CLOSE), (0, READABLE), (0, read(Bytes(0)))];
    reads(&ended, 0, &[Bytes(0)]);
    // Told by a read, a reset leaves an end and no second error.
    writes(&ended, 0, &[Bytes(1), BrokenPipe]);
}

#[test]
fn a_shut_reading_end_that_closes_with_bytes_under_way_ends_or_resets() {
    let closed = [
        (1, WRITE),
        (0, WRITE),
        (1, WRITE),
        (0, SHUT_READ),
        (1, WRITE),
        (0, read(Bytes(2))),
        (0, CLOSE),
        (1, READABLE),
    ];
    // The byte of end 0 is lost only by a reset.
    reads(&closed, 1, &[Bytes(1), Reset]);
    let mut read_on = closed.to_vec();
    read_on.push((1, read(Bytes(1))));
    reads(&read_on, 1, &[Bytes(0), Blocked, Reset]);
    // Had the third byte arrived, an end would be wrong.
    let mut arrived = closed.to_vec();
    arrived.insert(6, (0, Event::Unread(1)));
    arrived.push((1, read(Bytes(1))));
    reads(&arrived, 1, &[Blocked, Reset]);
}

#[test]
fn an_abort_keeps_what_has_arrived() {
    let aborted = [(1, WRITE), (1, WRITE), (0, Event::Unread(1)), (1, ABORT)];
    reads(&aborted, 0, &[Bytes(1), Bytes(2)]);
    let gone = [(1, WRITE), (1, ABORT), (0, READABLE)];
    reads(&gone, 0, &[Bytes(1), Reset]);
    let known = [(1, WRITE), (0, Event::Unread(1)), (1, ABORT), (0, read(Bytes(1)))];
    reads(&known, 0, &[Blocked, Reset]);
}

#[test]
fn an_abort_after_both_ends_is_heard_only_while_the_last_bytes_are_under_way() {
    let ended = [(0, SHUT_WRITE), (1, READABLE), (1, SHUT_WRITE)];
    let mut aborted = ended.to_vec();
    aborted.extend([(0, READABLE), (1, ABORT)]);
    // End 0 has ended: its FIN was acknowledged by the other.
    reads(&aborted, 0, &[Bytes(0)]);
    writes(&aborted, 0, &[BrokenPipe]);
    let mut early = ended.to_vec();
    early.push((1, ABORT));
    writes(&early, 0, &[Reset, BrokenPipe]);
}

#[test]
fn a_deaf_end_resets_both() {
    let deaf = [(0, SHUT_BOTH), (1, WRITE)];
    reads(&deaf, 0, &[Bytes(0), Reset]);
    reads(&deaf, 1, &[Bytes(0), Blocked, Reset]);
    // What was there before stays, what comes after is never read.
    let kept = [(1, WRITE), (0, Event::Unread(1)), (0, SHUT_BOTH), (1, WRITE)];
    reads(&kept, 0, &[Bytes(1)]);
    // Without a byte under way there is no reset.
    reads(&[(0, SHUT_BOTH)], 1, &[Bytes(0), Blocked]);
    writes(&[(0, SHUT_BOTH)], 1, &[Bytes(1)]);
}

#[test]
fn a_connection_that_is_over_cannot_be_shut() {
    let refused = |history: History<'_>, end| {
        let possible = [true, false].map(|done| {
            let how = Shutdown::Write;
            model(history).observe(end, Event::Shutdown { how, done }).is_ok()
        });
        (possible[0], possible[1])
    };
    assert_eq!(refused(&[], 0), (true, false));
    assert_eq!(refused(&[(1, SHUT_WRITE)], 0), (true, false));
    assert_eq!(refused(&[(1, ABORT)], 0), (true, true));
    assert_eq!(refused(&[(1, ABORT), (0, READABLE)], 0), (false, true));
    // End 1 answers the FIN by its own, which acknowledges it: at end 0 nothing is left.
    let ended = [(0, SHUT_WRITE), (1, READABLE), (1, SHUT_WRITE), (0, READABLE)];
    assert_eq!(refused(&ended, 0), (false, true));
    assert_eq!(refused(&ended, 1), (true, true));
}
