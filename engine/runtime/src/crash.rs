//! Deliberate death at a chosen place in the journal, for tests of recovery. Exists in builds with debug
//! assertions only; a release never looks at the variables.
//!
//! `BLUEPRINT_CRASH_AFTER_EVENT=k` kills the process as soon as event `k` is durable and before anything is done
//! about it; `BLUEPRINT_CRASH_BEFORE_EVENT=k` kills it just before the transaction that would hold event `k`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Where the process is to die.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrashPoint {
    after: Option<u64>,
    before: Option<u64>,
}

impl CrashPoint {
    /// Reads it from the environment; nowhere in a release.
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        if !cfg!(debug_assertions) {
            return Self::default();
        }
        let event = |name: &str| environment.get(name).and_then(|event| event.parse().ok());
        Self { after: event("BLUEPRINT_CRASH_AFTER_EVENT"), before: event("BLUEPRINT_CRASH_BEFORE_EVENT") }
    }

    /// The events of this range are about to be written.
    pub(crate) fn before(self, events: &RangeInclusive<u64>) {
        if self.before.is_some_and(|event| events.contains(&event)) {
            die();
        }
    }

    /// The events of this range are durable, and nothing was done about them.
    pub(crate) fn after(self, events: &RangeInclusive<u64>) {
        if self.after.is_some_and(|event| events.contains(&event)) {
            die();
        }
    }
}

/// As with `kill -9`: nothing is flushed, dropped or said.
fn die() {
    let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    debug_assert!(killed.is_ok(), "a process may kill itself");
}
