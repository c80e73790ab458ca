//! Escalation: everything a person needs to take over, in one record. Says what was tried and what to type.

use std::sync::Arc;

use blueprint_core::run::{Event, Failure, Inst, Payload, State};
use serde_json::{Value, json};

use super::{blocking, infra};
use crate::payload::keep;
use crate::shared::Shared;
use crate::workspace::{CommitId, DiffOptions};

/// The most of a diff or log that is put into the record, in bytes.
const MAX_PART: usize = 256 * 1024;

/// What is known when a node gives up.
#[derive(Debug, Clone)]
pub struct Handover {
    path: Arc<str>,
    attempt: u32,
    rounds: u32,
    allowed: u32,
    same_failure: u32,
    failure: Option<Arc<Failure>>,
    base: Option<String>,
    left: Option<String>,
    nodes: Vec<(String, String, Option<String>)>,
}

impl Handover {
    /// Takes from the state what the record needs.
    pub fn of(state: &State, inst: Inst) -> Self {
        let instance = state.instance(inst);
        let region = state.region(inst);
        let nodes = state
            .instances()
            .filter(|(_, other)| other.scope == instance.scope)
            .map(|(_, other)| {
                let log = other.record.get("log").and_then(Value::as_str).map(str::to_owned);
                (other.path.to_string(), other.phase.as_str().to_owned(), log)
            })
            .collect();
        Self {
            path: instance.path.clone(),
            attempt: instance.attempt,
            rounds: region.map_or(1, |region| region.round),
            allowed: region.map_or(1, |region| region.rounds),
            same_failure: instance.same_failure,
            failure: instance.failure.clone(),
            base: state.start().and_then(|start| start.base.clone()),
            left: instance.failure.as_ref().and_then(|failure| failure.tree.clone()),
            nodes,
        }
    }
}

pub(super) async fn write(shared: Arc<Shared>, handover: Handover) -> Event {
    let (node, attempt) = (Arc::clone(&handover.path), handover.attempt);
    match blocking(move || record(&shared, &handover)).await {
        Ok(record) => Event::Escalated { node, attempt, record },
        // The run still ends as escalated; the record says that it is all there is.
        Err(failure) => Event::Escalated {
            node,
            attempt,
            record: Payload::Inline(json!({ "incomplete": failure.message })),
        },
    }
}

fn record(shared: &Shared, handover: &Handover) -> Result<Payload, Failure> {
    let blobs = shared.store.blobs();
    let diff = match (&shared.trees, &handover.base, &handover.left) {
        (Some(trees), Some(base), Some(left)) => {
            let tree = |commit: &String| -> Result<_, Failure> {
                let id: CommitId =
                    commit.parse().map_err(|e| infra("a recorded commit is unreadable", &e))?;
                trees
                    .repository()
                    .tree_of(id)
                    .map_err(|e| infra("git could not read a commit of the run", &e))
            };
            let diff = trees
                .repository()
                .diff(tree(base)?, tree(left)?, DiffOptions::default())
                .map_err(|e| infra("git could not make the diff", &e))?;
            Some(shared.redactor.redact_str(&cut(&diff.patch)))
        }
        _ => None,
    };
    let mut logs = serde_json::Map::new();
    for (path, _, log) in &handover.nodes {
        let bytes = log.as_ref().and_then(|log| log.parse().ok()).map(|digest| blobs.get(digest)).transpose();
        if let Some(bytes) = bytes.map_err(|e| infra("a log could not be read", &e))? {
            let text: Vec<String> = crate::logs::lines(&bytes)
                .map(|line| String::from_utf8_lossy(&line.text).into_owned())
                .collect();
            logs.insert(path.clone(), Value::from(cut(text.join("\n").as_bytes())));
        }
    }
    let stuck = handover.same_failure >= 3;
    let run = &shared.run;
    let node = &handover.path;
    let record = json!({
        "node": node,
        "why": if stuck { "the same failure came three times in a row" } else { "all rounds of repair are used up" },
        "rounds": { "done": handover.rounds, "allowed": handover.allowed },
        "failure": handover.failure.as_ref().map(|failure| json!({ "class": failure.class, "message": failure.message, "fingerprint": failure.fingerprint })),
        "nodes": handover.nodes.iter().map(|(path, phase, _)| json!({ "node": path, "phase": phase })).collect::<Vec<_>>(),
        "commit": handover.left,
        "diff": diff,
        "logs": logs,
        "next": [
            { "to": "see everything", "type": format!("blueprint show {run} {node}") },
            { "to": "see what was changed", "type": format!("blueprint diff {run}") },
            { "to": "read the log", "type": format!("blueprint logs {run} {node}") },
            { "to": "try again from this node", "type": format!("blueprint retry {run} {node}") },
            { "to": "start over from an earlier node in a new run", "type": format!("blueprint fork {run} --from NODE") },
        ],
    });
    keep(blobs, record).map_err(|e| infra("the record could not be kept", &e))
}

fn cut(bytes: &[u8]) -> String {
    if bytes.len() <= MAX_PART {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let end = String::from_utf8_lossy(bytes.get(bytes.len() - MAX_PART..).unwrap_or_default()).into_owned();
    format!("[{} bytes left out]\n{end}", bytes.len() - MAX_PART)
}
