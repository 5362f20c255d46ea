//! A target of a pinger takes less than a KiB, whatever it has answered: counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::probe::{Input, Message, PingOptions, Pinger};

/// Bytes that are allocated now.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one counts and hands on"
)]
// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TARGETS: u32 = 1_000;

/// One test alone in this program: the allocator counts for all threads.
#[test]
fn a_target_takes_less_than_a_kib_whatever_it_has_answered() {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut pinger = Pinger::new(PingOptions::new(7));
    for number in 0..TARGETS {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + number));
        pinger
            .add(SocketAddr::new(address, 0))
            .expect("each address is new");
    }
    let mut message = Vec::new();
    let mut now = Duration::ZERO;
    let mut largest = 0;
    // More rounds than samples are kept one by one, with losses, duplicates and late replies among them.
    for round in 0..200u32 {
        while let Some(request) = pinger.poll_transmit(now, &mut message) {
            message[0] = 0;
            let reply = Input::new(Message::Icmp {
                from: request.destination,
                message: &message,
            });
            if round % 10 != 9 {
                pinger.handle_input(now, reply);
                pinger.handle_input(now, reply);
            }
        }
        now += Duration::from_secs(1);
        while pinger.poll_event(now).is_some() {}
        largest = largest.max(ALLOCATED.load(Ordering::Relaxed) - before);
    }
    let (target, _) = pinger.targets().next().expect("a target");
    assert_eq!(
        (pinger.counts(target).sent, pinger.counts(target).received),
        (200, 180)
    );
    let each = largest / TARGETS as usize;
    println!("{each} bytes a target");
    assert!(each < 1024, "{each} bytes a target");
}
