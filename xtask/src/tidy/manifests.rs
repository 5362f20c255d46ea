//! What every manifest says, and where every crate is listed.

use super::Finding;
use super::tree::{Manifest, Tree};

/// The list for people who look for a crate.
const LIST: &str = "crates/README.md";

/// Fields that a package lacks.
pub(super) fn fields(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in tree.manifests() {
        let mut lacks = |what: &str| findings.push(Finding::new(&manifest.path, 0, format!("no {what}")));
        for field in ["license", "edition", "description"] {
            if manifest.field(field).is_none() {
                lacks(field);
            }
        }
        // A package outside of the workspace (the fuzz targets) cannot inherit its lints.
        let is_member = !manifest.table.contains_key("workspace");
        let lints = manifest
            .table
            .get("lints")
            .and_then(|lints| lints.get("workspace"));
        if is_member && lints.and_then(toml::Value::as_bool) != Some(true) {
            lacks("lints.workspace = true");
        }
        if manifest.is_public() && manifest.field("rust-version").is_none() {
            lacks("rust-version");
        }
        if manifest.is_public() && manifest.folder != format!("crates/{}", manifest.name()) {
            let message = format!("the package is called {}, its folder is not", manifest.name());
            findings.push(Finding::new(&manifest.path, 0, message));
        }
    }
    for path in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if tree.text(path).is_none() {
            findings.push(Finding::new(path, 0, "is missing"));
        }
    }
    findings
}

/// Crates that the list does not have, or for which it has no `cargo add` line.
pub(super) fn listed(tree: &Tree) -> Vec<Finding> {
    let list = tree.text(LIST).unwrap_or_default();
    let mut findings = Vec::new();
    for manifest in tree.manifests().filter(Manifest::is_public) {
        let name = manifest.name();
        let verb = if name == "sockeye-cli" { "install" } else { "add" };
        let has_row = list.lines().any(|line| {
            line.starts_with(&format!("| [`{name}`]")) && line.contains(&format!("`cargo {verb} {name}`"))
        });
        if !has_row {
            let message = format!("no row for {name} with `cargo {verb} {name}`");
            findings.push(Finding::new(LIST, 0, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn a_manifest_without_a_licence_or_lints_is_found() {
        let findings = Tree::found_after(fields, "crates/sockeye-packet/Cargo.toml", |text| {
            text.replace("license.workspace = true\n", "")
                .replace("[lints]\nworkspace = true\n", "")
        });
        assert_eq!(messages(findings), ["no license", "no lints.workspace = true"]);
    }

    #[test]
    fn a_folder_with_another_name_is_found() {
        let findings = Tree::found_after(fields, "crates/sockeye-packet/Cargo.toml", |text| {
            text.replace("name = \"sockeye-packet\"", "name = \"sockeye-packets\"")
        });
        assert_eq!(
            messages(findings),
            ["the package is called sockeye-packets, its folder is not"]
        );
    }

    #[test]
    fn a_crate_that_the_list_lacks_is_found() {
        let findings = Tree::found_after(listed, LIST, |text| {
            text.replace("cargo add sockeye-packet", "cargo add")
        });
        assert_eq!(
            messages(findings),
            ["no row for sockeye-packet with `cargo add sockeye-packet`"]
        );
    }
}
