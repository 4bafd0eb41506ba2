//! The history: every operation when it begins and when it ends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use handfast_checker::{Event, NEMESIS, Type, Value};

/// Takes events down, in the order in which they happen.
pub(super) struct Recorder {
    start: Instant,
    events: Mutex<Vec<Event>>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), events: Mutex::default() }
    }

    /// Takes an event down. The time is read under the lock, so that lines are in the order of times.
    pub(super) fn write(&self, mut event: Event) -> Instant {
        let mut events = self.lock();
        let now = Instant::now();
        let nanos = now.duration_since(self.start).as_nanos();
        event.time = Some(u64::try_from(nanos).unwrap_or(u64::MAX));
        event.index = Some(events.len() as u64);
        events.push(event);
        now
    }

    /// Something happens to the cluster.
    pub(super) fn fault(&self, what: &str, whom: &str) {
        self.write(Event::new(Type::Info, NEMESIS, what, Value::from(whom)));
    }

    /// Everything that was taken down.
    pub(super) fn finish(&self) -> Vec<Event> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
