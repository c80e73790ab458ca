//! Repair regions: which nodes go round again, that regions nest, and who has to wait for them.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;

use super::compiler::{Compiler, NodeSource, Unit};
use super::shape::Shape;
use crate::finding::{Code, Finding};
use crate::format::Join;
use crate::graph::order::Standing;
use crate::graph::{Edge, NodeIx, Region, RegionIx};

const MAX_ROUNDS: u32 = 100;
/// Rounds of a ci repair without a number, and of the budget without `ci_rounds`.
const CI_ROUNDS: u32 = 2;
/// How many regions may lie inside each other: their rounds multiply.
const MAX_DEPTH: u32 = 8;

impl Compiler<'_> {
    /// Finds the regions, adds the edges that make others wait for them, and returns them, inner ones first.
    pub(super) fn regions(&mut self, unit: &Unit, shape: &mut Shape) -> Vec<Region> {
        let mut regions = Vec::new();
        let mut depth = vec![0; unit.nodes.len()];
        for (number, node) in unit.nodes.iter().enumerate() {
            let closer = NodeIx(number as u32);
            let Some(region) = self.region(unit, shape, node, closer) else { continue };
            if let Some(repair) = &node.table.repair
                && region.members.iter().any(|ix| depth[ix.at()] == MAX_DEPTH)
            {
                self.findings.push(
                    Finding::new(
                        Code::TooLarge,
                        node.span(&repair.range),
                        format!("more than {MAX_DEPTH} repairs lie inside each other here"),
                    )
                    .label("one too many")
                    .reason("the rounds of repairs inside each other multiply")
                    .fix("let fewer nodes repair, or let them start `from` later nodes"),
                );
                continue;
            }
            for ix in &region.members {
                depth[ix.at()] += 1;
            }
            regions.push(region);
        }
        regions.sort_by_key(|region| (region.members.len(), region.closer));
        self.nesting(unit, &mut regions);
        for region in &regions {
            self.is_useful(unit, region);
        }
        order_edges(shape, &regions, |ix| {
            unit.nodes[ix.at()].table.join.as_ref().map_or(Join::All, |join| join.value)
        });
        self.standstill(unit, shape);
        regions
    }

    fn region(&mut self, unit: &Unit, shape: &Shape, node: &NodeSource, closer: NodeIx) -> Option<Region> {
        let repair = node.table.repair.as_ref()?;
        let rounds = self.rounds(unit, node, repair);
        let from_span = node.span(&repair.from.range);
        let Some(from) = shape.by_name.get(repair.from.as_str()).copied() else {
            if !unit.is_lost(&repair.from) {
                let near = shape.node_near(&repair.from);
                self.findings.push(
                    Finding::new(
                        Code::UnknownNode,
                        from_span,
                        format!("there is no node `{}`", repair.from.value),
                    )
                    .label("unknown node")
                    .fix(near.map_or_else(
                        || "name a node that this one needs, directly or by way of others".to_owned(),
                        |near| format!("did you mean `{near}`?"),
                    )),
                );
            }
            return None;
        };
        if from != closer && shape.order.standing(closer, from) == Standing::Apart {
            self.findings.push(
                Finding::new(
                    Code::RepairFrom,
                    from_span,
                    format!("`{}` does not come before `{}`", repair.from.value, node.name.value),
                )
                .label("not upstream")
                .note(node.name_span(), "the node that is repaired")
                .fix(format!(
                    "add \"{}\" to the needs of `{}`, or name another node",
                    repair.from.value, node.name.value
                )),
            );
            return None;
        }
        if shape.order.is_shaky(closer) {
            return None;
        }
        Some(Region {
            from,
            closer,
            rounds: rounds?,
            members: shape.order.between(from, closer),
            inner: Vec::new(),
        })
    }

    fn rounds(
        &mut self,
        unit: &Unit,
        node: &NodeSource,
        repair: &crate::format::Sp<crate::format::RepairTable>,
    ) -> Option<u32> {
        let written = match &repair.rounds {
            Some(written) => written,
            None if unit.is_broken(&node.name, "repair") => return None,
            None if node.table.ci.is_some() => {
                return Some(
                    unit.document.budget.ci_rounds.as_ref().map_or(CI_ROUNDS, |rounds| rounds.value),
                );
            }
            None => {
                self.findings.push(
                    Finding::new(
                        Code::RepairBounds,
                        node.span(&repair.range),
                        format!("the repair of `{}` has no bound", node.name.value),
                    )
                    .label("needs `rounds`")
                    .reason("only a ci node takes its rounds from the budget")
                    .fix(format!("write `repair = {{ from = \"{}\", rounds = 3 }}`", repair.from.value)),
                );
                return None;
            }
        };
        let rounds = written.value;
        if !(2..=MAX_ROUNDS).contains(&rounds) {
            self.findings.push(
                Finding::new(
                    Code::RepairBounds,
                    node.span(&written.range),
                    format!("a repair has 2 to {MAX_ROUNDS} rounds, not {rounds}"),
                )
                .label("all rounds together, the first one included")
                .fix("write for example `rounds = 3`"),
            );
            return None;
        }
        Some(rounds)
    }

    fn nesting(&mut self, unit: &Unit, regions: &mut [Region]) {
        let mut at_node: BTreeMap<NodeIx, Vec<usize>> = BTreeMap::new();
        for (number, region) in regions.iter().enumerate() {
            for member in &region.members {
                at_node.entry(*member).or_default().push(number);
            }
        }
        // How many nodes two regions share, for those that share any.
        let mut shared: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for here in at_node.values() {
            for (at, inner) in here.iter().enumerate() {
                for outer in &here[at + 1..] {
                    *shared.entry((*outer, *inner)).or_default() += 1;
                }
            }
        }
        for ((outer, inner), shared) in shared {
            if shared == regions[inner].members.len() {
                regions[outer].inner.push(RegionIx(inner as u32));
                continue;
            }
            let (one, other) =
                (&unit.nodes[regions[inner].closer.at()], &unit.nodes[regions[outer].closer.at()]);
            self.findings.push(
                Finding::new(
                    Code::RepairOverlap,
                    place(one),
                    format!("the repairs of `{}` and `{}` overlap", one.name.value, other.name.value),
                )
                .label("one region")
                .note(place(other), "the other region")
                .reason("one must lie inside the other, or they must have no node in common")
                .fix("let both start `from` the same node, or move one of them"),
            );
        }
    }

    fn is_useful(&mut self, unit: &Unit, region: &Region) {
        let changes = region.members.iter().any(|ix| {
            let table = &unit.nodes[ix.at()].table;
            let works = table.run.is_some()
                || table.edit.is_some()
                || table.agent.is_some()
                || table.http.is_some()
                || table.uses.is_some();
            *ix != region.closer && (works || unit.broken.contains_key(unit.nodes[ix.at()].name.as_str()))
        });
        let node = &unit.nodes[region.closer.at()];
        if let (false, Some(repair)) = (changes, &node.table.repair) {
            self.findings.push(
                Finding::new(
                    Code::RepairUseless,
                    node.span(&repair.range),
                    format!("another round changes nothing that `{}` looks at", node.name.value),
                )
                .label("no other node of this region does any work")
                .fix(
                    "let the region start at the node that can mend it; to try this node again, use `retry`",
                ),
            );
        }
    }

    /// Nodes outside a region wait until it is closed. Two regions can so come to wait for each other, which no
    /// circle of `needs` shows.
    fn standstill(&mut self, unit: &Unit, shape: &mut Shape) {
        let mut stuck = BTreeSet::new();
        for component in tarjan_scc(&shape.dag).into_iter().filter(|component| component.len() > 1) {
            let members: BTreeSet<NodeIx> = component.iter().map(|index| shape.dag[*index]).collect();
            let waiting: Vec<(NodeIx, NodeIx)> = component
                .iter()
                .flat_map(|index| shape.dag.neighbors(*index).map(move |next| (*index, next)))
                .filter(|(from, to)| {
                    shape.dag.edges_connecting(*from, *to).any(|edge| *edge.weight() == Edge::Order)
                })
                .map(|(from, to)| (shape.dag[from], shape.dag[to]))
                .filter(|(_, waits)| members.contains(waits))
                .collect();
            let closers: BTreeSet<NodeIx> = waiting.iter().map(|(closer, _)| *closer).collect();
            let mut closers = closers.into_iter().map(|ix| &unit.nodes[ix.at()]);
            let Some(first) = closers.next() else { continue };
            let mut finding = Finding::new(
                Code::RepairOverlap,
                place(first),
                format!("the repair of `{}` comes to a standstill", first.name.value),
            )
            .label("this region waits for itself")
            .reason("what needs a node of a region waits until the region is closed, and these regions wait for each other")
            .fix("let both regions be one, or take one of these needs out");
            for other in closers {
                finding = finding.note(place(other), "by way of this region");
            }
            for (closer, waits) in waiting {
                let (closer, waits) = (&unit.nodes[closer.at()], &unit.nodes[waits.at()]);
                finding = finding.note(
                    waits.name_span(),
                    format!("`{}` waits for the repair of `{}`", waits.name.value, closer.name.value),
                );
            }
            self.findings.push(finding);
            stuck.extend(members);
        }
        if !stuck.is_empty() {
            shape.dag.retain_edges(|dag, edge| {
                dag.edge_weight(edge) == Some(&Edge::Needs)
                    || dag.edge_endpoints(edge).is_none_or(|(_, to)| !stuck.contains(&dag[to]))
            });
        }
    }
}

fn place(node: &NodeSource) -> crate::source::Span {
    node.table.repair.as_ref().map_or_else(|| node.name_span(), |repair| node.span(&repair.range))
}

/// A node outside a region that needs one inside waits until the region is closed.
fn order_edges(shape: &mut Shape, regions: &[Region], joins: impl Fn(NodeIx) -> Join) {
    let mut edges = BTreeSet::new();
    for region in regions {
        for member in region.members.iter().filter(|ix| **ix != region.closer) {
            for index in shape.dag.neighbors(Shape::index(*member)) {
                let outside = shape.dag[index];
                if region.members.binary_search(&outside).is_err() {
                    edges.insert((region.closer, outside));
                }
            }
        }
    }
    for (closer, outside) in edges {
        // A node that joins with "any" may start before the closer it also needs: it waits all the same.
        let waits = shape.order.needs(outside).contains(&closer) && joins(outside) != Join::Any;
        if !waits {
            shape.dag.add_edge(Shape::index(closer), Shape::index(outside), Edge::Order);
        }
    }
}
