//! Makes a conversation shorter when the window of the model fills: first what tools said long ago, then what the model
//! said long ago, then everything but the task, a summary and the last turns. Follows from the conversation alone. Must
//! never part a call from its result, change the task, or make anything longer. The transcript keeps everything.

use serde_json::Value;

use super::{Family, count_message};
use crate::model::{Message, ToolResult};

mod summary;

/// From this part of the window on, in hundredths, old results are reduced to one line.
const ELIDE_AT: u64 = 60;
/// From this part on, old answers are shortened.
const SHORTEN_AT: u64 = 70;
/// From this part on, only a summary of what is old stays.
const SUMMARISE_AT: u64 = 85;
/// A step that frees less than this part of the window is not worth it: it costs the provider's cache of what was before.
const WORTH: u64 = 5;
/// An old answer keeps this many bytes.
const SHORT_ANSWER: usize = 400;
/// Results that are short anyway stay.
const SHORT_RESULT: usize = 200;
/// The most bytes of a result of the last turns when even these are too long.
const SQUEEZED: usize = 2000;

/// How a session is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How tokens are estimated.
    pub family: Family,
    /// Tokens that the conversation and its answer may take: the window of the model.
    pub window: u64,
    /// Tokens of the window that are not the conversation's: system text, tools and the answer.
    pub reserved: u64,
    /// The last turns, which stay as they are.
    pub keep: usize,
}

impl Policy {
    /// For a window, with four turns that stay.
    pub fn new(family: Family, window: u64, reserved: u64) -> Self {
        Self { family, window, reserved, keep: 4 }
    }

    /// With the window in estimated tokens: what was `estimated` for a request turned out to be `measured` by its
    /// provider. An estimate that was too low makes the window smaller, one that was too high makes it at most twice as
    /// large.
    #[must_use]
    pub fn calibrated(self, estimated: u64, measured: u64) -> Self {
        if estimated == 0 || measured == 0 {
            return self;
        }
        let scaled = |tokens: u64| {
            let scaled = u128::from(tokens) * u128::from(estimated) / u128::from(measured);
            u64::try_from(scaled).unwrap_or(u64::MAX).min(tokens.saturating_mul(2))
        };
        Self { window: scaled(self.window), ..self }
    }

    fn tokens(&self, messages: &[Message]) -> u64 {
        messages.iter().map(|message| count_message(self.family, message)).sum()
    }

    /// What the conversation fills of the window, in hundredths.
    fn filled(&self, tokens: u64) -> u64 {
        (tokens.saturating_add(self.reserved)).saturating_mul(100) / self.window.max(1)
    }
}

/// What a compaction did: goes on record as [`crate::session::Step::Compacted`].
#[derive(Debug, Clone, PartialEq)]
pub struct Compaction {
    /// For people.
    pub note: String,
    /// The conversation as it goes on.
    pub messages: Vec<Message>,
    /// The most tokens it had before, and has now.
    pub tokens: (u64, u64),
}

/// Shortens a conversation if it fills too much of the window. `None`: it stays as it is.
pub fn compact(messages: &[Message], policy: &Policy) -> Option<Compaction> {
    shorten(messages, policy, false)
}

/// Shortens a conversation as far as it goes, because a provider said that it is too long. `None`: there is nothing
/// left to shorten.
pub fn squeeze(messages: &[Message], policy: &Policy) -> Option<Compaction> {
    shorten(messages, policy, true)
}

fn shorten(messages: &[Message], policy: &Policy, forced: bool) -> Option<Compaction> {
    let before = policy.tokens(messages);
    let mut now = Draft { messages: messages.to_vec(), tokens: before };
    let mut done: Vec<String> = Vec::new();
    if forced || policy.filled(now.tokens) >= ELIDE_AT {
        let (shorter, count) = elide(&now.messages, policy.keep);
        now.take(shorter, count, "old results elided", policy, forced, &mut done);
    }
    if forced || policy.filled(now.tokens) >= SHORTEN_AT {
        let (shorter, count) = shorten_answers(&now.messages, policy.keep);
        now.take(shorter, count, "old answers shortened", policy, forced, &mut done);
    }
    if forced || policy.filled(now.tokens) >= SUMMARISE_AT {
        // As many of the last turns as leave room to go on.
        for keep in (1..=policy.keep.max(1)).rev() {
            let (shorter, count) = summarise(&now.messages, keep);
            let tokens = policy.tokens(&shorter);
            if keep > 1 && policy.filled(tokens) >= ELIDE_AT {
                continue;
            }
            now.take(shorter, count, "old messages summarised", policy, true, &mut done);
            break;
        }
        if forced || policy.filled(now.tokens) >= SUMMARISE_AT {
            let (shorter, count) = cut_results(&now.messages);
            now.take(shorter, count, "results cut", policy, true, &mut done);
        }
    }
    if done.is_empty() {
        return None;
    }
    let note = format!("{} (about {before} tokens, now {})", done.join(", "), now.tokens);
    Some(Compaction { note, messages: now.messages, tokens: (before, now.tokens) })
}

