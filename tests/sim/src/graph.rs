//! Who must come before whom, and whether that can be.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Write;

/// Why one comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The other wrote the next version of a row.
    WriteWrite,
    /// The other read what it wrote.
    WriteRead,
    /// The other overwrote what it read.
    ReadWrite,
    /// It ended before the other began.
    RealTime,
}

#[derive(Default)]
struct Node {
    from_us: u64,
    to_us: Option<u64>,
    name: Option<String>,
    after: Vec<(usize, Why)>,
}

/// Transactions, reads, and barriers in real time.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    /// Adds somebody who acted between two times; `None` if nobody knows when it ended.
    pub(crate) fn node(&mut self, from_us: u64, to_us: Option<u64>, name: String) -> usize {
        self.nodes.push(Node { from_us, to_us, name: Some(name), after: Vec::new() });
        self.nodes.len() - 1
    }

    pub(crate) fn edge(&mut self, before: usize, after: usize, why: Why) {
        if before != after {
            self.nodes[before].after.push((after, why));
        }
    }

    /// Adds a line of barriers, one at each end, that stand for all real-time orders at once.
    pub(crate) fn add_real_time(&mut self) {
        let count = self.nodes.len();
        let mut ends: Vec<(u64, usize)> =
            (0..count).filter_map(|node| Some((self.nodes[node].to_us?, node))).collect();
        ends.sort_unstable();
        let mut barriers: Vec<u64> = Vec::new();
        for (at, node) in ends {
            if barriers.last() != Some(&at) {
                barriers.push(at);
                self.nodes.push(Node::default());
                if barriers.len() > 1 {
                    let last = self.nodes.len() - 1;
                    self.edge(last - 1, last, Why::RealTime);
                }
            }
            let last = self.nodes.len() - 1;
            self.edge(node, last, Why::RealTime);
        }
        for node in 0..count {
            let passed = barriers.partition_point(|at| *at < self.nodes[node].from_us);
            if passed > 0 {
                self.edge(count + passed - 1, node, Why::RealTime);
            }
        }
    }

    /// An order in which everybody comes after those it must come after; else a cycle, in words.
    pub(crate) fn order(&self) -> Result<Vec<usize>, String> {
        let mut waits_for = vec![0usize; self.nodes.len()];
        for node in &self.nodes {
            for (after, _) in &node.after {
                waits_for[*after] += 1;
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..self.nodes.len()).filter(|node| waits_for[*node] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(Reverse(node)) = ready.pop() {
            order.push(node);
            for (after, _) in &self.nodes[node].after {
                waits_for[*after] -= 1;
                if waits_for[*after] == 0 {
                    ready.push(Reverse(*after));
                }
            }
        }
        if order.len() == self.nodes.len() {
            return Ok(order);
        }
        let left: Vec<usize> = (0..self.nodes.len()).filter(|node| waits_for[*node] > 0).collect();
        Err(self.shortest_cycle(&left))
    }

    fn shortest_cycle(&self, left: &[usize]) -> String {
        let cycles = left.iter().filter_map(|start| self.cycle_from(*start));
        let Some(cycle) = cycles.min_by_key(|cycle| (cycle.len(), cycle.clone())) else {
            return " (no cycle was found: the check contradicts itself)".into();
        };
        let mut story = String::new();
        for (index, node) in cycle.iter().enumerate() {
            let next = cycle[(index + 1) % cycle.len()];
            let why = self.nodes[*node].after.iter().find(|(after, _)| *after == next);
            let why = why.map_or(Why::RealTime, |(_, why)| *why);
            let name = self.nodes[*node].name.as_deref();
            if let Some(name) = name {
                let _ = write!(story, "\n  {name} --{why:?}-->");
            }
        }
        story
    }

    fn cycle_from(&self, start: usize) -> Option<Vec<usize>> {
        self.nodes[start].name.as_ref()?;
        let mut came_from = vec![usize::MAX; self.nodes.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (after, _) in &self.nodes[node].after {
                if *after == start {
                    let mut cycle = vec![node];
                    let mut at = node;
                    while at != start {
                        at = came_from[at];
                        cycle.push(at);
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                if came_from[*after] == usize::MAX {
                    came_from[*after] = node;
                    queue.push_back(*after);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(times: &[(u64, Option<u64>)], edges: &[(usize, usize, Why)]) -> Graph {
        let mut graph = Graph::default();
        for (index, (from, to)) in times.iter().enumerate() {
            graph.node(*from, *to, format!("t{index}"));
        }
        for (before, after, why) in edges {
            graph.edge(*before, *after, *why);
        }
        graph.add_real_time();
        graph
    }

    #[test]
    fn a_stale_read_is_a_cycle_through_real_time() {
        // t0 wrote and ended; t1 began later and did not see it.
        let graph = graph(&[(0, Some(5)), (9, Some(12))], &[(1, 0, Why::ReadWrite)]);
        let cycle = graph.order().expect_err("t1 cannot come before t0");
        assert!(cycle.contains("t0") && cycle.contains("t1"), "{cycle}");
    }

    #[test]
    fn overlapping_operations_may_come_in_any_order() {
        let graph = graph(&[(0, Some(10)), (9, Some(12))], &[(1, 0, Why::ReadWrite)]);
        assert!(graph.order().is_ok());
    }

    #[test]
    fn write_skew_is_a_cycle_without_real_time() {
        let edges = [(0, 1, Why::ReadWrite), (1, 0, Why::ReadWrite)];
        let graph = graph(&[(0, None), (0, None)], &edges);
        assert!(graph.order().is_err());
    }

    #[test]
    fn what_never_ended_may_come_last() {
        let graph = graph(&[(0, None), (9, Some(12))], &[(1, 0, Why::ReadWrite)]);
        assert!(graph.order().is_ok());
    }
}
