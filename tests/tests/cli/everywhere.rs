//! The options of every command: `--output`, `--quiet`, `--verbose`, `--color`, `--no-progress`.

use std::process::Command;

use sockeye_tests::program::{self, Output};
use sockeye_tests::wait::PATIENCE;

#[track_caller]
fn sockeye(words: &[&str]) -> Output {
    program::output(Command::new(program::sockeye()).args(words), PATIENCE)
}

#[test]
fn output_goes_to_the_file_and_nothing_to_stdout() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("words.json");
    let file = path.to_str().expect("text");
    for words in [
        &["explain", "127.0.0.1", "--json", "-o", file][..],
        &["--output", file, "explain", "127.0.0.1", "--json"],
    ] {
        let output = sockeye(words);
        assert!(output.status.success(), "{}", output.stderr);
        assert_eq!(output.text(), "");
        let text = std::fs::read_to_string(&path).expect("written");
        let event: serde_json::Value = serde_json::from_str(&text).expect("one event");
        assert_eq!(event["canonical"], "127.0.0.1");
        std::fs::remove_file(&path).expect("ours");
    }
    assert!(sockeye(&["explain", "::1", "-o", "-"]).text().contains("::1"));
}

#[test]
fn an_output_that_cannot_be_opened_ends_before_anything_starts() {
    let output = sockeye(&["explain", "::1", "--json", "-o", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        output.stderr.contains("--output /nowhere/at/all"),
        "{}",
        output.stderr
    );
    let event: serde_json::Value = serde_json::from_str(&output.text()).expect("an event");
    assert_eq!(event["event"], "error");
}

#[test]
fn a_full_device_is_an_error() {
    let output = sockeye(&["explain", "::1", "-o", "/dev/full"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stderr.contains("No space left"), "{}", output.stderr);
}

#[test]
fn colours_are_for_those_who_want_them() {
    let escape = '\u{1b}';
    // Ends with 1 where the machine has a warning.
    assert!(sockeye(&["doctor", "--color", "always"]).text().contains(escape));
    assert!(!sockeye(&["doctor"]).text().contains(escape), "no terminal");
    let help = |when: &str| sockeye(&["ping", "--help", "--color", when]).text();
    assert!(help("always").contains(escape));
    assert!(!help("never").contains(escape));
    let error = sockeye(&["ping", "--color=never"]).stderr;
    assert!(!error.contains(escape) && error.contains("HOST"), "{error}");
}

#[test]
fn a_log_is_asked_for_by_an_option_or_the_environment() {
    let connect = |words: &[&str], log: Option<&str>| {
        let mut command = Command::new(program::sockeye());
        command
            .args(["connect", "tcp://127.0.0.1:1", "--timeout", "5"])
            .args(words);
        if let Some(log) = log {
            command.env("SOCKEYE_LOG", log);
        }
        program::output(&mut command, PATIENCE)
    };
    let line = "connect failed";
    assert!(!connect(&[], None).stderr.contains(line));
    assert!(connect(&["-v"], None).stderr.contains(line));
    assert!(
        connect(&[], Some("sockeye_event_loop=debug"))
            .stderr
            .contains(line)
    );
    assert!(
        !connect(&["-v"], Some("sockeye_event_loop=warn"))
            .stderr
            .contains(line)
    );
    let wrong = connect(&[], Some("sockeye_event_loop=loud"));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stderr.contains("SOCKEYE_LOG"), "{}", wrong.stderr);
}

#[test]
fn quiet_and_verbose_exclude_each_other() {
    assert_eq!(sockeye(&["explain", "::1", "-q", "-v"]).status.code(), Some(2));
}

#[test]
fn quiet_says_no_note_and_never_loses_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("none");
    let missing = missing.to_str().expect("text");
    let words = ["connect", &format!("unix:{missing}"), "-q"];
    let output = sockeye(&words);
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stderr.contains("none"), "{}", output.stderr);
}

