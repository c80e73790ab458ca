//! Why a model did not answer, in classes that decide what is done next. Never holds a key or a request body.

use std::time::Duration;

use thiserror::Error;

/// The classes of failure of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelFault {
    /// The provider could not be reached, or the answer broke off.
    Unreachable,
    /// The provider limits the rate (429).
    RateLimited,
    /// The provider is overloaded or broken (5xx, 529).
    Overloaded,
    /// The answer was not complete in time.
    Timeout,
    /// What came is not an answer.
    Invalid,
    /// The key is missing, wrong or may not do this (401, 403).
    Auth,
    /// The conversation is too long for the model.
    TooLong,
    /// There is no such model.
    NoModel,
    /// The provider does not take the request (400, 422).
    Rejected,
    /// The account has no money left.
    Billing,
    /// Nobody waits for the answer any more.
    Cancelled,
}

impl ModelFault {
    /// Whether the same call may well succeed later, here or elsewhere.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::RateLimited | Self::Overloaded | Self::Timeout | Self::Invalid
        )
    }
}

/// A model did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{model}: {message}")]
pub struct ModelError {
    /// Which model, as in configuration.
    pub model: String,
    /// The class.
    pub fault: ModelFault,
    /// What happened, in a line. Data of a provider: never markup.
    pub message: String,
    /// How long the provider wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether it may have been billed: the request was sent, and the provider may have begun to answer.
    pub maybe_billed: bool,
}

impl ModelError {
    /// A fault without more: nothing was billed, and nobody said when to come back.
    pub fn new(model: impl Into<String>, fault: ModelFault, message: impl Into<String>) -> Self {
        let (model, message) = (model.into(), message.into());
        Self { model, fault, message, retry_after: None, maybe_billed: false }
    }
}
