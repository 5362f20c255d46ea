//! One operation of the endpoint crate, or of its peer, again and again: what `cargo xtask bench endpoint
//! --instructions` counts. `endpoint_counted OPERATION TIMES`; it also counts allocations and fails where there is one.
#![expect(unsafe_code, reason = "an allocator that counts is unsafe by its signature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye::endpoint::{
    Endpoint, ServiceName, Transport, embedded_ipv4, is_globally_reachable, multicast_scope,
    parse_socket_addr, services, special,
};

/// Counts what it hands out.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: it passes every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

const V4: &str = "192.168.100.200:8080";
const V6: &str = "[2001:db8:85a3::8a2e:370:7334]:8080";

/// Runs `operation` so often, and nothing else that depends on how often.
fn repeat<T>(times: u64, mut operation: impl FnMut() -> T) {
    for _ in 0..times {
        black_box(operation());
    }
}

fn run(operation: &str, times: u64) -> bool {
    let v4: IpAddr = Ipv4Addr::new(198, 51, 100, 7).into();
    let v6: IpAddr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into();
    match operation {
        "nothing" => repeat(times, || ()),
        "parse-v4" => repeat(times, || parse_socket_addr(black_box(V4))),
        "parse-v4-std" => repeat(times, || black_box(V4).parse::<SocketAddr>()),
        "parse-v4-std-v4" => repeat(times, || black_box(V4).parse::<SocketAddrV4>()),
        "parse-v6" => repeat(times, || parse_socket_addr(black_box(V6))),
        "parse-v6-std" => repeat(times, || black_box(V6).parse::<SocketAddr>()),
        "parse-v6-std-v6" => repeat(times, || black_box(V6).parse::<SocketAddrV6>()),
        "parse-endpoint-v4" => repeat(times, || Endpoint::parse_or(black_box(V4), Transport::Tcp)),
        "parse-endpoint-v6" => repeat(times, || Endpoint::parse_or(black_box(V6), Transport::Tcp)),
        "special-v4" => repeat(times, || special(black_box(v4))),
        "special-v6" => repeat(times, || special(black_box(v6))),
        "reachable-v4" => repeat(times, || is_globally_reachable(black_box(v4))),
        "reachable-v6" => repeat(times, || is_globally_reachable(black_box(v6))),
        "scope-v6" => repeat(times, || multicast_scope(black_box(v6))),
        "embedded-v6" => repeat(times, || embedded_ipv4(black_box(v6))),
        "service-of-port" => repeat(times, || {
            ServiceName::of(black_box(Transport::Tcp), black_box(443))
        }),
        "service-port-of" => {
            let name = ServiceName::parse("postgresql");
            let Ok(name) = name else { return false };
            repeat(times, || black_box(name).port(black_box(Transport::Tcp)));
        }
        "service-by-text" => repeat(times, || {
            services::port(black_box(Transport::Tcp), black_box("postgresql"))
        }),
        _ => return false,
    }
    true
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, operation, times] = &arguments[..] else {
        eprintln!("endpoint_counted OPERATION TIMES");
        return ExitCode::from(2);
    };
    let Ok(times) = times.parse() else {
        return ExitCode::from(2);
    };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    if !run(operation, times) {
        eprintln!("no operation is called {operation}");
        return ExitCode::from(2);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    if allocations > 0 {
        eprintln!("{operation}: {allocations} allocations in {times} calls");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
