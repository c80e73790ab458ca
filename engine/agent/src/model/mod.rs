//! Models behind one narrow trait. Nothing outside of this module knows which provider or library answers.

use std::fmt::Debug;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

mod aliases;
mod breaker;
mod cache;
mod config;
mod error;
mod failover;
mod listener;
mod memory;
mod message;
mod pace;
mod price;
mod prices;
mod provider;
mod retry;
mod scripted;
mod standing;

pub use aliases::{Connect, Described, Models, ResolveError, Surroundings, Variables};
pub use breaker::{Breaker, BreakerState, Pass};
pub use config::{CacheMode, ModelsConfig, ModelsConfigError, ProviderConfig, TimeoutsConfig};
pub use error::{ModelError, ModelFault};
pub use failover::{Chance, chance};
pub use listener::{Delta, Listener, Watch, unheard};
pub use memory::{Forgetful, Memory};
pub use message::{Answer, Message, Request, Stop, ToolCall, ToolResult, Usage};
pub use pace::{Pace, Rate};
pub use price::{LongPrice, Price};
pub use prices::{Known, PriceOrigin};
pub use provider::{Effort, Provider, ProviderKind, ProviderSettings, Secret, SettingsError, Timeouts};
pub use retry::TRIES;
pub use scripted::{Call, Script, ScriptError, Scripted, Turn};
pub use standing::Now;

/// Where the answers of a model come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A provider.
    Provider,
    /// A script. Every output that shows such an answer says so.
    Scripted,
    /// A recording of earlier answers.
    Recorded,
}

/// Something that answers.
#[async_trait]
pub trait Model: Send + Sync + Debug {
    /// As it is named in configuration: `anthropic/claude-sonnet-5`.
    fn name(&self) -> &str;

    /// Where its answers come from.
    fn origin(&self) -> Origin;

    /// How many tokens fit into one call, input and output together.
    fn window(&self) -> u64;

    /// The most tokens one answer may have.
    fn longest_answer(&self) -> u64;

    /// The most one call can cost, in millionths of a US dollar, with this many tokens in and out. `None`: its price
    /// is not known.
    fn at_most(&self, input: u64, output: u64) -> Option<u64>;

    /// Answers, or says why not. Ends soon after `cancel`.
    async fn answer(
        &self,
        request: &Request,
        on: &mut dyn Listener,
        cancel: &CancellationToken,
    ) -> Result<Answer, ModelError>;
}
