//! Arguments of calls against the schema of a tool. Both may come from somebody who means harm: nothing is fetched,
//! patterns match in linear time, and what is wrong is said without repeating what was written.

use std::fmt::Debug;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use thiserror::Error;

/// The largest schema, in bytes of JSON.
const LARGEST_SCHEMA: usize = 256 * 1024;
/// The largest arguments, in bytes of text and numbers.
const LARGEST: usize = 2 * 1024 * 1024;
/// How deep a schema may be nested, as deep as JSON is read at all.
const DEEPEST_SCHEMA: usize = 128;
/// How deep arguments may be nested. The work of a check may double with each level.
const DEEPEST: usize = 32;
/// How many mistakes are told at once.
const TOLD: usize = 4;

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// It is not one of an object.
    #[error("it is not an object")]
    NotAnObject,
    /// It is too large.
    #[error("it is larger than {LARGEST_SCHEMA} bytes or nested more than {DEEPEST_SCHEMA} deep")]
    TooLarge,
    /// It has a mistake, or refers to something outside of itself.
    #[error("{0}")]
    Invalid(String),
}

/// A schema, ready to check with.
#[derive(Debug)]
pub struct Fit(Validator);

impl Fit {
    /// Prepares a schema. A reference to anything outside of it is an error, and so is a pattern that cannot be matched
    /// in linear time.
    pub fn of(schema: &Value) -> Result<Self, SchemaError> {
        if !schema.is_object() {
            return Err(SchemaError::NotAnObject);
        }
        if !within(schema, LARGEST_SCHEMA, DEEPEST_SCHEMA) {
            return Err(SchemaError::TooLarge);
        }
        let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
        let validator = options
            .build(schema)
            .map_err(|error| SchemaError::Invalid(shown(&error.masked().to_string(), 300)))?;
        Ok(Self(validator))
    }

    /// Whether arguments fit; what is wrong is for the model that wrote them.
    pub fn check(&self, arguments: &Value) -> Result<(), String> {
        if !arguments.is_object() {
            let what = match arguments {
                Value::String(_) => "a text, or something that is not JSON",
                Value::Array(_) => "an array",
                _ => "something else",
            };
            return Err(format!("they must be a JSON object, not {what}"));
        }
        if !within(arguments, LARGEST, DEEPEST) {
            return Err(format!("they are larger than {LARGEST} bytes or nested more than {DEEPEST} deep"));
        }
        let wrong: Vec<String> = self
            .0
            .iter_errors(arguments)
            .take(TOLD)
            .map(|error| {
                let at = error.instance_path().to_string();
                let at = if at.is_empty() { String::new() } else { format!("{}: ", shown(&at, 120)) };
                format!("{at}{}", shown(&error.masked().to_string(), 240))
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}

/// Whether a value is within bounds; found out without recursion.
fn within(value: &Value, bytes: usize, depth: usize) -> bool {
    let mut left = bytes;
    let mut open = vec![(value, 0_usize)];
    while let Some((value, level)) = open.pop() {
        let size = match value {
            Value::String(text) => text.len(),
            Value::Object(map) => map.keys().map(String::len).sum::<usize>(),
            _ => 0,
        };
        let Some(rest) = left.checked_sub(size + 1).filter(|_| level <= depth) else { return false };
        left = rest;
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, level + 1))),
            Value::Object(map) => open.extend(map.values().map(|item| (item, level + 1))),
            _ => {}
        }
    }
    true
}

/// The beginning of a text of somebody else, on one line.
pub(super) fn shown(text: &str, most: usize) -> String {
    let mut line: String = text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}
