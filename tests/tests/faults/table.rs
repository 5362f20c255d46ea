//! The table of docs/RELIABILITY.md is true: every test that it names exists, and it has as many kinds as were promised.

use std::path::{Path, PathBuf};

/// As many kinds at least, in each world.
const KINDS: usize = 70;

/// A row: the kind, the promise, and a cell for each world.
struct Row {
    kind: String,
    promise: String,
    worlds: [String; 2],
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rows(page: &str) -> Vec<Row> {
    let table = page
        .lines()
        .skip_while(|line| !line.starts_with("| kind |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    table
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 4, "four cells: {line}");
            let code = |cell: &str| cell.trim_matches('`').to_owned();
            Row {
                kind: cells[0].to_owned(),
                promise: cells[1].to_owned(),
                worlds: [code(cells[2]), code(cells[3])],
            }
        })
        .collect()
}

/// What is wrong with a cell.
fn fault_of(cell: &str) -> Option<String> {
    let Some((binary, path)) = cell.split_once(' ') else {
        return Some("no binary and test".to_owned());
    };
    let mut segments: Vec<&str> = path.split("::").collect();
    let name = segments.pop()?;
    let world = segments
        .last()
        .is_some_and(|last| ["on_the_kernel", "simulated"].contains(last));
    if world {
        segments.pop();
    }
    let folder = root().join("tests/tests");
    let file = match segments.first() {
        Some(module) => folder.join(binary).join(format!("{module}.rs")),
        None if folder.join(format!("{binary}.rs")).exists() => folder.join(format!("{binary}.rs")),
        None => folder.join(binary).join("main.rs"),
    };
    let Ok(source) = std::fs::read_to_string(&file) else {
        return Some(format!("there is no {}", file.display()));
    };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_function = |line: &str| {
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    let Some(at) = lines.iter().position(|line| is_function(line)) else {
        return Some(format!("no function {name} in {}", file.display()));
    };
    let is_test = if binary == "conformance" {
        // A scenario of the one test there.
        true
    } else if world {
        // Listed in a macro that makes two tests of it.
        lines.iter().any(|line| line.trim_end_matches([',', ';']) == name)
    } else {
        lines[at.saturating_sub(4)..at].contains(&"#[test]")
    };
    (!is_test).then(|| format!("{name} is no test in {}", file.display()))
}

#[test]
fn every_test_of_the_page_exists_and_the_kinds_are_as_many_as_promised() {
    let page = std::fs::read_to_string(root().join("docs/RELIABILITY.md")).unwrap();
    let rows = rows(&page);
    let mut faults = Vec::new();
    for row in &rows {
        if row.kind.is_empty() || row.promise.is_empty() {
            faults.push(format!("{}: no kind or no promise", row.kind));
        }
        let named = row.worlds.iter().filter(|cell| *cell != "-");
        faults.extend(named.filter_map(|cell| Some(format!("{}: {cell}: {}", row.kind, fault_of(cell)?))));
    }
    let mut kinds: Vec<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), rows.len(), "a kind stands there twice");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (world, name) in ["kernel", "simulation"].iter().enumerate() {
        let count = rows.iter().filter(|row| row.worlds[world] != "-").count();
        assert!(count >= KINDS, "{count} kinds in the {name}");
        assert!(
            page.contains(&format!("{count} in the {name}")),
            "the page has to say that it has {count} kinds in the {name}"
        );
    }
}

#[test]
fn a_test_that_is_not_there_is_found() {
    for cell in [
        "faults accept::no_such_test",
        "faults no_such_module::a_test",
        "no_such_binary a_test",
        "faults accept::on_the_kernel::every_passing_error_leaves_the_listener",
        "faults table::rows",
        "one_word",
    ] {
        assert!(fault_of(cell).is_some(), "{cell}");
    }
    assert!(fault_of("faults table::a_test_that_is_not_there_is_found").is_none());
}
