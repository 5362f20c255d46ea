//! What can be wrong from the start: each has its own outcome and message.

use sockeye_tests::netns::World;
use sockeye_tests::skip::{Need, require};

use crate::path::{Path, Told};

#[test]
fn a_host_that_is_down_is_unreachable_and_not_lost() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    // On the client's own link, and behind the routers: nobody answers for the address.
    for (address, offender) in [("10.0.0.77", "10.0.0.1"), ("10.0.2.77", "10.0.1.2")] {
        let told = path.run(&["ping", "-c", "1", "-W", "10", address]);
        let failed = told
            .events
            .iter()
            .find(|event| event["event"] == "failed")
            .expect("a failure");
        assert_eq!(
            (&failed["cause"], &failed["offender"]),
            (&"host unreachable".into(), &offender.into())
        );
        assert_eq!(told.result()["failed"], 1);
        assert_eq!(told.status, Some(1));
    }
}

#[test]
fn a_route_that_is_missing_is_said_by_whoever_misses_it() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    let told = path.run(&["ping", "-c", "1", "10.9.9.9"]);
    let failed = told
        .events
        .iter()
        .find(|event| event["event"] == "failed")
        .expect("a failure");
    assert_eq!(
        (&failed["cause"], &failed["offender"]),
        (&"network unreachable".into(), &"10.0.0.2".into())
    );

    let world = World::new();
    let nowhere = world.namespace();
    let sockeye = sockeye_tests::program::sockeye().to_string_lossy();
    let program = &*sockeye;
    for address in ["192.0.2.1", "2001:db8::1"] {
        let mut command = nowhere.command(program);
        let told = Told::of(command.args(["ping", "-c", "1", address]));
        let failed = told
            .events
            .iter()
            .find(|event| event["event"] == "failed")
            .expect("a failure");
        assert_eq!(
            (&failed["cause"], &failed["offender"]),
            (&"network unreachable".into(), &serde_json::Value::Null)
        );
        assert_eq!(told.status, Some(1));
        for method in ["-I", "-U"] {
            let mut command = nowhere.command(program);
            let told = Told::of(command.args(["trace", method, address]));
            let end = told.end();
            assert_eq!(
                (&end["outcome"], &end["cause"]),
                (&"failed".into(), &"network unreachable".into()),
                "{end}"
            );
            assert_eq!(told.status, Some(1));
        }
        let mut command = nowhere.command(program);
        let told = Told::of(command.args(["mtu", address]));
        let end = told.end();
        assert_eq!(
            (&end["outcome"], &end["cause"]),
            (&"failed".into(), &"network unreachable".into()),
            "{end}"
        );
        assert_eq!(told.status, Some(1));
    }
}

#[test]
fn a_name_that_does_not_resolve_is_3_and_nonsense_is_2() {
    let sockeye = sockeye_tests::program::sockeye();
    for command in ["ping", "trace", "mtu"] {
        let run = |words: &[&str]| Told::of(std::process::Command::new(sockeye).arg(command).args(words));
        let told = run(&["no-such-host.invalid"]);
        assert_eq!(told.status, Some(3), "{command}: {}", told.stderr);
        assert_eq!(told.events.last().expect("an event")["event"], "error");
        assert!(told.stderr.contains("no-such-host.invalid"), "{}", told.stderr);

        let told = run(&["-6", "127.0.0.1"]);
        assert_eq!(told.status, Some(3), "{command}: {}", told.stderr);
        assert!(told.stderr.contains("has no IPv6 address"), "{}", told.stderr);

        for wrong in ["127.1", "0x7f000001", "1.2.3.4.5"] {
            let told = run(&[wrong]);
            assert_eq!(told.status, Some(2), "{command} {wrong}: {}", told.stderr);
            assert!(told.stderr.contains(wrong), "{}", told.stderr);
        }
    }
    let told = Told::of(std::process::Command::new(sockeye).args(["ping", "224.0.0.1"]));
    assert_eq!(told.status, Some(2), "{}", told.stderr);
    assert!(
        told.stderr.contains("224.0.0.1 is not the address of one host"),
        "{}",
        told.stderr
    );
}
