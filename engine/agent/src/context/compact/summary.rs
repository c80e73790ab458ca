//! What is left of messages that are gone: files, commands, what the model said it decided. Taken from the calls and
//! results themselves, without a model. Every item is one short line, so that nothing in it can pass for anything else.

use serde_json::Value;

use crate::model::{Message, ToolCall, ToolResult};

/// How a summary begins.
const OPENS: &str = "[Summary of earlier work in this conversation, made by the engine. The messages themselves are no longer shown.]";
/// Its parts, in order, with the most items of each. Of too many the last ones stay.
const PARTS: [(&str, usize); 4] =
    [("Files changed:", 60), ("Files read:", 40), ("Calls made:", 40), ("What was said:", 24)];
/// The longest item, in characters.
const LONGEST: usize = 200;
/// Names under which tools take a path.
const PATHS: [&str; 4] = ["path", "file", "file_path", "filename"];

/// Whether this is a summary.
pub(super) fn is(text: &str) -> bool {
    text.starts_with(OPENS)
}

/// The summary of messages, an earlier summary among them included.
pub(super) fn of(messages: &[Message]) -> String {
    let mut parts: [Vec<String>; 4] = Default::default();
    for (at, message) in messages.iter().enumerate() {
        match message {
            Message::User { text } if is(text) => earlier(text, &mut parts),
            Message::User { text } => parts[3].push(line(&format!("told: {text}"))),
            Message::Assistant { text, calls, .. } => {
                if !text.trim().is_empty() {
                    parts[3].push(line(text));
                }
                let results = match messages.get(at + 1) {
                    Some(Message::Tools { results }) => results.as_slice(),
                    _ => &[],
                };
                for (number, call) in calls.iter().enumerate() {
                    note(call, results.get(number), &mut parts);
                }
            }
            Message::Tools { .. } => {}
        }
    }
    let mut text = OPENS.to_owned();
    for ((title, most), items) in PARTS.into_iter().zip(parts) {
        let items = distinct(items);
        if items.is_empty() {
            continue;
        }
        text.push('\n');
        text.push_str(title);
        for item in &items[items.len().saturating_sub(most)..] {
            text.push_str("\n- ");
            text.push_str(item);
        }
    }
    text
}

/// Takes the items of an earlier summary in again.
fn earlier(text: &str, parts: &mut [Vec<String>; 4]) {
    let mut part = None;
    for row in text.lines().skip(1) {
        if let Some(which) = PARTS.iter().position(|(title, _)| *title == row) {
            part = Some(which);
        } else if let (Some(which), Some(item)) = (part, row.strip_prefix("- ")) {
            parts[which].push(item.to_owned());
        }
    }
}

fn note(call: &ToolCall, result: Option<&ToolResult>, parts: &mut [Vec<String>; 4]) {
    let path = PATHS.iter().find_map(|name| call.arguments.get(name)?.as_str());
    let ok = result.is_some_and(|result| result.ok);
    if let Some(path) = path {
        let changes = ["write", "edit", "patch", "create", "delete", "move"];
        if ok && changes.iter().any(|word| call.name.contains(word)) {
            parts[0].push(line(path));
            return;
        }
        if ok && call.name.contains("read") {
            parts[1].push(line(path));
            return;
        }
    }
    let what = command(&call.arguments).unwrap_or_else(|| call.arguments.to_string());
    let end = match result {
        None => "no result".to_owned(),
        Some(result) => exit(&result.content).unwrap_or_else(|| if ok { "ok" } else { "failed" }.to_owned()),
    };
    // The end comes first, because a long command is cut.
    parts[2].push(line(&format!("{end}: {} {what}", call.name)));
}

/// A command as it was asked for.
fn command(arguments: &Value) -> Option<String> {
    let value = ["command", "cmd", "argv", "script"].iter().find_map(|name| arguments.get(name))?;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(words) => {
            Some(words.iter().map(|word| word.as_str().unwrap_or("?")).collect::<Vec<_>>().join(" "))
        }
        _ => None,
    }
}

/// The exit code, if the first or last line of a result names it.
fn exit(content: &str) -> Option<String> {
    let ends = [content.lines().next(), content.lines().next_back()];
    ends.into_iter().flatten().find_map(|row| {
        let (_, behind) =
            row.to_ascii_lowercase().split_once("exit").map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        let code: String = behind
            .trim_start_matches(|c: char| !c.is_ascii_digit() && c != '-')
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '-')
            .take(6)
            .collect();
        (!code.is_empty()).then(|| format!("exit {code}"))
    })
}

/// One short line.
fn line(text: &str) -> String {
    let mut letters =
        text.split_whitespace().flat_map(|word| word.chars().chain([' '])).filter(|c| !c.is_control());
    let mut line: String = letters.by_ref().take(LONGEST).collect();
    let cut = letters.next().is_some();
    line.truncate(line.trim_end().len());
    if cut {
        line.push('…');
    }
    line
}

/// Each once, where it came last.
fn distinct(items: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept: Vec<String> = items.into_iter().rev().filter(|item| seen.insert(item.clone())).collect();
    kept.reverse();
    kept
}
