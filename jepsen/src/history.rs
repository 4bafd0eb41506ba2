//! The history: every operation when it begins and when it ends, in the order in which that happened.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use tokio::time::Instant;

use crate::value::Value;

/// What an event says of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// It begins.
    Invoke,
    /// It happened.
    Ok,
    /// It provably did not happen, and never will.
    Fail,
    /// Nobody knows whether it happened.
    Info,
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }
}

/// An event, but for when it happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) kind: Type,
    pub(crate) process: i64,
    pub(crate) f: &'static str,
    pub(crate) value: Value,
    /// More that is known: the transaction's id, its commit timestamp, why it failed.
    pub(crate) more: Vec<(&'static str, Value)>,
}

/// A file of events, as EDN and as JSON lines.
pub(crate) struct History {
    start: Instant,
    files: Mutex<Files>,
}

struct Files {
    edn: BufWriter<File>,
    json: BufWriter<File>,
    next: i64,
}

impl History {
    /// Creates `<name>.edn` and `<name>.jsonl` in a folder.
    pub(crate) fn create(folder: &Path, name: &str, start: Instant) -> anyhow::Result<Self> {
        let create = |end: &str| File::create(folder.join(format!("{name}.{end}")));
        let (edn, json) = (BufWriter::new(create("edn")?), BufWriter::new(create("jsonl")?));
        Ok(Self { start, files: Mutex::new(Files { edn, json, next: 0 }) })
    }

    /// Writes an event down; when it happened, in nanoseconds since the run began.
    ///
    /// The time is taken under the lock, so that the order of lines is the order of times.
    pub(crate) fn write(&self, event: Event) -> anyhow::Result<u64> {
        let mut files = self.files.lock().expect("no holder of this lock panics");
        let time = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let keyword = Value::Keyword;
        let mut entries = vec![
            (keyword("index"), files.next.into()),
            (keyword("type"), keyword(event.kind.name())),
            (keyword("process"), event.process.into()),
            (keyword("f"), keyword(event.f)),
            (keyword("value"), event.value),
            (keyword("time"), i64::try_from(time).unwrap_or(i64::MAX).into()),
        ];
        entries.extend(event.more.into_iter().map(|(key, value)| (keyword(key), value)));
        files.next += 1;
        let line = Value::Map(entries);
        let mut edn = String::new();
        line.write_edn(&mut edn);
        writeln!(files.edn, "{edn}")?;
        writeln!(files.json, "{}", line.to_json())?;
        Ok(time)
    }

    /// When the run began.
    pub(crate) const fn start(&self) -> Instant {
        self.start
    }

    /// Brings everything to the files.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        let mut files = self.files.lock().expect("no holder of this lock panics");
        files.edn.flush()?;
        Ok(files.json.flush()?)
    }
}
