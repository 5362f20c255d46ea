//! Stdout: lines for people, or NDJSON for programs, never both.
//!
//! With `--json` each line is one object with `"schema":1` and `"event"`. The stream stays valid whatever
//! happens: a command that fails ends it with an `error` event.

use std::fmt::Display;
use std::io::{self, Write};

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

/// Where a command's data goes.
pub(crate) struct Output {
    to: Box<dyn Write>,
    format: Format,
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
        }
    }

    /// Any other place.
    #[cfg(test)]
    pub(crate) fn to(to: impl Write + 'static, format: Format) -> Self {
        Self {
            to: Box::new(to),
            format,
        }
    }

    /// Whether events are wanted, not lines.
    pub(crate) fn is_json(&self) -> bool {
        self.format.json
    }

    /// A line for people, flushed; nothing with `--json`.
    ///
    /// # Errors
    /// When stdout is closed ([`is_closed`] tells) or cannot be written.
    pub(crate) fn line(&mut self, line: impl Display) -> io::Result<()> {
        if self.format.json {
            return Ok(());
        }
        writeln!(self.to, "{line}")
            .and_then(|()| self.to.flush())
            .map_err(closed)
    }

    /// An event for programs, flushed; nothing without `--json`. `fields` is an object, its keys apart from
    /// `schema` and `event`.
    ///
    /// # Errors
    /// When stdout is closed ([`is_closed`] tells) or cannot be written.
    pub(crate) fn event(&mut self, name: &str, fields: Value) -> io::Result<()> {
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
        line.push_str("}\n");
        self.to
            .write_all(line.as_bytes())
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

/// For commands that stream bytes (`connect`, `dump -w -`): the way around the format.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).map_err(closed)
    }

    fn flush(&mut self) -> io::Result<()> {
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
        act(&mut Output::to(place.clone(), Format { json }));
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
