//! The page: one file that needs no network, no script and no other file.

use std::fmt::Write as _;

use anyhow::Result;

use super::charts::{self, Figure, escape, named, titled};
use super::compare::{Row, rows};
use super::model::{Machine, Results, Role, Section};
use super::table;

const STYLE: &str = include_str!("page.css");

/// A run, what it is compared with, and the last values of what it has not measured.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) results: &'a Results,
    /// The name and the run of `--baseline`.
    pub(crate) baseline: Option<(&'a str, &'a Results)>,
    pub(crate) older: &'a [Results],
}

impl Page<'_> {
    /// The page as HTML.
    ///
    /// # Errors
    /// When a chart cannot be drawn.
    pub(crate) fn html(&self) -> Result<String> {
        let mut figures = Vec::new();
        for (run, is_older) in self.runs() {
            figures.extend(charts::of(run)?.into_iter().map(|figure| (figure, run, is_older)));
        }
        // Those of this run first.
        figures.sort_by_key(|(figure, _, is_older)| (figure.section, *is_older));
        let mut page = String::new();
        self.head(&mut page)?;
        let sections: Vec<Section> = charts::distinct(figures.iter().map(|(figure, ..)| figure.section));
        nav(&mut page, &sections)?;
        for section in sections {
            let (title, words) = about(section);
            write!(
                page,
                "<section id=\"{}\"><h2>{title}</h2>\n<p>{words}</p>\n<div class=\"charts\">\n",
                section.name()
            )?;
            let of_it = figures.iter().filter(|(figure, ..)| figure.section == section);
            for (figure, run, is_older) in of_it {
                draw(&mut page, figure, run, *is_older)?;
            }
            page.push_str("</div></section>\n");
        }
        self.tables(&mut page)?;
        page.push_str("</main></body></html>\n");
        Ok(page)
    }

    fn runs(&self) -> impl Iterator<Item = (&Results, bool)> {
        let older = self.older.iter().map(|run| (run, true));
        std::iter::once((self.results, false)).chain(older)
    }

    fn head(&self, page: &mut String) -> Result<()> {
        let Results {
            machine,
            command,
            skipped,
            smoke,
            ..
        } = self.results;
        write!(
            page,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>Sockeye: benchmarks</title>\n<style>\n{STYLE}</style></head>\n<body><header>\n\
             <h1>Sockeye: benchmarks</h1>\n"
        )?;
        if *smoke {
            page.push_str(
                "<p class=\"notice\" id=\"smoke\"><strong>A smoke run.</strong> It shows that everything works and measures nothing: \
                 programs without optimization, few messages, one round. No number here means anything.</p>\n",
            );
        }
        let rows = [
            ("Command", format!("<code>{}</code>", escape(command))),
            ("Date", escape(&machine.date)),
            (
                "Machine",
                format!("{}, {} cores", escape(&machine.cpu), machine.cores),
            ),
            ("Kernel", escape(&machine.kernel)),
            ("Compiler", escape(&machine.rustc)),
            ("Commit", format!("<code>{}</code>", escape(&machine.commit))),
        ];
        page.push_str("<dl class=\"machine\">\n");
        for (name, value) in rows {
            writeln!(page, "<dt>{name}</dt><dd>{value}</dd>")?;
        }
        if !skipped.is_empty() {
            let skipped: Vec<String> = skipped.iter().map(|what| escape(what)).collect();
            writeln!(page, "<dt>Not measured</dt><dd>{}</dd>", skipped.join("; "))?;
        }
        page.push_str("</dl></header>\n<main>\n");
        Ok(())
    }

    /// All rows of this run, and those of older ones below it.
    fn tables(&self, page: &mut String) -> Result<()> {
        page.push_str("<section id=\"results\"><h2>All results</h2>\n");
        writeln!(page, "<p>{}</p>", escape(table::LEGEND))?;
        if let Some((name, baseline)) = self.baseline {
            writeln!(
                page,
                "<p>The baseline is <code>{}</code>, measured on {} at commit <code>{}</code>.</p>",
                escape(name),
                escape(&baseline.machine.date),
                escape(&baseline.machine.commit)
            )?;
        }
        let baseline = self.baseline.map(|(_, baseline)| baseline);
        for (run, is_older) in self.runs() {
            if is_older {
                writeln!(
                    page,
                    "<h3>Measured before: {}</h3><p class=\"soft\">{}</p>",
                    escape(&kinds(run)),
                    origin(&run.command, &run.machine)
                )?;
            }
            let rows = rows(run, baseline);
            for kind in charts::distinct(rows.iter().map(|row| row.ours.kind.as_str())) {
                let of_kind: Vec<&Row<'_>> = rows.iter().filter(|row| row.ours.kind == kind).collect();
                writeln!(
                    page,
                    "<details open><summary>{} ({})</summary>",
                    titled(kind),
                    of_kind.len()
                )?;
                results(page, &of_kind, baseline.is_some())?;
                page.push_str("</details>\n");
            }
        }
        page.push_str("</section>\n");
        Ok(())
    }
}

fn kinds(run: &Results) -> String {
    let parts = run
        .measurements
        .iter()
        .map(|one| (one.kind.as_str(), one.section.name()));
    let parts = charts::distinct(parts).into_iter();
    parts
        .map(|(kind, section)| format!("{kind}, {section}"))
        .collect::<Vec<_>>()
        .join("; ")
}

