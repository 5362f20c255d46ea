//! `sockeye explain`: what a program reads of it, the bad words included.

use std::process::Command;

use serde_json::{Value, json};
use sockeye_tests::program::{output, output_with_input, sockeye};
use sockeye_tests::wait::PATIENCE;

fn explain(words: &[&str]) -> (Vec<Value>, Option<i32>) {
    let result = output(
        Command::new(sockeye()).arg("explain").args(words).arg("--json"),
        PATIENCE,
    );
    let objects = result
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or(Value::Null))
        .collect();
    (objects, result.status.code())
}

#[test]
fn each_word_is_answered_and_a_bad_one_is_the_status() {
    let words = [
        "tcp://127.0.0.1:80",
        "ip+89://10.0.0.1",
        "100.64.0.1",
        "2001:1::3",
        "fe80::1%eth0",
        "0177.0.0.1",
        ":514",
        "domain",
    ];
    let (said, status) = explain(&words);
    assert_eq!(status, Some(1));
    let inputs: Vec<&str> = said
        .iter()
        .filter_map(|object| object["input"].as_str())
        .collect();
    assert_eq!(inputs, words);
    let kinds: Vec<Option<&str>> = said.iter().map(|object| object["kind"].as_str()).collect();
    let wanted = [
        Some("endpoint"),
        Some("endpoint"),
        Some("address"),
        Some("address"),
        Some("address"),
        None,
        Some("port"),
        Some("service"),
    ];
    assert_eq!(kinds, wanted);
    assert_eq!(
        (&said[0]["transport"], &said[0]["port"], &said[0]["global"]),
        (&json!("tcp"), &json!(80), &json!(false))
    );
    assert_eq!(said[0]["services"]["tcp"][0], "http");
    assert_eq!(
        (&said[1]["transport"], &said[1]["port"]),
        (&json!("ip+89"), &Value::Null)
    );
    assert_eq!(
        said[2]["special"],
        json!({
            "block": "100.64.0.0/10", "name": "Shared Address Space", "rfc": "RFC 6598", "source": true,
            "destination": true, "forwardable": true, "global": false, "reserved": false,
        })
    );
    assert_eq!(
        (&said[3]["global"], &said[3]["special"]["rfc"]),
        (&json!(true), &json!("RFC 9665"))
    );
    assert_eq!(
        (&said[4]["ip"], &said[4]["zone"]),
        (&json!("fe80::1"), &json!("eth0"))
    );
    assert_eq!(said[5]["ok"], false);
    assert_eq!(
        (&said[5]["error"]["kind"], &said[5]["error"]["at"]),
        (&json!("leading_zero"), &json!(0))
    );
    assert_eq!(
        said[6]["services"],
        json!({ "tcp": ["shell"], "udp": ["syslog"] })
    );
    assert_eq!(said[7]["port"], 53);
}

#[test]
fn words_come_one_a_line_on_stdin_too() {
    let input = b"10.0.0.0/8\n\n  ff02::fb  \r\n\xff\xfe\nlocalhost:http\n";
    let mut command = Command::new(sockeye());
    let result = output_with_input(command.args(["explain", "--json"]), input, PATIENCE);
    assert_eq!(result.status.code(), Some(1));
    let said: Vec<Value> = result
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&said[0]["kind"], &said[0]["prefix_len"]),
        (&json!("network"), &json!(8))
    );
    assert_eq!(said[1]["multicast_scope"], "link-local");
    assert_eq!(said[2]["ok"], false);
    assert_eq!(said[3]["canonical"], "tcp://localhost:80");
    assert_eq!(said.len(), 4);
}

#[test]
fn people_read_lines() {
    let result = output(
        Command::new(sockeye()).args(["explain", "64:ff9b::10.0.0.1"]),
        PATIENCE,
    );
    assert_eq!(result.status.code(), Some(0));
    let text = result.text();
    for part in [
        "IPv4-IPv6 Translat. (RFC 6052)",
        "no: it embeds 10.0.0.1",
        "embeds              10.0.0.1",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}
