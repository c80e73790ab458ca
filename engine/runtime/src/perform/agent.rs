//! `agent` nodes: a session of a model with tools, in the node's sandbox, on a checkout of its input tree. Its steps go
//! into the journal before they are taken; what it leaves is kept, however it ends. Decides nothing about budgets.

use std::sync::Arc;
use std::time::Duration;

use blueprint_agent::context::PartReport;
use blueprint_agent::model::Model;
use blueprint_agent::session::{Ended, Limits, Renewal, Session, Step, Stopped};
use blueprint_agent::tool::Notes;
use blueprint_core::format::Workspace;
use blueprint_core::graph::{Action, Agent, Mind, Node};
use blueprint_core::run::{Failure, FailureClass, LostBecause, Success};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::command::{capture, in_tree, prepare_at};
use super::outlet::Outlet;
use super::{Ending, Job, ahead, infra};
use crate::payload::{fetch, keep};
use crate::shared::Shared;
use crate::trees::Prepared;

mod ends;
mod brief;
mod fetch;
mod host;
mod mind;
mod played;
mod process;
mod program;
mod record;
mod served;
mod tools;

use brief::Brief;
use host::{Handle, Host};
use record::{Journalled, transcript};
use served::Served;

pub(crate) use tools::trouble;

/// The time limit of a session without a `timeout`.
pub const LONGEST: Duration = Duration::from_hours(2);

pub(super) async fn run(
    shared: &Arc<Shared>,
    job: &Job,
    cancel: &CancellationToken,
) -> Result<Success, Ending> {
    let node = job.node(shared);
    let Action::Agent(agent) = &node.action else { return Err(Ending::Lost(LostBecause::Cancelled)) };
    let before = steps_before(shared, job)?;
    let words = Words::of(shared, job, agent)?;
    if let Mind::Program { argv, protocol } = &agent.mind {
        return program::run(shared, job, node, agent, (argv, *protocol), words.prompt, cancel).await;
    }
    let model = mind::model(shared, job, agent, &before)?;
    let carried = job.session.as_ref().and_then(|session| session.tree.as_deref());
    let outlet = Outlet::new(shared, job, &agent.network, &agent.credentials).await?;
    let prepared = prepare_at(shared, job, node.workspace, carried).await?;
    ahead::prepare(shared, job, prepared.as_ref().map(|prepared| prepared.checkout.dir()));
    let brief = brief::of(shared, job, prepared.as_ref().map(|prepared| prepared.tree)).await?;
    let host = Arc::new(Host::new(shared, job, node, agent, prepared, outlet)?);
    let done = session(shared, job, node, agent, words, &brief, model, &host, before, cancel).await;
    host.stop().await;
    let held = host.held();
    match done {
        Ok((ended, steps, parts)) => {
            conclude(shared, job, node, &host, held, ended, &steps, (&brief, &parts)).await
        }
        Err(ending) => {
            give_back(shared, held);
            Err(ending)
        }
    }
}

/// The texts of an agent, with their values.
struct Words {
    system: Option<String>,
    prompt: String,
}

impl Words {
    fn of(shared: &Shared, job: &Job, agent: &Agent) -> Result<Self, Failure> {
        let bad = |what: &str, error: &dyn std::error::Error| {
            let name = &job.node(shared).name;
            Failure::new(FailureClass::Command, format!("the {what} of `{name}` has no value: {error}"))
        };
        let system = match &agent.mind {
            Mind::Model { system, .. } | Mind::Script { system, .. } => system.as_ref(),
            Mind::Program { .. } => None,
        };
        Ok(Self {
            system: system
                .map(|text| text.render(&job.scope).map_err(|error| bad("system text", &error)))
                .transpose()?,
            prompt: agent
                .prompt
                .as_ref()
                .map(|text| text.render(&job.scope).map_err(|error| bad("prompt", &error)))
                .transpose()?
                .unwrap_or_default(),
        })
    }
}

