//! What hooks are asked in the course of a session. Without hooks nothing is made and nothing changes; what they are
//! shown has no secrets in it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::asking::{Asking, HookModels};
use super::end::Stopped;
use crate::hook::{Dispatched, Event, Facts, HookEnd, HookEngine, HookRunner, Verdict, Veto};
use crate::model::Request;
use crate::tool::{Effect, ToolHost, ToolOutcome};

/// The hooks of a run, for one attempt of one node.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// The hooks. They may be replaced while the session runs.
    pub engine: Arc<HookEngine>,
    /// Runs their commands.
    pub runner: Arc<dyn HookRunner>,
    /// Knows the models they may ask.
    pub models: Arc<dyn HookModels>,
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
    async fn ask(
        asking: &Asking<'_>,
        event: Event,
        tool: Option<(&str, Effect)>,
        data: impl FnOnce() -> Value + Send,
    ) -> Option<Dispatched> {
        let hooks = asking.hooks();
        if !hooks.engine.wants(event) {
            return None;
        }
        let facts = Facts {
            run: &hooks.run,
            node: Some(&hooks.node),
            attempt: Some(hooks.attempt),
            tool: tool.map(|(name, _)| name),
            effect: tool.map(|(_, effect)| effect),
        };
        let asked = hooks.engine.dispatch(event, &facts, data(), asking);
        asking.cancel.run_until_cancelled(asked).await
    }

    /// Writes down what hooks did.
    fn note(host: &dyn ToolHost, event: Event, asked: &Dispatched) {
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
        asking: &Asking<'_>,
        event: Event,
        tool: Option<(&str, Effect)>,
        data: impl FnOnce() -> Value + Send,
    ) -> Result<Option<(Value, bool)>, Option<Veto>> {
        if !asking.hooks().engine.wants(event) {
            return Ok(None);
        }
        // Cut off while a hook thinks: there is no verdict, and that is a no.
        let asked = Self::ask(asking, event, tool, data).await.ok_or(None)?;
        Self::note(asking.host(), event, &asked);
        match asked.verdict {
            Verdict::Proceed { data, changed } => Ok(Some((data, changed))),
            Verdict::Veto(veto) => Err(Some(veto)),
        }
    }

    pub(super) async fn before_model(asking: &Asking<'_>, request: &mut Request) -> Result<(), Stopped> {
        let (host, turn) = (asking.host(), asking.turn);
        let data = || {
            redacted(json!({ "turn": turn, "system": request.system, "messages": request.messages }), host)
        };
        match Self::noted(asking, Event::BeforeModel, None, data).await {
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
        asking: &Asking<'_>,
        tool: &str,
        effect: Effect,
        arguments: &Value,
    ) -> Result<Asked, Stopped> {
        let data = || json!({ "arguments": redacted(arguments.clone(), asking.host()) });
        match Self::noted(asking, Event::BeforeTool, Some((tool, effect)), data).await {
            Ok(Some((mut data, true))) => Ok(Asked::Go(Some(data["arguments"].take()))),
            Ok(_) => Ok(Asked::Go(None)),
            Err(None) => Err(Stopped::Lost),
            Err(Some(veto)) => Ok(Asked::No(veto.for_model())),
        }
    }

    pub(super) async fn after_tool(
        asking: &Asking<'_>,
        tool: &str,
        effect: Effect,
        outcome: ToolOutcome,
    ) -> Result<ToolOutcome, Stopped> {
        let (ok, content) = match &outcome {
            ToolOutcome::Done(text) => (true, text.clone()),
            ToolOutcome::Failed(text) => (false, text.clone()),
            ToolOutcome::Finish(_) => return Ok(outcome),
        };
        let data = || json!({ "ok": ok, "content": content });
        match Self::noted(asking, Event::AfterTool, Some((tool, effect)), data).await {
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
    pub(super) async fn look(asking: &Asking<'_>, event: Event, data: impl FnOnce() -> Value + Send) {
        if let Some(asked) = Self::ask(asking, event, None, || redacted(data(), asking.host())).await {
            Self::note(asking.host(), event, &asked);
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
