//! What was said without its accidents: how long something took, when it was, where the workspace lay, in which order
//! tests that run side by side came to an end, and names that follow from such texts. Two sessions that differ in nothing else were asked the same. Only ever
//! compares: nothing a model or a person sees goes through here.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

use crate::model::Request;
use crate::tool::ToolHost;

/// What stands where an accident was.
const MARK: &str = "#";

static ACCIDENTS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?xm)
        \b\d{4}-\d\d-\d\d [T\x20] \d\d:\d\d:\d\d (?:\.\d+)? (?:Z|[+-]\d\d:?\d\d)?
        | \b\d\d:\d\d:\d\d (?:\.\d+)? \b
        | \b\d+ (?:\.\d+)? \x20? (?: ns | us | µs | ms | secs? | seconds? | s | m\x20\d+ (?:\.\d+)? s ) \b
        | \b 0x[0-9a-fA-F]{6,16} \b
        | /tmp/[^\s:'"]+
        | \b thread\x20'[^']*'\x20 (\(\d+\))
        | \b pid\x20\d+ \b
        | \b fence="[0-9a-f]{16}"
        | ^ [0-9a-f]{7,40} \x20 \d{4}-\d\d-\d\d \x20 blueprint: 
        "#,
    )
    .expect("a constant pattern")
});

/// The text without its accidents.
pub fn steady(text: &str) -> String {
    let text = ACCIDENTS.replace_all(text, |found: &Captures<'_>| match found.get(1) {
        // The name of a thread says which test it was; only its number is an accident.
        Some(number) => {
            let whole = found.get(0).map_or("", |whole| whole.as_str());
            whole.replacen(number.as_str(), MARK, 1)
        }
        None => MARK.to_owned(),
    });
    let mut lines: Vec<&str> = text.split('\n').collect();
    // Neighbouring verdicts of tests come in the order in which the tests ended.
    for group in lines.chunk_by_mut(|one, other| is_verdict(one) && is_verdict(other)) {
        group.sort_unstable();
    }
    lines.join("\n")
}

fn is_verdict(line: &str) -> bool {
    line.starts_with("test ") && line.contains(" ... ")
}

/// The BLAKE3 digest of what a model is asked, without accidents and without secrets, in hexadecimal digits. The most
/// it may answer with is not part of it: that follows from limits, not from the conversation.
pub(super) fn request_digest(request: &Request, host: &dyn ToolHost) -> String {
    let mut asked = serde_json::json!({
        "system": request.system,
        "messages": request.messages,
        "tools": request.tools,
        "temperature": request.temperature,
    });
    settle(&mut asked, host);
    blake3::hash(asked.to_string().as_bytes()).to_hex().to_string()
}

fn settle(value: &mut Value, host: &dyn ToolHost) {
    match value {
        Value::String(text) => {
            let mut clean = host.redact(text);
            if host.workspace().len() > 1 {
                clean = clean.replace(host.workspace(), "/workspace");
            }
            *text = steady(&clean);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| settle(item, host)),
        Value::Object(fields) => fields.values_mut().for_each(|field| settle(field, host)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::steady;

    #[test]
    fn accidents_do_not_count() {
        for (one, other) in [
            ("finished in 0.31s", "finished in 12.00s"),
            ("took 3 ms", "took 40 ms"),
            ("build in 1m 02s", "build in 2m 17s"),
            ("at 2026-11-21T10:00:00Z", "at 2026-11-22 11:30:01.5+01:00"),
            ("in /tmp/.tmpAbC/x: gone", "in /tmp/.tmpDeF/x: gone"),
            ("thread 'mean' (17) panicked", "thread 'mean' (23) panicked"),
            ("test b ... ok\ntest a ... FAILED\n", "test a ... FAILED\ntest b ... ok\n"),
            ("<untrusted fence=\"0123456789abcdef\">", "<untrusted fence=\"fedcba9876543210\">"),
            ("0a1b2c3 2026-11-21 blueprint: x", "9f8e7d6 2026-11-22 blueprint: x"),
            ("at 0x7fff12345678", "at 0x7ffe87654321"),
        ] {
            assert_eq!(steady(one), steady(other), "{one}");
        }
    }

    #[test]
    fn everything_else_does() {
        for (one, other) in [
            ("3 passed", "4 passed"),
            ("exit code 0", "exit code 101"),
            ("left: 2", "left: 3"),
            ("thread 'mean' (17) panicked", "thread 'sum' (17) panicked"),
            ("test a ... ok", "test a ... FAILED"),
            ("b\na", "a\nb"),
            ("0a1b2c3 2026-11-21 ada: x", "9f8e7d6 2026-11-21 ada: x"),
            ("items 12", "items 13"),
        ] {
            assert_ne!(steady(one), steady(other), "{one}");
        }
    }
}
