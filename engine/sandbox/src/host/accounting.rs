//! Reads what control groups counted about a sandbox.
//! A counter that cannot be read counts as 0: it can only make a report less specific, never an outcome better.

use std::{fs, path::PathBuf};

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Processes killed for want of memory.
    pub(super) memory_kills: u64,
    /// Processes refused because of the limit.
    pub(super) refused_pids: u64,
}

impl Counters {
    pub(super) fn read(groups: &[PathBuf]) -> Self {
        let value = |file: &str, key: &str| {
            groups
                .iter()
                .filter_map(|group| fs::read_to_string(group.join(file)).ok())
                .find_map(|text| entry(&text, key))
                .unwrap_or(0)
        };
        Self {
            memory_kills: value("memory.oom_control", "oom_kill").max(value("memory.events", "oom_kill")),
            refused_pids: value("pids.events", "max"),
        }
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            memory_kills: self.memory_kills.saturating_sub(earlier.memory_kills),
            refused_pids: self.refused_pids.saturating_sub(earlier.refused_pids),
        }
    }
}

fn entry(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_understood() {
        assert_eq!(entry("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), Some(3));
        assert_eq!(entry("low 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n", "oom_kill"), Some(1));
        assert_eq!(entry("max 12\n", "max"), Some(12));
    }
}
