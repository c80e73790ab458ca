//! Follows every single thing through a run: who wrote what into which tree, who read it, and what a person approved of
//! it. Knows nothing of how the check or the state machine work it out.

use std::collections::{BTreeMap, BTreeSet};

use blueprint_core::format::{Join, Tier};
use blueprint_core::graph::{Action, Edge, NodeIx, SubKind};
use blueprint_core::run::{Command, Event, Inst, Outcome, Phase, RunStatus, State};

use super::claims::Claim;

/// What is known of a node from how it was made.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) tier: &'static str,
    pub(super) workspace: bool,
    pub(super) secret: bool,
    pub(super) commit: bool,
    pub(super) reads: Option<String>,
    pub(super) input: bool,
}

/// A single thing: something that an attempt wrote or said, or that was given from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Thing {
    what: String,
    tier: Tier,
}

type Things = BTreeSet<Thing>;

pub(super) struct Watcher {
    claims: Vec<Claim>,
    given: Tier,
    phases: BTreeMap<String, (Phase, u32)>,
    /// What is in a tree, by its commit.
    trees: BTreeMap<String, Things>,
    /// What the tree held that a running attempt started from.
    started: BTreeMap<String, Things>,
    /// What a node said, and how bad it was when it ran.
    said: BTreeMap<String, Thing>,
    /// How bad that was which a node ran.
    ran: BTreeMap<String, Tier>,
    /// What was approved at a gate.
    approved: BTreeMap<String, Things>,
    violations: Vec<String>,
}

fn tier(name: &str) -> Tier {
    Tier::ALL.iter().copied().find(|tier| tier.as_str() == name).unwrap_or(Tier::Trusted)
}

