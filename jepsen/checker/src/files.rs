//! Histories as files: EDN and JSON lines, read and written one event at a time.

use std::io::{Read, Write};

use crate::edn::{self, EdnReader};
use crate::error::{HistoryError, Problem};
use crate::event::Event;
use crate::history::{Builder, History};
use crate::json::JsonReader;
use crate::value::Value;

/// How a history is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As Jepsen's Elle reads it: a map a line.
    Edn,
    /// A JSON object a line.
    JsonLines,
}

impl Format {
    /// By the end of a file's name: `.edn`, or `.jsonl`, `.json` and `.ndjson`.
    pub fn of(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "edn" => Some(Self::Edn),
            "jsonl" | "json" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// Reads events one after the other; of the file it holds one chunk and one event.
///
/// After an error it gives nothing more.
#[derive(Debug)]
pub struct EventReader<R> {
    from: From<R>,
    /// Where the last event began.
    place: (u64, u64),
    broken: bool,
}

#[derive(Debug)]
enum From<R> {
    Edn(EdnReader<R>),
    JsonLines(JsonReader<R>),
}

impl<R: Read> EventReader<R> {
    /// Of a file in this format. It has a buffer of its own.
    pub fn new(from: R, format: Format) -> Self {
        let from = match format {
            Format::Edn => From::Edn(EdnReader::new(from)),
            Format::JsonLines => From::JsonLines(JsonReader::new(from)),
        };
        Self { from, place: (1, 1), broken: false }
    }

    /// The line and the column where the last event began, from 1.
    pub const fn place(&self) -> (u64, u64) {
        self.place
    }

    fn read(&mut self) -> Result<Option<Event>, HistoryError> {
        let next = match &mut self.from {
            From::Edn(reader) => reader.next_value()?,
            From::JsonLines(reader) => reader.next_value()?,
        };
        let Some((line, column, value)) = next else { return Ok(None) };
        self.place = (line, column);
        Event::from_value(value).map(Some).map_err(|problem| problem.at(line, column))
    }

    /// At the end of what was read.
    fn wrong(&self, problem: Problem) -> HistoryError {
        match &self.from {
            From::Edn(reader) => reader.wrong(problem),
            From::JsonLines(reader) => reader.wrong(problem),
        }
    }
}

impl<R: Read> Iterator for EventReader<R> {
    type Item = Result<Event, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let read = self.read();
        self.broken = read.is_err();
        read.transpose()
    }
}

/// Reads a whole history.
pub fn read(from: impl Read, format: Format) -> Result<History, HistoryError> {
    let (builder, end) = collect(Builder::default(), from, format)?;
    builder.finish().map_err(end)
}

/// Reads a whole history, and another file with completions of operations that it leaves as `:info`.
pub fn read_resolved(
    history: impl Read,
    format: Format,
    resolved: impl Read,
    resolved_format: Format,
) -> Result<History, (Part, HistoryError)> {
    let here = |error| (Part::History, error);
    let (mut builder, end) = collect(Builder::default(), history, format).map_err(here)?;
    let mut events = EventReader::new(resolved, resolved_format);
    while let Some(event) = events.next() {
        let event = event.map_err(|error| (Part::Resolved, error))?;
        let (line, column) = events.place();
        builder.resolve(&event).map_err(|problem| (Part::Resolved, problem.at(line, column)))?;
    }
    builder.finish().map_err(end).map_err(here)
}

/// Which of two files is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The history.
    History,
    /// The file of what became of its `:info` operations.
    Resolved,
}

/// The second result says where the file ended.
fn collect(
    mut builder: Builder,
    from: impl Read,
    format: Format,
) -> Result<(Builder, impl Fn(Problem) -> HistoryError), HistoryError> {
    let mut events = EventReader::new(from, format);
    while let Some(event) = events.next() {
        let (line, column) = events.place();
        builder.push(&event?).map_err(|problem| problem.at(line, column))?;
    }
    let end = events.wrong(Problem::Empty);
    Ok((builder, move |problem: Problem| problem.at(end.line, end.column)))
}

/// Reads a whole history in EDN.
pub fn read_edn(from: impl Read) -> Result<History, HistoryError> {
    read(from, Format::Edn)
}

/// Reads a whole history in JSON lines.
pub fn read_jsonl(from: impl Read) -> Result<History, HistoryError> {
    read(from, Format::JsonLines)
}

/// Writes one event, as one line of EDN. `to` should have a buffer.
pub fn write_edn(to: &mut impl Write, event: &Event) -> std::io::Result<()> {
    let mut line = String::new();
    edn::write(&event.to_value(&Value::keyword("nemesis")), &mut line);
    line.push('\n');
    to.write_all(line.as_bytes())
}

/// Writes one event, as one line of JSON. `to` should have a buffer.
pub fn write_jsonl(to: &mut impl Write, event: &Event) -> std::io::Result<()> {
    let value = event.to_value(&crate::event::NEMESIS.into());
    serde_json::to_writer(&mut *to, &value)?;
    to.write_all(b"\n")
}

/// Writes one event in a format. `to` should have a buffer.
pub fn write(to: &mut impl Write, format: Format, event: &Event) -> std::io::Result<()> {
    match format {
        Format::Edn => write_edn(to, event),
        Format::JsonLines => write_jsonl(to, event),
    }
}

/// Writes a whole history. What it does not keep, such as ids and errors, is not written.
pub fn write_history(
    to: &mut impl Write,
    format: Format,
    history: &History,
) -> std::io::Result<()> {
    history.events().try_for_each(|event| write(to, format, &event))
}
