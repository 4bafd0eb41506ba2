//! What happened, line by line, for a person.

/// Lines kept; older ones go. A world is made small before it is told.
const MOST_LINES: usize = 200_000;

/// The timeline of one world.
#[derive(Debug)]
pub(crate) struct Timeline {
    kept: bool,
    lines: std::collections::VecDeque<String>,
}

impl Timeline {
    pub(crate) fn new(kept: bool) -> Self {
        Self { kept, lines: std::collections::VecDeque::new() }
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.kept
    }

    pub(crate) fn add(&mut self, at_us: u64, ns: u16, line: String) {
        if self.lines.len() == MOST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>12.6} ns{ns} {line}", at_us as f64 / 1e6));
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
