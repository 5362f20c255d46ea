//! `sockeye ping` counts what the network does.

use sockeye_tests::program::Running;
use sockeye_tests::skip::{Need, require};

use crate::path::{HOPS, Path, SERVER, Told};

#[test]
fn the_loss_that_an_nft_rule_makes() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    Path::filter(
        &path.second,
        &[
            ("forward", "icmp type echo-request numgen inc mod 4 < 1 drop"),
            ("forward", "icmpv6 type echo-request numgen inc mod 5 < 1 drop"),
        ],
    );
    for (address, lost) in SERVER.into_iter().zip([10, 8]) {
        let told = path.run(&["ping", "-c", "40", "-i", "0.01", "-W", "0.5", address]);
        let result = told.result();
        assert_eq!(
            (&result["sent"], &result["lost"]),
            (&40.into(), &lost.into()),
            "{result}"
        );
        assert_eq!(result["received"], 40 - lost);
        assert_eq!(result["loss"], f64::from(lost) / 40.0);
        assert_eq!(
            (told.count("reply"), told.count("lost")),
            (40 - lost as usize, lost as usize)
        );
        assert_eq!(told.status, Some(0), "some were answered");
    }
}

#[test]
fn many_hosts_of_both_families_at_once() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    let hosts: Vec<&str> = HOPS.iter().flatten().copied().collect();
    let mut words = vec!["ping", "-c", "5", "-i", "0.02"];
    words.extend(&hosts);
    // Named a second time, still pinged once.
    words.push(hosts[0]);
    let told = path.run(&words);
    let results = told.end()["results"].as_array().expect("results");
    assert_eq!(results.len(), hosts.len());
    for result in results {
        assert_eq!(
            (&result["sent"], &result["received"]),
            (&5.into(), &5.into()),
            "{result}"
        );
        let rtt = &result["rtt_ns"];
        let [min, median, p99, max] =
            ["min", "p50", "p99", "max"].map(|key| rtt[key].as_u64().expect("a time"));
        assert!(0 < min && min <= median && median <= p99 && p99 <= max, "{rtt}");
    }
    assert_eq!(told.status, Some(0));
}

#[test]
fn two_pings_beside_each_other_take_each_its_own_replies() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    let words = ["ping", "-c", "50", "-i", "0.01", "--json", SERVER[0]];
    let [one, two] = [(); 2].map(|()| Running::start(&mut path.sockeye(&words)));
    for told in [
        Told::of_running(one, Vec::new()),
        Told::of_running(two, Vec::new()),
    ] {
        let result = told.result();
        assert_eq!(
            (&result["received"], &result["duplicates"]),
            (&50.into(), &0.into()),
            "{result}"
        );
        assert_eq!(
            (&result["corrupt"], &result["late"]),
            (&0.into(), &0.into()),
            "{result}"
        );
    }
}

#[test]
fn a_hop_limit_that_runs_out_names_the_router() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    for (family, address) in SERVER.into_iter().enumerate() {
        let told = path.run(&["ping", "-c", "2", "-i", "0.01", "-t", "2", address]);
        let failed = told
            .events
            .iter()
            .find(|event| event["event"] == "failed")
            .expect("a failure");
        assert_eq!(failed["offender"], HOPS[family][1]);
        assert_eq!(failed["cause"], "hop limit exceeded");
        let result = told.result();
        assert_eq!(
            (&result["failed"], &result["lost"]),
            (&2.into(), &0.into()),
            "{result}"
        );
        assert_eq!(told.status, Some(1), "no reply is 1");
    }
}

#[test]
fn payloads_of_every_length_come_back() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    for address in SERVER {
        for size in ["0", "7", "8", "1400", "9000", "65000"] {
            let told = path.run(&["ping", "-c", "1", "-s", size, address]);
            assert_eq!(
                told.result()["received"],
                1,
                "{size} bytes to {address}: {}",
                told.result()
            );
        }
    }
}
