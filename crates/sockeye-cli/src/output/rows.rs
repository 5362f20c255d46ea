//! Events as rows of `--csv` (RFC 4180).

use std::io;

use serde_json::Value;

use super::{Format, escaped};

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

impl Rows {
    /// An event as text: its row where it is one, behind the header where that is wanted.
    pub(super) fn text(&self, name: &str, fields: &Value, header: bool) -> io::Result<Vec<u8>> {
        let mut rows = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(Vec::new());
        if header {
            rows.write_record(self.columns).map_err(io::Error::other)?;
        }
        if self.events.contains(&name) {
            let cells = self.columns.iter().map(|column| match *column {
                "event" => name.to_owned(),
                column => escaped(&cell(fields, column)).into_owned(),
            });
            rows.write_record(cells).map_err(io::Error::other)?;
        }
        rows.into_inner()
            .map_err(|error| io::Error::other(error.to_string()))
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TABLE: Rows = Rows {
        events: &["reply", "lost"],
        columns: &["event", "name", "rtt.p50", "ports", "paths.at"],
    };

    fn text(name: &str, fields: &Value, header: bool) -> String {
        String::from_utf8(TABLE.text(name, fields, header).unwrap()).unwrap()
    }

    #[test]
    fn rows_have_the_same_columns_whatever_an_event_lacks() {
        assert_eq!(
            text("begin", &json!({ "name": "no row" }), true),
            "event,name,rtt.p50,ports,paths.at\r\n"
        );
        let fields = json!({
            "name": "a \"b\", c\u{1b}", "rtt": { "p50": 5 }, "ports": [1, "x"], "paths": [{ "at": 7 }, { "at": 8 }],
        });
        assert_eq!(
            text("reply", &fields, false),
            "reply,\"a \"\"b\"\", c\\u{1b}\",5,1 x,7 8\r\n"
        );
        assert_eq!(text("lost", &json!({ "name": null }), false), "lost,,,,\r\n");
    }
}
