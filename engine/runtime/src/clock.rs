//! The one place that reads the clock. A run never sees time go backwards, whatever is done to the system's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Milliseconds since the Unix epoch that never decrease while the process lives: the system's time at the start
/// plus what the monotonic clock has counted since.
#[derive(Debug)]
pub struct Clock {
    started_ms: u64,
    started: Instant,
    ahead_ms: AtomicU64,
}

impl Clock {
    /// Starts from the system's time.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the injected clock that everything else takes time from"
    )]
    pub fn system() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            started_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            started: Instant::now(),
            ahead_ms: AtomicU64::new(0),
        }
    }

    /// Never tell a time before `at_ms`: what a journal already knows to have happened. Time goes on from there, or
    /// a pause would last until the system's clock had caught up.
    pub fn not_before(&self, at_ms: u64) {
        self.ahead_ms.fetch_max(at_ms.saturating_sub(self.counted_ms()), Ordering::Relaxed);
    }

    /// Now.
    pub fn now_ms(&self) -> u64 {
        self.counted_ms().saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    fn counted_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_ms.saturating_add(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_a_journal_of_the_future() {
        let clock = Clock::system();
        let future = clock.now_ms() + 86_400_000;
        clock.not_before(future);
        let first = clock.now_ms();
        assert!(first >= future);
        // Earlier times change nothing.
        clock.not_before(1);
        let started = Instant::now();
        while clock.now_ms() == first {
            assert!(started.elapsed() < Duration::from_secs(10), "time stands still");
            std::thread::yield_now();
        }
        assert!(clock.now_ms() > first);
    }
}
