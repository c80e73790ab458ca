//! How a session ends. Whatever the end, its steps, its workspace and what it said are kept.

use serde_json::Value;
use thiserror::Error;

use crate::model::{ModelError, Origin};
use crate::tool::HostError;

/// Why a session stopped before its work was done.
#[derive(Debug, Error)]
pub enum Stopped {
    /// It took all its turns.
    #[error("the agent took all of its {0} turns")]
    Turns(u32),
    /// It has no tokens left for another answer.
    #[error("the agent used {used} of its {limit} tokens, too many for another answer")]
    Tokens {
        /// Used so far.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// It has no money left for another answer.
    #[error("the agent spent ${} of its ${}, too much for another answer", dollars(*.used), dollars(*.limit))]
    Cost {
        /// Spent so far, in millionths of a US dollar.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// Money is limited and the price of the model is not known.
    #[error("the price of `{0}` is not known, and the money of the agent is limited")]
    Unpriced(String),
    /// Its time is up.
    #[error("the agent took longer than {0}")]
    Time(String),
    /// The budget of the run does not allow more.
    #[error("{0}")]
    Budget(String),
    /// It asked for the same thing again and again.
    #[error("the agent called `{0}` three times in a row with the same arguments")]
    SameCall(String),
    /// Nothing it tried worked.
    #[error("four calls of tools failed in a row, the last of them `{0}`")]
    ToolFailures(String),
    /// It learnt nothing new.
    #[error("the agent learnt nothing new in {0} turns")]
    NoProgress(u32),
    /// It said nothing.
    #[error("the agent answered with nothing, twice in a row")]
    Empty,
    /// Its answers do not fit.
    #[error("the answers of the agent were cut off at their greatest length, twice in a row")]
    CutOff,
    /// What it made is not what the node declares.
    #[error("what the agent finished with is not what the node declares: {0}")]
    BadOutput(String),
    /// It, or its provider, does not want to.
    #[error("the model refused: {0}")]
    Refused(String),
    /// The conversation does not fit the model any more.
    #[error("the conversation does not fit the model any more, however much of it is left out")]
    TooLong,
    /// No model answered.
    #[error("no model answered")]
    Model(#[source] ModelError),
    /// Its surroundings failed.
    #[error(transparent)]
    Host(HostError),
    /// A hook said no.
    #[error("the hook `{hook}` stopped the agent: {reason}")]
    Vetoed {
        /// Its name.
        hook: String,
        /// Why.
        reason: String,
    },
    /// Nobody waits for it any more, or its steps could not be recorded.
    #[error("the session was cut off")]
    Lost,
}

fn dollars(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// What a session did.
#[derive(Debug)]
pub struct Ended {
    /// The value it finished with, as declared; or why there is none.
    pub result: Result<Option<Value>, Stopped>,
    /// The last thing it said.
    pub text: String,
    /// Answers of the model.
    pub turns: u32,
    /// Calls of tools.
    pub tool_calls: u32,
    /// Tokens, in and out.
    pub tokens: u64,
    /// Money in millionths of a US dollar; `None` if some of it is not known.
    pub cost_micros: Option<u64>,
    /// The model that answered last.
    pub model: Option<String>,
    /// Where answers came from, if not from a provider.
    pub unreal: Option<Origin>,
}
