//! Writes what was salvaged into a state folder of its own, where every command can read it.
//! It must never write to the folder it was salvaged from, nor replace a journal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::blobs::{BlobError, Blobs};
use super::chain::Head;
use super::digest::Digest;
use super::fault::Fault;
use super::open::{JOURNAL_FILE, OpenError, Options, Store};
use super::salvage::{Salvage, SalvagedRun};

/// What listings show for a run that lost its end.
const CUT_SHORT: &str = "salvaged";

/// What a rewriting has written and left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewritten {
    /// Runs that are in the new journal.
    pub runs: usize,
    /// Ids of runs that have no first event, without which nothing can be made of the others.
    pub left_out: Vec<String>,
    /// Large bodies, logs and outputs that are in the new folder.
    pub blobs: usize,
    /// Those that are damaged, and therefore are not.
    pub damaged: Vec<Digest>,
}

/// Why nothing, or not everything, was written.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// There is a journal in the folder. Nothing was written.
    #[error("there is already a journal at `{0}`")]
    Taken(PathBuf),
    /// The new journal could not be made.
    #[error("the new journal could not be made")]
    Open(#[from] OpenError),
    /// A large body could not be copied.
    #[error("the large bodies could not be copied")]
    Blob(#[from] BlobError),
    /// The new journal could not be written.
    #[error("the new journal could not be written")]
    Fault(#[from] Fault),
}

impl Salvage {
    /// Writes all runs that have their first event to a new journal in the folder `to`, and the large bodies that are
    /// whole, taken from the state folder `from`. The events keep their hashes, so the new journal proves as much as the
    /// old one. Messages that no event came from are not taken along.
    pub async fn write_to(&self, from: &Path, to: &Path) -> Result<Rewritten, RewriteError> {
        let db = to.join(JOURNAL_FILE);
        if fs::exists(&db).map_err(|e| Fault::io(&db, e))? {
            return Err(RewriteError::Taken(db));
        }
        let store = Store::open(to, Options::default()).await?;
        let mut done = Rewritten::default();
        copy_blobs(&Blobs::at(from.join("blobs")), store.blobs(), &mut done)?;
        {
            let mut held = store.link.lock().await;
            let link = &mut *held;
            let mut change = link.sql.begin().await.map_err(|e| store.fault(e))?;
            for run in &self.runs {
                match run.events.last() {
                    Some(last) if run.events[0].seq == 1 => {
                        let head = Head { seq: last.seq, hash: last.hash };
                        insert(&mut change, run, head).await.map_err(|e| store.fault(e))?;
                        done.runs += 1;
                    }
                    _ => done.left_out.push(run.id.clone()),
                }
            }
            change.commit().await.map_err(|e| store.fault(e))?;
        }
        store.close().await?;
        Ok(done)
    }
}

async fn insert(sql: &mut SqliteConnection, run: &SalvagedRun, head: Head) -> Result<(), sqlx::Error> {
    let row = run.row.as_ref();
    // Without its row the run has no known identity, and a check of the new journal will say so.
    let (blueprint, digest) = row.map_or(("?", ""), |row| (&row.blueprint, &row.digest));
    let created = row.map_or(run.events[0].at_ms, |row| row.created_at_ms);
    let status = row.filter(|_| run.stopped.is_none()).map_or(CUT_SHORT, |row| &row.status);
    sqlx::query(
        "INSERT INTO run (id, blueprint, digest, created_at_ms, status, head_seq, head_hash) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&run.id)
    .bind(blueprint)
    .bind(digest)
    .bind(created)
    .bind(status)
    .bind(head.seq as i64)
    .bind(head.hash.as_bytes().as_slice())
    .execute(&mut *sql)
    .await?;
    for event in &run.events {
        // Every body stands in its row: where it is kept is no part of its hash.
        sqlx::query(
            "INSERT INTO event (run, seq, v, at_ms, kind, body, blob, hash) VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
        )
        .bind(&run.id)
        .bind(event.seq as i64)
        .bind(event.v)
        .bind(event.at_ms)
        .bind(&event.kind)
        .bind(&event.body)
        .bind(event.hash.as_bytes().as_slice())
        .execute(&mut *sql)
        .await?;
    }
    Ok(())
}

fn copy_blobs(from: &Blobs, to: &Blobs, done: &mut Rewritten) -> Result<(), BlobError> {
    for digest in from.all()? {
        let mut copy = to.writer()?;
        let copied = from.open(digest).and_then(|mut blob| {
            io::copy(&mut blob, &mut copy).map_err(|e| match e.kind() {
                io::ErrorKind::InvalidData => BlobError::Altered { digest, path: from.path(digest) },
                _ => Fault::io(&from.path(digest), e).into(),
            })
        });
        match copied {
            Ok(_) => {
                copy.finish()?;
                done.blobs += 1;
            }
            Err(e) if e.is_damage() => done.damaged.push(digest),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

impl Blobs {
    /// The digests of all blobs, by the names of their files.
    fn all(&self) -> Result<Vec<Digest>, Fault> {
        let mut all = Vec::new();
        let Some(root) = self.path(Digest::of(b"")).parent().and_then(Path::parent).map(Path::to_owned)
        else {
            return Ok(all);
        };
        for folder in names(&root)? {
            for file in names(&root.join(&folder))? {
                all.extend(format!("{folder}{file}").parse::<Digest>().ok());
            }
        }
        all.sort_unstable();
        Ok(all)
    }
}

fn names(folder: &Path) -> Result<Vec<String>, Fault> {
    match fs::read_dir(folder) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        other => other
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            })
            .map_err(|e| Fault::io(folder, e)),
    }
}
