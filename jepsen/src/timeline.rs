//! The picture of a run: a lane for each client with its operations as bars, faults as bands over all of
//! them, and below how many operations were answered each second.
//!
//! A run has more operations than a picture has columns. A column of a lane has the colour of the worst
//! that ended or was on its way there: unknown before failed before happened; white is nothing at all.

use std::fmt::Write as _;
use std::path::Path;

/// Columns of the lanes and of the curve.
const COLUMNS: usize = 1_100;
/// Where they begin: names stand on the left.
const LEFT: usize = 110;
/// Above the lanes: title and legend.
const TOP: usize = 64;
/// A lane and the gap below it.
const LANE: usize = 11;
const GAP: usize = 3;
/// The curve.
const CURVE: usize = 130;
/// Columns of one point of the curve.
const COLUMNS_PER_POINT: usize = 5;
/// Between lanes and curve, and below it for the axis.
const SPACE: usize = 26;

/// What became of an operation when its client was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// It happened.
    Happened,
    /// It provably did not.
    Failed,
    /// Nobody knew yet.
    Unknown,
}

impl Ending {
    const ALL: [Self; 3] = [Self::Happened, Self::Failed, Self::Unknown];

    const fn colour(self) -> &'static str {
        match self {
            Self::Happened => "#4a9d5b",
            Self::Failed => "#e8a33d",
            Self::Unknown => "#c8322b",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Happened => "happened",
            Self::Failed => "did not happen",
            Self::Unknown => "unknown when answered",
        }
    }
}

/// One operation, in nanoseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    /// Whose: clients count from 0.
    pub(crate) lane: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) ending: Ending,
}

/// One strike of a fault.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    /// Its name.
    pub(crate) name: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A time of a run in nanoseconds.
pub(crate) fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Everything that is drawn.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
    /// Lanes from this number on are not of clients, but of the last reads.
    pub(crate) clients: usize,
    pub(crate) bands: Vec<Band>,
}

impl Timeline {
    /// Writes it down as SVG.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, self.draw()?)?)
    }

    fn draw(&self) -> Result<String, std::fmt::Error> {
        let ends = self.bars.iter().map(|bar| bar.to).chain(self.bands.iter().map(|band| band.to));
        let end = ends.max().unwrap_or(0).max(1);
        let scale = Scale { end };
        let lanes = self.bars.iter().map(|bar| bar.lane + 1).max().unwrap_or(0);
        let below = TOP + lanes * (LANE + GAP);
        let curve = below + SPACE;
        let (width, height) = (LEFT + COLUMNS + 20, curve + CURVE + SPACE);
        let mut out = String::new();
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>",
            escaped(&self.title)
        )?;
        self.legend(&mut out)?;
        for lane in 0..lanes {
            let y = TOP + lane * (LANE + GAP);
            let name = if lane < self.clients {
                format!("client {lane}")
            } else {
                "last reads".to_owned()
            };
            writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
                LEFT - 8,
                y + 9
            )?;
            bars(&mut out, y, &columns(&self.bars, lane, &scale))?;
        }
        self.curve(&mut out, curve, &scale)?;
        for band in &self.bands {
            let (from, to) = (scale.column(band.from), scale.column(band.to));
            let (begun, over) = (scale.seconds(band.from), scale.seconds(band.to));
            let name = escaped(&band.name);
            writeln!(
                out,
                "<rect x=\"{}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" fill=\"{}\" fill-opacity=\"0.22\">\
                 <title>{name}, {begun:.2} s to {over:.2} s</title></rect>",
                LEFT + from,
                (to - from).max(1),
                curve + CURVE - TOP,
                colour_of(&band.name)
            )?;
        }
        out.push_str("</svg>\n");
        Ok(out)
    }

    fn legend(&self, out: &mut String) -> std::fmt::Result {
        let mut x = LEFT;
        let mut entry = |out: &mut String, colour: &str, opacity: f32, words: &str| {
            let done = writeln!(
                out,
                "<rect x=\"{x}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{colour}\" \
                 fill-opacity=\"{opacity}\"/><text x=\"{}\" y=\"46\">{}</text>",
                x + 17,
                escaped(words)
            );
            x += 17 + 8 * words.len() + 14;
            done
        };
        for ending in Ending::ALL {
            entry(out, ending.colour(), 1.0, ending.words())?;
        }
        let mut names: Vec<&str> = self.bands.iter().map(|band| band.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            entry(out, colour_of(name), 0.4, name)?;
        }
        Ok(())
    }

    /// How many operations happened, and how many did not, each second; and the axis of time.
    fn curve(&self, out: &mut String, top: usize, scale: &Scale) -> std::fmt::Result {
        let points = COLUMNS / COLUMNS_PER_POINT;
        let seconds_per_point = scale.seconds(scale.end) / points as f64;
        let mut rates = [vec![0_f64; points + 1], vec![0_f64; points + 1]];
        for bar in &self.bars {
            let point = scale.column(bar.to) / COLUMNS_PER_POINT;
            rates[usize::from(bar.ending != Ending::Happened)][point] += 1.0 / seconds_per_point;
        }
        let most = rates.iter().flatten().fold(1.0_f64, |most, rate| most.max(*rate));
        let bottom = top + CURVE;
        for (rates, ending) in rates.iter().zip([Ending::Happened, Ending::Failed]) {
            let mut line = String::new();
            for (point, rate) in rates.iter().take(points).enumerate() {
                let x = LEFT + point * COLUMNS_PER_POINT + COLUMNS_PER_POINT / 2;
                write!(line, "{x},{:.1} ", bottom as f64 - rate / most * CURVE as f64)?;
            }
            let colour = ending.colour();
            writeln!(
                out,
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
            )?;
        }
        let right = LEFT + COLUMNS;
        writeln!(
            out,
            "<path d=\"M{LEFT},{top} V{bottom} H{right}\" fill=\"none\" stroke=\"black\"/>\n\
             <text x=\"{0}\" y=\"{1}\" text-anchor=\"end\">{most:.0}/s</text>\n\
             <text x=\"{0}\" y=\"{bottom}\" text-anchor=\"end\">0/s</text>",
            LEFT - 8,
            top + 9
        )?;
        let total = scale.seconds(scale.end);
        for tick in 0..=10 {
            let x = LEFT + COLUMNS * tick / 10;
            let at = total * tick as f64 / 10.0;
            let y = bottom + 15;
            writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{at:.1} s</text>")?;
        }
        Ok(())
    }
}

