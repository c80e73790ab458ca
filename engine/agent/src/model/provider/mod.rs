//! A model at a provider: one call over the network, streamed, read strictly. Never retries, never fails over, never
//! takes an answer that broke off for a short one, and never lets a key, a header or a request into a message.
//!
//! Requests to Anthropic and OpenAI are put together and sent by `genai`; those to Ollama by us, because `genai` cannot
//! tell it how long the conversation may be, and Ollama then silently drops the start of it. What comes back is read
//! by us on every wire ([`reading`]): `genai` takes some streams that broke off for complete, skips what it cannot
//! read, and loses some reasons why an answer ended.
//!
//! Redirects are not followed. The proxy variables of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`,
//! `NO_PROXY`) are obeyed, for addresses of this machine as well: a proxy sees the host of an `https` base URL, and
//! everything of an `http` one.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{Answer, Listener, Model, ModelError, ModelFault, Origin, Price, Request};

mod exchange;
mod fault;
mod lines;
mod reading;
mod request;
mod wait;

#[cfg(test)]
mod tests;

use fault::Trouble;
use reading::Wire;

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions.
    Openai,
    /// OpenAI Responses.
    OpenaiResponses,
    /// Anything that speaks Chat Completions. Has no base URL of its own.
    OpenaiCompatible,
    /// Ollama's own API.
    Ollama,
}

impl ProviderKind {
    /// Where it is found if nothing else is said.
    pub fn base_url(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => Some("https://api.anthropic.com/v1"),
            Self::Openai | Self::OpenaiResponses => Some("https://api.openai.com/v1"),
            Self::OpenaiCompatible => None,
            Self::Ollama => Some("http://localhost:11434"),
        }
    }

    fn wire(self) -> Wire {
        match self {
            Self::Anthropic => Wire::Anthropic,
            Self::Openai | Self::OpenaiCompatible => Wire::Chat,
            Self::OpenaiResponses => Wire::Responses,
            Self::Ollama => Wire::Ollama,
        }
    }

    fn path(self) -> &'static str {
        match self.wire() {
            Wire::Anthropic => "messages",
            Wire::Chat => "chat/completions",
            Wire::Responses => "responses",
            Wire::Ollama => "api/chat",
        }
    }
}

/// How hard a model is to think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Not at all, where it can be turned off.
    None,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    Max,
}

/// A text that is never shown: a key, the value of a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How long a provider may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To take the connection.
    pub connect: Duration,
    /// Until its answer begins.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub between_bytes: Duration,
    /// For the whole call.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_mins(2),
            between_bytes: Duration::from_mins(1),
            total: Duration::from_mins(15),
        }
    }
}

/// What is to be known of a model at a provider.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// As it is named in configuration: `anthropic/claude-sonnet-5`.
    pub name: String,
    /// How its provider is spoken to.
    pub kind: ProviderKind,
    /// As its provider names it. Sent as it is.
    pub model: String,
    /// The folder of the API, its version included: `https://api.openai.com/v1`. That of the kind if left out.
    pub base_url: Option<String>,
    /// The key, if it needs one.
    pub key: Option<Secret>,
    /// How many tokens fit into one call, input and output together. Ollama is made to load that much.
    pub window: u64,
    /// The most tokens one answer may have.
    pub longest_answer: u64,
    /// What its tokens cost. A call of a model without a price has no known cost.
    pub price: Option<Price>,
    /// How hard it is to think; the provider's own if left out.
    pub effort: Option<Effort>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Further headers; they win over ours.
    pub headers: Vec<(String, Secret)>,
}

/// Settings nothing can be called with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The kind has no base URL of its own, and none is given.
    #[error("{0} needs a base URL")]
    NoBaseUrl(String),
    /// The base URL is not one of HTTP, or has parts it must not have.
    #[error("the base URL of {name} {why}")]
    BaseUrl {
        /// The model.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The key or a header cannot be sent.
    #[error("the {what} of {name} cannot be sent in a header")]
    Header {
        /// The model.
        name: String,
        /// The key, or the name of the header.
        what: String,
    },
    /// No client could be made.
    #[error("no HTTP client could be made for {0}")]
    Client(String),
}

/// A model at a provider.
pub struct Provider {
    settings: ProviderSettings,
    base: String,
    http: reqwest::Client,
    genai: genai::Client,
}

impl Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Provider {
    /// Checks the settings. Sends nothing. Keep it: it holds the connections.
    pub fn new(settings: ProviderSettings) -> Result<Self, SettingsError> {
        let base = base_url(&settings)?;
        for (what, value) in request::headers(&settings, None) {
            let sent = value.parse::<reqwest::header::HeaderValue>().is_ok();
            if !sent || what.parse::<reqwest::header::HeaderName>().is_err() {
                let own = settings.headers.iter().any(|(name, _)| *name == what);
                let what = if own { format!("header `{what}`") } else { "key".to_owned() };
                return Err(SettingsError::Header { name: settings.name, what });
            }
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.timeouts.connect)
            .no_gzip()
            .user_agent(concat!("blueprint/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| SettingsError::Client(settings.name.clone()))?;
        let genai = genai::Client::builder()
            .with_reqwest(http.clone())
            .build()
            .map_err(|_| SettingsError::Client(settings.name.clone()))?;
        Ok(Self { settings, base, http, genai })
    }

    fn url(&self) -> String {
        format!("{}{}", self.base, self.settings.kind.path())
    }

    fn error(&self, trouble: &Trouble, request: &Request) -> ModelError {
        ModelError {
            model: self.settings.name.clone(),
            fault: trouble.fault,
            message: fault::fit(&trouble.message, &self.settings, request),
            retry_after: trouble.retry_after,
            maybe_billed: trouble.maybe_billed,
        }
    }
}

/// The base URL with one `/` at its end.
fn base_url(settings: &ProviderSettings) -> Result<String, SettingsError> {
    let given = settings.base_url.as_deref().or(settings.kind.base_url());
    let given = given.ok_or_else(|| SettingsError::NoBaseUrl(settings.name.clone()))?;
    let bad = |why| SettingsError::BaseUrl { name: settings.name.clone(), why };
    let url = reqwest::Url::parse(given).map_err(|_| bad("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad("is not one of http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("holds a name or a password; the key has a place of its own"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("must end with a path"));
    }
    Ok(format!("{}/", url.as_str().trim_end_matches('/')))
}

#[async_trait]
impl Model for Provider {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn origin(&self) -> Origin {
        Origin::Provider
    }

    fn window(&self) -> u64 {
        self.settings.window
    }

    fn longest_answer(&self) -> u64 {
        self.settings.longest_answer
    }

    fn at_most(&self, input: u64, output: u64) -> Option<u64> {
        self.settings.price.map(|price| price.at_most(input, output))
    }

    async fn answer(
        &self,
        request: &Request,
        on: &mut dyn Listener,
        cancel: &CancellationToken,
    ) -> Result<Answer, ModelError> {
        let cancelled = |maybe_billed| Trouble::new(ModelFault::Cancelled, "cancelled", maybe_billed);
        if cancel.is_cancelled() {
            return Err(self.error(&cancelled(false), request));
        }
        let total = self.settings.timeouts.total;
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(cancelled(true)),
            done = tokio::time::timeout(total, self.exchange(request, on)) => done.unwrap_or_else(|_| {
                Err(Trouble::new(ModelFault::Timeout, "no complete answer in the time of a call", true))
            }),
        };
        outcome.map_err(|trouble| self.error(&trouble, request))
    }
}
