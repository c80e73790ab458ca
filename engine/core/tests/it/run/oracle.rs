//! The second opinion: says how every node ends, by working out one node after another, each when all before it
//! are done. Knows nothing of events, places or time.

use std::collections::{BTreeMap, BTreeSet};

use blueprint_core::run::{FailureClass, Outcome, Phase};

use super::script::{Exit, Fate, Fault, Script, Verdict};
use super::spec::{self, Expect, Join, Kind, Node, OnSilence, Spec};

/// How often the same failure may come before it is the last.
const ENOUGH: u32 = 3;

/// How a node ends, and everything inside it.
#[derive(Debug, Clone)]
struct End {
    phase: Phase,
    fault: Option<Fault>,
    /// The gate was not answered, which is for a person at once.
    silence: bool,
    escalated: bool,
    inside: BTreeMap<String, Phase>,
}

impl End {
    fn of(phase: Phase) -> Self {
        Self { phase, fault: None, silence: false, escalated: false, inside: BTreeMap::new() }
    }
}

pub(super) struct Oracle<'a> {
    spec: &'a Spec,
    script: Script,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(spec: &'a Spec, script: Script) -> Self {
        Self { spec, script }
    }

    /// Where every node ends, by path, and how the run ends.
    pub(super) fn run(&self) -> (BTreeMap<String, Phase>, Outcome) {
        let ends = self.graph(0, "", "");
        let failed = || ends.iter().filter(|end| end.phase == Phase::Failed);
        let outcome = if failed().any(|end| end.escalated) {
            Outcome::Escalated
        } else if failed().any(|end| end.fault.as_ref().is_some_and(|fault| fault.0 == FailureClass::Review))
        {
            Outcome::Rejected
        } else if failed().count() > 0 {
            Outcome::Failed
        } else {
            Outcome::Succeeded
        };
        (phases("", &ends), outcome)
    }

    /// The nodes of the blueprint that are taken over from another run: whatever could be done there without
    /// anything that is not taken over.
    pub(super) fn taken_over(&self) -> Vec<(usize, bool)> {
        let nodes = &self.spec.graphs[0];
        let regions = spec::regions(nodes);
        let mut taken: BTreeMap<usize, bool> = BTreeMap::new();
        let mut order = Vec::new();
        loop {
            let next = (0..nodes.len()).find(|node| {
                let mut before =
                    nodes[*node].needs.iter().copied().chain(spec::waits_for(nodes, &regions, *node));
                let phase = |need: &usize| {
                    if taken.get(need) == Some(&false) { Phase::Succeeded } else { Phase::Skipped }
                };
                let needs: Vec<Phase> = nodes[*node].needs.iter().map(phase).collect();
                !taken.contains_key(node)
                    && before.all(|before| taken.contains_key(&before))
                    && starts(nodes[*node].join, &needs)
                    && self.script.taken_over(*node).is_some()
            });
            let Some((node, skipped)) = next.and_then(|node| Some((node, self.script.taken_over(node)?)))
            else {
                return order;
            };
            taken.insert(node, skipped);
            order.push((node, skipped));
        }
    }

    fn graph(&self, graph: usize, path: &str, id: &str) -> Vec<End> {
        let nodes = &self.spec.graphs[graph];
        let regions = spec::regions(nodes);
        let mut rounds: BTreeMap<usize, u32> = regions.iter().map(|(closer, _)| (*closer, 1)).collect();
        let mut streaks: BTreeMap<usize, (Option<String>, u32)> = BTreeMap::new();
        let mut ends: BTreeMap<usize, End> = BTreeMap::new();
        if path.is_empty() {
            for (node, skipped) in self.taken_over() {
                ends.insert(node, End::of(if skipped { Phase::Skipped } else { Phase::Succeeded }));
            }
        }
        loop {
            let next = (0..nodes.len()).find(|node| {
                let mut before =
                    nodes[*node].needs.iter().copied().chain(spec::waits_for(nodes, &regions, *node));
                !ends.contains_key(node) && before.all(|before| ends.contains_key(&before))
            });
            let Some(number) = next else { break };
            let node = &nodes[number];
            let mut around: Vec<String> = regions
                .iter()
                .filter(|(_, members)| members.contains(&number))
                .map(|(closer, _)| format!("{}={}", spec::name(*closer), rounds[closer]))
                .collect();
            around.sort();
            let here = format!("{id}{}{around:?}", spec::name(number));
            let needs: Vec<Phase> = node.needs.iter().map(|need| ends[need].phase).collect();
            let mut end = if starts(node.join, &needs) {
                self.node(node, &format!("{path}{}", spec::name(number)), &here)
            } else {
                End::of(Phase::Skipped)
            };
            if end.phase == Phase::Failed {
                let region = regions.iter().find(|(closer, _)| *closer == number);
                if end.silence {
                    end.escalated = true;
                } else if let (Some((_, members)), Some((_, bound)), true) =
                    (region, node.repair, repairable(&end))
                {
                    if rounds[&number] < bound && streak(number, &end, &mut streaks) < ENOUGH {
                        go_round(number, members, &regions, &mut rounds, &mut streaks);
                        ends.retain(|node, _| !members.contains(node));
                        continue;
                    }
                    end.escalated = true;
                }
            } else if end.phase == Phase::Succeeded {
                streaks.remove(&number);
            }
            ends.insert(number, end);
        }
        assert_eq!(ends.len(), nodes.len(), "some order of all nodes exists");
        ends.into_values().collect()
    }

    /// One node, with all its tries.
    fn node(&self, node: &Node, path: &str, id: &str) -> End {
        // `retry` of a node that runs for each item is about the items, unless the items are blueprints.
        let of_items = node.each.is_some() && node.kind == Kind::Run;
        let retry = node.retry.filter(|_| !of_items);
        let (mut look, mut times) = (None, 0);
        for tried in 1.. {
            let id = format!("{id}t{tried}");
            let mut end = self.once(node, path, &id);
            let Some(fault) = end.fault.clone() else { return end };
            times = if fault.1.is_some() && fault.1 == look { times + 1 } else { 1 };
            look = fault.1;
            let worth =
                |retry: spec::Retry| retry.attempts > tried && is_worth_a_retry(fault.0, retry.on_command);
            if !retry.is_some_and(worth) || times >= ENOUGH {
                end.phase = Phase::Failed;
                return end;
            }
        }
        unreachable!("tries are bounded")
    }

    fn once(&self, node: &Node, path: &str, id: &str) -> End {
        let each = node.each.is_some();
        let mut items = 1;
        if node.when || each || matches!(node.kind, Kind::Use(_)) {
            match self.script.verdict(id, each, node.when) {
                Verdict::Skip => return End::of(Phase::Skipped),
                Verdict::Fault(fault) => return End { fault: Some(fault), ..End::of(Phase::Failed) },
                Verdict::Go { items: count } => items = count,
            }
        }
        match node.kind {
            Kind::Use(graph) => {
                let item = |item: u32| {
                    let path = if each { format!("{path}[{item}]/") } else { format!("{path}/") };
                    let ends = self.graph(graph, &path, &format!("{id}({item})/"));
                    (phases(&path, &ends), ends)
                };
                self.whole(id, &(0..items).map(item).collect::<Vec<_>>())
            }
            Kind::Run if each => {
                let body = Node { each: None, when: false, ..node.clone() };
                let item = |item: u32| {
                    let path = format!("{path}[{item}]");
                    let name =
                        id.rsplit('/').next().and_then(|last| last.split('[').next()).unwrap_or_default();
                    let end = self.node(&body, &path, &format!("{id}({item})/{name}[]"));
                    (BTreeMap::from([(path, end.phase)]), vec![end])
                };
                self.whole(id, &(0..items).map(item).collect::<Vec<_>>())
            }
            Kind::Run => {
                let fault = match (self.script.exit(id), node.expect) {
                    (Exit::Fault(fault), _) => Some(fault),
                    (Exit::Code(_), Expect::Any) => None,
                    (Exit::Code(code), expect) if (code == 0) == (expect == Expect::Success) => None,
                    (Exit::Code(_), _) => Some((FailureClass::Command, self.script.look(id))),
                };
                finished(fault)
            }
            Kind::Wait => End::of(Phase::Succeeded),
            Kind::Gate { expires, .. } => match self.script.fate(id, expires.is_some()) {
                Fate::Approve => End::of(Phase::Succeeded),
                Fate::Reject => finished(Some((FailureClass::Review, None))),
                Fate::Silence => End {
                    silence: expires == Some(OnSilence::Escalate),
                    ..finished(Some((FailureClass::Review, None)))
                },
            },
        }
    }

    /// What becomes of a node when all items inside it came to an end.
    fn whole(&self, id: &str, items: &[(BTreeMap<String, Phase>, Vec<End>)]) -> End {
        let inside = items.iter().flat_map(|(inside, _)| inside.clone()).collect();
        let failed: Vec<&End> =
            items.iter().flat_map(|(_, ends)| ends).filter(|end| end.phase == Phase::Failed).collect();
        if failed.is_empty() {
            return End { inside, ..finished(self.script.collects(id).err()) };
        }
        let faults: Vec<Fault> = failed.iter().filter_map(|end| end.fault.clone()).collect();
        let review = faults.iter().find(|fault| fault.0 == FailureClass::Review);
        End {
            inside,
            escalated: failed.iter().any(|end| end.escalated),
            ..finished(Some(review.unwrap_or(&faults[0]).clone()))
        }
    }
}