/// From nanoseconds to columns.
struct Scale {
    end: u64,
}

impl Scale {
    fn column(&self, at: u64) -> usize {
        let column = u128::from(at) * COLUMNS as u128 / u128::from(self.end);
        usize::try_from(column).unwrap_or(COLUMNS).min(COLUMNS)
    }

    fn seconds(&self, at: u64) -> f64 {
        at as f64 / 1e9
    }
}

/// The worst of each column of a lane.
fn columns(bars: &[Bar], lane: usize, scale: &Scale) -> Vec<Option<Ending>> {
    let mut worst = vec![None; COLUMNS + 1];
    for bar in bars.iter().filter(|bar| bar.lane == lane) {
        for column in &mut worst[scale.column(bar.from)..=scale.column(bar.to)] {
            *column = (*column).max(Some(bar.ending));
        }
    }
    worst
}

/// Equal columns side by side are one bar.
fn bars(out: &mut String, y: usize, columns: &[Option<Ending>]) -> std::fmt::Result {
    let mut x = LEFT;
    for run in columns.chunk_by(|one, next| one == next) {
        if let Some(ending) = run.first().copied().flatten() {
            let (width, colour) = (run.len(), ending.colour());
            writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{LANE}\" fill=\"{colour}\"/>"
            )?;
        }
        x += run.len();
    }
    Ok(())
}

fn colour_of(name: &str) -> &'static str {
    match name {
        "kill" => "#c8322b",
        "pause" => "#3b6fc4",
        "clock" => "#8a4fbf",
        "drain" => "#2a9d9d",
        "disk" => "#7a5230",
        "cut" => "#c98a1b",
        _ => "#555555",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bar(lane: usize, from: u64, to: u64, ending: Ending) -> Bar {
        Bar { lane, from: from * SECOND, to: to * SECOND, ending }
    }

    #[test]
    fn a_column_has_the_colour_of_the_worst_and_nothing_is_left_white_that_was_busy() {
        let bars = [
            bar(0, 0, 5, Ending::Happened),
            bar(0, 4, 6, Ending::Unknown),
            bar(0, 6, 7, Ending::Failed),
            bar(1, 9, 11, Ending::Happened),
        ];
        let columns = columns(&bars, 0, &Scale { end: 11 * SECOND });
        let at = |second: usize| columns[second * COLUMNS / 11];
        assert_eq!(at(1), Some(Ending::Happened));
        assert_eq!(at(4), Some(Ending::Unknown));
        assert_eq!(columns[COLUMNS * 13 / 22], Some(Ending::Failed), "at 6.5 seconds");
        assert_eq!(at(8), None);
    }

    #[test]
    fn a_picture_is_whole_and_names_what_struck() {
        let band = |name: &str| Band { name: name.to_owned(), from: SECOND, to: 2 * SECOND };
        let picture = Timeline {
            title: "bank under <everything>".to_owned(),
            bars: vec![bar(0, 0, 3, Ending::Happened), bar(2, 1, 2, Ending::Failed)],
            clients: 2,
            bands: vec![band("clock"), band("<odd>")],
        };
        let svg = picture.draw().expect("a string takes all");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for part in [
            "bank under &lt;everything&gt;",
            "client 1",
            "last reads",
            "clock, 1.00 s to 2.00 s",
            "&lt;odd&gt;",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        for (open, close) in [("<svg", "</svg>"), ("<text", "</text>"), ("<title", "</title>")] {
            assert_eq!(svg.matches(open).count(), svg.matches(close).count(), "{open}");
        }
        assert_eq!(svg.matches("<polyline").count(), 2);
    }

    #[test]
    fn an_empty_run_has_a_picture_too() {
        assert!(Timeline::default().draw().expect("a string takes all").contains("</svg>"));
    }
}
