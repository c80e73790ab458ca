//! How fast somebody may be asked: calls and tokens per minute, as two buckets that fill steadily. Waits in order;
//! never lets more through than was agreed, but for a single request that is larger than a minute's worth.

use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

const MINUTE: f64 = 60.0;

/// What is allowed per minute. What is left out is not limited here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU64>,
    /// Tokens, in and out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU64>,
}

#[derive(Debug)]
struct Bucket {
    most: f64,
    held: f64,
}

impl Bucket {
    fn new(per_minute: NonZeroU64) -> Self {
        let most = per_minute.get() as f64;
        Self { most, held: most }
    }

    fn fill(&mut self, since: Duration) {
        self.held = (self.held + since.as_secs_f64() * self.most / MINUTE).min(self.most);
    }

    /// How long until this much can be taken; more than the bucket can ever hold is lent when it is full.
    fn until(&self, wanted: f64) -> Duration {
        let missing = wanted.min(self.most) - self.held;
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        // Up to the next nanosecond, or the wait could end a moment too early for ever.
        Duration::from_secs_f64(missing * MINUTE / self.most).saturating_add(Duration::from_nanos(1))
    }
}

#[derive(Debug)]
struct Buckets {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    filled: Instant,
}

/// Keeps a pace. One for a provider or a tool, shared by everybody in the run.
#[derive(Debug)]
pub struct Pace {
    buckets: Mutex<Buckets>,
    /// Whoever holds it is next.
    turn: tokio::sync::Mutex<()>,
}

impl Pace {
    /// Full buckets: a minute's worth may go at once.
    pub fn new(rate: Rate) -> Self {
        let buckets = Buckets {
            requests: rate.requests_per_minute.map(Bucket::new),
            tokens: rate.tokens_per_minute.map(Bucket::new),
            filled: Instant::now(),
        };
        Self { buckets: Mutex::new(buckets), turn: tokio::sync::Mutex::new(()) }
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since = now.saturating_duration_since(buckets.filled);
        buckets.filled = now;
        let Buckets { requests, tokens, .. } = &mut *buckets;
        [requests, tokens].into_iter().flatten().for_each(|bucket| bucket.fill(since));
        buckets
    }

    /// Waits until one call with this many tokens may be made, and takes them. Dropped while it waits, it has taken
    /// nothing.
    pub async fn take(&self, tokens: u64) {
        let _turn = self.turn.lock().await;
        loop {
            let wait = {
                let mut buckets = self.buckets();
                let tokens = tokens as f64;
                let calls = buckets.requests.as_ref().map_or(Duration::ZERO, |bucket| bucket.until(1.0));
                let volume = buckets.tokens.as_ref().map_or(Duration::ZERO, |bucket| bucket.until(tokens));
                let wait = calls.max(volume);
                if wait.is_zero() {
                    buckets.requests.iter_mut().for_each(|bucket| bucket.held -= 1.0);
                    buckets.tokens.iter_mut().for_each(|bucket| bucket.held -= tokens);
                    return;
                }
                wait
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Says how many tokens the call really had.
    pub fn settle(&self, taken: u64, used: u64) {
        let mut buckets = self.buckets();
        if let Some(bucket) = &mut buckets.tokens {
            bucket.held = (bucket.held + taken as f64 - used as f64).min(bucket.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pace(requests: u64, tokens: u64) -> Pace {
        Pace::new(Rate {
            requests_per_minute: NonZeroU64::new(requests),
            tokens_per_minute: NonZeroU64::new(tokens),
        })
    }

    async fn waited(pace: &Pace, tokens: u64) -> u64 {
        let start = Instant::now();
        pace.take(tokens).await;
        start.elapsed().as_millis() as u64
    }

    #[tokio::test(start_paused = true)]
    async fn calls_come_at_their_rate_after_the_first_burst() {
        let pace = pace(6, 0);
        for _ in 0..6 {
            assert_eq!(waited(&pace, 1_000_000).await, 0);
        }
        for _ in 0..5 {
            let millis = waited(&pace, 0).await;
            assert!((9_999..=10_002).contains(&millis), "{millis}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_counted_and_corrected() {
        let pace = pace(0, 60_000);
        assert_eq!(waited(&pace, 60_000).await, 0);
        pace.settle(60_000, 30_000);
        assert_eq!(waited(&pace, 30_000).await, 0);
        assert!((9_999..=10_002).contains(&waited(&pace, 10_000).await));
        pace.settle(10_000, 40_000);
        assert!((39_999..=40_002).contains(&waited(&pace, 10_000).await));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_larger_than_a_minute_is_let_through_once_and_paid_back() {
        let pace = pace(0, 1_000);
        assert_eq!(waited(&pace, 3_000).await, 0);
        assert!((120_000..=120_010).contains(&waited(&pace, 0).await));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_came_first_is_let_through_first() {
        let pace = Arc::new(pace(60, 60));
        pace.take(60).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = [50, 1, 30, 1]
            .into_iter()
            .enumerate()
            .map(|(at, tokens)| {
                let (pace, order) = (pace.clone(), order.clone());
                tokio::spawn(async move {
                    pace.take(tokens).await;
                    order.lock().unwrap().push(at);
                })
            })
            .collect();
        futures::future::join_all(tasks).await;
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_takes_nothing() {
        let pace = pace(0, 60);
        pace.take(60).await;
        assert!(tokio::time::timeout(Duration::from_secs(1), pace.take(60)).await.is_err());
        assert!((58_990..=59_010).contains(&waited(&pace, 60).await));
    }
}
