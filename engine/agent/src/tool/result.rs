//! What a tool gave, made fit to be seen: secrets out, nothing that steers a terminal, not more than fits. Decides
//! nothing about what it means.

use std::fmt::Write as _;

use serde_json::Value;

use super::ToolHost;

/// How many bytes of a result a model sees, unless told otherwise.
pub(super) const MOST_BYTES: usize = 64 * 1024;
/// How far the end of a command to a terminal is looked for, in bytes.
const LONGEST_SEQUENCE: usize = 4096;

/// Without secrets and without what steers terminals. Redacted twice: stripping may join what a secret was torn into.
pub(super) fn cleaned(text: &str, host: &dyn ToolHost) -> String {
    let redacted = host.redact(text);
    let plain = plain(&redacted);
    if plain == redacted { plain } else { host.redact(&plain) }
}

/// A value without secrets.
pub(super) fn redacted(value: Value, host: &dyn ToolHost) -> Value {
    match value {
        Value::String(text) => Value::String(host.redact(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| redacted(item, host)).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter().map(|(key, item)| (host.redact(&key), redacted(item, host))).collect(),
        ),
        other => other,
    }
}

/// The notes in front of the text, and of the text as much from both ends as fits into `most` bytes.
pub(super) fn bounded(notes: &[String], text: &str, most: usize) -> String {
    let mut out = String::new();
    for note in notes {
        out.push_str("[note: ");
        out.push_str(note);
        out.push_str("]\n");
    }
    if out.len() > most / 2 {
        out.truncate(floor(&out, most / 2));
        out.push('\n');
    }
    let room = most.saturating_sub(out.len());
    if text.len() <= room {
        out.push_str(text);
        return out;
    }
    // The note of the cut has this many bytes at most.
    let room = room.saturating_sub(64);
    let head = floor(text, room / 4 * 3);
    let tail = ceiling(text, text.len() - (room - room / 4 * 3));
    out.push_str(&text[..head]);
    let _ = writeln!(out, "\n[{} bytes were cut here]", tail - head);
    out.push_str(&text[tail..]);
    out
}

/// The last place at or before `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// The first place at or after `at` where a character begins.
fn ceiling(text: &str, at: usize) -> usize {
    (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// The text without control characters other than tabs and ends of lines. A lone carriage return ends a line: what
/// stood before it would be invisible on a terminal, and is not here.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\n' && c != '\t') {
        out.push_str(&rest[..at]);
        let behind = &rest[at..];
        rest = if let Some(after) = behind.strip_prefix('\r') {
            if !after.starts_with('\n') {
                out.push('\n');
            }
            after
        } else if let Some(after) = behind.strip_prefix('\u{1b}') {
            after_sequence(after)
        } else {
            let mut chars = behind.chars();
            chars.next();
            chars.as_str()
        };
    }
    out.push_str(rest);
    out
}

/// What follows a command to a terminal. One that does not end takes nothing with it but its first character: it must
/// not hide the rest of a log.
fn after_sequence(text: &str) -> &str {
    let bytes = text.as_bytes();
    let near = &bytes[..bytes.len().min(LONGEST_SEQUENCE)];
    let end = match bytes.first() {
        Some(b'[') => {
            let end = near.iter().skip(1).position(|byte| !(0x20..=0x3f).contains(byte)).map(|end| end + 1);
            end.filter(|end| (0x40..=0x7e).contains(&bytes[*end])).map(|end| end + 1)
        }
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = near.iter().position(|byte| matches!(byte, 0x07 | 0x1b | b'\n'));
            end.and_then(|end| match bytes[end] {
                0x07 => Some(end + 1),
                0x1b if bytes.get(end + 1) == Some(&b'\\') => Some(end + 2),
                _ => None,
            })
        }
        Some(b'(' | b')' | b'#') if bytes.get(1).is_some_and(u8::is_ascii_graphic) => Some(2),
        _ => None,
    };
    &text[end.unwrap_or(0)..]
}
