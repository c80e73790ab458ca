//! What is said about models in configuration, and what of it makes sense. Names the variables that hold keys; a key
//! itself is never part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::pace::Rate;
use super::prices::Known;
use super::provider::{ProviderKind, Timeouts};

/// Models as they are written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsConfig {
    /// Names of our own for models, each with those to ask, in order: `coding = ["anthropic/…", "openai/…"]`.
    #[serde(default)]
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Who can be asked. `anthropic`, `openai` and `ollama` are there without being written.
    #[serde(default)]
    pub providers: BTreeMap<String, ProviderConfig>,
    /// What is declared of models by `provider/model`. Goes before the table of this release, field by field.
    #[serde(default)]
    pub known: BTreeMap<String, Known>,
    /// What all models together may be asked per minute by one run.
    #[serde(default)]
    pub limits: Rate,
    /// When a call is given up.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// Whether answers to calls without tools are given again.
    #[serde(default)]
    pub cache: CacheMode,
}

/// A provider as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// How it is spoken to.
    pub kind: ProviderKind,
    /// Where; the provider's own address if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The variable that holds the key; without it none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Headers of every request to it, each with the variable that holds its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Its tokens cost nothing: it runs on a machine of ours.
    #[serde(default)]
    pub free: bool,
    /// What it may be asked per minute by one run.
    #[serde(default)]
    pub limits: Rate,
    /// When a call to it is given up, instead of what holds for all.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
}

/// When a call is given up, in seconds. What is left out is as for all, or as [`Timeouts`] has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeoutsConfig {
    /// Without a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_seconds: Option<u64>,
    /// Without the beginning of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_seconds: Option<u64>,
    /// Without another piece of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between_bytes_seconds: Option<u64>,
    /// Without the end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_seconds: Option<u64>,
}

impl TimeoutsConfig {
    fn all(&self) -> [Option<u64>; 4] {
        [self.connect_seconds, self.first_byte_seconds, self.between_bytes_seconds, self.total_seconds]
    }

    /// These, and `base` for what is left out.
    pub(super) fn over(&self, base: Timeouts) -> Timeouts {
        let or = |seconds: Option<u64>, base| seconds.map_or(base, Duration::from_secs);
        Timeouts {
            connect: or(self.connect_seconds, base.connect),
            first_byte: or(self.first_byte_seconds, base.first_byte),
            between_bytes: or(self.between_bytes_seconds, base.between_bytes),
            total: or(self.total_seconds, base.total),
        }
    }
}

/// Whether answers to calls without tools are given again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// Every call is made. The default: who asks the same thing twice often hopes for another answer.
    #[default]
    Off,
    /// As long as the process lives.
    Process,
    /// By later processes as well.
    Kept,
}

/// Why what is written about models makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {why}")]
pub struct ModelsConfigError {
    /// Where: `aliases.coding`.
    pub place: String,
    /// What is wrong.
    pub why: String,
}

impl ModelsConfig {
    /// The providers, those that are always there included.
    pub(super) fn all_providers(&self) -> BTreeMap<String, ProviderConfig> {
        let of = |kind, key_env: Option<&str>| ProviderConfig {
            kind,
            base_url: None,
            key_env: key_env.map(str::to_owned),
            headers: BTreeMap::new(),
            free: false,
            limits: Rate::default(),
            timeouts: TimeoutsConfig::default(),
        };
        let mut all = BTreeMap::from([
            ("anthropic".to_owned(), of(ProviderKind::Anthropic, Some("ANTHROPIC_API_KEY"))),
            ("openai".to_owned(), of(ProviderKind::OpenaiResponses, Some("OPENAI_API_KEY"))),
            ("ollama".to_owned(), of(ProviderKind::Ollama, None)),
        ]);
        all.extend(self.providers.iter().map(|(name, provider)| (name.clone(), provider.clone())));
        all
    }

    /// Everything that is wrong with it.
    pub fn check(&self) -> Vec<ModelsConfigError> {
        let mut wrong = Vec::new();
        let mut say = |place: String, why: String| wrong.push(ModelsConfigError { place, why });
        let providers = self.all_providers();
        for (name, provider) in &self.providers {
            if let Err(why) = check_provider(name, provider) {
                say(format!("providers.{name}"), why);
            }
        }
        if let Err(why) = check_timeouts(&self.timeouts) {
            say("timeouts".to_owned(), why);
        }
        for (alias, models) in &self.aliases {
            let place = format!("aliases.{alias}");
            if !is_name(alias) {
                say(place.clone(), "an alias has lower-case letters, digits, `-` and `_`".to_owned());
            }
            if models.is_empty() {
                say(place.clone(), "it names no model".to_owned());
            }
            let mut seen = BTreeSet::new();
            for model in models {
                if !seen.insert(model) {
                    say(place.clone(), format!("`{model}` stands there twice"));
                }
                if let Err(why) = split(model, &providers) {
                    say(place.clone(), why);
                }
            }
        }
        for (model, known) in &self.known {
            let place = format!("known.\"{model}\"");
            if let Err(why) = split(model, &providers) {
                say(place.clone(), why);
            }
            if known.price.is_some_and(|price| !price.is_sound()) {
                say(place.clone(), "a price is a number of dollars, 0 or more".to_owned());
            }
            if known.window == Some(0) || known.longest_answer == Some(0) {
                say(place, "no model takes or gives 0 tokens".to_owned());
            }
        }
        wrong
    }
}

/// The provider and the provider's name for `provider/model`.
pub(super) fn split<'a, T>(
    model: &'a str,
    providers: &BTreeMap<String, T>,
) -> Result<(&'a str, &'a str), String> {
    let Some((provider, id)) = model.split_once('/').filter(|(_, id)| !id.is_empty()) else {
        return Err(format!("`{model}` is not of the form `provider/model`"));
    };
    if !providers.contains_key(provider) {
        let known: Vec<&str> = providers.keys().map(String::as_str).collect();
        return Err(format!("there is no provider `{provider}`; there are {}", known.join(", ")));
    }
    Ok((provider, id))
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    !name.is_empty() && name.len() <= 64 && name.chars().all(fits)
}

fn check_provider(name: &str, provider: &ProviderConfig) -> Result<(), String> {
    if !is_name(name) {
        return Err("a provider has lower-case letters, digits, `-` and `_`".to_owned());
    }
    if provider.key_env.iter().chain(provider.headers.values()).any(|name| !is_variable(name)) {
        return Err("`key_env` and `headers` hold the names of variables, not what is in them".to_owned());
    }
    check_timeouts(&provider.timeouts)?;
    match &provider.base_url {
        None if provider.kind == ProviderKind::OpenaiCompatible => {
            Err("`base_url` says where it is: this kind has no address of its own".to_owned())
        }
        None => Ok(()),
        Some(text) => {
            let url = Url::parse(text).map_err(|error| format!("`base_url`: {error}"))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err("`base_url` begins with `https://` or `http://`".to_owned());
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err("`base_url` holds a secret; name it in `key_env`".to_owned());
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Err("`base_url` ends before `?` and `#`".to_owned());
            }
            Ok(())
        }
    }
}

fn is_variable(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn check_timeouts(timeouts: &TimeoutsConfig) -> Result<(), String> {
    if timeouts.all().iter().flatten().all(|seconds| (1..=86_400).contains(seconds)) {
        return Ok(());
    }
    Err("every timeout is between 1 and 86400 seconds".to_owned())
}
