//! Short cycles in what a graph cannot order, and their names.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::Consistency;
use super::graph::{Among, Edge, Graph, Mask};
use crate::history::History;
use crate::verdict::{Kind, Layer, Relation};

/// Knots that are looked into; the rest is counted.
const MOST_KNOTS: usize = 50;
/// Transactions of a knot that a search begins with.
const MOST_STARTS: usize = 200;
/// Edges that the search in one knot follows.
const MOST_EDGES: usize = 20_000_000;

const WRITES: Mask = Mask::of(&[Relation::WriteWrite]);
const DATA: Mask = Mask::of(&[Relation::WriteWrite, Relation::WriteRead]);
const READS: Mask = Mask::of(&[Relation::ReadWrite]);
const PROCESS: Mask = Mask::of(&[Relation::Process]);
const TIME: Mask = Mask::of(&[Relation::Process, Relation::RealTime]);
const NOTHING: Mask = Mask::of(&[]);

/// A transaction of a cycle, and the edge to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) from: u32,
    pub(crate) relation: Relation,
    pub(crate) key: u32,
}

/// A cycle with its name.
#[derive(Clone, Debug)]
pub(crate) struct Cycle {
    pub(crate) kind: Kind,
    pub(crate) hops: Vec<Hop>,
}

/// What the consistency forbids: a short cycle of each name for each knot, and how many knots were left out.
pub(crate) fn find(
    graph: &Graph,
    history: &History,
    consistency: Consistency,
) -> (Vec<Cycle>, usize) {
    let mut found = Vec::new();
    let (knots, layers): (_, &[Layer]) = match consistency {
        Consistency::StrictSerializable => (
            graph.knots(DATA.and(READS).and(TIME), None),
            &[Layer::Data, Layer::Process, Layer::RealTime],
        ),
        Consistency::Serializable => (graph.knots(DATA.and(READS), None), &[Layer::Data]),
        Consistency::SnapshotIsolation => {
            (graph.knots_without_two_reads(DATA.and(READS)), &[Layer::Data])
        }
    };
    for knot in knots.iter().take(MOST_KNOTS) {
        let mut search =
            Search { graph, history, edges_left: MOST_EDGES, shortest: FxHashMap::default() };
        let among = Among::new(knot.clone());
        if consistency == Consistency::SnapshotIsolation {
            search.data(&among, Layer::Data);
            if search.shortest.is_empty() {
                search.without_two_reads(&among);
            }
        } else {
            for layer in layers {
                let all = DATA.and(READS).and(extra(*layer));
                for inner in graph.knots(all, Some(&among)).into_iter().take(MOST_KNOTS) {
                    search.layer(&Among::new(inner), *layer);
                }
                if !search.shortest.is_empty() {
                    break; // what needs less explains it better
                }
            }
        }
        assert!(!search.shortest.is_empty(), "every knot has a cycle");
        found.extend(search.shortest.into_iter().map(|(kind, hops)| Cycle { kind, hops }));
    }
    found.sort_by(|a, b| a.kind.cmp(&b.kind).then(a.hops.len().cmp(&b.hops.len())));
    (found, knots.len().saturating_sub(MOST_KNOTS))
}

const fn extra(layer: Layer) -> Mask {
    match layer {
        Layer::Data => NOTHING,
        Layer::Process => PROCESS,
        Layer::RealTime => TIME,
    }
}

/// The name of a cycle, by what it is made of.
fn name(hops: &[Hop]) -> Kind {
    let count = |relation| hops.iter().filter(|hop| hop.relation == relation).count();
    let layer = match (count(Relation::Process), count(Relation::RealTime)) {
        (0, 0) => Layer::Data,
        (_, 0) => Layer::Process,
        (_, _) => Layer::RealTime,
    };
    match (count(Relation::ReadWrite), count(Relation::WriteRead)) {
        (0, 0) => Kind::G0(layer),
        (0, _) => Kind::G1c(layer),
        (1, _) => Kind::GSingle(layer),
        (_, _) => Kind::G2(layer),
    }
}

/// A search in one knot.
struct Search<'a> {
    graph: &'a Graph,
    history: &'a History,
    edges_left: usize,
    shortest: FxHashMap<Kind, Vec<Hop>>,
}

