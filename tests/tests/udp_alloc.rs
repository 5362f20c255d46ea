//! No allocation once a socket and its batches are set up: counted by the allocator itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sockeye::udp::{Ecn, Metadata, Outgoing, RecvBatch, SendBatch, UdpOptions};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts for each thread.
struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call is passed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(vec![1u8; 100])), 1);
}

#[test]
fn nothing_is_allocated_after_set_up() {
    let options = UdpOptions::new()
        .metadata(Metadata::ALL.without(Metadata::ORIGINAL_DESTINATION))
        .error_queue(true);
    let receiver = options
        .clone()
        .gro(true)
        .bind("127.0.0.1:0".parse().unwrap())
        .unwrap();
    let sender = options.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let to = receiver.local_addr().unwrap();
    let mut inbox = RecvBatch::new(64, 65_536);
    let mut outbox = SendBatch::new(64);
    let payload = [7; 1200];
    let mut buffer = vec![0; 65_536];
    let mut received = 0;

    let count = allocations(|| {
        for round in 0..200 {
            let size = 100 + round;
            let report = outbox.send_with(&sender, 0..100, |i| {
                Outgoing::to(to, &payload[..size - i % 2]).ecn(Ecn::Ect0)
            });
            assert_eq!(report.count, 100);
            while receiver.recv_batch(&mut inbox).is_ok() {
                received += inbox
                    .iter()
                    .map(|incoming| incoming.segments().len())
                    .sum::<usize>();
            }
            sender
                .send_msg(&Outgoing::to(to, &payload).hop_limit(9).source(to.ip()))
                .unwrap();
            let incoming = receiver.recv_msg(&mut buffer).unwrap();
            receiver.send_msg(&incoming.reply(b"reply")).unwrap();
            sender.recv_from(&mut buffer).unwrap();
            // Faults and their reports neither: port 0, one by one and as a run.
            let nowhere = (to.ip(), 0).into();
            assert!(
                outbox
                    .send_with(&sender, 0..4, |_| Outgoing::to(nowhere, b"x"))
                    .error
                    .is_some()
            );
            assert!(sender.recv_error().unwrap().is_none());
        }
    });
    assert_eq!((count, received), (0, 20_000));
}
