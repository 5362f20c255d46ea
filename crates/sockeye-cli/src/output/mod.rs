//! Stdout: lines for people, or NDJSON or rows for programs, one of them.
//!
//! With `--json` each line is one object with `"schema":1` and `"event"`. The stream stays valid whatever
//! happens: a command that fails ends it with an `error` event.
//!
//! Much of what is printed came from outside: names, captures, arguments. Everything goes through [`escaped`] on its way
//! to a person, here, in [`note`] and in [`warn`], so that no command can forget it; programs get the exact text.

mod escape;
pub(crate) mod log;
mod manner;
mod rows;

use std::fmt::{Display, Write as _};
#[cfg(feature = "sockets")]
use std::io::IsTerminal as _;
use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::exit::{Exit, words};
use escape::plain_json;
pub(crate) use escape::{escaped, text_of};
#[cfg(feature = "log")]
pub(crate) use manner::Notes;
pub(crate) use manner::{
    Manner, has_colors, is_quiet, note, progress, set_manner, shows_progress, verbosity, warn,
};
pub(crate) use rows::{RowFormat, Rows};

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
        self.put(text.as_bytes())
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
        self.put(line.as_bytes())
    }

    /// An event for programs, flushed; nothing without `--json`. `fields` is an object, its keys apart from
    /// `schema` and `event`.
    ///
    /// # Errors
    /// When stdout is closed ([`is_closed`] tells) or cannot be written.
    pub(crate) fn event(&mut self, name: &str, fields: Value) -> io::Result<()> {
        if self.format.rows.is_some() {
            return self.row(name, &fields);
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
        self.put(line.as_bytes())
    }

    /// A row of `--csv` that is a part of an event; nothing without `--csv`.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub(crate) fn row(&mut self, name: &str, fields: &Value) -> io::Result<()> {
        let Some(rows) = self.format.rows else {
            return Ok(());
        };
        let text = rows.text(name, fields, !self.has_header)?;
        self.has_header = true;
        self.put(&text)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to
            .write_all(bytes)
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

    /// Draws lines that were drawn before anew: `above` of them stand over the cursor. Only where stdout is a terminal. What is
    /// wider than it is cut: of wide characters, or because the window has become narrower.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    #[cfg(feature = "terminal")]
    pub(crate) fn redraw(&mut self, above: usize, lines: &[String]) -> io::Result<()> {
        if self.is_json() {
            return Ok(());
        }
        // No wrapping (DECAWM) while it is drawn: a line that took two would put the next drawing in the wrong place.
        let mut text = String::from("\x1b[?7l");
        if above > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "\x1b[{above}A");
        }
        for line in lines {
            let _ = writeln!(text, "\r{}\x1b[K", escaped(line));
        }
        text.push_str("\x1b[J\x1b[?7h");
        self.put(text.as_bytes())
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
        io::Error::new(
            error.kind(),
            format!("write to {}: {}", manner::place(), words(&error)),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use serde_json::json;

    use super::escape::is_plain;
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
    #[cfg(feature = "terminal")]
    fn lines_that_are_drawn_anew_do_not_wrap_and_others_do_as_before() {
        let lines = ["広い".to_owned(), "b\n".to_owned()];
        let text = printed(false, |out| out.redraw(2, &lines).unwrap());
        let expected = "\x1b[?7l\x1b[2A\r広い\x1b[K\n\rb\\n\x1b[K\n\x1b[J\x1b[?7h";
        assert_eq!(text, expected);
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
