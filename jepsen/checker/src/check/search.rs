//! A serial order that explains all reads, searched for step by step: of the transactions that nothing
//! holds back, one that reads what is there. What only reads goes at once; where several could write, one
//! is tried after the other. A place where the search has been before is not searched again.

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::Graph;
use crate::history::Atom;

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Searched {
    /// There is a serial order.
    Found,
    /// There is none: all were tried.
    None,
    /// Too many steps.
    GaveUp,
}

/// What a serial order has to explain.
#[derive(Debug)]
pub(crate) struct Task {
    keys: usize,
    /// What each transaction reads and leaves, from outside.
    reads: Vec<Vec<(u32, Atom)>>,
    writes: Vec<Vec<(u32, Atom)>>,
    /// Those that happened, and the order in which they are tried: by when they were over.
    rank: Vec<Option<u32>>,
    count: usize,
    /// How many read each version that only one transaction wrote.
    readers: FxHashMap<(u32, Atom), u32>,
}

impl Task {
    pub(crate) fn new(keys: usize, operations: usize) -> Self {
        Self {
            keys,
            reads: vec![Vec::new(); operations],
            writes: vec![Vec::new(); operations],
            rank: vec![None; operations],
            count: 0,
            readers: FxHashMap::default(),
        }
    }

    /// A transaction that happened.
    pub(crate) fn add(&mut self, txn: u32, end: Option<u32>) {
        self.rank[txn as usize] = Some(end.unwrap_or(u32::MAX));
        self.count += 1;
    }

    /// What it found; `unique` if that version is there once at most.
    pub(crate) fn read(&mut self, txn: u32, key: u32, value: Atom, unique: bool) {
        self.reads[txn as usize].push((key, value));
        if unique {
            *self.readers.entry((key, value)).or_default() += 1;
        }
    }

    /// What it left.
    pub(crate) fn write(&mut self, txn: u32, key: u32, value: Atom) {
        self.writes[txn as usize].push((key, value));
    }
}

/// Searches; the graph's edges hold in every serial order.
pub(crate) fn serial_order(task: &Task, graph: &Graph, steps: u64) -> Searched {
    Search::new(task, graph).run(steps.saturating_add(task.count as u64 * 8))
}

struct Search<'a> {
    task: &'a Task,
    graph: &'a Graph,
    /// What holds each node back.
    incoming: Vec<u32>,
    /// What nothing holds back, by rank.
    free: BTreeSet<(u32, u32)>,
    now: Vec<Atom>,
    readers: FxHashMap<(u32, Atom), u32>,
    done: usize,
    /// A fingerprint of what is done and what is there, of 128 bits so that none is met twice by chance.
    place: u128,
    been: FxHashSet<u128>,
}

/// A transaction that was placed, and what it overwrote.
struct Placed {
    txn: u32,
    before: Vec<(u32, Atom)>,
}

/// A place where several could go next.
struct Fork {
    /// How many were placed before.
    depth: usize,
    choices: Vec<u32>,
}

impl<'a> Search<'a> {
    fn new(task: &'a Task, graph: &'a Graph) -> Self {
        let mut incoming = vec![0; graph.nodes()];
        for node in 0..graph.nodes() as u32 {
            for edge in graph.edges(node) {
                incoming[edge.to as usize] += 1;
            }
        }
        let mut it = Self {
            task,
            graph,
            incoming,
            free: BTreeSet::new(),
            now: vec![Atom::NIL; task.keys],
            readers: task.readers.clone(),
            done: 0,
            place: 0,
            been: FxHashSet::default(),
        };
        let free: Vec<u32> =
            (0..graph.nodes() as u32).filter(|node| it.incoming[*node as usize] == 0).collect();
        for node in free {
            it.set_free(node);
        }
        it
    }

