//! Curves: bytes a second over the size of a message, and round trips over their percentile.

use std::ops::Range;

use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::{
    ChartBuilder, Circle, Cross, DrawingArea, IntoDrawingArea as _, LineSeries, SVGBackend, TriangleMarker,
};

use super::bars::px;
use super::{
    AXIS, Figure, GRID, Series, Width, color, distinct, filled, line, log_ticks, named, paint, series, text,
    tick, titled,
};
use crate::report::model::{Measurement, Role, Section, Unit};

/// A curve chart before it is drawn. Both axes are drawn over logarithms: the caller has taken them.
struct Curves<'a> {
    /// Of each series its points.
    points: Vec<(Series, Vec<(f64, f64)>)>,
    x: Axis<'a>,
    y: Axis<'a>,
    said: &'a str,
}

#[derive(Clone)]
struct Axis<'a> {
    title: &'a str,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

/// For plotters: evenly from low to high, with exactly these ticks.
impl Ranged for Axis<'_> {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let part = (value - self.low) / (self.high - self.low);
        from + px(part * f64::from(to - from))
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis<'_> {
    fn format(value: &f64) -> String {
        value.to_string()
    }

    fn format_ext(&self, value: &f64) -> String {
        let near = self.ticks.iter().find(|(place, _)| (place - value).abs() < 1e-6);
        near.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// Bytes a second by the size of a message; `None` where there is no curve.
pub(crate) fn throughput(of_it: &[&Measurement]) -> Result<Option<Figure>> {
    let Some(first) = of_it.first() else {
        return Ok(None);
    };
    let sizes = distinct(
        of_it
            .iter()
            .filter_map(|one| one.size.zip(Some(one.case.as_str()))),
    );
    let mut sizes: Vec<(u64, &str)> = sizes;
    sizes.sort_unstable();
    if sizes.len() < 2 {
        return Ok(None);
    }
    let series = series(of_it);
    let points = |one: &Series| -> Vec<(f64, f64)> {
        let own = of_it.iter().filter(|other| other.contender == one.name);
        let mut points: Vec<_> = own
            .filter_map(|own| Some(((own.size? as f64).log2(), own.value.log10())))
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points
    };
    let values = of_it.iter().map(|one| one.value);
    let title = format!(
        "{}: bytes a second by the size of a {}",
        titled(&first.kind),
        first.per
    );
    let x_title = format!("size of a {}", first.per);
    let draw = |width: Width| {
        let every = if width == Width::Narrow { 2 } else { 1 };
        let (low, high) = (
            sizes.first().map_or(1, |one| one.0),
            sizes.last().map_or(2, |one| one.0),
        );
        Curves {
            points: series.iter().map(|one| (one.clone(), points(one))).collect(),
            x: Axis {
                title: &x_title,
                low: (low as f64).log2() - 0.3,
                high: (high as f64).log2() + 0.3,
                ticks: sizes
                    .iter()
                    .step_by(every)
                    .map(|(size, case)| ((*size as f64).log2(), (*case).to_owned()))
                    .collect(),
            },
            y: log_axis("bytes a second", Unit::BytesPerSecond, values.clone()),
            said: &title,
        }
        .draw(width)
    };
    let rows = sizes.iter().map(|(_, case)| ((*case).to_owned(), *case));
    let numbers = table("size", rows, &series, |one, case| {
        let own = of_it
            .iter()
            .find(|own| own.contender == one.name && own.case == *case)?;
        Some(own.unit.show(own.value))
    });
    Ok(Some(Figure {
        section: Section::Throughput,
        id: format!("throughput-{}", first.kind),
        note: "One thread has both ends, a message is written and then read. Higher is better.".to_owned(),
        legend: series.clone(),
        wide: draw(Width::Wide)?,
        narrow: draw(Width::Narrow)?,
        numbers,
        command: first.command.clone(),
        title,
    }))
}

/// How many nines a percentile has: 90 % has one, 99 % two.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).log10()
}

