//! Ollama. See <https://docs.ollama.com/api/chat>.

use serde_json::{Value, json};

use super::{Draft, number, text};
use crate::model::{Stop, Usage};

pub(super) fn read(draft: &mut Draft, frame: &Value) {
    if let Some(error) = frame.get("error").and_then(Value::as_str) {
        return draft.fail(None, Some(error));
    }
    let thought = text(frame, "/message/thinking");
    if !thought.is_empty() {
        draft.think(thought);
        match draft.kept.last_mut().map(|block| &mut block["thinking"]) {
            Some(Value::String(all)) => all.push_str(thought),
            _ => draft.kept.push(json!({ "thinking": thought })),
        }
    }
    draft.say(text(frame, "/message/content"));
    for call in frame.pointer("/message/tool_calls").and_then(Value::as_array).into_iter().flatten() {
        let key = draft.calls.len() as u64;
        draft.call(key, text(call, "/id"), text(call, "/function/name"));
        if let (Some(open), Some(arguments)) = (draft.called(key), call.pointer("/function/arguments")) {
            open.raw = arguments.to_string();
        }
    }
    if frame.get("done").and_then(Value::as_bool) != Some(true) {
        return;
    }
    draft.ended = true;
    draft.stop = Some(match text(frame, "/done_reason") {
        "" | "stop" => Stop::End,
        "length" => Stop::Length,
        other => Stop::Other(other.to_owned()),
    });
    if let (Some(input), Some(output)) = (number(frame, "/prompt_eval_count"), number(frame, "/eval_count")) {
        let cache_read = number(frame, "/prompt_eval_cached_count").unwrap_or_default();
        draft.usage = Some(Usage { input, cache_read, output, ..Usage::default() });
    }
}
