//! The index, or who does what is due, may have a bug that panics: it is asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wal_core::log::memory::MemoryLog;
use wal_core::namespace::{DELAYED_CQL, Namespace};
use wal_core::{Millis, Nonce, ShardId, TxnId};

use crate::outgoing::Name;
use crate::runtime::tests::Ledger;
use crate::runtime::{Members, WhoElse};
use crate::schedule::{
    DelayedTable, Delays, DelaysParts, Entry, EntryCount, EntryState, Filter, Fired, Fires, Index,
    Noted,
};
use crate::store::{Store, Stored};
use crate::target::Later;

/// Panics at the first call of each kind.
#[derive(Default)]
struct Buggy {
    loads: AtomicU32,
    fires: AtomicU32,
}

fn panics_first(calls: &AtomicU32) {
    assert_ne!(calls.fetch_add(1, Ordering::SeqCst), 0, "the first panics");
}

fn due() -> Entry {
    let name = Name { id: TxnId::from_parts(Millis(1_000), 1), index: 0 };
    Entry { due: Millis(1_000), name, shard: ShardId(0), state: EntryState::Pending }
}

impl Index for Buggy {
    fn note(&self, _namespace: &str, _changes: Vec<Noted>) -> Stored<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn entries(
        &self,
        _namespace: &str,
        _filter: Filter,
        after: Option<(Millis, Name)>,
        _limit: u32,
    ) -> Stored<'_, Vec<Entry>> {
        Box::pin(async move {
            panics_first(&self.loads);
            Ok(if after.is_none() { vec![due()] } else { Vec::new() })
        })
    }

    fn count(&self, _namespace: &str) -> Stored<'_, EntryCount> {
        Box::pin(async { Ok(EntryCount::default()) })
    }
}

impl Fires for Buggy {
    fn fire(&self, _shard: ShardId, name: Name, _time: Millis) -> Later<'_, Fired> {
        Box::pin(async move {
            assert_eq!(name, due().name);
            panics_first(&self.fires);
            Fired::Done
        })
    }
}

#[tokio::test]
async fn what_panics_when_something_is_due_is_tried_again() {
    let text = format!(
        "name = \"bank\"\n[[table]]\ncql = \"{DELAYED_CQL}\"\n[delay]\ntable = \"later\"\n"
    );
    let namespace = Namespace::from_toml(&text).expect("a namespace");
    let table = namespace.delayed_table().expect("it is declared").clone();
    let store: Arc<dyn Store> = Arc::new(Ledger::default());
    let buggy = Arc::new(Buggy::default());
    let delays = Delays::start(DelaysParts {
        namespace: namespace.name().into(),
        shards: 1,
        log: Arc::new(MemoryLog::new(Nonce(1))),
        table: DelayedTable::new(table).expect("it has all columns"),
        store: Arc::clone(&store),
        index: Arc::clone(&buggy) as _,
        fires_here: true,
        fires: Arc::clone(&buggy) as _,
        in_flight: 8,
        members: Members::start(store, WhoElse::Nobody),
        seed: 7,
    });
    let done = async {
        while buggy.fires.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), done).await;
    assert!(in_time.is_ok(), "it was not tried again");
    assert!(buggy.loads.load(Ordering::SeqCst) >= 2);
    delays.stop(Duration::from_secs(60)).await;
}
