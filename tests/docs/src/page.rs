//! A page of the documentation.

use crate::files::read;

/// A Markdown page: its fenced blocks, its tables, its links.
pub struct Page {
    name: String,
    text: String,
}

impl Page {
    /// Reads a page of the repository.
    pub fn open(name: &str) -> Self {
        Self { name: name.to_owned(), text: read(name) }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fenced blocks of a language, as they stand between the fences.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let fence = format!("```{language}");
        let mut blocks = Vec::new();
        let mut open: Option<String> = None;
        for line in self.text.lines() {
            match &mut open {
                Some(block) if line == "```" => {
                    blocks.push(std::mem::take(block));
                    open = None;
                }
                Some(block) => {
                    block.push_str(line);
                    block.push('\n');
                }
                None if line == fence => open = Some(String::new()),
                None => {}
            }
        }
        assert!(open.is_none(), "a block of {} is not closed", self.name);
        blocks
    }

    /// The only block of a language.
    ///
    /// # Panics
    /// If there is none, or more than one.
    pub fn block(&self, language: &str) -> String {
        let mut blocks = self.blocks(language);
        assert_eq!(blocks.len(), 1, "{} has another number of {language} blocks", self.name);
        blocks.remove(0)
    }

    /// The rows of every table whose first head is `head`, cells trimmed of spaces and backquotes.
    ///
    /// # Panics
    /// If there is no such table.
    pub fn table(&self, head: &str) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let (mut inside, mut found) = (false, false);
        for line in self.text.lines() {
            if !line.starts_with('|') {
                inside = false;
                continue;
            }
            let cells = line.trim().trim_matches('|').split('|');
            let cells: Vec<String> =
                cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
            if inside && !cells[0].starts_with("--") {
                rows.push(cells);
            } else if cells[0] == head {
                (inside, found) = (true, true);
            }
        }
        assert!(found, "{} has no table that begins with {head:?}", self.name);
        rows
    }

    /// What its links point at, fenced blocks left out.
    pub fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        let mut fenced = false;
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            let starts = line.match_indices("](").map(|(at, sign)| at + sign.len());
            links.extend(starts.filter_map(|start| {
                line[start..].find(')').map(|end| line[start..start + end].to_owned())
            }));
        }
        links
    }

    /// Its headings, as links name them.
    pub fn anchors(&self) -> Vec<String> {
        let heading = |line: &str| {
            let text = line.trim_start_matches('#');
            (text.len() < line.len() && text.starts_with(' ')).then(|| anchor(text))
        };
        self.text.lines().filter_map(heading).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}
