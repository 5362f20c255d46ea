//! What the tests of faults share: a process of its own for each, which may leave no descriptor open, and calls that fail there.

use std::process::Command;
use std::time::Duration;

use sockeye_event_loop::StreamOptions;
use sockeye_tests::program;
use sockeye_tests::skip::{self, Need};

use crate::probe::{Probe, Served, Told};
use crate::world::World;

/// Names the test that runs in a process of its own.
const CHILD: &str = "SOCKEYE_FAULTS_CHILD";
/// How long a test may take in there; a test that hangs fails by it.
const LIMIT: Duration = Duration::from_secs(240);

/// Programs that these tests use.
pub const STRACE: Need = Need::Program {
    name: "strace",
    package: "strace",
};

/// Whether this is the process of its own of that test.
pub fn is_child(test: &str) -> bool {
    std::env::var_os(CHILD).is_some_and(|which| which == test)
}

/// The test of that name, again, as a command: a process with nothing else in it.
pub fn again(command: &mut Command, test: &str) {
    command
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, test);
}

/// The numbers of the open descriptors and what they are.
pub fn descriptors() -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // The listing's own descriptor is closed again before it is looked at.
            let what = std::fs::read_link(entry.path()).ok()?;
            Some(format!("{:?} {}", entry.file_name(), what.display()))
        })
        .filter(|line| !line.contains("/proc/"))
        .collect();
    all.sort();
    all
}

/// Runs `body`, after which the same descriptors have to be open as before.
#[track_caller]
pub fn leaks_nothing(body: impl FnOnce()) {
    let before = descriptors();
    body();
    assert_eq!(descriptors(), before, "descriptors are left");
}

/// Runs the body in a process of its own: no other test opens descriptors there, so that none may be left.
#[track_caller]
pub fn alone(test: &str, body: impl FnOnce()) {
    if is_child(test) {
        return leaks_nothing(body);
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    again(&mut command, test);
    passes(&mut command, "alone");
}

/// As [`alone`], once for each of `injects` (see `inject` in strace(1)) that the calls of the body meet.
#[track_caller]
pub fn injected(test: &str, injects: &[&str], body: impl FnOnce()) {
    if is_child(test) {
        return leaks_nothing(body);
    }
    if !skip::require(&[STRACE]) {
        return;
    }
    for inject in injects {
        let call = inject.split(':').next().unwrap();
        let mut command = Command::new("strace");
        let trace = tempfile::NamedTempFile::new().unwrap();
        command
            .args(["-f", "-qq", "-e", "signal=none", "-o"])
            .arg(trace.path());
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={inject}")]);
        command.arg(std::env::current_exe().unwrap());
        again(&mut command, test);
        passes(&mut command, inject);
        let calls = std::fs::read(trace.path()).unwrap();
        assert!(
            calls.windows(8).any(|word| word == b"INJECTED"),
            "{inject}: no call met it"
        );
    }
}

#[track_caller]
pub fn passes(command: &mut Command, what: &str) {
    let output = program::output(command, LIMIT);
    let text = output.text();
    assert!(output.status.success(), "{what}: {text}\n{}", output.stderr);
    assert!(text.contains("1 passed"), "{what}: no test has that name: {text}");
    // Figures, for `--nocapture`.
    println!("{text}");
}

/// The full name of a test of this module, as libtest knows it.
macro_rules! name_of {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name))
            .split_once("::")
            .unwrap()
            .1
    };
}

/// Runs each body in both worlds, as two tests; on the kernel in a process of its own, which may leave no descriptor open.
macro_rules! in_both_worlds {
    ($($name:ident),+ $(,)?) => {
        mod on_the_kernel {
            $(#[test] fn $name() {
                $crate::ground::alone(name_of!($name), super::$name::<$crate::world::OnKernel>);
            })+
        }
        mod simulated {
            $(#[test] fn $name() { super::$name::<$crate::world::Simulated>(); })+
        }
    };
}

/// Answers what it is sent.
pub fn echo() -> Probe {
    Probe::new().data(|stream, data| {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    })
}

/// Asks `question` at once and closes when the whole answer is there.
pub fn asker(question: Vec<u8>) -> Probe {
    let mut missing = question.len();
    let question = std::rc::Rc::new(question);
    Probe::new().pushing(question).data(move |stream, data| {
        missing = missing.saturating_sub(data.len());
        if missing == 0 {
            stream.close();
        }
        data.len()
    })
}

/// Shows that an echo serves: a connection of its own, a question, the whole answer, and the end of it.
#[track_caller]
pub fn is_served<W: World>(world: &mut W, at: std::net::SocketAddr) {
    let client = asker(b"is anybody there?".to_vec()).connect(world, at);
    let log = client.log.clone();
    world.until("served", || log.has(&Told::Dropped));
    assert_eq!(client.log.received(0), b"is anybody there?");
    assert_eq!(client.log.closes(), ["closed"]);
}

/// An echo on the server's loop.
pub fn serve_echo<W: World>(world: &mut W) -> (Served, std::net::SocketAddr) {
    echo().serve(world, StreamOptions::default())
}

/// Asks again and again, and counts the answers: a healthy neighbour.
pub fn healthy<W: World>(world: &mut W, at: std::net::SocketAddr) -> Served {
    Probe::new()
        .open(|stream| {
            let _ = stream.write(b"ping");
        })
        .data(|stream, data| {
            if stream.write(data).is_taken() {
                data.len()
            } else {
                0
            }
        })
        .connect(world, at)
}

/// Ends all connections of a client's service by a reset.
pub fn abort_all<W: World>(world: &mut W, client: &Served) {
    let ids = client.log.0.borrow().opened.clone();
    world.client().with(client.handle, |_, context| {
        for id in ids {
            if let Some(mut stream) = context.stream(id) {
                stream.abort();
            }
        }
    });
}