fn finished(fault: Option<Fault>) -> End {
    let phase = if fault.is_none() { Phase::Succeeded } else { Phase::Failed };
    End { fault, ..End::of(phase) }
}

/// How often in a row the region of a closer ended in this failure.
fn streak(closer: usize, end: &End, streaks: &mut BTreeMap<usize, (Option<String>, u32)>) -> u32 {
    let look = end.fault.as_ref().and_then(|fault| fault.1.clone());
    let (last, times) = streaks.get(&closer).cloned().unwrap_or((None, 0));
    let times = if look.is_some() && look == last { times + 1 } else { 1 };
    streaks.insert(closer, (look, times));
    times
}

fn starts(join: Join, needs: &[Phase]) -> bool {
    let good = needs.iter().filter(|phase| **phase == Phase::Succeeded).count();
    match join {
        Join::All => good == needs.len(),
        Join::Any => good > 0,
        Join::Settled => true,
    }
}

fn repairable(end: &End) -> bool {
    let class = end.fault.as_ref().map(|fault| fault.0);
    !matches!(class, None | Some(FailureClass::Infra | FailureClass::Policy))
}

fn is_worth_a_retry(class: FailureClass, on_command: bool) -> bool {
    match class {
        FailureClass::Command | FailureClass::Conflict => on_command,
        FailureClass::Timeout => !on_command,
        FailureClass::Infra => true,
        _ => false,
    }
}

fn go_round(
    closer: usize,
    members: &BTreeSet<usize>,
    regions: &[(usize, BTreeSet<usize>)],
    rounds: &mut BTreeMap<usize, u32>,
    streaks: &mut BTreeMap<usize, (Option<String>, u32)>,
) {
    for (inner, _) in regions.iter().filter(|(other, inner)| *other != closer && inner.is_subset(members)) {
        rounds.insert(*inner, 1);
        streaks.remove(inner);
    }
    *rounds.entry(closer).or_default() += 1;
}

fn phases(path: &str, ends: &[End]) -> BTreeMap<String, Phase> {
    let mut phases = BTreeMap::new();
    for (number, end) in ends.iter().enumerate() {
        phases.insert(format!("{path}{}", spec::name(number)), end.phase);
        phases.extend(end.inside.clone());
    }
    phases
}
