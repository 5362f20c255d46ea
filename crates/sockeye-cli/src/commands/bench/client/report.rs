//! `--report FILE.html`: a page with charts that needs no network, for dark and light screens, narrow and wide.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::anyhow;
use hdrhistogram::Histogram;
use plotters::prelude::{
    ChartBuilder, IntoDrawingArea as _, LineSeries, PathElement, RGBColor, SVGBackend, SeriesLabelPosition,
};
use plotters::style::{Color as _, IntoFont as _, TRANSPARENT};

use super::figures::{Direction, Outcome, Protocol};
use super::print::{bits, bytes, outcome_json, span};
use super::series::Series;

const SIZE: (u32, u32) = (720, 320);
/// Colours that are told apart on dark and on light ground, also by those who see fewer of them (Okabe and Ito).
const COLORS: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];
/// What text and axes are drawn with; the page gives it the colour of its own text.
const INK: RGBColor = RGBColor(1, 2, 3);

/// A line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// What a chart shows.
struct Chart {
    title: &'static str,
    x: &'static str,
    y: String,
    lines: Vec<Line>,
    /// Percentiles: the x axis has as many nines as there are.
    is_of_percentiles: bool,
}

/// The whole page.
///
/// # Errors
/// When a chart cannot be drawn.
pub(crate) fn page(outcome: &Outcome, series: &Series, command: &str) -> anyhow::Result<String> {
    let mut page = String::from(HEAD);
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<h1>{} over {}{}</h1><p class=command><code>{}</code></p><p>{}</p>",
        text(outcome.mode),
        text(outcome.transport),
        match outcome.protocol {
            Protocol::Sockeye => String::new(),
            other => format!(", with {}", other.name()),
        },
        text(command),
        text(&machine())
    );
    for chart in charts(outcome, series) {
        let _ = write!(page, "<figure>{}</figure>", draw(&chart)?);
    }
    page.push_str("<h2>Figures</h2><div class=wide><table>");
    let mut rows = Vec::new();
    flatten("", &outcome_json(outcome), &mut rows);
    for (name, value) in rows {
        // Numbers stay on a line, whatever came from outside does not have to.
        let class = if value.len() > 24 { " class=words" } else { "" };
        let _ = write!(
            page,
            "<tr><th>{}</th><td{class}>{}</td></tr>",
            text(&name),
            text(&value)
        );
    }
    page.push_str("</table></div></body></html>\n");
    Ok(page)
}

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8>\
<meta name=viewport content=\"width=device-width, initial-scale=1\"><title>sockeye bench</title><style>\
:root{color-scheme:light dark;--ink:#1b1b1b;--ground:#fff;--line:#ccc}\
@media (prefers-color-scheme:dark){:root{--ink:#e8e8e8;--ground:#161616;--line:#444}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:60rem;margin:0 auto;padding:1rem}\
figure{margin:1.5rem 0;overflow-x:auto}svg{width:100%;min-width:34rem;height:auto}\
svg text{fill:var(--ink)}svg [stroke=\"#010203\"]{stroke:var(--ink)}svg [stroke=\"#808080\"]{stroke:var(--line)}\
code{overflow-wrap:anywhere}.wide{overflow-x:auto}table{border-collapse:collapse}\
th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);font-weight:normal}\
th{overflow-wrap:anywhere}td{font-variant-numeric:tabular-nums;white-space:nowrap}td.words{white-space:normal;overflow-wrap:anywhere}</style></head><body>";

/// Text of a page.
fn text(words: &str) -> String {
    let mut safe = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// The machine that measured: its name, kernel and processors.
fn machine() -> String {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(String::new, |(_, model)| format!(", {model}"));
    format!(
        "{}: Linux {}, {cpus} CPUs{model}",
        read("/proc/sys/kernel/hostname"),
        read("/proc/sys/kernel/osrelease")
    )
}

fn flatten(name: &str, value: &serde_json::Value, rows: &mut Vec<(String, String)>) {
    use serde_json::Value;
    let under = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}.{key}")
        }
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| flatten(&under(key), value, rows)),
        // The flows are in the charts, and may be thousands.
        Value::Array(_) | Value::Null => {}
        Value::Number(number) => {
            let words = match number.as_u64() {
                Some(ns)
                    if name.ends_with("_ns")
                        || name.contains(".ns_per_")
                        || (name.starts_with("latency_ns.") && !name.ends_with(".count")) =>
                {
                    span(Duration::from_nanos(ns))
                }
                Some(amount) if name.ends_with("_bytes") => bytes(amount),
                Some(rate) if name.ends_with("bytes_per_s") => bits(rate as f64),
                None => format!("{:.3}", number.as_f64().unwrap_or_default()),
                Some(_) => number.to_string(),
            };
            rows.push((name.to_owned(), words));
        }
        Value::String(words) => rows.push((name.to_owned(), words.clone())),
        Value::Bool(answer) => rows.push((name.to_owned(), answer.to_string())),
    }
}

