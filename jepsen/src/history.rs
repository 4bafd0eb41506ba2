//! The history file of a run: every operation when it begins and when it ends, in the order in which that
//! happened, as EDN and as JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use handfast_checker::{Event, write_edn, write_jsonl};
use tokio::time::Instant;

use crate::timeline::nanos;

/// A file of events, in both formats.
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
    pub(crate) fn write(&self, mut event: Event) -> anyhow::Result<u64> {
        let mut files = self.files.lock().expect("no holder of this lock panics");
        let time = nanos(self.start.elapsed());
        event.index = Some(files.next);
        event.time = Some(time);
        files.next += 1;
        write_edn(&mut files.edn, &event)?;
        write_jsonl(&mut files.json, &event)?;
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
