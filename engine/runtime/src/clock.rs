//! The one place that reads the clock. A run never sees time go backwards, whatever is done to the system's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Milliseconds since the Unix epoch that never decrease while the process lives: the system's time at the start
/// plus what the monotonic clock has counted since.
#[derive(Debug)]
pub struct Clock {
    started_ms: u64,
    started: Instant,
    floor_ms: AtomicU64,
}

impl Clock {
    /// Starts from the system's time.
    #[expect(clippy::disallowed_methods, reason = "this is the injected clock that everything else takes time from")]
    pub fn system() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            started_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            started: Instant::now(),
            floor_ms: AtomicU64::new(0),
        }
    }

    /// Never tell a time before `at_ms`: what a journal already knows to have happened.
    pub fn not_before(&self, at_ms: u64) {
        self.floor_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    /// Now.
    pub fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = self.started_ms.saturating_add(elapsed);
        self.floor_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }
}
