//! Charts as inline SVG, each twice: for wide windows and for narrow ones, so that text keeps its size.
//!
//! plotters draws with colours that stand for something; [`paint`] puts the page's variables in their place, so that one picture
//! serves dark and light pages.

mod bars;
mod growth;
mod lines;

use anyhow::Result;
use plotters::style::{Color as _, FontStyle, IntoFont as _, RGBColor, ShapeStyle, TextStyle};

use super::model::{Measurement, Results, Role, Section, Unit};

pub(crate) use bars::bars;
pub(crate) use growth::growth;
pub(crate) use lines::{latency, throughput};

/// A chart with all that belongs to it.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) section: Section,
    /// In the page's address: `throughput-tcp`.
    pub(crate) id: String,
    pub(crate) title: String,
    /// How to read it.
    pub(crate) note: String,
    pub(crate) legend: Vec<Series>,
    pub(crate) wide: String,
    pub(crate) narrow: String,
    /// The numbers behind it, the heads first.
    pub(crate) numbers: Vec<Vec<String>>,
    pub(crate) command: String,
}

/// A contender, and how it is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Which colour of the page.
    pub(crate) color: u8,
}

/// Colours for series that the page has.
pub(crate) const COLORS: u8 = 7;

/// The two widths of a chart, and what fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Wide,
    Narrow,
}

impl Width {
    pub(crate) const fn pixels(self) -> u32 {
        match self {
            Self::Wide => 760,
            Self::Narrow => 350,
        }
    }
}

/// All charts of a run, in the order of the page.
///
/// # Errors
/// When one cannot be drawn.
pub(crate) fn of(results: &Results) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for section in Section::ALL {
        for (kind, group) in groups(results, section) {
            let of_it: Vec<&Measurement> = results
                .measurements
                .iter()
                .filter(|one| one.section == section && one.kind == kind && one.group == group)
                .collect();
            let figure = match section {
                Section::Throughput => throughput(&of_it)?,
                Section::Latency => {
                    for case in distinct(of_it.iter().map(|one| one.case.as_str())) {
                        let of_case: Vec<_> = of_it.iter().copied().filter(|one| one.case == case).collect();
                        figures.extend(latency(&of_case)?);
                    }
                    None
                }
                Section::Cpu | Section::Instructions | Section::Memory => bars(&of_it)?,
                Section::Growth => growth(&of_it)?,
                Section::Time | Section::Rate | Section::SystemCalls | Section::Start => None,
            };
            figures.extend(figure);
        }
    }
    Ok(figures)
}

fn groups(results: &Results, section: Section) -> Vec<(&str, &str)> {
    let of_it = results.measurements.iter().filter(|one| one.section == section);
    distinct(of_it.map(|one| (one.kind.as_str(), one.group.as_str())))
}

/// Each once, in the order of its first appearance.
pub(crate) fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

/// The contenders, ours first, then limits and peers; a colour each, of which the roles have the same everywhere.
pub(crate) fn series(of_it: &[&Measurement]) -> Vec<Series> {
    let named = distinct(of_it.iter().map(|one| (one.contender.clone(), one.role)));
    let mut series = Vec::new();
    for (role, colors) in [
        (Role::Ours, [0_u8, 5].as_slice()),
        (Role::Limit, &[1, 6]),
        (Role::Peer, &[2, 3, 4]),
    ] {
        let of_role = named.iter().filter(|(_, own)| *own == role);
        series.extend(of_role.enumerate().map(|(place, (name, role))| Series {
            name: name.clone(),
            role: *role,
            color: colors.get(place % colors.len()).copied().unwrap_or(0),
        }));
    }
    series
}

/// How the page calls a contender: with its role, where the name does not say it.
pub(crate) fn named(series: &Series) -> String {
    match series.role {
        Role::Ours => series.name.clone(),
        Role::Limit => format!("{} (limit)", series.name),
        Role::Peer => series.name.clone(),
    }
}

/// A kind in the words of a title.
pub(crate) fn titled(kind: &str) -> &str {
    match kind {
        "tcp" => "TCP",
        "udp" => "UDP",
        "tls" => "TLS",
        "unix" => "Unix sockets",
        "raw" => "Raw IP",
        "event_loop" => "Event loop",
        other => other,
    }
}

const TEXT: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const AXIS: RGBColor = RGBColor(3, 3, 3);
const BOUND: RGBColor = RGBColor(4, 4, 4);

