//! Values as YAML, always on one line. A text is only left without quotes when no reader takes it for
//! something else.

use std::fmt::Write as _;

use serde_json::Value;

use super::tree::{Kind, Node};

/// A value as it is written.
pub(super) fn written(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float_text(float),
            _ => number.to_string(),
        },
        Value::String(text) if is_plain(text) => text.clone(),
        Value::String(text) => quoted(text),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(written).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(values) => {
            let one = |(name, value): (&String, &Value)| format!("{}: {}", key(name), written(value));
            let values: Vec<String> = values.iter().map(one).collect();
            format!("{{{}}}", values.join(", "))
        }
    }
}

/// A key as it is written.
pub(super) fn key(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { quoted(name) }
}

/// The same value in the quotes of `old`, if it was in single quotes and they can hold it.
pub(super) fn written_like(value: &Value, old: &str) -> String {
    match value {
        Value::String(text) if old.starts_with('\'') && text.chars().all(is_printable) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        Value::String(text) if old.starts_with('"') => quoted(text),
        other => written(other),
    }
}

/// The node that reading a written value gives.
pub(super) fn node(value: &Value) -> Node {
    let scalar = |text: String, plain| Kind::Scalar { text, plain, block: false };
    let kind = match value {
        Value::String(text) => scalar(text.clone(), is_plain(text)),
        Value::Array(values) => Kind::List(values.iter().map(node).collect()),
        Value::Object(values) => {
            Kind::Mapping(values.iter().map(|(name, value)| (key_node(name), node(value))).collect())
        }
        other => scalar(written(other), true),
    };
    Node { kind, tag: None, anchor: 0, span: 0..0, column: 0 }
}

/// The node that reading a written key gives.
pub(super) fn key_node(name: &str) -> Node {
    let kind = Kind::Scalar { text: name.to_owned(), plain: is_plain(name), block: false };
    Node { kind, tag: None, anchor: 0, span: 0..0, column: 0 }
}

/// Whether a text without quotes is a text for every reader, old or new.
pub(super) fn is_plain(text: &str) -> bool {
    const TAKEN: [&str; 11] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"];
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    let word = first.is_ascii_alphabetic() && chars.all(tame);
    (word && !TAKEN.contains(&text.to_ascii_lowercase().as_str())) || is_version(text)
}

/// `1.2.3` and its like: two dots make it no number.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() >= 3 && parts.iter().all(number)
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            c => {
                // Writing into a text does not fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
        }
    }
    out.push('"');
    out
}

/// A float as every reader takes it: with a point, and a sign in the exponent.
fn float_text(float: f64) -> String {
    let text = format!("{float:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}
