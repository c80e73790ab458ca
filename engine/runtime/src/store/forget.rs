//! Runs are forgotten: their rows, their anchors, and the bodies that no other run names.
//! It must never take a run that somebody may drive, or a body that somebody may be about to name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use sqlx::{Connection as _, Row as _};

use super::blobs::{BlobError, Blobs, Swept};
use super::digest::Digest;
use super::fault::Fault;
use super::lease::{Lease, LeaseError};
use super::open::Store;

/// A body younger than this is never collected: the event that names it may not have been written yet.
const YOUNGEST: Duration = Duration::from_hours(1);

/// A journal with this share of unused pages is written anew without them.
const UNUSED_SHARE: i64 = 4;

impl Store {
    /// Waits for the next commit of this store after this call, or for its end.
    pub fn next_commit(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut commits = self.commits.subscribe();
        commits.mark_unchanged();
        async move { drop(commits.changed().await) }
    }

    /// When the last event of a run was written, in milliseconds since the Unix epoch; `None` without events.
    pub async fn last_event_ms(&self, run: &str) -> Result<Option<i64>, Fault> {
        let query = sqlx::query_scalar("SELECT at_ms FROM event WHERE run = ? ORDER BY seq DESC LIMIT 1");
        let found = query.bind(run).fetch_optional(&mut self.link.lock().await.sql).await;
        found.map_err(|e| self.fault(e))
    }

    /// Forgets the run of a lease, with everything the journal has of it, in one transaction. Whoever held the lease
    /// before can append no more, and nobody can take it again.
    pub async fn forget(&self, lease: Lease) -> Result<(), LeaseError> {
        let run = lease.run();
        let mut link = self.link.lock().await;
        let held = "SELECT 1 FROM lease WHERE run = ?1 AND epoch = ?2";
        let mut change = link.sql.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.fault(e))?;
        let found = sqlx::query(held).bind(run).bind(lease.epoch()).fetch_optional(&mut *change).await;
        if found.map_err(|e| self.fault(e))?.is_none() {
            return Err(LeaseError::Lost { run: run.to_owned(), epoch: lease.epoch() });
        }
        // The anchor goes first: one without its run would say that the run was lost.
        let anchor = self.anchors.path(run);
        match fs::remove_file(&anchor) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Fault::io(&anchor, e).into()),
            _ => {}
        }
        for delete in [
            "DELETE FROM inbox WHERE run = ?",
            "DELETE FROM event WHERE run = ?",
            "DELETE FROM lease WHERE run = ?",
            "DELETE FROM run WHERE id = ?",
        ] {
            sqlx::query(delete).bind(run).execute(&mut *change).await.map_err(|e| self.fault(e))?;
        }
        change.commit().await.map_err(|e| self.fault(e))?;
        link.heads.remove(run);
        link.anchors.remove(run);
        link.sightings.remove(run);
        self.note_commit();
        Ok(())
    }

    /// Calls `each` with every text of every run's events, other than those of `except`, and adds what the journal
    /// keeps in files to `named`. False if a run has not written anything yet that was made since `starting_ms`, in
    /// milliseconds since the Unix epoch: what it is about to name is not known.
    pub async fn texts_of_others(
        &self,
        except: &BTreeSet<String>,
        starting_ms: i64,
        named: &mut BTreeSet<Digest>,
        mut each: impl FnMut(&str, &str),
    ) -> Result<bool, BlobError> {
        for run in self.runs_by_id().await? {
            if except.contains(&run.0) {
                continue;
            }
            if run.1 == 0 && run.2 >= starting_ms {
                return Ok(false);
            }
            let mut after = 0_i64;
            loop {
                let query =
                    "SELECT seq, body, blob FROM event WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT 256";
                let rows = sqlx::query(query)
                    .bind(&run.0)
                    .bind(after)
                    .fetch_all(&mut self.link.lock().await.sql)
                    .await
                    .map_err(|e| self.fault(e))?;
                let Some(last) = rows.last() else { break };
                after = last.try_get(0).map_err(|e| self.fault(e))?;
                for row in &rows {
                    let body: Option<String> = row.try_get(1).map_err(|e| self.fault(e))?;
                    let blob: Option<Vec<u8>> = row.try_get(2).map_err(|e| self.fault(e))?;
                    if let Some(body) = body {
                        each(&run.0, &body);
                    }
                    if let Some(digest) = blob.as_deref().and_then(Digest::from_slice) {
                        named.insert(digest);
                        match self.blobs.get(digest) {
                            Ok(text) => each(&run.0, &String::from_utf8_lossy(&text)),
                            // That run is damaged already; nothing it lost can be kept for it.
                            Err(BlobError::Missing { .. } | BlobError::Altered { .. }) => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    /// Id, number of events and time of creation.
    async fn runs_by_id(&self) -> Result<Vec<(String, i64, i64)>, Fault> {
        let rows = sqlx::query("SELECT id, head_seq, created_at_ms FROM run ORDER BY id")
            .fetch_all(&mut self.link.lock().await.sql)
            .await
            .map_err(|e| self.fault(e))?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|e| self.fault(e))
    }

    /// Gives unused pages of the journal back to the file system if there are many. Returns how many bytes that were.
    /// Another process that writes meanwhile is waited for as for any other change.
    pub async fn compact(&self) -> Result<u64, Fault> {
        let mut link = self.link.lock().await;
        let mut number = async |pragma: &'static str| -> Result<i64, Fault> {
            sqlx::query_scalar(pragma).fetch_one(&mut link.sql).await.map_err(|e| self.fault(e))
        };
        let unused = number("PRAGMA freelist_count").await?;
        let (pages, page) = (number("PRAGMA page_count").await?, number("PRAGMA page_size").await?);
        if unused == 0 || unused < pages / UNUSED_SHARE {
            return Ok(0);
        }
        for step in ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] {
            sqlx::query(step).execute(&mut link.sql).await.map_err(|e| self.fault(e))?;
        }
        Ok((unused * page).cast_unsigned())
    }
}

impl Blobs {
    /// Every finished blob that is old enough to be collected, with its size in bytes.
    pub fn collectable(&self, now: SystemTime) -> Result<Vec<(Digest, u64)>, BlobError> {
        let mut found = Vec::new();
        for folder in listed(self.root())? {
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if name.len() != 2 {
                continue;
            }
            for file in listed(&folder)? {
                let rest = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if let Some((rest, _)) = rest.split_once('.') {
                    // Set aside by a process that died before it judged it.
                    drop(fs::hard_link(&file, folder.join(rest)));
                    drop(fs::remove_file(&file));
                    continue;
                }
                let Ok(digest) = format!("{name}{rest}").parse::<Digest>() else { continue };
                match fs::symlink_metadata(&file) {
                    Ok(stat) if is_old(&stat, now) => found.push((digest, stat.len())),
                    // Young, or gone meanwhile.
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(Fault::io(&file, e).into()),
                }
            }
        }
        Ok(found)
    }

    /// Removes blobs that nobody names. One that was stored again meanwhile stays.
    pub fn collect(&self, unnamed: &[Digest], now: SystemTime) -> Result<Swept, BlobError> {
        let mut swept = Swept::default();
        for digest in unnamed {
            let path = self.path(*digest);
            // Taken from its name first and judged then: whoever stores it again either freshens it before, and it is
            // put back, or finds that the name is free, and gives it a file of its own.
            let aside = path.with_added_extension(format!("{}.old", std::process::id()));
            match fs::rename(&path, &aside) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|e| Fault::io(&path, e))?,
            }
            let stat = match fs::symlink_metadata(&aside) {
                // Another one that collects took it for a leftover and put it back.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|e| Fault::io(&aside, e))?,
            };
            if is_old(&stat, now) {
                fs::remove_file(&aside).map_err(|e| Fault::io(&aside, e))?;
                swept.files += 1;
                swept.bytes += stat.len();
            } else {
                fs::rename(&aside, &path).map_err(|e| Fault::io(&path, e))?;
            }
        }
        Ok(swept)
    }
}

