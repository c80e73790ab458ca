//! How much may wait and for how long. A pool of size 0 never starts anything.

use std::time::Duration;

/// What a pool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// The most sandboxes that wait or are being started at one time. Each holds its memory: 5 MiB for a container,
    /// 30 MiB under gVisor, that of the machine for a virtual one.
    pub size: usize,
    /// How long one waits before another takes its place.
    pub ttl: Duration,
}

impl PoolSettings {
    /// No pool: every sandbox is started when it is wanted.
    pub const OFF: Self = Self { size: 0, ttl: Duration::ZERO };
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { size: 2, ttl: Duration::from_mins(10) }
    }
}
