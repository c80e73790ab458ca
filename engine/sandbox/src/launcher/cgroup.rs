//! Control groups of one sandbox, version 1 or 2, where the caller may create them.
//! Says which limits they really enforce; a limit whose file could not be written counts as not enforced.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{attestation::Enforcer, contract::Limits};

/// Where control groups are mounted by convention.
const ROOT: &str = "/sys/fs/cgroup";

/// Length of one accounting period, in microseconds.
const PERIOD_US: u64 = 100_000;

/// How often removing a group is tried again while the kernel still empties it.
const REMOVE_ATTEMPTS: u32 = 50;

/// Control groups made for one sandbox and what they enforce.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ControlGroups {
    /// Their directories on the host.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) memory: Option<Enforcer>,
    pub(crate) pids: Option<Enforcer>,
    pub(crate) cpus: Option<Enforcer>,
}

impl ControlGroups {
    /// Makes what the caller may make. Having none is not an error: other enforcers take over.
    pub(super) fn create(name: &str, limits: &Limits) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut groups = Self::default();
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            groups.create_unified(Path::new(ROOT), &own, name, limits);
        } else {
            groups.create_v1(Path::new(ROOT), &own, name, limits);
        }
        groups
    }

    fn create_v1(&mut self, root: &Path, own: &str, name: &str, limits: &Limits) {
        let quota = quota_us(limits);
        let (memory, pids) = (limits.memory_bytes.to_string(), max_tasks(limits).to_string());
        let period = PERIOD_US.to_string();
        let quota = quota.to_string();
        if self.group_v1(root, own, "memory", name, &[("memory.limit_in_bytes", &memory)]) {
            self.memory = Some(Enforcer::CgroupV1);
            // With swap accounting the limit would otherwise only move pages to swap.
            if let Some(directory) = self.directories.last() {
                drop(fs::write(directory.join("memory.memsw.limit_in_bytes"), &memory));
            }
        }
        if self.group_v1(root, own, "pids", name, &[("pids.max", &pids)]) {
            self.pids = Some(Enforcer::CgroupV1);
        }
        if self.group_v1(
            root,
            own,
            "cpu",
            name,
            &[("cpu.cfs_period_us", &period), ("cpu.cfs_quota_us", &quota)],
        ) {
            self.cpus = Some(Enforcer::CgroupV1);
        }
    }

    fn group_v1(
        &mut self,
        root: &Path,
        own: &str,
        controller: &str,
        name: &str,
        values: &[(&str, &str)],
    ) -> bool {
        let base = root.join(controller);
        let path = own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            parts.next()?.split(',').any(|c| c == controller).then(|| parts.next()).flatten()
        });
        let mut parent = path.map_or_else(|| base.clone(), |path| base.join(path.trim_start_matches('/')));
        if !parent.is_dir() {
            // Another container's view of the hierarchy: what is mounted here is its root.
            parent = base;
        }
        let directory = parent.join(name);
        if fs::create_dir(&directory).is_err() {
            return false;
        }
        let written = values.iter().all(|(file, value)| fs::write(directory.join(file), value).is_ok());
        if !written {
            drop(fs::remove_dir(&directory));
            return false;
        }
        self.directories.push(directory);
        true
    }

    fn create_unified(&mut self, root: &Path, own: &str, name: &str, limits: &Limits) {
        let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let own = root.join(path.trim_start_matches('/'));
        // A group with processes in it cannot hand controllers down, so a sibling is tried as well.
        for parent in [Some(own.as_path()), own.parent().filter(|parent| parent.starts_with(root))] {
            let Some(parent) = parent else { continue };
            drop(fs::write(parent.join("cgroup.subtree_control"), "+memory +pids +cpu"));
            let directory = parent.join(name);
            if fs::create_dir(&directory).is_err() {
                continue;
            }
            let set = |file: &str, value: String| fs::write(directory.join(file), value).is_ok();
            let memory = set("memory.max", limits.memory_bytes.to_string());
            if memory {
                set("memory.swap.max", "0".to_owned());
            }
            let pids = set("pids.max", max_tasks(limits).to_string());
            let cpus = set("cpu.max", format!("{} {PERIOD_US}", quota_us(limits)));
            if !memory && !pids && !cpus {
                drop(fs::remove_dir(&directory));
                continue;
            }
            let by = |enforced: bool| enforced.then_some(Enforcer::CgroupV2);
            (self.memory, self.pids, self.cpus) = (by(memory), by(pids), by(cpus));
            self.directories.push(directory);
            return;
        }
    }

    /// Moves this process in, which must have no second thread. Says what is enforced from now on: empty groups
    /// enforce nothing, and their limits must not be claimed.
    ///
    /// The process moves itself because that is quick. To move another one, the kernel first waits until no process
    /// of the machine is about to fork, which takes milliseconds. Version 1 has `tasks` for a single thread; version 2
    /// moves only whole processes between such groups.
    pub(super) fn join(self) -> Self {
        let moved = self.directories.iter().try_for_each(|directory| {
            let thread = directory.join("tasks");
            let place = if thread.exists() { thread } else { directory.join("cgroup.procs") };
            fs::write(place, "0")
        });
        match moved {
            Ok(()) => self,
            Err(_) => Self { directories: self.directories, ..Self::default() },
        }
    }

    /// Removes the groups. Everything in them must be dead.
    pub(super) fn remove(&self) {
        remove_groups(&self.directories);
    }
}

/// Removes empty control groups; one that is already gone is fine.
pub(crate) fn remove_groups(directories: &[PathBuf]) {
    for directory in directories {
        for _ in 0..REMOVE_ATTEMPTS {
            match fs::remove_dir(directory) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(()) | Err(_) => break,
            }
        }
    }
}

/// The guest itself counts as one.
fn max_tasks(limits: &Limits) -> u64 {
    u64::from(limits.pids) + 1
}

fn quota_us(limits: &Limits) -> u64 {
    // The kernel takes no quota below a millisecond.
    ((limits.cpus * PERIOD_US as f64) as u64).max(1_000)
}
