//! Reads events back, whole or in pages, with the bodies that were kept in files.
//! It must never hold the connection while the caller works on a page.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::blobs::{BlobError, Blobs};
use super::chain::Head;
use super::digest::Digest;
use super::event::StoredEvent;
use super::fault::Fault;
use super::open::Store;

/// Why a run could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such run.
    #[error("there is no run `{0}`")]
    UnknownRun(String),
    /// A row does not have the shape of an event. `verify` names the place, `salvage` what can be kept.
    #[error("an event of run `{run}` after {after} has an unreadable row")]
    Row {
        /// The run.
        run: String,
        /// The last event that could be read.
        after: u64,
    },
    /// The body of an event is missing or altered.
    #[error("the body of event {seq} of run `{run}` is not readable")]
    Body {
        /// The run.
        run: String,
        /// The event.
        seq: u64,
        /// Why.
        #[source]
        source: BlobError,
    },
    /// The journal could not be read.
    #[error("the journal could not be read")]
    Fault(#[from] Fault),
}

const PAGE: &str = "SELECT v, seq, at_ms, kind, body, blob, hash FROM event \
     WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";

/// A row before its large body was fetched.
pub(super) struct Envelope {
    pub(super) event: StoredEvent,
    pub(super) blob: Option<Digest>,
}

impl Store {
    /// All events of a run, in order. Their hashes are not checked: see `ChainCheck` and `verify`.
    pub async fn read(&self, run: &str) -> Result<Vec<StoredEvent>, ReadError> {
        let events = self.read_from(run, 1, usize::MAX).await?;
        if events.is_empty() {
            // Tells a run without events from none at all.
            self.head(&mut self.link.lock().await.sql, run).await?;
        }
        Ok(events)
    }

    /// At most `limit` events of a run from number `seq` on; fewer, or none, at its present end. For followers.
    pub async fn read_from(&self, run: &str, seq: u64, limit: usize) -> Result<Vec<StoredEvent>, ReadError> {
        let after = seq.saturating_sub(1);
        let rows = {
            let mut link = self.link.lock().await;
            page(&mut link.sql, run, after, limit).await.map_err(|e| self.fault(e))?
        };
        self.still_unwritten()?;
        let mut events: Vec<StoredEvent> = Vec::with_capacity(rows.len());
        for row in &rows {
            let last = events.last().map_or(after, |e| e.seq);
            let unreadable = || ReadError::Row { run: run.to_owned(), after: last };
            let envelope = Envelope::of(row).ok_or_else(unreadable)?;
            let seq = envelope.event.seq;
            let whole = envelope.whole(&self.blobs);
            events.push(whole.map_err(|source| ReadError::Body { run: run.to_owned(), seq, source })?);
        }
        Ok(events)
    }

    pub(super) async fn head(&self, sql: &mut SqliteConnection, run: &str) -> Result<Head, ReadError> {
        let row = sqlx::query("SELECT head_seq, head_hash FROM run WHERE id = ?")
            .bind(run)
            .fetch_optional(sql)
            .await
            .map_err(|e| self.fault(e))?
            .ok_or_else(|| ReadError::UnknownRun(run.to_owned()))?;
        let head = || {
            Some(Head { seq: u64::try_from(row.try_get::<i64, _>(0).ok()?).ok()?, hash: digest(&row, 1)? })
        };
        head().ok_or_else(|| ReadError::Row { run: run.to_owned(), after: 0 })
    }
}

pub(super) async fn page(
    sql: &mut SqliteConnection,
    run: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query(PAGE)
        .bind(run)
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(sql)
        .await
}

impl Envelope {
    /// The row as an event, or nothing if any column has a shape the journal never writes.
    pub(super) fn of(row: &SqliteRow) -> Option<Self> {
        let body: Option<String> = row.try_get(4).ok()?;
        let blob: Option<&[u8]> = row.try_get(5).ok()?;
        let blob = match blob {
            Some(bytes) => Some(Digest::from_slice(bytes)?),
            None => None,
        };
        if body.is_some() == blob.is_some() {
            return None;
        }
        let event = StoredEvent {
            v: row.try_get(0).ok()?,
            seq: u64::try_from(row.try_get::<i64, _>(1).ok()?).ok()?,
            at_ms: row.try_get(2).ok()?,
            kind: row.try_get(3).ok()?,
            body: body.unwrap_or_default(),
            hash: digest(row, 6)?,
        };
        Some(Self { event, blob })
    }

    /// The event with its body, wherever that was kept.
    pub(super) fn whole(self, blobs: &Blobs) -> Result<StoredEvent, BlobError> {
        let Self { mut event, blob } = self;
        if let Some(digest) = blob {
            event.body = String::from_utf8(blobs.get(digest)?).map_err(|_| BlobError::NotText { digest })?;
        }
        Ok(event)
    }
}

pub(super) fn digest(row: &SqliteRow, column: usize) -> Option<Digest> {
    row.try_get::<&[u8], _>(column).ok().and_then(Digest::from_slice)
}
