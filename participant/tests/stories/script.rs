//! Story files: reading them, comparing what happened with what they tell, writing what happened.

use std::fs;
use std::path::{Path, PathBuf};

/// One input and what comes out of it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Line of the file, from 1.
    pub(crate) line: usize,
    pub(crate) input: String,
    expected: Vec<String>,
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    path: PathBuf,
    /// The lines that say what the story is played with.
    pub(crate) setting: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

/// Every story of a folder, by name.
pub(crate) fn stories(folder: &str) -> Vec<Story> {
    let entries = fs::read_dir(folder).expect("the folder of stories can be listed");
    let paths = entries.map(|entry| entry.expect("the folder can be listed").path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ext| ext == "story")).collect();
    paths.sort();
    if let Ok(wanted) = std::env::var("STORY") {
        paths.retain(|path| path.to_string_lossy().contains(&wanted));
    }
    assert!(!paths.is_empty(), "there are stories in {folder}");
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Story {
    let text = fs::read_to_string(path).expect("a story can be read");
    assert!(text.starts_with("# "), "{}: a story begins with `# Its title`", path.display());
    let mut story = Story { path: path.to_owned(), setting: Vec::new(), steps: Vec::new() };
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(input) = line.strip_prefix("> ") {
            let input = input.to_owned();
            story.steps.push(Step { line: index + 1, input, expected: Vec::new() });
        } else if line.starts_with(['<', '+']) {
            let step = story.steps.last_mut().expect("an output follows an input");
            step.expected.push(line.to_owned());
        } else if !line.is_empty() && !line.starts_with('#') {
            assert!(story.steps.is_empty(), "{}:{}: say it before", path.display(), index + 1);
            story.setting.push(line.to_owned());
        }
    }
    story
}

impl Story {
    pub(crate) fn name(&self) -> String {
        self.path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
    }

    /// Compares outputs, step by step, with the story; `Err` is a text for people.
    /// With `WRITE_STORIES=1` in the environment the file is rewritten instead: read the difference.
    pub(crate) fn compare(&self, outputs: &[Vec<String>]) -> Result<(), String> {
        if std::env::var("WRITE_STORIES").is_ok_and(|value| value == "1") {
            self.write(outputs);
            return Ok(());
        }
        for (step, output) in self.steps.iter().zip(outputs) {
            if step.expected != *output {
                return Err(format!(
                    "{}:{}: > {}\n  expected:\n    {}\n  happened:\n    {}\n",
                    self.path.display(),
                    step.line,
                    step.input,
                    step.expected.join("\n    "),
                    output.join("\n    "),
                ));
            }
        }
        Ok(())
    }

    /// Whether the story tells exactly this.
    pub(crate) fn is(&self, outputs: &[Vec<String>]) -> bool {
        self.steps.iter().zip(outputs).all(|(step, output)| step.expected == *output)
    }

    fn write(&self, outputs: &[Vec<String>]) {
        let text = fs::read_to_string(&self.path).expect("a story can be read");
        let mut outputs = outputs.iter();
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.trim_start().starts_with(['<', '+'])) {
            lines.push(line.to_owned());
            if line.starts_with("> ") {
                lines.extend(outputs.next().expect("one output for each input").iter().cloned());
            }
        }
        // At once, since other tests read the file meanwhile.
        let written = self.path.with_extension("written");
        fs::write(&written, lines.join("\n") + "\n").expect("a story can be written");
        fs::rename(&written, &self.path).expect("a story can be replaced");
    }
}
