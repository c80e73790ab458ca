//! A cassette is made from the journal of a run, its values and its commits. What never counted is left out: answers of
//! attempts nobody waited for, and calls that a dead process announced and the next one made again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use blueprint_agent::session::Step;
use blueprint_core::graph::{Edge, NodeIx};
use blueprint_core::run::{Event, Payload, Phase, RunStatus, SessionStep, State};
use serde_json::{Map, Value};

use super::{Base, Body, Cassette, CassetteError, End, Entry, Head, Said, VERSION};
use crate::payload::fetch;
use crate::start::{Engine, OpenedRun, needs_workspace};
use crate::store::Digest;
use crate::trees::output_commits;
use crate::workspace::{CommitId, Merge, Repository};

impl Engine {
    /// What the outside world said in a run, and what came of it. The run must have been opened with its entries.
    pub fn cassette(&self, opened: &OpenedRun) -> Result<Cassette, CassetteError> {
        let state = &opened.state;
        let Some(start) = state.start() else { return Err(CassetteError::Blueprint) };
        if let Some(parent) = &start.forked_from {
            return Err(CassetteError::Fork { run: opened.id.clone(), parent: parent.clone() });
        }
        let repository = if start.base.is_some() && needs_workspace(state.program()) {
            Some(Repository::discover(&self.project, &self.state_dir)?)
        } else {
            None
        };
        let maker = Maker { engine: self, repository: repository.as_ref() };
        let base = match &start.base {
            Some(commit) => maker.tree(commit)?.map(|tree| Base { commit: commit.clone(), tree }),
            None => None,
        };
        let mut inputs = start.inputs.clone();
        if let Value::Object(inputs) = &mut inputs {
            inputs.retain(|name, _| !start.secrets.contains_key(name));
        }
        let head = Head {
            cassette: VERSION,
            made_with: env!("CARGO_PKG_VERSION").to_owned(),
            run: opened.id.clone(),
            blueprint: start.blueprint.clone(),
            digest: start.digest.clone(),
            sources: opened.sources.clone(),
            inputs,
            secrets: start.secrets.keys().cloned().collect(),
            base,
            jobs: start.jobs,
            outcome: match state.status() {
                RunStatus::Finished(outcome) => Some(outcome),
                RunStatus::NotStarted | RunStatus::Running => None,
            },
            nodes: state
                .instances()
                .map(|(_, instance)| (instance.path.to_string(), instance.phase.as_str().to_owned()))
                .collect(),
            tree: maker.left(state)?,
        };
        Ok(Cassette { head, entries: maker.entries(opened)? })
    }
}

struct Maker<'a> {
    engine: &'a Engine,
    repository: Option<&'a Repository>,
}

