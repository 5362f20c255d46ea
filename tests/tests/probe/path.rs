//! Two hosts and two routers between them, in namespaces of their own.
//!
//! `client -- first -- second -- server`: 10.0.0/24, 10.0.1/24, 10.0.2/24 and fd00::/64, fd00:1::/64, fd00:2::/64, the
//! left end of each link 1 and the right end 2.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{self, Running};

/// How long a program may take: longer than any deadline inside.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The server, by family.
pub(crate) const SERVER: [&str; 2] = ["10.0.2.2", "fd00:2::2"];
/// The routers' addresses towards the client and the server, in the order of the hops, by family.
pub(crate) const HOPS: [[&str; 3]; 2] = [
    ["10.0.0.2", "10.0.1.2", "10.0.2.2"],
    ["fd00::2", "fd00:1::2", "fd00:2::2"],
];

pub(crate) struct Path {
    pub(crate) client: Namespace,
    pub(crate) first: Namespace,
    pub(crate) second: Namespace,
    pub(crate) server: Namespace,
    _world: World,
}

impl Path {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let [client, first, second, server] = [(); 4].map(|()| world.namespace());
        for router in [&first, &second] {
            router.sysctl("net/ipv4/ip_forward", "1");
            router.sysctl("net/ipv6/conf/all/forwarding", "1");
        }
        for namespace in [&client, &first, &second, &server] {
            // Kernels send few errors to one host; here all of them matter.
            namespace.sysctl("net/ipv4/icmp_ratelimit", "0");
            namespace.sysctl("net/ipv6/icmp/ratelimit", "0");
        }
        client.veth(
            "c0",
            &["10.0.0.1/24", "fd00::1/64"],
            &first,
            "f0",
            &["10.0.0.2/24", "fd00::2/64"],
        );
        first.veth(
            "f1",
            &["10.0.1.1/24", "fd00:1::1/64"],
            &second,
            "s0",
            &["10.0.1.2/24", "fd00:1::2/64"],
        );
        second.veth(
            "s1",
            &["10.0.2.1/24", "fd00:2::1/64"],
            &server,
            "d0",
            &["10.0.2.2/24", "fd00:2::2/64"],
        );
        client.ip("route add default via 10.0.0.2");
        client.ip("-6 route add default via fd00::2");
        first.ip("route add 10.0.2.0/24 via 10.0.1.2");
        first.ip("-6 route add fd00:2::/64 via fd00:1::2");
        second.ip("route add 10.0.0.0/24 via 10.0.1.1");
        second.ip("-6 route add fd00::/64 via fd00:1::1");
        server.ip("route add default via 10.0.2.1");
        server.ip("-6 route add default via fd00:2::1");
        let path = Self {
            client,
            first,
            second,
            server,
            _world: world,
        };
        path.settle();
        path
    }

    /// Waits until packets go through for both families: links come up and neighbours are found in their own time.
    fn settle(&self) {
        for address in SERVER {
            sockeye_tests::wait::until("the path to carry packets", LIMIT, || {
                let mut ping = self.client.command(&program::sockeye().to_string_lossy());
                ping.args(["ping", "-q", "-c1", "-W1", address]);
                program::output(&mut ping, LIMIT).status.success()
            });
        }
    }

    /// `sockeye` on the client.
    pub(crate) fn sockeye(&self, words: &[&str]) -> Command {
        let mut command = self.client.command(&program::sockeye().to_string_lossy());
        command.args(words);
        command
    }

    /// Runs `sockeye` on the client to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Told {
        Told::of(&mut self.sockeye(words))
    }

    /// A narrow link between the routers.
    pub(crate) fn narrow(&self, mtu: u32) {
        self.first.ip(&format!("link set f1 mtu {mtu}"));
        self.second.ip(&format!("link set s0 mtu {mtu}"));
    }

    /// Adds nft rules on a namespace, each in a chain of the hook before it.
    pub(crate) fn filter(namespace: &Namespace, rules: &[(&str, &str)]) {
        namespace.run("nft", &["add table inet probe"]);
        for (hook, rule) in rules {
            namespace.run(
                "nft",
                &[&format!(
                    "add chain inet probe {hook} {{ type filter hook {hook} priority 0; }}"
                )],
            );
            namespace.run("nft", &[&format!("add rule inet probe {hook} {rule}")]);
        }
    }
}

/// What a run of `sockeye --json` told.
pub(crate) struct Told {
    pub(crate) events: Vec<Value>,
    pub(crate) status: Option<i32>,
    pub(crate) stderr: String,
}

impl Told {
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = program::output(command.arg("--json"), LIMIT);
        let events = output
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        Self {
            events,
            status: output.status.code(),
            stderr: output.stderr,
        }
    }

    /// What a running program has told by its end.
    #[track_caller]
    pub(crate) fn of_running(mut running: Running, first: Vec<String>) -> Self {
        let status = running.wait(LIMIT).code();
        let mut lines = first;
        // The readers of its streams have seen their ends by now or are about to.
        while lines
            .last()
            .is_none_or(|line| !line.contains("\"event\":\"end\""))
        {
            lines.push(running.line(LIMIT));
        }
        let events = lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        Self {
            events,
            status,
            stderr: String::new(),
        }
    }

    /// The last event, which has to be the summary.
    #[track_caller]
    pub(crate) fn end(&self) -> &Value {
        let end = self
            .events
            .last()
            .unwrap_or_else(|| panic!("it told nothing: {}", self.stderr));
        assert_eq!(end["event"], "end", "{}", self.stderr);
        assert_eq!(end["schema"], 1);
        end
    }

    /// The summary of the only target of a ping.
    #[track_caller]
    pub(crate) fn result(&self) -> &Value {
        &self.end()["results"][0]
    }

    /// How many events have that name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.events.iter().filter(|event| event["event"] == name).count()
    }
}
