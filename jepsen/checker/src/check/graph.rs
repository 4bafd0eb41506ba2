//! Which transaction comes before which, in flat columns, and its strongly connected parts.
//!
//! Nodes below [`Graph::txns`] are operations by number. Those above only pass an edge on, so that many to
//! many costs a sum and not a product: an *instant* stands between what was over and what then began, a
//! *tail* between the readers of a list's newest version and the appends that nobody has read. An edge out
//! of such a node continues the one that led to it.

use crate::history::History;
use crate::verdict::Relation;

/// Relations to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask(u8);

impl Mask {
    pub(crate) const fn of(relations: &[Relation]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < relations.len() {
            bits |= 1 << relations[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, relation: Relation) -> bool {
        self.0 & (1 << relation as u8) != 0
    }
}

/// An edge to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) to: u32,
    pub(crate) relation: Relation,
    /// The key that it is about, by its number in the analysis.
    pub(crate) key: u32,
}

/// Keys that an edge can name.
pub(crate) const MOST_KEYS: usize = (1 << KEY_BITS) - 1;
const KEY_BITS: u32 = 29;
/// No key: of the order of a process, and of real time.
const NO_KEY: u32 = (1 << KEY_BITS) - 1;

/// Edges before they are sorted by where they begin.
#[derive(Debug)]
pub(crate) struct Edges {
    txns: u32,
    nodes: u32,
    from: Vec<u32>,
    to: Vec<u32>,
    label: Vec<u32>,
}

impl Edges {
    pub(crate) fn new(txns: usize) -> Self {
        let txns = u32::try_from(txns).expect("a history numbers operations with 32 bits");
        Self { txns, nodes: txns, from: Vec::new(), to: Vec::new(), label: Vec::new() }
    }

    /// A node that passes edges on.
    pub(crate) fn relay(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }

    /// One node comes before another; one before itself is nothing.
    pub(crate) fn add(&mut self, from: u32, to: u32, relation: Relation, key: u32) {
        if from != to {
            self.from.push(from);
            self.to.push(to);
            self.label.push((relation as u32) << KEY_BITS | key);
        }
    }

    /// From where to where edges lead.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.from.iter().copied().zip(self.to.iter().copied())
    }

    /// What was over before something else began, with two or three edges for each operation; and the
    /// order of each process. `counts` says which operations happened.
    pub(crate) fn add_time(&mut self, history: &History, counts: &[bool]) {
        let mut at = vec![u32::MAX; history.places() as usize];
        let mut last = rustc_hash::FxHashMap::default();
        for (operation, _) in history.operations().zip(counts).filter(|it| *it.1) {
            let number = operation.number as u32;
            at[operation.begin() as usize] = number << 1;
            if let Some(end) = operation.end() {
                at[end as usize] = number << 1 | 1;
            }
            if let Some(before) = last.insert(operation.process(), operation)
                && before.end().is_some_and(|end| end < operation.begin())
            {
                self.add(before.number as u32, number, Relation::Process, NO_KEY);
            }
        }
        let mut instant = None;
        let mut began_since = true;
        for event in at.into_iter().filter(|event| *event != u32::MAX) {
            let number = event >> 1;
            if event & 1 == 0 {
                if let Some(instant) = instant {
                    self.add(instant, number, Relation::RealTime, NO_KEY);
                }
                began_since = true;
                continue;
            }
            if began_since {
                let next = self.relay();
                if let Some(before) = instant.replace(next) {
                    self.add(before, next, Relation::RealTime, NO_KEY);
                }
                began_since = false;
            }
            let instant = instant.expect("made above at the latest");
            self.add(number, instant, Relation::RealTime, NO_KEY);
        }
    }

    pub(crate) fn sorted(self) -> Graph {
        let Self { txns, nodes, from, to, label } = self;
        let mut offsets = vec![0_usize; nodes as usize + 1];
        for node in &from {
            offsets[*node as usize + 1] += 1;
        }
        for node in 0..nodes as usize {
            offsets[node + 1] += offsets[node];
        }
        let mut next = offsets.clone();
        let (mut sorted_to, mut sorted_label) = (vec![0; to.len()], vec![0; to.len()]);
        for ((from, to), label) in from.into_iter().zip(to).zip(label) {
            let slot = &mut next[from as usize];
            (sorted_to[*slot], sorted_label[*slot]) = (to, label);
            *slot += 1;
        }
        Graph { txns, offsets, to: sorted_to, label: sorted_label }
    }
}

/// Which transaction comes before which.
#[derive(Debug)]
pub(crate) struct Graph {
    txns: u32,
    offsets: Vec<usize>,
    to: Vec<u32>,
    label: Vec<u32>,
}

impl Graph {
    pub(crate) fn nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether a node is an operation.
    pub(crate) const fn is_txn(&self, node: u32) -> bool {
        node < self.txns
    }

    fn edge(&self, at: usize) -> Edge {
        const ALL: [Relation; 5] = [
            Relation::WriteWrite,
            Relation::WriteRead,
            Relation::ReadWrite,
            Relation::Process,
            Relation::RealTime,
        ];
        let label = self.label[at];
        let relation = ALL[(label >> KEY_BITS) as usize];
        Edge { to: self.to[at], relation, key: label & NO_KEY }
    }

