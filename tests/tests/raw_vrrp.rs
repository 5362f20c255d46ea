//! The example that speaks VRRP: two of them, in two namespaces, hear each other and not themselves.

use std::time::Duration;

use sockeye_tests::netns::World;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn two_routers_hear_each_other_in_the_group() {
    if !skip::require(&[Need::Namespaces, Need::program("ip")]) {
        return;
    }
    let example = program::build("sockeye-raw-ip", &["--example", "vrrp"], "vrrp");
    let world = World::new();
    let (left, right) = (world.namespace(), world.namespace());
    left.veth("l0", &["192.0.2.1/24"], &right, "r0", &["192.0.2.2/24"]);
    let start = |namespace: &sockeye_tests::netns::Namespace, interface: &str, router: &str| {
        let mut command = namespace.command(&example.to_string_lossy());
        Running::start(command.args([interface, router, "40"]))
    };
    let one = start(&left, "l0", "11");
    let two = start(&right, "r0", "22");
    for _ in 0..2 {
        assert_eq!(one.line(LIMIT), "router 22 at 192.0.2.2 to Some(224.0.0.18)");
        assert_eq!(two.line(LIMIT), "router 11 at 192.0.2.1 to Some(224.0.0.18)");
    }
}
