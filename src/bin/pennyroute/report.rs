//! What `pennyroute eval` prints: tables of at most 120 columns where names are short.

use pennyroute::Result;
use pennyroute::eval::{Bins, Contender, Evaluation, Lengths, Measured, Noise, Point, THRESHOLD, Unfamiliar};

use crate::show;

/// Prints a comparison; `intervals` adds the interval of every figure.
pub fn report(e: &Evaluation, intervals: bool) -> Result<()> {
    heading(e)?;
    worth(e)?;
    estimates(e)?;
    if intervals {
        every_interval(e)?;
    }
    coverage(e)?;
    lengths(e)?;
    unfamiliar(e)?;
    if let Some(noise) = &e.noise {
        perturbed(noise)?;
    }
    choices(e)
}

fn heading(e: &Evaluation) -> Result<()> {
    show::line(&format!(
        "{} queries of `{}`, {} models; best single model {}: {:.2} % at ${:.3} per 1,000 queries",
        e.queries,
        e.split,
        e.constants.len(),
        e.best.model,
        100.0 * e.best.point.accuracy,
        e.best.point.cost
    ))?;
    for (skipped, why) in [
        (e.skipped_queries, "not every compared model has an outcome"),
        (e.unestimated_queries, "not every file has an estimate of each compared model"),
    ] {
        if skipped > 0 {
            show::line(&format!("{skipped} queries were skipped: {why}"))?;
        }
    }
    if !e.left_out.is_empty() {
        let models = e.left_out.join(", ");
        show::line(&format!("left out (not in the catalog, or tried on too few queries): {models}"))?;
    }
    Ok(())
}

/// What choices on the estimates are worth.
fn worth(e: &Evaluation) -> Result<()> {
    let ticks = ticks(e);
    let row = |c: &Contender| -> [String; 6] {
        let f = &c.figures;
        let gains: Vec<String> =
            ticks.iter().map(|tick| signed(f.gain.get(tick).copied().flatten())).collect();
        [
            c.name.clone(),
            gains.join(" "),
            format!("{}{}", signed(f.mean_gain), signed_range(c.intervals.mean_gain)),
            c.over_first.as_ref().map_or_else(String::new, |d| {
                format!("{}{}", signed(Some(d.value)), signed_range(d.interval))
            }),
            number(f.c95, 3),
            number(f.c100, 3),
        ]
    };
    let rows: Vec<_> = e.contenders().map(row).collect();
    let dollars: Vec<String> = ticks.iter().map(|tick| dollars(tick)).collect();
    let gain = format!("gain at {}", dollars.join(" "));
    let header = ["estimates", &gain, "mean gain (95 %)", "over the first (95 %)", "c95", "c100"];
    titled("", header, &rows)
}

/// What the estimates are like.
fn estimates(e: &Evaluation) -> Result<()> {
    let row = |c: &Contender| -> [String; 8] {
        let f = &c.figures;
        let rule = f.threshold_rule.values().next();
        [
            c.name.clone(),
            number(f.auc, 4),
            format!("{:.2}", f.ece),
            format!("{:.2}", f.peak),
            format!("{:.2}", f.alpha_dev),
            format!("{:.2}", f.alpha_short),
            rule.map_or_else(none, |(accuracy, cost)| format!("{accuracy:.1} % at ${cost:.3}")),
            c.out_of_distribution.map_or_else(none, |share| format!("{:.1} %", 100.0 * share)),
        ]
    };
    let rows: Vec<_> = e.contenders().map(row).collect();
    let rule = format!("p >= {THRESHOLD}");
    let header = ["estimates", "AUC", "ECE", "peak", "alpha dev", "short", &rule, "flagged"];
    titled("", header, &rows)
}

/// Every figure with its interval, one line each.
fn every_interval(e: &Evaluation) -> Result<()> {
    show::line("")?;
    side_by_side("figure (95 %)", &e.contenders().map(|c| (c.name.as_str(), figures(c))).collect::<Vec<_>>())
}

