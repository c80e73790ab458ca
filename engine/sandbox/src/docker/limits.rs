//! Reads back which limits the kernel enforces on a container, from its control groups as this machine sees them.
//! A limit that cannot be found in force counts as not enforced, whatever was asked for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    attestation::{Enforcement, Enforcer},
    contract::{Limits, Spec},
};

const ROOT: &str = "/sys/fs/cgroup";

/// Control groups of a process, and which limits they hold.
pub(super) struct Found {
    /// Their directories.
    pub(super) groups: Vec<PathBuf>,
    /// What they enforce.
    pub(super) enforcement: Enforcement,
}

/// Looks at the control groups of a process of this machine. `pids` is what was ordered for the runtime's tasks.
pub(super) fn read_back(process: i64, spec: &Spec, pids: i64) -> Found {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let groups = Groups::parse(&text);
    let limits = &spec.limits;
    let at_most = |place: Option<(&PathBuf, Enforcer, &str)>, limit: u64| {
        place
            .filter(|(dir, _, file)| number(&dir.join(file)).is_some_and(|value| value <= limit))
            .map(|(_, by, _)| by)
    };
    let either = |controller: &str, old: &'static str, new: &'static str| {
        let first = groups.named(controller).map(|dir| (dir, Enforcer::CgroupV1, old));
        first.or_else(|| groups.unified().map(|dir| (dir, Enforcer::CgroupV2, new)))
    };
    let memory = at_most(either("memory", "memory.limit_in_bytes", "memory.max"), limits.memory_bytes);
    let tasks = at_most(either("pids", "pids.max", "pids.max"), u64::try_from(pids).unwrap_or(0));
    let enforcement = Enforcement {
        memory: memory.unwrap_or(Enforcer::Nothing),
        pids: tasks.unwrap_or(Enforcer::Nothing),
        cpus: processors(&groups, limits).unwrap_or(Enforcer::Nothing),
        wall: Enforcer::GuestAndHost,
        output: Enforcer::GuestAndHost,
        file_bytes: Enforcer::Rlimit,
        open_files: Enforcer::Rlimit,
        tmp_bytes: Enforcer::MountSize,
        workspace_bytes: Enforcer::Nothing,
    };
    Found { groups: groups.directories(), enforcement }
}

fn processors(groups: &Groups, limits: &Limits) -> Option<Enforcer> {
    let fits = |quota: f64, period: f64| quota > 0.0 && quota / period <= limits.cpus + 0.01;
    if let Some(dir) = groups.named("cpu") {
        let quota = number(&dir.join("cpu.cfs_quota_us"))?;
        let period = number(&dir.join("cpu.cfs_period_us"))?;
        return fits(quota as f64, period as f64).then_some(Enforcer::CgroupV1);
    }
    let text = fs::read_to_string(groups.unified()?.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    fits(quota.parse().ok()?, period.parse().ok()?).then_some(Enforcer::CgroupV2)
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The lines of `/proc/PID/cgroup`, as directories.
struct Groups {
    named: Vec<(String, PathBuf)>,
    unified: Option<PathBuf>,
}

impl Groups {
    fn parse(text: &str) -> Self {
        let mut groups = Self { named: Vec::new(), unified: None };
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let path = path.trim_start_matches('/');
            // A path that leads out of our view, or a group shared with everything else, says nothing.
            if path.is_empty() || path.split('/').any(|part| part == "..") {
                continue;
            }
            if controllers.is_empty() {
                groups.unified = Some(Path::new(ROOT).join(path));
            }
            for controller in controllers.split(',').filter(|name| !name.is_empty()) {
                groups.named.push((controller.to_owned(), Path::new(ROOT).join(controller).join(path)));
            }
        }
        groups
    }

    fn named(&self, controller: &str) -> Option<&PathBuf> {
        self.named.iter().find(|(name, _)| name == controller).map(|(_, path)| path)
    }

    fn unified(&self) -> Option<&PathBuf> {
        self.unified.as_ref()
    }

    fn directories(self) -> Vec<PathBuf> {
        self.named
            .into_iter()
            .filter(|(name, _)| ["memory", "pids"].contains(&name.as_str()))
            .map(|(_, path)| path)
            .chain(self.unified)
            .filter(|path| path.is_dir())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_found() {
        let old = Groups::parse("8:pids:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n");
        assert_eq!(old.named("pids"), Some(&PathBuf::from("/sys/fs/cgroup/pids/docker/abc")));
        assert_eq!(old.named("cpu"), Some(&PathBuf::from("/sys/fs/cgroup/cpu/docker/abc")));
        assert_eq!(old.unified(), None);
        let new = Groups::parse("0::/system.slice/docker-abc.scope\n");
        assert_eq!(new.unified(), Some(&PathBuf::from("/sys/fs/cgroup/system.slice/docker-abc.scope")));
    }

    #[test]
    fn what_leads_out_of_view_says_nothing() {
        let groups = Groups::parse("8:pids:/../../docker/abc\n0::/../x\n4:memory:/\n");
        assert!(groups.named.is_empty() && groups.unified.is_none());
    }
}
