//! Stdout: lines for people, or NDJSON or rows for programs, one of them.
//!
//! With `--json` each line is one object with `"schema":1` and `"event"`. The stream stays valid whatever
//! happens: a command that fails ends it with an `error` event.
//!
//! Much of what is printed came from outside: names, captures, arguments. Everything goes through [`escaped`] on its way
//! to a person, here, in [`note`] and in [`warn`], so that no command can forget it; programs get the exact text.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use crate::exit::{Exit, words};

/// The version of the shape of the events.
const SCHEMA: u32 = 1;

/// The arguments that choose the format; flattened into those of each subcommand that prints data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Format {
    /// Print NDJSON: one object a line, each with "schema" and "event"
    #[arg(long)]
    pub(crate) json: bool,
    /// Rows instead, of a [`RowFormat`].
    #[arg(skip)]
    pub(crate) rows: Option<&'static Rows>,
}

impl Format {
    /// Events and nothing for people.
    pub(crate) const JSON: Self = Self {
        json: true,
        rows: None,
    };
}

/// The same for commands whose events are rows: one kind of thing each, with the same fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct RowFormat {
    #[command(flatten)]
    json: Format,
    /// Print rows for a spreadsheet (RFC 4180): a header, then one line each
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl RowFormat {
    /// With the rows of a command.
    pub(crate) fn of(self, table: &'static Rows) -> Format {
        Format {
            rows: self.csv.then_some(table),
            ..self.json
        }
    }

    /// Whether programs are to read it.
    #[cfg(feature = "terminal")]
    pub(crate) fn is_for_programs(self) -> bool {
        self.json.json || self.csv
    }
}

/// Which events are rows of `--csv`, and what is in them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) events: &'static [&'static str],
    /// Fields of the events, those of objects within by `object.field`; `event` is the name of the event.
    pub(crate) columns: &'static [&'static str],
}

/// Nobody reads our stdout any more (`sockeye ... | head`).
#[derive(Debug)]
struct Closed;

impl Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stdout is closed")
    }
}

impl std::error::Error for Closed {}

/// How a verdict is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Doubtful,
}

impl Tone {
    const fn color(self) -> anstyle::AnsiColor {
        match self {
            Self::Good => anstyle::AnsiColor::Green,
            Self::Doubtful => anstyle::AnsiColor::Yellow,
        }
    }
}

/// Where a command's data goes.
pub(crate) struct Output {
    to: Box<dyn Write>,
    format: Format,
    /// The header of `--csv` is written.
    has_header: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// The program's stdout.
    pub(crate) fn stdout(format: Format) -> Self {
        Self {
            to: Box::new(io::BufWriter::new(io::stdout())),
            format,
            has_header: false,
        }
    }

    /// Any other place.
    pub(crate) fn to(to: impl Write + 'static, format: Format) -> Self {
        Self {
            to: Box::new(to),
            format,
            has_header: false,
        }
    }

    /// What it was made with.
    #[cfg(feature = "relay")]
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether events are wanted, not lines.
    pub(crate) fn is_json(&self) -> bool {
        self.format.json || self.format.rows.is_some()
    }

    /// A line for people, escaped and flushed; nothing with `--json`.
    ///
    /// # Errors
    /// When stdout is closed ([`is_closed`] tells) or cannot be written.
    pub(crate) fn line(&mut self, line: impl Display) -> io::Result<()> {
        self.lines([line])
    }

