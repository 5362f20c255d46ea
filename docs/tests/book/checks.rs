//! What a chapter points at exists: programs and anchors, links and headings, pictures; and what exists is pointed at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sockeye_tests::program;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

use crate::CHAPTERS;
use crate::chapter::{self, Chapter, Piece};

fn chapters() -> Vec<Chapter> {
    CHAPTERS.iter().map(|name| Chapter::read(name)).collect()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Every include of a chapter: its line, the path, the anchor.
fn includes(chapter: &Chapter) -> Vec<(usize, String, Option<String>)> {
    let mut found = Vec::new();
    for (line, text) in chapter.lines.iter().enumerate() {
        for rest in text.split("{{#include ").skip(1) {
            let (target, _) = rest
                .split_once("}}")
                .unwrap_or_else(|| panic!("{}: no end", chapter.at(line)));
            let (path, anchor) = match target.split_once(':') {
                Some((path, anchor)) => (path, Some(anchor.to_owned())),
                None => (target, None),
            };
            found.push((line, path.to_owned(), anchor));
        }
    }
    found
}

/// The anchors of a program, each with the number of lines between its begin and its end.
fn anchors(path: &Path) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = BTreeMap::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for (line, text) in text.lines().enumerate() {
        if let Some((_, name)) = text.split_once("ANCHOR: ") {
            open.insert(name.trim().to_owned(), line);
        } else if let Some((_, name)) = text.split_once("ANCHOR_END: ") {
            let begun = open.remove(name.trim());
            let begun = begun.unwrap_or_else(|| panic!("{}: {name} ends and never began", path.display()));
            found.insert(name.trim().to_owned(), line - begun - 1);
        }
    }
    assert!(
        open.is_empty(),
        "{}: never ends: {:?}",
        path.display(),
        open.keys()
    );
    found
}

