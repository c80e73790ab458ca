//! What a hook says, read strictly: all of it makes sense, or none of it counts.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::event::{Event, EventKind};

/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 500;

/// What a hook says.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Nothing against it.
    Proceed,
    /// Go on with these fields of the data instead.
    Patch(Map<String, Value>),
    /// No, for this reason.
    Veto(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    veto: Option<String>,
    #[serde(default)]
    patch: Option<Map<String, Value>>,
}

impl Reply {
    /// Reads `{}`, `{"veto": "why"}` or `{"patch": {"field": value}}`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let written: Option<Written> = serde_json::from_str(text.trim())
            .map_err(|error| format!("its reply cannot be read: {error}"))?;
        // A list would be taken for the fields in their order.
        if written.is_some() && !text.trim_start().starts_with('{') {
            return Err("its reply is not an object".to_owned());
        }
        match written {
            None | Some(Written { veto: None, patch: None }) => Ok(Self::Proceed),
            Some(Written { veto: Some(reason), patch: None }) => Ok(Self::Veto(clean(&reason))),
            Some(Written { veto: None, patch: Some(patch) }) => Ok(Self::Patch(patch)),
            Some(Written { veto: Some(_), patch: Some(_) }) => {
                Err("its reply says no and changes something; it can do only one of them".to_owned())
            }
        }
    }

    /// Whether a hook may say this here.
    pub(super) fn allowed(&self, event: Event, observes: bool) -> Result<(), String> {
        match self {
            Self::Veto(_) | Self::Patch(_) if observes => Err("it only looks, but said something".to_owned()),
            Self::Patch(_) if event.kind() != EventKind::Mutator => {
                Err(format!("nothing can be changed at `{event}`"))
            }
            Self::Proceed | Self::Veto(_) | Self::Patch(_) => Ok(()),
        }
    }
}

/// The data with the fields of the patch in place of its own: all of them, or an error.
pub(super) fn patched(event: Event, data: &Value, patch: Map<String, Value>) -> Result<Value, String> {
    let Value::Object(fields) = data else {
        return Err(format!("`{event}` has no fields"));
    };
    let mut changed = fields.clone();
    for (name, value) in patch {
        let shown = clean(&name);
        if !event.patchable().contains(&name.as_str()) {
            return Err(format!("`{shown}` cannot be changed at `{event}`"));
        }
        match changed.get_mut(&name) {
            Some(old) if std::mem::discriminant(old) == std::mem::discriminant(&value) => *old = value,
            Some(_) => return Err(format!("`{shown}` is of another type")),
            None => return Err(format!("there is no `{shown}` to change")),
        }
    }
    Ok(Value::Object(changed))
}

/// A line that is safe to keep and to show: without control characters, not too long.
pub(super) fn clean(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_strictly_is_read_and_nothing_else() {
        for nothing in ["{}", "null", " {\"veto\": null}\n"] {
            assert_eq!(Reply::parse(nothing), Ok(Reply::Proceed), "{nothing}");
        }
        assert_eq!(
            Reply::parse(r#"{"veto": "no\u001b[31m\nway"}"#),
            Ok(Reply::Veto("no [31m way".to_owned()))
        );
        assert!(matches!(Reply::parse(r#"{"patch": {"a": 1}}"#), Ok(Reply::Patch(_))));
        for garbage in [
            "",
            "ok",
            "true",
            "[]",
            "[\"no\"]",
            "[null, {\"arguments\": {}}]",
            "\"veto\"",
            r#"{"veto": true}"#,
            r#"{"allow": true}"#,
            r#"{"veto": "a", "patch": {}}"#,
            r#"{"veto": "a", "veto": null}"#,
            r#"{} {"veto": "late"}"#,
            "```json\n{}\n```",
        ] {
            assert!(Reply::parse(garbage).is_err(), "{garbage}");
        }
        assert!(Reply::parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn a_patch_is_applied_as_a_whole_or_not_at_all() {
        let data = json!({"arguments": {"path": "a"}, "max_output": 5, "tool": "fs.read"});
        let patch = |patch: Value| patched(Event::BeforeTool, &data, patch.as_object().unwrap().clone());
        assert_eq!(
            patch(json!({"arguments": {"path": "b"}})).unwrap(),
            json!({"arguments": {"path": "b"}, "max_output": 5, "tool": "fs.read"})
        );
        for bad in [
            json!({"arguments": {}, "max_output": 50}),
            json!({"arguments": {}, "budget": {"tokens": 0}}),
            json!({"arguments": "now a text"}),
            json!({"tool": "shell"}),
        ] {
            assert!(patch(bad.clone()).is_err(), "{bad}");
        }
        assert!(
            patched(Event::BeforeTool, &json!({}), json!({"arguments": {}}).as_object().unwrap().clone())
                .is_err()
        );
    }

    #[test]
    fn no_event_offers_a_limit_or_a_fact_of_the_engine() {
        for event in Event::ALL {
            assert_eq!(event.patchable().is_empty(), event.kind() != EventKind::Mutator, "{event}");
            for field in event.patchable() {
                let reserved =
                    ["run", "node", "attempt", "event", "tool", "effect", "max", "limit", "budget", "cost"];
                assert!(!reserved.iter().any(|word| field.contains(word)), "{event}: {field}");
            }
        }
    }
}
