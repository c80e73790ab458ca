//! The models of a configuration: what a name means, what its models cost and where that is known from. Asks nobody;
//! who does is [`super::failover`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cache::Cache;
use super::config::{CacheMode, ModelsConfig, ModelsConfigError, ProviderConfig, split};
use super::failover::{Candidate, Chance, Failover};
use super::memory::Memory;
use super::pace::Pace;
use super::prices::{Known, PriceOrigin, built_in};
use super::provider::{ProviderSettings, Secret, SettingsError, Timeouts};
use super::standing::{Now, Standing};
use super::{Model, Price};

#[cfg(test)]
mod tests;

/// What a model answers with at most if nobody says how much it can, in tokens.
const MODEST_ANSWER: u64 = 8192;

/// Reads a variable that is named in configuration. This crate never looks at the environment.
pub type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Makes the client of one model.
pub type Connect = dyn Fn(ProviderSettings) -> Result<Arc<dyn Model>, SettingsError> + Send + Sync;

/// What models need of whoever runs them.
#[derive(Clone)]
pub struct Surroundings {
    /// Reads the variables that hold keys.
    pub variables: Arc<Variables>,
    /// Makes clients: `|settings| Ok(Arc::new(Provider::new(settings)?))`.
    pub connect: Arc<Connect>,
    /// Keeps what the next process has to know.
    pub memory: Arc<dyn Memory>,
    /// Milliseconds since 1970.
    pub now: Now,
    /// A number between 0 and 1, another one each time: [`super::chance`].
    pub chance: Arc<Chance>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

/// Why a name means no model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// Nothing of this name.
    #[error("there is no model `{name}`; {}", listed(known))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The aliases there are.
        known: Vec<String>,
    },
    /// It begins like a model of a provider, but is none.
    #[error("{0}")]
    Malformed(String),
    /// Nobody said how much fits into a call.
    #[error(
        "how many tokens fit into a call of `{model}` is not known; say it in the configuration: \
         models.known.\"{model}\".window"
    )]
    NoWindow {
        /// Which model.
        model: String,
    },
    /// The variables that hold the keys are not set.
    #[error("no model of `{name}` can be asked: {} not set", all_of(variables))]
    NoKey {
        /// What was asked for.
        name: String,
        /// The variables.
        variables: Vec<String>,
    },
    /// No client can be made.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

fn listed(known: &[String]) -> String {
    match known {
        [] => "no alias is configured, and a model is `provider/model`".to_owned(),
        known => format!("there are {}, or `provider/model`", known.join(", ")),
    }
}

fn all_of(variables: &[String]) -> String {
    match variables {
        [one] => format!("{one} is"),
        many => format!("{} are", many.join(" and ")),
    }
}

/// A model as it is known before it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// `provider/model`.
    pub name: String,
    /// What its tokens cost, and where that is known from. `None`: not known, so that no budget of money allows it.
    pub price: Option<(Price, PriceOrigin)>,
    /// How many tokens fit into one call.
    pub window: Option<u64>,
    /// The most tokens one answer may have.
    pub longest_answer: u64,
    /// The variable that holds its key and is not set.
    pub missing: Option<String>,
}

/// The models of a run. One for all its nodes: what one of them learns about a provider holds for the others.
pub struct Models {
    config: ModelsConfig,
    providers: BTreeMap<String, (ProviderConfig, Arc<Standing>)>,
    surroundings: Surroundings,
    cache: Option<Arc<Cache>>,
    pace: Arc<Pace>,
    clients: Mutex<BTreeMap<String, Arc<dyn Model>>>,
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Models {
    /// Of a configuration, if it makes sense.
    pub fn new(config: ModelsConfig, surroundings: Surroundings) -> Result<Self, Vec<ModelsConfigError>> {
        let wrong = config.check();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let Surroundings { memory, now, .. } = &surroundings;
        let stand = |(name, provider): (String, ProviderConfig)| {
            let standing = Standing::new(&name, provider.limits, memory.clone(), now.clone());
            (name, (provider, Arc::new(standing)))
        };
        let providers = config.all_providers().into_iter().map(stand).collect();
        let cache = match config.cache {
            CacheMode::Off => None,
            CacheMode::Process => Some(Arc::new(Cache::new(None, now.clone()))),
            CacheMode::Kept => Some(Arc::new(Cache::new(Some(memory.clone()), now.clone()))),
        };
        let pace = Arc::new(Pace::new(config.limits));
        Ok(Self { config, providers, surroundings, cache, pace, clients: Mutex::default() })
    }

    /// The aliases there are.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.config.aliases.keys().map(String::as_str)
    }

    /// The models a name stands for, in the order in which they are asked. Nobody is asked and no key is needed.
    pub fn describe(&self, name: &str) -> Result<Vec<Described>, ResolveError> {
        let describe = |model: &String| {
            let (provider, _) = self.place(model)?;
            let (known, price) = self.known(model, provider);
            Ok(Described {
                name: model.clone(),
                price,
                window: known.window,
                longest_answer: longest_answer(&known),
                missing: self.missing(provider),
            })
        };
        self.members(name)?.iter().map(describe).collect()
    }