fn nav(page: &mut String, sections: &[Section]) -> Result<()> {
    page.push_str("<nav aria-label=\"Sections\"><ul>\n");
    for section in sections {
        let (title, _) = about(*section);
        writeln!(page, "<li><a href=\"#{}\">{title}</a></li>", section.name())?;
    }
    page.push_str("<li><a href=\"#results\">All results</a></li>\n</ul></nav>\n");
    Ok(())
}

/// The title of a section, and what to make of it.
const fn about(section: Section) -> (&'static str, &'static str) {
    match section {
        Section::Throughput => (
            "Throughput",
            "Bytes a second over the loopback. The kernel copies each byte and is nearly all of the time: the curves of \
             good programs lie on each other.",
        ),
        Section::Latency => (
            "Latency",
            "How long a message takes there and back, over the loopback. The server has a core for itself where the machine \
             has two.",
        ),
        Section::Cpu => (
            "CPU time",
            "User and kernel time of one process, as the kernel counts it; in each round every contender has its turn, and ratios are \
             of the same round.",
        ),
        Section::Instructions => (
            "Instructions",
            "User instructions under callgrind: they do not depend on what else the machine does.",
        ),
        Section::Memory => (
            "Memory",
            "What becomes resident for one more connection or query.",
        ),
        Section::Growth => ("Growth", "What a unit costs while a user makes things large."),
        Section::Time => ("Time", ""),
        Section::Rate => ("Rates", ""),
        Section::SystemCalls => ("System calls", ""),
        Section::Start => ("Start", ""),
    }
}

fn origin(command: &str, machine: &Machine) -> String {
    format!(
        "<code>{}</code>, on {}, {} cores, {}, {}, commit {}, {}.",
        escape(command),
        escape(&machine.cpu),
        machine.cores,
        escape(&machine.kernel),
        escape(&machine.rustc),
        escape(&machine.commit),
        escape(&machine.date)
    )
}

fn draw(page: &mut String, figure: &Figure, run: &Results, is_older: bool) -> Result<()> {
    writeln!(
        page,
        "<figure id=\"chart-{}\"><h3>{}</h3>",
        figure.id,
        escape(&figure.title)
    )?;
    if !figure.legend.is_empty() {
        page.push_str("<ul class=\"legend\">");
        for one in &figure.legend {
            let mark = mark(one.role, figure.section);
            let color = one.color;
            write!(
                page,
                "<li><svg width=\"14\" height=\"14\" viewBox=\"-7 -7 14 14\" aria-hidden=\"true\" \
                 style=\"color:var(--series-{color})\">{mark}</svg>{}</li>",
                escape(&named(one))
            )?;
        }
        page.push_str("</ul>\n");
    }
    let before = if is_older {
        "Measured before, by "
    } else {
        "Made by "
    };
    writeln!(
        page,
        "{}\n{}\n<figcaption>{} {before}{}</figcaption>",
        figure.wide,
        figure.narrow,
        escape(&figure.note),
        origin(&figure.command, &run.machine)
    )?;
    page.push_str("<details><summary>Numbers</summary><div class=\"scroll\"><table>\n");
    for (place, row) in figure.numbers.iter().enumerate() {
        let cell = if place == 0 { "th" } else { "td" };
        page.push_str("<tr>");
        for text in row {
            write!(page, "<{cell}>{}</{cell}>", escape(text))?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div></details></figure>\n");
    Ok(())
}

/// What a curve has at its points, or a bar as its colour.
const fn mark(role: Role, section: Section) -> &'static str {
    if !matches!(section, Section::Throughput | Section::Latency) {
        return "<rect x=\"-6\" y=\"-6\" width=\"12\" height=\"12\" fill=\"currentColor\"/>";
    }
    match role {
        Role::Ours => "<circle r=\"5\" fill=\"currentColor\"/>",
        Role::Limit => "<path d=\"M-5-5 5 5M-5 5 5-5\" stroke=\"currentColor\" stroke-width=\"2\"/>",
        Role::Peer => "<path d=\"M0-6 6 5H-6Z\" fill=\"currentColor\"/>",
    }
}

fn results(page: &mut String, rows: &[&Row<'_>], with_baseline: bool) -> Result<()> {
    let heads = [
        "Type", "Case", "Ours", "Limit", "Peer", "Before", "Noise", "Bound",
    ];
    // The kind stands above its table.
    let shown = |place: usize| match heads.get(place) {
        Some(&"Type") => false,
        Some(&"Before") => with_baseline,
        _ => true,
    };
    page.push_str("<div class=\"scroll\"><table class=\"results\"><thead><tr>");
    for (place, head) in heads.iter().enumerate() {
        if shown(place) {
            write!(page, "<th>{head}</th>")?;
        }
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for (place, (head, cell)) in heads.iter().zip(table::cells(row)).enumerate() {
            if !shown(place) {
                continue;
            }
            let class = match (cell.as_str(), *head) {
                ("-", _) => "nothing",
                (said, "Bound") if said.contains("FAIL") => "bad",
                (_, "Bound") => "good",
                (_, "Ours" | "Limit" | "Peer" | "Before" | "Noise") => "number",
                _ => "",
            };
            write!(
                page,
                "<td class=\"{class}\" data-head=\"{head}\">{}</td>",
                escape(&cell)
            )?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
    Ok(())
}

#[cfg(test)]
mod tests;
