//! Proves that a run's events are the ones that were written, all of them and in order.
//! It must never call a run sound on the strength of a part of it.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::blobs::BlobError;
use super::chain::{Break, ChainCheck, Head, Identity};
use super::open::Store;
use super::read::{Envelope, ReadError, digest, page};

const PAGE_EVENTS: usize = 1_000;

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
    },
    /// The events before `seq` are as they were written, and then they are not.
    Broken {
        /// The first event that is missing, altered or too many.
        seq: u64,
        /// What is wrong with it.
        reason: Break,
    },
}

impl Store {
    /// Checks every event of a run, the bodies in files, and that the run ends where its row says.
    pub async fn verify(&self, run: &str) -> Result<Verdict, ReadError> {
        let mut link = self.link.lock().await;
        // One snapshot: another process may append between reading the run's row and its events.
        let mut snapshot = link.sql.begin().await.map_err(|e| self.fault(e))?;
        let verdict = self.walk(&mut snapshot, run).await;
        snapshot.rollback().await.map_err(|e| self.fault(e))?;
        verdict
    }

    async fn walk(&self, sql: &mut SqliteConnection, run: &str) -> Result<Verdict, ReadError> {
        let row =
            sqlx::query("SELECT blueprint, digest, created_at_ms, head_seq, head_hash FROM run WHERE id = ?")
                .bind(run)
                .fetch_optional(&mut *sql)
                .await
                .map_err(|e| self.fault(e))?
                .ok_or_else(|| ReadError::UnknownRun(run.to_owned()))?;
        let identity = || {
            Some(Identity {
                id: run,
                blueprint: row.try_get(0).ok()?,
                digest: row.try_get(1).ok()?,
                created_at_ms: row.try_get(2).ok()?,
            })
        };
        let ends = || Some((row.try_get::<i64, _>(3).ok()?, digest(&row, 4)?));
        let (Some(identity), Some((last, last_hash))) = (identity(), ends()) else {
            return Ok(Verdict::Broken { seq: 0, reason: Break::Unreadable });
        };
        let mut check = ChainCheck::new(identity);
        loop {
            let rows = page(sql, run, check.head().seq, PAGE_EVENTS).await.map_err(|e| self.fault(e))?;
            for row in &rows {
                let due = check.head().seq + 1;
                let admitted = match Envelope::of(row).map(|e| (e.blob, e.whole(&self.blobs))) {
                    None => Err(Break::Unreadable),
                    Some((_, Ok(event))) => check.admit(&event),
                    Some((Some(body), Err(e))) if e.is_damage() => Err(Break::Body(body)),
                    Some((_, Err(source))) => {
                        return Err(ReadError::Body { run: run.to_owned(), seq: due, source });
                    }
                };
                if let Err(reason) = admitted {
                    return Ok(Verdict::Broken { seq: due, reason });
                }
            }
            if rows.len() < PAGE_EVENTS {
                break;
            }
        }
        // Rows numbered 0 or below are outside the pages above, and no append writes them.
        let strays: i64 = sqlx::query_scalar("SELECT count(*) FROM event WHERE run = ? AND seq < 1")
            .bind(run)
            .fetch_one(sql)
            .await
            .map_err(|e| self.fault(e))?;
        if strays != 0 {
            return Ok(Verdict::Broken { seq: 0, reason: Break::OutOfSequence { expected: 1, found: 0 } });
        }
        let head = check.head();
        if last != head.seq as i64 || last_hash != head.hash {
            let reason = Break::WrongEnd { expected: last, found: head.seq };
            return Ok(Verdict::Broken { seq: head.seq + 1, reason });
        }
        Ok(Verdict::Verified { events: head.seq, head })
    }
}

impl BlobError {
    /// The bytes are gone or not the ones that were stored, as opposed to a disk that does not answer.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Altered { .. } | Self::NotText { .. })
    }
}
