//! Reading, writing, ends, resets, and the events that tell of them.

use std::net::Shutdown;
use std::time::Duration;

use sockeye_event_loop::StreamOption;
use sockeye_event_loop::backend::{Backend, Readiness};

use crate::ground::Ground;

const READABLE: Readiness = Readiness::READABLE;
const WRITABLE: Readiness = Readiness::WRITABLE;
const READ_CLOSED: Readiness = Readiness::READ_CLOSED;
const WRITE_CLOSED: Readiness = Readiness::WRITE_CLOSED;
const ERROR: Readiness = Readiness::ERROR;

/// Bytes that are not the same anywhere near.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap())
        .collect()
}

pub(crate) fn bytes_arrive<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"hello");
    g.read(b, 5);
    g.write(b, b"hello yourself");
    g.read(a, 14);
}

pub(crate) fn bytes_arrive_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair_at("[::1]:0");
    g.write(a, b"hello");
    g.read(b, 5);
    g.write(b, b"hello yourself");
    g.read(a, 14);
}

pub(crate) fn nothing_to_read_would_block<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.read_now(a, 10);
    g.read_now(b, 10);
}

pub(crate) fn writes_run_together<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    for part in [b"a", b"b", b"c"] {
        g.write(a, part);
    }
    g.settle();
    g.read_now(b, 100);
}

pub(crate) fn a_read_takes_what_has_room<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"abcdefgh");
    g.settle();
    for _ in 0..3 {
        g.read_now(b, 3);
    }
    g.read_now(b, 3);
}

pub(crate) fn an_empty_write_is_nothing<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"");
    g.settle();
    g.read_now(b, 10);
    g.expect_quiet(b, READABLE);
}

pub(crate) fn a_read_without_room_reads_nothing<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"kept");
    g.settle();
    g.read_now(b, 0);
    g.read(b, 4);
}

pub(crate) fn vectored_writes_keep_their_order<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write_vectored(a, &[b"one ", b"two ", b"three"]);
    g.read(b, 13);
}

pub(crate) fn vectored_writes_skip_what_is_empty<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write_vectored(a, &[b"", b"x", b"", b"y", b""]);
    g.read(b, 2);
    g.write_vectored(a, &[]);
    g.read_now(b, 10);
}

pub(crate) fn large_transfers_are_whole<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    let data = pattern(100_000);
    g.write(a, &data);
    g.read(b, data.len());
}

pub(crate) fn transfers_through_small_buffers_are_whole<B: Backend>(g: &mut Ground<'_, B>) {
    let small = [StreamOption::SendBuffer(4096), StreamOption::RecvBuffer(4096)];
    let (a, b) = g.pair_with("127.0.0.1:0", &small);
    let filled = g.fill(a);
    let (data, end) = g.collect(b, filled);
    g.say(format!(
        "all of it: {}, all alike: {}{end}",
        data.len() == filled,
        data.iter().all(|byte| *byte == b'f')
    ));
}

pub(crate) fn both_directions_at_once<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    let (there, back) = (pattern(30_000), pattern(20_000));
    g.write(a, &there);
    g.write(b, &back);
    g.read(b, there.len());
    g.read(a, back.len());
}

pub(crate) fn a_full_buffer_would_block<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, _b) = g.pair();
    g.fill(a);
    g.write(a, b"no room");
}

pub(crate) fn small_buffers_fill_early<B: Backend>(g: &mut Ground<'_, B>) {
    let small = [StreamOption::SendBuffer(8192), StreamOption::RecvBuffer(8192)];
    let (a, _b) = g.pair_with("127.0.0.1:0", &small);
    let filled = g.fill(a);
    g.say(format!(
        "less than 200 kB: {}, more than 4 kB: {}",
        filled < 200_000,
        filled > 4_000
    ));
}

pub(crate) fn a_drained_buffer_is_told<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    let filled = g.fill(a);
    g.forget_events(a);
    let (got, end) = g.collect(b, filled);
    g.say(format!("drained: {}{end}", got.len() == filled));
    g.expect(a, WRITABLE);
    g.write(a, b"room again");
    g.read(b, 10);
}