    fn run(&mut self, mut steps: u64) -> Searched {
        let mut placed: Vec<Placed> = Vec::new();
        let mut forks: Vec<Fork> = Vec::new();
        loop {
            if self.done == self.task.count {
                return Searched::Found;
            }
            let mut choices = Vec::new();
            let mut next = None;
            for (_, txn) in &self.free {
                steps = steps.saturating_sub(1);
                if self.fits(*txn) {
                    if self.task.writes[*txn as usize].is_empty() {
                        next = Some(*txn);
                        break;
                    }
                    choices.push(*txn);
                }
            }
            if steps == 0 {
                return Searched::GaveUp;
            }
            if next.is_none() {
                choices.reverse();
                next = choices.pop();
                if !choices.is_empty() {
                    forks.push(Fork { depth: placed.len(), choices });
                }
            }
            let mut next = next.map(|txn| self.place(txn));
            // Only forks can lead to one place by two ways.
            while next.is_none() || !forks.is_empty() && !self.been.insert(self.place) {
                placed.extend(next.take());
                let Some(fork) = forks.last_mut() else { return Searched::None };
                while placed.len() > fork.depth {
                    let last = placed.pop().expect("more than the depth");
                    self.take_back(last);
                }
                match fork.choices.pop() {
                    Some(txn) => next = Some(self.place(txn)),
                    None => {
                        forks.pop();
                    }
                }
                steps = steps.saturating_sub(1);
            }
            placed.extend(next);
        }
    }

    /// Whether a transaction reads what is there, and overwrites nothing that others have yet to read.
    fn fits(&self, txn: u32) -> bool {
        let reads = &self.task.reads[txn as usize];
        reads.iter().all(|(key, value)| self.now[*key as usize] == *value)
            && self.task.writes[txn as usize].iter().all(|(key, _)| {
                let own = reads.iter().any(|read| read.0 == *key);
                let left = self.readers.get(&(*key, self.now[*key as usize]));
                left.copied().unwrap_or(0) <= u32::from(own)
            })
    }

    fn place(&mut self, txn: u32) -> Placed {
        let task = self.task;
        self.free.remove(&(self.rank(txn), txn));
        for (key, value) in &task.reads[txn as usize] {
            if let Some(left) = self.readers.get_mut(&(*key, *value)) {
                *left -= 1;
            }
        }
        let mut before = Vec::new();
        for (key, value) in &task.writes[txn as usize] {
            before.push((*key, self.now[*key as usize]));
            self.set(*key, *value);
        }
        self.place ^= mix(u64::from(txn) << 1);
        self.done += 1;
        self.release(txn);
        Placed { txn, before }
    }

    fn take_back(&mut self, placed: Placed) {
        let (task, txn) = (self.task, placed.txn);
        self.hold(txn);
        self.done -= 1;
        self.place ^= mix(u64::from(txn) << 1);
        for (key, value) in placed.before {
            self.set(key, value);
        }
        for (key, value) in &task.reads[txn as usize] {
            if let Some(left) = self.readers.get_mut(&(*key, *value)) {
                *left += 1;
            }
        }
        self.free.insert((self.rank(txn), txn));
    }

    fn set(&mut self, key: u32, value: Atom) {
        let before = std::mem::replace(&mut self.now[key as usize], value);
        for it in [before, value] {
            let entry = u64::from(key) << 32 | u64::from(it.number());
            self.place ^= mix(entry << 1 | 1);
        }
    }

    fn rank(&self, txn: u32) -> u32 {
        self.task.rank[txn as usize].expect("only what happened is placed")
    }

    /// A node that nothing holds back any more; relays let go at once.
    fn set_free(&mut self, node: u32) {
        if !self.graph.is_txn(node) {
            self.release(node);
        } else if self.task.rank[node as usize].is_some() {
            self.free.insert((self.rank(node), node));
        }
    }

    fn release(&mut self, node: u32) {
        let graph = self.graph;
        for edge in graph.edges(node) {
            self.incoming[edge.to as usize] -= 1;
            if self.incoming[edge.to as usize] == 0 {
                self.set_free(edge.to);
            }
        }
    }

    /// The opposite of `release`.
    fn hold(&mut self, node: u32) {
        let graph = self.graph;
        for edge in graph.edges(node) {
            if self.incoming[edge.to as usize] == 0 {
                if !graph.is_txn(edge.to) {
                    self.hold(edge.to);
                } else if self.task.rank[edge.to as usize].is_some() {
                    self.free.remove(&(self.rank(edge.to), edge.to));
                }
            }
            self.incoming[edge.to as usize] += 1;
        }
    }
}

/// Spreads a number over 128 bits (the finalizer of SplitMix64, twice).
fn mix(number: u64) -> u128 {
    let half = |seed: u64| {
        let mut it = number.wrapping_add(seed);
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    };
    u128::from(half(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(half(0xd1b5_4a32_d192_ed03))
}
