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
Ends with 1 if there is a warning. Nothing is changed: the commands that it shows are for you to run.\n\
setcap replaces what a program had before: join several names with commas.\n\
\n\
Examples:\n\
\x20 sockeye doctor\n\
\x20 sockeye doctor --warnings\n\
\x20 sockeye doctor --json")]
pub(crate) struct Arguments {
    /// Show only what could be better
    #[arg(long)]
    warnings: bool,
    #[command(flatten)]
    pub(crate) format: RowFormat,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    value: String,
    is_ok: bool,
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
            is_ok: true,
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
            is_ok: false,
            command: Some(command.into()),
            ..Self::ok(name, value, meaning)
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
    let warnings = findings.iter().filter(|finding| !finding.is_ok).count();
    for finding in &findings {
        if arguments.warnings && finding.is_ok {
            continue;
        }
        let Finding {
            name,
            value,
            is_ok,
            meaning,
            command,
        } = finding;
        let (verdict, tone) = if *is_ok {
            ("ok", Tone::Good)
        } else {
            ("warn", Tone::Doubtful)
        };
        output.event(
            "finding",
            json!({ "name": name, "value": value, "verdict": verdict, "meaning": meaning, "command": command }),
        )?;
        output.verdict(
            &format!("{verdict:4}"),
            tone,
            format_args!("  {name:width$}  {value}: {meaning}"),
        )?;
        if let Some(command) = command {
            output.line(format_args!("      {:width$}  $ {command}", ""))?;
        }
    }
    output.event("end", json!({ "findings": findings.len(), "warnings": warnings }))?;
    output.line(match warnings {
        0 => format!("{} findings, no warning", findings.len()),
        1 => format!("{} findings, 1 warning", findings.len()),
        _ => format!("{} findings, {warnings} warnings", findings.len()),
    })?;
    Ok(if warnings == 0 {
        Exit::Success
    } else {
        Exit::Negative
    })
}

/// A small file of the kernel, without blanks around it; `None` where it is not there.
fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A setting, by its name in sysctl(8).
fn sysctl(name: &str) -> Option<String> {
    read(&format!("/proc/sys/{}", name.replace('.', "/")))
}
