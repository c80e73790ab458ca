//! Keeps calls away from a provider that fails again and again. It never waits: whoever is not let in asks somebody
//! else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many faults in a row open it (N-41).
pub(super) const OPENS_AT: u32 = 5;
/// How long it stays open.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(30);
/// How many probes in a row have to succeed before it closes.
pub(super) const CLOSES_AT: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everybody is let in.
    Closed { faults: u32 },
    /// Nobody is.
    Open { since: Instant },
    /// One at a time is.
    HalfOpen { successes: u32, probing: bool },
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Counts the changes between closed, open and half open. What was let in before a change says nothing after it.
    era: u64,
}

impl Inner {
    fn turn(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

/// The breaker of one provider.
#[derive(Debug, Clone)]
pub struct Breaker(Arc<Mutex<Inner>>);

/// What a breaker does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// It lets everybody in.
    Closed,
    /// It lets nobody in for this long.
    Open(Duration),
    /// It lets one in at a time, to see.
    HalfOpen,
}

impl Default for Breaker {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner { state: State::Closed { faults: 0 }, era: 0 })))
    }
}

impl Breaker {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call in, or says for how long not. Zero: until the probe that is under way has ended.
    pub fn admit(&self) -> Result<Pass, Duration> {
        let mut inner = self.inner();
        if let State::Open { since } = inner.state {
            let left = OPEN_FOR.saturating_sub(since.elapsed());
            if !left.is_zero() {
                return Err(left);
            }
            inner.turn(State::HalfOpen { successes: 0, probing: false });
        }
        match &mut inner.state {
            State::HalfOpen { probing: true, .. } => return Err(Duration::ZERO),
            State::HalfOpen { probing, .. } => *probing = true,
            State::Closed { .. } | State::Open { .. } => {}
        }
        Ok(Pass { breaker: self.clone(), era: inner.era, told: false })
    }

    /// What it does at the moment.
    pub fn state(&self) -> BreakerState {
        match self.inner().state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { since } => match OPEN_FOR.saturating_sub(since.elapsed()) {
                Duration::ZERO => BreakerState::HalfOpen,
                left => BreakerState::Open(left),
            },
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

/// The right to make one call. Dropped without a word, it says nothing about the provider and makes room for another.
#[derive(Debug)]
pub struct Pass {
    breaker: Breaker,
    era: u64,
    told: bool,
}

impl Pass {
    /// The provider did its part, whatever it answered.
    pub fn succeeded(mut self) {
        self.tell(|inner| match inner.state {
            State::HalfOpen { successes, .. } if successes + 1 >= CLOSES_AT => {
                inner.turn(State::Closed { faults: 0 });
            }
            State::HalfOpen { successes, .. } => {
                inner.state = State::HalfOpen { successes: successes + 1, probing: false };
            }
            State::Closed { .. } => inner.state = State::Closed { faults: 0 },
            State::Open { .. } => {}
        });
    }

    /// It did not.
    pub fn failed(mut self) {
        self.tell(|inner| match inner.state {
            State::Closed { faults } if faults + 1 < OPENS_AT => {
                inner.state = State::Closed { faults: faults + 1 }
            }
            State::Closed { .. } | State::HalfOpen { .. } => {
                inner.turn(State::Open { since: Instant::now() });
            }
            State::Open { .. } => {}
        });
    }

    fn tell(&mut self, change: impl FnOnce(&mut Inner)) {
        self.told = true;
        let mut inner = self.breaker.inner();
        if inner.era == self.era {
            change(&mut inner);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        self.tell(|inner| {
            if let State::HalfOpen { probing, .. } = &mut inner.state {
                *probing = false;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..OPENS_AT {
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.admit().unwrap().failed();
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_the_fifth_fault_in_a_row() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 0..OPENS_AT - 1 {
                breaker.admit().unwrap().failed();
            }
            breaker.admit().unwrap().succeeded();
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(opened().state(), BreakerState::Open(OPEN_FOR));
    }

    #[tokio::test(start_paused = true)]
    async fn it_lets_nobody_in_for_thirty_seconds_and_then_one() {
        let breaker = opened();
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(breaker.admit().unwrap_err(), Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        let probe = breaker.admit().unwrap();
        assert_eq!(breaker.admit().unwrap_err(), Duration::ZERO);
        probe.succeeded();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.admit().unwrap().succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        let many: Vec<Pass> = (0..10).map(|_| breaker.admit().unwrap()).collect();
        assert_eq!(many.len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_opens_it_again_and_one_that_is_given_up_makes_room() {
        let breaker = opened();
        tokio::time::advance(OPEN_FOR).await;
        breaker.admit().unwrap().succeeded();
        breaker.admit().unwrap().failed();
        assert_eq!(breaker.state(), BreakerState::Open(OPEN_FOR));
        tokio::time::advance(OPEN_FOR).await;
        drop(breaker.admit().unwrap());
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_let_in_before_it_opened_neither_closes_nor_prolongs_it() {
        let breaker = Breaker::default();
        let mut early: Vec<Pass> = (0..3).map(|_| breaker.admit().unwrap()).collect();
        for _ in 0..OPENS_AT {
            breaker.admit().unwrap().failed();
        }
        tokio::time::advance(OPEN_FOR).await;
        let probe = breaker.admit().unwrap();
        early.pop().unwrap().succeeded();
        early.pop().unwrap().failed();
        drop(early);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.admit().unwrap_err(), Duration::ZERO, "the probe is still under way");
        probe.succeeded();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_at_once_one_probes() {
        let breaker = Breaker::default();
        breaker.inner().turn(State::HalfOpen { successes: 0, probing: false });
        let barrier = Arc::new(tokio::sync::Barrier::new(32));
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                let (breaker, barrier) = (breaker.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    let pass = breaker.admit();
                    barrier.wait().await;
                    pass.is_ok()
                })
            })
            .collect();
        let admitted = futures::future::join_all(tasks).await;
        assert_eq!(admitted.into_iter().filter(|admitted| *admitted.as_ref().unwrap()).count(), 1);
    }
}