    /// Where a node leads.
    pub(crate) fn edges(&self, node: u32) -> impl Iterator<Item = Edge> + '_ {
        let node = node as usize;
        (self.offsets[node]..self.offsets[node + 1]).map(|at| self.edge(at))
    }

    /// The edge of a node at a cursor, which then stands behind it.
    fn step(&self, node: u32, cursor: &mut u32) -> Option<Edge> {
        let at = self.offsets[node as usize] + *cursor as usize;
        (at < self.offsets[node as usize + 1]).then(|| {
            *cursor += 1;
            self.edge(at)
        })
    }

    /// Sets of several nodes each of which leads to all others over these relations; only among `among`,
    /// if that is given.
    pub(crate) fn knots(&self, mask: Mask, among: Option<&Among>) -> Vec<Vec<u32>> {
        let Some(among) = among else {
            return strongly_connected(self.nodes(), |node, cursor| {
                while let Some(edge) = self.step(node, cursor) {
                    if mask.has(edge.relation) {
                        return Some(edge.to);
                    }
                }
                None
            });
        };
        let knots = strongly_connected(among.nodes.len(), |place, cursor| {
            while let Some(edge) = self.step(among.nodes[place as usize], cursor) {
                if let Some(place) = among.places.get(&edge.to)
                    && mask.has(edge.relation)
                {
                    return Some(*place);
                }
            }
            None
        });
        let node = |place: u32| among.nodes[place as usize];
        knots.into_iter().map(|knot| knot.into_iter().map(node).collect()).collect()
    }

    /// Whether the graph has a cycle in which no two relations in a row are [`Relation::ReadWrite`]: what
    /// snapshot isolation forbids. The nodes of such knots.
    ///
    /// A node is there twice: as reached over a `ReadWrite`, which then may not be followed by another.
    pub(crate) fn knots_without_two_reads(&self, mask: Mask) -> Vec<Vec<u32>> {
        let next = |twice: u32, cursor: &mut u32| {
            let (node, after_read) = (twice >> 1, twice & 1 == 1);
            while let Some(edge) = self.step(node, cursor) {
                if !mask.has(edge.relation) {
                    continue;
                }
                let reads = edge.relation == Relation::ReadWrite;
                // A relay goes on with what led to it.
                if reads && after_read && self.is_txn(node) {
                    continue;
                }
                return Some(edge.to << 1 | u32::from(reads));
            }
            None
        };
        let knots = strongly_connected(self.nodes() * 2, next);
        let single = |knot: Vec<u32>| {
            let mut nodes: Vec<u32> = knot.into_iter().map(|twice| twice >> 1).collect();
            nodes.sort_unstable();
            nodes.dedup();
            nodes
        };
        knots.into_iter().map(single).collect()
    }
}

/// A set of nodes.
#[derive(Debug)]
pub(crate) struct Among {
    pub(crate) nodes: Vec<u32>,
    places: rustc_hash::FxHashMap<u32, u32>,
}

impl Among {
    pub(crate) fn new(nodes: Vec<u32>) -> Self {
        let places = nodes.iter().zip(0..).map(|(node, place)| (*node, place)).collect();
        Self { nodes, places }
    }

    pub(crate) fn has(&self, node: u32) -> bool {
        self.places.contains_key(&node)
    }
}

/// Tarjan's algorithm without recursion: the sets of several nodes each of which leads to all others.
fn strongly_connected(count: usize, next: impl Fn(u32, &mut u32) -> Option<u32>) -> Vec<Vec<u32>> {
    const UNSEEN: u32 = 0;
    const DONE: u32 = u32::MAX;
    // Of each node: when it was first seen, from 1, lowered to the oldest that it leads to.
    let mut low = vec![UNSEEN; count];
    let mut clock = 0;
    let mut waiting: Vec<u32> = Vec::new();
    // The way down: node, cursor over its edges, when it was first seen.
    let mut way: Vec<(u32, u32, u32)> = Vec::new();
    let mut knots = Vec::new();
    for start in 0..count as u32 {
        if low[start as usize] != UNSEEN {
            continue;
        }
        clock += 1;
        low[start as usize] = clock;
        waiting.push(start);
        way.push((start, 0, clock));
        while let Some((node, cursor, seen)) = way.last_mut() {
            let (node, seen) = (*node, *seen);
            if let Some(to) = next(node, cursor) {
                match low[to as usize] {
                    UNSEEN => {
                        clock += 1;
                        low[to as usize] = clock;
                        waiting.push(to);
                        way.push((to, 0, clock));
                    }
                    DONE => {}
                    older => low[node as usize] = low[node as usize].min(older),
                }
                continue;
            }
            way.pop();
            let lowest = low[node as usize];
            if let Some((before, ..)) = way.last() {
                let before = &mut low[*before as usize];
                *before = (*before).min(lowest);
            }
            if lowest == seen {
                let from = waiting.iter().rposition(|it| *it == node).expect("it waits");
                for member in &waiting[from..] {
                    low[*member as usize] = DONE;
                }
                let knot = waiting.split_off(from);
                if knot.len() > 1 {
                    knots.push(knot);
                }
            }
        }
    }
    knots
}