pub(crate) fn a_full_buffer_is_not_writable<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.fill(a);
    g.forget_events(a);
    g.write(b, b"hello");
    g.flags_at(a, READABLE);
}

pub(crate) fn writing_to_a_closed_peer<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.drop(b);
    g.settle();
    // The first write is taken, and answered by a reset.
    g.write(a, b"anyone?");
    g.settle();
    g.write(a, b"anyone?");
    g.write(a, b"anyone?");
    g.read_now(a, 10);
}

pub(crate) fn the_end_is_read_again_and_again<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.drop(b);
    g.settle();
    for _ in 0..3 {
        g.read_now(a, 10);
    }
}

pub(crate) fn data_comes_before_the_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(b, b"bye");
    g.drop(b);
    g.read_to_end(a);
}

pub(crate) fn half_closed_is_half_open<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"question");
    g.shutdown(a, Shutdown::Write);
    g.read_to_end(b);
    g.write(b, b"answer");
    g.read(a, 6);
    g.drop(b);
    g.read_to_end(a);
}

pub(crate) fn after_shutdown_writes_fail<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Write);
    g.write(a, b"x");
    g.write_vectored(a, &[b"x", b"y"]);
    g.read_to_end(b);
}

pub(crate) fn a_byte_for_an_end_with_both_halves_shut_resets<B: Backend>(g: &mut Ground<'_, B>) {
    for unread in [false, true] {
        let (a, b) = g.pair();
        if unread {
            g.write(a, b"before");
            g.settle();
        }
        g.shutdown(b, Shutdown::Both);
        g.settle();
        g.write(a, b"x");
        g.settle();
        g.read_now(b, 100);
        g.read_now(b, 100);
        g.write(a, b"y");
        g.read_now(a, 100);
        g.drop(a);
        g.drop(b);
    }
}

pub(crate) fn shutdown_twice_is_fine<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Write);
    g.shutdown(a, Shutdown::Write);
    g.read_to_end(b);
}

pub(crate) fn shutdown_of_reading_is_an_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Read);
    g.read_now(a, 10);
    g.write(a, b"still writes");
    g.read(b, 12);
}

pub(crate) fn shutdown_of_reading_keeps_what_is_there<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(b, b"there");
    g.settle();
    g.shutdown(a, Shutdown::Read);
    g.read_to_end(a);
}

pub(crate) fn shutdown_of_reading_lets_more_in<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Read);
    g.write(b, b"more");
    g.settle();
    g.read_now(a, 10);
    g.read_now(a, 10);
}

pub(crate) fn shutdown_of_both<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Both);
    g.write(a, b"x");
    g.read_now(a, 10);
    g.read_to_end(b);
}

pub(crate) fn both_ends_shut_down<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Write);
    g.read_to_end(b);
    g.shutdown(b, Shutdown::Write);
    g.read_to_end(a);
    g.settle();
    g.shutdown(b, Shutdown::Write);
    g.peer(b);
    g.write(b, b"x");
    g.read_now(b, 10);
}

pub(crate) fn an_abort_is_a_reset<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.abort(b);
    g.read_to_end(a);
}

pub(crate) fn data_is_readable_after_a_reset<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(b, b"last words");
    g.settle();
    g.abort(b);
    g.settle();
    g.read_to_end(a);
}

pub(crate) fn a_reset_is_told_once<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.abort(b);
    g.settle();
    for _ in 0..3 {
        g.read_now(a, 10);
    }
    g.write(a, b"x");
}

pub(crate) fn a_reset_can_be_written_instead<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.abort(b);
    g.settle();
    g.write(a, b"x");
    g.write(a, b"x");
    g.read_now(a, 10);
}

pub(crate) fn closing_with_unread_data_resets<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"never read");
    g.settle();
    g.drop(b);
    g.read_to_end(a);
}

