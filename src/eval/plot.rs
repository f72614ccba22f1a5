//! The comparison as a picture: what accuracy each way of choosing buys, by cost on a log axis.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::combinators::IntoLogRange;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, EmptyElement, PathElement, Text, TriangleMarker};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle};

use super::evaluate::{Constant, Evaluation};
use super::metrics::Point;
use crate::error::{Error, Result};

/// Size of the picture, pixels.
const SIZE: (u32, u32) = (1080, 720);
const FONT: &str = "Helvetica, Arial, sans-serif";

const INK: RGBColor = RGBColor(0x22, 0x26, 0x2e);
const FAINT: RGBColor = RGBColor(0x8a, 0x91, 0x9c);
const GRID: RGBColor = RGBColor(0xe9, 0xeb, 0xee);
const OURS: RGBColor = RGBColor(0x0b, 0x6e, 0x4f);
const THEIRS: RGBColor = RGBColor(0xd1, 0x7a, 0x22);
const BEST: RGBColor = RGBColor(0x6a, 0x3d, 0x9a);

/// Height of a model's label, pixels.
const LABEL: i32 = 13;

/// Draws the comparison as SVG.
pub fn plot(evaluation: &Evaluation) -> Result<String> {
    let mut svg = String::new();
    draw(evaluation, &mut svg)
        .map_err(|e| Error::Internal { what: format!("the plot cannot be drawn: {e}") })?;
    Ok(svg)
}

#[allow(clippy::too_many_lines, reason = "one figure, drawn from back to front")]
fn draw(evaluation: &Evaluation, svg: &mut String) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&RGBColor(255, 255, 255))?;
    let title = "Accuracy that a dollar buys";
    let subtitle = format!(
        "{} queries of the part \u{201c}{}\u{201d}, {} models. Above the dashed line, choosing beats tossing a coin between constants.",
        evaluation.queries,
        evaluation.split,
        evaluation.constants.len()
    );
    root.draw(&Text::new(title, (24, 18), text(22, INK)))?;
    root.draw(&Text::new(subtitle, (24, 48), text(13, FAINT)))?;

    let (x, y) = ranges(evaluation);
    let mut chart = ChartBuilder::on(&root)
        .margin(20)
        .margin_top(76)
        .x_label_area_size(48)
        .y_label_area_size(60)
        .build_cartesian_2d((x.0..x.1).log_scale(), y.0..y.1)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(RGBColor(255, 255, 255).mix(0.0))
        .axis_style(FAINT)
        .x_desc("USD per 1,000 queries")
        .y_desc("accuracy")
        .x_label_formatter(&|cost| format!("${cost}"))
        .y_label_formatter(&|accuracy| format!("{:.0} %", 100.0 * accuracy))
        .label_style(text(13, INK))
        .axis_desc_style(text(14, INK))
        .draw()?;

    let line =
        |points: &[Point]| -> Vec<(f64, f64)> { points.iter().map(|p| (p.cost, p.accuracy)).collect() };
    let dashes = DashedLineSeries::new(line(&on_log_axis(&evaluation.hull)), 6, 5, FAINT.stroke_width(2));
    let key =
        |style: ShapeStyle| move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 22, y)], style);
    chart.draw_series(dashes)?.label("two constants, mixed by chance").legend(|(x, y)| {
        let dash = |from: i32| vec![(x + from, y), (x + from + 6, y)];
        EmptyElement::at((0, 0))
            + PathElement::new(dash(0), FAINT.stroke_width(2))
            + PathElement::new(dash(9), FAINT.stroke_width(2))
            + PathElement::new(dash(18), FAINT.stroke_width(2))
    });
    if let Some(knn) = &evaluation.knn {
        let style = THEIRS.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line(&useful(&knn.curve)), style))?
            .label(format!("k nearest neighbors, k = {}", super::NEIGHBORS))
            .legend(key(style));
    }
    if let Some(first) = evaluation.contenders().next() {
        let style = OURS.stroke_width(3);
        let name = if evaluation.router.is_some() { "Pennyroute" } else { &first.name };
        chart
            .draw_series(LineSeries::new(line(&useful(&first.curve)), style))?
            .label(name)
            .legend(key(style));
    }

    let oracle = (evaluation.oracle.cost, evaluation.oracle.accuracy);
    chart.draw_series([TriangleMarker::new(oracle, 7, BEST.filled())])?;
    let random = (evaluation.random.cost, evaluation.random.accuracy);
    chart.draw_series([TriangleMarker::new(random, 6, FAINT.filled())])?;
    let on_hull = |c: &Constant| evaluation.hull.contains(&c.point);
    chart.draw_series(evaluation.constants.iter().map(|c| {
        let color = if on_hull(c) { INK } else { FAINT };
        Circle::new((c.point.cost, c.point.accuracy), if on_hull(c) { 5 } else { 4 }, color.filled())
    }))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .margin(14)
        .legend_area_size(30)
        .label_font(text(13, INK))
        .background_style(RGBColor(255, 255, 255).mix(0.9))
        .border_style(GRID)
        .draw()?;

    // Labels last, where they cover nothing: the hull's first, then the others by cost.
    let mut labels = vec![("oracle".to_owned(), oracle, BEST), ("random model".to_owned(), random, FAINT)];
    let (first, second): (Vec<&Constant>, Vec<&Constant>) =
        evaluation.constants.iter().partition(|c| on_hull(c));
    labels.extend(first.iter().map(|c| (c.model.clone(), (c.point.cost, c.point.accuracy), INK)));
    labels.extend(second.iter().map(|c| (c.model.clone(), (c.point.cost, c.point.accuracy), FAINT)));
    let around = |(x, y): (i32, i32), r: i32| Area { left: x - r, top: y - r, right: x + r, bottom: y + r };
    let mut taken: Vec<Area> = labels.iter().map(|(_, at, _)| around(chart.backend_coord(at), 6)).collect();
    taken.push(Area {
        left: SIZE.0 as i32 - 290,
        top: SIZE.1 as i32 - 180,
        right: SIZE.0 as i32,
        bottom: SIZE.1 as i32,
    });
    // The curves are in the way, too, if there is a way around them.
    let drawn = curves(evaluation).chain(on_log_axis(&evaluation.hull));
    let curves: Vec<Area> = drawn.map(|p| around(chart.backend_coord(&(p.cost, p.accuracy)), 2)).collect();
    for (name, at, color) in labels {
        let around = chart.backend_coord(&at);
        let placed = place(around, &name, &[&taken, &curves]).or_else(|| place(around, &name, &[&taken]));
        if let Some((area, pos, anchor)) = placed {
            taken.push(area);
            if (anchor.1 - around.1).abs() > LABEL {
                // Too far from its point to be seen as its label.
                let start = if anchor.1 > around.1 { around.1 + 6 } else { around.1 - 6 };
                root.draw(&PathElement::new(
                    vec![(around.0, start), anchor],
                    color.mix(0.5).stroke_width(1),
                ))?;
            }
            root.draw(&Text::new(name, anchor, text(LABEL, color).pos(pos)))?;
        }
    }
    root.present()?;
    Ok(())
}

