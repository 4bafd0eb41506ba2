//! Who works for the log's core: whoever comes by.
//!
//! What the core is told waits in a queue. Who puts something in works the queue off at once, unless somebody
//! is at it already, who then sees to this too. So an append goes from its caller's thread straight into the
//! client library, and the report of it from the library's thread straight to the callback: a thread of the
//! core's own between them would have to be woken twice for each append, which on a busy machine takes longer
//! than all that it does. Nobody ever waits for the lock but the thread that looks whether an answer is overdue.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::thread::{self, JoinHandle, Thread, ThreadId};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::Shared;
use super::core::{Core, Input};
use crate::log::{Appended, LogError, ShardBatch};

/// How often it is looked at whether an answer is overdue.
const TICK: Duration = Duration::from_millis(250);
/// The same while the log is being closed.
const CLOSING_TICK: Duration = Duration::from_millis(5);

pub(super) struct Mailbox {
    core: Mutex<Core>,
    input: Sender<Input>,
    arrivals: Receiver<Input>,
    /// Who is at it.
    worker: Mutex<Option<ThreadId>>,
    /// When the thread that looks after the core is to look, if before it would by itself.
    alarm: Mutex<Option<Instant>>,
    looking: OnceLock<Thread>,
}

/// Tells a core something, if its log is still there.
#[derive(Clone)]
pub(super) struct Teller(Weak<Mailbox>);

impl Teller {
    pub(super) fn tell(&self, input: Input) {
        if let Some(mailbox) = self.0.upgrade() {
            mailbox.tell(input);
        }
    }
}

impl Mailbox {
    /// A core at work, and the thread that looks after it until it is [closed](Input::Close).
    pub(super) fn open(shared: Arc<Shared>) -> Result<(Arc<Self>, JoinHandle<()>), LogError> {
        let (input, arrivals) = crossbeam_channel::unbounded();
        let mailbox = Arc::new_cyclic(|teller| {
            let core = Mutex::new(Core::new(shared, Teller(teller.clone())));
            let (worker, alarm, looking) = Default::default();
            Self { core, input, arrivals, worker, alarm, looking }
        });
        mailbox.core.lock().expect("it is new").make_spares();
        let same = Arc::clone(&mailbox);
        let looking =
            thread::Builder::new().name("log-kafka".into()).spawn(move || same.look_after());
        let thread =
            looking.map_err(|source| LogError::Io { action: "start a thread".into(), source })?;
        Ok((mailbox, thread))
    }

    /// Tells the core something, and works for it if nobody does.
    pub(super) fn tell(&self, input: Input) {
        let _ = self.input.send(input); // the other end is ours
        self.work();
    }

    /// Whether it is this thread that works just now, further up.
    pub(super) fn is_at_work_here(&self) -> bool {
        *self.worker() == Some(thread::current().id())
    }

    fn worker(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works off what waits, unless somebody is at it.
    fn work(&self) {
        loop {
            // Either whoever is at it sees what was put in before, or it is seen here that nobody is.
            fence(Ordering::SeqCst);
            if self.arrivals.is_empty() {
                return;
            }
            match self.core.try_lock() {
                Ok(core) => self.at(core, |core| {
                    while let Ok(input) = self.arrivals.try_recv() {
                        core.take(input);
                    }
                    self.look_at(core.gathers_until());
                }),
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(_)) => return self.refuse_all(),
            }
        }
    }

    /// Does something to the core, which may call back.
    fn at<T>(&self, mut core: MutexGuard<'_, Core>, what: impl FnOnce(&mut Core) -> T) -> T {
        *self.worker() = Some(thread::current().id());
        let done = what(&mut core);
        *self.worker() = None;
        done
    }

    /// The core has panicked, which was reported: nobody may wait for it.
    fn refuse_all(&self) {
        while let Ok(input) = self.arrivals.try_recv() {
            if let Input::Append { batches, done, .. } = input {
                let why = || Appended::Rejected { why: "the log has failed".into() };
                done(batches.iter().map(|_: &ShardBatch| why()).collect());
            }
        }
    }

    fn alarm(&self) -> MutexGuard<'_, Option<Instant>> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the core looked after at this time.
    fn look_at(&self, time: Option<Instant>) {
        let mut alarm = self.alarm();
        if let Some(time) = time
            && alarm.is_none_or(|set| time < set)
        {
            *alarm = Some(time);
            if let Some(thread) = self.looking.get() {
                thread.unpark();
            }
        }
    }

    /// Waits for the pause, or the alarm.
    fn wait(&self, pause: Duration) {
        let end = Instant::now() + pause;
        loop {
            let next = self.alarm().map_or(end, |alarm| alarm.min(end));
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                *self.alarm() = None;
                return;
            }
            thread::park_timeout(left);
        }
    }

    fn look_after(&self) {
        let mut pause = TICK;
        self.looking.get_or_init(thread::current);
        loop {
            self.wait(pause);
            let Ok(core) = self.core.lock() else { return self.refuse_all() };
            let (closing, done) = self.at(core, |core| {
                core.tick();
                self.look_at(core.gathers_until());
                let done = core.is_done();
                if done {
                    core.finish();
                }
                (core.is_closing(), done)
            });
            // Whoever came by meanwhile has left it to this thread.
            self.work();
            if done {
                return;
            }
            if closing {
                pause = CLOSING_TICK;
            }
        }
    }
}
