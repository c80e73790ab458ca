//! Makes a sandbox fit for another command: nothing private is left of the one before, and the guest is as it was.
//! Removes only what lies on a private file system itself, never what is shown there or what a link leads to. What cannot
//! be removed, or was changed, makes the sandbox unfit.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    contract::HOME,
    kernel,
    launcher::{During, fault},
    wire::{Failure, Stage},
};

/// How deep folders may lie in each other: the guest's own stack is as deep.
const DEEPEST: usize = 64;

/// Where the kernel lists what outlives processes without being a file.
const LISTS: [&str; 3] = ["/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem"];

/// What a process of the same user can change about the guest, as it was at the start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearings {
    limits: String,
    scheduling: Vec<String>,
    processors: String,
    disk: i64,
}

impl Bearings {
    /// As they are now.
    pub(super) fn take() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/self/stat");
        // Behind the name, which may hold anything: the third field is the first here. Nice value, priority, policy.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let scheduling =
            [16, 37, 38].into_iter().filter_map(|at| fields.get(at).map(|field| (*field).to_owned()));
        let status = read("/proc/self/status");
        let processors = status.lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap_or_default();
        Self {
            limits: read("/proc/self/limits"),
            scheduling: scheduling.collect(),
            processors: processors.to_owned(),
            disk: kernel::disk_priority(),
        }
    }
}

/// Empties what is private, and looks whether the guest is as it was.
pub(super) fn renew(bearings: &Bearings) -> Result<(), Failure> {
    for folder in ["/tmp", HOME, "/dev/shm"] {
        empty(Path::new(folder), device(Path::new(folder)), 0)
            .during(Stage::Guest, format_args!("`{folder}` cannot be emptied"))?;
    }
    for list in LISTS {
        // The first line says what the others are.
        if fs::read_to_string(list).is_ok_and(|text| text.lines().count() > 1) {
            return Err(fault(Stage::Guest, format!("something is left in `{list}`")));
        }
    }
    if fs::read_dir("/dev/mqueue").is_ok_and(|mut queues| queues.next().is_some()) {
        return Err(fault(Stage::Guest, "a queue of messages is left"));
    }
    if Bearings::take() != *bearings {
        return Err(fault(Stage::Guest, "a command changed the limits or the priority of the guest"));
    }
    Ok(())
}

fn device(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|meta| meta.dev())
}

/// Whether a folder holds nothing any more but places where something else is mounted.
fn empty(folder: &Path, own: Option<u64>, depth: usize) -> io::Result<bool> {
    if depth > DEEPEST {
        return Err(io::Error::other("folders lie too deep in each other"));
    }
    let mut emptied = true;
    let entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    for path in entries {
        let meta = fs::symlink_metadata(&path)?;
        if Some(meta.dev()) != own {
            emptied = false;
        } else if !meta.is_dir() {
            fs::remove_file(&path)?;
        } else if empty(&path, own, depth + 1)? {
            fs::remove_dir(&path)?;
        } else {
            emptied = false;
        }
    }
    Ok(emptied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_removed_and_what_they_lead_to_stays() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("kept"), "x").unwrap();
        fs::create_dir_all(inside.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("a/link")).unwrap();
        assert!(empty(inside.path(), device(inside.path()), 0).unwrap());
        assert!(outside.path().join("kept").exists());
        assert_eq!(fs::read_dir(inside.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_lies_too_deep_makes_it_unfit() {
        let inside = tempfile::tempdir().unwrap();
        fs::create_dir_all(inside.path().join("d/".repeat(DEEPEST + 4))).unwrap();
        assert!(empty(inside.path(), device(inside.path()), 0).is_err());
    }

    #[test]
    fn the_guest_finds_its_bearings_again() {
        let bearings = Bearings::take();
        assert_eq!(bearings.scheduling.len(), 3);
        assert_eq!(bearings, Bearings::take());
    }
}
