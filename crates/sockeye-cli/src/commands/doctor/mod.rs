//! `sockeye doctor`: what this machine and this process allow, and the command that changes it.
//!
//! | module | what |
//! |---|---|
//! | [`process`] | capabilities, descriptors, ping sockets, user namespaces |
//! | [`kernel`] | limits and settings of the network, read from `/proc/sys` |
//! | [`tried`] | what is found out by trying it: offloads, reuse-port, MPTCP, IPv6, names |

mod kernel;
mod process;
mod tried;

use std::fs;

use serde_json::json;

use crate::exit::Exit;
use crate::output::{Output, RowFormat, Rows, Tone};

/// The rows of `--csv`.
pub(crate) const ROWS: Rows = Rows {
    events: &["finding"],
    columns: &["name", "verdict", "value", "meaning", "command"],
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A warning is something that does not work, and makes it end with 1; a hint is\n\
what would be faster or stand more. Nothing is changed: the commands that it\n\
shows are for you to run.\n\
\n\
Examples:\n\
\x20 sockeye doctor\n\
\x20 sockeye doctor --warnings\n\
\x20 sockeye doctor --json")]
pub(crate) struct Arguments {
    /// Show only warnings and hints
    #[arg(long)]
    warnings: bool,
    #[command(flatten)]
    pub(crate) format: RowFormat,
}

/// How good a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It works, and could be faster or stand more.
    Hint,
    /// Something does not work.
    Warn,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Hint => "hint",
            Self::Warn => "warn",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    value: String,
    verdict: Verdict,
    /// What it is good for, or what does not work.
    meaning: String,
    /// What changes it.
    command: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, value: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self {
            name,
            value: value.into(),
            verdict: Verdict::Ok,
            meaning: meaning.into(),
            command: None,
        }
    }

    fn warn(
        name: &'static str,
        value: impl Into<String>,
        meaning: impl Into<String>,
        command: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Warn,
            command: Some(command.into()),
            ..Self::ok(name, value, meaning)
        }
    }

    fn hint(
        name: &'static str,
        value: impl Into<String>,
        meaning: impl Into<String>,
        command: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Hint,
            ..Self::warn(name, value, meaning, command)
        }
    }
}

/// Looks at everything and says what it has found.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut findings = process::findings();
    findings.extend(kernel::findings());
    findings.extend(tried::findings());
    let width = findings
        .iter()
        .map(|finding| finding.name.len())
        .max()
        .unwrap_or(0);
    let count = |verdict| {
        findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let (warnings, hints) = (count(Verdict::Warn), count(Verdict::Hint));
    let mut shown = None;
    for finding in &findings {
        if arguments.warnings && finding.verdict == Verdict::Ok {
            continue;
        }
        let Finding {
            name,
            value,
            verdict,
            meaning,
            command,
        } = finding;
        let tone = match verdict {
            Verdict::Ok => Tone::Good,
            Verdict::Hint | Verdict::Warn => Tone::Doubtful,
        };
        let verdict = verdict.name();
        output.event(
            "finding",
            json!({ "name": name, "value": value, "verdict": verdict, "meaning": meaning, "command": command }),
        )?;
        output.verdict(
            &format!("{verdict:4}"),
            tone,
            format_args!("  {name:width$}  {value}: {meaning}"),
        )?;
        // Findings that one command changes follow each other: once is enough.
        if command.is_some() && shown == command.as_ref() {
            continue;
        }
        if let Some(command) = command {
            output.line(format_args!("      {:width$}  $ {command}", ""))?;
        }
        shown = command.as_ref();
    }
    output.event(
        "end",
        json!({ "findings": findings.len(), "warnings": warnings, "hints": hints }),
    )?;
    output.line(format_args!(
        "{} findings, {}, {}",
        findings.len(),
        counted(warnings, "warning"),
        counted(hints, "hint")
    ))?;
    Ok(if warnings == 0 {
        Exit::Success
    } else {
        Exit::Negative
    })
}

/// `no warning`, `1 warning`, `2 warnings`.
fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// A small file of the kernel, without blanks around it; `None` where it is not there.
fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A setting, by its name in sysctl(8).
fn sysctl(name: &str) -> Option<String> {
    read(&format!("/proc/sys/{}", name.replace('.', "/")))
}
