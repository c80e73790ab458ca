//! The documented event stream, held against the types that make it: every kind and every command is there, and
//! every example is one that the program would read back.

use std::collections::BTreeSet;

use blueprint_core::run::Event;
use serde_json::Value;

use super::{quoted, read, section};

/// The variants of an enum, as they are written in JSON.
fn variants(path: &str, name: &str) -> BTreeSet<String> {
    let text = read(path);
    let start = text.find(&format!("pub enum {name} {{")).unwrap_or_else(|| panic!("{path} has no `{name}`"));
    let body = text[start..].split("\n}").next().unwrap_or_default();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let heads = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    heads.map(|line| snake(line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default())).collect()
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_kind_of_event_is_documented_and_no_other() {
    let text = read("docs/events.md");
    let headings = section(&text, "## Kinds").lines().filter_map(|line| line.strip_prefix("### "));
    let named: BTreeSet<String> = headings.flat_map(quoted).map(str::to_owned).collect();
    assert_eq!(named, variants("engine/core/src/run/event.rs", "Event"), "docs/events.md, `Kinds`");
}

#[test]
fn every_command_is_documented_and_no_other() {
    let text = read("docs/events.md");
    let rows = section(&text, "## Commands").lines().filter_map(|line| line.strip_prefix("| `"));
    let named: BTreeSet<String> = rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect();
    assert_eq!(named, variants("engine/core/src/run/command.rs", "Command"), "docs/events.md, `Commands`");
}

#[test]
fn every_example_of_an_event_is_one() {
    let text = read("docs/events.md");
    let mut seen = 0;
    for block in text.split("```json\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let value: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{block}: {error}"));
        let event = match value.get("type").and_then(Value::as_str) {
            Some("event") => value["event"].clone(),
            Some("output" | "end" | "image") => continue,
            Some(other) => panic!("there are no lines of the type `{other}`"),
            None => value,
        };
        let read: Event =
            serde_json::from_value(event.clone()).unwrap_or_else(|error| panic!("{event}: {error}"));
        let again = serde_json::to_value(&read).unwrap();
        let lost: Vec<&String> =
            event.as_object().into_iter().flat_map(|o| o.keys()).filter(|k| again.get(k).is_none()).collect();
        assert!(lost.is_empty(), "{lost:?} of {event} mean nothing to the program");
        seen += 1;
    }
    assert!(seen >= variants("engine/core/src/run/event.rs", "Event").len(), "an event has no example");
}
