//! A chapter, read: its headings, its blocks, and what it points at.

use std::path::{Path, PathBuf};

/// Where the chapters are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("book/src")
}

/// A chapter and the lines of its file.
#[derive(Debug)]
pub(crate) struct Chapter {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) lines: Vec<String>,
}

/// A piece of a chapter that a test looks at, with the line that it begins on, counted from 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A heading, by the anchor that mdbook gives it.
    Heading { line: usize, anchor: String },
    /// A block between fences: the words after the first fence, and the lines within.
    Block {
        line: usize,
        info: String,
        body: Vec<String>,
    },
    /// A comment `<!-- WORD ... -->`.
    Comment { line: usize, word: String, text: String },
    /// A line of prose.
    Prose { line: usize, text: String },
}

/// A command of a transcript. `line` is the first line below it, `expected` what it is to print.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: usize,
    pub(crate) script: String,
    pub(crate) expected: Vec<String>,
}

impl Chapter {
    /// Reads the chapter of that name.
    pub(crate) fn read(name: &str) -> Self {
        let path = folder().join(format!("{name}.md"));
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            name: name.to_owned(),
            path,
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// Where a line is, as an editor takes it.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("docs/book/src/{}.md:{}", self.name, line + 1)
    }

    /// Its pieces, in order.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut anchors: Vec<String> = Vec::new();
        let mut lines = self.lines.iter().enumerate();
        while let Some((line, text)) = lines.next() {
            if let Some(fence) = fence(text) {
                let info = text.trim_start_matches('`').trim().to_owned();
                let body = lines.by_ref().map(|(_, text)| text);
                let body: Vec<String> = body
                    .take_while(|text| text.trim_end() != fence)
                    .cloned()
                    .collect();
                pieces.push(Piece::Block { line, info, body });
            } else if let Some(comment) = text.strip_prefix("<!-- ") {
                let mut comment = comment.to_owned();
                while !comment.contains("-->") {
                    let (_, more) = lines
                        .next()
                        .unwrap_or_else(|| panic!("{}: no end", self.at(line)));
                    comment.push('\n');
                    comment.push_str(more);
                }
                let comment = comment.replace("-->", "");
                let (word, text) = comment
                    .split_once(|blank: char| blank.is_whitespace())
                    .unwrap_or((&comment, ""));
                let (word, text) = (word.to_owned(), text.to_owned());
                pieces.push(Piece::Comment { line, word, text });
            } else if let Some(title) = heading(text) {
                let plain = anchor(title);
                let again = anchors.iter().filter(|known| **known == plain).count();
                anchors.push(plain.clone());
                let anchor = if again == 0 {
                    plain
                } else {
                    format!("{plain}-{again}")
                };
                pieces.push(Piece::Heading { line, anchor });
            } else {
                let text = text.clone();
                pieces.push(Piece::Prose { line, text });
            }
        }
        pieces
    }

    /// The commands of a transcript's lines.
    pub(crate) fn commands(&self, line: usize, body: &[String]) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        let mut goes_on = false;
        for (at, text) in body.iter().enumerate() {
            let at = line + 1 + at;
            if let Some(script) = text.strip_prefix("$ ") {
                commands.push(Command {
                    line: at + 1,
                    script: script.to_owned(),
                    expected: Vec::new(),
                });
                goes_on = script.ends_with('\\');
                continue;
            }
            let Some(command) = commands.last_mut() else {
                panic!("{}: a transcript begins with a line `$ COMMAND`", self.at(at));
            };
            if goes_on {
                let more = text.strip_prefix("> ");
                let more = more.unwrap_or_else(|| panic!("{}: `> ` goes on with the command", self.at(at)));
                command.script.extend(["\n", more]);
                command.line = at + 1;
                goes_on = more.ends_with('\\');
            } else {
                command.expected.push(text.clone());
            }
        }
        commands
    }

    /// The programs that its transcripts and its comments run, each once: the package and the name.
    pub(crate) fn programs(&self) -> Vec<(String, String)> {
        let mut programs = Vec::new();
        for piece in self.pieces() {
            let text = match piece {
                Piece::Block { info, body, .. } if info.starts_with("console") => body.join("\n"),
                Piece::Comment { word, text, .. } if word == "run" => text,
                _ => continue,
            };
            let mut parts = text.split("--example ");
            let mut before = parts.next().unwrap_or_default();
            for rest in parts {
                let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
                let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
                let words: Vec<&str> = before.split_whitespace().collect();
                let package = match words[..] {
                    [.., "-p", package] => package,
                    _ => "sockeye-docs",
                };
                programs.push((package.to_owned(), rest[..end].to_owned()));
                before = rest;
            }
        }
        programs.sort();
        programs.dedup();
        programs
    }
}

/// The fence that a line begins a block with.
fn fence(line: &str) -> Option<String> {
    let ticks = line.len() - line.trim_start_matches('`').len();
    (ticks >= 3).then(|| "`".repeat(ticks))
}

fn heading(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    (1..=6)
        .contains(&level)
        .then(|| title.strip_prefix(' '))
        .flatten()
}

/// The anchor that mdbook makes of a heading.
fn anchor(title: &str) -> String {
    let letters = title.trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ if letter.is_alphanumeric() => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    letters.collect()
}

#[test]
fn pieces_and_commands_are_found() {
    let text = "# A *title*, `twice`\n<!-- needs: ss nft -->\nprose\n```console,server\n$ a \\\n> b --example x_1; y\nout\n\n$ c\n```\n# A title twice\n<!-- run\nx --example x_2\ny -->\n";
    let chapter = Chapter {
        name: "x".to_owned(),
        path: PathBuf::new(),
        lines: text.lines().map(str::to_owned).collect(),
    };
    let pieces = chapter.pieces();
    assert_eq!(pieces.len(), 6, "{pieces:?}");
    let anchor = |piece: &Piece| match piece {
        Piece::Heading { anchor, .. } => anchor.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(anchor(&pieces[0]), "a-title-twice");
    assert_eq!(anchor(&pieces[4]), "a-title-twice-1");
    assert!(matches!(&pieces[1], Piece::Comment { word, text, .. } if word == "needs:" && text == "ss nft "));
    assert!(
        matches!(&pieces[5], Piece::Comment { word, text, .. } if word == "run" && text == "x --example x_2\ny ")
    );
    let Piece::Block { line, info, body } = &pieces[3] else {
        panic!("{pieces:?}")
    };
    assert_eq!((*line, info.as_str()), (3, "console,server"));
    let commands = chapter.commands(*line, body);
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[0].script, "a \\\nb --example x_1; y");
    let programs = ["x_1", "x_2"].map(|name| ("sockeye-docs".to_owned(), name.to_owned()));
    assert_eq!(chapter.programs(), programs);
    assert_eq!(
        (commands[0].line, &commands[0].expected[..]),
        (6, &["out".to_owned(), String::new()][..])
    );
    assert_eq!((commands[1].line, commands[1].expected.len()), (9, 0));
}
