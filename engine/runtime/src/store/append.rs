//! Appends events: one call is one transaction, one statement and, at `SyncLevel::Full`, one sync.
//! It must never write for a lease that was taken over, nor anything but the events that were due next.

use std::fmt::Write as _;

use super::blobs::BlobError;
use super::chain::{ENVELOPE_VERSION, Head};
use super::event::NewEvent;
use super::fault::Fault;
use super::inbox::MessageId;
use super::lease::Lease;
use super::open::Store;
use super::read::ReadError;

/// Bodies over this many bytes are kept in a file of their own; the row then holds its digest. Rows much larger
/// than a page make every commit and every copy of the log slower.
pub const INLINE_BODY_LIMIT: usize = 16 * 1024;

/// What to append.
#[derive(Debug, Clone, Copy, Default)]
pub struct Append<'a> {
    /// The sequence number the first event must get; 1 in a new run.
    pub first_seq: u64,
    /// The events, in order. At least one.
    pub events: &'a [NewEvent<'a>],
    /// Messages that became these events and are marked as taken with them.
    pub taking: &'a [MessageId],
    /// The status to show in listings from now on. `None` keeps the one shown.
    pub status: Option<&'a str>,
    /// Bodies up to this many bytes stand in their rows; `None` is [`INLINE_BODY_LIMIT`]. More pays where a body
    /// comes once in a run and its own file would cost several syncs.
    pub inline: Option<usize>,
}

/// The head of the run after an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The last event written.
    pub head: Head,
}

