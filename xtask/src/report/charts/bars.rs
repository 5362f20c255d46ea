//! Bars: each contender of a case as a multiple of the first of them, which is the limit where there is one.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea as _, PathElement, Rectangle, SVGBackend, Text};

use super::{
    AXIS, Figure, GRID, Series, Width, bold, color, distinct, filled, line, named, paint, series, text,
    titled,
};
use crate::report::model::{Measurement, Role, Section};

/// A case with its bars.
struct Case<'a> {
    name: &'a str,
    /// Which series, times the reference, the value in words.
    bars: Vec<(&'a Series, f64, String)>,
}

const CASE_PX: i32 = 24;
const BAR_PX: i32 = 20;
/// Below the bars: numbers and the title of the axis.
const FOOT_PX: i32 = 44;
const SIDE_PX: i32 = 8;

/// CPU time, instructions or memory of the cases that have somebody to be compared with; `None` where none has.
pub(crate) fn bars(of_it: &[&Measurement]) -> Result<Option<Figure>> {
    let series = series(of_it);
    let (cases, references) = cases_of(of_it, &series);
    let Some(first) = of_it.first().filter(|_| !cases.is_empty()) else {
        return Ok(None);
    };
    let what = match first.section {
        Section::Instructions => "instructions",
        Section::Memory => "memory",
        _ => "CPU time",
    };
    let title = match first.section {
        Section::Instructions => format!("{}: user instructions a {}", titled(&first.kind), first.per),
        _ => format!("{}: {}, {what} a {}", titled(&first.kind), first.group, first.per),
    };
    let axis = format!("times the {what} of {}", references.join(" or "));
    let draw = |width: Width| -> Result<String> {
        let bars: usize = cases.iter().map(|case| case.bars.len()).sum();
        let bars = i32::try_from(bars).unwrap_or(i32::MAX / BAR_PX);
        let headed = i32::try_from(cases.len()).unwrap_or(0);
        let plot_px = headed
            .saturating_mul(CASE_PX)
            .saturating_add(bars.saturating_mul(BAR_PX));
        let mut svg = String::new();
        {
            let height = u32::try_from(plot_px + FOOT_PX + SIDE_PX).unwrap_or(400);
            let area = SVGBackend::with_string(&mut svg, (width.pixels(), height)).into_drawing_area();
            draw_on(&area, width, &cases, plot_px, &axis)?;
            area.present()?;
        }
        let names: Vec<String> = series.iter().map(named).collect();
        let said = format!("{title}. Across: {axis}. Bars: {}.", names.join(", "));
        Ok(paint(&svg, width, &said))
    };
    let id = format!("{}-{}-{}", first.section.name(), first.kind, first.group);
    Ok(Some(Figure {
        section: first.section,
        id: id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect(),
        note: "Shorter is better.".to_owned(),
        legend: series.clone(),
        wide: draw(Width::Wide)?,
        narrow: draw(Width::Narrow)?,
        numbers: table(&cases),
        command: first.command.clone(),
        title,
    }))
}

/// The cases in which ours has somebody to be compared with, and those who are the reference in one of them: the limit, or where there
/// is none a peer.
fn cases_of<'a>(of_it: &[&'a Measurement], series: &'a [Series]) -> (Vec<Case<'a>>, Vec<&'a str>) {
    let (mut cases, mut references) = (Vec::new(), Vec::new());
    for name in distinct(of_it.iter().map(|one| one.case.as_str())) {
        let own: Vec<&Measurement> = of_it.iter().copied().filter(|one| one.case == name).collect();
        let first = |role: Role| own.iter().copied().find(|one| one.role == role);
        let (Some(reference), Some(_)) = (first(Role::Limit).or(first(Role::Peer)), first(Role::Ours)) else {
            continue;
        };
        references.push(reference.contender.as_str());
        let bars = series.iter().filter_map(|one| {
            let value = own.iter().find(|own| own.contender == one.name)?;
            Some((one, value.cost_beside(reference), value.unit.show(value.value)))
        });
        cases.push(Case {
            name,
            bars: bars.collect(),
        });
    }
    (cases, distinct(references.into_iter()))
}