/// Round trips by percentile; `None` where there is no distribution.
pub(crate) fn latency(of_it: &[&Measurement]) -> Result<Option<Figure>> {
    let Some(first) = of_it.iter().find(|one| !one.percentiles.is_empty()) else {
        return Ok(None);
    };
    let series = series(of_it);
    let finite = |one: &Measurement| -> Vec<(f64, f64)> {
        let below = one
            .percentiles
            .iter()
            .filter(|(percentile, _)| *percentile < 100.0);
        below.copied().collect()
    };
    let values = of_it.iter().flat_map(|one| finite(one)).map(|(_, value)| value);
    let last = of_it
        .iter()
        .flat_map(|one| finite(one))
        .map(|(percentile, _)| nines(percentile));
    let high = last.fold(1.0, f64::max);
    let title = format!("{}, {}: {} by percentile", first.group, first.case, first.per);
    let draw = |width: Width| {
        let ticks: &[(f64, &str)] = match width {
            Width::Wide => &[
                (0.0, "0 %"),
                (50.0, "50 %"),
                (90.0, "90 %"),
                (99.0, "99 %"),
                (99.9, "99.9 %"),
                (99.99, "99.99 %"),
                (99.999, "99.999 %"),
            ],
            Width::Narrow => &[
                (0.0, "0 %"),
                (90.0, "90 %"),
                (99.0, "99 %"),
                (99.9, "99.9 %"),
                (99.99, "99.99 %"),
            ],
        };
        let ticks = ticks
            .iter()
            .map(|(percentile, label)| (nines(*percentile), (*label).to_owned()));
        let points = |one: &Series| -> Vec<(f64, f64)> {
            let own = of_it.iter().filter(|own| own.contender == one.name);
            own.flat_map(|own| finite(own))
                .map(|(percentile, value)| (nines(percentile), value.log10()))
                .collect()
        };
        Curves {
            points: series.iter().map(|one| (one.clone(), points(one))).collect(),
            x: Axis {
                title: "percentile (each step to the right: a tenth of those that were slower)",
                low: 0.0,
                high: high + 0.1,
                ticks: ticks.filter(|(place, _)| *place <= high + 0.01).collect(),
            },
            y: log_axis("round trip", first.unit, values.clone()),
            said: &title,
        }
        .draw(width)
    };
    let percentiles = first.percentiles.iter().map(|(percentile, _)| *percentile);
    let rows = percentiles.map(|percentile| (format!("{percentile} %"), percentile));
    let numbers = table("percentile", rows, &series, |one, percentile| {
        let own = of_it.iter().find(|own| own.contender == one.name)?;
        let found = own.percentiles.iter().find(|(own, _)| own == percentile)?;
        Some(own.unit.show(found.1))
    });
    Ok(Some(Figure {
        section: Section::Latency,
        id: format!("latency-{}", first.case.replace(' ', "-")),
        note: "From before the first write to after the last read, the median of rounds in which the servers took turns. \
               Lower is better."
            .to_owned(),
        legend: series.clone(),
        wide: draw(Width::Wide)?,
        narrow: draw(Width::Narrow)?,
        numbers,
        command: first.command.clone(),
        title,
    }))
}

/// The numbers of a chart: a row for each place on the axis, a column for each series.
fn table<T>(
    head: &str,
    rows: impl Iterator<Item = (String, T)>,
    series: &[Series],
    cell: impl Fn(&Series, &T) -> Option<String>,
) -> Vec<Vec<String>> {
    let names = series.iter().map(|one| one.name.clone());
    let mut numbers = vec![std::iter::once(head.to_owned()).chain(names).collect()];
    numbers.extend(rows.map(|(name, place)| {
        let cells = series
            .iter()
            .map(|one| cell(one, &place).unwrap_or("-".to_owned()));
        std::iter::once(name).chain(cells).collect()
    }));
    numbers
}

/// The axis of values that are all above zero, with a little room at both ends.
fn log_axis(title: &str, unit: Unit, values: impl Iterator<Item = f64>) -> Axis<'_> {
    let usable = values.filter(|value| *value > 0.0 && value.is_finite());
    let (low, high) = usable.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let (low, high) = if low <= high {
        (low / 1.2, high * 1.2)
    } else {
        (1.0, 10.0)
    };
    let ticks = log_ticks(low, high, 9);
    Axis {
        title,
        low: low.log10(),
        high: high.log10(),
        ticks: ticks
            .into_iter()
            .map(|value| (value.log10(), tick(unit, value)))
            .collect(),
    }
}

impl Curves<'_> {
    fn draw(&self, width: Width) -> Result<String> {
        let mut svg = String::new();
        let height = if width == Width::Wide { 380 } else { 320 };
        {
            let area = SVGBackend::with_string(&mut svg, (width.pixels(), height)).into_drawing_area();
            self.draw_on(&area, width)?;
            area.present()?;
        }
        let names: Vec<String> = self.points.iter().map(|(one, _)| named(one)).collect();
        let said = format!(
            "{}. Across: {}. Up: {}. Curves: {}.",
            self.said,
            self.x.title,
            self.y.title,
            names.join(", ")
        );
        Ok(paint(&svg, width, &said))
    }

    fn draw_on(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, width: Width) -> Result<()> {
        let size = if width == Width::Wide { 13 } else { 12 };
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(28)
            .x_label_area_size(46)
            .y_label_area_size(if width == Width::Wide { 98 } else { 88 })
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        // On narrow pages what stands in brackets has no room.
        let title = |axis: &Axis<'_>| match (width, axis.title.split_once(" (")) {
            (Width::Narrow, Some((short, _))) => short.to_owned(),
            _ => axis.title.to_owned(),
        };
        chart
            .configure_mesh()
            .x_labels(self.x.ticks.len())
            .y_labels(self.y.ticks.len())
            .x_desc(title(&self.x))
            .y_desc(title(&self.y))
            .label_style(text(size))
            .axis_desc_style(text(size))
            .axis_style(line(AXIS, 1))
            .bold_line_style(line(GRID, 1))
            .light_line_style(line(GRID, 1))
            .max_light_lines(0)
            .draw()?;
        for (one, points) in self.points.iter().rev() {
            let color = color(one.color);
            let wide = if one.role == Role::Ours { 3 } else { 2 };
            chart.draw_series(LineSeries::new(points.iter().copied(), line(color, wide)))?;
            match one.role {
                Role::Ours => {
                    chart.draw_series(points.iter().map(|at| Circle::new(*at, 4, filled(color))))?
                }
                Role::Limit => {
                    chart.draw_series(points.iter().map(|at| Cross::new(*at, 4, line(color, 2))))?
                }
                Role::Peer => {
                    chart.draw_series(points.iter().map(|at| TriangleMarker::new(*at, 5, filled(color))))?
                }
            };
        }
        Ok(())
    }
}
