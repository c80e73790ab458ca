//! Who comes before whom, and who must have succeeded when a node runs. Answers from `needs` alone; repair
//! regions add waiting, never certainty.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::NodeIx;
use crate::format::Join;

/// How many nodes one question may look at before the answer is worked out for all readers at once.
const NEAR: usize = 128;
/// How many answers for all readers are kept, in nodes.
const KEPT: usize = 32 * 1024 * 1024;

/// How a node stands to another one whose outputs it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// The other one may run later, or never.
    Apart,
    /// The other one has come to an end, but may have failed or been skipped.
    Behind,
    /// The other one has succeeded.
    Sure,
}

/// The order of the nodes of a graph without circles.
#[derive(Debug)]
pub(crate) struct Order {
    needs: Vec<Vec<NodeIx>>,
    joins: Vec<Join>,
    /// Every node behind its needs.
    sorted: Vec<NodeIx>,
    /// For each node how many nodes the longest path to it has.
    levels: Vec<u32>,
    /// Nodes with a need, at whatever distance, that could not be read: nothing is said about them.
    shaky: Vec<bool>,
    far: RefCell<BTreeMap<NodeIx, Rc<[Standing]>>>,
}

impl Order {
    /// `sorted` has every node behind its needs; `shaky` marks nodes some of whose needs are not known.
    pub(crate) fn new(
        needs: Vec<Vec<NodeIx>>,
        joins: Vec<Join>,
        sorted: Vec<NodeIx>,
        mut shaky: Vec<bool>,
    ) -> Self {
        let mut levels = vec![0; needs.len()];
        for ix in &sorted {
            let needs = &needs[ix.at()];
            levels[ix.at()] = needs.iter().map(|need| levels[need.at()] + 1).max().unwrap_or(0);
            shaky[ix.at()] |= needs.iter().any(|need| shaky[need.at()]);
        }
        Self { needs, joins, sorted, levels, shaky, far: RefCell::default() }
    }

    /// What `node` needs, in the order of the file.
    pub(crate) fn needs(&self, node: NodeIx) -> &[NodeIx] {
        &self.needs[node.at()]
    }

    /// How `reader` stands to `other`. What is not known for certain is taken as sure, since there is another
    /// finding about it already.
    pub(crate) fn standing(&self, reader: NodeIx, other: NodeIx) -> Standing {
        if reader == other {
            return Standing::Apart;
        }
        if self.shaky[reader.at()] {
            return Standing::Sure;
        }
        if self.joins[reader.at()] == Join::All && self.needs(reader).contains(&other) {
            return Standing::Sure;
        }
        self.near(reader, other).unwrap_or_else(|| self.far(other)[reader.at()])
    }

    /// The nodes on the paths from `from` to `to`, both among them, in order of their numbers. Empty if there is
    /// no path.
    pub(crate) fn between(&self, from: NodeIx, to: NodeIx) -> Vec<NodeIx> {
        let least = self.levels[from.at()];
        let mut above = BTreeMap::from([(to, to == from)]);
        let mut next = vec![to];
        while let Some(at) = next.pop() {
            for need in self.needs(at).iter().filter(|need| **need == from || self.levels[need.at()] > least)
            {
                if above.insert(*need, *need == from).is_none() {
                    next.push(*need);
                }
            }
        }
        let mut by_level: Vec<NodeIx> = above.keys().copied().collect();
        by_level.sort_by_key(|ix| self.levels[ix.at()]);
        for ix in by_level {
            if self.needs(ix).iter().any(|need| above.get(need) == Some(&true)) {
                above.insert(ix, true);
            }
        }
        above.into_iter().filter(|(_, inside)| *inside).map(|(ix, _)| ix).collect()
    }

    /// Whether something about the needs of `node`, at whatever distance, could not be read.
    pub(crate) fn is_shaky(&self, node: NodeIx) -> bool {
        self.shaky[node.at()]
    }

    fn step(&self, node: NodeIx, of_need: impl Fn(NodeIx) -> Standing) -> Standing {
        // A need of a node that joins with "all" succeeded; so did everything that need in turn relied on. With
        // "any", only what every need relied on is sure; with "settled", nothing is.
        let needs = self.needs(node);
        let best = needs.iter().map(|need| of_need(*need)).max().unwrap_or(Standing::Apart);
        match self.joins[node.at()] {
            Join::All => best,
            Join::Any if needs.iter().all(|need| of_need(*need) == Standing::Sure) => best,
            Join::Any | Join::Settled => best.min(Standing::Behind),
        }
    }

