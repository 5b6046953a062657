//! The dependency graph of services and of groups.
//!
//! A [`Graph`] cannot be built with a cycle; the error names its path. Start
//! waves are maximal: everything whose needs are in earlier waves is in the
//! next one. Stopping is the exact reverse.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Nodes that need each other in a circle: `a → b → a`, the first repeated at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .path.join(" → "))]
pub struct Cycle {
    /// The way round.
    pub path: Vec<String>,
}

/// An acyclic graph of needs. Nodes keep the order in which they were given.
#[derive(Debug, Clone)]
pub struct Graph<K> {
    keys: Vec<K>,
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
    waves: Vec<Vec<usize>>,
}

impl<K: Clone + Ord + std::fmt::Display> Graph<K> {
    /// Builds the graph; an edge `(a, b)` says that `a` needs `b`. Edges to
    /// nodes that are not given are left out: they are somebody else's.
    ///
    /// # Errors
    /// The shortest cycle through the first node that lies on one.
    pub fn new(
        keys: impl IntoIterator<Item = K>,
        edges: impl IntoIterator<Item = (K, K)>,
    ) -> Result<Self, Cycle> {
        let keys: Vec<K> = keys.into_iter().collect();
        let index: BTreeMap<&K, usize> = keys.iter().enumerate().map(|(i, key)| (key, i)).collect();
        let mut needs: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); keys.len()];
        for (from, to) in edges {
            if let (Some(&from), Some(&to)) = (index.get(&from), index.get(&to)) {
                needs[from].insert(to);
            }
        }
        let needs: Vec<Vec<usize>> = needs.into_iter().map(|set| set.into_iter().collect()).collect();
        let mut needed_by = vec![Vec::new(); keys.len()];
        for (from, list) in needs.iter().enumerate() {
            for &to in list {
                needed_by[to].push(from);
            }
        }
        let waves = waves(&needs, &needed_by);
        if waves.iter().map(Vec::len).sum::<usize>() < keys.len() {
            let path = shortest_cycle(&needs).into_iter().map(|i| keys[i].to_string()).collect();
            return Err(Cycle { path });
        }
        Ok(Self { keys, needs, needed_by, waves })
    }

    /// What can start together, in order.
    pub fn waves(&self) -> Vec<Vec<&K>> {
        self.waves.iter().map(|wave| wave.iter().map(|&i| &self.keys[i]).collect()).collect()
    }

    /// Every node after all that it needs; among equals, in the order given.
    pub fn start_order(&self) -> Vec<&K> {
        self.waves.iter().flatten().map(|&i| &self.keys[i]).collect()
    }

    /// The exact reverse of [`start_order`](Self::start_order).
    pub fn stop_order(&self) -> Vec<&K> {
        let mut order = self.start_order();
        order.reverse();
        order
    }

    /// What `key` needs directly.
    pub fn needs(&self, key: &K) -> Vec<&K> {
        self.neighbours(key, &self.needs)
    }

    /// What needs `key` directly.
    pub fn needed_by(&self, key: &K) -> Vec<&K> {
        self.neighbours(key, &self.needed_by)
    }

    /// The given nodes and everything that they need, however far away.
    pub fn with_needs(&self, start: impl IntoIterator<Item = K>) -> BTreeSet<K> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<usize> = start.into_iter().filter_map(|key| self.position(&key)).collect();
        while let Some(i) = open.pop() {
            if reached.insert(self.keys[i].clone()) {
                open.extend(&self.needs[i]);
            }
        }
        reached
    }

    fn neighbours(&self, key: &K, lists: &[Vec<usize>]) -> Vec<&K> {
        self.position(key).map(|i| lists[i].iter().map(|&j| &self.keys[j]).collect()).unwrap_or_default()
    }

    fn position(&self, key: &K) -> Option<usize> {
        self.keys.iter().position(|one| one == key)
    }
}

/// Kahn's algorithm by levels; nodes on or behind a cycle are in no wave.
fn waves(needs: &[Vec<usize>], needed_by: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut wave: Vec<usize> = (0..needs.len()).filter(|&i| open[i] == 0).collect();
    let mut waves = Vec::new();
    while !wave.is_empty() {
        let mut next = Vec::new();
        for &i in &wave {
            for &dependant in &needed_by[i] {
                open[dependant] -= 1;
                if open[dependant] == 0 {
                    next.push(dependant);
                }
            }
        }
        next.sort_unstable();
        waves.push(std::mem::replace(&mut wave, next));
    }
    waves
}

