//! Anthropic Messages. Frames tell by themselves what they are: the name of the event is not needed, and may be lost
//! where a line end is split. See <https://docs.anthropic.com/en/api/messages-streaming>.

use serde_json::Value;

use super::{Draft, number, text};
use crate::model::{Stop, Usage};

pub(super) fn read(draft: &mut Draft, frame: &Value) {
    match text(frame, "/type") {
        "message_start" => usage(draft, frame.pointer("/message/usage")),
        "content_block_start" => start(draft, frame),
        "content_block_delta" => delta(draft, frame),
        "message_delta" => {
            if let Some(reason) = frame.pointer("/delta/stop_reason").and_then(Value::as_str) {
                draft.stop = Some(stop(reason));
            }
            usage(draft, frame.get("usage"));
        }
        "message_stop" => draft.ended = true,
        "error" => draft.fail(Some(text(frame, "/error/type")), Some(text(frame, "/error/message"))),
        // Pings, ends of blocks, and what is added later: clients are asked to pass it over.
        _ => {}
    }
}

fn start(draft: &mut Draft, frame: &Value) {
    let block = &frame["content_block"];
    match text(block, "/type") {
        "text" => draft.say(text(block, "/text")),
        "thinking" => {
            draft.think(text(block, "/thinking"));
            draft.kept.push(block.clone());
        }
        "redacted_thinking" => draft.kept.push(block.clone()),
        "tool_use" => {
            let index = number(frame, "/index").unwrap_or_default();
            draft.call(index, text(block, "/id"), text(block, "/name"));
        }
        _ => {}
    }
}

fn delta(draft: &mut Draft, frame: &Value) {
    match text(frame, "/delta/type") {
        "text_delta" => draft.say(text(frame, "/delta/text")),
        "thinking_delta" => {
            let more = text(frame, "/delta/thinking");
            draft.think(more);
            if let Some(Value::String(thinking)) = thinking(draft, "thinking") {
                thinking.push_str(more);
            }
        }
        // Comes whole, as the provider's own clients take it.
        "signature_delta" => {
            if let Some(signature) = thinking(draft, "signature") {
                *signature = frame["delta"]["signature"].clone();
            }
        }
        "input_json_delta" => {
            let index = number(frame, "/index").unwrap_or_default();
            if let Some(call) = draft.called(index) {
                call.raw.push_str(text(frame, "/delta/partial_json"));
            }
        }
        _ => {}
    }
}

/// A field of the block of thinking that is being written.
fn thinking<'a>(draft: &'a mut Draft, field: &str) -> Option<&'a mut Value> {
    let block = draft.kept.last_mut().filter(|block| text(block, "/type") == "thinking")?;
    Some(&mut block[field])
}

fn stop(reason: &str) -> Stop {
    match reason {
        "end_turn" | "stop_sequence" => Stop::End,
        "tool_use" => Stop::Tools,
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "refusal" => Stop::Refusal,
        other => Stop::Other(other.to_owned()),
    }
}

/// Numbers are those of the whole answer so far; a frame may leave some out. Input is told without the cache.
fn usage(draft: &mut Draft, usage: Option<&Value>) {
    let Some(usage) = usage.filter(|usage| usage.is_object()) else { return };
    let before = draft.usage.unwrap_or_default();
    let read = number(usage, "/cache_read_input_tokens").unwrap_or(before.cache_read);
    let write = number(usage, "/cache_creation_input_tokens").unwrap_or(before.cache_write);
    let fresh = before.input.saturating_sub(before.cache_read).saturating_sub(before.cache_write);
    let fresh = number(usage, "/input_tokens").unwrap_or(fresh);
    draft.usage = Some(Usage {
        input: fresh.saturating_add(read).saturating_add(write),
        cache_read: read,
        cache_write: write,
        output: number(usage, "/output_tokens").unwrap_or(before.output),
        reasoning: number(usage, "/output_tokens_details/thinking_tokens").unwrap_or(before.reasoning),
    });
}
