//! Which mutations go out together: one unlogged batch per replica set, within what the server takes
//! without a warning. Pure.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;
use wal_core::{Row, RowKey, RowMutation, TableId};

/// `batch_size_warn_threshold` of a server that nobody has tuned.
pub(super) const MAX_BATCH_BYTES: usize = 5 << 10;
/// `unlogged_batch_across_partitions_warn_threshold` of such a server.
pub(super) const MAX_BATCH_PARTITIONS: usize = 10;

/// The replicas of a partition in the local data centre, sorted: who gets the same batch.
pub(super) type ReplicaSet = SmallVec<[u128; 3]>;

/// Indices of the mutations of one batch, those of one partition together and in the order given.
pub(super) type Batch = Vec<usize>;

/// The mutations of one partition. Never split: one batch applies them as one.
#[derive(Default)]
struct Share {
    mutations: SmallVec<[usize; 2]>,
    bytes: usize,
}

#[derive(Default)]
struct Open {
    batch: Batch,
    bytes: usize,
    partitions: usize,
}

/// Puts mutations into batches. A partition is in exactly one of them. `None` for a replica set that is
/// not known: its partitions go alone.
pub(super) fn plan(
    mutations: &[RowMutation],
    mut replicas: impl FnMut(&RowKey) -> Option<ReplicaSet>,
) -> Vec<Batch> {
    let mut shares: IndexMap<(TableId, &[u8]), Share, FxBuildHasher> = IndexMap::default();
    for (index, RowMutation { key, delta }) in mutations.iter().enumerate() {
        let share = shares.entry((key.table, &key.partition)).or_default();
        share.mutations.push(index);
        share.bytes += bytes_in_batch(key, delta);
    }
    let mut open: IndexMap<ReplicaSet, Open, FxBuildHasher> = IndexMap::default();
    let mut batches = Vec::new();
    for share in shares.into_values() {
        let set = replicas(&mutations[share.mutations[0]].key);
        let Some(set) = set.filter(|_| share.bytes <= MAX_BATCH_BYTES) else {
            batches.push(share.mutations.into_vec());
            continue;
        };
        let open = open.entry(set).or_default();
        if open.bytes + share.bytes > MAX_BATCH_BYTES || open.partitions == MAX_BATCH_PARTITIONS {
            batches.push(std::mem::take(open).batch);
        }
        open.batch.extend(share.mutations);
        open.bytes += share.bytes;
        open.partitions += 1;
    }
    batches.extend(open.into_values().map(|open| open.batch).filter(|batch| !batch.is_empty()));
    batches
}

/// What a mutation adds to the size that the server looks at, rather too much than too little.
fn bytes_in_batch(key: &RowKey, delta: &Row) -> usize {
    let cells: usize = delta
        .cells
        .iter()
        .map(|cell| 32 + cell.value.as_ref().map_or(0, |value| value.len()))
        .sum();
    64 + key.partition.len() + key.clustering.len() + cells
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;
    use wal_core::{Cell, ColumnId, Timestamp};

    use super::*;

    fn mutation(table: u32, partition: u8, bytes: usize) -> RowMutation {
        let cell = Cell {
            column: ColumnId(1),
            timestamp: Timestamp(1),
            value: Some(Bytes::from(vec![0; bytes])),
        };
        RowMutation {
            key: RowKey {
                table: TableId(table),
                partition: vec![partition].into(),
                clustering: Bytes::new(),
            },
            delta: Row { cells: vec![cell], ..Row::default() },
        }
    }

    fn set_of(key: &RowKey) -> ReplicaSet {
        ReplicaSet::from_slice(&[u128::from(key.partition[0] % 3)])
    }

    proptest! {
        #[test]
        fn every_mutation_is_in_one_batch_within_the_bounds(
            drawn in proptest::collection::vec((0u32..2, 0u8..40, 0usize..2500), 0..60),
        ) {
            let mutations: Vec<_> =
                drawn.into_iter().map(|(table, key, bytes)| mutation(table, key, bytes)).collect();
            let batches = plan(&mutations, |key| Some(set_of(key)));
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..mutations.len()).collect::<Vec<_>>());
            let mut partitions_seen = BTreeSet::new();
            for batch in &batches {
                let of = |index: &usize| &mutations[*index];
                let partitions: BTreeSet<_> =
                    batch.iter().map(|i| (of(i).key.table, of(i).key.partition.clone())).collect();
                let sets: BTreeSet<_> = batch.iter().map(|i| set_of(&of(i).key)).collect();
                let bytes: usize =
                    batch.iter().map(|i| bytes_in_batch(&of(i).key, &of(i).delta)).sum();
                prop_assert_eq!(sets.len(), 1);
                prop_assert!(partitions.len() <= MAX_BATCH_PARTITIONS);
                prop_assert!(bytes <= MAX_BATCH_BYTES || partitions.len() == 1);
                for partition in partitions {
                    prop_assert!(partitions_seen.insert(partition), "a partition is split");
                }
            }
        }
    }

    #[test]
    fn the_order_of_one_partition_is_kept() {
        let mutations: Vec<_> = [1, 2, 1, 1, 2].map(|p| mutation(0, p, 8)).to_vec();
        let batches = plan(&mutations, |_| Some(ReplicaSet::new()));
        assert_eq!(batches, [vec![0, 2, 3, 1, 4]]);
    }

    #[test]
    fn ten_small_rows_are_one_batch_and_unknown_replicas_are_alone() {
        let mutations: Vec<_> = (0..10).map(|p| mutation(0, p, 8)).collect();
        assert_eq!(plan(&mutations, |_| Some(ReplicaSet::new())).len(), 1);
        assert_eq!(plan(&mutations, |_| None).len(), 10);
    }
}
