//! The steps of a session on their way into the journal, the log and the transcript. A step counts only when the
//! driver says that it is on disk. Secrets are taken out before anything is written.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blueprint_agent::model::Origin;
use blueprint_agent::scan::Scanner;
use blueprint_agent::session::{RecordError, Recorder, Spend as Wanted, Step};
use blueprint_agent::tool::ToolOutcome;
use blueprint_core::run::{Did, SessionStep, Spend};
use serde_json::Value;

use super::super::Job;
use super::host::Host;
use crate::payload::keep;
use crate::shared::Shared;
use crate::steps::{NotTaken, Steps};
use crate::store::BlobError;

/// Longest line about a call in a log, in characters.
const LINE: usize = 200;

/// Journals the steps of one session.
#[derive(Debug)]
pub(super) struct Journalled {
    shared: Arc<Shared>,
    host: Arc<Host>,
    steps: Steps,
    taken: Mutex<Vec<Step>>,
}

impl Journalled {
    pub(super) fn new(shared: &Arc<Shared>, job: &Job, host: &Arc<Host>, before: &[Step]) -> Self {
        Self {
            shared: Arc::clone(shared),
            host: Arc::clone(host),
            steps: job.steps.clone(),
            taken: Mutex::new(before.to_vec()),
        }
    }

    /// Every step of the session, those of earlier processes included.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn clean(&self, step: &Step) -> Result<Value, RecordError> {
        let mut value = serde_json::to_value(step).map_err(|error| RecordError::Lost(error.to_string()))?;
        redact(&self.host.scanner, &mut value);
        Ok(value)
    }
}

#[async_trait]
impl Recorder for Journalled {
    async fn record(&self, step: Step) -> Result<(), RecordError> {
        let value = self.clean(&step)?;
        let lost = |error: &dyn std::error::Error| RecordError::Lost(crate::chain(error));
        let detail = keep(self.shared.store.blobs(), value).map_err(|error| lost(&error))?;
        let (turn, did) = did(&step);
        self.steps.take(SessionStep { turn, did, detail }).await.map_err(|error| match error {
            NotTaken::Overrun(overrun) => RecordError::Budget(overrun.to_string()),
            NotTaken::Over => RecordError::Lost(error.to_string()),
        })?;
        if let Some(line) = line(&step) {
            self.host.note(&line);
        }
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        Ok(())
    }
}

/// Takes secrets out of every text of a value.
fn redact(scanner: &Scanner, value: &mut Value) {
    match value {
        Value::String(text) => *text = scanner.redact(text),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(scanner, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| redact(scanner, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn spend(wanted: Wanted) -> Spend {
    Spend { cost_micros: wanted.cost_micros, tokens: wanted.tokens }
}

fn origin(origin: Origin) -> String {
    match origin {
        Origin::Provider => "provider",
        Origin::Scripted => "scripted",
        Origin::Recorded => "recorded",
    }
    .to_owned()
}

/// The step as far as the run must know it.
fn did(step: &Step) -> (u32, Did) {
    match step {
        Step::ModelCalled { turn, model, reserve, .. } => {
            (*turn, Did::CallModel { model: model.clone(), reserve: spend(*reserve) })
        }
        Step::ModelAnswered { turn, answer } => {
            let spent = Spend { cost_micros: answer.cost_micros, tokens: answer.usage.total() };
            let did = Did::HearModel {
                model: answer.model.clone(),
                origin: origin(answer.origin),
                spent,
                ok: true,
            };
            (*turn, did)
        }
        Step::ModelFailed { turn, model, spent, .. } => {
            let did = Did::HearModel {
                model: model.clone(),
                origin: String::new(),
                spent: spend(*spent),
                ok: false,
            };
            (*turn, did)
        }
        Step::HookAsked { turn, hook, model, reserve, .. } => {
            let did = Did::CallHook { hook: hook.clone(), model: model.clone(), reserve: spend(*reserve) };
            (*turn, did)
        }
        Step::HookAnswered { turn, hook, answer } => {
            let spent = Spend { cost_micros: answer.cost_micros, tokens: answer.usage.total() };
            let (hook, model) = (hook.clone(), answer.model.clone());
            (*turn, Did::HearHook { hook, model, origin: origin(answer.origin), spent, ok: true })
        }
        Step::HookFailed { turn, hook, model, spent: lost, .. } => {
            let (hook, model, spent) = (hook.clone(), model.clone(), spend(*lost));
            (*turn, Did::HearHook { hook, model, origin: String::new(), spent, ok: false })
        }
        Step::ToolCalled { turn, tool, effect, .. } => {
            (*turn, Did::CallTool { tool: tool.clone(), effect: effect.as_str().to_owned() })
        }
        Step::ToolReturned { turn, tool, outcome, tree, .. } => {
            let ok = !matches!(outcome, ToolOutcome::Failed(_));
            (*turn, Did::HearTool { tool: tool.clone(), ok, tree: tree.clone() })
        }
        Step::Told { turn, .. } | Step::Compacted { turn, .. } | Step::Offered { turn, .. } => {
            (*turn, Did::Note)
        }
    }
}

fn line(step: &Step) -> Option<String> {
    let short = |text: &str| -> String {
        let line: String = text.chars().take(LINE).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if line.len() < text.len() { format!("{line}…") } else { line }
    };
    match step {
        Step::ModelCalled { .. }
        | Step::ModelAnswered { .. }
        | Step::Offered { .. }
        | Step::HookAsked { .. }
        | Step::HookAnswered { .. } => None,
        Step::HookFailed { hook, message, .. } => Some(short(&format!("! hook {hook}: {message}"))),
        Step::ModelFailed { message, .. } => Some(format!("! {}", short(message))),
        Step::ToolCalled { tool, arguments, .. } => Some(short(&format!("> {tool} {arguments}"))),
        Step::ToolReturned { tool, outcome, .. } => Some(match outcome {
            ToolOutcome::Done(text) => format!("< {} {} bytes", short(tool), text.len()),
            ToolOutcome::Failed(text) => format!("< {} failed: {}", short(tool), short(text)),
            ToolOutcome::Finish(value) => format!("< finish {}", short(&value.to_string())),
        }),
        Step::Told { text, .. } => Some(format!("~ {}", short(text))),
        Step::Compacted { note, .. } => Some(format!("~ {}", short(note))),
    }
}

/// Keeps the steps as JSON lines, without secrets.
pub(super) fn transcript(
    shared: &Shared,
    scanner: &Scanner,
    steps: &[Step],
) -> Result<Option<String>, BlobError> {
    if steps.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    for step in steps {
        let mut value = serde_json::to_value(step).unwrap_or(Value::Null);
        redact(scanner, &mut value);
        text.push_str(&value.to_string());
        text.push('\n');
    }
    shared.store.blobs().put(text.as_bytes()).map(|digest| Some(digest.to_string()))
}
