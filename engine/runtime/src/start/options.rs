//! What a run was started with besides its blueprint and inputs, as its first event keeps it: every process that drives
//! the run must know it again. What cannot be read is an error, never a default.

use std::collections::BTreeMap;

use blueprint_agent::model::Script;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a run was started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOptions {
    /// How its commands were isolated at first.
    #[serde(default)]
    pub sandbox: String,
    /// Who answers in place of models that the blueprint names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, StandIn>,
    /// What it replays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replayed>,
}

/// Who answers in place of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandIn {
    /// Another model of the configuration.
    Model(String),
    /// A script.
    Script {
        /// The file it was read from, for people.
        file: String,
        /// Its text.
        text: String,
    },
}

/// What is replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// For people: a run, or the path of a file.
    pub of: String,
    /// The digest of the cassette in the content store.
    pub cassette: String,
}

impl StandIn {
    /// A script, if it can be read as one. `Err` says what is wrong with it.
    pub fn script(file: String, text: String) -> Result<Self, String> {
        Script::parse(&text).map_err(|error| error.to_string())?;
        Ok(Self::Script { file, text })
    }
}

impl RunOptions {
    /// As the first event of a run keeps it.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("texts and maps of texts are JSON")
    }

    /// Of the first event of a run.
    pub fn of(options: &Value) -> Result<Self, serde_json::Error> {
        if options.is_null() { Ok(Self::default()) } else { serde_json::from_value(options.clone()) }
    }
}
