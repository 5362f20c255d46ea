//! `fmt`, `lint`, `build`, `doc`: cargo's own commands with the workspace's selections.

use crate::book;
use crate::process::Process;
use crate::step::{Action, Step};
use crate::workspace::Workspace;

/// Formats.
pub(crate) fn fmt() -> Vec<Step> {
    vec![Step::new("fmt", "write", Process::cargo("fmt --all"))]
}

/// Fails where something is not formatted.
pub(crate) fn fmt_check() -> Vec<Step> {
    vec![Step::new("fmt", "check", Process::cargo("fmt --all --check"))]
}

/// Package by package, so that no package leans on the features that another one switches on.
pub(crate) fn lint(workspace: &Workspace) -> Vec<Step> {
    let lint = |name: &String| {
        Process::cargo("clippy --no-deps --all-targets --all-features --package")
            .argument(name)
            .words("-- -D warnings")
    };
    workspace
        .packages()
        .iter()
        .map(|package| Step::new("clippy", &package.name, lint(&package.name)))
        .collect()
}

/// Each crate alone, in three sets of features. `check` sees everything that can differ between them and
/// generates no code.
pub(crate) fn build(workspace: &Workspace) -> Vec<Step> {
    let sets = [
        ("none", "--no-default-features"),
        ("default", ""),
        ("all", "--all-features"),
    ];
    let public = workspace.packages().iter().filter(|package| package.is_public);
    public
        .flat_map(|package| {
            sets.map(|(set, words)| {
                let check = Process::cargo("check --package")
                    .argument(&package.name)
                    .words(words);
                Step::new("build", format!("{} ({set})", package.name), check)
            })
        })
        .collect()
}

/// The reference with warnings denied, then every example in it and in the documents, then the pages of the book.
pub(crate) fn doc() -> Vec<Step> {
    let reference =
        Process::cargo("doc --workspace --all-features --no-deps").with("RUSTDOCFLAGS", "-D warnings");
    let examples = Process::cargo("test --workspace --all-features --doc");
    vec![
        Step::new("doc", "reference", reference),
        Step::new("doc", "examples", examples),
        Step {
            section: "doc",
            name: "pages".to_owned(),
            action: Action::Call(book::pages),
        },
    ]
}

/// What the book shows, run and compared. It is among the tests, so `ci` has it there.
pub(crate) fn book() -> Vec<Step> {
    let run = Process::cargo("test --package sockeye-docs --test book");
    vec![Step::new("doc", "book", run)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_is_checked_alone_in_three_sets_of_features() {
        let workspace = Workspace::load().unwrap();
        let public = workspace
            .packages()
            .iter()
            .filter(|package| package.is_public)
            .count();
        let steps = build(&workspace);
        assert_eq!(steps.len(), 3 * public);
        let titles: Vec<_> = steps.iter().map(Step::title).collect();
        for words in [
            "check --package sockeye-endpoint --no-default-features",
            "check --package sockeye-endpoint",
            "check --package sockeye-endpoint --all-features",
        ] {
            assert!(titles.iter().any(|title| title.ends_with(words)), "{words}");
        }
    }

    #[test]
    fn clippy_denies_warnings_in_every_package() {
        let workspace = Workspace::load().unwrap();
        let steps = lint(&workspace);
        assert_eq!(steps.len(), workspace.packages().len());
        assert!(steps.iter().all(|step| step.title().ends_with("-- -D warnings")));
    }
}
