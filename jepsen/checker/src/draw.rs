//! Cycles that a person can follow: as text, and as DOT for Graphviz.

use std::fmt::{self, Write as _};

use crate::verdict::{Anomaly, Verdict};

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.kind, self.text)?;
        let count = self.cycle.len();
        for (number, step) in self.cycle.iter().enumerate() {
            let bar = if number == 0 { "┌▶" } else { "│ " };
            writeln!(
                f,
                "  {bar} T{} = index {}, process {}: {}",
                number + 1,
                step.index,
                step.process,
                step.operation
            )?;
            let next = (number + 1) % count + 1;
            let bar = if number + 1 == count { "└─" } else { "│ " };
            writeln!(f, "  {bar}   {} T{next}: {}", arrow(step.relation.name()), step.why)?;
        }
        Ok(())
    }
}

fn arrow(name: &str) -> String {
    format!("──{name}──▶")
}

/// All cycles of a verdict as one DOT graph: `dot -Tsvg` draws it.
pub fn dot(verdict: &Verdict) -> String {
    let mut out = String::from("digraph anomalies {\n  node [shape=box, fontname=monospace];\n");
    for (group, anomaly) in verdict.anomalies.iter().enumerate().filter(|it| !it.1.cycle.is_empty())
    {
        let put = |out: &mut String, line: String| {
            out.push_str(&line);
            out.push('\n');
        };
        put(&mut out, format!("  subgraph cluster_{group} {{"));
        put(&mut out, format!("    label={};", quoted(&anomaly.kind.name())));
        for (number, step) in anomaly.cycle.iter().enumerate() {
            let label = format!(
                "T{} = index {}, process {}\n{}",
                number + 1,
                step.index,
                step.process,
                step.operation
            );
            put(&mut out, format!("    a{group}_{number} [label={}];", quoted(&label)));
        }
        for (number, step) in anomaly.cycle.iter().enumerate() {
            let next = (number + 1) % anomaly.cycle.len();
            let mut line = format!("    a{group}_{number} -> a{group}_{next}");
            let (name, why) = (quoted(step.relation.name()), quoted(&step.why));
            write!(line, " [label={name}, tooltip={why}];").expect("a string takes all");
            put(&mut out, line);
        }
        out.push_str("  }\n");
    }
    out.push_str("}\n");
    out
}

/// As DOT quotes: only quotes and backslashes are special, and a line's end is `\n`.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}
