//! Removes containers and translated workspaces of engines that no longer exist.
//! Touches only what carries our label, of a process of this very boot of this machine that is gone.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bollard::models::ContainerSummaryStateEnum;
use bollard::query_parameters::ListContainersOptionsBuilder;
use nix::mount::{MntFlags, umount2};

use crate::{
    docker::{daemon::Daemon, removal::remove, settings::DockerSettings},
    error::StartError,
};

/// The label that says who a container belongs to.
const LABEL: &str = "dev.blueprint.owner";

/// Folder of translated workspaces below the settings' folder.
pub(super) const VIEWS: &str = "views";

/// Folder of proof files there.
pub(super) const CANARIES: &str = "canaries";

/// The labels of a container of this process.
pub(super) fn labels() -> HashMap<String, String> {
    HashMap::from([(LABEL.to_owned(), owner())])
}

/// This process, in a way no other process of any machine is named.
pub(super) fn owner() -> String {
    let pid = std::process::id();
    format!("{}:{pid}:{}", place(), started(pid).unwrap_or_default())
}

/// This boot, and the view of processes this one has.
fn place() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let view = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}:{}", boot.trim(), view.display())
}

/// The same in few letters, for names of files. A process of another view could only guess whether ours are alive.
fn place_mark() -> String {
    blake3::hash(place().as_bytes()).to_hex().get(..12).unwrap_or_default().to_owned()
}

/// When a process started, in ticks since the boot: its number alone may be given out again.
fn started(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, brackets and spaces included.
    text.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether an owner is a process of this boot and view that is gone.
fn is_gone(owner: &str) -> bool {
    let here = place();
    let Some((pid, start)) =
        owner.strip_prefix(&here).and_then(|rest| rest.strip_prefix(':')?.split_once(':'))
    else {
        return false;
    };
    let Ok(pid) = pid.parse::<u32>() else { return false };
    started(pid).is_none_or(|now| now != start)
}

/// Removes leftovers and returns how many there were.
pub(crate) async fn sweep_containers(settings: &DockerSettings) -> Result<usize, StartError> {
    let views = left_in(&settings.folder.join(VIEWS)).filter(|path| close_view(path)).count();
    left_in(&settings.folder.join(CANARIES)).for_each(|path| drop(fs::remove_dir_all(path)));
    let daemon = Daemon::connect(settings).await?;
    let filters = HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let failed = |error: bollard::errors::Error| StartError::Engine {
        what: "list its containers",
        source: error.into(),
    };
    let mut removed = 0;
    for container in daemon.api.list_containers(Some(options)).await.map_err(failed)? {
        let owner = container.labels.as_ref().and_then(|labels| labels.get(LABEL));
        let Some(id) = container.id.filter(|_| owner.is_some_and(|owner| is_gone(owner))) else { continue };
        let paused = container.state == Some(ContainerSummaryStateEnum::PAUSED);
        removed += usize::from(remove(&daemon.api, &id, paused).await);
    }
    Ok(removed + views)
}

/// A name for something of one container of this process.
pub(super) fn own_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    format!("{pid}-{}-{}-{number}", started(pid).unwrap_or_default(), place_mark())
}

/// What processes that are gone left in a folder.
fn left_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let here = place_mark();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(move |entry| {
            let name = entry.file_name();
            let mut parts = name.to_str().unwrap_or_default().splitn(4, '-');
            let (Some(pid), Some(start), Some(mark)) =
                (parts.next().and_then(|pid| pid.parse().ok()), parts.next(), parts.next())
            else {
                return false;
            };
            if mark != here {
                return false;
            }
            started(pid).is_none_or(|now| now != start)
        })
        .map(|entry| entry.path())
}

/// Takes a translated workspace away. What it shows is not touched: a folder that still shows it cannot be removed.
pub(super) fn close_view(path: &Path) -> bool {
    let _ = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    fs::remove_dir(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_keeps_what_it_has() {
        assert!(!is_gone(&owner()));
    }

    #[test]
    fn a_number_that_was_given_out_again_is_another_process() {
        assert!(is_gone(&format!("{}:{}:1", place(), std::process::id())));
    }

    #[test]
    fn other_machines_and_boots_are_none_of_our_business() {
        assert!(!is_gone("another-boot:pid:[1]:1:1"));
        assert!(!is_gone(""));
    }
}
