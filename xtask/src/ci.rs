//! `cargo xtask ci`: every check, in the order in which they fail soonest for the least time.

use anyhow::Result;

use crate::step::{Action, OnFailure, Step, run_all};
use crate::workspace::Workspace;
use crate::{bench, build, deny, fuzz, package, test, tidy, torture};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run every step, also after one has failed
    #[arg(long)]
    keep_going: bool,
    /// Print the steps and run none
    #[arg(long)]
    list: bool,
}

/// Runs or lists the steps.
///
/// # Errors
/// When a step has failed.
#[expect(clippy::print_stdout, reason = "the list is this command's data")]
pub(crate) fn run(arguments: &Arguments, workspace: &Workspace) -> Result<()> {
    let steps = steps(workspace)?;
    if arguments.list {
        for step in &steps {
            println!("{}", step.title());
        }
        return Ok(());
    }
    run_all(
        &steps,
        if arguments.keep_going {
            OnFailure::KeepGoing
        } else {
            OnFailure::Stop
        },
    )
}

fn steps(workspace: &Workspace) -> Result<Vec<Step>> {
    let call = |section, name: &str, function| Step {
        section,
        name: name.to_owned(),
        action: Action::Call(function),
    };
    let smoke = Step {
        section: "bench",
        name: "smoke".to_owned(),
        action: Action::Call(bench::smoke),
    };
    Ok([
        build::fmt_check(),
        vec![call("tidy", "tree", tidy::check)],
        vec![
            call("supply", "deny", deny::deny),
            call("supply", "package", package::package),
        ],
        build::build(workspace),
        build::lint(workspace),
        test::test(&test::Arguments::default(), workspace)?,
        test::prop(&test::PropArguments::default(), workspace)?,
        vec![call("torture", "quick", torture::quick)],
        vec![call("fuzz", "all", fuzz::smoke)],
        build::doc(),
        vec![smoke],
    ]
    .into_iter()
    .flatten()
    .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sections_come_in_the_documented_order() {
        let mut sections: Vec<_> = steps(&Workspace::load().unwrap())
            .unwrap()
            .iter()
            .map(|step| step.section)
            .collect();
        sections.dedup();
        assert_eq!(
            sections,
            [
                "fmt", "tidy", "supply", "build", "clippy", "test", "prop", "torture", "fuzz", "doc", "bench"
            ]
        );
    }
}
