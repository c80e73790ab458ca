//! Messages to a run from other processes: approvals, cancel requests. The run's driver turns them into events.
//! It must never mark a message as taken apart from the append of the events it became.

use super::fault::Fault;
use super::open::Store;

/// Identifies a message. Later messages have larger ids, and none is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(super) i64);

/// A message that no event came from yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// For `Append::taking`.
    pub id: MessageId,
    /// When it was posted, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The poster's text. It comes from another process: data, never trusted.
    pub body: String,
}

/// Why a message could not be posted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// There is no such run. Nothing was written.
    #[error("there is no run `{0}`")]
    UnknownRun(String),
    /// The journal could not be written, or not with certainty: the message may be there.
    #[error("the message could not be entered in the journal")]
    Storage(#[from] Fault),
}

impl Store {
    /// Leaves a message for whoever drives `run`, now or later. Needs no lease.
    pub async fn post(&self, run: &str, body: &str, at_ms: i64) -> Result<MessageId, PostError> {
        let done = sqlx::query("INSERT INTO inbox (run, at_ms, body) VALUES (?, ?, ?)")
            .bind(run)
            .bind(at_ms)
            .bind(body)
            .execute(&mut self.link.lock().await.sql)
            .await
            .map_err(|error| match error.as_database_error() {
                Some(e) if e.is_foreign_key_violation() => PostError::UnknownRun(run.to_owned()),
                _ => self.fault(error).into(),
            })?;
        self.note_commit();
        Ok(MessageId(done.last_insert_rowid()))
    }

    /// The messages of `run` that no append has taken, the oldest first. Reading them takes nothing.
    pub async fn pending(&self, run: &str) -> Result<Vec<Message>, Fault> {
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT id, at_ms, body FROM inbox WHERE run = ? AND taken_seq IS NULL ORDER BY id",
        )
        .bind(run)
        .fetch_all(&mut self.link.lock().await.sql)
        .await
        .map_err(|e| self.fault(e))?;
        Ok(rows.into_iter().map(|(id, at_ms, body)| Message { id: MessageId(id), at_ms, body }).collect())
    }
}
