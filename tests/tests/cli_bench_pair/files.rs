//! What is done with the figures: conditions, comparisons, histogram logs, pages; and what is refused before a run.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use super::ground::{Server, events, number, run};

#[test]
fn a_condition_that_holds_is_a_negative_result_with_its_sentence() {
    let server = Server::local();
    let at = server.target("tcp://");
    let rr = |condition: &str| run(&[at, "--mode", "rr", "-k", "20", "--fail-if", condition]);
    let output = rr("p50>1ns");
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("--fail-if p50>1ns: it is "),
        "{}",
        output.stderr
    );
    assert!(
        output.text().contains("20 answers"),
        "the figures are there all the same"
    );
    let output = rr("max > 3600s");
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let failed = events(
        &[
            at,
            "-n",
            "100K",
            "--idle",
            "0",
            "--fail-if",
            "rate<1000G",
            "--fail-if",
            "rate>1",
        ],
        1,
    );
    let failed: Vec<&Value> = failed.iter().filter(|event| event["event"] == "failed").collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(failed[0]["condition"], "rate<1000G");
}

/// Port 1 of the loopback has nobody: what is refused is refused before it is asked.
#[test]
fn what_cannot_be_is_refused_before_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).expect("a file");
        path(name)
    };
    let other = write("other.json", "{\"schema\":2,\"event\":\"end\"}\n");
    let old = r#"{"schema":1,"event":"end","mode":"stream","transport":"udp"}"#;
    let udp = write("udp.json", old);
    let missing = path("no/such/folder");
    for (words, status, why) in [
        (&["--fail-if", "p99>>1us"][..], 2, "at byte 4"),
        (&["--fail-if", "p98>1us"], 2, "at byte 0"),
        (&["--fail-if", "rate<1G"], 2, "rr and crr"),
        (&["--fail-if", "loss>1%"], 2, "only udp"),
        (
            &["--mode", "stream", "--idle", "0", "--fail-if", "p99>1us"],
            2,
            "--idle 0",
        ),
        (&["--mode", "stream", "--idle", "0", "--hdr", "x"], 2, "--idle 0"),
        (&["--hdr", &missing], 5, "No such file"),
        (&["--report", &missing], 5, "No such file"),
        (&["--compare", &missing], 5, "No such file"),
        (&["--compare", &other], 2, "schema 2"),
        (&["--compare", &udp], 2, "stream over udp"),
        (&["-A", "60000"], 5, "CPU 60000"),
    ] {
        let mut all = vec!["127.0.0.1:1", "--json"];
        if !words.contains(&"--mode") {
            all.extend(["--mode", "rr"]);
        }
        all.extend(words);
        let output = run(&all);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{words:?}: {}", output.stderr);
        let last: Value =
            serde_json::from_str(output.text().lines().last().expect("an event")).expect("JSON");
        assert_eq!(
            (&last["event"], &last["exit"]),
            (&"error".into(), &status.into()),
            "{words:?}"
        );
    }
    assert!(!folder.path().join("no").exists());
}

#[test]
fn a_histogram_log_is_read_back_by_the_library() {
    let server = Server::local();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.hlog");
    // Longer than what takes its place.
    std::fs::write(&path, "old\n".repeat(10_000)).expect("a file");
    let name = path.display().to_string();
    let end = events(
        &[
            server.target("tcp://"),
            "--mode",
            "rr",
            "-k",
            "50",
            "--rate",
            "1000",
            "--hdr",
            &name,
        ],
        0,
    );
    let end = end.last().expect("an event");
    let bytes = std::fs::read(&path).expect("the log");
    let mut seen = Vec::new();
    for entry in IntervalLogIterator::new(&bytes) {
        let Ok(LogEntry::Interval(interval)) = entry else {
            continue;
        };
        let tag = interval.tag().expect("a name").as_str().to_owned();
        let encoded = decoded(interval.encoded_histogram());
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut encoded.as_slice())
            .expect("a histogram");
        assert_eq!(histogram.len(), number(end, &format!("/latency_ns/{tag}/count")));
        assert_eq!(
            histogram.value_at_quantile(0.5),
            number(end, &format!("/latency_ns/{tag}/p50"))
        );
        seen.push(tag);
    }
    assert_eq!(seen, ["rtt", "rtt_uncorrected"]);
}

/// Base64 (RFC 4648, section 4).
fn decoded(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    for letter in text.bytes().take_while(|letter| *letter != b'=') {
        let digit = DIGITS.iter().position(|digit| *digit == letter).expect("a digit");
        bits = bits << 6 | u32::try_from(digit).expect("six bits");
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have & 0xff) as u8);
        }
    }
    bytes
}

#[test]
fn a_run_compared_with_itself_has_the_ratio_of_its_figures() {
    let server = Server::local();
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("old.json");
    let words = [server.target("tcp://"), "--mode", "rr", "-k", "30"];
    let output = run(&[&words[..], &["--json"]].concat());
    std::fs::write(&old, &output.stdout).expect("a file");
    let name = old.display().to_string();
    let now = events(&[&words[..], &["--compare", &name]].concat(), 0);
    let compared = now
        .iter()
        .find(|event| event["event"] == "compare")
        .expect("a comparison");
    let figures = compared["figures"].as_array().expect("figures");
    let p99 = figures
        .iter()
        .find(|row| row["figure"] == "latency_ns.rtt.p99")
        .expect("the p99");
    let end =
        |text: &str| -> Value { serde_json::from_str(text.lines().last().expect("an event")).expect("JSON") };
    assert_eq!(
        p99["old"].as_f64(),
        end(&output.text())["latency_ns"]["rtt"]["p99"].as_f64()
    );
    let ratio = p99["new"].as_f64().expect("new") / p99["old"].as_f64().expect("old");
    assert!(
        (p99["ratio"].as_f64().expect("a ratio") - ratio).abs() < 1e-9,
        "{p99}"
    );
    let people = run(&[&words[..], &["--compare", &name]].concat());
    assert!(people.text().contains("latency_ns.rtt.p99"), "{}", people.text());
}

#[test]
fn a_page_has_charts_figures_and_the_command() {
    let server = Server::local();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    let name = path.display().to_string();
    let words = [
        server.target("tcp://"),
        "-n",
        "1M",
        "--bidir",
        "--idle",
        "0.1",
        "--report",
        &name,
    ];
    let output = run(&words);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let page = std::fs::read_to_string(&path).expect("the page");
    for words in [
        "<svg",
        "Throughput",
        "Congestion window",
        "Latency by percentile",
        "--report",
        "up.received_bytes",
        "1.00 MiB",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let links = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(links, 0, "it asks nobody");
}