/// The shortest way from the first node on a cycle back to itself.
fn shortest_cycle(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut graph = DiGraph::<(), ()>::with_capacity(needs.len(), 0);
    for _ in needs {
        graph.add_node(());
    }
    for (from, list) in needs.iter().enumerate() {
        for &to in list {
            graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
        }
    }
    let on_a_cycle = tarjan_scc(&graph)
        .into_iter()
        .filter(|component| {
            component.len() > 1 || needs[component[0].index()].contains(&component[0].index())
        })
        .flatten()
        .map(NodeIndex::index)
        .min();
    let Some(start) = on_a_cycle else { return Vec::new() };

    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for &next in &needs[node] {
            if next == start {
                let mut path = vec![start];
                let mut at = node;
                while at != start {
                    path.push(at);
                    at = came_from[&at];
                }
                path.push(start);
                path.reverse();
                return path;
            }
            if next != start && !came_from.contains_key(&next) {
                came_from.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(edges: &[(&'static str, &'static str)]) -> Result<Graph<&'static str>, Cycle> {
        let keys: BTreeSet<&str> = edges.iter().flat_map(|(a, b)| [*a, *b]).collect();
        Graph::new(keys, edges.iter().copied())
    }

    #[test]
    fn waves_hold_everything_that_can_start_together() {
        let shop = graph(&[("web", "api"), ("api", "db"), ("api", "cache"), ("worker", "db")]).unwrap();
        assert_eq!(shop.waves(), vec![vec![&"cache", &"db"], vec![&"api", &"worker"], vec![&"web"]]);
        assert_eq!(shop.needs(&"api"), vec![&"cache", &"db"]);
        assert_eq!(shop.needed_by(&"db"), vec![&"api", &"worker"]);
        assert_eq!(shop.with_needs(["api"]), BTreeSet::from(["api", "cache", "db"]));
    }

    #[test]
    fn a_cycle_is_refused_with_its_path() {
        let error = graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("z", "a")]).unwrap_err();
        assert_eq!(error.to_string(), "b → c → b");
        assert_eq!(graph(&[("a", "a")]).unwrap_err().to_string(), "a → a");
    }

    #[test]
    fn an_edge_to_a_stranger_is_left_out() {
        let lone = Graph::new(["a"], [("a", "elsewhere")]).unwrap();
        assert_eq!(lone.waves(), vec![vec![&"a"]]);
    }

    fn random_edges() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
        (1usize..=200).prop_flat_map(|n| (Just(n), proptest::collection::vec((0..n, 0..n), 0..n * 2)))
    }

    /// Depth-first search with three colours, written for comparison only.
    fn has_cycle(n: usize, edges: &[(usize, usize)]) -> bool {
        fn visit(i: usize, edges: &[Vec<usize>], colour: &mut [u8]) -> bool {
            colour[i] = 1;
            for &next in &edges[i] {
                if colour[next] == 1 || (colour[next] == 0 && visit(next, edges, colour)) {
                    return true;
                }
            }
            colour[i] = 2;
            false
        }
        let mut lists = vec![Vec::new(); n];
        for &(a, b) in edges {
            lists[a].push(b);
        }
        let mut colour = vec![0; n];
        (0..n).any(|i| colour[i] == 0 && visit(i, &lists, &mut colour))
    }

    proptest! {
        #[test]
        fn cycle_detection_equals_the_reference((n, edges) in random_edges()) {
            let built = Graph::new(0..n, edges.iter().copied());
            prop_assert_eq!(built.is_err(), has_cycle(n, &edges));
            if let Err(cycle) = built {
                let path: Vec<usize> = cycle.path.iter().map(|key| key.parse().unwrap()).collect();
                prop_assert_eq!(path.first(), path.last());
                for pair in path.windows(2) {
                    prop_assert!(edges.contains(&(pair[0], pair[1])));
                }
            }
        }

        #[test]
        fn waves_are_topological_and_maximal((n, edges) in random_edges()) {
            // Edges from the higher to the lower number make any set of pairs acyclic.
            let edges: Vec<_> = edges.into_iter().filter(|(a, b)| a != b).map(|(a, b)| (a.max(b), a.min(b))).collect();
            let graph = Graph::new(0..n, edges.iter().copied()).unwrap();
            let mut level = vec![usize::MAX; n];
            for (depth, wave) in graph.waves().iter().enumerate() {
                for &&node in wave {
                    level[node] = depth;
                }
            }
            for node in 0..n {
                let earliest = graph.needs(&node).iter().map(|&&need| level[need] + 1).max().unwrap_or(0);
                prop_assert_eq!(level[node], earliest, "node {} is neither early nor late", node);
            }
            let mut reversed = graph.stop_order();
            reversed.reverse();
            prop_assert_eq!(reversed, graph.start_order());
        }
    }
}
