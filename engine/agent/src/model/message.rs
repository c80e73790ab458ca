//! What is said between a session and a model, whichever provider it is. Serialised into transcripts and journals:
//! a change here is a change of their format.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tool::ToolSpec;

/// A part of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// What the model is told.
    User {
        /// The text.
        text: String,
    },
    /// What the model answered.
    Assistant {
        /// The text.
        text: String,
        /// The tools it wants called.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<ToolCall>,
        /// What its provider wants to see again with the next call: signatures, reasoning. Not looked into.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<Value>,
    },
    /// What the tools gave back, one for each call of the answer before, in its order.
    Tools {
        /// The results.
        results: Vec<ToolResult>,
    },
}

/// A call a model wants made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's name for this call.
    pub id: String,
    /// The tool, as the model named it: untrusted.
    pub name: String,
    /// Its arguments. What the model wrote instead of a JSON object stands here as a text.
    pub arguments: Value,
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What the model is shown.
    pub content: String,
    /// Whether the tool did its work.
    pub ok: bool,
}

/// A call of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Who the model is to be.
    pub system: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// What it may call, with the names the model sees ([`ToolSpec::wire_name`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// The most tokens to answer with.
    pub max_output: u64,
    /// How freely to choose; the provider's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model had said everything.
    End,
    /// It waits for tools.
    Tools,
    /// It was cut off at the most tokens.
    Length,
    /// The model or its provider refused.
    Refusal,
    /// Something else, in the provider's words.
    Other(String),
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// In, those from and to the cache included.
    pub input: u64,
    /// Of these, read from the provider's cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Of these, written to the provider's cache.
    #[serde(default)]
    pub cache_write: u64,
    /// Out, those of reasoning included.
    pub output: u64,
    /// Of these, reasoning.
    #[serde(default)]
    pub reasoning: u64,
}

impl Usage {
    /// All tokens.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The model that answered, as in configuration.
    pub model: String,
    /// Where the answer comes from.
    pub origin: super::Origin,
    /// The text.
    pub text: String,
    /// The tools it wants called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// Why it ended.
    pub stop: Stop,
    /// What it used.
    pub usage: Usage,
    /// What it cost, in millionths of a US dollar; `None` if the price is not known.
    pub cost_micros: Option<u64>,
    /// See [`Message::Assistant`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Value>,
}

impl Answer {
    /// As a part of the conversation.
    pub fn message(&self) -> Message {
        Message::Assistant { text: self.text.clone(), calls: self.calls.clone(), opaque: self.opaque.clone() }
    }
}
