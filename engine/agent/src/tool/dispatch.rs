//! The only way to a tool. A call is first admitted, which decides and does nothing, and then made, so that its
//! record can be written in between. Nothing a tool does or says here ends the program or goes to a model unbounded.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use globset::{Glob, GlobMatcher};
use serde_json::Value;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::arguments::{Fit, SchemaError, shown};
use super::{Effect, HostError, Tool, ToolHost, ToolOutcome, ToolSpec, result};
use crate::model::ToolCall;

/// The tool that ends a session. It is in every scope.
pub const FINISH: &str = "finish";

/// How long a tool may take to end after it was told to. Then it is dropped where it stands.
const GRACE: Duration = Duration::from_secs(5);

/// How many names a model is told at once.
const NAMES: usize = 48;

/// What a scanner has to say of a text before a model sees it; one short line each.
pub type Notes<'a> = dyn Fn(&str) -> Vec<String> + Send + Sync + 'a;

/// Why tools cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ToolboxError {
    /// A pattern cannot be read.
    #[error("`{glob}` is not a pattern of tool names: {reason}")]
    Glob {
        /// The pattern.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern is of no use.
    #[error("`{0}` matches no tool")]
    Unmatched(String),
    /// A name cannot be used.
    #[error("`{0}` cannot be the name of a tool: letters, digits, `.`, `_` and `-` only")]
    Name(String),
    /// Models could not tell two tools apart.
    #[error("`{one}` and `{other}` are both `{wire}` for a model")]
    SameName {
        /// What a model would see.
        wire: String,
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// The arguments of a tool could not be checked.
    #[error("the schema of `{tool}` cannot be used: {reason}")]
    Schema {
        /// The tool.
        tool: String,
        /// Why.
        reason: SchemaError,
    },
}

/// A tool with everything that is decided about it.
#[derive(Debug)]
struct Bound {
    tool: Arc<dyn Tool>,
    wire: String,
    fit: Fit,
    in_scope: bool,
    allowed: bool,
    most: Option<u32>,
}

impl Bound {
    fn name(&self) -> &str {
        &self.tool.spec().name
    }
}

/// How often each tool was called in a session. Made anew from the steps of a session that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls(BTreeMap<String, u32>);

impl Calls {
    /// A call of this tool was announced.
    pub fn add(&mut self, tool: &str) {
        let count = self.0.entry(tool.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// A call of this tool, by either of its names, was announced and is about to be judged again.
    pub fn take(&mut self, tool: &str) {
        for (name, count) in &mut self.0 {
            if name == tool || name.replace('.', "_") == tool {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// How often it was called.
    pub fn of(&self, tool: &str) -> u32 {
        self.0.get(tool).copied().unwrap_or_default()
    }
}

/// Whether a call is made.
#[derive(Debug)]
pub enum Admission {
    /// It may be made.
    Admitted(Admitted),
    /// It is not; this is for the model.
    Refused(String),
}

/// A call that may be made. Only [`Toolbox::admit`] makes one, and only [`Toolbox::call`] uses it up.
#[derive(Debug)]
pub struct Admitted {
    tool: Arc<dyn Tool>,
    arguments: Value,
}

impl Admitted {
    /// The tool, as in blueprints, rules and logs.
    pub fn name(&self) -> &str {
        &self.tool.spec().name
    }

    /// What it may do at worst.
    pub fn effect(&self) -> Effect {
        self.tool.spec().effect
    }

    /// Its arguments.
    pub fn arguments(&self) -> &Value {
        &self.arguments
    }
}

/// The tools of one node, and what is allowed of them.
#[derive(Debug)]
pub struct Toolbox {
    tools: Vec<Bound>,
    most_bytes: usize,
    grace: Duration,
}

impl Toolbox {
    /// The tools that `scope` names, as far as their effects are in `ceiling`. [`FINISH`] needs no pattern.
    pub fn new(
        tools: Vec<Arc<dyn Tool>>,
        scope: &[String],
        ceiling: &BTreeSet<Effect>,
    ) -> Result<Self, ToolboxError> {
        let mut wires: BTreeMap<String, String> = BTreeMap::new();
        let mut bound = Vec::with_capacity(tools.len());
        for tool in tools {
            let spec = tool.spec();
            if !named_well(&spec.name) {
                return Err(ToolboxError::Name(shown(&spec.name, 64)));
            }
            let wire = spec.wire_name();
            if let Some(one) = wires.insert(wire.clone(), spec.name.clone()) {
                return Err(ToolboxError::SameName { wire, one, other: spec.name.clone() });
            }
            let fit = Fit::of(&spec.schema)
                .map_err(|reason| ToolboxError::Schema { tool: spec.name.clone(), reason })?;
            let (in_scope, allowed) = (spec.name == FINISH, ceiling.contains(&spec.effect));
            bound.push(Bound { wire, fit, in_scope, allowed, most: None, tool });
        }
        let mut toolbox = Self { tools: bound, most_bytes: result::MOST_BYTES, grace: GRACE };
        for glob in scope {
            toolbox.matching(glob, |tool| tool.in_scope = true)?;
        }
        Ok(toolbox)
    }

    /// Each tool that `glob` names may be called at most `most` times in a session.
    pub fn with_limit(mut self, glob: &str, most: u32) -> Result<Self, ToolboxError> {
        self.matching(glob, |tool| tool.most = Some(tool.most.map_or(most, |known| known.min(most))))?;
        Ok(self)
    }

    /// How many bytes of a result a model sees, instead of 64 KiB.
    #[must_use]
    pub fn with_result_limit(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// How long a tool may take to end after it was told to, instead of five seconds.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    fn matching(&mut self, glob: &str, mut with: impl FnMut(&mut Bound)) -> Result<(), ToolboxError> {
        let matcher = matcher(glob)?;
        let mut any = false;
        for tool in &mut self.tools {
            if matcher.is_match(tool.name()) {
                any = true;
                with(tool);
            }
        }
        if any { Ok(()) } else { Err(ToolboxError::Unmatched(glob.to_owned())) }
    }

    /// What a model may call, in the order in which the tools were given.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.offered().map(|tool| tool.tool.spec().clone()).collect()
    }

    /// Tools that the scope names and the ceiling forbids.
    pub fn beyond(&self) -> Vec<&ToolSpec> {
        let beyond = self.tools.iter().filter(|tool| tool.in_scope && !tool.allowed);
        beyond.map(|tool| tool.tool.spec()).collect()
    }

    fn offered(&self) -> impl Iterator<Item = &Bound> {
        self.tools.iter().filter(|tool| tool.in_scope && tool.allowed)
    }

    /// Decides whether a call is made. The same call after the same `made` is always decided in the same way.
    pub fn admit(&self, call: &ToolCall, made: &Calls) -> Admission {
        match self.judge(call, made) {
            Ok(bound) => Admission::Admitted(Admitted {
                tool: Arc::clone(&bound.tool),
                arguments: call.arguments.clone(),
            }),
            Err(reason) => Admission::Refused(reason),
        }
    }

    fn judge(&self, call: &ToolCall, made: &Calls) -> Result<&Bound, String> {
        let name = shown(&call.name, 64);
        let known = self.tools.iter().find(|tool| tool.wire == call.name || tool.name() == call.name);
        let Some(bound) = known else {
            return Err(format!("there is no tool `{name}`; {}", self.told()));
        };
        if !bound.in_scope {
            return Err(format!("`{name}` is not among the tools of this node; {}", self.told()));
        }
        if !bound.allowed {
            let effect = bound.tool.spec().effect.as_str();
            return Err(format!("`{name}` is not allowed here: tools with the effect `{effect}` are not"));
        }
        if let Some(most) = bound.most.filter(|most| made.of(bound.name()) >= *most) {
            return Err(format!("`{name}` may be called {most} times in a session, and was"));
        }
        bound
            .fit
            .check(&call.arguments)
            .map_err(|reason| format!("`{name}` was not called, its arguments do not fit: {reason}"))?;
        Ok(bound)
    }

    fn told(&self) -> String {
        let names: Vec<&str> = self.offered().map(|tool| tool.wire.as_str()).collect();
        let more = names.len().saturating_sub(NAMES);
        let known = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if names.is_empty() { "there are none".to_owned() } else { format!("there are: {known}{more}") }
    }

    /// Makes the call. What comes out was redacted, stripped of what steers terminals, looked at by `notes`, and cut to
    /// size, in this order. An error ends the session.
    ///
    /// A tool must never block its thread: what cannot be interrupted cannot be stopped here.
    pub async fn call(
        &self,
        admitted: Admitted,
        host: &dyn ToolHost,
        notes: &Notes<'_>,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let Admitted { tool, arguments } = admitted;
        let name = tool.spec().name.clone();
        let wall = tool.wall(&arguments);
        let recorded = tool.is_recorded();
        let token = cancel.child_token();
        let work = AssertUnwindSafe(async { tool.call(host, arguments, &token).await }).catch_unwind();
        tokio::pin!(work);
        let ended = tokio::select! {
            biased;
            ended = &mut work => Some(ended),
            () = cancel.cancelled() => None,
            () = tokio::time::sleep(wall) => None,
        };
        let (ended, late) = match ended {
            Some(ended) => (Some(ended), false),
            None => {
                token.cancel();
                (tokio::time::timeout(self.grace, &mut work).await.ok(), true)
            }
        };
        if late && cancel.is_cancelled() {
            return Err(HostError::Cancelled);
        }
        let outcome = match ended {
            Some(Ok(Ok(outcome))) => outcome,
            None | Some(Ok(Err(HostError::Cancelled))) if late => {
                host.note(&format!("{name}: stopped after {} s", wall.as_secs()));
                let secs = wall.as_secs_f32();
                ToolOutcome::Failed(format!("stopped after {secs} s; it may have done a part of its work"))
            }
            Some(Ok(Err(error))) => return Err(error),
            Some(Err(panic)) => {
                let said = shown(&host.redact(&said(panic.as_ref())), 300);
                host.note(&format!("{name}: broke off with a fault of its own: {said}"));
                ToolOutcome::Failed("the tool broke off with a fault of its own".to_owned())
            }
            // Nothing is dropped unless it was late.
            None => return Err(HostError::Cancelled),
        };
        let outcome = match outcome {
            ToolOutcome::Done(_) | ToolOutcome::Failed(_) if recorded => outcome,
            ToolOutcome::Done(text) => ToolOutcome::Done(self.fit_to_see(&name, &text, host, notes)),
            ToolOutcome::Failed(text) => ToolOutcome::Failed(self.fit_to_see(&name, &text, host, notes)),
            ToolOutcome::Finish(value) => ToolOutcome::Finish(result::redacted(value, host)),
        };
        Ok(outcome)
    }

    fn fit_to_see(&self, name: &str, text: &str, host: &dyn ToolHost, notes: &Notes<'_>) -> String {
        let text = result::cleaned(text, host);
        let notes = notes(&text);
        for note in &notes {
            host.note(&format!("{name}: {note}"));
        }
        result::bounded(&notes, &text, self.most_bytes)
    }
}

fn named_well(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn matcher(glob: &str) -> Result<GlobMatcher, ToolboxError> {
    let glob = Glob::new(glob)
        .map_err(|error| ToolboxError::Glob { glob: glob.to_owned(), reason: error.kind().to_string() })?;
    Ok(glob.compile_matcher())
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
