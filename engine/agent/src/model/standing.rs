//! How a provider stands in this run: whether it may be asked now, how fast, and what it said about later. Shared by
//! every model of the provider.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::ModelFault;
use super::breaker::Breaker;
use super::memory::Memory;
use super::pace::{Pace, Rate};

/// A provider is believed at most this far ahead: a wrong date must not shut it out for ever.
const FARTHEST_RESET: Duration = Duration::from_hours(24);

/// Milliseconds since 1970, of whoever runs this.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

pub(super) struct Standing {
    pub(super) provider: String,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
    /// When it wants to be asked again, in milliseconds since 1970.
    reset: Mutex<u64>,
    /// What will not answer in this run, and why: all of it, or one of its models.
    left: Mutex<Vec<Left>>,
    memory: Arc<dyn Memory>,
    now: Now,
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standing").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Standing {
    pub(super) fn new(provider: &str, rate: Rate, memory: Arc<dyn Memory>, now: Now) -> Self {
        let kept = memory.load(&name(provider)).and_then(|value| value.get("until")?.as_u64());
        let farthest = now().saturating_add(FARTHEST_RESET.as_millis() as u64);
        let reset = kept.filter(|until| *until <= farthest).unwrap_or(0);
        Self {
            provider: provider.to_owned(),
            breaker: Breaker::default(),
            pace: Pace::new(rate),
            reset: Mutex::new(reset),
            left: Mutex::default(),
            memory,
            now,
        }
    }

    /// How long it still wants to be left alone.
    pub(super) fn resting(&self) -> Option<Duration> {
        let until = *self.reset.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_sub((self.now)());
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// It wants to be left alone for this long. Kept for the next process as well.
    pub(super) fn rest(&self, wait: Duration) {
        let until = (self.now)().saturating_add(wait.min(FARTHEST_RESET).as_millis() as u64);
        let mut reset = self.reset.lock().unwrap_or_else(PoisonError::into_inner);
        if until > *reset {
            *reset = until;
            self.memory.save(&name(&self.provider), &json!({ "until": until }));
        }
    }

    /// Why a model of it will not answer in this run.
    pub(super) fn unusable(&self, model: &str) -> Option<(ModelFault, String)> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let found = left.iter().find(|left| left.model.as_deref().is_none_or(|other| other == model))?;
        Some((found.fault, found.why.clone()))
    }

    /// A model of it will not answer in this run; `None`: none of its models will.
    pub(super) fn leave(&self, model: Option<&str>, fault: ModelFault, why: &str) {
        let left = Left { model: model.map(str::to_owned), fault, why: why.to_owned() };
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(left);
    }
}

#[derive(Debug)]
struct Left {
    model: Option<String>,
    fault: ModelFault,
    why: String,
}

fn name(provider: &str) -> String {
    format!("provider-reset.{provider}")
}
