//! Which package may depend on which: our own by the table below, others by `docs/ARCHITECTURE.md`.
//!
//! Normal, optional and build dependencies count. What tests use is free.

use std::collections::BTreeMap;

use super::Finding;
use super::tree::{Manifest, Tree};

/// The arrows of the design. A crate that is not in it may not depend on any of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("sockeye-socket", &["sockeye-endpoint"]),
    ("sockeye-tcp-stream", &["sockeye-socket", "sockeye-endpoint"]),
    ("sockeye-udp-datagram", &["sockeye-socket", "sockeye-endpoint"]),
    (
        "sockeye-raw-ip",
        &["sockeye-socket", "sockeye-endpoint", "sockeye-packet"],
    ),
    ("sockeye-unix", &["sockeye-socket"]),
    ("sockeye-link", &["sockeye-socket", "sockeye-packet"]),
    ("sockeye-resolver", &["sockeye-socket", "sockeye-endpoint"]),
    (
        "sockeye-event-loop",
        &[
            "sockeye-endpoint",
            "sockeye-socket",
            "sockeye-tcp-stream",
            "sockeye-udp-datagram",
            "sockeye-raw-ip",
            "sockeye-unix",
            "sockeye-resolver",
        ],
    ),
    (
        "sockeye-sim",
        &[
            "sockeye-event-loop",
            "sockeye-endpoint",
            "sockeye-packet",
            "sockeye-resolver",
            "sockeye-socket",
        ],
    ),
    (
        "sockeye-probe",
        &["sockeye-endpoint", "sockeye-packet", "sockeye-event-loop"],
    ),
    ("sockeye-tls", &["sockeye-event-loop"]),
    (
        "sockeye-relay",
        &[
            "sockeye-event-loop",
            "sockeye-endpoint",
            "sockeye-resolver",
            "sockeye-tls",
        ],
    ),
    (
        "sockeye",
        &[
            "sockeye-endpoint",
            "sockeye-packet",
            "sockeye-socket",
            "sockeye-tcp-stream",
            "sockeye-udp-datagram",
            "sockeye-raw-ip",
            "sockeye-unix",
            "sockeye-link",
            "sockeye-resolver",
            "sockeye-event-loop",
            "sockeye-sim",
            "sockeye-probe",
            "sockeye-tls",
            "sockeye-relay",
            "sockeye-measure",
        ],
    ),
    ("sockeye-cli", &["sockeye"]),
];

/// The document that gives each dependency its reason.
const REASONS: &str = "docs/ARCHITECTURE.md";

/// Arrows between our packages that the design does not have.
pub(super) fn own(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in tree.manifests().filter(Manifest::is_public) {
        let allowed = ARROWS
            .iter()
            .find(|(name, _)| *name == manifest.name())
            .map_or(&[][..], |(_, allowed)| allowed);
        for dependency in shipped(&manifest) {
            if is_ours(dependency) && !allowed.contains(&dependency) {
                let message = format!(
                    "{} -> {dependency} is against the arrows of the design",
                    manifest.name()
                );
                findings.push(Finding::new(&manifest.path, 0, message));
            }
        }
    }
    findings
}

/// Dependencies from outside that have no reason in the document, or not for this crate; and reasons for what
/// nobody uses.
pub(super) fn third_party(tree: &Tree) -> Vec<Finding> {
    let reasons = reasons(tree.text(REASONS).unwrap_or_default());
    let mut findings = Vec::new();
    let mut used: Vec<(String, String)> = Vec::new();
    for manifest in tree.manifests() {
        let name = manifest.name();
        for dependency in shipped(&manifest)
            .into_iter()
            .filter(|dependency| !is_ours(dependency))
        {
            used.push((dependency.to_owned(), name.to_owned()));
            let users = reasons.get(dependency);
            if manifest.is_public() && !users.is_some_and(|users| users.iter().any(|user| user == name)) {
                let message = format!("{name} -> {dependency} has no reason in {REASONS}");
                findings.push(Finding::new(&manifest.path, 0, message));
            }
        }
        for dependency in shipped(&manifest)
            .into_iter()
            .chain(manifest.dependencies("dev-dependencies"))
        {
            if !is_ours(dependency) && !reasons.contains_key(dependency) {
                let message = format!("{dependency} is not in the tables of {REASONS}");
                findings.push(Finding::new(&manifest.path, 0, message));
            }
        }
    }
    for (dependency, users) in &reasons {
        for user in users.iter().filter(|user| is_ours(user)) {
            if !used.iter().any(|(known, by)| known == dependency && by == user) {
                findings.push(Finding::new(
                    REASONS,
                    0,
                    format!("{user} no longer depends on {dependency}"),
                ));
            }
        }
    }
    findings
}

