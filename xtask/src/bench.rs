//! `cargo xtask bench`: the criterion benchmarks, one target a socket type.

use anyhow::{Result, bail};

use crate::process::Process;
use crate::step::Step;
use crate::workspace;

#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 cargo xtask bench udp\n\
\x20 cargo xtask bench tcp --instructions\n\
\x20 cargo xtask bench growth timers")]
pub(crate) struct Arguments {
    /// One of endpoint, packet, tcp, udp, unix, raw, event_loop, pair, sim, spin; all of them when left out; or relay or tls:
    /// instructions and system calls of relays beside one by hand; or growth: what a unit costs
    /// while things become large
    pub(crate) name: Option<String>,
    /// Of growth: one of its subjects, such as connections
    pub(crate) subject: Option<String>,
    /// Run everything once, in the profile of the tests, and measure nothing
    #[arg(long)]
    smoke: bool,
    /// Count user instructions a message under callgrind, against their bounds (needs: apt-get install valgrind)
    #[arg(long, conflicts_with = "smoke")]
    pub(crate) instructions: bool,
}

impl Arguments {
    /// Relays and pairs have no criterion target of their own kind of gate: they are counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.instructions || matches!(self.name.as_deref(), Some("relay" | "tls"))
    }

    pub(crate) fn is_growth(&self) -> bool {
        self.name.as_deref() == Some("growth")
    }

    /// What `ci` asks for.
    pub(crate) fn smoke() -> Self {
        Self {
            smoke: true,
            ..Self::default()
        }
    }
}

/// The benchmarks of that name, or all.
///
/// # Errors
/// When there is no such benchmark; the message lists those that there are.
pub(crate) fn bench(arguments: &Arguments) -> Result<Vec<Step>> {
    if let Some(subject) = &arguments.subject {
        bail!("{subject}: only growth has subjects");
    }
    let known = workspace::targets(&workspace::root().join("benches/benches"))?;
    let name = arguments.name.as_ref().map(|name| name.replace('-', "_"));
    if let Some(name) = &name
        && !known.contains(name)
    {
        bail!("no benchmark is called {name}; there are: {}", known.join(", "));
    }
    let targets = known
        .iter()
        .filter(|target| name.as_ref().is_none_or(|name| name == *target));
    // The smoke run selects what the tests select, in their profile: everything but the benchmarks themselves
    // is then built already.
    let run = |target: &String| {
        if arguments.smoke {
            Process::cargo("bench --workspace --all-features --profile dev --bench")
                .argument(target)
                .words("-- --test")
        } else {
            Process::cargo("bench --package sockeye-benches --bench").argument(target)
        }
    };
    Ok(targets
        .map(|target| Step::new("bench", target, run(target)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_benchmark_is_named() {
        let arguments = Arguments {
            name: Some("sctp".to_owned()),
            ..Arguments::default()
        };
        assert!(
            bench(&arguments)
                .unwrap_err()
                .to_string()
                .contains("no benchmark is called sctp")
        );
    }

    #[test]
    fn the_smoke_run_measures_nothing() {
        for step in bench(&Arguments::smoke()).unwrap() {
            assert!(step.title().ends_with("-- --test"), "{}", step.title());
        }
    }
}