/// Says that a blob is about to be named again. Whether it is there to be named.
pub(super) fn freshen(path: &Path) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    let freshened = File::open(path).is_ok_and(|file| rustix::fs::futimens(&file, &times).is_ok());
    freshened && path.exists()
}

/// What has a time from the future is not old.
fn is_old(stat: &fs::Metadata, now: SystemTime) -> bool {
    stat.modified().ok().and_then(|at| now.duration_since(at).ok()).is_some_and(|age| age >= YOUNGEST)
}

fn listed(folder: &Path) -> Result<Vec<std::path::PathBuf>, Fault> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| Fault::io(folder, e))?,
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|e| Fault::io(folder, e))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Now, two hours from when a blob was written.
    fn later(blobs: &Blobs, digest: Digest) -> SystemTime {
        fs::metadata(blobs.path(digest)).unwrap().modified().unwrap() + 2 * YOUNGEST
    }

    fn aged(blobs: &Blobs, digest: Digest, now: SystemTime) {
        File::open(blobs.path(digest)).unwrap().set_modified(now - 3 * YOUNGEST).unwrap();
    }

    #[test]
    fn a_blob_that_is_stored_again_is_young_again() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::at(dir.path());
        let digest = blobs.put(b"the same again").unwrap();
        let now = fs::metadata(blobs.path(digest)).unwrap().modified().unwrap();
        assert_eq!(blobs.collectable(now).unwrap(), []);
        aged(&blobs, digest, now);
        assert_eq!(blobs.collectable(now).unwrap(), [(digest, 14)]);
        // Somebody is about to name it, after it was found that nobody does.
        assert_eq!(blobs.put(b"the same again").unwrap(), digest);
        assert_eq!(blobs.collect(&[digest], now).unwrap(), Swept::default());
        assert_eq!(blobs.get(digest).unwrap(), b"the same again");
        assert_eq!(blobs.collect(&[digest], later(&blobs, digest)).unwrap(), Swept { files: 1, bytes: 14 });
        assert!(matches!(blobs.get(digest), Err(BlobError::Missing { .. })));
        assert_eq!(blobs.put(b"the same again").unwrap(), digest);
    }

    #[test]
    fn what_was_set_aside_by_a_process_that_died_is_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::at(dir.path());
        let digest = blobs.put(b"set aside").unwrap();
        let path = blobs.path(digest);
        fs::rename(&path, path.with_added_extension("1.old")).unwrap();
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(blobs.collectable(now).unwrap(), []);
        assert_eq!(blobs.get(digest).unwrap(), b"set aside");
    }
}
