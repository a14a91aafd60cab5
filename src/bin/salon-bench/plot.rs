//! Line plots as SVG, drawn by ourselves so that a page needs nothing from elsewhere. Colours come from the page's
//! style, by class.

use std::fmt::Write;

use crate::report::rounded;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Left, right, top and bottom of the area in which lines are drawn.
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = HEIGHT - 40.0;
/// The page's style knows so many colours.
const COLOURS: usize = 4;
/// With more points, a mark on each would hide the line.
const MARKED_MAX: usize = 90;
/// Of an axis; a few more or less, so that they are round numbers.
const TICKS: f64 = 5.0;

pub struct Series<'a> {
    pub label: &'a str,
    pub points: Vec<(f64, f64)>,
}

pub struct Plot<'a> {
    pub title: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub x: Scale,
    pub y: Scale,
    pub series: Vec<Series<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    Linear,
    Log,
    /// The coordinate is how many nines a percentile has: 1 is 90 %, 2 is 99 %.
    Nines,
}

/// A scale with what it has to hold.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Plot<'_> {
    pub fn svg(&self) -> String {
        let x = Axis::over(self.x, self.series.iter().flat_map(|series| series.points.iter().map(|point| point.0)));
        let y = Axis::over(self.y, self.series.iter().flat_map(|series| series.points.iter().map(|point| point.1)));
        let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#, escape(self.title));
        // Writing to a string cannot fail.
        for tick in y.ticks() {
            let at = y.place(tick, BOTTOM, TOP);
            let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1}" y2="{at:.1}"/>"#);
            let (left, middle, text) = (LEFT - 6.0, at + 4.0, y.name(tick));
            let _ = write!(svg, r#"<text x="{left}" y="{middle:.1}" text-anchor="end">{text}</text>"#);
        }
        for tick in x.ticks() {
            let (at, below, text) = (x.place(tick, LEFT, RIGHT), BOTTOM + 16.0, x.name(tick));
            let _ = write!(svg, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{BOTTOM}"/>"#);
            let _ = write!(svg, r#"<text x="{at:.1}" y="{below}" text-anchor="middle">{text}</text>"#);
        }
        let (middle, under) = ((LEFT + RIGHT) / 2.0, HEIGHT - 6.0);
        let _ = write!(svg, r#"<text x="{middle}" y="{under}" text-anchor="middle">{}</text>"#, escape(self.x_label));
        let _ = write!(svg, r#"<text x="4" y="16">{}</text>"#, escape(self.y_label));
        for (n, series) in self.series.iter().enumerate() {
            series.draw(&mut svg, n, (&x, &y));
        }
        svg.push_str("</svg>");
        svg
    }

    /// For above the picture, where the page can break the line.
    pub fn legend(&self) -> String {
        let each = |(n, series): (usize, &Series)| {
            format!(r#"<span><i class="c{}"></i>{}</span> "#, n % COLOURS, escape(series.label))
        };
        self.series.iter().enumerate().map(each).collect()
    }
}

impl Series<'_> {
    fn draw(&self, svg: &mut String, n: usize, (x, y): (&Axis, &Axis)) {
        let places: Vec<(f64, f64)> =
            self.points.iter().map(|point| (x.place(point.0, LEFT, RIGHT), y.place(point.1, BOTTOM, TOP))).collect();
        let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let colour = n % COLOURS;
        let _ = write!(svg, r#"<polyline class="line c{colour}" points="{}"/>"#, line.join(" "));
        if places.len() <= MARKED_MAX {
            for ((px, py), (at, value)) in places.iter().zip(&self.points) {
                let told = format!("{} at {}: {}", escape(self.label), x.name(*at), rounded(*value));
                let _ = write!(
                    svg,
                    r#"<circle class="c{colour}" cx="{px:.1}" cy="{py:.1}" r="2.5"><title>{told}</title></circle>"#
                );
            }
        }
    }
}

impl Axis {
    fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let shown = values.filter(|value| value.is_finite() && (scale != Scale::Log || *value > 0.0));
        let (low, high) = shown.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (0.1, 1.0) } else { (low, high) };
        match scale {
            // A little room above, so that the highest point does not touch the edge.
            Scale::Linear => Self { scale, low: 0.0, high: if high > 0.0 { high * 1.05 } else { 1.0 } },
            Scale::Nines => Self { scale, low: 0.0, high: high.max(1.0) },
            Scale::Log => {
                let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
                Self { scale, low, high: if high > low { high } else { low * 10.0 } }
            }
        }
    }

    /// Between the two ends of the picture.
    fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        let share = match self.scale {
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            _ => (value - self.low) / (self.high - self.low),
        };
        from + share.clamp(0.0, 1.0) * (to - from)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Nines => (0..=self.high as u32).map(f64::from).collect(),
            Scale::Log => {
                let decades = (self.high / self.low).log10().round() as i32;
                let between: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let each = |decade| between.iter().map(move |part| self.low * 10_f64.powi(decade) * part);
                (0..=decades).flat_map(each).filter(|tick| *tick <= self.high * 1.001).collect()
            }
            Scale::Linear => {
                let rough = self.high / TICKS;
                let unit = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|part| part * unit).into_iter().find(|step| *step >= rough);
                let step = step.unwrap_or(rough);
                (0..=(self.high / step) as u32).map(|n| f64::from(n) * step).collect()
            }
        }
    }

    fn name(&self, tick: f64) -> String {
        match self.scale {
            Scale::Nines => {
                let percent = 100.0 - 100.0 / 10_f64.powf(tick);
                let decimals = (tick - 2.0).ceil().max(0.0) as usize;
                format!("{percent:.decimals$} %")
            }
            _ => rounded((tick * 1e6).round() / 1e6),
        }
    }
}

/// As text of HTML or SVG, also between quotes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale, values: &[f64]) -> Axis {
        Axis::over(scale, values.iter().copied())
    }

    #[test]
    fn ticks_are_round_numbers_inside() {
        let names = |axis: &Axis| axis.ticks().iter().map(|tick| axis.name(*tick)).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&axis(Scale::Linear, &[3.0, 97.0])), "0 50 100");
        assert_eq!(names(&axis(Scale::Linear, &[9.4])), "0 2 4 6 8");
        assert_eq!(names(&axis(Scale::Log, &[0.3, 4.0])), "0.10 0.20 0.50 1 2 5 10");
        assert_eq!(names(&axis(Scale::Log, &[0.03, 400.0])), "0.010 0.10 1 10 100 1,000");
        assert_eq!(names(&axis(Scale::Nines, &[0.0, 3.5])), "0 % 90 % 99 % 99.9 %");
    }

    #[test]
    fn a_picture_stays_inside_its_frame_whatever_it_is_given() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(1.0, f64::INFINITY), (2.0, 1e12)], vec![(0.0, 5.0), (1.0, 5.0)]]
        {
            for scale in [Scale::Linear, Scale::Log] {
                let series = vec![Series { label: "a < b", points: points.clone() }];
                let plot = Plot { title: "t", x_label: "x", y_label: "y", x: Scale::Linear, y: scale, series };
                let svg = plot.svg();
                assert!(
                    svg.starts_with("<svg") && svg.ends_with("</svg>") && plot.legend().contains("a &lt; b"),
                    "{svg}"
                );
                assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
            }
        }
    }
}