fn fail(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_summary_lists_every_chapter_and_every_chapter_has_its_test() {
    let summary = fs::read_to_string(chapter::folder().join("SUMMARY.md")).unwrap();
    let listed: Vec<_> = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(".md)"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(listed, CHAPTERS);
}

#[test]
fn every_include_names_a_program_and_an_anchor_and_rust_is_never_typed() {
    let mut faults = Vec::new();
    for chapter in chapters() {
        for (line, path, anchor) in includes(&chapter) {
            let at = chapter.at(line);
            let file = chapter::folder().join(&path);
            if !file.is_file() {
                faults.push(format!("{at}: no file {path}"));
            } else if let Some(anchor) = anchor
                && anchors(&file).get(&anchor).copied().unwrap_or(0) == 0
            {
                faults.push(format!("{at}: no lines at {path}:{anchor}"));
            }
        }
        for piece in chapter.pieces() {
            let Piece::Block { line, info, body } = piece else {
                continue;
            };
            let typed = body
                .iter()
                .any(|text| !text.is_empty() && !text.starts_with("{{#include "));
            if info.split(',').next() == Some("rust") && typed {
                faults.push(format!(
                    "{}: a rust block holds an include alone",
                    chapter.at(line)
                ));
            }
        }
    }
    fail(&faults);
}

#[test]
fn every_program_and_every_anchor_is_in_a_chapter() {
    let chapters = chapters();
    let mut included: BTreeSet<(String, String)> = BTreeSet::new();
    let programs = chapters.iter().flat_map(Chapter::programs);
    let mut named: BTreeSet<String> = programs.map(|(_, name)| name).collect();
    for chapter in &chapters {
        for (_, path, anchor) in includes(chapter) {
            if let Some(name) = path.strip_prefix("../../examples/") {
                let name = name.trim_end_matches(".rs").to_owned();
                included.insert((name.clone(), anchor.unwrap_or_default()));
                named.insert(name);
            }
        }
    }
    let mut faults = Vec::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in [examples(), examples().join("tally")] {
        paths.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    for path in paths {
        let name = path.strip_prefix(examples()).unwrap().with_extension("");
        let name = name.to_string_lossy().into_owned();
        if path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        // What lies in the folder is a module of programs, and may be too dull to be shown.
        if !named.contains(&name) && !name.contains('/') {
            faults.push(format!("docs/examples/{name}.rs: in no chapter"));
        }
        for anchor in anchors(&path).into_keys() {
            if !included.contains(&(name.clone(), anchor.clone())) {
                faults.push(format!("docs/examples/{name}.rs: nobody includes {anchor}"));
            }
        }
    }
    fail(&faults);
}

/// Who copies what the anchor `program` shows has the program: only its first sentence and the lints of this workspace are not shown.
/// Solutions of exercises may show a part.
#[test]
fn what_is_shown_as_the_program_is_all_of_it() {
    let mut faults = Vec::new();
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_solution = name.split('_').nth(1).is_some_and(is_exercise);
        if is_solution || path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        if !text.contains("// ANCHOR: program\n") {
            continue;
        }
        let mut is_inside = false;
        for (line, text) in text.lines().enumerate() {
            is_inside = match text.trim() {
                "// ANCHOR: program" => true,
                "// ANCHOR_END: program" => false,
                _ => is_inside,
            };
            let is_hidden = !is_inside && !text.is_empty() && !text.starts_with("// ANCHOR");
            if is_hidden && !text.starts_with("//!") && !text.starts_with("#![") {
                faults.push(format!("docs/examples/{name}.rs:{}: not shown: {text}", line + 1));
                break;
            }
        }
    }
    fail(&faults);
}

/// Whether a part of a program's name is that of an exercise: `ex2`.
fn is_exercise(part: &str) -> bool {
    part.strip_prefix("ex")
        .is_some_and(|number| number.parse::<u8>().is_ok())
}

#[test]
fn continuous_integration_has_the_programs_that_the_chapters_need() {
    let installed = include_str!("../../../.ci/run");
    let mut faults = Vec::new();
    for chapter in chapters() {
        for piece in chapter.pieces() {
            let Piece::Comment { line, word, text } = piece else {
                continue;
            };
            let names = text.split_whitespace().filter(|_| word == "needs:");
            for name in names.filter(|name| !installed.contains(&format!("\n{name}:"))) {
                faults.push(format!("{}: .ci/run does not install {name}", chapter.at(line)));
            }
        }
    }
    fail(&faults);
}

/// The targets of the links and pictures in a line of prose.
fn targets(text: &str) -> Vec<String> {
    // What is between backticks is no link.
    let prose: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let found = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    found.map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut faults = Vec::new();
    for chapter in chapters() {
        for piece in chapter.pieces() {
            let Piece::Prose { line, text } = piece else {
                continue;
            };
            for target in targets(&text) {
                if target.contains("://") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
                let name = path.strip_suffix(".md").unwrap_or(&chapter.name);
                let file = chapter::folder().join(path);
                let leads = if path.is_empty() || CHAPTERS.contains(&name) && path.ends_with(".md") {
                    anchor.is_empty() || has_heading(&Chapter::read(name), anchor)
                } else {
                    anchor.is_empty() && file.is_file()
                };
                if !leads {
                    faults.push(format!("{}: {target} leads nowhere", chapter.at(line)));
                }
            }
        }
    }
    fail(&faults);
}

fn has_heading(chapter: &Chapter, wanted: &str) -> bool {
    let pieces = chapter.pieces();
    pieces
        .iter()
        .any(|piece| matches!(piece, Piece::Heading { anchor, .. } if anchor == wanted))
}

#[test]
fn every_picture_is_in_a_chapter() {
    let shown: BTreeSet<String> = chapters()
        .iter()
        .flat_map(|chapter| {
            chapter
                .lines
                .iter()
                .flat_map(|text| targets(text))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut faults = Vec::new();
    for entry in fs::read_dir(chapter::folder().join("images")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !shown.contains(&format!("images/{name}")) {
            faults.push(format!("docs/book/src/images/{name}: in no chapter"));
        }
    }
    fail(&faults);
}

#[test]
fn the_pictures_are_what_the_script_draws() {
    if !skip::require(&[Need::program("python3")]) {
        return;
    }
    let mut command = Command::new("python3");
    command.args([
        concat!(env!("CARGO_MANIFEST_DIR"), "/book/diagrams.py"),
        "--check",
    ]);
    let output = program::output(&mut command, PATIENCE);
    assert!(output.status.success(), "{}{}", output.text(), output.stderr);
}

#[test]
fn links_are_found_outside_of_code() {
    assert_eq!(
        targets("a [b](c.md#d) and ![e](images/f.svg), `[g](h)`"),
        ["c.md#d", "images/f.svg"]
    );
}
