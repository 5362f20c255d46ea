//! Whatever came from outside, a terminal gets nothing to obey, and a program the exact text.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;

use serde_json::Value;
use sockeye_tests::program;
use sockeye_tests::wait::PATIENCE;

/// Colour, title, carriage return, line feed, tab, C1 control, bidirectional overrides and isolates, a tag, DEL.
const HOSTILE: &str = "a\u{1b}[31mb\u{1b}]0;c\u{7}\rd\ne\tf\u{9b}2Jg\u{202e}h\u{2066}i\u{e0041}j\u{7f}";

/// What a terminal would obey, or would show as something else.
fn is_obeyed(letter: char) -> bool {
    letter != '\n'
        && (letter.is_control()
            || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{e0000}'..='\u{e007f}'))
}

/// Each command with the hostile text where it takes one.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let lines: [&[&str]; 20] = [
        &["explain", "{}"],
        &["explain", "tcp://{}:80"],
        &["resolve", "{}"],
        &["resolve", "tcp://{}:80"],
        &["connect", "{}"],
        &["connect", "tcp://{}:80"],
        &["ping", "{}"],
        &["ping", "--file", "/{}"],
        &["ping", "-c", "{}", "127.0.0.1"],
        &["ping", "fe80::1%{}"],
        &["trace", "{}"],
        &["mtu", "{}"],
        &["dump", "--read", "/{}"],
        &["dump", "--read", "/dev/null", "{}"],
        &["serve", "{}", "--listen", "tcp://127.0.0.1:0"],
        &["serve", "echo", "--listen", "{}"],
        &["serve", "echo", "--listen=tcp://{}:80"],
        &["bench", "{}"],
        &["{}"],
        &["--{}"],
    ];
    let with = |word: &&str| word.replace("{}", text);
    lines
        .iter()
        .map(|words| words.iter().map(with).collect())
        .collect()
}

fn run(command: &mut Command, input: &[u8]) -> program::Output {
    program::output_with_input(command, input, PATIENCE)
}

#[track_caller]
fn is_safe(output: &program::Output, what: &str) {
    for text in [output.text(), output.stderr.clone()] {
        let obeyed: Vec<char> = text.chars().filter(|letter| is_obeyed(*letter)).collect();
        assert!(obeyed.is_empty(), "{what}: {obeyed:?} in {text:?}");
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
}

#[test]
fn no_command_hands_on_what_a_terminal_would_obey() {
    for words in command_lines(HOSTILE) {
        let output = run(Command::new(program::sockeye()).args(&words), b"");
        is_safe(&output, &format!("{words:?}"));
        let said = output.text() + &output.stderr;
        // The line feed of the text did not become one of the output.
        assert!(!said.lines().any(|line| line.starts_with("e\\tf")), "{said}");
        assert_ne!(output.status.code(), Some(101), "{words:?}: {said}");
    }
}

#[test]
fn what_comes_from_stdin_and_files_is_shown_and_not_obeyed() {
    let line = HOSTILE.replace('\n', "") + "\n";
    let output = run(Command::new(program::sockeye()).arg("explain"), line.as_bytes());
    is_safe(&output, "explain");
    assert!(output.text().contains("\\u{1b}[31m"), "{}", output.text());
    assert_eq!(
        output.text().lines().count(),
        2,
        "the word, and what is wrong with it"
    );
    let output = run(
        Command::new(program::sockeye()).args(["ping", "--file", "-"]),
        line.as_bytes(),
    );
    is_safe(&output, "ping --file -");
    let output = run(
        Command::new(program::sockeye()).arg("explain"),
        b"\xff\xfe\x1b[2J\xc2\x9b\n",
    );
    is_safe(&output, "explain invalid UTF-8");
}

#[test]
fn arguments_that_are_no_text_are_an_error_and_not_a_panic() {
    let word = OsString::from_vec(b"\xff\x1b[2J\x9b\xe2\x80".to_vec());
    for words in command_lines("\u{1}") {
        let mut command = Command::new(program::sockeye());
        for part in words {
            if part.contains('\u{1}') {
                command.arg(&word);
            } else {
                command.arg(part);
            }
        }
        let output = run(&mut command, b"");
        is_safe(&output, &format!("{command:?}"));
        assert!(
            matches!(output.status.code(), Some(2 | 3 | 5)),
            "{command:?}: {}",
            output.stderr
        );
    }
}

#[test]
fn json_says_the_exact_text_in_characters_that_a_terminal_only_shows() {
    for command in ["explain", "resolve"] {
        let output = run(
            Command::new(program::sockeye()).args([command, "--json", HOSTILE]),
            b"",
        );
        is_safe(&output, command);
        let event: Value = serde_json::from_str(output.text().trim_end()).expect("JSON");
        assert_eq!(event["input"], HOSTILE, "{command}");
    }
    for words in command_lines(HOSTILE) {
        let output = run(Command::new(program::sockeye()).args(&words).arg("--json"), b"");
        is_safe(&output, &format!("{words:?} --json"));
        for line in output.text().lines() {
            serde_json::from_str::<Value>(line).expect("JSON");
        }
    }
}
