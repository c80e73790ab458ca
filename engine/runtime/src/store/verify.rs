//! Proves that a run's events are the ones that were written, all of them and in order, while they are read.
//! It must never call a run sound on the strength of a part of it.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::anchor::Anchored;
use super::blobs::BlobError;
use super::chain::{Break, ChainCheck, Head, Identity};
use super::digest::Digest;
use super::event::StoredEvent;
use super::open::Store;
use super::read::{Envelope, ReadError, digest, page};

/// Rows that are held at once.
const PAGE_EVENTS: usize = 256;

/// What the check of a run found. The run's cached status is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Everything is as it was written.
    Verified {
        /// Number of events.
        events: u64,
        /// The last event.
        head: Head,
        /// Whether something outside of the database file names an event of this run that is still there. Where nothing
        /// does, a lost end of the log cannot be told from one that never was.
        anchored: bool,
    },
    /// The events before `seq` are as they were written, and then they are not.
    Broken {
        /// The first event that is missing, altered or too many.
        seq: u64,
        /// What is wrong with it.
        reason: Break,
    },
}

/// The row of a run.
struct Named<'a> {
    identity: Identity<'a>,
    last: i64,
    last_hash: Digest,
}

/// A walk along the chain of a run.
struct Walk<'a> {
    run: &'a str,
    anchored: &'a Anchored,
    /// The hash of the event that the anchor names, once it was met.
    met: Option<Digest>,
    broken: Option<(u64, Break)>,
    /// Whether the events behind a break are still wanted.
    goes_on: bool,
}

impl Store {
    /// Checks every event of a run, the bodies in files, that the run ends where its row says, and that what its anchor
    /// names is there.
    pub async fn verify(&self, run: &str) -> Result<Verdict, ReadError> {
        self.walk(run, false, |_| Ok(())).await
    }

    /// Gives all events of a run to `each`, in order, and says what the check of them found. Only a few are held in
    /// memory at once. Behind a break the events go on as long as they can be read; whoever acts on them must look at
    /// the verdict first. `each` must not use this store.
    pub async fn replay<E: From<ReadError>>(
        &self,
        run: &str,
        each: impl FnMut(StoredEvent) -> Result<(), E>,
    ) -> Result<Verdict, E> {
        self.walk(run, true, each).await
    }

    async fn walk<E: From<ReadError>>(
        &self,
        run: &str,
        goes_on: bool,
        each: impl FnMut(StoredEvent) -> Result<(), E>,
    ) -> Result<Verdict, E> {
        // Before the journal is read: whatever the anchor names now is in the journal already.
        let anchored = self.anchors.read(run).map_err(ReadError::from)?;
        let mut link = self.link.lock().await;
        // One snapshot: another process may append between reading the run's row and its events.
        let mut snapshot = link.sql.begin().await.map_err(|e| ReadError::from(self.fault(e)))?;
        let mut walk = Walk { run, anchored: &anchored, met: None, broken: None, goes_on };
        let verdict = walk.go(self, &mut snapshot, each).await;
        snapshot.rollback().await.map_err(|e| ReadError::from(self.fault(e)))?;
        self.still_unwritten().map_err(ReadError::from)?;
        verdict
    }
}

impl Walk<'_> {
    async fn go<E: From<ReadError>>(
        &mut self,
        store: &Store,
        sql: &mut SqliteConnection,
        mut each: impl FnMut(StoredEvent) -> Result<(), E>,
    ) -> Result<Verdict, E> {
        let fault = |e| ReadError::from(store.fault(e));
        let row =
            sqlx::query("SELECT blueprint, digest, created_at_ms, head_seq, head_hash FROM run WHERE id = ?")
                .bind(self.run)
                .fetch_optional(&mut *sql)
                .await
                .map_err(fault)?
                .ok_or_else(|| ReadError::UnknownRun(self.run.to_owned()))?;
        let named = || {
            let (blueprint, name) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
            let identity =
                Identity { id: self.run, blueprint, digest: name, created_at_ms: row.try_get(2).ok()? };
            Some(Named { identity, last: row.try_get(3).ok()?, last_hash: digest(&row, 4)? })
        };
        let Some(named) = named() else {
            return Ok(Verdict::Broken { seq: 0, reason: Break::Unreadable });
        };
        let mut check = ChainCheck::new(named.identity);
        let mut last = 0;
        loop {
            let rows = page(sql, self.run, last, PAGE_EVENTS).await.map_err(fault)?;
            let full = rows.len() == PAGE_EVENTS;
            for row in rows {
                let due = check.head().seq + 1;
                let event = match Envelope::of(&row).map(|e| (e.blob, e.whole(store.blobs()))) {
                    Some((_, Ok(event))) => event,
                    // Nothing can be given to the caller from here on.
                    None => return Ok(self.ends_at(due, Break::Unreadable)),
                    Some((Some(body), Err(e))) if e.is_damage() => {
                        return Ok(self.ends_at(due, Break::Body(body)));
                    }
                    Some((_, Err(source))) => {
                        return Err(ReadError::Body { run: self.run.to_owned(), seq: due, source }.into());
                    }
                };
                drop(row);
                last = event.seq;
                if self.broken.is_none() {
                    match check.admit(&event) {
                        Ok(()) if self.anchored.seq() == Some(event.seq) => self.met = Some(event.hash),
                        Ok(()) => {}
                        Err(reason) => self.broken = Some((due, reason)),
                    }
                }
                if self.broken.is_some() && !self.goes_on {
                    break;
                }
                each(event)?;
            }
            if !full || (self.broken.is_some() && !self.goes_on) {
                break;
            }
        }
        if let Some((seq, reason)) = self.broken.take() {
            return Ok(Verdict::Broken { seq, reason });
        }
        // Rows numbered 0 or below are outside the pages above, and no append writes them.
        let strays: i64 = sqlx::query_scalar("SELECT count(*) FROM event WHERE run = ? AND seq < 1")
            .bind(self.run)
            .fetch_one(sql)
            .await
            .map_err(fault)?;
        if strays != 0 {
            return Ok(Verdict::Broken { seq: 0, reason: Break::OutOfSequence { expected: 1, found: 0 } });
        }
        let head = check.head();
        if named.last != head.seq as i64 || named.last_hash != head.hash {
            let reason = Break::WrongEnd { expected: named.last, found: head.seq };
            return Ok(Verdict::Broken { seq: head.seq + 1, reason });
        }
        if let Some((seq, reason)) = self.anchored.contradicts(head.seq, self.met) {
            return Ok(Verdict::Broken { seq, reason });
        }
        Ok(Verdict::Verified { events: head.seq, head, anchored: self.met.is_some() })
    }

    /// The verdict when no further event can be read.
    fn ends_at(&mut self, seq: u64, reason: Break) -> Verdict {
        let (seq, reason) = self.broken.take().unwrap_or((seq, reason));
        Verdict::Broken { seq, reason }
    }
}

impl BlobError {
    /// The bytes are gone or not the ones that were stored, as opposed to a disk that does not answer.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Altered { .. } | Self::NotText { .. })
    }
}
