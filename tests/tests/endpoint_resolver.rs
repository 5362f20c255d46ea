//! Names by the system's resolver: hosts file, unknown names, and a name server whose packets are dropped.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use sockeye::endpoint::Target;
use sockeye::resolver::{Config, LookupError, Progress, Query, ResolveError, Resolver, ThreadCount, Waker};
use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{Output, output, sockeye};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

/// Set for the run inside, where the files that the C library reads are the test's own.
const INSIDE: &str = "SOCKEYE_TEST_DEAD_NAME_SERVER";

fn target(text: &str) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn localhost_resolves_to_loopback_addresses() {
    let found = sockeye::resolver::resolve(&target("localhost:http"), PATIENCE).unwrap();
    assert!(!found.is_empty());
    assert!(
        found
            .iter()
            .all(|address| address.ip().is_loopback() && address.port() == 80),
        "{found:?}"
    );
}

/// What the C library's resolver reads, replaced in a mount namespace: one hosts entry, and a name server on a network
/// that swallows every packet.
struct Names {
    folder: tempfile::TempDir,
    namespace: Namespace,
    /// The other end of the only link: the pair goes with either end.
    _nobody: Namespace,
    _world: World,
}

impl Names {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
        for (file, text) in [
            (
                "hosts",
                "127.0.0.1 localhost\n192.0.2.77 printer.example printer\n2001:db8::77 printer.example\n",
            ),
            (
                "resolv.conf",
                "nameserver 192.0.2.53\noptions timeout:30 attempts:3\n",
            ),
            ("nsswitch.conf", "hosts: files dns\n"),
        ] {
            std::fs::write(folder.path().join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        let world = World::new();
        let (namespace, nobody) = (world.namespace(), world.namespace());
        namespace.veth("d0", &["192.0.2.1/24"], &nobody, "d1", &[]);
        // The neighbour's address is known, so the packets leave, and nobody over there takes them.
        namespace.ip("neigh replace 192.0.2.53 lladdr 02:00:00:00:00:53 dev d0");
        Self {
            folder,
            namespace,
            _nobody: nobody,
            _world: world,
        }
    }

    /// A command inside that sees these files in `/etc`.
    fn command(&self, program: &Path) -> Command {
        let mount = "for file in hosts resolv.conf nsswitch.conf; do \
             mount --bind \"$0/$file\" /etc/$file || exit 99; done; exec \"$@\"";
        let mut command = self.namespace.command("unshare");
        command
            .args(["-m", "sh", "-c", mount])
            .arg(self.folder.path())
            .arg(program);
        command
    }
}

fn needs() -> bool {
    require(&[Need::Namespaces, Need::program("mount"), Need::program("unshare")])
}

fn json(output: &Output) -> Vec<Value> {
    output
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or(Value::Null))
        .collect()
}

