//! What processes that died left on the machine and in the state folder is removed, in the background of a run that
//! has begun. It must never touch what a living process uses, and never make a run wait.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blueprint_sandbox::Launcher;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::logs::LIVE_FOLDER;
use crate::store::{Owner, Store};
use crate::trees::WORK_FOLDER;
use crate::workspace::Checkout;

/// What was found and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Swept {
    live_logs: usize,
    checkouts: usize,
}

/// Sweeps once the run `own` has written its first events. Nobody waits for it: what it does not get to before the
/// program ends is left to the next run.
pub(crate) fn begin(store: Arc<Store>, clock: Arc<Clock>, launcher: Launcher, state: &Path, own: &str) {
    let (state, own) = (state.to_owned(), own.to_owned());
    let begun = store.next_commit();
    tokio::spawn(async move {
        begun.await;
        match launcher.sweep().await {
            Ok(0) => {}
            Ok(containers) => tracing::info!(containers, "swept what sandboxes of dead processes left"),
            // Whoever needs the engine is told so itself.
            Err(error) => tracing::debug!(error = crate::chain(&error), "containers are not swept"),
        }
        let listed = state.clone();
        let found = aside(move || {
            let groups = blueprint_sandbox::sweep_leftovers();
            if groups > 0 {
                tracing::info!(control_groups = groups, "swept what sandboxes of dead processes left");
            }
            runs_with_leftovers(&listed, &own)
        });
        for run in found.await.unwrap_or_default() {
            // Only a run of this journal: the folder may be shared with others.
            let Ok(summary) = store.run(&run).await else { continue };
            let now = i64::try_from(clock.now_ms()).unwrap_or(i64::MAX);
            let driven = match store.holder(&run, now).await {
                Ok(holder) => holder.is_some_and(|held| held.lives(&Owner::current())),
                Err(_) => true,
            };
            if driven {
                continue;
            }
            // A run that can go on keeps its checkouts: what is in them saves work.
            let ended = !["starting", "running"].contains(&summary.status.as_str());
            let (state, id) = (state.clone(), run.clone());
            if let Some(Swept { live_logs, checkouts }) = aside(move || sweep(&state, &id, ended)).await
                && live_logs + checkouts > 0
            {
                tracing::info!(run, live_logs, checkouts, "swept what a dead process left of a run");
            }
        }
    });
}

/// Does work that blocks on a thread of its own. The end of the program does not wait for such a thread, which it
/// would for one of the runtime.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, receive) = oneshot::channel();
    let spawned = std::thread::Builder::new().name("sweep".to_owned()).spawn(move || {
        // The receiver is gone only when the program ends.
        drop(send.send(work()));
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "nothing is swept");
        return None;
    }
    receive.await.ok()
}

fn runs_with_leftovers(state: &Path, own: &str) -> BTreeSet<String> {
    let folders = [LIVE_FOLDER, WORK_FOLDER].into_iter().flat_map(|folder| listed(&state.join(folder)));
    let names = folders.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    names.filter(|name| name != own).collect()
}

fn sweep(state: &Path, run: &str, ended: bool) -> Swept {
    let live = state.join(LIVE_FOLDER).join(run);
    let mut swept = Swept::default();
    for link in listed(&live) {
        // What it leads to is a draft that lives as long as its writer does.
        if link.is_symlink() && !link.exists() && fs::remove_file(&link).is_ok() {
            swept.live_logs += 1;
        }
    }
    // Only if nothing is left in it.
    drop(fs::remove_dir(&live));
    if ended {
        swept.checkouts = remove_checkouts(&state.join(WORK_FOLDER).join(run));
    }
    swept
}

/// Removes the checkouts below a folder that nobody has locked, and the folder if it is empty then.
pub(crate) fn remove_checkouts(work: &Path) -> usize {
    let number = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.split('.').next()?.parse::<u32>().ok()
    };
    let numbers: BTreeSet<u32> = listed(work).iter().filter_map(number).collect();
    let mut removed = 0;
    for number in numbers {
        let Ok(checkout) = Checkout::open_or_create(&work.join(number.to_string())) else { continue };
        match checkout.delete() {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(error = crate::chain(&error), "a checkout could not be removed"),
        }
    }
    drop(fs::remove_dir(work));
    removed
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