    /// Lines for people, as [`line`](Self::line), in one write.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn lines(&mut self, lines: impl IntoIterator<Item = impl Display>) -> io::Result<()> {
        if self.is_json() {
            return Ok(());
        }
        let (mut text, mut one) = (String::new(), String::new());
        for line in lines {
            one.clear();
            // Writing to a String fails only where the value itself says so.
            let _ = write!(one, "{line}");
            text.push_str(&escaped(&one));
            text.push('\n');
        }
        self.to
            .write_all(text.as_bytes())
            .and_then(|()| self.to.flush())
            .map_err(closed)
    }

    /// A line for people that begins with a verdict, in its colour where colours are wanted; nothing with `--json`.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn verdict(&mut self, verdict: &str, tone: Tone, rest: impl Display) -> io::Result<()> {
        if !has_colors() {
            return self.line(format_args!("{verdict}{rest}"));
        }
        if self.is_json() {
            return Ok(());
        }
        let style = anstyle::Style::new().fg_color(Some(tone.color().into()));
        let (verdict, rest) = (escaped(verdict), rest.to_string());
        let line = format!("{style}{verdict}{style:#}{}\n", escaped(&rest));
        self.to
            .write_all(line.as_bytes())
            .and_then(|()| self.to.flush())
            .map_err(closed)
    }

    /// An event for programs, flushed; nothing without `--json`. `fields` is an object, its keys apart from
    /// `schema` and `event`.
    ///
    /// # Errors
    /// When stdout is closed ([`is_closed`] tells) or cannot be written.
    pub(crate) fn event(&mut self, name: &str, fields: Value) -> io::Result<()> {
        if let Some(rows) = self.format.rows {
            return self.row(rows, name, &fields);
        }
        if !self.format.json {
            return Ok(());
        }
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        // By hand, so that the two keys everybody dispatches on come first.
        let mut line = format!("{{\"schema\":{SCHEMA},\"event\":{}", Value::from(name));
        for (key, value) in &fields {
            line.push_str(&format!(",{}:{value}", Value::from(key.as_str())));
        }
        line.push('}');
        let mut line = plain_json(&line);
        line.push('\n');
        self.to
            .write_all(line.as_bytes())
            .and_then(|()| self.to.flush())
            .map_err(closed)
    }

    /// A row of `--csv`, where the event is one; the header before the first event of any kind.
    fn row(&mut self, table: &Rows, name: &str, fields: &Value) -> io::Result<()> {
        let mut rows = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(Vec::new());
        if !self.has_header {
            self.has_header = true;
            rows.write_record(table.columns).map_err(io::Error::other)?;
        }
        if table.events.contains(&name) {
            let cells = table.columns.iter().map(|column| match *column {
                "event" => name.to_owned(),
                column => escaped(&cell(fields, column)).into_owned(),
            });
            rows.write_record(cells).map_err(io::Error::other)?;
        }
        let text = rows
            .into_inner()
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.to
            .write_all(&text)
            .and_then(|()| self.to.flush())
            .map_err(closed)
    }

    /// A whole file, as it is: it was made by this program.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn file(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes).map_err(closed)
    }

    /// Makes room for a view that is drawn again: clears the terminal, leaves a line free anywhere else.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    #[cfg(feature = "sockets")]
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        if self.is_json() {
            return Ok(());
        }
        let room: &[u8] = if io::stdout().is_terminal() {
            b"\x1b[H\x1b[2J"
        } else {
            b"\n"
        };
        self.to.write_all(room).map_err(closed)
    }

    /// Draws lines that were drawn before anew: `above` of them stand over the cursor. Only where stdout is a terminal, and
    /// with lines that are narrower than it.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    #[cfg(feature = "terminal")]
    pub(crate) fn redraw(&mut self, above: usize, lines: &[String]) -> io::Result<()> {
        if self.is_json() {
            return Ok(());
        }
        let mut text = String::new();
        if above > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "\x1b[{above}A");
        }
        for line in lines {
            let _ = writeln!(text, "\r{}\x1b[K", escaped(line));
        }
        text.push_str("\x1b[J");
        self.to
            .write_all(text.as_bytes())
            .and_then(|()| self.to.flush())
            .map_err(closed)
    }

    /// The last event of a command that failed.
    ///
    /// # Errors
    /// When stdout is closed ([`is_closed`] tells) or cannot be written.
    pub(crate) fn failed(&mut self, message: &str, exit: Exit) -> io::Result<()> {
        self.event(
            "error",
            serde_json::json!({ "message": message, "exit": exit as u8 }),
        )
    }
}

impl Output {
    /// What was printed is on its way.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(closed)
    }
}

/// How the program talks, as [`everywhere`](crate::everywhere) has set it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// No notes.
    pub(crate) quiet: bool,
    /// Progress on stderr, where that is a terminal.
    pub(crate) progress: bool,
    pub(crate) color: clap::ColorChoice,
}