pub(crate) fn closing_after_a_partial_read_resets<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"read in part");
    g.settle();
    g.read_now(b, 4);
    g.drop(b);
    g.read_to_end(a);
}

pub(crate) fn closing_with_unread_data_after_a_half_close<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"never read");
    g.shutdown(a, Shutdown::Write);
    g.settle();
    g.drop(b);
    g.read_to_end(a);
}

pub(crate) fn closing_with_everything_read_is_an_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"read");
    g.read(b, 4);
    g.drop(b);
    g.read_to_end(a);
}

pub(crate) fn after_a_reset_nothing_stands<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.abort(b);
    g.settle();
    g.peer(a);
    g.shutdown(a, Shutdown::Write);
    g.local(a);
    g.read_now(a, 10);
}

pub(crate) fn a_reset_after_the_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(b, Shutdown::Write);
    g.read_to_end(a);
    g.abort(b);
    g.settle();
    g.read_now(a, 10);
    g.write(a, b"x");
    g.write(a, b"x");
}

pub(crate) fn a_reset_of_a_half_closed_writer<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Write);
    g.read_to_end(b);
    g.abort(b);
    g.read_to_end(a);
    g.write(a, b"x");
}

pub(crate) fn both_close_at_once<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Write);
    g.shutdown(b, Shutdown::Write);
    g.read_to_end(a);
    g.read_to_end(b);
    g.drop(a);
    g.drop(b);
}

pub(crate) fn a_close_delivers_what_was_written<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    let filled = g.fill(a);
    g.drop(a);
    let (got, end) = g.collect(b, usize::MAX);
    g.say(format!("all of it: {}{end}", got.len() == filled));
}

pub(crate) fn an_abort_discards_what_was_not_sent<B: Backend>(g: &mut Ground<'_, B>) {
    let small = [StreamOption::SendBuffer(65_536), StreamOption::RecvBuffer(4096)];
    let (a, b) = g.pair_with("127.0.0.1:0", &small);
    let filled = g.fill(a);
    g.settle();
    g.abort(a);
    g.settle();
    let (got, end) = g.collect(b, usize::MAX);
    g.say(format!("less of it: {}{end}", got.len() < filled));
}

pub(crate) fn data_is_flagged<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"x");
    g.flags_at(b, READABLE);
}

pub(crate) fn the_end_is_flagged<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Write);
    g.flags_at(b, READ_CLOSED);
}

pub(crate) fn data_and_the_end_are_one_event<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"x");
    g.drop(a);
    g.flags_at(b, READ_CLOSED);
    g.expect_quiet(b, READABLE);
    g.read_now(b, 10);
    g.read_now(b, 10);
    // A short read, and no event for the end: it was told.
    g.expect_quiet(b, READ_CLOSED);
}

pub(crate) fn a_reset_is_flagged<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.abort(a);
    g.flags_at(b, ERROR);
}

pub(crate) fn a_reset_after_the_end_is_flagged<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Write);
    g.expect(b, READ_CLOSED);
    g.abort(a);
    g.flags_at(b, ERROR);
}

pub(crate) fn both_ends_are_flagged<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.shutdown(a, Shutdown::Write);
    g.forget_events(b);
    g.shutdown(b, Shutdown::Write);
    g.flags_at(b, WRITE_CLOSED);
    g.flags_at(a, WRITE_CLOSED);
}

pub(crate) fn an_own_shutdown_of_reading_is_told<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, _b) = g.pair();
    g.shutdown(a, Shutdown::Read);
    g.flags_at(a, READ_CLOSED);
}

pub(crate) fn what_is_left_unread_is_not_told_again<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"abcdef");
    g.expect(b, READABLE);
    g.settle();
    g.forget_events(b);
    g.read_now(b, 2);
    g.expect_quiet(b, READABLE);
    g.read_now(b, 10);
}

pub(crate) fn more_data_is_told_although_some_is_unread<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"abc");
    g.expect(b, READABLE);
    g.forget_events(b);
    g.write(a, b"def");
    g.expect(b, READABLE);
    g.read(b, 6);
}

