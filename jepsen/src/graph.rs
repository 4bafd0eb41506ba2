//! Dependencies between transactions, and cycles among them.
//!
//! Nodes are the transactions; behind them the instants at which one of them was certain, in order. A
//! transaction points at the instant of its end, an instant at the next, and the last instant before a
//! transaction began at that transaction: so real time costs three edges for each, not one for each pair.

use std::collections::BTreeMap;

/// Transactions that are tried as the beginning of a cycle to show: one of a tangle is enough.
const STARTS: usize = 200;

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// It wrote the version that the other replaced.
    WriteWrite,
    /// It wrote the version that the other read.
    WriteRead,
    /// It read the version that the other replaced.
    ReadWrite,
    /// It was over before the other began.
    RealTime,
}

impl Edge {
    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::WriteWrite => "was overwritten by",
            Self::WriteRead => "was read by",
            Self::ReadWrite => "did not see",
            Self::RealTime => "was over before",
        }
    }
}

/// A graph of transactions, by number.
pub(crate) struct Graph {
    transactions: usize,
    edges: Vec<Vec<(usize, Edge)>>,
}

impl Graph {
    /// Of transactions that lasted from the first to the second of these times.
    pub(crate) fn new(times: &[(u64, u64)]) -> Self {
        let count = times.len();
        let mut ends: Vec<(u64, usize)> =
            times.iter().enumerate().map(|(n, it)| (it.1, n)).collect();
        ends.sort_unstable();
        let mut edges = vec![Vec::new(); 2 * count];
        for (rank, (_, transaction)) in ends.iter().enumerate() {
            edges[*transaction].push((count + rank, Edge::RealTime));
            if rank + 1 < count {
                edges[count + rank].push((count + rank + 1, Edge::RealTime));
            }
        }
        for (transaction, (begin, _)) in times.iter().enumerate() {
            if let Some(rank) = ends.partition_point(|(end, _)| end < begin).checked_sub(1) {
                edges[count + rank].push((transaction, Edge::RealTime));
            }
        }
        Self { transactions: count, edges }
    }

    /// Says that one transaction comes before another. One before itself is nothing.
    pub(crate) fn add(&mut self, from: usize, to: usize, edge: Edge) {
        if from != to {
            self.edges[from].push((to, edge));
        }
    }

    /// A cycle, as transactions and why each comes before the next one (the last before the first); as
    /// short as one through the first transactions that are on any can be.
    pub(crate) fn cycle(&self) -> Option<Vec<(usize, Edge)>> {
        let mut incoming = vec![0_usize; self.edges.len()];
        for (to, _) in self.edges.iter().flatten() {
            incoming[*to] += 1;
        }
        let mut free: Vec<usize> =
            (0..incoming.len()).filter(|node| incoming[*node] == 0).collect();
        while let Some(node) = free.pop() {
            for (to, _) in &self.edges[node] {
                incoming[*to] -= 1;
                if incoming[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        // What is left is on a cycle or behind one.
        let left = |node: &usize| incoming[*node] > 0;
        let starts = (0..self.transactions).filter(left).take(STARTS);
        starts.filter_map(|start| self.shortest(start, &incoming)).min_by_key(Vec::len)
    }

    /// The shortest way from a transaction back to it, instants left out.
    fn shortest(&self, start: usize, incoming: &[usize]) -> Option<Vec<(usize, Edge)>> {
        let mut came: BTreeMap<usize, (usize, Edge)> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (to, edge) in &self.edges[node] {
                if incoming[*to] == 0 || came.contains_key(to) {
                    continue;
                }
                came.insert(*to, (node, *edge));
                if *to == start {
                    return Some(self.way_back(start, &came));
                }
                queue.push_back(*to);
            }
        }
        None
    }

    fn way_back(&self, start: usize, came: &BTreeMap<usize, (usize, Edge)>) -> Vec<(usize, Edge)> {
        let mut way = Vec::new();
        let mut node = start;
        loop {
            let (from, edge) = came[&node];
            if from < self.transactions {
                way.push((from, edge));
            }
            node = from;
            if node == start {
                way.reverse();
                return way;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_alone_has_no_cycle_and_against_it_there_is_one() {
        let times = [(0, 10), (5, 20), (11, 30), (40, 50)];
        assert_eq!(Graph::new(&times).cycle(), None);
        let mut concurrent = Graph::new(&times);
        concurrent.add(1, 0, Edge::ReadWrite);
        assert_eq!(concurrent.cycle(), None, "they overlap: either may come first");
        let mut back = Graph::new(&times);
        back.add(3, 0, Edge::ReadWrite);
        assert_eq!(back.cycle(), Some(vec![(0, Edge::RealTime), (3, Edge::ReadWrite)]));
    }

    #[test]
    fn a_write_skew_is_a_cycle() {
        let mut graph = Graph::new(&[(0, 10), (0, 10), (0, 10)]);
        graph.add(0, 1, Edge::ReadWrite);
        graph.add(1, 2, Edge::WriteRead);
        assert_eq!(graph.cycle(), None);
        graph.add(1, 0, Edge::ReadWrite);
        assert_eq!(graph.cycle().map(|cycle| cycle.len()), Some(2));
    }
}
