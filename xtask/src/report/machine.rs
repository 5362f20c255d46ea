//! The machine, as it says of itself.

use std::process::Command;

use super::model::Machine;
use crate::workspace;

/// Asks files and programs; what does not answer is `unknown`.
pub(crate) fn this() -> Machine {
    let unknown = || "unknown".to_owned();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
    let mark = if changed.is_some_and(|text| !text.is_empty()) {
        "+"
    } else {
        ""
    };
    Machine {
        cpu: cpu.unwrap_or_else(unknown),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: format!("Linux {kernel}"),
        rustc: said("rustc", &["--version"]).unwrap_or_else(unknown),
        commit: said("git", &["rev-parse", "--short=10", "HEAD"])
            .map_or_else(unknown, |commit| format!("{commit}{mark}")),
        date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown),
    }
}

/// What a program prints, without its last line's end.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(workspace::root())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
