//! Ctrl-C: valid JSON to the end, a summary, and a status that says whether there was a result.

use sockeye_tests::program::Running;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::path::{Path, SERVER, Told};

/// Starts `sockeye`, waits for a line with `until` in it, interrupts, and returns what was told.
fn interrupt(path: &Path, words: &[&str], until: &str) -> Told {
    let mut running = Running::start(path.sockeye(words).arg("--json"));
    let mut lines = Vec::new();
    loop {
        let line = running.line(PATIENCE);
        let found = line.contains(until);
        lines.push(line);
        if found {
            break;
        }
    }
    running.signal(libc::SIGINT);
    Told::of_running(running, lines)
}

#[test]
fn ping_ends_with_a_summary_of_what_it_has() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    let told = interrupt(&path, &["ping", "-i", "0.02", SERVER[0]], "\"sequence\":5");
    assert_eq!(told.end()["interrupted"], true);
    let result = told.result();
    let count = |key: &str| result[key].as_u64().expect("a count");
    assert!(count("received") >= 5, "{result}");
    assert_eq!(count("sent"), count("received") + count("pending"), "{result}");
    assert_eq!(told.count("reply") as u64, count("received"));
    assert_eq!(told.status, Some(0));
}

#[test]
fn ping_without_a_reply_ends_with_1() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    Path::filter(&path.first, &[("forward", "ip protocol icmp drop")]);
    let told = interrupt(
        &path,
        &["ping", "-i", "0.1", "-W", "0.2", SERVER[0]],
        "\"event\":\"lost\"",
    );
    let result = told.result();
    assert_eq!(
        (&result["received"], &result["loss"]),
        (&0.into(), &1.0.into()),
        "{result}"
    );
    assert_eq!(told.status, Some(1));
}

#[test]
fn trace_ends_with_the_hops_it_has() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    Path::filter(&path.second, &[("forward", "ip protocol udp drop")]);
    let told = interrupt(&path, &["trace", "-W", "600", SERVER[0]], "\"hop\":2");
    let end = told.end();
    assert_eq!(
        (&end["outcome"], &end["interrupted"]),
        (&"interrupted".into(), &true.into())
    );
    assert_eq!(end["hops"].as_array().map(Vec::len), Some(2));
    assert_eq!(told.status, Some(1));

    let nothing = interrupt(
        &path,
        &["trace", "-f", "3", "-W", "600", SERVER[0]],
        "\"event\":\"begin\"",
    );
    assert_eq!(nothing.end()["hops"].as_array().map(Vec::len), Some(0));
    assert_eq!(nothing.status, Some(130), "no result at all");
}

#[test]
fn mtu_ends_with_the_largest_size_that_passed() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    path.narrow(1400);
    Path::filter(
        &path.first,
        &[("output", "icmp type destination-unreachable drop")],
    );
    let told = interrupt(&path, &["mtu", "-W", "600", SERVER[0]], "\"event\":\"passed\"");
    let end = told.end();
    assert_eq!(
        (&end["outcome"], &end["largest"]),
        (&"interrupted".into(), &1200.into()),
        "{end}"
    );
    assert_eq!(told.status, Some(1));
}