fn text(size: i32, color: RGBColor) -> TextStyle<'static> {
    TextStyle { color: color.to_backend_color(), ..TextStyle::from((FONT, size).into_font()) }
}

/// A rectangle of pixels.
#[derive(Clone, Copy)]
struct Area {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Area {
    fn overlaps(&self, other: &Area) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

/// The first free place for a label around a point, its anchor and where the text lies from there;
/// `None` where there is no room, which leaves the point without a label.
fn place((x, y): (i32, i32), name: &str, taken: &[&[Area]]) -> Option<(Area, Pos, (i32, i32))> {
    let width = name.chars().count() as i32 * LABEL / 2;
    let half = LABEL / 2 + 1;
    let steps = [0, 11, -11, 20, -20, 30, -30, 42, -42];
    let sides = steps.into_iter().flat_map(|dy| [(HPos::Left, 10, dy), (HPos::Right, -10, dy)]);
    let above =
        [(HPos::Center, 0, -16), (HPos::Center, 0, 16), (HPos::Center, 0, -28), (HPos::Center, 0, 28)];
    sides.chain(above).find_map(|(side, dx, dy)| {
        let (ax, ay) = (x + dx, y + dy);
        let left = match side {
            HPos::Left => ax,
            HPos::Right => ax - width,
            HPos::Center => ax - width / 2,
        };
        let area = Area { left, top: ay - half, right: left + width, bottom: ay + half };
        let inside = area.left > 84
            && area.right < SIZE.0 as i32 - 8
            && area.top > 70
            && area.bottom < SIZE.1 as i32 - 70;
        (inside && !taken.iter().copied().flatten().any(|other| area.overlaps(other))).then_some((
            area,
            Pos::new(side, VPos::Center),
            (ax, ay),
        ))
    })
}

/// A curve down to its cheapest point: beyond, a higher price of money only buys worse answers.
fn useful(curve: &[Point]) -> Vec<Point> {
    let cheapest = (0..curve.len()).reduce(|a, b| if curve[b].cost < curve[a].cost { b } else { a });
    let mut curve = curve[..cheapest.map_or(0, |last| last + 1)].to_vec();
    curve.dedup();
    curve
}

/// The straight lines of a hull, which are bent on a log axis.
fn on_log_axis(hull: &[Point]) -> Vec<Point> {
    let mut bent = Vec::new();
    for pair in hull.windows(2) {
        for step in 0..24 {
            let share = f64::from(step) / 24.0;
            let cost = pair[0].cost * (pair[1].cost / pair[0].cost).powf(share);
            bent.push(Point { cost, accuracy: super::on_hull(pair, cost) });
        }
    }
    bent.extend(hull.last());
    bent
}

/// The points of the curves that are drawn: of the first contender, and of k-NN.
fn curves(evaluation: &Evaluation) -> impl Iterator<Item = Point> {
    let drawn = evaluation.contenders().take(1).chain(&evaluation.knn);
    drawn.flat_map(|contender| contender.curve.iter().copied())
}

/// The ranges of both axes, with some air.
fn ranges(evaluation: &Evaluation) -> ((f64, f64), (f64, f64)) {
    let points = evaluation.constants.iter().map(|c| c.point).chain([evaluation.oracle, evaluation.random]);
    let (mut x, mut y) = ((f64::INFINITY, 0.0f64), (1.0f64, 0.0f64));
    for p in points.chain(curves(evaluation)) {
        x = (x.0.min(p.cost), x.1.max(p.cost));
        y = (y.0.min(p.accuracy), y.1.max(p.accuracy));
    }
    // A log axis has no zero.
    let low = x.0.max(1e-6);
    ((low / 1.6, x.1.max(low) * 1.9), ((y.0 - 0.03).max(0.0), (y.1 + 0.03).min(1.03)))
}
