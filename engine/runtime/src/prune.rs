//! Runs that have ended are deleted, with everything that is kept for them alone. It must never take a run that is
//! driven or can go on, or anything that a run that stays names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use blueprint_core::run::RunStatus;
use thiserror::Error;

use crate::logs::LIVE_FOLDER;
use crate::start::{Engine, StartError};
use crate::store::{
    AcquireError, BlobError, Digest, Fault, Held, LeaseError, Owner, ReadError, RunSummary, Swept,
};
use crate::sweep::remove_checkouts;
use crate::trees::WORK_FOLDER;
use crate::workspace::{CommitId, GitError, RefName, Repository, RepositoryError};

/// A run without events may be one that is just starting, up to this age.
const STARTING: Duration = Duration::from_hours(1);
/// A body larger than this is not searched for the names of others: only the program itself writes names into
/// bodies, and not into large ones.
const LARGEST_SEARCHED: u64 = 64 << 20;

/// Why a run cannot be deleted.
#[derive(Debug, Error)]
pub enum Stays {
    /// It is being driven.
    #[error("it is driven by process {} on `{}`", .0.by.pid, .0.by.host)]
    Driven(Box<Held>),
    /// It can go on.
    #[error("it has not ended")]
    Unfinished,
    /// It may be just starting.
    #[error("it may be just starting: its journal is empty and less than an hour old")]
    Starting,
    /// Its journal does not hold what was written to it; that is evidence.
    #[error("its journal does not hold what was written to it")]
    Broken(#[source] Box<StartError>),
    /// It is not known whether it has ended.
    #[error("it cannot be read")]
    Unreadable(#[source] Box<StartError>),
}

/// Why nothing more could be deleted. What was deleted before is gone; the rest can be tried again.
#[derive(Debug, Error)]
pub enum PruneError {
    /// The journal could not be read or written.
    #[error("the journal could not be used")]
    Journal(#[from] Fault),
    /// Runs could not be listed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bodies could not be read or deleted.
    #[error("the bodies beside the journal could not be used")]
    Blobs(#[from] BlobError),
    /// The lease of a run could not be had or was lost.
    #[error("the lease of a run was lost")]
    Lease(#[from] LeaseError),
    /// There is no usable object database.
    #[error("the repository of the project cannot be used")]
    Repository(#[from] RepositoryError),
    /// Refs could not be read or written.
    #[error("the refs of a run could not be read or deleted")]
    Refs(#[from] GitError),
    /// The work was cut off.
    #[error("the work was cut off")]
    Cut(#[from] tokio::task::JoinError),
}

/// What was, or would be, deleted.
#[derive(Debug, Default)]
pub struct Pruned {
    /// The runs, by id.
    pub runs: Vec<String>,
    /// Runs that were asked for and stay, with the reason.
    pub stay: Vec<(String, Stays)>,
    /// Number of refs below `refs/blueprint/`.
    pub refs: usize,
    /// Refs that were given to runs that took over what they lead to.
    pub handed_on: usize,
    /// Files of logs, values and artifacts, and their bytes.
    pub blobs: Swept,
    /// Bytes by which the journal shrank.
    pub journal_bytes: u64,
    /// A run was starting, so no blob was deleted.
    pub blobs_left: bool,
}

/// What the runs that stay name.
#[derive(Debug, Default)]
struct Named {
    digests: BTreeSet<Digest>,
    /// With a run that names it.
    commits: BTreeMap<String, String>,
}

impl Engine {
    /// Since when a run has ended, in milliseconds since the Unix epoch, or why it cannot be deleted.
    pub async fn ended(&self, run: &RunSummary) -> Result<Result<i64, Stays>, PruneError> {
        let holder = self.store.holder(&run.id, self.now_ms()).await?;
        if let Some(held) = holder.filter(|held| held.lives(&Owner::current())) {
            return Ok(Err(Stays::Driven(Box::new(held))));
        }
        self.ended_by_record(run).await
    }

    /// The same by what is on record, whoever holds the run.
    async fn ended_by_record(&self, run: &RunSummary) -> Result<Result<i64, Stays>, PruneError> {
        let opened = match self.open(&run.id).await {
            Ok(opened) => opened,
            Err(StartError::Empty(_)) => {
                let is_young = self.now_ms().saturating_sub(run.created_at_ms) < ms(STARTING);
                return Ok(if is_young { Err(Stays::Starting) } else { Ok(run.created_at_ms) });
            }
            // It cannot go on with this release. What it came to was noted with its last event.
            Err(StartError::Incompatible(_)) if !["starting", "running"].contains(&run.status.as_str()) => {
                let last = self.store.last_event_ms(&run.id).await?;
                return Ok(Ok(last.unwrap_or(run.created_at_ms)));
            }
            Err(StartError::Incompatible(_)) => return Ok(Err(Stays::Unfinished)),
            Err(error @ StartError::Broken { .. }) => return Ok(Err(Stays::Broken(Box::new(error)))),
            Err(error) => return Ok(Err(Stays::Unreadable(Box::new(error)))),
        };
        if let Err(error) = opened.must_hold() {
            return Ok(Err(Stays::Broken(Box::new(error))));
        }
        Ok(match opened.state.status() {
            RunStatus::Finished(_) => Ok(i64::try_from(opened.last.1).unwrap_or(i64::MAX)),
            _ => Err(Stays::Unfinished),
        })
    }

    /// Says what `prune` would delete.
    pub async fn prunable(&self, runs: &[RunSummary]) -> Result<Pruned, PruneError> {
        let ids: BTreeSet<String> = runs.iter().map(|run| run.id.clone()).collect();
        let mut pruned = Pruned { runs: ids.iter().cloned().collect(), ..Pruned::default() };
        let repository = Repository::discover(&self.project, &self.state_dir)?;
        for run in &pruned.runs {
            pruned.refs += repository.refs_of_run(run)?.len();
        }
        match self.unnamed(&ids).await? {
            None => pruned.blobs_left = true,
            Some(unnamed) => {
                pruned.blobs = Swept {
                    files: unnamed.len() as u64,
                    bytes: unnamed.iter().map(|(_, bytes)| bytes).sum(),
                };
            }
        }
        Ok(pruned)
    }

    /// Deletes runs that have ended: their journal, refs, checkouts, and every blob that no other run names. A run that
    /// turns out to be driven, or to have gone on, stays.
    pub async fn prune(&self, runs: &[RunSummary]) -> Result<Pruned, PruneError> {
        let ids: BTreeSet<String> = runs.iter().map(|run| run.id.clone()).collect();
        let repository = Repository::discover(&self.project, &self.state_dir)?;
        // What a fork took over lies behind the refs of the run it comes from.
        let named = self.named(&ids).await?.unwrap_or_default();
        let mut pruned = Pruned::default();
        for run in runs {
            // From here on nobody else drives it, and if somebody did meanwhile, that counts.
            let lease = match self.store.acquire(&run.id, &Owner::current(), self.now_ms()).await {
                Ok(lease) => lease,
                Err(AcquireError::Held { held, .. }) => {
                    pruned.stay.push((run.id.clone(), Stays::Driven(held)));
                    continue;
                }
                Err(AcquireError::UnknownRun(_)) => continue,
                Err(AcquireError::Storage(fault)) => return Err(fault.into()),
            };
            if let Err(stays) = self.ended_by_record(run).await? {
                self.store.release(lease).await?;
                pruned.stay.push((run.id.clone(), stays));
                continue;
            }
            pruned.handed_on += hand_on(&repository, &run.id, &named)?;
            pruned.refs += repository.delete_refs_of_run(&run.id)?;
            remove_checkouts(&self.state_dir.join(WORK_FOLDER).join(&run.id));
            // Links to logs that are finished; the logs are blobs.
            drop(std::fs::remove_dir_all(self.state_dir.join(LIVE_FOLDER).join(&run.id)));
            // Last: as long as the run is listed, a prune that was cut off can be repeated.
            self.store.forget(lease).await?;
            pruned.runs.push(run.id.clone());
        }
        // Asked again, since a run may have begun that names what it took over.
        match self.unnamed(&BTreeSet::new()).await? {
            None => pruned.blobs_left = true,
            Some(unnamed) => {
                let digests: Vec<Digest> = unnamed.iter().map(|(digest, _)| *digest).collect();
                pruned.blobs = self.store.blobs().collect(&digests, self.now())?;
            }
        }
        pruned.journal_bytes = self.store.compact().await?;
        Ok(pruned)
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX)
    }

    /// As the file system tells time.
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.now_ms())
    }

    /// Old blobs that no run names, other than those of `except`; `None` if a run is just starting.
    async fn unnamed(&self, except: &BTreeSet<String>) -> Result<Option<Vec<(Digest, u64)>>, PruneError> {
        // Listed before it is asked what is named: what is named later is freshened.
        let blobs = self.store.blobs().clone();
        let now = self.now();
        let old = blocking(move || blobs.collectable(now)).await?;
        let Some(mut named) = self.named(except).await? else { return Ok(None) };
        let blobs = self.store.blobs().clone();
        let named = blocking(move || {
            let mut next: Vec<Digest> = named.digests.iter().copied().collect();
            while let Some(digest) = next.pop() {
                for found in names_inside(&blobs, digest)? {
                    if named.digests.insert(found) {
                        next.push(found);
                    }
                }
            }
            Ok(named)
        });
        let named = named.await?;
        Ok(Some(old.into_iter().filter(|(digest, _)| !named.digests.contains(digest)).collect()))
    }

    /// What the events of all runs name, other than those of `except`; `None` if a run is just starting.
    async fn named(&self, except: &BTreeSet<String>) -> Result<Option<Named>, PruneError> {
        let mut named = Named::default();
        let mut in_files = BTreeSet::new();
        let began = self.now_ms().saturating_sub(ms(STARTING));
        let whole = self.store.texts_of_others(except, began, &mut in_files, |run, text| {
            for word in hex_words(text) {
                if let Ok(digest) = word.parse::<Digest>() {
                    named.digests.insert(digest);
                }
                if word.parse::<CommitId>().is_ok() && !named.commits.contains_key(word) {
                    named.commits.insert(word.to_owned(), run.to_owned());
                }
            }
        });
        let whole = whole.await?;
        named.digests.append(&mut in_files);
        Ok(whole.then_some(named))
    }
}

/// Gives the refs of a run that another one still needs to that one. Returns how many.
fn hand_on(repository: &Repository, run: &str, named: &Named) -> Result<usize, GitError> {
    let refs = repository.refs_of_run(run)?;
    let handed: Vec<(RefName, CommitId)> = refs
        .iter()
        .filter_map(|(name, commit)| {
            let heir = named.commits.get(&commit.to_string())?;
            Some((name.handed_on(run, heir, *commit)?, *commit))
        })
        .collect();
    repository.set_refs(&handed)?;
    Ok(handed.len())
}

/// The words of a text that may be digests or commits.
fn hex_words(text: &str) -> impl Iterator<Item = &str> {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.split(move |c: char| !is_hex(c)).filter(|word| matches!(word.len(), 40 | 64))
}

/// What a body names, if it is a value and no log or file of somebody.
fn names_inside(blobs: &crate::store::Blobs, digest: Digest) -> Result<Vec<Digest>, BlobError> {
    let size = match std::fs::metadata(blobs.path(digest)) {
        Ok(stat) => stat.len(),
        // A word that is no digest of ours, or a run that lost a body: nothing to follow.
        Err(_) => return Ok(Vec::new()),
    };
    if size > LARGEST_SEARCHED {
        return Ok(Vec::new());
    }
    let bytes = match blobs.get(digest) {
        Ok(bytes) => bytes,
        Err(BlobError::Altered { .. } | BlobError::Missing { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if !matches!(bytes.first(), Some(b'{' | b'[')) {
        return Ok(Vec::new());
    }
    Ok(hex_words(&String::from_utf8_lossy(&bytes)).filter_map(|word| word.parse().ok()).collect())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, PruneError> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