impl Maker<'_> {
    /// The tree of a commit, in hexadecimal digits.
    fn tree(&self, commit: &str) -> Result<Option<String>, CassetteError> {
        let (Some(repository), Ok(id)) = (self.repository, commit.parse::<CommitId>()) else {
            return Ok(None);
        };
        Ok(Some(repository.tree_of(id)?.to_string()))
    }

    fn tree_of(&self, commit: Option<&String>) -> Result<Option<String>, CassetteError> {
        commit.map_or(Ok(None), |commit| self.tree(commit))
    }

    /// The tree of everything that no other node builds on.
    fn left(&self, state: &State) -> Result<Option<String>, CassetteError> {
        let Some(repository) = self.repository else { return Ok(None) };
        if state.status() == RunStatus::NotStarted {
            return Ok(None);
        }
        let graph = state.program().root();
        let ends: Vec<_> = (0..graph.nodes.len() as u32)
            .map(NodeIx)
            .filter(|ix| !graph.behind(*ix).any(|(_, edge)| edge == Edge::Needs))
            .map(|ix| state.in_scope(0, ix))
            .collect();
        let commits: Vec<CommitId> =
            output_commits(state, &ends).iter().filter_map(|commit| commit.parse().ok()).collect();
        Ok(match repository.merge(&commits)? {
            Merge::Clean(tree) => Some(tree.to_string()),
            Merge::Conflict { .. } => None,
        })
    }

    fn entries(&self, opened: &OpenedRun) -> Result<Vec<Entry>, CassetteError> {
        let mut told = State::new(Arc::clone(opened.state.program()));
        let mut ended: BTreeMap<Arc<str>, BTreeSet<u32>> = BTreeMap::new();
        let mut gates: BTreeMap<Arc<str>, u32> = BTreeMap::new();
        let mut entries = Vec::new();
        for entry in &opened.entries {
            let current = |node: &str, attempt: u32| {
                let instance = told.instance(told.at(node)?);
                (instance.attempt == attempt && !instance.phase.is_settled())
                    .then_some((instance.round, instance.phase))
            };
            match &entry.event {
                Event::SessionAdvanced { node, attempt, step } => {
                    if let Some((round, _)) = current(node, *attempt) {
                        let attempt = number(&ended, node);
                        let said = Said::Step(self.step(step)?);
                        entries.push(Entry { node: node.to_string(), round, attempt, said });
                    }
                }
                Event::NodeSucceeded { node, attempt, success } => {
                    if let Some((round, _)) = current(node, *attempt) {
                        let number = number(&ended, node);
                        let outputs = self.value(success.outputs.as_ref())?;
                        let end = End::Succeeded { outputs, tree: self.tree_of(success.tree.as_ref())? };
                        self.ended(&mut entries, node, round, number, &success.record, end)?;
                        ended.entry(Arc::clone(node)).or_default().insert(*attempt);
                    }
                }
                Event::NodeFailed { node, attempt, failure } => {
                    if let Some((round, _)) = current(node, *attempt) {
                        let number = number(&ended, node);
                        let end = End::Failed {
                            class: failure.class,
                            message: failure.message.clone(),
                            fingerprint: failure.fingerprint.clone(),
                            tree: self.tree_of(failure.tree.as_ref())?,
                        };
                        self.ended(&mut entries, node, round, number, &failure.record, end)?;
                        ended.entry(Arc::clone(node)).or_default().insert(*attempt);
                    }
                }
                Event::GateOpened { node, .. } => *gates.entry(Arc::clone(node)).or_default() += 1,
                Event::GateDecided { node, attempt, decision, by, reason, subject } => {
                    let open = told.at(node).and_then(|inst| told.instance(inst).gate.as_ref());
                    let about_this = open.is_some_and(|gate| gate.subject == *subject);
                    if let Some((round, Phase::Waiting)) = current(node, *attempt)
                        && about_this
                    {
                        let said = Said::Gate { decision: *decision, by: by.clone(), reason: reason.clone() };
                        let attempt = gates.get(node).copied().unwrap_or(1);
                        entries.push(Entry { node: node.to_string(), round, attempt, said });
                    }
                }
                _ => {}
            }
            told.fold(entry.at_ms, &entry.event);
        }
        Ok(without_broken_calls(entries))
    }

    fn value(&self, payload: Option<&Payload>) -> Result<Option<Value>, CassetteError> {
        Ok(payload.map(|payload| fetch(self.engine.store.blobs(), payload)).transpose()?)
    }

    fn step(&self, step: &SessionStep) -> Result<Step, CassetteError> {
        let value = fetch(self.engine.store.blobs(), &step.detail)?;
        let mut step: Step = serde_json::from_value(value).map_err(CassetteError::Step)?;
        if let Step::ToolReturned { tree, .. } = &mut step {
            *tree = self.tree_of(tree.as_ref())?;
        }
        Ok(step)
    }

    /// The answer a request got, and the end of the try.
    fn ended(
        &self,
        entries: &mut Vec<Entry>,
        node: &Arc<str>,
        round: u32,
        attempt: u32,
        record: &Value,
        end: End,
    ) -> Result<(), CassetteError> {
        let mut push = |said| entries.push(Entry { node: node.to_string(), round, attempt, said });
        let status =
            record.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        if let Some(status) = status {
            let body = match record
                .get("answer")
                .and_then(Value::as_str)
                .and_then(|text| text.parse::<Digest>().ok())
            {
                Some(digest) => {
                    self.engine.store.blobs().get(digest).map_err(crate::payload::PayloadError::from)?
                }
                None => Vec::new(),
            };
            let headers = record.get("headers").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
            let request = record.get("request").and_then(Value::as_str).unwrap_or_default().to_owned();
            push(Said::Http { request, status, headers, body: Body::of(body) });
        }
        push(Said::End(end));
        Ok(())
    }
}

/// The try of a node that goes on, from 1.
fn number(ended: &BTreeMap<Arc<str>, BTreeSet<u32>>, node: &str) -> u32 {
    ended.get(node).map_or(1, |ended| ended.len() as u32 + 1)
}

/// A model that was called and never answered, because its process died, was called again: that one counts.
fn without_broken_calls(entries: Vec<Entry>) -> Vec<Entry> {
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let mut broken = BTreeSet::new();
    for (at, entry) in entries.iter().enumerate() {
        match &entry.said {
            Said::Step(Step::ModelCalled { .. } | Step::HookAsked { .. }) => {
                broken.extend(open.insert(entry.node.clone(), at));
            }
            Said::Step(_) => drop(open.remove(&entry.node)),
            Said::End(_) => broken.extend(open.remove(&entry.node)),
            Said::Http { .. } | Said::Gate { .. } => {}
        }
    }
    let whole = entries.into_iter().enumerate().filter(|(at, _)| !broken.contains(at));
    whole.map(|(_, entry)| entry).collect()
}
