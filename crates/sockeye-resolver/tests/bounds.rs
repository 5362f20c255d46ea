//! The promises about threads, deadlines and bounds, with lookups that do as they are told.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sockeye_endpoint::{HostName, Target};
use sockeye_resolver::{
    AddressFamily, Config, Lookup, LookupError, Progress, ResolveError, Resolver, StartError, ThreadCount,
    Waker,
};

/// Longer than anything here takes; only a failing test waits for so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers at once, but for names that begin with `hang`: those block until the test lets go.
struct Scripted {
    gate: Mutex<Receiver<()>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new() -> (Arc<Self>, Sender<()>) {
        let (open, gate) = channel();
        (
            Arc::new(Self {
                gate: Mutex::new(gate),
                asked: AtomicUsize::new(0),
            }),
            open,
        )
    }
}

impl Lookup for Scripted {
    fn lookup(
        &self,
        host: &HostName,
        family: AddressFamily,
        max: usize,
    ) -> Result<Vec<SocketAddr>, LookupError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let v4 = |last: usize| SocketAddr::new([192, 0, 2, u8::try_from(last).unwrap_or(0)].into(), 0);
        match (host.as_str(), family) {
            (name, _) if name.starts_with("hang") => {
                // Ends when the test drops the sender, too.
                let _ = self.gate.lock().map(|gate| gate.recv());
                Ok(vec![v4(250)])
            }
            ("panics", _) => panic!("a lookup that panics"),
            ("thousand", AddressFamily::V4) => Ok((0..1_000).map(|n| v4(n % 256)).collect::<Vec<_>>()),
            ("six", AddressFamily::V6) => {
                Ok(vec!["[2001:db8::1]:0".parse().map_err(|_| LookupError::Failed)?])
            }
            (_, AddressFamily::V4) => Ok((1..=max.min(2)).map(v4).collect()),
            (_, AddressFamily::V6) => Err(LookupError::NotFound),
        }
    }
}

fn target(text: &str) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn silent() -> Waker {
    Arc::new(|| {})
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(50)
}

fn late() -> Instant {
    Instant::now() + PATIENCE
}

/// Waits for a count of threads, with patience.
#[track_caller]
fn until(resolver: &Resolver, wanted: impl Fn(ThreadCount) -> bool) {
    let give_up = late();
    while !wanted(resolver.threads()) {
        assert!(Instant::now() < give_up, "{:?}", resolver.threads());
        std::thread::yield_now();
    }
}

#[test]
fn a_and_aaaa_are_answered_apart_and_each_wakes() {
    let (lookup, _open) = Scripted::new();
    let resolver = Resolver::with_lookup(Config::default(), lookup);
    let (woken, wakes) = channel();
    let waker: Waker = Arc::new(move || {
        let _ = woken.send(());
    });
    let mut query = resolver.start(&target("name:80"), late(), waker).unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        wakes.recv_timeout(PATIENCE).unwrap();
        let Progress::Answer(answer) = query.poll() else {
            panic!("woken without an answer")
        };
        answers.push((answer.family, answer.result));
    }
    answers.sort_by_key(|(family, _)| *family == AddressFamily::V6);
    let v4: Vec<SocketAddr> = vec!["192.0.2.1:80".parse().unwrap(), "192.0.2.2:80".parse().unwrap()];
    assert_eq!(
        answers,
        [
            (AddressFamily::V4, Ok(v4)),
            (AddressFamily::V6, Err(LookupError::NotFound))
        ]
    );
    assert_eq!(query.poll(), Progress::Done);
}

#[test]
fn an_address_is_answered_at_once_without_a_thread() {
    let (lookup, _open) = Scripted::new();
    let resolver = Resolver::with_lookup(Config::default(), Arc::clone(&lookup) as Arc<dyn Lookup>);
    let mut query = resolver
        .start(&target("[fe80::1%lo]:53"), Instant::now(), silent())
        .unwrap();
    let Progress::Answer(answer) = query.poll() else {
        panic!("not at once")
    };
    assert_eq!(answer.result.unwrap(), ["[fe80::1%1]:53".parse().unwrap()]);
    assert_eq!(query.poll(), Progress::Done);
    assert_eq!(
        (resolver.threads(), lookup.asked.load(Ordering::SeqCst)),
        (ThreadCount::default(), 0)
    );
    let nowhere = resolver.start(&target("[fe80::1%no-such-if]:53"), late(), silent());
    assert!(matches!(nowhere, Err(StartError::Zone(zone)) if zone.name.as_str() == "no-such-if"));
}

#[test]
fn a_hung_lookup_costs_its_query_the_deadline_and_other_queries_nothing() {
    let (lookup, open) = Scripted::new();
    let config = Config {
        threads: 2,
        max_abandoned: 2,
        ..Config::default()
    };
    let resolver = Resolver::with_lookup(config, lookup);
    let started = Instant::now();
    let mut hung = resolver.start(&target("hang:80"), soon(), silent()).unwrap();
    let mut others = resolver.start(&target("other:80"), late(), silent()).unwrap();
    for _ in 0..2 {
        let Progress::Answer(answer) = hung.wait() else {
            panic!("no answer")
        };
        assert_eq!(answer.result, Err(LookupError::TimedOut));
    }
    assert!(started.elapsed() < PATIENCE / 2, "the deadline and not more");
    // Both threads hang; the other query gets new ones.
    let Progress::Answer(answer) = others.wait() else {
        panic!("no answer")
    };
    assert_ne!(answer.result, Err(LookupError::TimedOut));
    assert!(resolver.threads().abandoned > 0);
    drop(open);
    until(&resolver, |threads| threads.abandoned == 0);
    assert_eq!(hung.poll(), Progress::Done, "the late answer goes nowhere");
}

