//! `cargo xtask bench`: the criterion benchmarks, one target a socket type.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::process::Process;
use crate::step::Step;
use crate::{cpu, instructions, names, workspace};

#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 cargo xtask bench udp\n\
\x20 cargo xtask bench tcp --instructions\n\
\x20 cargo xtask bench growth timers")]
pub(crate) struct Arguments {
    /// One of endpoint, packet, tcp, udp, unix, raw, event_loop, pair, sim, spin; all of them when left out; or relay or tls:
    /// instructions and system calls beside programs by hand, then CPU time beside them and other programs; or resolver:
    /// instructions, then queries a second, CPU time and memory beside other clients; or growth: what a unit costs while things
    /// become large; or start: the size of the program and the instructions of its start
    pub(crate) name: Option<String>,
    /// Of growth: one of its subjects, such as connections
    pub(crate) subject: Option<String>,
    /// Run everything once, in the profile of the tests, and measure nothing
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Count user instructions a message under callgrind, against their bounds (needs: apt-get install valgrind)
    #[arg(long, conflicts_with = "smoke")]
    pub(crate) instructions: bool,
    /// Of relay, tls and resolver: CPU time alone, nothing is counted
    #[arg(long, conflicts_with = "instructions")]
    pub(crate) cpu: bool,
    /// Of relay, tls and resolver: how often each CPU time is measured; the median counts
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Of relay, tls and resolver: the core on which everything runs whose CPU time is measured; of the first two its load too
    #[arg(long, default_value_t = 0)]
    pub(crate) core: u32,
    /// Of resolver: this is the run in namespaces of its own, with its files in this folder
    #[arg(long, hide = true, requires = "cpu")]
    pub(crate) within: Option<PathBuf>,
}

impl Arguments {
    /// Relays and TLS have no criterion target: they are counted, and measured beside peers, and so is the resolver, whose
    /// target is for those who change it.
    pub(crate) fn is_counted(&self) -> bool {
        self.instructions || self.has_peers()
    }

    fn has_peers(&self) -> bool {
        matches!(self.name.as_deref(), Some("relay" | "tls" | "resolver"))
    }

    pub(crate) fn is_start(&self) -> bool {
        self.name.as_deref() == Some("start")
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

/// Counts instructions and system calls, and measures CPU time where there are peers for it. The second is done also after a
/// bound of the first was broken.
///
/// # Errors
/// What of the two was wrong.
pub(crate) fn counted(arguments: &Arguments) -> Result<()> {
    let counted = if arguments.smoke || arguments.cpu {
        Ok(())
    } else {
        instructions::run(arguments)
    };
    if arguments.instructions || !arguments.has_peers() {
        return counted;
    }
    let measured = match arguments.name.as_deref() {
        Some("resolver") => names::run(arguments),
        _ => cpu::run(arguments),
    };
    match (counted, measured) {
        (Err(counts), Err(times)) => bail!("{counts:#}; {times:#}"),
        (counted, measured) => counted.and(measured),
    }
}

/// The benchmarks of that name, or all.
///
/// # Errors
/// When there is no such benchmark; the message lists those that there are.
pub(crate) fn bench(arguments: &Arguments) -> Result<Vec<Step>> {
    if arguments.cpu {
        bail!("CPU time beside peers is measured of relay, tls and resolver");
    }
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