struct Draft {
    messages: Vec<Message>,
    tokens: u64,
}

impl Draft {
    /// Takes a step if it is worth it.
    fn take(
        &mut self,
        shorter: Vec<Message>,
        count: usize,
        what: &str,
        policy: &Policy,
        any: bool,
        done: &mut Vec<String>,
    ) {
        let tokens = policy.tokens(&shorter);
        let freed = self.tokens.saturating_sub(tokens);
        let least = if any { 1 } else { (policy.window * WORTH / 100).max(1) };
        if count > 0 && freed >= least {
            done.push(format!("{count} {what}"));
            *self = Self { messages: shorter, tokens };
        }
    }
}

/// Where the last `keep` turns begin. A turn is an answer with everything up to the next one.
fn last_turns(messages: &[Message], keep: usize) -> usize {
    let turns =
        messages.iter().enumerate().filter(|(_, message)| matches!(message, Message::Assistant { .. }));
    turns.rev().map(|(at, _)| at).nth(keep.saturating_sub(1)).unwrap_or(1).min(messages.len())
}

/// One line for each old result.
fn elide(messages: &[Message], keep: usize) -> (Vec<Message>, usize) {
    let until = last_turns(messages, keep);
    let mut count = 0;
    let shorter = messages.iter().enumerate().map(|(at, message)| match message {
        Message::Tools { results } if at < until => Message::Tools {
            results: results
                .iter()
                .map(|result| {
                    if result.content.len() <= SHORT_RESULT {
                        return result.clone();
                    }
                    count += 1;
                    let state = if result.ok { "worked" } else { "failed" };
                    let (lines, bytes) = (result.content.lines().count(), result.content.len());
                    let content = format!(
                        "[{state}; {lines} lines, {bytes} bytes, no longer shown: call again if needed]"
                    );
                    ToolResult { content, ..result.clone() }
                })
                .collect(),
        },
        other => other.clone(),
    });
    (shorter.collect(), count)
}

/// The beginning of each old answer. What its provider wanted to see again goes with the rest of it.
fn shorten_answers(messages: &[Message], keep: usize) -> (Vec<Message>, usize) {
    let until = last_turns(messages, keep);
    let mut count = 0;
    let shorter = messages.iter().enumerate().map(|(at, message)| match message {
        Message::Assistant { text, calls, opaque }
            if at < until && (text.len() > SHORT_ANSWER + 64 || opaque.is_some()) =>
        {
            count += 1;
            let text = if text.len() > SHORT_ANSWER + 64 {
                let kept = &text[..text.floor_char_boundary(SHORT_ANSWER)];
                format!("{kept} [… {} bytes left out]", text.len() - kept.len())
            } else {
                text.clone()
            };
            Message::Assistant { text, calls: calls.clone(), opaque: None }
        }
        other => other.clone(),
    });
    (shorter.collect(), count)
}

/// The task, a summary, and the last `keep` turns.
fn summarise(messages: &[Message], keep: usize) -> (Vec<Message>, usize) {
    let until = last_turns(messages, keep);
    let Some((task, rest)) = messages.split_first() else { return (Vec::new(), 0) };
    let (old, last) = rest.split_at(until.saturating_sub(1).min(rest.len()));
    if old.is_empty() || matches!(old, [Message::User { text }] if summary::is(text)) {
        return (messages.to_vec(), 0);
    }
    let mut shorter = vec![task.clone(), Message::User { text: summary::of(old) }];
    shorter.extend_from_slice(last);
    (shorter, old.len())
}

/// Both ends of each long result that is left, and of each long argument of the calls before them.
fn cut_results(messages: &[Message]) -> (Vec<Message>, usize) {
    let mut count = 0;
    let mut ends = |text: &str| {
        if text.len() <= SQUEEZED + 64 {
            return None;
        }
        count += 1;
        let head = &text[..text.floor_char_boundary(SQUEEZED / 2)];
        let tail = &text[text.ceil_char_boundary(text.len() - SQUEEZED / 2)..];
        Some(format!("{head}\n[… {} bytes left out …]\n{tail}", text.len() - head.len() - tail.len()))
    };
    let shorter = messages.iter().map(|message| match message {
        Message::Tools { results } => Message::Tools {
            results: results
                .iter()
                .map(|result| match ends(&result.content) {
                    Some(content) => ToolResult { content, ..result.clone() },
                    None => result.clone(),
                })
                .collect(),
        },
        Message::Assistant { text, calls, opaque } => {
            let mut calls = calls.clone();
            for call in &mut calls {
                if let Value::Object(arguments) = &mut call.arguments {
                    for argument in arguments.values_mut() {
                        if let Some(shorter) = argument.as_str().and_then(&mut ends) {
                            *argument = Value::String(shorter);
                        }
                    }
                }
            }
            Message::Assistant { text: text.clone(), calls, opaque: opaque.clone() }
        }
        other @ Message::User { .. } => other.clone(),
    });
    (shorter.collect(), count)
}

#[cfg(test)]
mod tests;