/// A table with a column per contender, each of which has the same named lines.
fn side_by_side(corner: &str, columns: &[(&str, Vec<(String, String)>)]) -> Result<()> {
    let header: Vec<&str> = std::iter::once(corner).chain(columns.iter().map(|column| column.0)).collect();
    let Some((_, first)) = columns.first() else { return Ok(()) };
    let line = |at: usize| {
        let cells = columns.iter().map(|(_, lines)| lines[at].1.clone());
        std::iter::once(first[at].0.clone()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = (0..first.len()).map(line).collect();
    show::line(&show::table(&header, &rows))
}

/// The figures of one set of estimates by name, with their intervals.
fn figures(c: &Contender) -> Vec<(String, String)> {
    let (f, i) = (&c.figures, &c.intervals);
    let line = |name: &str, value: Option<f64>, interval: Option<(f64, f64)>, digits: usize| {
        (name.to_owned(), number(value, digits) + &range(interval, digits))
    };
    let gain = |(tick, gain): (&String, &Option<f64>)| {
        line(&format!("gain at {}", dollars(tick)), *gain, i.gain.get(tick).copied().flatten(), 2)
    };
    let mut lines = vec![line("AUC", f.auc, i.auc, 4), line("ECE", Some(f.ece), i.ece, 2)];
    lines.extend(f.gain.iter().map(gain));
    lines.extend([
        line("mean gain", f.mean_gain, i.mean_gain, 2),
        line("c95", f.c95, i.c95, 3),
        line("c100", f.c100, i.c100, 3),
        line("peak", Some(f.peak), i.peak, 2),
        line("alpha dev", Some(f.alpha_dev), i.alpha_dev, 2),
        line("short", Some(f.alpha_short), i.alpha_short, 2),
    ]);
    lines
}

/// How often intervals hold.
fn coverage(e: &Evaluation) -> Result<()> {
    let bins = |bins: Option<&Bins>| {
        bins.map_or_else(none, |b| format!("{:.1} % of {} ({:.1})", b.inside, b.bins, b.width))
    };
    let row = |c: &Contender| -> Option<[String; 5]> {
        let quality = c.quality_intervals.as_ref();
        (quality.is_some() || c.cost_inside.is_some()).then(|| {
            [
                c.name.clone(),
                bins(quality.and_then(|q| q.by_model.as_ref())),
                bins(quality.and_then(|q| q.pooled.as_ref())),
                percent(c.cost_inside_counted),
                percent(c.cost_inside),
            ]
        })
    };
    let rows: Vec<_> = e.contenders().filter_map(row).collect();
    let title = "90 % intervals hold: bins of quality whose share of right answers lies inside (mean width, points); calls";
    titled(
        title,
        ["estimates", "bins by model", "bins, pooled", "cost, tokens counted", "cost of all"],
        &rows,
    )
}

fn lengths(e: &Evaluation) -> Result<()> {
    let row = |name: &str, l: &Lengths| -> [String; 6] {
        [
            name.to_owned(),
            l.answers.to_string(),
            percent(l.median_error),
            percent(l.bucket),
            percent(l.near_bucket),
            percent(l.inside),
        ]
    };
    // The halves of our estimates share its lengths.
    let estimated = e.router.iter().chain(&e.estimates);
    let estimated = estimated.filter_map(|c| Some(row(&c.name, c.lengths.as_ref()?)));
    let mean = e.mean_lengths.iter().map(|l| row("mean, source given", l));
    let rows: Vec<_> = estimated.chain(mean).collect();
    let header = ["output tokens", "answers", "median error", "bucket of ten", "within one", "in 90 %"];
    titled("", header, &rows)?;
    if let Some(tokens) = &e.input_tokens {
        show::line(&format!(
            "input tokens of {} texts: median error {}, 90 % below {}",
            tokens.queries,
            percent(tokens.median_error),
            percent(tokens.p90_error)
        ))?;
    }
    Ok(())
}

fn unfamiliar(e: &Evaluation) -> Result<()> {
    let lines = |u: &Unfamiliar| {
        [
            ("AUC of the flag's score", measured(u.auc, 3)),
            ("flagged of the others", percent(u.flagged_inside)),
            ("flagged of the left out", percent(u.flagged_left_out)),
            ("ECE, left out, not flagged", measured(u.ece_missed, 1)),
            ("ECE, all not flagged", measured(u.ece_unflagged, 1)),
            ("ECE, all flagged", measured(u.ece_flagged, 1)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    };
    let judged = e.contenders().filter_map(|c| Some((c.name.as_str(), c.unfamiliar.as_ref()?)));
    let judged: Vec<(&str, &Unfamiliar)> = judged.collect();
    if let Some((_, first)) = judged.first() {
        show::line(&format!("\n{} queries are of sources that were left out of training", first.left_out))?;
    }
    side_by_side("unfamiliar", &judged.iter().map(|(name, u)| (*name, lines(u))).collect::<Vec<_>>())
}

fn perturbed(noise: &Noise) -> Result<()> {
    let rows: Vec<[String; 5]> = noise
        .kinds
        .iter()
        .chain([&noise.all])
        .map(|kind| {
            let point = |p: &Point| format!("{:.2} % at ${:.4}", 100.0 * p.accuracy, p.cost);
            [
                kind.name.clone(),
                kind.copies.to_string(),
                percent(kind.unchanged),
                point(&kind.before),
                point(&kind.after),
            ]
        })
        .collect();
    let title = format!(
        "choices under noise, at an expected mean quality of {:.1} % (the most chosen model has {:.1} %)",
        100.0 * noise.alpha,
        100.0 * noise.largest_share
    );
    titled(&title, ["noise", "copies", "unchanged", "before", "after"], &rows)
}

/// The choices that need no estimates.
fn choices(e: &Evaluation) -> Result<()> {
    let on_hull = |point: &Point| if e.hull.contains(point) { "yes" } else { "" };
    let point = |name: &str, p: &Point, hull: &str| -> [String; 4] {
        [name.to_owned(), format!("{:.3}", p.cost), format!("{:.2}", 100.0 * p.accuracy), hull.to_owned()]
    };
    let mut rows: Vec<_> = e
        .constants
        .iter()
        .map(|c| point(&format!("always {}", c.model), &c.point, on_hull(&c.point)))
        .collect();
    rows.push(point("a random model", &e.random, ""));
    rows.push(point("oracle: the cheapest right model", &e.oracle, ""));
    titled("", ["choice", "USD per 1,000", "accuracy %", "on the hull"], &rows)
}

/// A table after an empty line and its title, if it has rows.
fn titled<const N: usize>(title: &str, header: [&str; N], rows: &[[String; N]]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    show::line("")?;
    if !title.is_empty() {
        show::line(title)?;
    }
    show::line(&show::table(&header, rows))
}

/// The ticks of the comparison, as they name gains.
fn ticks(e: &Evaluation) -> Vec<String> {
    e.contenders().next().map(|c| c.figures.gain.keys().cloned().collect()).unwrap_or_default()
}

fn dollars(tick: &str) -> String {
    format!("${}", tick.trim_end_matches(".0"))
}

fn none() -> String {
    "-".to_owned()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(none, |v| if v.is_finite() { format!("{v:.digits$}") } else { none() })
}

fn signed(value: Option<f64>) -> String {
    value.map_or_else(none, |v| format!("{v:+.2}"))
}

fn range(interval: Option<(f64, f64)>, digits: usize) -> String {
    interval.map_or_else(String::new, |(low, high)| {
        format!(" ({} to {})", number(Some(low), digits), number(Some(high), digits))
    })
}

fn signed_range(interval: Option<(f64, f64)>) -> String {
    interval.map_or_else(String::new, |(low, high)| format!(" ({low:+.2} to {high:+.2})"))
}

fn measured(figure: Option<Measured>, digits: usize) -> String {
    figure.map_or_else(none, |m| number(Some(m.value), digits) + &range(m.interval, digits))
}

fn percent(figure: Option<Measured>) -> String {
    figure.map_or_else(none, |m| format!("{:.1} %{}", m.value, range(m.interval, 1)))
}
