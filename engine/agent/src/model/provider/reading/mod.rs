//! Reads an answer from the frames it arrives in, one reader for each wire. Strict: what is no JSON is remembered, what
//! says that the provider failed is remembered, and only the end marker of the wire makes an answer complete. Knows no
//! network and no library that does.

use serde_json::Value;

use crate::model::{Stop, ToolCall, Usage};

mod anthropic;
mod chat;
mod ollama;
mod responses;

/// The most bytes of frames an answer may have.
const LARGEST: usize = 64 << 20;

/// What is spoken with a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Anthropic,
    Chat,
    Responses,
    Ollama,
}

/// A piece of an answer as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Reasoning(String),
    Call(String),
}

/// What a provider says of its failure: data, in its words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) code: String,
    pub(super) message: String,
}

/// A call as far as it has arrived. `key` is the provider's number for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    key: u64,
    id: String,
    name: String,
    raw: String,
}

/// Why there is no answer although frames came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gap {
    /// The provider failed and said so.
    Failed(Complaint),
    /// A frame could not be read.
    Unreadable,
    /// More frames than an answer can have.
    TooLarge,
    /// No end marker came.
    BrokeOff,
    /// It announces calls and has none.
    NoCalls,
}

/// An answer that is complete.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Complete {
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    pub(super) stop: Stop,
    pub(super) usage: Option<Usage>,
    /// What the provider wants to see again.
    pub(super) kept: Vec<Value>,
    /// How much was written, in bytes, reasoning included.
    pub(super) written: usize,
}

/// An answer while it is read.
#[derive(Debug)]
pub(super) struct Reading {
    wire: Wire,
    size: usize,
    unreadable: bool,
    followed: bool,
    draft: Draft,
}

/// What the readers of the wires fill in.
#[derive(Debug, Default)]
struct Draft {
    text: String,
    calls: Vec<Call>,
    stop: Option<Stop>,
    refused: bool,
    usage: Option<Usage>,
    kept: Vec<Value>,
    failed: Option<Complaint>,
    ended: bool,
    thought: usize,
    pieces: Vec<Piece>,
}

impl Reading {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, size: 0, unreadable: false, followed: false, draft: Draft::default() }
    }

    /// Takes the data of one frame. What comes after the end is not looked at.
    pub(super) fn data(&mut self, data: &str) {
        let data = data.trim();
        self.size = self.size.saturating_add(data.len());
        if self.over() || data.is_empty() {
            return;
        }
        if self.unreadable {
            self.followed = true;
            return;
        }
        if self.wire == Wire::Chat && data == "[DONE]" {
            self.draft.ended = true;
            return;
        }
        let Ok(frame) = serde_json::from_str::<Value>(data) else {
            self.unreadable = true;
            return;
        };
        match self.wire {
            Wire::Anthropic => anthropic::read(&mut self.draft, &frame),
            Wire::Chat => chat::read(&mut self.draft, &frame),
            Wire::Responses => responses::read(&mut self.draft, &frame),
            Wire::Ollama => ollama::read(&mut self.draft, &frame),
        }
    }

    /// What arrived since the last time.
    pub(super) fn pieces(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.draft.pieces)
    }

    /// Whether nothing more is to be read.
    pub(super) fn over(&self) -> bool {
        self.draft.ended || self.draft.failed.is_some() || self.followed || self.size > LARGEST
    }

    /// The answer. A call without a name of its own gets one from `turn`, so that no two of a conversation are alike.
    pub(super) fn complete(&mut self, turn: usize) -> Result<Complete, Gap> {
        let draft = std::mem::take(&mut self.draft);
        if let Some(complaint) = draft.failed {
            return Err(Gap::Failed(complaint));
        }
        if self.unreadable {
            // The last frame of a stream that broke off is cut as well. One in the middle never is.
            return Err(if self.followed { Gap::Unreadable } else { Gap::BrokeOff });
        }
        if self.size > LARGEST {
            return Err(Gap::TooLarge);
        }
        let Some(stop) = draft.stop.filter(|_| draft.ended) else {
            return Err(Gap::BrokeOff);
        };
        let stop = match stop {
            Stop::Tools if draft.calls.is_empty() => return Err(Gap::NoCalls),
            Stop::End | Stop::Tools if draft.refused => Stop::Refusal,
            Stop::End if !draft.calls.is_empty() => Stop::Tools,
            other => other,
        };
        let said = draft.calls.iter().map(|call| call.name.len() + call.raw.len()).sum::<usize>();
        let written = draft.text.len() + draft.thought + said;
        let calls = draft.calls.into_iter().enumerate().map(|(at, call)| call.whole(turn, at)).collect();
        Ok(Complete { text: draft.text, calls, stop, usage: draft.usage, kept: draft.kept, written })
    }
}

impl Call {
    /// What the model wrote instead of an object stays a text.
    fn whole(self, turn: usize, at: usize) -> ToolCall {
        let arguments = match serde_json::from_str::<Value>(&self.raw) {
            Ok(value @ Value::Object(_)) => value,
            _ if self.raw.trim().is_empty() => Value::Object(serde_json::Map::new()),
            _ => Value::String(self.raw),
        };
        let id = if self.id.is_empty() { format!("call_{turn}_{at}") } else { self.id };
        ToolCall { id, name: self.name, arguments }
    }
}

impl Draft {
    fn say(&mut self, text: &str) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.pieces.push(Piece::Text(text.to_owned()));
        }
    }

    fn think(&mut self, text: &str) {
        if !text.is_empty() {
            self.thought += text.len();
            self.pieces.push(Piece::Reasoning(text.to_owned()));
        }
    }

    fn call(&mut self, key: u64, id: &str, name: &str) {
        self.calls.push(Call { key, id: id.to_owned(), name: name.to_owned(), raw: String::new() });
        self.pieces.push(Piece::Call(name.to_owned()));
    }

    /// The last call with this number.
    fn called(&mut self, key: u64) -> Option<&mut Call> {
        self.calls.iter_mut().rev().find(|call| call.key == key)
    }

    fn fail(&mut self, code: Option<&str>, message: Option<&str>) {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        self.failed = Some(Complaint { code: text(code), message: text(message) });
    }
}

/// The text at a pointer; none is an empty one.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a pointer.
fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}
