//! Models of what threads share with a loop, run by loom through every order of their steps: the very source of the queue behind
//! `Remote` and `Shards`, with loom's mutex.
//!
//! A wake-up that is lost is a loop that waits for ever: loom reports it as a deadlock. How often a thread is
//! stopped that could go on is bounded, so that each model takes a second or two.

#![allow(dead_code, unreachable_pub, reason = "the queue has more than a model uses")]

use std::fmt;
use std::sync::Arc as Plain;

use loom::sync;
use loom::sync::{Arc, Notify};
use loom::thread;

#[path = "../src/remote/queue.rs"]
mod queue;

use queue::{Queue, RemoteError};

/// As `backend::Wake`.
pub trait Wake: Send + Sync + fmt::Debug {
    /// Makes the loop look at its queue.
    fn wake(&self);
}

/// What the poller does: it remembers one wake-up, and a wait takes it. Only the loop waits.
#[derive(Clone)]
struct Poller(Arc<Notify>);

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poller")
    }
}

impl Poller {
    fn new() -> Self {
        Self(Arc::new(Notify::new()))
    }

    fn wait(&self) {
        self.0.wait();
    }
}

impl Wake for Poller {
    fn wake(&self) {
        self.0.notify();
    }
}

/// Every order of steps with at most so many places where a thread is stopped that could go on: more take minutes.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// What is sent: who, and which of its commands; or the wish to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Command(usize, usize),
    Stop,
}

fn queue<T>(capacity: usize) -> (Poller, Arc<Queue<T>>) {
    let poller = Poller::new();
    let queue = Arc::new(Queue::new(Plain::new(poller.clone()), capacity));
    (poller, queue)
}

/// A loop that takes `per_turn` commands in a turn, and waits only where the queue was empty, until `is_over`.
fn run<T: Copy>(poller: &Poller, queue: &Queue<T>, per_turn: usize, mut is_over: impl FnMut(T) -> bool) {
    let mut has_commands = false;
    loop {
        if !has_commands {
            poller.wait();
            has_commands = true;
        }
        for _ in 0..per_turn {
            match queue.pop() {
                Some(command) if is_over(command) => return,
                Some(_) => {}
                None => {
                    has_commands = false;
                    break;
                }
            }
        }
    }
}

#[test]
fn no_wake_up_is_lost_and_commands_keep_their_order() {
    model(|| {
        let (poller, queue) = queue(8);
        let senders: Vec<_> = [2, 1]
            .into_iter()
            .enumerate()
            .map(|(who, count)| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    for number in 0..count {
                        queue.push(Sent::Command(who, number)).unwrap();
                    }
                })
            })
            .collect();
        let mut next = [0, 0];
        run(&poller, &queue, 4, |sent| {
            let Sent::Command(who, number) = sent else {
                return true;
            };
            assert_eq!(next[who], number);
            next[who] += 1;
            next == [2, 1]
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(queue.pop().is_none());
    });
}

#[test]
fn a_turn_that_takes_less_than_there_is_needs_no_second_wake_up() {
    model(|| {
        let (poller, queue) = queue(8);
        let sender = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.push(Sent::Command(0, 0)).unwrap();
                queue.push(Sent::Command(0, 1)).unwrap();
                queue.push(Sent::Stop).unwrap();
            })
        };
        let mut count = 0;
        run(&poller, &queue, 1, |sent| {
            count += usize::from(sent != Sent::Stop);
            sent == Sent::Stop
        });
        assert_eq!(count, 2);
        sender.join().unwrap();
    });
}

#[test]
fn a_full_queue_refuses_and_a_stop_gets_through_all_the_same() {
    model(|| {
        let (poller, queue) = queue(1);
        let senders: Vec<_> = (0..2)
            .map(|who| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let sent = queue.push(Sent::Command(who, 0));
                    assert!(matches!(sent, Ok(()) | Err(RemoteError::Full)));
                    usize::from(sent.is_ok())
                })
            })
            .collect();
        queue.force(Sent::Stop);
        let mut seen = 0;
        run(&poller, &queue, 4, |sent| {
            seen += usize::from(sent != Sent::Stop);
            sent == Sent::Stop
        });
        let accepted: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        // What came behind the stop is still there.
        while queue.pop().is_some() {
            seen += 1;
        }
        assert_eq!(seen, accepted);
    });
}

/// A message that counts how often it was dropped.
struct Counted(Plain<std::sync::atomic::AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn what_is_sent_while_a_loop_ends_is_dropped_once_or_refused() {
    model(|| {
        let (_poller, queue) = queue(8);
        let dropped = Plain::new(std::sync::atomic::AtomicUsize::new(0));
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let (queue, message) = (Arc::clone(&queue), Counted(Plain::clone(&dropped)));
                thread::spawn(move || {
                    let sent = queue.push(message);
                    assert!(matches!(sent, Ok(()) | Err(RemoteError::Gone)));
                })
            })
            .collect();
        drop(queue.pop());
        queue.end();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        // The queue itself is still there: nothing may be left in it.
        assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 2);
        assert!(queue.pop().is_none());
    });
}

/// Two shards that one acceptor hands connections to, and that are told to stop: as `Shards` does it.
#[test]
fn shards_get_what_was_handed_to_them_before_they_stop() {
    model(|| {
        let shards: Vec<_> = (0..2)
            .map(|_| {
                let (poller, queue) = queue(2);
                let mine = Arc::clone(&queue);
                let thread = thread::spawn(move || {
                    let mut served = 0;
                    run(&poller, &mine, 4, |sent| {
                        served += usize::from(sent != Sent::Stop);
                        sent == Sent::Stop
                    });
                    mine.end();
                    served
                });
                (queue, thread)
            })
            .collect();
        for (queue, _) in &shards {
            queue.push(Sent::Command(0, 0)).unwrap();
        }
        for (queue, _) in &shards {
            queue.push(Sent::Stop).unwrap();
        }
        for (queue, thread) in shards {
            assert_eq!(thread.join().unwrap(), 1);
            assert_eq!(queue.push(Sent::Stop), Err(RemoteError::Gone));
        }
    });
}