impl Watcher {
    pub(super) fn new(given: &str, claims: Vec<Claim>) -> Self {
        Self {
            claims,
            given: tier(given),
            phases: BTreeMap::new(),
            trees: BTreeMap::new(),
            started: BTreeMap::new(),
            said: BTreeMap::new(),
            ran: BTreeMap::new(),
            approved: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn violations(self) -> Vec<String> {
        self.violations
    }

    pub(super) fn see(&mut self, state: &State, event: &Event, facts: &dyn Fn(&str, &str) -> Facts) {
        if let Event::Issued(Command::StartNode { node, taint, .. }) = event {
            self.starts(state, node, *taint, facts);
        }
        if let Event::Issued(Command::OpenGate { node, .. } | Command::Evaluate { node, .. }) = event {
            self.claimed(state, node);
        }
        let now: Vec<(Inst, String, Phase, u32)> =
            state.instances().map(|(inst, i)| (inst, i.path.to_string(), i.phase, i.attempt)).collect();
        for (inst, path, phase, attempt) in now {
            let before = self.phases.insert(path.clone(), (phase, attempt));
            if before.is_some_and(|(was, _)| was == phase) {
                continue;
            }
            if phase == Phase::Pending {
                self.said.remove(&path);
                self.ran.remove(&path);
                self.approved.remove(&path);
            }
            if let Some(commit) = state.instance(inst).tree.as_deref()
                && !self.trees.contains_key(commit)
            {
                let mut things = self.started.get(&path).cloned().unwrap_or_default();
                things.extend(self.said.get(&path).cloned());
                self.trees.insert(commit.to_owned(), things);
            }
            if phase == Phase::Succeeded && matches!(state.node(inst).action, Action::Gate(_)) {
                let mut shown = self.tree(state, inst);
                if state.node(inst).join != Join::Any {
                    shown.extend(state.needs(inst).flat_map(|need| self.outputs(state, need)));
                    self.approved.insert(path, shown);
                }
            }
        }
        if let RunStatus::Finished(Outcome::Succeeded) = state.status()
            && matches!(event, Event::Issued(Command::Finish { .. }))
        {
            let ends = state.instances().map(|(_, i)| (i.path.to_string(), i.phase)).collect();
            for claim in self.claims.iter().filter(|claim| claim.is_broken_at_the_end(&ends)) {
                self.violations.push(format!("claim {claim:?} broken at the end"));
            }
        }
    }

    fn claimed(&mut self, state: &State, path: &str) {
        let phase = |path: &str| state.at(path).map(|inst| state.instance(inst).phase);
        let passed = |path: &str| phase(path) == Some(Phase::Succeeded);
        let approved = state.instances().any(|(inst, i)| {
            i.phase == Phase::Succeeded && matches!(state.node(inst).action, Action::Gate(_))
        });
        for claim in self.claims.iter().filter(|claim| claim.is_broken_by(path, &passed, approved)) {
            self.violations.push(format!("claim {claim:?} broken"));
        }
    }

    fn starts(
        &mut self,
        state: &State,
        path: &str,
        taint: Option<Tier>,
        facts: &dyn Fn(&str, &str) -> Facts,
    ) {
        self.claimed(state, path);
        let Some(inst) = state.at(path) else { return };
        let here = facts_of(state, inst, facts);
        let tree = self.tree(state, inst);
        let mut things = if here.workspace { tree.clone() } else { Things::new() };
        things.extend(self.values(state, inst, &here, facts));
        let worst = self.unapproved(state, inst, &things);
        let work = worst.max(tier(here.tier));
        // An http node runs nothing: what it declares is said of the answer.
        let runs = if here.commit { worst } else { work };
        let allowed = state.node(inst).tier;
        if taint.is_none_or(|taint| taint < runs) {
            self.violations
                .push(format!("taint of {path} is {taint:?}, and it works with {runs}: {things:?}"));
        }
        if taint.is_some_and(|taint| taint > allowed) {
            self.violations.push(format!("taint of {path} is {taint:?}, and {allowed} was allowed"));
        }
        if runs > allowed {
            self.violations
                .push(format!("taint: {path} works with {runs}, and {allowed} was allowed: {things:?}"));
        }
        if here.secret && worst >= Tier::Generated {
            self.violations.push(format!("secret of {path} is reached by {things:?}"));
        }
        if here.commit {
            let reached = self.reached(state, inst).max(worst);
            if reached >= Tier::Generated {
                self.violations.push(format!("effect of {path} comes after {reached}"));
            }
        }
        let thing = Thing { what: format!("{path}#{}", state.instance(inst).attempt), tier: work };
        self.started.insert(path.to_owned(), tree);
        self.said.insert(path.to_owned(), thing);
        self.ran.insert(path.to_owned(), runs);
    }

    /// What is in the tree that a node starts from.
    fn tree(&self, state: &State, inst: Inst) -> Things {
        let mut things = Things::new();
        let mut next = vec![(inst, true)];
        let mut seen = BTreeSet::new();
        while let Some((at, input)) = next.pop() {
            if !seen.insert((at, input)) {
                continue;
            }
            let instance = state.instance(at);
            let commit = if input { &instance.carried } else { &instance.tree };
            if let Some(commit) = commit {
                things.extend(self.trees.get(&**commit).cloned().unwrap_or_default());
                continue;
            }
            if !input && let Some(children) = &instance.children {
                // What the graphs of a node that succeeded left is what their last nodes left.
                if instance.phase == Phase::Succeeded && !children.scopes.is_empty() {
                    for scope in &children.scopes {
                        let graph = state.graph_of(*scope);
                        for node in (0..graph.nodes.len() as u32).map(NodeIx) {
                            if !graph.behind(node).any(|(_, edge)| edge == Edge::Needs) {
                                next.push((state.in_scope(*scope, node), false));
                            }
                        }
                    }
                    continue;
                }
            }
            let needs: Vec<Inst> = state.tree_needs(at).collect();
            if needs.is_empty() {
                next.extend(state.scope(instance.scope).parent.map(|parent| (parent, true)));
            }
            next.extend(needs.into_iter().map(|need| (need, false)));
        }
        things
    }

    /// What a node said, if it came to that.
    fn outputs(&self, state: &State, inst: Inst) -> Things {
        if state.instance(inst).phase != Phase::Succeeded {
            return Things::new();
        }
        self.said.get(&*state.instance(inst).path).cloned().into_iter().collect()
    }

    /// The values that a node names.
    fn values(&self, state: &State, inst: Inst, here: &Facts, facts: &dyn Fn(&str, &str) -> Facts) -> Things {
        // The body of an `each` names what is around it.
        let (mut at, mut item) = (inst, false);
        while state.graph_of(state.instance(at).scope).kind == SubKind::Body {
            at = state.scope(state.instance(at).scope).parent.unwrap();
            item = true;
        }
        let scope = state.instance(at).scope;
        if let Some(name) = &here.reads {
            let other = state.graph_of(scope).by_name[name.as_str()];
            return self.outputs(state, state.in_scope(scope, other));
        }
        if !here.input || item {
            // The items are a literal of the file.
            return Things::new();
        }
        let Some(parent) = state.scope(scope).parent else {
            return Things::from([Thing { what: "given".to_owned(), tier: self.given }]);
        };
        // The graph that is used takes as `x` what the node that uses it names.
        let above = facts_of(state, parent, facts);
        let each = matches!(&state.node(parent).action, Action::Use(uses) if uses.each.is_some());
        match above.reads {
            None if each => Things::new(),
            _ => self.values(state, parent, &above, facts),
        }
    }

    /// The worst of these things that nobody approved whom this node had to wait for.
    fn unapproved(&self, state: &State, inst: Inst, things: &Things) -> Tier {
        let approved: BTreeSet<&Thing> =
            upstream(state, inst).iter().filter_map(|path| self.approved.get(path)).flatten().collect();
        things
            .iter()
            .filter(|thing| !approved.contains(thing))
            .map(|thing| thing.tier)
            .max()
            .unwrap_or(Tier::Trusted)
    }

    /// The worst that ran before a node and that no gate behind it, which this node had to wait for, held up.
    fn reached(&self, state: &State, inst: Inst) -> Tier {
        let before = upstream(state, inst);
        let held: BTreeSet<String> = before
            .iter()
            .filter(|path| self.approved.contains_key(*path))
            .filter_map(|gate| state.at(gate))
            .flat_map(|gate| upstream(state, gate))
            .collect();
        before
            .iter()
            .filter(|path| !held.contains(*path))
            .filter_map(|path| self.ran.get(path).copied())
            .max()
            .unwrap_or(Tier::Trusted)
    }
}

fn facts_of(state: &State, inst: Inst, facts: &dyn Fn(&str, &str) -> Facts) -> Facts {
    // The body of an `each` is the node itself once more.
    let mut at = inst;
    while state.graph_of(state.instance(at).scope).kind == SubKind::Body {
        at = state.scope(state.instance(at).scope).parent.unwrap();
    }
    facts(&state.graph_of(state.instance(at).scope).name, &state.node(at).name)
}

/// Everything that comes before an instance, inside and outside of its graph.
fn upstream(state: &State, inst: Inst) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<Inst> = state.needs(inst).collect();
    next.extend(state.scope(state.instance(inst).scope).parent);
    let mut around: BTreeSet<Inst> = BTreeSet::new();
    let mut outer = inst;
    while let Some(parent) = state.scope(state.instance(outer).scope).parent {
        around.insert(parent);
        outer = parent;
    }
    while let Some(at) = next.pop() {
        let instance = state.instance(at);
        if !found.insert(instance.path.to_string()) && !around.contains(&at) {
            continue;
        }
        next.extend(state.needs(at).filter(|need| !found.contains(&*state.instance(*need).path)));
        match &instance.children {
            // A graph that this very node is part of comes to its end later.
            Some(children) if !around.contains(&at) => {
                for scope in &children.scopes {
                    let nodes = (0..state.graph_of(*scope).nodes.len() as u32).map(NodeIx);
                    next.extend(
                        nodes
                            .map(|node| state.in_scope(*scope, node))
                            .filter(|inner| !found.contains(&*state.instance(*inner).path)),
                    );
                }
            }
            _ => next.extend(
                state
                    .scope(instance.scope)
                    .parent
                    .filter(|_| around.contains(&at))
                    .filter(|parent| !found.contains(&*state.instance(*parent).path)),
            ),
        }
    }
    found
}