/// Why nothing is known to have been appended.
///
/// After every variant but `Storage` nothing was written. After `Storage` the events **may be on the disk**: a
/// commit whose sync failed can still be found by the next process. The caller must then forget what it holds
/// in memory, open the journal again and read the run, and must not act on the assumption of either outcome.
/// The same holds for a call whose future was dropped. Events of earlier calls stay in any case.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The append holds no event.
    #[error("an append of no events to run `{run}`")]
    Empty {
        /// The run.
        run: String,
    },
    /// Another owner took the run over, or the lease was released. Nothing was written.
    #[error("the lease {epoch} on run `{run}` is no longer held")]
    Fenced {
        /// The run.
        run: String,
        /// The epoch that is stale.
        epoch: i64,
    },
    /// The journal stands elsewhere than the caller thinks. Nothing was written.
    #[error("event {expected} of run `{run}` was to be written, but {due} is due")]
    UnexpectedSeq {
        /// The run.
        run: String,
        /// The number the caller expected to write first.
        expected: u64,
        /// The number that is due.
        due: u64,
    },
    /// The last event is the expected one by its number, but not by its hash: the journal was changed by something
    /// that is no engine. Nothing was written; `verify` tells more.
    #[error("the journal of run `{run}` was altered since it was last read")]
    Altered {
        /// The run.
        run: String,
    },
    /// One of the messages was taken already, or is none of this run's. Nothing was written.
    #[error("a message to run `{run}` was taken before")]
    AlreadyTaken {
        /// The run.
        run: String,
    },
    /// The head of the run could not be read. Nothing was written.
    #[error("the head of run `{run}` is not readable")]
    Head {
        /// The run.
        run: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A large body could not be stored. Nothing was written.
    #[error("a large body could not be stored")]
    Body(#[from] BlobError),
    /// The journal could not be written, or not with certainty: see above.
    #[error("the append to run `{run}` failed, and its events may or may not be on the disk")]
    Storage {
        /// The run.
        run: String,
        /// Why.
        #[source]
        source: Fault,
    },
}

const APPEND: &str = "INSERT INTO append (run, epoch, v, head_seq, head_hash, last_seq, last_hash, status, taking, events) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

impl Store {
    /// Appends all events or none. The lease and the expected number are checked in the same transaction.
    pub async fn append(&self, lease: &Lease, append: Append<'_>) -> Result<Appended, AppendError> {
        let run = lease.run();
        if append.events.is_empty() {
            return Err(AppendError::Empty { run: run.to_owned() });
        }
        let mut held = self.link.lock().await;
        let link = &mut *held;
        // Taken out, not read: if this call ends early, the next one asks the file where it stands.
        let known = link.heads.remove(run);
        let old = match known {
            Some(head) if head.seq + 1 == append.first_seq => head,
            _ => {
                let read = self.head(&mut link.sql, run).await;
                read.map_err(|source| AppendError::Head { run: run.to_owned(), source })?
            }
        };
        if old.seq + 1 != append.first_seq {
            let (expected, due) = (append.first_seq, old.seq + 1);
            return Err(AppendError::UnexpectedSeq { run: run.to_owned(), expected, due });
        }
        let (new, rows) = self.rows(old, run, append.events, append.inline.unwrap_or(INLINE_BODY_LIMIT))?;
        let taking = (!append.taking.is_empty()).then(|| id_list(append.taking));
        let done = sqlx::query(APPEND)
            .bind(run)
            .bind(lease.epoch())
            .bind(ENVELOPE_VERSION)
            .bind(old.seq as i64)
            .bind(old.hash.as_bytes().as_slice())
            .bind(new.seq as i64)
            .bind(new.hash.as_bytes().as_slice())
            .bind(append.status)
            .bind(taking)
            .bind(rows)
            .execute(&mut link.sql)
            .await;
        match done {
            Ok(_) => {
                // The entry was taken out above, so its key must be made again; a run id is short.
                link.heads.insert(run.to_owned(), new);
                if let Err(error) = self.anchors.note(&mut link.anchors, run, new) {
                    // The events are durable. An anchor that stays behind finds less, and nothing wrong.
                    tracing::warn!(%error, run, "the anchor of the run could not be written");
                }
                self.note_commit();
                Ok(Appended { head: new })
            }
            Err(error) => Err(self.explain(&mut link.sql, lease, append.first_seq, error).await),
        }
    }

    /// The events as the JSON array the journal's trigger reads: `[at, kind, body, blob, hash]` each.
    fn rows(
        &self,
        old: Head,
        run: &str,
        events: &[NewEvent<'_>],
        inline: usize,
    ) -> Result<(Head, String), BlobError> {
        let bytes: usize = events.iter().map(|e| e.kind.len() + e.body.len().min(inline) * 5 / 4 + 128).sum();
        let mut rows = String::with_capacity(bytes);
        let mut head = old;
        for event in events {
            head = head.next(run, ENVELOPE_VERSION, event.at_ms, event.kind, event.body);
            rows.push(if rows.is_empty() { '[' } else { ',' });
            let (kind, hash) = (json_text(event.kind), head.hash);
            // Writing to a string cannot fail.
            let _ = if event.body.len() <= inline {
                write!(rows, "[{},{kind},{},null,\"{hash}\"]", event.at_ms, json_text(event.body))
            } else {
                let blob = self.blobs.put(event.body.as_bytes())?;
                write!(rows, "[{},{kind},null,\"{blob}\",\"{hash}\"]", event.at_ms)
            };
        }
        rows.push(']');
        Ok((head, rows))
    }

    async fn explain(
        &self,
        sql: &mut sqlx::SqliteConnection,
        lease: &Lease,
        expected: u64,
        error: sqlx::Error,
    ) -> AppendError {
        let run = lease.run().to_owned();
        let refusal = error.as_database_error().map(|e| e.message().to_owned());
        match refusal.as_deref() {
            Some("append: fenced") => AppendError::Fenced { run, epoch: lease.epoch() },
            Some("append: taken") => AppendError::AlreadyTaken { run },
            Some("append: moved") => match self.head(sql, &run).await {
                Ok(head) if head.seq + 1 == expected => AppendError::Altered { run },
                Ok(head) => AppendError::UnexpectedSeq { run, expected, due: head.seq + 1 },
                Err(source) => AppendError::Head { run, source },
            },
            _ => AppendError::Storage { run, source: self.fault(error) },
        }
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

fn id_list(ids: &[MessageId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    format!("[{}]", ids.join(","))
}