/// The rows that a command prints, the header first.
#[track_caller]
fn rows(words: &[&str]) -> Vec<Vec<String>> {
    let output = sockeye(&[words, &["--csv"]].concat());
    let text = output.text();
    assert!(text.lines().count() > 0, "{}", output.stderr);
    // Nothing here has a comma within.
    text.lines()
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

#[test]
fn rows_have_as_many_cells_as_the_header() {
    for words in [
        &["ping", "-n", "-c", "2", "-i", "0.01", "127.0.0.1", "::1"][..],
        &["scan", "127.0.0.1", "-p", "1-3", "--all"],
        &["trace", "-n", "127.0.0.1"],
        &["trace", "-n", "127.0.0.1", "--report", "2", "-i", "0.1"],
    ] {
        let rows = rows(words);
        assert!(rows.len() >= 2, "{words:?}: {rows:?}");
        assert!(
            rows.iter().all(|row| row.len() == rows[0].len()),
            "{words:?}: {rows:?}"
        );
        let address = rows[0].iter().position(|name| {
            ["address", "from", "paths.address"].contains(&name.as_str())
                && rows[1].iter().any(|cell| cell.contains("127.0.0.1"))
        });
        assert!(address.is_some(), "{words:?}: {rows:?}");
    }
    // Each probe has a row of its own, and no column is another kind of row's.
    let probes = rows(&["trace", "-n", "127.0.0.1", "-c", "3"]);
    let header = "hop,probe,kind,from,name,rtt_ns,hop_limit,cause";
    assert_eq!(probes[0].join(","), header);
    assert_eq!(probes.len(), 4, "{probes:?}");
    for (number, row) in (1..).zip(&probes[1..]) {
        let number: u32 = number;
        assert_eq!(
            row[..4],
            ["1", &number.to_string(), "reached", "127.0.0.1"],
            "{row:?}"
        );
        assert!(row[5].parse::<u64>().is_ok(), "{row:?}");
    }
    let hops = rows(&["trace", "-n", "127.0.0.1", "--report", "2", "-i", "0.1"]);
    assert_eq!(hops.len(), 2, "{hops:?}");
    assert!(hops[0].join(",").starts_with("hop,sent,received,"), "{hops:?}");
    assert_eq!(hops[1][..3], ["1", "2", "2"], "{hops:?}");
    assert_eq!(
        sockeye(&["ping", "::1", "--csv", "--json"]).status.code(),
        Some(2)
    );
}

/// The width of help is that of the terminal; what comes behind the options is laid out by hand and has to fit as it is.
#[test]
fn help_fits_into_eighty_columns_and_its_examples_are_whole() {
    let help = |command: &str, columns: &str| {
        let mut run = Command::new(program::sockeye());
        run.env("COLUMNS", columns);
        if !command.is_empty() {
            run.args(command.split(' '));
        }
        program::output(run.arg("--help"), PATIENCE).text()
    };
    let mut commands = program::commands();
    commands.extend(["", "bench server", "bench client"].map(str::to_owned));
    let mut wrong = Vec::new();
    for command in &commands {
        let narrow = help(command, "80");
        let too_long = |line: &&str| line.chars().count() > 80;
        wrong.extend(
            narrow
                .lines()
                .filter(too_long)
                .map(|line| format!("{command}: {line}")),
        );
        let wide = help(command, "500");
        let last = "No progress on stderr";
        let footer = wide.split_once(last).map(|(_, footer)| footer.trim());
        let footer = footer.unwrap_or_else(|| panic!("{command}: {wide}"));
        let wrapped = |line: &&str| !narrow.contains(&format!("{line}\n"));
        wrong.extend(
            footer
                .lines()
                .filter(wrapped)
                .map(|line| format!("{command}: wrapped: {line}")),
        );
        assert!(footer.contains("Examples:\n"), "{command}: {footer}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// As `ping` has them: milliseconds with three decimals.
#[test]
fn people_read_times_in_one_way() {
    let took = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let at = words
            .iter()
            .position(|word| word.trim_end_matches([':', ',', ')']) == "ms");
        let number = at.and_then(|at| words.get(at.checked_sub(1)?));
        let number = number.unwrap_or_else(|| panic!("no time: {text}"));
        let decimals = number.split_once('.').map(|(_, decimals)| decimals.len());
        assert_eq!(decimals, Some(3), "{text}");
    };
    for words in [
        &["resolve", "localhost"][..],
        &["resolve", "localhost", "A"],
        &["resolve", "127.0.0.1", "::1"],
        &["scan", "127.0.0.1", "-p", "9"],
    ] {
        took(&program::output(Command::new(program::sockeye()).args(words), PATIENCE).text());
    }
}

#[test]
fn a_filter_that_takes_nothing_is_told() {
    // Nobody has this address (RFC 5737).
    let output = program::output(
        Command::new(program::sockeye()).args(["sockets", "-a", "--peer", "192.0.2.1"]),
        PATIENCE,
    );
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("no socket is as the filters say"),
        "{}",
        output.stderr
    );
}
