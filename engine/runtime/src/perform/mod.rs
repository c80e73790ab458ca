//! Commands become work. The one place that knows both the state machine and the world; decides nothing.

use std::sync::Arc;

use blueprint_core::graph::{Action, GraphIx, Node, NodeIx};
use blueprint_core::run::{Event, Failure, FailureClass, LostBecause, Session, State, Success};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::outside::Asker;
use crate::shared::Shared;
use crate::steps::Steps;

mod agent;
mod ahead;
mod command;
mod decide;
mod edit;
mod escalate;
mod gate;
mod http;
mod kept;
mod outlet;
mod stub;
mod surroundings;

pub use agent::LONGEST as AGENT_TIME;
pub(crate) use agent::trouble;
pub use decide::evaluate;
pub use escalate::Handover;
pub use http::TIMEOUT as REQUEST_TIME;
pub use kept::Kept;

/// The work of one attempt, with everything it needs of the state.
#[derive(Debug, Clone)]
pub struct Job {
    /// The graph of the node.
    pub graph: GraphIx,
    /// The node.
    pub node: NodeIx,
    /// Its path.
    pub path: Arc<str>,
    /// The attempt.
    pub attempt: u32,
    /// The round of repair.
    pub round: u32,
    /// What its expressions see.
    pub scope: Value,
    /// The commits it starts from.
    pub inputs: Vec<String>,
    /// Makes steps of an agent durable.
    pub(crate) steps: Steps,
    /// For agents: what an earlier part of this try did.
    pub session: Option<Box<Session>>,
    /// Why the round before did not pass.
    pub lesson: Option<Lesson>,
    /// For gates: the outputs that are shown, and so approved.
    pub shown: Vec<String>,
}

/// Why a round of a repair did not pass.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// Path of the node that failed.
    pub node: Arc<str>,
    /// The round that begins now.
    pub round: u32,
    /// Its failure.
    pub failure: Arc<Failure>,
}

impl Job {
    /// Who asks the outside world.
    fn asker<'a>(&'a self, shared: &'a Shared) -> Asker<'a> {
        Asker { node: &self.path, name: &self.node(shared).name, attempt: self.attempt, round: self.round }
    }

    fn node<'a>(&self, shared: &'a Shared) -> &'a Node {
        shared.program.graph(self.graph).node(self.node)
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ending {
    Succeeded(Success),
    Failed(Failure),
    Lost(LostBecause),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Does the work of a node and reports how it ended, whatever happens.
pub async fn node(shared: Arc<Shared>, job: Job, cancel: CancellationToken) -> Event {
    let (path, attempt) = (Arc::clone(&job.path), job.attempt);
    let redacting = Arc::clone(&shared);
    // A task of its own: if it panics, the node failed and nothing else.
    let work = tokio::spawn(work(shared, job, cancel));
    let ending = work.await.unwrap_or_else(|error| {
        Ending::Failed(Failure::new(
            FailureClass::Infra,
            format!("the engine itself failed at this node: {error}"),
        ))
    });
    match ending {
        Ending::Succeeded(success) => {
            Event::NodeSucceeded { node: path, attempt, success: Box::new(success) }
        }
        Ending::Failed(mut failure) => {
            failure.message = redacting.redactor.redact_str(&failure.message);
            Event::NodeFailed { node: path, attempt, failure: Box::new(failure) }
        }
        Ending::Lost(because) => Event::CommandLost { node: path, attempt, because },
    }
}

async fn work(shared: Arc<Shared>, job: Job, cancel: CancellationToken) -> Ending {
    if let Some(hooks) = &shared.settings.hooks
        && let Err(failure) = hooks.before_node(&shared.run, &job, job.node(&shared).action.kind()).await
    {
        return failure.into();
    }
    let stub = shared.settings.outside.as_ref().and_then(|outside| outside.stub(job.asker(&shared)));
    if let Some(end) = stub {
        return stub::end(&shared, &job, end).await;
    }
    let done = match &job.node(&shared).action {
        Action::Agent(_) => agent::run(&shared, &job, &cancel).await,
        Action::Run(_) => command::run(&shared, &job, &cancel).await,
        Action::Edit(_) => edit::run(&shared, &job).await,
        Action::Http(_) => http::run(&shared, &job, &cancel).await,
        other => Err(Failure::new(
            FailureClass::Policy,
            format!("this release cannot run {} nodes; nothing was done", other.kind()),
        )
        .into()),
    };
    match done {
        Ok(success) => Ending::Succeeded(success),
        Err(ending) => ending,
    }
}

/// Opens a gate: says what an approval is bound to.
pub async fn open_gate(shared: Arc<Shared>, job: Job) -> Event {
    gate::open(shared, job).await
}

/// What stands in for people, if something does, decides at a gate that has opened.
pub(crate) fn decided_outside(shared: &Shared, state: &State, opened: &Event) -> Vec<Event> {
    let Event::GateOpened { node, attempt, subject, .. } = opened else { return Vec::new() };
    let (Some(outside), Some(inst)) = (&shared.settings.outside, state.at(node)) else { return Vec::new() };
    let name = &state.node(inst).name;
    let who = Asker { node, name, attempt: *attempt, round: state.instance(inst).round };
    let decided = outside.gate(who, subject).into_iter().map(|(decision, by, reason)| {
        let (node, attempt, subject) = (Arc::clone(node), *attempt, subject.clone());
        Event::GateDecided { node, attempt, decision, by, reason, subject }
    });
    decided.collect()
}

/// Puts together what a sub-graph made.
pub async fn collect(
    shared: Arc<Shared>,
    path: Arc<str>,
    attempt: u32,
    outputs: Result<Option<blueprint_core::run::Payload>, Failure>,
    commits: Vec<String>,
) -> Event {
    decide::collect(shared, path, attempt, outputs, commits).await
}

/// The outputs of a sub-graph, from the state.
pub fn collected_outputs(
    shared: &Shared,
    state: &State,
    inst: blueprint_core::run::Inst,
) -> Result<Option<blueprint_core::run::Payload>, Failure> {
    decide::collected_outputs(shared, state, inst)
}

/// Writes the record of an escalation.
pub async fn escalate(shared: Arc<Shared>, handover: Handover) -> Event {
    escalate::write(shared, handover).await
}

/// A failure of the machinery around a node.
pub(crate) fn infra(what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(FailureClass::Infra, format!("{what}: {}", crate::chain(error)))
}

/// Runs work that blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            Err(Failure::new(FailureClass::Infra, format!("the engine itself failed at this node: {error}")))
        }
    }
}
