//! What hooks are asked in the course of a session. Without hooks nothing is made and nothing changes; what they are
//! shown has no secrets in it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::end::Stopped;
use crate::hook::{Dispatched, Event, Facts, HookEnd, HookEngine, HookRunner, Verdict, Veto};
use crate::model::Request;
use crate::tool::{Effect, ToolHost, ToolOutcome};

/// The hooks of a run, for one attempt of one node.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// The hooks. They may be replaced while the session runs.
    pub engine: Arc<HookEngine>,
    /// Runs them.
    pub runner: Arc<dyn HookRunner>,
    /// The run.
    pub run: String,
    /// The path of the node.
    pub node: String,
    /// The attempt.
    pub attempt: u32,
}

/// What became of a call.
pub(super) enum Asked {
    /// It is made with these arguments, if they are others.
    Go(Option<Value>),
    /// It is not made; this is for the model.
    No(String),
}

impl Hooks {
    /// Asks the hooks of an event. `None`: there are none, or nobody waits any more.
    pub async fn ask(
        &self,
        event: Event,
        tool: Option<(&str, Effect)>,
        data: impl FnOnce() -> Value + Send,
        cancel: &CancellationToken,
    ) -> Option<Dispatched> {
        if !self.engine.wants(event) {
            return None;
        }
        let facts = Facts {
            run: &self.run,
            node: Some(&self.node),
            attempt: Some(self.attempt),
            tool: tool.map(|(name, _)| name),
            effect: tool.map(|(_, effect)| effect),
        };
        let asked = self.engine.dispatch(event, &facts, data(), &*self.runner);
        cancel.run_until_cancelled(asked).await
    }

    /// Writes down what hooks did.
    pub fn note(host: &dyn ToolHost, event: Event, asked: &Dispatched) {
        for ran in &asked.ran {
            let what = match &ran.end {
                HookEnd::Proceeded => continue,
                HookEnd::Patched(fields) => format!("changed {}", fields.join(", ")),
                HookEnd::Vetoed(why) => format!("says no: {why}"),
                HookEnd::Failed(why) => format!("failed: {why}"),
            };
            host.note(&format!("hook {} at {}: {what}", ran.hook, event.as_str()));
        }
    }

    async fn noted(
        &self,
        host: &dyn ToolHost,
        event: Event,
        tool: Option<(&str, Effect)>,
        data: impl FnOnce() -> Value + Send,
        cancel: &CancellationToken,
    ) -> Result<Option<(Value, bool)>, Option<Veto>> {
        if !self.engine.wants(event) {
            return Ok(None);
        }
        // Cut off while a hook thinks: there is no verdict, and that is a no.
        let asked = self.ask(event, tool, data, cancel).await.ok_or(None)?;
        Self::note(host, event, &asked);
        match asked.verdict {
            Verdict::Proceed { data, changed } => Ok(Some((data, changed))),
            Verdict::Veto(veto) => Err(Some(veto)),
        }
    }

    pub(super) async fn before_model(
        &self,
        host: &dyn ToolHost,
        turn: u32,
        request: &mut Request,
        cancel: &CancellationToken,
    ) -> Result<(), Stopped> {
        let data = || {
            redacted(json!({ "turn": turn, "system": request.system, "messages": request.messages }), host)
        };
        match self.noted(host, Event::BeforeModel, None, data, cancel).await {
            Ok(Some((mut data, true))) => {
                let bad = |why: String| Stopped::Vetoed { hook: "before_model".to_owned(), reason: why };
                if let Some(system) = data.get("system").and_then(Value::as_str) {
                    system.clone_into(&mut request.system);
                }
                request.messages = serde_json::from_value(data["messages"].take())
                    .map_err(|error| bad(format!("what a hook made of the conversation is none: {error}")))?;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(None) => Err(Stopped::Lost),
            Err(Some(veto)) => Err(Stopped::Vetoed { hook: veto.hook, reason: veto.reason }),
        }
    }

    pub(super) async fn before_tool(
        &self,
        host: &dyn ToolHost,
        tool: &str,
        effect: Effect,
        arguments: &Value,
        cancel: &CancellationToken,
    ) -> Result<Asked, Stopped> {
        let data = || json!({ "arguments": redacted(arguments.clone(), host) });
        match self.noted(host, Event::BeforeTool, Some((tool, effect)), data, cancel).await {
            Ok(Some((mut data, true))) => Ok(Asked::Go(Some(data["arguments"].take()))),
            Ok(_) => Ok(Asked::Go(None)),
            Err(None) => Err(Stopped::Lost),
            Err(Some(veto)) => Ok(Asked::No(veto.for_model())),
        }
    }

    pub(super) async fn after_tool(
        &self,
        host: &dyn ToolHost,
        tool: &str,
        effect: Effect,
        outcome: ToolOutcome,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, Stopped> {
        let (ok, content) = match &outcome {
            ToolOutcome::Done(text) => (true, text.clone()),
            ToolOutcome::Failed(text) => (false, text.clone()),
            ToolOutcome::Finish(_) => return Ok(outcome),
        };
        let data = || json!({ "ok": ok, "content": content });
        match self.noted(host, Event::AfterTool, Some((tool, effect)), data, cancel).await {
            Ok(Some((data, true))) => {
                let text = data["content"].as_str().unwrap_or_default().to_owned();
                Ok(if ok { ToolOutcome::Done(text) } else { ToolOutcome::Failed(text) })
            }
            Ok(_) => Ok(outcome),
            Err(None) => Err(Stopped::Lost),
            Err(Some(veto)) => Ok(ToolOutcome::Failed(veto.for_model())),
        }
    }

    /// Lets those look who only look.
    pub(super) async fn look(
        &self,
        host: &dyn ToolHost,
        event: Event,
        data: impl FnOnce() -> Value + Send,
        cancel: &CancellationToken,
    ) {
        if let Some(asked) = self.ask(event, None, || redacted(data(), host), cancel).await {
            Self::note(host, event, &asked);
        }
    }
}

/// Without secrets.
fn redacted(mut value: Value, host: &dyn ToolHost) -> Value {
    match &mut value {
        Value::String(text) => *text = host.redact(text),
        Value::Array(items) => items.iter_mut().for_each(|item| *item = redacted(item.take(), host)),
        Value::Object(fields) => fields.values_mut().for_each(|field| *field = redacted(field.take(), host)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    value
}
