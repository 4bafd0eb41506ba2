//! Scripts: steps, one a line, each with its answer behind `->` (none: `ok`). `==` begins a script with
//! its name, `#` a remark.

/// One step and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is done.
    pub step: String,
    /// What is answered.
    pub answer: String,
}

/// A script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it shows.
    pub name: String,
    /// Its steps.
    pub lines: Vec<Line>,
}

/// Reads scripts.
///
/// # Panics
/// If a step stands before the first name.
pub fn read(text: &str) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("==") {
            scripts.push(Script { name: name.trim().to_owned(), lines: Vec::new() });
            continue;
        }
        let (step, answer) = line.split_once("->").unwrap_or((line, "ok"));
        let line = Line { step: step.trim().to_owned(), answer: answer.trim().to_owned() };
        scripts.last_mut().expect("a script begins with its name").lines.push(line);
    }
    scripts
}

/// Somebody who plays steps.
pub trait Player {
    /// Plays one step; its answer in the normal form.
    fn play(&mut self, step: &str) -> String;

    /// The answer as this engine gives it, where less can be seen of it than of others.
    fn seen(&self, answer: &str) -> String {
        answer.to_owned()
    }
}

/// Plays a script, and compares every answer with the one that is written down.
///
/// # Panics
/// With the script so far, if an answer is another.
pub fn check(engine: &str, script: &Script, player: &mut dyn Player) {
    let mut told = String::new();
    for Line { step, answer } in &script.lines {
        let found = player.play(step);
        told += &format!("  {step} -> {found}\n");
        let expected = player.seen(answer);
        assert!(
            found == expected,
            "{engine} does not do what the script {:?} says:\n{told}  expected: {expected}",
            script.name
        );
    }
}

/// Plays steps on a model: the script that others must agree with.
pub fn record(name: String, steps: Vec<String>, model: &mut dyn Player) -> Script {
    let line = |step: String| Line { answer: model.play(&step), step };
    Script { name, lines: steps.into_iter().map(line).collect() }
}
