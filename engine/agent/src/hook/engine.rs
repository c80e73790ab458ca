//! Asks the hooks of an event, one after the other. Each sees what those before it changed; the first no is the end
//! for all that may say something, while those that only look still see it. A hook that fails where it may say no has
//! said no.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::event::Event;
use super::reply::{Reply, clean, patched};
use super::table::{Handler, Hook, HookTable};
use crate::tool::Effect;

#[cfg(test)]
mod tests;

/// The exit code with which a command says no.
const VETO: i32 = 2;

/// What the engine knows for certain about an event. Hooks see it beside the data, where no data can take its place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The run.
    pub run: &'a str,
    /// The path of the node.
    pub node: Option<&'a str>,
    /// The attempt.
    pub attempt: Option<u32>,
    /// The name of the tool.
    pub tool: Option<&'a str>,
    /// What the tool may do at worst; the worst there is if it is not known.
    pub effect: Option<Effect>,
}

/// How a command of a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRan {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output, all of it.
    pub stdout: Vec<u8>,
    /// Standard error, all of it.
    pub stderr: Vec<u8>,
}

/// What hooks need of whoever runs them. Dropping a future kills what it started, with everything that started.
#[async_trait]
pub trait HookRunner: Send + Sync + Debug {
    /// Runs a program on the host with the variables of these names. An error is a failure of the hook.
    async fn command(
        &self,
        argv: &[String],
        env: &BTreeSet<String>,
        stdin: &[u8],
    ) -> Result<CommandRan, String>;

    /// Asks a model.
    async fn prompt(&self, question: Question<'_>) -> Result<String, String>;
}

/// What a hook asks a model.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The name of the hook.
    pub hook: &'a str,
    /// The alias of the model, or `provider/model`.
    pub model: &'a str,
    /// What it is asked.
    pub prompt: &'a str,
    /// What it is about, as JSON. Untrusted.
    pub envelope: &'a str,
}

/// What hooks made of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Go on, with this data.
    Proceed {
        /// The data, changed or not.
        data: Value,
        /// Whether a hook changed it.
        changed: bool,
    },
    /// Do not.
    Veto(Veto),
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veto {
    /// Of which hook.
    pub hook: String,
    /// Why, in a line. For people and the record; what a hook wrote is not for a model.
    pub reason: String,
    /// The hook did not say no, it failed.
    pub failed: bool,
}

impl Veto {
    /// What a model may be told.
    pub fn for_model(&self) -> String {
        format!("not allowed by the hook `{}` of this project", self.hook)
    }
}

/// What one hook did, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRan {
    /// Which.
    pub hook: String,
    /// What came of it.
    pub end: HookEnd,
}

/// What came of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEnd {
    /// Nothing against it.
    Proceeded,
    /// It changed these fields.
    Patched(Vec<String>),
    /// It said no.
    Vetoed(String),
    /// It failed.
    Failed(String),
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatched {
    /// What to do.
    pub verdict: Verdict,
    /// What each hook did, in order.
    pub ran: Vec<HookRan>,
}

/// The hooks of a run. They can be replaced as a whole at any time; what is under way ends with those it began with.
#[derive(Debug, Default)]
pub struct HookEngine {
    table: ArcSwap<HookTable>,
}

impl HookEngine {
    /// With these hooks.
    pub fn new(table: HookTable) -> Self {
        Self { table: ArcSwap::from_pointee(table) }
    }

    /// From now on with these instead.
    pub fn replace(&self, table: HookTable) {
        self.table.store(Arc::new(table));
    }

    /// The models that hooks ask.
    pub fn models(&self) -> BTreeSet<String> {
        let table = self.table.load();
        let asked = table.hooks.iter().filter_map(|hook| match &hook.handler {
            Handler::Prompt { model, .. } => Some(model.clone()),
            Handler::Builtin(_) | Handler::Command { .. } => None,
        });
        asked.collect()
    }

    /// Whether a hook waits for this event at all. If not, there is no need to say what it is about.
    pub fn wants(&self, event: Event) -> bool {
        self.table.load().hooks.iter().any(|hook| hook.event == event)
    }

