//! OpenAI Responses. See <https://platform.openai.com/docs/api-reference/responses-streaming>.

use serde_json::Value;

use super::{Draft, number, text};
use crate::model::{Stop, Usage};

pub(super) fn read(draft: &mut Draft, frame: &Value) {
    let at = number(frame, "/output_index").unwrap_or_default();
    let delta = text(frame, "/delta");
    match text(frame, "/type") {
        "response.output_text.delta" => draft.say(delta),
        "response.refusal.delta" => {
            draft.refused = true;
            draft.say(delta);
        }
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => draft.think(delta),
        "response.output_item.added" => {
            let item = &frame["item"];
            if text(item, "/type") == "function_call" {
                draft.call(at, text(item, "/call_id"), text(item, "/name"));
            }
        }
        "response.function_call_arguments.delta" => {
            if let Some(call) = draft.called(at) {
                call.raw.push_str(delta);
            }
        }
        "response.output_item.done" => done(draft, at, &frame["item"]),
        "response.completed" => end(draft, &frame["response"], Stop::End),
        "response.incomplete" => {
            let stop = match text(frame, "/response/incomplete_details/reason") {
                "max_output_tokens" => Stop::Length,
                "content_filter" => Stop::Refusal,
                other => Stop::Other(format!("incomplete: {other}")),
            };
            end(draft, &frame["response"], stop);
        }
        "response.failed" | "response.cancelled" => {
            let error = &frame["response"]["error"];
            draft.fail(Some(text(error, "/code")), Some(text(error, "/message")));
        }
        "error" => {
            let error = frame.get("error").filter(|error| error.is_object()).unwrap_or(frame);
            draft.fail(Some(text(error, "/code")), Some(text(error, "/message")));
        }
        _ => {}
    }
}

/// An item is complete: what it says of itself wins over what was pieced together.
fn done(draft: &mut Draft, at: u64, item: &Value) {
    match text(item, "/type") {
        "function_call" => {
            if draft.called(at).is_none() {
                draft.call(at, text(item, "/call_id"), text(item, "/name"));
            }
            let whole = text(item, "/arguments");
            if let Some(call) = draft.called(at).filter(|_| !whole.is_empty()) {
                whole.clone_into(&mut call.raw);
            }
        }
        "reasoning" => {
            let sealed = item.get("encrypted_content").filter(|sealed| sealed.is_string());
            draft.kept.extend(sealed.cloned());
        }
        _ => {}
    }
}

fn end(draft: &mut Draft, response: &Value, stop: Stop) {
    draft.ended = true;
    draft.stop = Some(stop);
    let items = response.get("output").and_then(Value::as_array);
    // Some servers send the answer with its end only.
    if draft.text.is_empty() && draft.calls.is_empty() {
        for (at, item) in items.into_iter().flatten().enumerate() {
            for part in item.get("content").and_then(Value::as_array).into_iter().flatten() {
                if text(part, "/type") == "output_text" {
                    draft.say(text(part, "/text"));
                }
            }
            if text(item, "/type") == "function_call" {
                done(draft, at as u64, item);
            }
        }
    }
    let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) else { return };
    draft.usage = Some(Usage {
        input: number(usage, "/input_tokens").unwrap_or_default(),
        cache_read: number(usage, "/input_tokens_details/cached_tokens").unwrap_or_default(),
        cache_write: number(usage, "/input_tokens_details/cache_write_tokens").unwrap_or_default(),
        output: number(usage, "/output_tokens").unwrap_or_default(),
        reasoning: number(usage, "/output_tokens_details/reasoning_tokens").unwrap_or_default(),
    });
}
