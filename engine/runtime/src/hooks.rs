//! Hooks at the boundaries of a run and its nodes. They come from the settings of the user alone, never from a project,
//! and see nothing secret. A gate that cannot be asked says no; an observer that fails stops nothing.

use std::sync::Arc;

use blueprint_agent::hook::{Dispatched, Event as Mount, Facts, HookEngine, HookRunner, Verdict};
use blueprint_agent::session::{HookModels, Hooks};
use blueprint_core::run::{Event, Failure, FailureClass, State};
use serde_json::{Value, json};

use crate::perform::Job;

/// The hooks of a run.
#[derive(Debug, Clone)]
pub struct RunHooks {
    /// The hooks; they may be replaced while the run goes on.
    pub engine: Arc<HookEngine>,
    /// Runs them.
    pub runner: Arc<dyn HookRunner>,
}

impl RunHooks {
    pub(crate) fn of_session(&self, run: &str, job: &Job, models: Arc<dyn HookModels>) -> Hooks {
        Hooks {
            engine: Arc::clone(&self.engine),
            runner: Arc::clone(&self.runner),
            models,
            run: run.to_owned(),
            node: job.path.to_string(),
            attempt: job.attempt,
        }
    }

    async fn ask(&self, mount: Mount, facts: &Facts<'_>, data: impl FnOnce() -> Value) -> Option<Dispatched> {
        if !self.engine.wants(mount) {
            return None;
        }
        Some(self.engine.dispatch(mount, facts, data(), &*self.runner).await)
    }

    /// Whether a run may begin.
    pub(crate) async fn before_run(&self, run: &str, data: Value) -> Result<(), (String, String)> {
        let facts = Facts { run, ..Facts::default() };
        no(self.ask(Mount::BeforeRun, &facts, || data).await)
    }

    /// Whether an attempt of a node may begin.
    pub(crate) async fn before_node(&self, run: &str, job: &Job, kind: &str) -> Result<(), Failure> {
        let facts = Facts { run, node: Some(&job.path), attempt: Some(job.attempt), ..Facts::default() };
        let data = || json!({ "kind": kind, "round": job.round });
        no(self.ask(Mount::BeforeNode, &facts, data).await).map_err(|(hook, reason)| {
            Failure::new(FailureClass::Policy, format!("the hook `{hook}` says no: {reason}"))
        })
    }

    /// Lets those look who only look.
    pub(crate) async fn seen(&self, run: String, node: Option<Attempt>, mount: Mount, data: Value) {
        let facts = Facts {
            run: &run,
            node: node.as_ref().map(|(node, _)| &**node),
            attempt: node.as_ref().map(|(_, attempt)| *attempt),
            ..Facts::default()
        };
        self.ask(mount, &facts, || data).await;
    }
}

fn no(asked: Option<Dispatched>) -> Result<(), (String, String)> {
    match asked.map(|asked| asked.verdict) {
        None | Some(Verdict::Proceed { .. }) => Ok(()),
        Some(Verdict::Veto(veto)) => Err((veto.hook, veto.reason)),
    }
}

/// A node and its attempt.
pub(crate) type Attempt = (Arc<str>, u32);

/// What observers of a run are shown of a fact, if they are shown it.
pub(crate) fn shown(event: &Event, state: &State) -> Option<(Mount, Option<Attempt>, Value)> {
    let of = |node: &Arc<str>, attempt: u32| Some((Arc::clone(node), attempt));
    Some(match event {
        Event::NodeSucceeded { node, attempt, .. } => {
            (Mount::AfterNode, of(node, *attempt), json!({ "ended": "succeeded" }))
        }
        Event::NodeFailed { node, attempt, failure } => {
            let data = json!({ "ended": "failed", "class": failure.class, "message": failure.message });
            (Mount::AfterNode, of(node, *attempt), data)
        }
        Event::GateOpened { node, attempt, subject, ask, .. } => {
            (Mount::GateOpened, of(node, *attempt), json!({ "subject": subject, "ask": ask }))
        }
        Event::GateDecided { node, attempt, decision, by, reason, .. } => {
            let data = json!({ "decision": decision, "by": by, "reason": reason });
            (Mount::GateDecided, of(node, *attempt), data)
        }
        Event::Escalated { node, attempt, .. } => (Mount::Escalated, of(node, *attempt), json!({})),
        Event::Issued(blueprint_core::run::Command::Finish { outcome }) => {
            (Mount::AfterRun, None, json!({ "outcome": outcome, "spent": state.spent() }))
        }
        _ => return None,
    })
}