fn shipped(manifest: &Manifest) -> Vec<&str> {
    let mut names = manifest.dependencies("dependencies");
    names.extend(manifest.dependencies("build-dependencies"));
    names
}

fn is_ours(name: &str) -> bool {
    name == "sockeye" || name.starts_with("sockeye-")
}

/// The rows of the dependency tables, `| dependency | used by | why |`: name to users. A row without a reason
/// does not count.
fn reasons(document: &str) -> BTreeMap<String, Vec<String>> {
    let section = document
        .split("\n## ")
        .find(|section| section.starts_with("Dependencies"))
        .unwrap_or_default();
    let mut reasons = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        if let [name, users, why] = cells[..]
            && !why.is_empty()
        {
            let users = users
                .split(',')
                .map(|user| user.trim().trim_matches('`').to_owned())
                .collect();
            reasons.insert(name.trim_matches('`').to_owned(), users);
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adding(dependency: &str) -> impl FnOnce(&str) -> String {
        let line = format!("[dependencies]\n{dependency}");
        move |text| text.replacen("[dependencies]", &line, 1)
    }

    #[test]
    fn endpoint_may_not_use_mio() {
        let path = "crates/sockeye-endpoint/Cargo.toml";
        let findings = Tree::found_after(third_party, path, adding("mio.workspace = true"));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0]
                .message
                .starts_with("sockeye-endpoint -> mio has no reason")
        );
    }

    #[test]
    fn the_socket_types_may_not_use_each_other() {
        let tcp = adding("sockeye-tcp-stream = { workspace = true, optional = true }");
        let findings = Tree::found_after(own, "crates/sockeye-udp-datagram/Cargo.toml", tcp);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0]
                .message
                .contains("sockeye-udp-datagram -> sockeye-tcp-stream")
        );
    }

    #[test]
    fn a_pure_crate_may_not_use_any_of_ours() {
        let endpoint = adding("sockeye-endpoint.workspace = true");
        assert_eq!(
            Tree::found_after(own, "crates/sockeye-packet/Cargo.toml", endpoint).len(),
            1
        );
    }

    #[test]
    fn a_development_dependency_is_free_but_named() {
        let manifest =
            "[package]\nname = 'sockeye-packet'\n[dev-dependencies]\nsockeye-sim = '1'\nsmoltcp = '1'";
        let tree = Tree::of(&[("crates/sockeye-packet/Cargo.toml", manifest)]);
        assert_eq!(own(&tree), []);
        assert!(
            third_party(&tree)
                .iter()
                .all(|found| found.message.starts_with("smoltcp is not in the tables"))
        );
    }

    #[test]
    fn a_reason_that_nobody_needs_is_found() {
        let document = "# A\n\n## Dependencies\n\n| `libc` | `sockeye-socket` | calls |\n| `slab` | `sockeye-socket` | |\n";
        let tree = Tree::of(&[(REASONS, document)]);
        let messages: Vec<_> = third_party(&tree)
            .into_iter()
            .map(|found| found.message)
            .collect();
        assert_eq!(
            messages,
            ["sockeye-socket no longer depends on libc"],
            "a row without a reason is none"
        );
    }
}
