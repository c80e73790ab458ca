//! A model that answers from a script: for trying blueprints without a provider, and for tests. Its answers are
//! marked as scripted from here to the last output. Never a stand-in that nobody asked for.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Delta, Listener, Message, Model, ModelError, ModelFault, Origin, Price, Request, Stop, ToolCall,
    Usage,
};

/// A script that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the script of the model cannot be read: {0}")]
pub struct ScriptError(String);

/// What a scripted model says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What its tokens cost; nothing if left out.
    #[serde(default)]
    pub price: Option<Price>,
    /// Tokens that fit into one call; 200,000 if left out.
    #[serde(default)]
    pub window: Option<u64>,
    /// The answers, in order.
    #[serde(default, rename = "turn")]
    pub turns: Vec<Turn>,
}

/// One answer of a script.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Only for this node; for whoever asks if left out.
    #[serde(default)]
    pub node: Option<String>,
    /// Only in this round of repair.
    #[serde(default)]
    pub round: Option<u32>,
    /// What it says.
    #[serde(default)]
    pub text: String,
    /// What it calls.
    #[serde(default, rename = "call")]
    pub calls: Vec<Call>,
    /// Why it stops: `end`, `tools`, `length` or `refusal`; by itself if left out.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// What it uses; counted from the texts if left out.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// It fails instead, in this way.
    #[serde(default)]
    pub fault: Option<ModelFault>,
    /// It is said this many times; once if left out.
    #[serde(default)]
    pub repeat: Option<u32>,
}

/// A call of a script.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The tool, by either of its names.
    pub tool: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Value,
}

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        toml::from_str(text).map_err(|error| ScriptError(error.to_string()))
    }
}

/// A model that answers from a script.
#[derive(Debug)]
pub struct Scripted {
    name: String,
    script: Script,
    turns: Vec<Turn>,
    next: AtomicUsize,
}

impl Scripted {
    /// What `script` has for a node in a round of repair. `answered` answers were taken before, in an earlier part of
    /// the same session.
    pub fn new(name: impl Into<String>, script: Script, node: &str, round: u32, answered: usize) -> Self {
        let fits = |turn: &&Turn| {
            turn.node.as_deref().is_none_or(|wanted| wanted == node)
                && turn.round.is_none_or(|wanted| wanted == round)
        };
        let turns = script
            .turns
            .iter()
            .filter(fits)
            .flat_map(|turn| std::iter::repeat_n(turn, turn.repeat.unwrap_or(1) as usize))
            .cloned()
            .collect();
        Self { name: name.into(), script, turns, next: AtomicUsize::new(answered) }
    }

    fn fault(&self, fault: ModelFault, message: &str) -> ModelError {
        ModelError::new(&self.name, fault, message)
    }
}

#[async_trait]
impl Model for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn origin(&self) -> Origin {
        Origin::Scripted
    }

    fn window(&self) -> u64 {
        self.script.window.unwrap_or(200_000)
    }

    fn longest_answer(&self) -> u64 {
        8192
    }

    fn at_most(&self, input: u64, output: u64) -> Option<u64> {
        Some(self.script.price.unwrap_or(Price::FREE).at_most(input, output))
    }

    async fn answer(
        &self,
        request: &Request,
        on: &mut dyn Listener,
        cancel: &CancellationToken,
    ) -> Result<Answer, ModelError> {
        if cancel.is_cancelled() {
            return Err(self.fault(ModelFault::Cancelled, "cancelled"));
        }
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let Some(turn) = self.turns.get(number) else {
            return Err(self.fault(ModelFault::Rejected, "the script has no further answer"));
        };
        if let Some(fault) = turn.fault {
            return Err(self.fault(fault, "the script says so"));
        }
        if !turn.text.is_empty() {
            on.delta(Delta::Text(&turn.text));
        }
        let calls: Vec<ToolCall> = turn
            .calls
            .iter()
            .enumerate()
            .map(|(at, call)| ToolCall {
                id: format!("call_{}_{at}", number + 1),
                name: wire_name(request, &call.tool),
                arguments: if call.args.is_null() { json!({}) } else { call.args.clone() },
            })
            .collect();
        for call in &calls {
            on.delta(Delta::Call(&call.name));
        }
        let usage = turn.usage.unwrap_or_else(|| counted(request, turn));
        let stop = turn.stop.clone().unwrap_or(if calls.is_empty() { Stop::End } else { Stop::Tools });
        Ok(Answer {
            model: self.name.clone(),
            origin: Origin::Scripted,
            text: turn.text.clone(),
            calls,
            stop,
            usage,
            cost_micros: Some(self.script.price.unwrap_or(Price::FREE).micros(&usage)),
            opaque: None,
        })
    }
}

fn wire_name(request: &Request, tool: &str) -> String {
    let named = request.tools.iter().find(|spec| spec.name == tool);
    named.map_or_else(|| tool.to_owned(), crate::tool::ToolSpec::wire_name)
}

/// About four bytes to a token, as good a guess as any for a model that does not exist.
fn counted(request: &Request, turn: &Turn) -> Usage {
    let said: usize = request
        .messages
        .iter()
        .map(|message| match message {
            Message::User { text } | Message::Assistant { text, .. } => text.len(),
            Message::Tools { results } => results.iter().map(|result| result.content.len()).sum(),
        })
        .sum();
    let answered = turn.text.len() + turn.calls.iter().map(|call| call.args.to_string().len()).sum::<usize>();
    Usage {
        input: (request.system.len() + said).div_ceil(4) as u64,
        output: answered.div_ceil(4).max(1) as u64,
        ..Usage::default()
    }
}
