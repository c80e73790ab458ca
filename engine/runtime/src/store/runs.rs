//! The list of runs: starting one, listing them, finding one by the beginning of its id.
//! It must never treat the cached status as the truth about a run.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use super::chain::{Head, Identity};
use super::fault::Fault;
use super::lease::{Lease, insert_first};
use super::open::Store;
use super::owner::Owner;
use super::read::{ReadError, digest};

/// A run to start.
#[derive(Debug, Clone, Copy)]
pub struct NewRun<'a> {
    /// The facts that never change.
    pub identity: Identity<'a>,
    /// The status to show in listings.
    pub status: &'a str,
}

/// Why a run could not be started. Nothing was written, except possibly after `Storage`.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is a run of this id.
    #[error("there is already a run `{0}`")]
    Exists(String),
    /// The journal could not be written, or not with certainty.
    #[error("the run could not be entered in the journal")]
    Storage(#[from] Fault),
}

/// A run as the listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// The run's id.
    pub id: String,
    /// Name of the blueprint.
    pub blueprint: String,
    /// Digest of the compiled blueprint.
    pub digest: String,
    /// Creation time in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// The status that was last cached.
    pub status: String,
    /// The last event.
    pub head: Head,
}

/// Which runs an id's beginning fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Exactly one, or one whose id is the whole text.
    One(String),
    /// No run.
    None,
    /// Several, in the order of their ids; at most ten are named.
    Several(Vec<String>),
}

impl RunSummary {
    /// The facts that never change, for a `ChainCheck`.
    pub fn identity(&self) -> Identity<'_> {
        Identity {
            id: &self.id,
            blueprint: &self.blueprint,
            digest: &self.digest,
            created_at_ms: self.created_at_ms,
        }
    }
}

/// The columns `summary` reads, in its order.
macro_rules! columns {
    () => {
        "id, blueprint, digest, created_at_ms, status, head_seq, head_hash"
    };
}

impl Store {
    /// Enters a run together with its first lease, in one transaction.
    pub async fn create(&self, run: NewRun<'_>, owner: &Owner, now_ms: i64) -> Result<Lease, CreateError> {
        let mut link = self.link.lock().await;
        let head = Head::genesis(run.identity);
        let id = run.identity.id;
        let mut change = link.sql.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.fault(e))?;
        sqlx::query(
            "INSERT INTO run (id, blueprint, digest, created_at_ms, status, head_seq, head_hash) \
             VALUES (?, ?, ?, ?, ?, 0, ?)",
        )
        .bind(id)
        .bind(run.identity.blueprint)
        .bind(run.identity.digest)
        .bind(run.identity.created_at_ms)
        .bind(run.status)
        .bind(head.hash.as_bytes().as_slice())
        .execute(&mut *change)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(e) if e.is_unique_violation() => CreateError::Exists(id.to_owned()),
            _ => self.fault(error).into(),
        })?;
        let lease = insert_first(&mut change, id, owner, now_ms).await.map_err(|e| self.fault(e))?;
        change.commit().await.map_err(|e| self.fault(e))?;
        link.heads.insert(id.to_owned(), head);
        self.note_commit();
        Ok(lease)
    }

    /// All runs, the newest first.
    pub async fn runs(&self) -> Result<Vec<RunSummary>, ReadError> {
        let rows =
            sqlx::query(concat!("SELECT ", columns!(), " FROM run ORDER BY created_at_ms DESC, id DESC"))
                .fetch_all(&mut self.link.lock().await.sql)
                .await
                .map_err(|e| self.fault(e))?;
        self.still_unwritten()?;
        rows.iter().map(|row| self.summary(row)).collect()
    }

    /// One run.
    pub async fn run(&self, id: &str) -> Result<RunSummary, ReadError> {
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM run WHERE id = ?"))
            .bind(id)
            .fetch_optional(&mut self.link.lock().await.sql)
            .await
            .map_err(|e| self.fault(e))?;
        self.summary(&row.ok_or_else(|| ReadError::UnknownRun(id.to_owned()))?)
    }

    fn summary(&self, row: &SqliteRow) -> Result<RunSummary, ReadError> {
        let id: String = row.try_get(0).map_err(|e| self.fault(e))?;
        let summary = || {
            Some(RunSummary {
                id: id.clone(),
                blueprint: row.try_get(1).ok()?,
                digest: row.try_get(2).ok()?,
                created_at_ms: row.try_get(3).ok()?,
                status: row.try_get(4).ok()?,
                head: Head {
                    seq: u64::try_from(row.try_get::<i64, _>(5).ok()?).ok()?,
                    hash: digest(row, 6)?,
                },
            })
        };
        summary().ok_or(ReadError::Row { run: id.clone(), after: 0 })
    }

    /// The run whose id is `prefix` or begins with it.
    pub async fn find(&self, prefix: &str) -> Result<Lookup, Fault> {
        let mut ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM run WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 10",
        )
        .bind(prefix)
        .fetch_all(&mut self.link.lock().await.sql)
        .await
        .map_err(|e| self.fault(e))?;
        // The ids come in order, so the whole text, if it is an id, comes first.
        Ok(match ids.len() {
            0 => Lookup::None,
            1 => Lookup::One(ids.remove(0)),
            _ if ids[0] == prefix => Lookup::One(ids.remove(0)),
            _ => Lookup::Several(ids),
        })
    }
}
