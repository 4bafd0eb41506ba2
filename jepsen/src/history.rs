//! The history as it is made: every event with its time, as EDN and as JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Mutex;

use handfast_checker::{Event, write_edn, write_jsonl};
use tokio::time::Instant;

/// A file of events, as EDN and as JSON lines.
pub(crate) struct History {
    start: Instant,
    files: Mutex<Files>,
}

struct Files {
    edn: BufWriter<File>,
    json: BufWriter<File>,
    next: u64,
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
        let event = Event { index: Some(files.next), time: Some(time), ..event };
        files.next += 1;
        write_edn(&mut files.edn, &event)?;
        write_jsonl(&mut files.json, &event)?;
        Ok(time)
    }

    /// Brings everything to the files.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        let mut files = self.files.lock().expect("no holder of this lock panics");
        files.edn.flush()?;
        Ok(files.json.flush()?)
    }
}
