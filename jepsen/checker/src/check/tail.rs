//! Readers of the newest known version of a key, and writers that come after it in an order nobody saw.

use super::graph::Edges;
use crate::verdict::Relation;

/// Every reader comes before every writer but itself.
///
/// Both lists name a transaction once. Edges are as many as readers and writers together, and a product
/// only of those that are both, of which the first two show a cycle.
pub(crate) fn order(edges: &mut Edges, key: u32, readers: &[u32], writers: &[u32]) {
    if readers.is_empty() || writers.is_empty() {
        return;
    }
    let writes: rustc_hash::FxHashSet<u32> = writers.iter().copied().collect();
    let (both, only): (Vec<u32>, Vec<u32>) = readers.iter().partition(|it| writes.contains(it));
    if !only.is_empty() {
        let relay = edges.relay();
        for reader in &only {
            edges.add(*reader, relay, Relation::ReadWrite, key);
        }
        for writer in writers {
            edges.add(relay, *writer, Relation::ReadWrite, key);
        }
    }
    for (number, reader) in both.iter().enumerate() {
        if number < 2 {
            for writer in writers {
                edges.add(*reader, *writer, Relation::ReadWrite, key);
            }
        } else {
            edges.add(*reader, both[0], Relation::ReadWrite, key);
        }
    }
}
