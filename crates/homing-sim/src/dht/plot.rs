//! Plots as SVG: axes, ticks, dots and lines, panels side by side. Nothing else is needed here, and so
//! no plotting library. Equal charts give equal bytes.

use std::fmt::Write;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
const COLOURS: [&str; 6] = ["#1b6ca8", "#c0392b", "#27824a", "#8e5ea2", "#b9770e", "#555555"];

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with the unit.
    pub label: &'static str,
    /// Logarithmic: every value must be positive.
    pub log: bool,
    /// Marked values; none: chosen by the data.
    pub ticks: Vec<f64>,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Each by itself.
    Dots,
    /// Joined.
    Line,
}

/// Points of one kind.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend; empty: it is not listed.
    pub name: String,
    /// (x, y).
    pub points: Vec<(f64, f64)>,
    /// How they are drawn.
    pub look: Look,
    /// Which colour, counted from 0.
    pub colour: usize,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What it shows.
    pub series: Vec<Series>,
}

/// One panel as a part of a page: no background, in the page's own ink.
#[must_use]
pub fn inline(chart: &Chart) -> String {
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\" fill=\"currentColor\">\n"
    );
    panel(&mut out, chart, 0.0);
    out.push_str("</svg>");
    out
}

/// The panels, side by side, as one SVG document.
#[must_use]
pub fn svg(charts: &[Chart]) -> String {
    let width = WIDTH * charts.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for (i, chart) in charts.iter().enumerate() {
        panel(&mut out, chart, i as f64 * WIDTH);
    }
    out.push_str("</svg>\n");
    out
}

/// A value's place on an axis.
#[derive(Clone, Copy)]
struct Scale {
    log: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn of(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let all: Vec<_> = values.chain(axis.ticks.iter().copied()).collect();
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if axis.log { (least, most) } else { (least.min(0.0), most) };
        let high = if high > low { high } else { low + 1.0 };
        Self { log: axis.log, low, high, from, to }
    }

    fn at(self, value: f64) -> f64 {
        let place = |v: f64| if self.log { v.max(1e-12).ln() } else { v };
        let share = (place(value) - place(self.low)) / (place(self.high) - place(self.low));
        self.from + share * (self.to - self.from)
    }

    fn ticks(self) -> Vec<f64> {
        if self.log {
            let first = self.low.log10().floor() as i32;
            let last = self.high.log10().ceil() as i32;
            let all = (first..=last).map(|e| 10f64.powi(e));
            return all.filter(|v| (self.low * 0.999..=self.high * 1.001).contains(v)).collect();
        }
        let rough = (self.high - self.low) / 5.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * unit).into_iter().find(|s| *s >= rough);
        let step = step.unwrap_or(unit);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

fn panel(out: &mut String, chart: &Chart, offset: f64) {
    let points = || chart.series.iter().flat_map(|s| s.points.iter());
    let x = Scale::of(&chart.x, points().map(|p| p.0), offset + LEFT, offset + WIDTH - RIGHT);
    let y = Scale::of(&chart.y, points().map(|p| p.1), HEIGHT - BOTTOM, TOP);
    text(out, (offset + LEFT, 18.0), "start", &chart.title, " font-weight=\"bold\"");
    axes(out, chart, x, y);
    for series in &chart.series {
        draw(out, series, x, y);
    }
    legend(out, chart, offset);
}

fn axes(out: &mut String, chart: &Chart, x: Scale, y: Scale) {
    let ticks = |axis: &Axis, scale: Scale| {
        if axis.ticks.is_empty() { scale.ticks() } else { axis.ticks.clone() }
    };
    for value in ticks(&chart.x, x) {
        line(out, (x.at(value), y.from), (x.at(value), y.to), "#8884");
        text(out, (x.at(value), y.from + 15.0), "middle", &number(value), "");
    }
    for value in ticks(&chart.y, y) {
        line(out, (x.from, y.at(value)), (x.to, y.at(value)), "#8884");
        text(out, (x.from - 6.0, y.at(value) + 4.0), "end", &number(value), "");
    }
    line(out, (x.from, y.from), (x.to, y.from), "currentColor");
    line(out, (x.from, y.from), (x.from, y.to), "currentColor");
    let (middle, centre) = ((x.from + x.to) / 2.0, (y.from + y.to) / 2.0);
    text(out, (middle, HEIGHT - 14.0), "middle", chart.x.label, "");
    let (left, turn) = (x.from - LEFT + 14.0, "rotate(-90");
    let turned = format!(" transform=\"{turn} {left:.1} {centre:.1})\"");
    text(out, (left, centre), "middle", chart.y.label, &turned);
}

fn draw(out: &mut String, series: &Series, x: Scale, y: Scale) {
    let colour = COLOURS[series.colour % COLOURS.len()];
    let places = series.points.iter().map(|(px, py)| (x.at(*px), y.at(*py)));
    match series.look {
        Look::Dots => {
            for (px, py) in places {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" fill=\"{colour}\" fill-opacity=\"0.65\"/>"
                );
            }
        }
        Look::Line => {
            let path: Vec<_> = places.map(|(px, py)| format!("{px:.1},{py:.1}")).collect();
            let path = path.join(" ");
            let _ = writeln!(
                out,
                "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>"
            );
        }
    }
}

fn legend(out: &mut String, chart: &Chart, offset: f64) {
    let mut left = offset + LEFT;
    for series in chart.series.iter().filter(|s| !s.name.is_empty()) {
        let colour = COLOURS[series.colour % COLOURS.len()];
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"25\" width=\"9\" height=\"9\" fill=\"{colour}\"/>"
        );
        text(out, (left + 13.0, 33.0), "start", &series.name, "");
        left += 24.0 + 6.2 * series.name.chars().count() as f64;
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, words: &str, more: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let (x, y) = at;
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{words}</text>"
    );
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{}M", value / 1e6),
        v if v >= 1e4 => format!("{}k", value / 1e3),
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(log: bool) -> Axis {
        Axis { label: "nodes < all", log, ticks: vec![] }
    }

    #[test]
    fn every_point_is_drawn_inside_its_panel() {
        let points = vec![(100.0, 1.0), (1_000.0, 5.0), (10_000.0, 9.0)];
        let series = Series { name: "a".into(), points, look: Look::Dots, colour: 0 };
        let chart =
            Chart { title: "t".into(), x: axis(true), y: axis(false), series: vec![series] };
        let drawn = svg(&[chart.clone(), chart]);
        let places: Vec<f64> = drawn
            .lines()
            .filter_map(|l| l.strip_prefix("<circle cx=\"")?.split('"').next()?.parse().ok())
            .collect();
        let (first, last) = (LEFT, WIDTH - RIGHT);
        let middle = (first + last) / 2.0;
        assert_eq!(places, [first, middle, last, first + WIDTH, middle + WIDTH, last + WIDTH]);
        assert!(drawn.contains("nodes &lt; all") && drawn.ends_with("</svg>\n"));
    }

    #[test]
    fn ticks_are_round_numbers() {
        let scale = |log, low, high| Scale { log, low, high, from: 0.0, to: 1.0 };
        assert_eq!(scale(false, 0.0, 9.0).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(scale(true, 50.0, 20_000.0).ticks(), [100.0, 1_000.0, 10_000.0]);
    }
}