/// What an earlier process did for this very attempt, before it was cut off.
fn steps_before(shared: &Shared, job: &Job) -> Result<Vec<Step>, Failure> {
    let Some(session) = &job.session else { return Ok(Vec::new()) };
    let unreadable =
        |error: &(dyn std::error::Error + 'static)| infra("what the agent did before cannot be read", error);
    session
        .steps
        .iter()
        .map(|step| {
            let value = fetch(shared.store.blobs(), step).map_err(|error| unreadable(&error))?;
            serde_json::from_value(value).map_err(|error| unreadable(&error))
        })
        .collect()
}

#[expect(clippy::too_many_arguments, reason = "everything a session is made of")]
async fn session(
    shared: &Arc<Shared>,
    job: &Job,
    node: &Node,
    agent: &Agent,
    words: Words,
    brief: &Brief,
    model: Arc<dyn Model>,
    host: &Arc<Host>,
    before: Vec<Step>,
    cancel: &CancellationToken,
) -> Result<(Ended, Vec<Step>, Vec<PartReport>), Ending> {
    let handle = Handle(Arc::clone(host));
    let journal = Arc::new(Journalled::new(shared, job, host, &before));
    let turn = before.iter().map(Step::turn).max().unwrap_or(1);
    let (served, tools) = Served::start(shared, job, agent, &handle, &journal, turn, cancel).await?;
    let served = Arc::new(served);
    let toolbox = match tools::toolbox(shared, job, node, agent, &tools) {
        Ok(toolbox) => toolbox,
        Err(failure) => {
            served.stop().await;
            return Err(failure.into());
        }
    };
    for spec in toolbox.beyond() {
        host.note(&format!("left out: `{}` would change the workspace, which this node may not", spec.name));
    }
    let system = words.system.unwrap_or_else(|| mind::system(node, agent, &host.folder()));
    let briefed = brief.fit(system, words.prompt, &*model);
    let session = Session {
        model,
        toolbox: Arc::new(toolbox),
        renewal: (!agent.mcp.is_empty()).then(|| Arc::clone(&served) as Arc<dyn Renewal>),
        host: Arc::new(handle),
        recorder: journal.clone(),
        system: briefed.system,
        prompt: briefed.prompt,
        limits: Limits {
            turns: agent.max_turns,
            tokens: agent.max_tokens,
            cost_micros: agent.max_cost_micros,
        },
        paces: shared.settings.tool_paces.clone(),
        hooks: shared.settings.hooks.as_ref().map(|hooks| {
            let models = Arc::new(mind::OfHooks { shared: Arc::clone(shared), job: job.clone() });
            hooks.of_session(&shared.run, job, models)
        }),
        notes: notes(host),
        wants_value: !node.outputs.is_empty(),
    };
    let limit = node.timeout.unwrap_or(LONGEST);
    // The session is told to stop before its time is taken away: what it did until then is on record either way.
    let inner = cancel.child_token();
    let run = session.run(&before, &inner);
    let mut timed_out = false;
    let ended = {
        tokio::pin!(run);
        tokio::select! {
            ended = &mut run => ended,
            () = tokio::time::sleep(limit) => {
                timed_out = true;
                inner.cancel();
                run.await
            }
        }
    };
    served.stop().await;
    if cancel.is_cancelled() && matches!(ended.result, Err(Stopped::Lost)) {
        return Err(Ending::Lost(LostBecause::Cancelled));
    }
    let steps = journal.steps();
    if timed_out && matches!(ended.result, Err(Stopped::Lost)) {
        let result = Err(Stopped::Time(crate::human(limit)));
        return Ok((Ended { result, ..ended }, steps, briefed.parts));
    }
    Ok((ended, steps, briefed.parts))
}

/// Keeps what the session left and says how it ended.
#[expect(clippy::too_many_arguments, reason = "everything a session leaves")]
async fn conclude(
    shared: &Arc<Shared>,
    job: &Job,
    node: &Node,
    host: &Arc<Host>,
    held: Option<Prepared>,
    ended: Ended,
    steps: &[Step],
    (brief, parts): (&Brief, &[PartReport]),
) -> Result<Success, Ending> {
    let text = shared.redactor.redact_str(&ended.text);
    let transcript = transcript(shared, &host.scanner, steps)
        .map_err(|error| infra("the transcript could not be kept", &error))?;
    if let Err(stopped) = &ended.result {
        host.note(&format!("stopped: {}", shared.redactor.redact_str(&crate::chain(stopped))));
    }
    let log = host.log()?;
    let mut record = json!({
        "log": log.digest.map(|digest| digest.to_string()),
        "isolation": host.backend().name(),
        "attestation": host.attestation(),
        "transcript": transcript,
        "turns": ended.turns,
        "tool_calls": ended.tool_calls,
        "tokens": ended.tokens,
        "cost_usd": ended.cost_micros.map(|micros| micros as f64 / 1_000_000.0),
        "model": ended.model,
        "text": text.chars().take(2000).collect::<String>(),
    });
    if !brief.rules.is_empty() {
        record["rules"] = json!(brief.rules);
    }
    if !parts.is_empty() {
        record["context"] = json!(parts);
    }
    host.note_requests(&mut record);
    if let Some(origin) = ended.unreal {
        record["origin"] = serde_json::to_value(origin).unwrap_or(Value::Null);
    }
    let kept = keep_tree(shared, job, node, held).await;
    let (tree, flagged) = match kept {
        Ok(kept) => kept,
        Err(mut failure) => {
            failure.record = record;
            return Err(failure.into());
        }
    };
    if !flagged.is_empty() {
        record["flagged"] = json!(flagged);
    }
    let value = match ended.result {
        Ok(value) => value,
        Err(stopped) => {
            let mut failure =
                ends::failure(&stopped, &log.tail).ok_or(Ending::Lost(LostBecause::Interrupted))?;
            failure.record = record;
            failure.tree = tree;
            return Err(failure.into());
        }
    };
    let outputs = match ends::outputs(node, value) {
        Ok(outputs) => outputs,
        Err(message) => {
            let fingerprint = Some(crate::fingerprint::of(&message, &[]));
            return Err(Failure { class: FailureClass::Agent, message, fingerprint, tree, record }.into());
        }
    };
    let outputs = outputs
        .map(|value| keep(shared.store.blobs(), value))
        .transpose()
        .map_err(|error| infra("the outputs could not be kept", &error))?;
    Ok(Success { outputs, tree, record })
}

async fn keep_tree(
    shared: &Arc<Shared>,
    job: &Job,
    node: &Node,
    held: Option<Prepared>,
) -> Result<(Option<String>, Vec<String>), Failure> {
    let Some(held) = held else { return Ok((None, Vec::new())) };
    if node.workspace != Workspace::Write {
        let tree = held.merged.then(|| held.commit.to_string());
        give_back(shared, Some(held));
        return Ok((tree, Vec::new()));
    }
    let (held, captured) = capture(shared, job, held).await?;
    give_back(shared, Some(held));
    let (commit, flagged) = captured?;
    Ok((commit.map(|commit| commit.to_string()), flagged))
}

/// What the scanner has to say of the result of a tool: what reads like an instruction, what hides from the eye, and
/// that secrets were taken out.
fn notes(host: &Arc<Host>) -> Box<Notes<'static>> {
    let scanner = host.scanner.clone();
    Box::new(move |text| {
        scanner
            .scan(text)
            .summary()
            .map(|summary| format!("note by the engine, not by the tool: {summary}"))
            .into_iter()
            .collect()
    })
}

fn give_back(shared: &Shared, held: Option<Prepared>) {
    if let (Some(held), Some(trees)) = (held, &shared.trees) {
        trees.give_back(held.checkout);
    }
}

/// The folder of the project inside the workspace of a sandbox.
fn project_folder(shared: &Shared) -> String {
    in_tree(shared, "")
}