fn charts(outcome: &Outcome, series: &Series) -> Vec<Chart> {
    let mut charts = Vec::new();
    let mut over_time = |title, y: &str, of: &dyn Fn(&super::series::Point) -> Option<f64>| {
        let lines = [Direction::Up, Direction::Down]
            .into_iter()
            .filter_map(|direction| {
                let points = series.of(direction).iter();
                let points = points.filter_map(|point| Some((point.to.as_secs_f64(), of(point)?)));
                let points: Vec<_> = points.collect();
                (!points.is_empty()).then(|| Line {
                    name: direction.name().to_owned(),
                    points,
                })
            });
        let lines: Vec<Line> = lines.collect();
        if !lines.is_empty() {
            charts.push(Chart {
                title,
                x: "seconds",
                y: y.to_owned(),
                lines,
                is_of_percentiles: false,
            });
        }
    };
    over_time("Throughput", "Mbit/s", &|point| {
        Some(point.bytes_per_s() * 8.0 / 1e6)
    });
    over_time("Round-trip time of TCP", "ms", &|point| {
        Some(point.rtt?.as_secs_f64() * 1e3)
    });
    over_time("Congestion window", "KiB", &|point| {
        Some(point.cwnd_bytes? as f64 / 1024.0)
    });
    over_time("Retransmitted segments", "an interval", &|point| {
        Some(point.retransmits? as f64)
    });
    over_time("Lost datagrams", "an interval", &|point| Some(point.lost? as f64));
    let lines = outcome
        .latencies
        .iter()
        .filter(|latency| !latency.histogram.is_empty());
    let lines: Vec<Line> = lines
        .map(|latency| Line {
            name: latency.name.to_owned(),
            points: percentiles(&latency.histogram),
        })
        .collect();
    if !lines.is_empty() {
        charts.push(Chart {
            title: "Latency by percentile",
            x: "percentile",
            y: "ms".to_owned(),
            lines,
            is_of_percentiles: true,
        });
    }
    charts
}

/// Latencies in milliseconds over the number of nines of the percentile.
fn percentiles(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let most = (histogram.len() as f64).max(10.0);
    let mut points = Vec::new();
    let mut at = 1.0_f64;
    while at <= most {
        let quantile = 1.0 - 1.0 / at;
        points.push((at.log10(), histogram.value_at_quantile(quantile) as f64 / 1e6));
        at *= 1.1;
    }
    points.push((most.log10(), histogram.max() as f64 / 1e6));
    points
}

fn draw(chart: &Chart) -> anyhow::Result<String> {
    let mut svg = String::new();
    on(&mut svg, chart).map_err(|error| anyhow!("draw {}: {error}", chart.title))?;
    Ok(svg)
}

fn on(svg: &mut String, chart: &Chart) -> Result<(), Box<dyn std::error::Error>> {
    let all = || chart.lines.iter().flat_map(|line| line.points.iter().copied());
    let right = all().map(|(x, _)| x).fold(1e-9, f64::max);
    // A line along the ground needs an axis too.
    let top = match all().map(|(_, y)| y).fold(0.0, f64::max) {
        highest if highest > 0.0 => highest * 1.05,
        _ => 1.0,
    };
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let words = ("sans-serif", 13).into_font().color(&INK);
    let mut drawn = ChartBuilder::on(&area)
        .caption(chart.title, ("sans-serif", 18).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    let grid = RGBColor(128, 128, 128);
    drawn
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(grid)
        .light_line_style(TRANSPARENT)
        .label_style(words.clone())
        .axis_desc_style(words.clone())
        .x_desc(chart.x)
        .y_desc(chart.y.as_str())
        .x_label_formatter(&|at| match chart.is_of_percentiles {
            true => percentile(*at),
            false => tick(*at),
        })
        .y_label_formatter(&|at| tick(*at))
        .draw()?;
    for (line, color) in chart.lines.iter().zip(COLORS.iter().cycle()) {
        let style = color.stroke_width(2);
        drawn
            .draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    drawn
        .configure_series_labels()
        // Where a phone shows it without scrolling.
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(TRANSPARENT)
        .label_font(words)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A number of an axis, without the digits that floats have too many of.
fn tick(at: f64) -> String {
    let text = format!("{at:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The percentile of a place on the axis: 2 is 99 %.
fn percentile(at: f64) -> String {
    if (at - at.round()).abs() > 1e-6 {
        return String::new();
    }
    let percent = 100.0 * (1.0 - 10_f64.powf(-at));
    let digits = (at.round() - 2.0).max(0.0);
    #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
    let digits = digits as usize;
    format!("{percent:.digits$} %")
}

#[cfg(test)]
mod tests {
    use super::super::super::flows::latency::histogram;
    use super::super::figures::{Interval, Latency};
    use super::*;

    #[test]
    fn percentiles_gain_a_nine_at_each_step() {
        assert_eq!(percentile(0.0), "0 %");
        assert_eq!(percentile(1.0), "90 %");
        assert_eq!(percentile(2.0), "99 %");
        assert_eq!(percentile(4.0), "99.99 %");
        assert_eq!(percentile(1.5), "");
        assert_eq!([0.0, 0.1 + 0.2, 3000.0].map(tick), ["0", "0.3", "3000"]);
    }

    #[test]
    fn a_page_has_its_charts_and_nothing_of_other_places() {
        let mut outcome = Outcome::empty("<evil>".to_owned(), "rr", "tcp");
        let mut histogram = histogram().unwrap();
        histogram.record_n(2_000_000, 1000).unwrap();
        outcome.latencies.push(Latency {
            name: "rtt",
            histogram,
        });
        let mut series = Series::default();
        series.add(&[Interval {
            from: Duration::ZERO,
            to: Duration::from_secs(1),
            flow: 1,
            direction: Direction::Up,
            bytes: 125_000_000,
            messages: 1,
            tcp: None,
            datagrams: None,
        }]);
        let page = page(&outcome, &series, "sockeye bench client '<evil>'").unwrap();
        assert_eq!(page.matches("<svg").count(), 2, "{page}");
        for words in [
            "Throughput",
            "Latency by percentile",
            "99.9 %",
            "Mbit/s",
            "\nrtt\n",
            "&lt;evil&gt;",
        ] {
            assert!(page.contains(words), "{words}");
        }
        assert!(!page.contains("<evil>"));
        // The namespace of SVG is a name, and not asked for.
        assert_eq!(page.matches("http").count(), 2, "{page}");
    }
}