pub(crate) fn writing_gives_no_event_of_its_own<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.write(a, b"abc");
    g.expect_quiet(a, READABLE);
    g.read(b, 3);
}

pub(crate) fn a_registered_stream_is_writable_at_once<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, _b) = g.pair();
    g.deregister(a);
    g.forget_events(a);
    g.register(a);
    g.expect(a, WRITABLE);
}

pub(crate) fn a_stream_registered_late_hears_of_data<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.deregister(b);
    g.write(a, b"early");
    g.forget_events(b);
    g.register(b);
    g.expect(b, READABLE);
    g.read(b, 5);
}

pub(crate) fn a_stream_registered_late_hears_of_the_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.deregister(b);
    g.drop(a);
    g.forget_events(b);
    g.register(b);
    g.flags_at(b, READ_CLOSED);
}

pub(crate) fn a_deregistered_stream_is_silent<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.deregister(b);
    g.write(a, b"x");
    g.expect_quiet(b, READABLE);
    g.read_now(b, 10);
}

pub(crate) fn a_dropped_stream_is_silent<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.drop(b);
    g.expect_quiet(b, READABLE);
    g.read_to_end(a);
}

pub(crate) fn events_are_told_to_who_they_are_for<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    let (c, d) = g.pair();
    g.write(c, b"for d");
    g.expect_quiet(b, READABLE);
    g.expect(d, READABLE);
    g.write(a, b"for b");
    g.expect(b, READABLE);
    g.read(b, 5);
    g.read(d, 5);
}

pub(crate) fn options_are_taken<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    for option in [
        StreamOption::NoDelay(true),
        StreamOption::NoDelay(false),
        StreamOption::SendBuffer(50_000),
        StreamOption::RecvBuffer(50_000),
        StreamOption::UserTimeout(Some(Duration::from_secs(9))),
        StreamOption::UserTimeout(None),
        StreamOption::NotSentLowat(10_000),
        StreamOption::TrafficClass(0x20),
        StreamOption::KeepAlive {
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(5),
            count: 3,
        },
    ] {
        g.option(a, &option);
    }
    g.write(a, b"still fine");
    g.read(b, 10);
}

pub(crate) fn corked_bytes_leave_in_the_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    g.option(a, &StreamOption::Cork(true));
    g.write(a, b"held ");
    g.write(a, b"back");
    g.option(a, &StreamOption::Cork(false));
    g.read(b, 9);
}

pub(crate) fn addresses_are_known_on_both_sides<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    let (near, far) = (g.addr(a), g.addr(b));
    g.say(format!("distinct: {}", near != far));
    g.peer(a);
    g.peer(b);
}

pub(crate) fn a_long_conversation<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.pair();
    for round in 0..50_u8 {
        let text = vec![round; usize::from(round) * 3 + 1];
        g.write(a, &text);
        g.read(b, text.len());
        g.write(b, &text);
        g.read(a, text.len());
    }
    g.drop(a);
    g.read_to_end(b);
}

pub(crate) fn a_vectored_write_takes_1024_buffers<B: Backend>(g: &mut Ground<'_, B>) {
    let (client, server) = g.pair();
    let many = vec![&b"x"[..]; 2_000];
    g.write_vectored(client, &many);
    g.write_vectored(client, &many[..1_024]);
    g.read(server, 2_048);
}

const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn a_window_that_stays_shut_is_out_of_time<B: Backend>(g: &mut Ground<'_, B>) {
    let (client, _server) = g.pair_with("127.0.0.1:0", &[StreamOption::UserTimeout(Some(SHORT))]);
    g.fill(client);
    g.forget_events(client);
    g.expect(client, Readiness::ERROR);
    g.read_now(client, 10);
    g.write(client, b"more");
}

pub(crate) fn a_window_that_stays_shut_is_waited_for<B: Backend>(g: &mut Ground<'_, B>) {
    let (client, _server) = g.pair();
    g.fill(client);
    g.forget_events(client);
    g.expect_quiet(client, Readiness::ERROR);
}
