//! What comes with the program: completions and the manual, alone and installed by `cargo xtask install`.

use std::path::Path;
use std::process::Command;

use sockeye_tests::program;
use sockeye_tests::skip::{self, Need, require};
use sockeye_tests::wait::PATIENCE;

fn sockeye(words: &[&str]) -> program::Output {
    program::output(Command::new(program::sockeye()).args(words), PATIENCE)
}

#[test]
fn shells_accept_their_completions() {
    let commands = program::commands();
    assert!(commands.len() >= 10, "{commands:?}");
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = sockeye(&["completions", shell]);
        assert!(script.status.success(), "{shell}: {}", script.stderr);
        let text = script.text();
        for command in &commands {
            assert!(text.contains(command.as_str()), "{shell} does not know {command}");
        }
        if !require(&[Need::program(shell)]) {
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("completions");
        std::fs::write(&path, &script.stdout).expect("written");
        let checked = program::output(Command::new(shell).arg(check).arg(&path), PATIENCE);
        assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{shell}: {}",
            checked.stderr
        );
    }
    assert_eq!(sockeye(&["completions", "nosuch"]).status.code(), Some(2));
}

#[test]
fn bash_completes_a_command_and_an_option() {
    if !require(&[Need::program("bash")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("completions");
    std::fs::write(&path, sockeye(&["completions", "bash"]).stdout).expect("written");
    for (line, expected) in [
        ("sockeye sock", "sockets"),
        ("sockeye sockets --summ", "--summary"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let script = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD={}; _sockeye sockeye '{last}' '{before}'; echo \"${{COMPREPLY[*]}}\"",
            path.display(),
            words.len() - 1,
        );
        let output = program::output(Command::new("bash").args(["-c", &script]), PATIENCE);
        assert_eq!(output.text().trim(), expected, "{}", output.stderr);
    }
}

#[track_caller]
fn check_pages(folder: &Path) {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let mut expected: Vec<String> = program::commands()
        .iter()
        .map(|name| format!("sockeye-{name}.1"))
        .collect();
    expected.push("sockeye.1".to_owned());
    expected.sort();
    for name in &expected {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    let (mandoc, man) = (program::find("mandoc"), program::find("man"));
    for name in &names {
        let page = folder.join(name);
        let mut command = if let Some(mandoc) = &mandoc {
            let mut command = Command::new(mandoc);
            command.args(["-T", "utf8", "-W", "error"]);
            command
        } else if let Some(man) = &man {
            let mut command = Command::new(man);
            command
                .args(["--warnings", "-l"])
                .env("MANPAGER", "cat")
                .env("MANWIDTH", "100");
            command
        } else {
            skip::missing("man or mandoc", "apt-get install mandoc");
            return;
        };
        let shown = program::output(command.arg(&page), PATIENCE);
        assert!(shown.status.success(), "{name}: {}", shown.stderr);
        let title = name.strip_suffix(".1").expect("section 1");
        assert!(
            shown.text().contains("SYNOPSIS") && shown.text().contains(title),
            "{name}: {}",
            shown.text()
        );
    }
}

/// `bench server` and `bench client` have pages of their own.
const SIDES_OF_BENCH: usize = 2;

#[test]
fn each_command_has_a_page_that_renders() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("new/man1");
    let output = sockeye(&["man", pages.to_str().expect("text")]);
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(
        output.text().lines().count(),
        program::commands().len() + 1 + SIDES_OF_BENCH,
        "{}",
        output.text()
    );
    check_pages(&pages);
    assert_eq!(
        sockeye(&["man"]).stdout,
        std::fs::read(pages.join("sockeye.1")).expect("the page")
    );
    assert_eq!(sockeye(&["man", "/proc/nowhere"]).status.code(), Some(5));
}

#[test]
fn what_is_installed_is_named_and_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("usr");
    let mut command = Command::new(program::build("xtask", &["--bin", "xtask"], "xtask"));
    command
        .arg("install")
        .arg("--prefix")
        .arg(&prefix)
        .arg("--program")
        .arg(program::sockeye());
    let output = program::output(&mut command, PATIENCE);
    assert!(output.status.success(), "{}", output.stderr);
    let said = output.text();
    for place in [
        "bin/sockeye",
        "share/bash-completion/completions/sockeye",
        "share/zsh/site-functions/_sockeye",
        "share/fish/vendor_completions.d/sockeye.fish",
    ] {
        assert!(
            said.lines().any(|line| Path::new(line) == prefix.join(place)),
            "{said}"
        );
    }
    assert!(said.lines().all(|line| Path::new(line).is_file()), "{said}");
    check_pages(&prefix.join("share/man/man1"));
    let help = program::output(
        Command::new(prefix.join("bin/sockeye")).arg("--version"),
        PATIENCE,
    );
    assert!(help.status.success());
}
