//! What a unit costs at the largest size, as a multiple of what it cost at the smallest, beside its bound.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea as _, PathElement, Rectangle, SVGBackend, Text};

use super::bars::{px, scale};
use super::{BOUND, Figure, Width, color, distinct, filled, line, paint, text};
use crate::report::model::{Measurement, Section, Unit, grouped};

/// A subject from its smallest size to its largest.
struct Subject<'a> {
    name: &'a str,
    steps: Vec<&'a Measurement>,
    times: f64,
    /// How many times there may be.
    limit: Option<f64>,
}

const SUBJECT_PX: i32 = 36;
const FOOT_PX: i32 = 44;
const SIDE_PX: i32 = 8;

/// The chart and the table of all subjects; `None` where there are none.
pub(crate) fn growth(of_it: &[&Measurement]) -> Result<Option<Figure>> {
    let mut subjects = Vec::new();
    for name in distinct(
        of_it
            .iter()
            .map(|one| one.case.split(": ").next().unwrap_or_default()),
    ) {
        let steps: Vec<&Measurement> = of_it
            .iter()
            .copied()
            .filter(|one| one.case.split(": ").next() == Some(name))
            .collect();
        if let [first, .., last] = steps[..] {
            let times = last.value / first.value;
            // The first bound is on the growth, a second one on the cost itself.
            let limit = last.bounds.first().map(|bound| bound.limit);
            subjects.push(Subject {
                name,
                steps,
                times,
                limit,
            });
        }
    }
    let Some(first) = of_it.first().filter(|_| !subjects.is_empty()) else {
        return Ok(None);
    };
    let title = "Cost of a unit at the largest size".to_owned();
    let axis = "times the cost at the smallest size";
    let draw = |width: Width| -> Result<String> {
        let count = i32::try_from(subjects.len()).unwrap_or(0);
        let plot_px = count * SUBJECT_PX;
        let mut svg = String::new();
        {
            let height = u32::try_from(plot_px + FOOT_PX + SIDE_PX).unwrap_or(400);
            let area = SVGBackend::with_string(&mut svg, (width.pixels(), height)).into_drawing_area();
            draw_on(&area, width, &subjects, plot_px, axis)?;
            area.present()?;
        }
        Ok(paint(
            &svg,
            width,
            &format!("{title}. Across: {axis}. A line marks each bound."),
        ))
    };
    let most = subjects.iter().map(|one| one.steps.len()).max().unwrap_or(0);
    let mut heads = vec!["subject".to_owned(), "unit".to_owned()];
    heads.extend((1..=most).map(|step| format!("size {step}")));
    let mut numbers = vec![heads];
    for subject in &subjects {
        let unit = subject.steps.first().map_or("", |one| &one.per);
        let mut row = vec![subject.name.to_owned(), unit.to_owned()];
        row.extend(subject.steps.iter().map(|one| {
            let size = one.size.map_or(0.0, |size| size as f64);
            format!("{}: {}", grouped(size), Unit::Nanoseconds.show(one.value))
        }));
        row.resize(most + 2, String::new());
        numbers.push(row);
    }
    Ok(Some(Figure {
        section: Section::Growth,
        id: "growth".to_owned(),
        note: "A unit that costs the same at each size has 1.00. The mark is the bound.".to_owned(),
        legend: Vec::new(),
        wide: draw(Width::Wide)?,
        narrow: draw(Width::Narrow)?,
        numbers,
        command: first.command.clone(),
        title,
    }))
}

fn draw_on(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    width: Width,
    subjects: &[Subject<'_>],
    plot_px: i32,
    axis: &str,
) -> Result<()> {
    let reach = subjects
        .iter()
        .flat_map(|one| [Some(one.times), one.limit].into_iter().flatten());
    let high = reach.filter(|times| times.is_finite()).fold(1.0, f64::max);
    let bar_px = f64::from(width.pixels()) - 2.0 * f64::from(SIDE_PX) - 12.0;
    scale(area, width, (high, bar_px), plot_px, axis)?;
    for (place, subject) in (0..).zip(subjects) {
        let y = place * SUBJECT_PX;
        let said = match subject.limit {
            Some(limit) => format!("{}: {:.2} (at most {limit:.2})", subject.name, subject.times),
            None => format!("{}: {:.2}", subject.name, subject.times),
        };
        area.draw(&Text::new(said, (SIDE_PX + 2, y + 4), text(12)))?;
        let end = SIDE_PX + px(subject.times / high * bar_px).max(1);
        area.draw(&Rectangle::new(
            [(SIDE_PX, y + 19), (end, y + 32)],
            filled(color(0)),
        ))?;
        if let Some(limit) = subject.limit {
            let x = SIDE_PX + px(limit / high * bar_px);
            area.draw(&PathElement::new(vec![(x, y + 17), (x, y + 34)], line(BOUND, 3)))?;
        }
    }
    Ok(())
}
