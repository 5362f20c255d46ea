//! The alarm, the wake-up, the poll itself.

use std::time::Duration;

use sockeye_event_loop::backend::{Backend, Readiness, Token};

use crate::ground::{Ground, PATIENCE, QUIET};

const SOON: Duration = Duration::from_millis(10);

pub(crate) fn the_alarm_comes<B: Backend>(g: &mut Ground<'_, B>) {
    let begun = g.backend.now();
    let _ = g.backend.set_alarm(Some(begun + SOON));
    g.expect_token(Token::ALARM, "the alarm", PATIENCE);
    let early = g.backend.now() < begun + SOON;
    g.say(format!("early: {early}"));
}

pub(crate) fn an_alarm_in_the_past_comes_at_once<B: Backend>(g: &mut Ground<'_, B>) {
    let now = g.backend.now();
    let _ = g.backend.set_alarm(Some(now));
    g.expect_token(Token::ALARM, "the alarm", PATIENCE);
}

pub(crate) fn a_cleared_alarm_does_not_come<B: Backend>(g: &mut Ground<'_, B>) {
    let now = g.backend.now();
    let _ = g.backend.set_alarm(Some(now + SOON));
    let _ = g.backend.set_alarm(None);
    g.expect_token(Token::ALARM, "the alarm", QUIET);
}

pub(crate) fn an_earlier_alarm_replaces_a_later<B: Backend>(g: &mut Ground<'_, B>) {
    let now = g.backend.now();
    let _ = g.backend.set_alarm(Some(now + Duration::from_secs(3600)));
    let _ = g.backend.set_alarm(Some(now + SOON));
    g.expect_token(Token::ALARM, "the alarm", PATIENCE);
}

pub(crate) fn a_later_alarm_replaces_an_earlier<B: Backend>(g: &mut Ground<'_, B>) {
    let now = g.backend.now();
    let _ = g.backend.set_alarm(Some(now + SOON));
    let _ = g.backend.set_alarm(Some(now + Duration::from_secs(3600)));
    g.expect_token(Token::ALARM, "the alarm", QUIET);
}

pub(crate) fn an_alarm_comes_once<B: Backend>(g: &mut Ground<'_, B>) {
    let now = g.backend.now();
    let _ = g.backend.set_alarm(Some(now + SOON));
    g.expect_token(Token::ALARM, "the alarm", PATIENCE);
    g.expect_token(Token::ALARM, "the alarm again", QUIET);
}

pub(crate) fn an_alarm_can_be_set_again<B: Backend>(g: &mut Ground<'_, B>) {
    for _ in 0..3 {
        let now = g.backend.now();
        let _ = g.backend.set_alarm(Some(now + SOON));
        g.expect_token(Token::ALARM, "the alarm", PATIENCE);
    }
}

pub(crate) fn a_wake_up_comes<B: Backend>(g: &mut Ground<'_, B>) {
    let waker = g.backend.waker();
    waker.wake();
    g.expect_token(Token::WAKE, "the wake-up", PATIENCE);
    g.expect_token(Token::WAKE, "another", QUIET);
}

pub(crate) fn wake_ups_run_together<B: Backend>(g: &mut Ground<'_, B>) {
    let waker = g.backend.waker();
    for _ in 0..5 {
        waker.wake();
    }
    g.expect_token(Token::WAKE, "the wake-up", PATIENCE);
    g.expect_token(Token::WAKE, "another", QUIET);
    waker.wake();
    g.expect_token(Token::WAKE, "the next", PATIENCE);
}

pub(crate) fn a_wake_up_from_another_thread<B: Backend>(g: &mut Ground<'_, B>) {
    let waker = g.backend.waker();
    let thread = std::thread::spawn(move || waker.wake());
    thread.join().unwrap();
    g.expect_token(Token::WAKE, "the wake-up", PATIENCE);
}

pub(crate) fn an_idle_poll_is_empty<B: Backend>(g: &mut Ground<'_, B>) {
    let ready = g.poll_now();
    g.say(format!("{ready}"));
    let listener = g.listen("127.0.0.1:0");
    let ready = g.poll_now();
    g.say(format!("{ready}"));
    g.drop(listener);
}

pub(crate) fn the_clock_does_not_go_back<B: Backend>(g: &mut Ground<'_, B>) {
    let mut last = g.backend.now();
    let mut fine = true;
    for _ in 0..100 {
        let now = g.backend.now();
        fine &= now >= last;
        last = now;
    }
    let _ = g.backend.set_alarm(Some(last + SOON));
    g.expect_token(Token::ALARM, "the alarm", PATIENCE);
    g.say(format!("never back: {fine}, forward: {}", g.backend.now() > last));
}

pub(crate) fn random_numbers_differ<B: Backend>(g: &mut Ground<'_, B>) {
    let (first, second) = (g.backend.random(), g.backend.random());
    g.say(format!("different: {}", first != second));
}

pub(crate) fn events_fill_no_more_than_asked<B: Backend>(g: &mut Ground<'_, B>) {
    let pairs: Vec<_> = (0..4).map(|_| g.pair()).collect();
    for &(a, _) in &pairs {
        g.write(a, b"x");
    }
    for &(_, b) in &pairs {
        g.expect(b, Readiness::READABLE);
        g.read(b, 1);
    }
}