#[test]
fn past_the_bound_of_abandoned_threads_queries_wait_for_their_own_deadlines() {
    let (lookup, open) = Scripted::new();
    let config = Config {
        threads: 1,
        max_abandoned: 1,
        ..Config::default()
    };
    let resolver = Resolver::with_lookup(config, lookup);
    // The first hangs; the second has it abandoned, gets its thread and hangs there.
    for name in ["hang1:80", "hang2:80"] {
        let mut query = resolver.start(&target(name), soon(), silent()).unwrap();
        while let Progress::Answer(answer) = query.wait() {
            assert_eq!(answer.result, Err(LookupError::TimedOut));
        }
    }
    assert_eq!((resolver.threads().workers, resolver.threads().abandoned), (1, 1));
    // Each new query would want a thread: there is one hung and one abandoned, and no more.
    let mut after = resolver.start(&target("name:80"), soon(), silent()).unwrap();
    while let Progress::Answer(answer) = after.wait() {
        assert_eq!(answer.result, Err(LookupError::TimedOut));
    }
    let threads = resolver.threads();
    assert!(threads.workers <= 1 && threads.abandoned <= 1, "{threads:?}");
    // Once the lookups return, everything is as before.
    drop(open);
    let mut again = resolver.start(&target("name:80"), late(), silent()).unwrap();
    while let Progress::Answer(answer) = again.wait() {
        assert_ne!(answer.result, Err(LookupError::TimedOut));
    }
}

#[test]
fn a_cancelled_query_frees_its_place() {
    let (lookup, open) = Scripted::new();
    let config = Config {
        threads: 1,
        max_abandoned: 1,
        max_queued: 2,
        ..Config::default()
    };
    let resolver = Resolver::with_lookup(config, Arc::clone(&lookup) as Arc<dyn Lookup>);
    let first = resolver.start(&target("hang:80"), late(), silent()).unwrap();
    let give_up = late();
    while lookup.asked.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < give_up);
        std::thread::yield_now();
    }
    // One of its lookups runs, the other waits: there is no place for two more.
    assert!(matches!(
        resolver.start(&target("name:80"), late(), silent()),
        Err(StartError::Busy)
    ));
    first.cancel();
    let mut second = resolver.start(&target("name:80"), late(), silent()).unwrap();
    while let Progress::Answer(answer) = second.wait() {
        assert_ne!(answer.result, Err(LookupError::TimedOut));
    }
    drop(open);
}

#[test]
fn a_name_with_a_thousand_addresses_is_capped() {
    let (lookup, _open) = Scripted::new();
    let config = Config {
        max_addresses: 5,
        ..Config::default()
    };
    let resolved = Resolver::with_lookup(config, lookup)
        .resolve(&target("thousand:80"), PATIENCE)
        .unwrap();
    assert_eq!(resolved.len(), 5);
}

#[test]
fn a_lookup_or_a_waker_that_panics_takes_no_thread_with_it() {
    let (lookup, _open) = Scripted::new();
    let resolver = Resolver::with_lookup(
        Config {
            threads: 1,
            ..Config::default()
        },
        lookup,
    );
    let ResolveError::NoAddress { v4, v6 } = resolver.resolve(&target("panics:80"), PATIENCE).unwrap_err()
    else {
        panic!("another error");
    };
    assert_eq!((v4, v6), (LookupError::Failed, LookupError::Failed));
    let waker: Waker = Arc::new(|| panic!("a waker that panics"));
    let mut query = resolver.start(&target("name:80"), late(), waker).unwrap();
    assert!(matches!(query.wait(), Progress::Answer(_)));
    assert!(matches!(query.wait(), Progress::Answer(_)));
    assert_eq!(resolver.resolve(&target("name:80"), PATIENCE).unwrap().len(), 2);
}

#[test]
fn one_family_is_enough() {
    let (lookup, _open) = Scripted::new();
    let resolver = Resolver::with_lookup(Config::default(), lookup);
    let found = resolver.resolve(&target("six:443"), PATIENCE).unwrap();
    let ips: Vec<IpAddr> = found.iter().map(|resolved| resolved.address.ip()).collect();
    assert!(ips.contains(&"2001:db8::1".parse().unwrap()) && ips.len() == 3);
}

#[test]
fn idle_threads_end() {
    let (lookup, _open) = Scripted::new();
    let resolver = Resolver::with_lookup(
        Config {
            keep_alive: Duration::from_millis(20),
            ..Config::default()
        },
        lookup,
    );
    resolver.resolve(&target("name:80"), PATIENCE).unwrap();
    until(&resolver, |threads| threads == ThreadCount::default());
}

#[test]
fn localhost_and_an_unknown_name_by_the_system_and_as_the_files_say() {
    for resolver in [&Resolver::new(Config::default()), Resolver::shared()] {
        let found = resolver.resolve(&target("localhost:http"), PATIENCE).unwrap();
        assert!(!found.is_empty());
        assert!(
            found
                .iter()
                .all(|one| one.address.ip().is_loopback() && one.address.port() == 80)
        );
        let unknown = resolver.resolve(&target("no-such-name.invalid:80"), PATIENCE);
        assert!(matches!(unknown, Err(ResolveError::NoAddress { .. })));
    }
    assert_eq!(
        sockeye_resolver::resolve(&target("127.0.0.1:80"), PATIENCE).unwrap(),
        ["127.0.0.1:80".parse().unwrap()]
    );
}