    /// One model that asks those behind a name in order until one answers.
    pub fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, ResolveError> {
        let mut candidates = Vec::new();
        let mut missing = Vec::new();
        for model in self.members(name)? {
            let (provider, id) = self.place(&model)?;
            if let Some(variable) = self.missing(provider) {
                tracing::warn!(model, variable, "left out: the variable that holds its key is not set");
                missing.push(variable);
                continue;
            }
            candidates.push(self.candidate(&model, provider, id)?);
        }
        if candidates.is_empty() {
            missing.dedup();
            return Err(ResolveError::NoKey { name: name.to_owned(), variables: missing });
        }
        let chance = self.surroundings.chance.clone();
        let (cache, pace) = (self.cache.clone(), Arc::clone(&self.pace));
        Ok(Arc::new(Failover::new(name.to_owned(), candidates, cache, pace, chance)))
    }

    fn members(&self, name: &str) -> Result<Vec<String>, ResolveError> {
        if let Some(models) = self.config.aliases.get(name) {
            return Ok(models.clone());
        }
        if name.contains('/') {
            return Ok(vec![name.to_owned()]);
        }
        Err(ResolveError::Unknown {
            name: name.to_owned(),
            known: self.aliases().map(str::to_owned).collect(),
        })
    }

    fn place<'a>(&self, model: &'a str) -> Result<(&'a str, &'a str), ResolveError> {
        split(model, &self.providers).map_err(ResolveError::Malformed)
    }

    /// What is declared goes before the table, field by field.
    fn known(&self, model: &str, provider: &str) -> (Known, Option<(Price, PriceOrigin)>) {
        let declared = self.config.known.get(model).copied().unwrap_or_default();
        // The table knows models by the names of their makers: another address under the same name sets its own price.
        let own = self.config.providers.get(provider).is_none_or(|provider| provider.base_url.is_none());
        let table = built_in(model).filter(|_| own);
        let listed = table.map(|(known, _)| known).unwrap_or_default();
        let free = self.providers.get(provider).is_some_and(|(provider, _)| provider.free);
        let price = match (declared.price, table) {
            (Some(price), _) => Some((price, PriceOrigin::Declared)),
            (None, _) if free => Some((Price::FREE, PriceOrigin::Declared)),
            (None, Some((Known { price: Some(price), .. }, taken))) => {
                Some((price, PriceOrigin::BuiltIn { taken: taken.to_owned() }))
            }
            (None, _) => None,
        };
        let known = Known {
            price: price.as_ref().map(|(price, _)| *price),
            window: declared.window.or(listed.window),
            longest_answer: declared.longest_answer.or(listed.longest_answer),
            effort: declared.effort.or(listed.effort),
        };
        (known, price)
    }

    /// The first variable a provider needs that is not set.
    fn missing(&self, provider: &str) -> Option<String> {
        let (provider, _) = self.providers.get(provider)?;
        let mut needed = provider.key_env.iter().chain(provider.headers.values());
        needed.find(|name| self.variable(name).is_none()).cloned()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.surroundings.variables)(name).filter(|value| !value.is_empty())
    }

    fn candidate(&self, model: &str, provider: &str, id: &str) -> Result<Candidate, ResolveError> {
        let Some((config, standing)) = self.providers.get(provider) else {
            return Err(ResolveError::Malformed(format!("there is no provider `{provider}`")));
        };
        let timeouts = config.timeouts.over(self.config.timeouts.over(Timeouts::default()));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.get(model) {
            Some(client) => client.clone(),
            None => {
                let (known, _) = self.known(model, provider);
                let window =
                    known.window.ok_or_else(|| ResolveError::NoWindow { model: model.to_owned() })?;
                let secret = |variable: &String| self.variable(variable).map(Secret::new);
                let header = |(name, variable): (&String, &String)| {
                    secret(variable).map(|value| (name.clone(), value))
                };
                let client = (self.surroundings.connect)(ProviderSettings {
                    name: model.to_owned(),
                    kind: config.kind,
                    model: id.to_owned(),
                    base_url: config.base_url.clone(),
                    key: config.key_env.as_ref().and_then(secret),
                    window,
                    longest_answer: longest_answer(&known),
                    price: known.price,
                    effort: known.effort,
                    timeouts,
                    headers: config.headers.iter().filter_map(header).collect(),
                })?;
                clients.insert(model.to_owned(), client.clone());
                client
            }
        };
        Ok(Candidate::new(client, standing.clone(), timeouts.total))
    }
}

fn longest_answer(known: &Known) -> u64 {
    let modest = known.window.map_or(MODEST_ANSWER, |window| MODEST_ANSWER.min((window / 2).max(1)));
    known.longest_answer.unwrap_or(modest)
}