    /// Asks the hooks of an event. `data` is an object; what hooks may change of it is [`Event::patchable`].
    pub async fn dispatch(
        &self,
        event: Event,
        facts: &Facts<'_>,
        mut data: Value,
        runner: &dyn HookRunner,
    ) -> Dispatched {
        let table = self.table.load_full();
        let mut ran = Vec::new();
        let mut changed = false;
        let mut veto: Option<Veto> = None;
        for hook in table.hooks.iter().filter(|hook| hook.fits(event, facts)) {
            if veto.is_some() && !hook.observes {
                continue;
            }
            let envelope = envelope(hook, facts, &data, veto.as_ref());
            let told = ask(hook, &envelope, runner).await.and_then(|reply| {
                reply.allowed(event, hook.observes)?;
                match reply {
                    Reply::Proceed => Ok(HookEnd::Proceeded),
                    Reply::Veto(reason) => Ok(HookEnd::Vetoed(clean(&reason))),
                    Reply::Patch(patch) => {
                        let fields = patch.keys().cloned().collect();
                        data = patched(event, &data, patch)?;
                        changed = true;
                        Ok(HookEnd::Patched(fields))
                    }
                }
            });
            let end = told.unwrap_or_else(|why| HookEnd::Failed(clean(&why)));
            let no = match &end {
                HookEnd::Proceeded | HookEnd::Patched(_) => None,
                HookEnd::Vetoed(reason) => Some((reason.clone(), false)),
                HookEnd::Failed(why) => {
                    tracing::warn!(hook = hook.name, event = event.as_str(), why, "a hook failed");
                    Some((why.clone(), true))
                }
            };
            if let Some((reason, failed)) = no.filter(|_| !hook.observes) {
                veto = Some(Veto { hook: hook.name.clone(), reason, failed });
            }
            ran.push(HookRan { hook: hook.name.clone(), end });
        }
        let verdict = veto.map_or(Verdict::Proceed { data, changed }, Verdict::Veto);
        Dispatched { verdict, ran }
    }
}

/// What a hook is told: the facts of the engine, and apart from them the data.
fn envelope(hook: &Hook, facts: &Facts<'_>, data: &Value, veto: Option<&Veto>) -> Value {
    let mut envelope = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            envelope.insert(name.to_owned(), value);
        }
    };
    put("hook", json!(hook.name));
    put("event", json!(hook.event));
    put("run", json!(facts.run));
    put("node", json!(facts.node));
    put("attempt", json!(facts.attempt));
    put("tool", json!(facts.tool));
    if hook.event.has_tool() {
        put("effect", json!(facts.effect.unwrap_or(Effect::Destructive)));
    }
    put("vetoed", json!(veto));
    put("data", data.clone());
    Value::Object(envelope)
}

async fn ask(hook: &Hook, envelope: &Value, runner: &dyn HookRunner) -> Result<Reply, String> {
    if hook.broken.load(Ordering::SeqCst) {
        return Err("it panicked before, and is not called again".to_owned());
    }
    let handled = AssertUnwindSafe(handle(hook, envelope, runner)).catch_unwind();
    match tokio::time::timeout(hook.timeout, handled).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(panic)) => {
            hook.broken.store(true, Ordering::SeqCst);
            Err(format!("it panicked: {}", said(panic.as_ref())))
        }
        Err(_) => Err(format!("it took longer than {} seconds", hook.timeout.as_secs())),
    }
}

async fn handle(hook: &Hook, envelope: &Value, runner: &dyn HookRunner) -> Result<Reply, String> {
    match &hook.handler {
        Handler::Builtin(builtin) => builtin.call(envelope).await,
        Handler::Prompt { prompt, model } => {
            let envelope = envelope.to_string();
            let question = Question { hook: &hook.name, model, prompt, envelope: &envelope };
            Reply::parse(unfenced(&runner.prompt(question).await?))
        }
        Handler::Command { argv, env } => {
            let line = format!("{envelope}\n");
            command_said(&runner.command(argv, env, line.as_bytes()).await?)
        }
    }
}

/// Models like to put JSON into a block of code. One around all of it is taken off.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}

/// Nothing on standard output is nothing to say; something has to be a reply.
fn command_said(ran: &CommandRan) -> Result<Reply, String> {
    let stderr = clean(&String::from_utf8_lossy(&ran.stderr));
    match ran.code {
        Some(0) if ran.stdout.trim_ascii().is_empty() => Ok(Reply::Proceed),
        Some(0) => {
            let text = str::from_utf8(&ran.stdout).map_err(|_| "its reply is not UTF-8")?;
            Reply::parse(text)
        }
        Some(VETO) if stderr.is_empty() => Ok(Reply::Veto("no reason given".to_owned())),
        Some(VETO) => Ok(Reply::Veto(stderr)),
        Some(code) => Err(format!("it ended with code {code}: {stderr}")),
        None => Err(format!("a signal ended it: {stderr}")),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
