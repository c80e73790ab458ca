//! Agents of other people: a program inside the node's sandbox that does the whole work. What it says of itself is kept
//! and believed in nothing but its outputs, which are checked like those of any node.

use std::sync::Arc;

use blueprint_agent::external::{self, End, Outcome, Protocol, Work};
use blueprint_agent::tool::{Effect, HostError, ToolHost as _};
use blueprint_core::format::{AgentProtocol, Workspace};
use blueprint_core::graph::{Agent, Node};
use blueprint_core::run::{Failure, FailureClass, LostBecause, Success};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::command::prepare;
use super::super::outlet::Outlet;
use super::super::{Ending, Job, ahead, infra};
use super::host::{Handle, Host};
use super::{LONGEST, ends, keep_tree};
use crate::payload::keep;
use crate::shared::Shared;

/// How much of what an agent says is kept, in bytes.
const KEEP: usize = 4 << 20;

/// Lets the agent work.
pub(super) async fn run(
    shared: &Arc<Shared>,
    job: &Job,
    node: &Node,
    agent: &Agent,
    (argv, protocol): (&[String], AgentProtocol),
    prompt: String,
    cancel: &CancellationToken,
) -> Result<Success, Ending> {
    let outlet = Outlet::new(shared, job, &agent.network, &agent.credentials).await?;
    let prepared = prepare(shared, job, node.workspace).await?;
    ahead::prepare(shared, job, prepared.as_ref().map(|prepared| prepared.checkout.dir()));
    let host = Arc::new(Host::new(shared, job, node, agent, prepared, outlet)?);
    let mut ceiling =
        [Effect::Read, Effect::Destructive].into_iter().collect::<std::collections::BTreeSet<_>>();
    if matches!(node.workspace, Workspace::Write | Workspace::Scratch) {
        ceiling.insert(Effect::Write);
    }
    let work = Work {
        command: argv.to_vec(),
        protocol: match protocol {
            AgentProtocol::Plain => Protocol::Plain,
            AgentProtocol::Acp => Protocol::Acp,
        },
        env: host.env().clone(),
        prompt,
        wall: node.timeout.unwrap_or(LONGEST),
        keep: KEEP,
        ceiling,
    };
    let handle = Handle(Arc::clone(&host));
    let done = external::run(&work, &handle, cancel).await;
    host.stop().await;
    let held = host.held();
    let outcome = match done {
        Ok(outcome) => outcome,
        Err(HostError::Cancelled) => {
            super::give_back(shared, held);
            return Err(Ending::Lost(LostBecause::Cancelled));
        }
        Err(error) => {
            super::give_back(shared, held);
            return Err(Failure::new(FailureClass::Sandbox, error.to_string()).into());
        }
    };
    for heard in &outcome.transcript {
        handle.note(&serde_json::to_string(heard).unwrap_or_default());
    }
    let (tree, flagged) = keep_tree(shared, job, node, held).await?;
    conclude(shared, node, &host, outcome, tree, &flagged)
}

fn conclude(
    shared: &Shared,
    node: &Node,
    host: &Host,
    outcome: Outcome,
    tree: Option<String>,
    flagged: &[String],
) -> Result<Success, Ending> {
    let mut transcript = String::new();
    for heard in &outcome.transcript {
        transcript.push_str(&serde_json::to_string(heard).unwrap_or_default());
        transcript.push('\n');
    }
    let transcript = (!transcript.is_empty())
        .then(|| shared.store.blobs().put(transcript.as_bytes()))
        .transpose()
        .map_err(|error| infra("the transcript could not be kept", &error))?;
    let log = host.log()?;
    let mut record = json!({
        "log": log.digest.map(|digest| digest.to_string()),
        "isolation": host.backend().name(),
        "attestation": host.attestation(),
        "transcript": transcript.map(|digest| digest.to_string()),
        "truncated": outcome.truncated,
        "claimed_cost_usd": outcome.claimed_micros.map(|micros| micros as f64 / 1_000_000.0),
    });
    if !flagged.is_empty() {
        record["flagged"] = json!(flagged);
    }
    host.note_requests(&mut record);
    let failed = |class, message: String, tree: Option<String>| {
        let fingerprint = Some(crate::fingerprint::of(&message, &log.tail));
        Ending::Failed(Failure { class, message, fingerprint, tree, record: record.clone() })
    };
    match outcome.end {
        End::Finished => {}
        End::GaveUp(why) => {
            return Err(failed(FailureClass::Agent, format!("the agent gave up: {why}"), tree));
        }
        End::TimedOut => {
            return Err(failed(FailureClass::Timeout, "the agent took too long".to_owned(), tree));
        }
        End::Broken(why) => {
            return Err(failed(FailureClass::Agent, format!("the agent broke off: {why}"), tree));
        }
    }
    let outputs = match ends::outputs(node, outcome.outputs) {
        Ok(outputs) => outputs,
        Err(message) => return Err(failed(FailureClass::Agent, message, tree)),
    };
    let outputs = outputs
        .map(|value| keep(shared.store.blobs(), value))
        .transpose()
        .map_err(|error| infra("the outputs could not be kept", &error))?;
    Ok(Success { outputs, tree, record })
}