static MANNER: OnceLock<Manner> = OnceLock::new();

/// Sets it for the process, once.
pub(crate) fn set_manner(manner: Manner) {
    // A second time would be a mistake of the program, which tests have: the first one stays.
    let _ = MANNER.set(manner);
}

fn manner() -> Manner {
    MANNER.get().copied().unwrap_or(Manner {
        quiet: false,
        progress: true,
        color: clap::ColorChoice::Auto,
    })
}

/// Whether `--quiet` was asked for.
pub(crate) fn is_quiet() -> bool {
    manner().quiet
}

/// Whether progress is to be shown on a terminal.
pub(crate) fn shows_progress() -> bool {
    manner().progress
}

/// A progress line on stderr, by a template of `indicatif`; hidden where stderr is no terminal or nobody wants one.
pub(crate) fn progress(len: u64, template: &str) -> ProgressBar {
    if !shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len);
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

/// Whether lines on stdout may have colours: `--color`, then NO_COLOR, then whether it is a terminal.
pub(crate) fn has_colors() -> bool {
    match manner().color {
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
        clap::ColorChoice::Auto => {
            std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
                && io::stdout().is_terminal()
        }
    }
}

/// A line on stderr that is good to know, escaped; nothing with `--quiet`.
pub(crate) fn note(line: impl Display) {
    if !is_quiet() {
        warn(line);
    }
}

/// A line on stderr that is not to be missed, escaped. That it cannot be written is no reason to do anything else: the
/// status still says how the command ended.
pub(crate) fn warn(line: impl Display) {
    let line = format!("{}\n", escaped(&line.to_string()));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Stderr for a log: each line escaped.
#[cfg(feature = "log")]
#[derive(Debug)]
pub(crate) struct Notes;

#[cfg(feature = "log")]
impl Write for Notes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            warn(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A text as one line that a terminal shows and does not obey: control characters (line feeds among them), and the
/// characters without a shape that reorder or hide others (bidirectional overrides and the like, UTS 55), as Rust writes
/// them in strings: `\n`, `\u{1b}`, `\u{202e}`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_plain(letter) {
            safe.push(letter);
        } else {
            safe.extend(letter.escape_debug());
        }
    }
    safe.into()
}

/// A field of an event as text: empty where there is none, what is in a list with blanks between.
fn cell(fields: &Value, column: &str) -> String {
    let mut found = vec![fields];
    for key in column.split('.') {
        found = found
            .into_iter()
            .filter_map(|value| value.get(key))
            .flat_map(|value| match value {
                Value::Array(values) => values.iter().collect(),
                value => vec![value],
            })
            .collect();
    }
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    found.into_iter().map(text).collect::<Vec<_>>().join(" ")
}

/// Whether a terminal only shows it.
fn is_plain(letter: char) -> bool {
    // A mark that combines with what is before it is one too, but alone it would be escaped.
    letter.is_ascii_graphic() || letter == ' ' || {
        let mut pair = *b"a\0\0\0\0";
        let (_, rest) = pair.split_at_mut(1);
        let len = letter.encode_utf8(rest).len();
        std::str::from_utf8(pair.split_at(1 + len).0)
            .is_ok_and(|pair| pair.escape_debug().nth(1) == Some(letter))
    }
}

