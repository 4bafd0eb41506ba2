//! Who delivers: the processes that are alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::store::Store;

/// How often a process beats.
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// Who has not beaten for so long is gone: what it claimed may be claimed by others.
const GONE_AFTER: Duration = Duration::from_secs(5);
/// Who has not beaten for so long is removed.
const REMOVED_AFTER: Duration = Duration::from_secs(120);

/// Whether others may deliver the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoElse {
    /// Nobody: this process alone has the data folder. What somebody has claimed was claimed by a process that
    /// is gone.
    Nobody,
    /// Others of the cluster.
    Others,
}

/// The processes that are alive, as this one sees it. Cheap to clone; ends when all clones are dropped.
#[derive(Clone, Debug)]
pub struct Members {
    /// This process.
    pub(super) me: Uuid,
    /// Empty until the store has answered once.
    pub(super) alive: watch::Receiver<BTreeSet<Uuid>>,
    /// Told when this process leaves.
    leaving: Arc<Notify>,
}

impl Members {
    /// Begins to beat. Runs on the current tokio runtime.
    pub fn start(store: Arc<dyn Store>, who_else: WhoElse) -> Self {
        let me = Uuid::now_v7();
        let (shown, alive) = watch::channel(BTreeSet::new());
        let leaving = Arc::new(Notify::new());
        match who_else {
            WhoElse::Nobody => {
                shown.send_replace(BTreeSet::from([me]));
            }
            WhoElse::Others => {
                tokio::spawn(beat(store, me, shown, Arc::clone(&leaving)));
            }
        }
        Self { me, alive, leaving }
    }

    /// Beats no more and says so, that others need not wait for a beat; at most for `patience`. What this process
    /// has claimed still is free for others then: first everything is to be let go in order.
    pub async fn leave(&self, patience: Duration) {
        self.leaving.notify_one();
        let mut alive = self.alive.clone();
        let has_left = async { while alive.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(patience, has_left).await; // others miss the beats, then
    }

    /// Who is alive, as far as this process knows.
    pub(crate) fn alive(&self) -> BTreeSet<Uuid> {
        self.alive.borrow().clone()
    }

    /// The name of this process.
    pub const fn me(&self) -> Uuid {
        self.me
    }
}

/// Ends when this process has left, or nobody wants to know any more who is alive.
async fn beat(
    store: Arc<dyn Store>,
    me: Uuid,
    shown: watch::Sender<BTreeSet<Uuid>>,
    leaving: Arc<Notify>,
) {
    let mut pulses = Pulses::default();
    let mut is_away = false;
    let mut every = tokio::time::interval(BEAT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !shown.is_closed() {
        // Between two beats only: one that is under way must not come behind the farewell, which it would undo.
        tokio::select! {
            _ = every.tick() => {}
            () = leaving.notified() => {
                if let Err(error) = store.leave(me).await {
                    tracing::debug!(%error, "others were not told that this process has stopped");
                }
                return;
            }
        }
        match store.beat(me).await {
            Ok(beats) => {
                is_away = false;
                let (alive, gone) = pulses.take(me, &beats, Instant::now());
                shown.send_if_modified(|known| {
                    let is_news = *known != alive;
                    *known = alive;
                    is_news
                });
                for process in gone {
                    let _ = store.leave(process).await; // next time, then
                }
            }
            Err(error) => {
                if !is_away {
                    tracing::warn!(%error, "this process cannot tell others that it delivers");
                }
                is_away = true;
            }
        }
    }
}

/// When each process was last seen to have beaten, by this one's clock: no clocks are compared.
#[derive(Debug, Default)]
struct Pulses(BTreeMap<Uuid, (u64, Instant)>);

impl Pulses {
    /// Who is alive, and who has been silent for very long.
    fn take(
        &mut self,
        me: Uuid,
        beats: &[(Uuid, u64)],
        now: Instant,
    ) -> (BTreeSet<Uuid>, Vec<Uuid>) {
        self.0.retain(|process, _| beats.iter().any(|(it, _)| it == process));
        for (process, count) in beats {
            let pulse = self.0.entry(*process).or_insert((*count, now));
            if pulse.0 != *count {
                *pulse = (*count, now);
            }
        }
        let silent = |at: &Instant| now.saturating_duration_since(*at);
        let is_alive = |(process, (_, at)): &(&Uuid, &(u64, Instant))| {
            **process == me || silent(at) < GONE_AFTER
        };
        let alive = self.0.iter().filter(is_alive).map(|(process, _)| *process).collect();
        let gone = self.0.iter().filter(|(_, (_, at))| silent(at) >= REMOVED_AFTER);
        (alive, gone.map(|(process, _)| *process).filter(|it| *it != me).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_beats_no_more_is_gone_and_later_removed() {
        let [me, other] = [1, 2].map(Uuid::from_u128);
        let start = Instant::now();
        let mut pulses = Pulses::default();
        let at = |s| start + Duration::from_secs(s);
        let both = BTreeSet::from([me, other]);
        assert_eq!(pulses.take(me, &[(me, 1), (other, 900)], start), (both.clone(), vec![]));
        assert_eq!(pulses.take(me, &[(me, 2), (other, 900)], at(4)), (both.clone(), vec![]));
        let alone = BTreeSet::from([me]);
        assert_eq!(pulses.take(me, &[(me, 3), (other, 900)], at(6)), (alone.clone(), vec![]));
        assert_eq!(pulses.take(me, &[(me, 3), (other, 901)], at(7)), (both, vec![]));
        let removed = (alone, vec![other]);
        assert_eq!(pulses.take(me, &[(me, 3), (other, 901)], at(200)), removed);
    }

    #[test]
    fn who_has_left_is_gone_at_once_and_may_come_back() {
        let [me, other] = [1, 2].map(Uuid::from_u128);
        let start = Instant::now();
        let mut pulses = Pulses::default();
        let at = |ms| start + Duration::from_millis(ms);
        let (both, alone) = (BTreeSet::from([me, other]), BTreeSet::from([me]));
        assert_eq!(pulses.take(me, &[(me, 1), (other, 900)], start), (both.clone(), vec![]));
        assert_eq!(pulses.take(me, &[(me, 2)], at(500)), (alone, vec![]));
        assert_eq!(pulses.take(me, &[(me, 3), (other, 1)], at(1_000)), (both, vec![]));
    }
}
