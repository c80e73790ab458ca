//! Removes what sandboxes of engines that no longer exist left behind.
//! Touches only empty control groups named after a process that is gone.

use std::{fs, path::Path};

/// Removes leftover control groups below this process's own and returns how many.
///
/// A sandbox removes its groups itself, even when its engine is killed; this is for the rest, such as a
/// launcher that was killed at the same time.
pub fn sweep_leftovers() -> usize {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    own.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some((parts.next()?, parts.next()?))
        })
        .filter_map(|(controllers, path)| {
            let controller = controllers.split(',').next().unwrap_or_default();
            let root = Path::new("/sys/fs/cgroup").join(controller);
            fs::read_dir(root.join(path.trim_start_matches('/'))).ok()
        })
        .flat_map(Iterator::flatten)
        .filter(|entry| entry.file_name().to_str().and_then(owner).is_some_and(is_gone))
        // One that still holds a process refuses, which is right.
        .filter(|entry| fs::remove_dir(entry.path()).is_ok())
        .count()
}

/// The process a group is named after.
fn owner(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix("blueprint-")?.split_once('-')?;
    number.parse::<u64>().ok()?;
    pid.parse().ok()
}

fn is_gone(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_considered() {
        assert_eq!(owner("blueprint-12-3"), Some(12));
        for name in ["blueprint-12", "blueprint-x-1", "blueprint--1", "other-12-3", "blueprint-12-x"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }

    #[test]
    fn a_living_engine_keeps_its_groups() {
        assert!(!is_gone(std::process::id()));
    }
}
