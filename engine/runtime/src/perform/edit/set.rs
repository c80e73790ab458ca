//! Sets a key of a TOML, JSON or YAML text. What is not set stays as it is written; that nothing else changed
//! its meaning is checked by reading the result, never assumed.

use serde_json::{Map, Value};
use thiserror::Error;

use super::{json, toml, yaml};

/// A format whose keys can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// TOML.
    Toml,
    /// JSON, with comments and trailing commas.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// The format that the name of a file tells.
    pub(super) fn of(file: &str) -> Option<Self> {
        let (_, ending) = file.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// A key cannot be set.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum SetError {
    /// The name of the file tells no format.
    #[error("its name tells no format whose keys can be set: .toml, .json, .yaml or .yml")]
    UnknownFormat,
    /// The text is not in its format.
    #[error("it is not {format}: {message}")]
    Unreadable {
        /// The format.
        format: &'static str,
        /// What its reader says.
        message: String,
    },
    /// The path goes through something that has no keys.
    #[error("{} is {is}, which has no keys", place(at))]
    NoKeys {
        /// Where.
        at: Vec<String>,
        /// What is there.
        is: &'static str,
    },
    /// The key is a whole table.
    #[error("{} is a table; set the keys in it", place(at))]
    IsATable {
        /// Where.
        at: Vec<String>,
    },
    /// What the key should be put in does not exist.
    #[error("{} does not exist, so nothing can be put in it", place(at))]
    NoParent {
        /// Where.
        at: Vec<String>,
    },
    /// The format has no such value.
    #[error("{format} has no value for {what}")]
    NoSuchValue {
        /// The format.
        format: &'static str,
        /// The value.
        what: &'static str,
    },
    /// Something is there that is better left to people.
    #[error("{} {why}", place(at))]
    Unsupported {
        /// Where.
        at: Vec<String>,
        /// Why.
        why: &'static str,
    },
    /// The result does not mean what it should.
    #[error("setting {} would change something else, so nothing was done; use `replace`", place(at))]
    Unsure {
        /// The key.
        at: Vec<String>,
    },
}

/// A key as it is written, for messages.
fn place(at: &[String]) -> String {
    if at.is_empty() {
        return "the file itself".to_owned();
    }
    format!("`{}`", spelled(at))
}

/// A key as blueprints write it.
pub(super) fn spelled(key: &[String]) -> String {
    let parts: Vec<String> = key
        .iter()
        .map(|part| if part.contains('.') { format!("\"{part}\"") } else { part.clone() })
        .collect();
    parts.join(".")
}

/// Sets `key` to `value`. The text comes back as it is if it already says so.
pub(super) fn set(format: Format, text: &str, key: &[String], value: &Value) -> Result<String, SetError> {
    // A mark of the byte order is no part of any of these formats' texts.
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text),
    };
    let changed = match format {
        Format::Toml => toml::set(text, key, value)?,
        Format::Json => json::set(text, key, value)?,
        Format::Yaml => yaml::set(text, key, value)?,
    };
    Ok(format!("{mark}{changed}"))
}

/// `whole` with `value` at `key`; objects that are missing are made. `None` if something is in the way.
pub(super) fn with_value(mut whole: Value, key: &[String], value: Value) -> Option<Value> {
    let mut at = &mut whole;
    for part in key {
        let Value::Object(object) = at else { return None };
        at = object.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
    }
    *at = value;
    Some(whole)
}