impl Search<'_> {
    fn keep(&mut self, hops: Vec<Hop>, kind: Kind) {
        let best = self.shortest.entry(kind).or_insert_with(|| hops.clone());
        if hops.len() < best.len() {
            *best = hops;
        }
    }

    /// Everything that a layer can show in a knot, at least one cycle.
    fn layer(&mut self, among: &Among, layer: Layer) {
        if layer != Layer::Data {
            self.against_time(among, layer);
            if !self.shortest.is_empty() {
                return;
            }
        }
        self.data(among, layer);
        if self.shortest.is_empty() {
            let all = DATA.and(READS).and(extra(layer));
            self.through(among, READS, all);
            if self.shortest.is_empty() {
                // Without a bound, so that every knot has its cycle.
                self.edges_left = usize::MAX;
                self.through(among, all, all);
            }
        }
    }

    /// Cycles with at most one read that did not see a write.
    fn data(&mut self, among: &Among, layer: Layer) {
        let need = match layer {
            Layer::Data => WRITES,
            Layer::Process | Layer::RealTime => extra(layer),
        };
        let writes = WRITES.and(extra(layer));
        for knot in self.graph.knots(writes, Some(among)).into_iter().take(MOST_KNOTS) {
            self.through(&Among::new(knot), need, writes);
        }
        let data = DATA.and(extra(layer));
        for knot in self.graph.knots(data, Some(among)).into_iter().take(MOST_KNOTS) {
            self.through(&Among::new(knot), Mask::of(&[Relation::WriteRead]), data);
        }
        self.through(among, READS, data);
    }

    /// Cycles of two: an edge to what was over before its beginning began.
    fn against_time(&mut self, among: &Among, layer: Layer) {
        for from in among.nodes.iter().filter(|node| self.graph.is_txn(**node)) {
            let one = self.history.operation(*from as usize);
            let mut back = None;
            for edge in self.graph.edges(*from).filter(|edge| self.graph.is_txn(edge.to)) {
                let other = self.history.operation(edge.to as usize);
                let before = other.end().is_some_and(|end| end < one.begin());
                let same = layer == Layer::RealTime || other.process() == one.process();
                if before && same && DATA.and(READS).has(edge.relation) {
                    back = Some(edge);
                    break;
                }
            }
            let Some(Edge { to, relation, key }) = back else { continue };
            let time = match layer {
                Layer::Data | Layer::RealTime => Relation::RealTime,
                Layer::Process => Relation::Process,
            };
            let hops = vec![
                Hop { from: *from, relation, key },
                Hop { from: to, relation: time, key: u32::MAX },
            ];
            let kind = name(&hops);
            self.keep(hops, kind);
        }
    }

    /// Cycles that begin with one of the relations needed, and go on over the rest.
    fn through(&mut self, among: &Among, need: Mask, rest: Mask) {
        let begins = |node: &u32| {
            let leads = |edge: Edge| need.has(edge.relation) && among.has(edge.to);
            self.graph.is_txn(*node) && self.graph.edges(*node).any(leads)
        };
        let starts: Vec<u32> =
            among.nodes.iter().copied().filter(begins).take(MOST_STARTS).collect();
        for start in starts {
            if let Some(hops) = self.shortest_from(start, among, need, rest) {
                let done = hops.len() == 2;
                let kind = name(&hops);
                self.keep(hops, kind);
                if done {
                    return;
                }
            }
            if self.edges_left == 0 {
                return;
            }
        }
    }

    /// The shortest way from a transaction back to it; relays cost nothing.
    fn shortest_from(
        &mut self,
        start: u32,
        among: &Among,
        need: Mask,
        rest: Mask,
    ) -> Option<Vec<Hop>> {
        let mut came: FxHashMap<u32, (u32, Edge)> = FxHashMap::default();
        let mut queue = VecDeque::from([start]);
        let mut first = true;
        while let Some(node) = queue.pop_front() {
            let mask = if first { need } else { rest };
            first = false;
            for edge in self.graph.edges(node) {
                self.edges_left = self.edges_left.saturating_sub(1);
                let passes = !self.graph.is_txn(node) || mask.has(edge.relation);
                if !passes || !among.has(edge.to) || came.contains_key(&edge.to) {
                    continue;
                }
                came.insert(edge.to, (node, edge));
                if edge.to == start {
                    return Some(self.way_back(start, &came));
                }
                if self.graph.is_txn(edge.to) {
                    queue.push_back(edge.to);
                } else {
                    queue.push_front(edge.to);
                }
            }
            if self.edges_left == 0 {
                return None;
            }
        }
        None
    }

    fn way_back(&self, start: u32, came: &FxHashMap<u32, (u32, Edge)>) -> Vec<Hop> {
        let mut hops = Vec::new();
        let mut node = start;
        loop {
            let (from, edge) = came[&node];
            if self.graph.is_txn(from) {
                hops.push(Hop { from, relation: edge.relation, key: edge.key });
            }
            node = from;
            if node == start {
                hops.reverse();
                return hops;
            }
        }
    }

    /// A cycle in which no two reads that did not see a write follow each other.
    fn without_two_reads(&mut self, among: &Among) {
        let (all, reads) = (DATA.and(READS), Relation::ReadWrite);
        let txns = among.nodes.iter().filter(|node| self.graph.is_txn(**node));
        for start in txns {
            // Reached over a read or not; the start counts as reached over none.
            let begin = (*start, false);
            let mut came: FxHashMap<(u32, bool), ((u32, bool), Edge)> = FxHashMap::default();
            let mut queue = VecDeque::from([begin]);
            while let Some((node, after)) = queue.pop_front() {
                for edge in self.graph.edges(node).filter(|edge| all.has(edge.relation)) {
                    let to = (edge.to, edge.relation == reads);
                    let two = to.1 && after && self.graph.is_txn(node);
                    if two || !among.has(edge.to) || came.contains_key(&to) {
                        continue;
                    }
                    came.insert(to, ((node, after), edge));
                    queue.push_back(to);
                }
            }
            if !came.contains_key(&begin) {
                continue;
            }
            let (mut hops, mut at) = (Vec::new(), begin);
            loop {
                let (from, edge) = came[&at];
                if self.graph.is_txn(from.0) {
                    hops.push(Hop { from: from.0, relation: edge.relation, key: edge.key });
                }
                at = from;
                if at == begin {
                    break;
                }
            }
            hops.reverse();
            let kind = match name(&hops) {
                Kind::G2(_) => Kind::GNonadjacent,
                other => other,
            };
            self.keep(hops, kind);
            return;
        }
    }
}