/// JSON in the same characters, and no others for a terminal: what it would obey is written as `\u001b`, which is the same
/// text to every parser. Such characters stand in strings only.
fn plain_json(line: &str) -> String {
    let mut safe = String::with_capacity(line.len());
    for letter in line.chars() {
        if is_plain(letter) {
            safe.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

/// Whether the error is only that nobody reads our stdout any more.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.get_ref().is_some_and(|inner| inner.is::<Closed>()))
}

fn closed(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        io::Error::new(io::ErrorKind::BrokenPipe, Closed)
    } else {
        io::Error::new(error.kind(), format!("write to stdout: {}", words(&error)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use serde_json::json;

    use super::*;

    #[derive(Default, Clone)]
    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(json: bool, act: impl FnOnce(&mut Output)) -> String {
        let place = Shared::default();
        act(&mut Output::to(
            place.clone(),
            Format {
                json,
                ..Format::default()
            },
        ));
        String::from_utf8(place.0.take()).unwrap()
    }

    #[test]
    fn events_begin_with_schema_and_name_and_are_one_line_each() {
        let text = printed(true, |out| {
            out.line("not for programs").unwrap();
            out.event("begin", json!({ "a": 1, "b": "two\nlines" })).unwrap();
            out.event("end", json!({})).unwrap();
        });
        assert_eq!(
            text,
            "{\"schema\":1,\"event\":\"begin\",\"a\":1,\"b\":\"two\\nlines\"}\n{\"schema\":1,\"event\":\"end\"}\n"
        );
        for line in text.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }

    #[test]
    fn lines_are_for_people_only() {
        let text = printed(false, |out| {
            out.line("hello").unwrap();
            out.event("begin", json!({})).unwrap();
            out.failed("no", Exit::Io).unwrap();
        });
        assert_eq!(text, "hello\n");
    }

    #[test]
    fn rows_have_a_header_and_the_same_columns_whatever_an_event_lacks() {
        const ROWS: Rows = Rows {
            events: &["reply", "lost"],
            columns: &["event", "name", "rtt.p50", "ports", "paths.at"],
        };
        let place = Shared::default();
        let format = RowFormat {
            csv: true,
            ..RowFormat::default()
        };
        let mut out = Output::to(place.clone(), format.of(&ROWS));
        out.line("not for programs").unwrap();
        out.event("begin", json!({ "name": "no row" })).unwrap();
        out.event(
            "reply",
            json!({ "name": "a \"b\", c\u{1b}", "rtt": { "p50": 5 }, "ports": [1, "x"], "paths": [{ "at": 7 }, { "at": 8 }] }),
        )
        .unwrap();
        out.event("lost", json!({ "name": null })).unwrap();
        out.failed("no", Exit::Io).unwrap();
        assert_eq!(
            String::from_utf8(place.0.take()).unwrap(),
            "event,name,rtt.p50,ports,paths.at\r\nreply,\"a \"\"b\"\", c\\u{1b}\",5,1 x,7 8\r\nlost,,,,\r\n"
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (text, safe) in [
            (
                "plain 'text' \"quoted\" \\ back",
                "plain 'text' \"quoted\" \\ back",
            ),
            ("grüße, 日本語, e\u{301}", "grüße, 日本語, e\u{301}"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\r\nb\tc\0\u{7f}", "a\\r\\nb\\tc\\0\\u{7f}"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
            (
                "\u{202e}txt.exe\u{2066}\u{200f}",
                "\\u{202e}txt.exe\\u{2066}\\u{200f}",
            ),
            (
                "\u{200b}\u{feff}\u{2028}\u{e0041}",
                "\\u{200b}\\u{feff}\\u{2028}\\u{e0041}",
            ),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }

    #[test]
    fn a_line_stays_one_line_and_an_event_says_the_exact_text() {
        let hostile = "\u{1b}]0;x\u{7}\r\n\u{9b}\u{202e}\u{e0041}\u{7f}é";
        let lines = printed(false, |out| out.lines([hostile, "two"]).unwrap());
        assert_eq!(lines.lines().count(), 2);
        let event = printed(true, |out| out.event("x", json!({ "text": hostile })).unwrap());
        for text in [&lines, &event] {
            assert!(
                text.chars().all(|letter| letter == '\n' || is_plain(letter)),
                "{text:?}"
            );
        }
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["text"], hostile);
    }

    #[test]
    fn a_failure_keeps_the_stream_valid_and_says_the_status() {
        let text = printed(true, |out| {
            out.failed("bind: \"quoted\"", Exit::Permission).unwrap()
        });
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            event,
            json!({"schema": 1, "event": "error", "message": "bind: \"quoted\"", "exit": 4})
        );
    }

    #[test]
    fn a_reader_that_left_is_told_apart() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error: anyhow::Error = Output::to(Gone, Format::default()).line("x").unwrap_err().into();
        assert!(is_closed(&error));
        assert!(is_closed(&error.context("while printing")));
        assert!(
            !is_closed(&io::Error::from(io::ErrorKind::BrokenPipe).into()),
            "a peer's pipe is not our stdout"
        );
    }
}