pub(crate) const fn color(series: u8) -> RGBColor {
    RGBColor(16, 16, 16 + series % COLORS)
}

/// Puts the page's variables in the place of the colours, and says what the picture is.
pub(crate) fn paint(svg: &str, width: Width, said: &str) -> String {
    let hex = |color: RGBColor| format!("\"#{:02X}{:02X}{:02X}\"", color.0, color.1, color.2);
    let mut svg = svg.to_owned();
    for (color, name) in [(TEXT, "text"), (GRID, "grid"), (AXIS, "axis"), (BOUND, "bound")] {
        svg = svg.replace(&hex(color), &format!("\"var(--{name})\""));
    }
    for series in 0..COLORS {
        svg = svg.replace(&hex(color(series)), &format!("\"var(--series-{series})\""));
    }
    let class = match width {
        Width::Wide => "wide",
        Width::Narrow => "narrow",
    };
    let named = format!(
        "<svg class=\"{class}\" role=\"img\" aria-label=\"{}\" ",
        escape(said)
    );
    svg.replacen("<svg ", &named, 1)
}

/// A text that is no markup.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Text in a chart.
pub(crate) fn text(size: u32) -> TextStyle<'static> {
    // plotters writes 1/1.24 of what it is asked for.
    let size = f64::from(size) * 1.24;
    TextStyle::from(("sans-serif", size).into_font()).color(&TEXT)
}

/// Text that heads something.
pub(crate) fn bold(size: u32) -> TextStyle<'static> {
    let size = f64::from(size) * 1.24;
    TextStyle::from(("sans-serif", size, FontStyle::Bold).into_font()).color(&TEXT)
}

pub(crate) fn line(color: RGBColor, width: u32) -> ShapeStyle {
    ShapeStyle {
        color: color.to_rgba(),
        filled: false,
        stroke_width: width,
    }
}

pub(crate) fn filled(color: RGBColor) -> ShapeStyle {
    ShapeStyle {
        color: color.to_rgba(),
        filled: true,
        stroke_width: 0,
    }
}

/// A value at an axis: without zeros that say nothing.
pub(crate) fn tick(unit: Unit, value: f64) -> String {
    let shown = unit.show(value);
    let end = shown
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(shown.len());
    let (number, unit) = shown.split_at(end);
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{number}{unit}")
}

/// Places for ticks of a logarithmic axis: 1, 2 and 5 of each power of ten, or fewer where that is too many.
pub(crate) fn log_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let first = low.log10().floor();
    let decades = (high.log10().ceil() - first).clamp(1.0, 30.0);
    for steps in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
        let mut ticks = Vec::new();
        let mut power = 0.0;
        while power <= decades {
            let ten = 10f64.powf(first + power);
            ticks.extend(
                steps
                    .iter()
                    .map(|step| step * ten)
                    .filter(|tick| (low..=high).contains(tick)),
            );
            power += 1.0;
        }
        if ticks.len() <= most {
            return ticks;
        }
    }
    vec![low, high]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::tests::example;

    #[test]
    fn colors_become_variables_of_the_page() {
        let svg = "<svg width=\"1\"><line stroke=\"#010101\"/><rect fill=\"#101010\"/></svg>";
        assert_eq!(
            paint(svg, Width::Wide, "a < b"),
            "<svg class=\"wide\" role=\"img\" aria-label=\"a &lt; b\" width=\"1\"><line stroke=\"var(--text)\"/>\
             <rect fill=\"var(--series-0)\"/></svg>"
        );
    }

    #[test]
    fn ours_has_the_same_color_in_each_chart() {
        let (a, b, c) = (
            example("x", "mio", Role::Peer, 1.0),
            example("x", "std", Role::Limit, 1.0),
            example("x", "sockeye", Role::Ours, 1.0),
        );
        let series = series(&[&a, &b, &c]);
        let drawn: Vec<_> = series.iter().map(|one| (one.name.as_str(), one.color)).collect();
        assert_eq!(drawn, [("sockeye", 0), ("std", 1), ("mio", 2)]);
    }

    #[test]
    fn ticks_are_as_many_as_fit() {
        assert_eq!(log_ticks(8.0, 60.0, 8), [10.0, 20.0, 50.0]);
        assert_eq!(log_ticks(0.9, 1.1e6, 8), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
        assert_eq!(tick(Unit::Nanoseconds, 20_000.0), "20 us");
        assert_eq!(tick(Unit::Nanoseconds, 100.0), "100 ns");
    }
}
