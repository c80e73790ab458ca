//! OpenAI Chat Completions, and what others make of them. See
//! <https://platform.openai.com/docs/api-reference/chat-streaming>.

use serde_json::{Value, json};

use super::{Draft, number, text};
use crate::model::{Stop, Usage};

pub(super) fn read(draft: &mut Draft, frame: &Value) {
    if let Some(error) = frame.get("error").filter(|error| !error.is_null()) {
        let code = [text(error, "/code"), text(error, "/type")].into_iter().find(|code| !code.is_empty());
        return draft.fail(code, error.as_str().or(Some(text(error, "/message"))));
    }
    if let Some(usage) = frame.get("usage").filter(|usage| usage.is_object()) {
        draft.usage = Some(read_usage(usage));
    }
    let Some(choice) = frame.pointer("/choices/0") else { return };
    let delta = &choice["delta"];
    reason(draft, delta);
    content(draft, &delta["content"]);
    if let Some(refusal) = delta.get("refusal").and_then(Value::as_str).filter(|text| !text.is_empty()) {
        draft.refused = true;
        draft.say(refusal);
    }
    for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        read_call(draft, call);
    }
    if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
        draft.stop = Some(match reason {
            "stop" => Stop::End,
            "tool_calls" | "function_call" => Stop::Tools,
            "length" => Stop::Length,
            "content_filter" => Stop::Refusal,
            other => Stop::Other(other.to_owned()),
        });
    }
}

/// Not of OpenAI: DeepSeek, Kimi, vLLM and others. The first field is wanted back with the results of calls.
fn reason(draft: &mut Draft, delta: &Value) {
    let kept = text(delta, "/reasoning_content");
    if kept.is_empty() {
        return draft.think(text(delta, "/reasoning"));
    }
    draft.think(kept);
    match draft.kept.last_mut().and_then(|block| block.get_mut("reasoning_content")) {
        Some(Value::String(all)) => all.push_str(kept),
        _ => draft.kept.push(json!({ "reasoning_content": kept })),
    }
}

/// A text, or as Mistral has it a list of parts.
fn content(draft: &mut Draft, content: &Value) {
    match content {
        Value::String(text) => draft.say(text),
        Value::Array(parts) => {
            for part in parts {
                draft.say(text(part, "/text"));
                for thought in part.get("thinking").and_then(Value::as_array).into_iter().flatten() {
                    draft.think(text(thought, "/text"));
                }
            }
        }
        _ => {}
    }
}

/// A new call has a number or, where a server numbers all of them alike, a name that is not that of the call before.
fn read_call(draft: &mut Draft, call: &Value) {
    let id = text(call, "/id");
    let last = draft.calls.last();
    let key = match number(call, "/index") {
        Some(index) => index,
        None if id.is_empty() => last.map_or(0, |last| last.key),
        None => last.map_or(0, |last| last.key + 1),
    };
    let open = draft.called(key);
    if open.is_none_or(|open| !id.is_empty() && !open.id.is_empty() && open.id != id) {
        draft.call(key, id, text(call, "/function/name"));
    }
    if let Some(open) = draft.called(key) {
        match &call["function"]["arguments"] {
            Value::String(more) => open.raw.push_str(more),
            Value::Null => {}
            // Some servers send the object itself.
            whole => open.raw = whole.to_string(),
        }
    }
}

fn read_usage(usage: &Value) -> Usage {
    let input = number(usage, "/prompt_tokens").unwrap_or_default();
    let mut output = number(usage, "/completion_tokens").unwrap_or_default();
    let reasoning = number(usage, "/completion_tokens_details/reasoning_tokens").unwrap_or_default();
    // xAI tells them apart; the sum shows it.
    let apart = number(usage, "/total_tokens").is_some_and(|total| total == input + output + reasoning);
    if reasoning > output || (reasoning > 0 && apart) {
        output += reasoning;
    }
    let cached = number(usage, "/prompt_tokens_details/cached_tokens");
    Usage {
        input,
        cache_read: cached.or_else(|| number(usage, "/prompt_cache_hit_tokens")).unwrap_or_default(),
        cache_write: number(usage, "/prompt_tokens_details/cache_write_tokens").unwrap_or_default(),
        output,
        reasoning,
    }
}
