//! Two owners of one log over a bad network: what was durable stays, what was rejected never comes, and a
//! deposed owner appends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handfast_maelstrom::kv::Kv;
use handfast_maelstrom::kv::memory::{Faults, FaultyKv};
use handfast_maelstrom::log::{LinKvLog, Options, read_shard};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wal_core::log::conformance::{append, batch};
use wal_core::log::{Appended, IntentLog, ShardBatch};
use wal_core::{Epoch, Position, ShardId};

const SHARD: ShardId = ShardId(3);

fn open(kv: &Arc<FaultyKv>, owner: u64, patience_ms: u64) -> LinKvLog {
    let shared: Arc<dyn Kv> = kv.clone();
    let options = Options {
        append_patience: Duration::from_millis(patience_ms),
        read_patience: Duration::from_secs(10),
    };
    LinKvLog::open(shared, owner, options).expect("the log opens")
}

fn records(log: &LinKvLog) -> Vec<Bytes> {
    let (records, _) = read_shard(log, SHARD, Position(0)).expect("a readable log");
    records.into_iter().map(|(_, record)| record).collect()
}

#[test]
fn what_is_said_of_an_append_is_so_for_ever() {
    let (mut durable, mut rejected, mut unknown) = (0, 0, 0);
    for seed in 0..25 {
        let faults = Faults { lost: 60, answer_lost: 60, repeated: 40, late: 60 };
        let kv = Arc::new(FaultyKv::new(seed, faults));
        let mut random = StdRng::seed_from_u64(seed);
        // With no patience every lost answer is a doubt; with some, it is asked for again.
        let owners = [open(&kv, 1, 0), open(&kv, 2, 0), open(&kv, 3, 40)];
        let mut epochs = [Epoch(0); 3];
        let mut said: Vec<(ShardBatch, Appended)> = Vec::new();
        for number in 0..40 {
            let one = random.random_range(0..owners.len());
            let next = Epoch(epochs.iter().map(|epoch| epoch.0).max().unwrap_or_default() + 1);
            if epochs[one] == Epoch(0) || random.random_bool(0.2) {
                // A candidate reads everything, then appends under the next epoch.
                records(&owners[one]);
                epochs[one] = next;
            }
            let batch = batch(SHARD, epochs[one], number * 10, 1 + number % 3, 20);
            let answer = append(&owners[one], vec![batch.clone()]).pop().expect("one answer");
            if !matches!(answer, Appended::Durable { .. }) {
                epochs[one] = Epoch(0);
            }
            said.push((batch, answer));
        }
        // Whatever is still on its way may land now.
        kv.set_faults(Faults::default());
        let last = open(&kv, 4, 1_000);
        records(&last);
        let end = batch(SHARD, Epoch(10_000), 9_999, 1, 20);
        let ended = append(&last, vec![end.clone()]);
        assert!(matches!(ended[..], [Appended::Durable { .. }]), "seed {seed}: {ended:?}");
        for _ in 0..30 {
            records(&last);
        }
        let found = records(&last);
        assert_eq!(found.last(), end.records().next().as_ref(), "seed {seed}: nothing comes late");
        let mut places: BTreeMap<&Bytes, usize> = BTreeMap::new();
        for (place, record) in found.iter().enumerate() {
            assert_eq!(places.insert(record, place), None, "seed {seed}: a record is there twice");
        }
        let mut newest = 0;
        for (batch, answer) in &said {
            let there: Vec<Option<usize>> =
                batch.records().map(|record| places.get(&record).copied()).collect();
            let whole = there.windows(2).all(|pair| match pair {
                [Some(a), Some(b)] => a + 1 == *b,
                [a, b] => a.is_none() && b.is_none(),
                _ => false,
            });
            assert!(whole, "seed {seed}: a batch is torn");
            match (answer, there[0]) {
                (Appended::Durable { .. }, Some(place)) => {
                    assert!(place >= newest, "seed {seed}: out of the order of answers");
                    newest = place;
                    durable += 1;
                }
                (Appended::Rejected { .. }, None) => rejected += 1,
                (Appended::Unknown { .. }, _) => unknown += 1,
                (said, found) => panic!("seed {seed}: {said:?}, and it is at {found:?}"),
            }
        }
    }
    assert!(durable > 200 && rejected > 200 && unknown > 50, "{durable} {rejected} {unknown}");
}

#[test]
fn a_deposed_owner_appends_nothing() {
    let kv = Arc::new(FaultyKv::new(1, Faults::default()));
    let (old, new) = (open(&kv, 1, 100), open(&kv, 2, 100));
    append(&old, vec![batch(SHARD, Epoch(1), 0, 3, 10)]);
    records(&new);
    append(&new, vec![batch(SHARD, Epoch(2), 0, 1, 10)]);
    for number in 3..6 {
        let answers = append(&old, vec![batch(SHARD, Epoch(1), number, 1, 10)]);
        assert!(matches!(answers[..], [Appended::Rejected { .. }]), "{answers:?}");
    }
    assert_eq!(records(&new).len(), 4);
    // Nor after it has read what came after it, without a new epoch.
    let (third, fourth) = (open(&kv, 3, 100), open(&kv, 4, 100));
    records(&third);
    append(&third, vec![batch(SHARD, Epoch(3), 0, 1, 10)]);
    records(&fourth);
    append(&fourth, vec![batch(SHARD, Epoch(4), 0, 1, 10)]);
    records(&third);
    let answers = append(&third, vec![batch(SHARD, Epoch(3), 1, 1, 10)]);
    assert!(matches!(answers[..], [Appended::Rejected { .. }]), "{answers:?}");
    assert!(old.identity() == new.identity(), "one log");
}