/// The numbers of the bars.
fn table(cases: &[Case<'_>]) -> Vec<Vec<String>> {
    let heads = ["case", "contender", "value", "times the reference"];
    let mut numbers = vec![heads.map(str::to_owned).to_vec()];
    for case in cases {
        numbers.extend(case.bars.iter().map(|(one, times, said)| {
            vec![
                case.name.to_owned(),
                one.name.clone(),
                said.clone(),
                format!("{times:.2}"),
            ]
        }));
    }
    numbers
}

/// Steps of an axis from zero: 1, 2 or 5 of a power of ten, at most so many.
pub(super) fn steps(high: f64, most: f64) -> f64 {
    let least = high / most;
    let ten = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * ten >= least);
    step.unwrap_or(10.0) * ten
}

/// The grid and the numbers below bars, from zero to the highest one.
pub(super) fn scale(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    width: Width,
    (high, bar_px): (f64, f64),
    plot_px: i32,
    title: &str,
) -> Result<()> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};

    let step = steps(high, if width == Width::Wide { 8.0 } else { 4.0 });
    let mut value = 0.0;
    while value <= high + step * 1e-6 {
        let x = SIDE_PX + px(value / high * bar_px);
        let style = if value == 0.0 {
            line(AXIS, 1)
        } else {
            line(GRID, 1)
        };
        area.draw(&PathElement::new(vec![(x, 2), (x, plot_px)], style))?;
        let digits = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
        let anchor = Pos::new(if value == 0.0 { HPos::Left } else { HPos::Center }, VPos::Top);
        area.draw(&Text::new(
            format!("{value:.digits$}"),
            (x, plot_px + 4),
            text(12).pos(anchor),
        ))?;
        value += step;
    }
    let title = Text::new(title.to_owned(), (SIDE_PX, plot_px + 22), text(12));
    area.draw(&title)?;
    Ok(())
}

/// To the nearest pixel.
#[expect(
    clippy::cast_possible_truncation,
    reason = "pixels of a chart, cut to a million"
)]
pub(super) fn px(value: f64) -> i32 {
    value.round().clamp(-1e6, 1e6) as i32
}

fn draw_on(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    width: Width,
    cases: &[Case<'_>],
    plot_px: i32,
    axis: &str,
) -> Result<()> {
    let bars = cases.iter().flat_map(|case| &case.bars);
    let high = bars
        .map(|(_, times, _)| *times)
        .filter(|times| times.is_finite())
        .fold(1.0, f64::max);
    // The words at the end of the longest bar need room too.
    let words_px = 150.0;
    let bar_px = f64::from(width.pixels()) - 2.0 * f64::from(SIDE_PX) - words_px;
    scale(area, width, (high, bar_px), plot_px, axis)?;
    let mut y = 0;
    for case in cases {
        area.draw(&Text::new(case.name.to_owned(), (SIDE_PX, y + 7), bold(13)))?;
        y += CASE_PX;
        for (one, times, said) in &case.bars {
            let end = SIDE_PX + px(times / high * bar_px).max(1);
            let bar = [(SIDE_PX, y + 2), (end, y + BAR_PX - 3)];
            area.draw(&Rectangle::new(bar, filled(color(one.color))))?;
            let words = Text::new(format!("{times:.2} ({said})"), (end + 6, y + 4), text(12));
            area.draw(&words)?;
            y += BAR_PX;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_numbers() {
        assert_eq!(steps(1.3, 4.0), 0.5);
        assert_eq!(steps(9.7, 8.0), 2.0);
        assert_eq!(steps(2.0, 8.0), 0.5);
        assert_eq!(steps(40.0, 4.0), 10.0);
    }
}
