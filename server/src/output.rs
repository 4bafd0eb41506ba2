//! Data on stdout: a table for people, JSON for programs.

use std::io::{IsTerminal, Write};

use comfy_table::{Table, presets};
use serde_json::{Map, Value};

use crate::cli::{Format, Global};
use crate::exit::Failure;

/// Prints one thing. `value` is an object.
pub(crate) fn one(global: &Global, value: Value) -> Result<(), Failure> {
    let text = match format(global) {
        Format::Table => fields(&value),
        Format::Json => pretty(&value)?,
        Format::Jsonl => value.to_string(),
    };
    print(&text)
}

/// Prints a list of things, all objects with the same keys. `headers` are these keys, so that an empty
/// table has a head too.
pub(crate) fn many(global: &Global, headers: &[&str], values: Vec<Value>) -> Result<(), Failure> {
    let text = match format(global) {
        Format::Table => rows(headers, &values),
        Format::Json => pretty(&Value::Array(values))?,
        Format::Jsonl => {
            let lines: Vec<String> = values.iter().map(Value::to_string).collect();
            if lines.is_empty() {
                return Ok(());
            }
            lines.join("\n")
        }
    };
    print(&text)
}

/// Whether data is printed as a table.
pub(crate) fn is_table(global: &Global) -> bool {
    format(global) == Format::Table
}

/// A table goes to a terminal only, unless it was asked for.
fn format(global: &Global) -> Format {
    global.output.unwrap_or_else(|| {
        if std::io::stdout().is_terminal() { Format::Table } else { Format::Json }
    })
}

fn pretty(value: &Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(Failure::error)
}

/// Prints text for people, as it is.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    print(text)
}

/// Prints a line. A reader that has gone away (`… | head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("cannot write to stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn fields(value: &Value) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in value.as_object().unwrap_or(&Map::new()) {
        table.add_row([name.clone(), cell(value)]);
    }
    table.trim_fmt()
}

fn rows(headers: &[&str], values: &[Value]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headers.iter().map(|header| header.to_uppercase()));
    for value in values {
        table.add_row(headers.iter().map(|header| cell(value.get(header).unwrap_or(&Value::Null))));
    }
    table.trim_fmt()
}

/// A value in a table: text as it is, the rest as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_head_even_without_rows() {
        assert_eq!(
            rows(&["id", "age_ms"], &[]).split_whitespace().collect::<Vec<_>>(),
            ["ID", "AGE_MS"]
        );
    }

    #[test]
    fn rows_show_text_as_it_is_and_the_rest_as_json() {
        let text = rows(&["a", "b"], &[serde_json::json!({"a": "x y", "b": [1, null]})]);
        assert!(text.contains("x y") && text.contains("[1,null]"), "{text}");
    }
}