    /// The answer, if it can be given by looking at a few nodes.
    fn near(&self, reader: NodeIx, other: NodeIx) -> Option<Standing> {
        let mut known = BTreeMap::from([(other, Standing::Sure)]);
        let mut stack = vec![reader];
        let above = self.levels[other.at()];
        while let Some(at) = stack.last().copied() {
            if known.contains_key(&at) {
                stack.pop();
                continue;
            }
            if known.len() > NEAR || stack.len() > NEAR {
                return None;
            }
            if self.levels[at.at()] <= above {
                known.insert(at, Standing::Apart);
                continue;
            }
            let open = stack.len();
            stack.extend(self.needs(at).iter().filter(|need| !known.contains_key(need)));
            if stack.len() == open {
                known.insert(at, self.step(at, |need| known[&need]));
            }
        }
        known.get(&reader).copied()
    }

    /// How every node stands to `other`.
    fn far(&self, other: NodeIx) -> Rc<[Standing]> {
        let mut kept = self.far.borrow_mut();
        if let Some(known) = kept.get(&other) {
            return Rc::clone(known);
        }
        let mut standing = vec![Standing::Apart; self.needs.len()];
        standing[other.at()] = Standing::Sure;
        for ix in self.sorted.iter().filter(|ix| self.levels[ix.at()] > self.levels[other.at()]) {
            standing[ix.at()] = self.step(*ix, |need| standing[need.at()]);
        }
        if (kept.len() + 1) * standing.len() > KEPT {
            kept.clear();
        }
        let standing: Rc<[Standing]> = standing.into();
        kept.insert(other, Rc::clone(&standing));
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(nodes: &[(Join, &[u32])]) -> Order {
        let needs = nodes.iter().map(|(_, needs)| needs.iter().map(|need| NodeIx(*need)).collect()).collect();
        let joins = nodes.iter().map(|(join, _)| *join).collect();
        let sorted = (0..nodes.len() as u32).map(NodeIx).collect();
        Order::new(needs, joins, sorted, vec![false; nodes.len()])
    }

    #[test]
    fn near_and_far_answers_agree() {
        // A few hundred small graphs, each in topological order by construction.
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let mut graph: Vec<(Join, Vec<u32>)> = Vec::new();
            for node in 0..12_u64 {
                let join = Join::ALL[random(3) as usize];
                let mut needs: Vec<u32> =
                    (0..node.min(random(4))).map(|_| random(node.max(1)) as u32).collect();
                needs.sort_unstable();
                needs.dedup();
                graph.push((join, needs));
            }
            let nodes: Vec<(Join, &[u32])> =
                graph.iter().map(|(join, needs)| (*join, needs.as_slice())).collect();
            let order = order(&nodes);
            for reader in (0..12).map(NodeIx) {
                for other in (0..12).map(NodeIx).filter(|other| *other != reader) {
                    assert_eq!(order.near(reader, other), Some(order.far(other)[reader.at()]), "{graph:?}");
                }
            }
        }
    }

    #[test]
    fn only_what_every_need_relied_on_is_sure_behind_any() {
        let order = order(&[
            (Join::All, &[]),
            (Join::All, &[0]),
            (Join::All, &[0]),
            (Join::Any, &[1, 2]),
            (Join::Settled, &[3]),
        ]);
        assert_eq!(order.standing(NodeIx(3), NodeIx(0)), Standing::Sure);
        assert_eq!(order.standing(NodeIx(3), NodeIx(1)), Standing::Behind);
        assert_eq!(order.standing(NodeIx(4), NodeIx(0)), Standing::Behind);
        assert_eq!(order.standing(NodeIx(0), NodeIx(3)), Standing::Apart);
    }

    #[test]
    fn between_are_the_nodes_of_all_paths_and_no_others() {
        let order = order(&[
            (Join::All, &[]),
            (Join::All, &[0]),
            (Join::All, &[]),
            (Join::All, &[1, 2]),
            (Join::All, &[1]),
        ]);
        assert_eq!(order.between(NodeIx(0), NodeIx(3)), [NodeIx(0), NodeIx(1), NodeIx(3)]);
        assert_eq!(order.between(NodeIx(3), NodeIx(3)), [NodeIx(3)]);
        assert_eq!(order.between(NodeIx(4), NodeIx(3)), []);
    }
}