#[test]
fn a_name_from_the_hosts_file_and_an_unknown_one() {
    if !needs() {
        return;
    }
    let names = Names::new();
    let mut command = names.command(sockeye());
    command.args([
        "resolve",
        "--json",
        "--timeout",
        "2",
        "printer.example:80",
        "printer",
        "localhost",
        "[::1]:80",
    ]);
    let result = output(&mut command, PATIENCE);
    assert_eq!(result.status.code(), Some(0), "{}", result.stderr);
    let events = json(&result);
    let addresses = |event: &Value| {
        let list = event["addresses"].as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|address| address["address"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    // There is no route by IPv6 in there, so rule 1 puts its address last.
    assert_eq!(
        addresses(&events[0]),
        ["192.0.2.77:80", "[2001:db8::77]:80"],
        "{}",
        events[0]
    );
    assert_eq!(events[0]["addresses"][0]["rule"], 1);
    assert_eq!(events[0]["addresses"][0]["source"], "192.0.2.1");
    assert!(
        addresses(&events[1]).contains(&"192.0.2.77:0".to_owned()),
        "{}",
        events[1]
    );
    assert!(
        addresses(&events[2]).contains(&"127.0.0.1:0".to_owned()),
        "{}",
        events[2]
    );
    assert_eq!(addresses(&events[3]), ["[::1]:80"]);
}

#[test]
fn a_dead_name_server_costs_its_deadline_and_nothing_else() {
    if !needs() {
        return;
    }
    let names = Names::new();
    // Built first, if need be: the clock is for the run alone.
    let program = sockeye();
    let started = Instant::now();
    for (way, message) in [
        (
            None,
            "no answer from the name servers (last asked: 192.0.2.53:53)",
        ),
        (Some("--system"), "no answer before the deadline"),
    ] {
        let mut command = names.command(program);
        command.args(["resolve", "--json", "--timeout", "0.5"]).args(way);
        command.args(["dead.example:80", "printer.example:80"]);
        let result = output(&mut command, PATIENCE);
        assert_eq!(result.status.code(), Some(3), "{}", result.stderr);
        let events = json(&result);
        assert_eq!(events[0]["ok"], false);
        let said = events[0]["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(said.contains(message), "{said}");
        let took = events[0]["took_ns"].as_u64().unwrap_or_default();
        assert!((500_000_000..5_000_000_000).contains(&took), "{took} ns");
        assert_eq!(events[1]["ok"], true, "{}", events[1]);
    }
    assert!(
        started.elapsed() < PATIENCE,
        "the program did not wait for its hung threads"
    );
}

/// The same in the process: this test runs itself again inside.
#[test]
fn a_hung_thread_costs_the_loop_nothing_and_other_queries_go_on() {
    if std::env::var_os(INSIDE).is_some() {
        return hung_threads_beside_a_loop();
    }
    if !needs() {
        return;
    }
    let names = Names::new();
    let binary = std::env::current_exe().unwrap();
    let mut command = names.command(&binary);
    command
        .args([
            "--exact",
            "a_hung_thread_costs_the_loop_nothing_and_other_queries_go_on",
            "--nocapture",
        ])
        .env(INSIDE, "1");
    let result = output(&mut command, Duration::from_secs(60));
    assert!(result.status.success(), "{}\n{}", result.text(), result.stderr);
    assert!(result.text().contains("1 passed"), "{}", result.text());
}

/// Takes what has come; whether the query is done.
fn take(query: &mut Query, answers: &mut Vec<Result<Vec<SocketAddr>, LookupError>>) -> bool {
    loop {
        match query.poll() {
            Progress::Answer(answer) => answers.push(answer.result),
            Progress::Pending => return false,
            Progress::Done => return true,
        }
    }
}

fn hung_threads_beside_a_loop() {
    let resolver = Resolver::new(Config {
        threads: 2,
        max_abandoned: 4,
        ..Config::default()
    });
    let (wake, wakes) = channel();
    let waker: Waker = Arc::new(move || {
        let _ = wake.send(());
    });
    let now = Instant::now();
    let deadline = Duration::from_millis(700);
    let start = |text: &str, limit: Duration| {
        resolver
            .start(&target(text), now + limit, Arc::clone(&waker))
            .unwrap()
    };
    let mut dead = start("dead.example:80", deadline);
    let mut numeric = start("192.0.2.1:80", deadline);
    let mut alive = start("printer.example:80", PATIENCE);
    let (mut dead_answers, mut alive_answers, mut numeric_answers) = (Vec::new(), Vec::new(), Vec::new());
    assert!(
        take(&mut numeric, &mut numeric_answers),
        "an address waits for no thread"
    );
    // The loop: it sleeps until it is woken, or for a turn of its own, and never longer.
    let turn = Duration::from_millis(5);
    let (mut dead_done, mut alive_done, mut longest) = (None, false, Duration::ZERO);
    while dead_done.is_none() || !alive_done {
        assert!(now.elapsed() < PATIENCE, "{dead:?} {alive:?}");
        if wakes.recv_timeout(turn) == Err(RecvTimeoutError::Disconnected) {
            panic!("the waker is gone");
        }
        let work = Instant::now();
        alive_done |= take(&mut alive, &mut alive_answers);
        if dead_done.is_none() && take(&mut dead, &mut dead_answers) {
            dead_done = Some(now.elapsed());
        }
        longest = longest.max(work.elapsed());
    }
    assert_eq!(
        dead_answers,
        [Err(LookupError::TimedOut), Err(LookupError::TimedOut)]
    );
    let took = dead_done.unwrap_or_default();
    assert!(
        took >= deadline && took < deadline + Duration::from_secs(5),
        "{took:?}"
    );
    assert!(longest < Duration::from_millis(500), "a poll took {longest:?}");
    let found: Vec<SocketAddr> = alive_answers.into_iter().flatten().flatten().collect();
    assert!(found.contains(&"192.0.2.77:80".parse().unwrap()), "{found:?}");
    let ThreadCount {
        workers, abandoned, ..
    } = resolver.threads();
    assert!(workers <= 2 && abandoned <= 4, "{workers} {abandoned}");
    cancels_and_blocking_calls_keep_their_time(&resolver, &waker);
}

fn cancels_and_blocking_calls_keep_their_time(resolver: &Resolver, waker: &Waker) {
    // Cancelled at once, although both of its lookups hang.
    let cancelled = Instant::now();
    let deadline = Instant::now() + PATIENCE;
    resolver
        .start(&target("dead-too.example:80"), deadline, Arc::clone(waker))
        .unwrap()
        .cancel();
    assert!(cancelled.elapsed() < Duration::from_secs(5));
    // A blocking call keeps its deadline, too.
    let error = resolver
        .resolve(&target("dead-again.example:80"), Duration::from_millis(300))
        .unwrap_err();
    assert!(matches!(
        error,
        ResolveError::NoAddress {
            v4: LookupError::TimedOut,
            v6: LookupError::TimedOut
        }
    ));
}
