//! Answers that were given before. Only to calls without tools and only from providers; a call with tools is about a
//! world that changes. What comes from here is marked as recorded, and used and cost nothing.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use serde::{Deserialize, Serialize};

use super::memory::Memory;
use super::standing::Now;
use super::{Answer, Origin, Request, Stop, Usage};

#[cfg(test)]
mod tests;

/// How many answers are held (N-31).
pub(super) const MOST_ANSWERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
/// How long an answer is good.
pub(super) const GOOD_FOR: Duration = Duration::from_hours(1);
/// How many bytes of answers, as JSON, are kept for the next process: the newest.
const MOST_KEPT: usize = 1 << 20;
/// Under which name.
const KEPT_AS: &str = "answers";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Held {
    /// In milliseconds since 1970.
    at: u64,
    answer: Answer,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    key: String,
    held: Held,
}

/// The cache of a process.
pub(super) struct Cache {
    held: Mutex<LruCache<String, Held>>,
    memory: Option<Arc<dyn Memory>>,
    now: Now,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}

impl Cache {
    /// With what is kept in `memory`, if there is one.
    pub(super) fn new(memory: Option<Arc<dyn Memory>>, now: Now) -> Self {
        let mut held = LruCache::new(MOST_ANSWERS);
        let kept = memory.as_ref().and_then(|memory| memory.load(KEPT_AS));
        // Line by line: what is garbled is left out and the rest is still good.
        for value in kept.as_ref().and_then(|value| value.as_array()).into_iter().flatten() {
            if let Ok(Kept { key, held: entry }) = serde_json::from_value(value.clone()) {
                held.push(key, entry);
            }
        }
        Self { held: Mutex::new(held), memory, now }
    }

    fn held(&self) -> MutexGuard<'_, LruCache<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to this request, if it was given within the hour.
    pub(super) fn find(&self, model: &str, request: &Request) -> Option<Answer> {
        let key = key(model, request)?;
        let mut cache = self.held();
        let now = (self.now)();
        let held = cache.get(&key)?;
        // A time that lies ahead was not written by us, or the clock was set back.
        if held.at > now || now - held.at >= GOOD_FOR.as_millis() as u64 || held.answer.model != model {
            cache.pop(&key);
            return None;
        }
        let answer = held.answer.clone();
        Some(Answer { origin: Origin::Recorded, usage: Usage::default(), cost_micros: Some(0), ..answer })
    }

    /// Holds an answer, if it is of the kind that may be given again.
    pub(super) fn hold(&self, model: &str, request: &Request, answer: &Answer) {
        let whole = answer.origin == Origin::Provider && answer.stop == Stop::End && answer.calls.is_empty();
        let Some(key) = key(model, request).filter(|_| whole && !answer.text.is_empty()) else { return };
        let mut cache = self.held();
        cache.push(key, Held { at: (self.now)(), answer: answer.clone() });
        if let Some(memory) = &self.memory {
            memory.save(KEPT_AS, &newest(&cache));
        }
    }
}

/// The newest of them that are small enough together, the newest last.
fn newest(cache: &LruCache<String, Held>) -> serde_json::Value {
    let mut bytes = 0;
    let mut kept: Vec<serde_json::Value> = cache
        .iter()
        .map_while(|(key, held)| {
            let value = serde_json::to_value(Kept { key: key.clone(), held: held.clone() }).ok()?;
            bytes += value.to_string().len();
            (bytes <= MOST_KEPT).then_some(value)
        })
        .collect();
    kept.reverse();
    kept.into()
}

/// What the answer depends on, as a digest; `None` for a call with tools.
fn key(model: &str, request: &Request) -> Option<String> {
    if !request.tools.is_empty() {
        return None;
    }
    let parts = (model, &request.system, &request.messages, request.max_output, request.temperature);
    Some(blake3::hash(&serde_json::to_vec(&parts).ok()?).to_hex().to_string())
}
