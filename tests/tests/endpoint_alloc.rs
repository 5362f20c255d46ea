//! Parsing an endpoint, classifying an address and looking up a service allocate nothing: counted.
#![expect(unsafe_code, reason = "an allocator that counts is unsafe by its signature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::IpAddr;

use sockeye::endpoint::{
    Endpoint, Host, Network, ParseErrorKind, PublicOnly, ServiceName, Target, Transport, embedded_ipv4,
    is_globally_reachable, multicast_scope, parse_socket_addr, services, special,
};

/// Counts what it hands out to each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: it passes every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations of this thread during `work`.
fn count<T>(work: impl FnOnce() -> T) -> u64 {
    let before = ALLOCATIONS.get();
    black_box(work());
    ALLOCATIONS.get() - before
}

#[test]
fn nothing_allocates_but_a_host_name() {
    assert_eq!(count(|| vec![1_u8]), 1, "the counting works");
    for text in [
        "tcp://127.0.0.1:80",
        "udp://[fe80::1%eth0]:53",
        "ip+89://10.0.0.1",
        "tcp://127.1:80",
        "",
    ] {
        assert_eq!(count(|| black_box(text).parse::<Endpoint>()), 0, "{text}");
        assert_eq!(count(|| black_box(text).parse::<Target>()), 0, "{text}");
        assert_eq!(count(|| parse_socket_addr(black_box(text))), 0, "{text}");
    }
    assert_eq!(count(|| black_box("10.0.0.0/8").parse::<Network>()), 0);
    assert_eq!(count(|| black_box("tcp://[::1]:http").parse::<Target>()), 0);
    assert_eq!(
        count(|| black_box("localhost:http").parse::<Target>()),
        1,
        "the name itself"
    );
    let policy = PublicOnly::new();
    for text in ["10.0.0.1", "8.8.8.8", "2001:db8::1", "::ffff:10.0.0.1", "ff02::1"] {
        let ip: IpAddr = text.parse().unwrap();
        let work = || {
            (
                special(ip),
                is_globally_reachable(ip),
                multicast_scope(ip),
                embedded_ipv4(ip),
            )
        };
        assert_eq!(count(work), 0, "{text}");
        assert_eq!(count(|| policy.check_ip(ip)), 0, "{text}");
    }
    assert_eq!(count(|| ServiceName::of(Transport::Tcp, 443)), 0);
    assert_eq!(count(|| services::names(Transport::Udp, 514).count()), 0);
    assert_eq!(count(|| services::port(Transport::Tcp, black_box("domain"))), 0);
    assert_eq!(
        count(|| ServiceName::parse(black_box("domain")).map(|name| name.port(Transport::Tcp))),
        0
    );
}

/// A name of any length costs what the longest name costs at most.
#[test]
fn a_long_text_is_refused_before_it_is_copied() {
    let long = "a.".repeat(100_000);
    assert_eq!(
        count(|| long.parse::<Host>().map_err(|error| error.kind) == Err(ParseErrorKind::NameTooLong)),
        0
    );
}
