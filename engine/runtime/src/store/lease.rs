//! Leases: at most one process drives a run, and a dead one is replaced at once.
//! It must never give one epoch twice; the epoch is what fences a replaced owner's appends.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::fault::Fault;
use super::open::{Link, Store};
use super::owner::{Life, Owner};

/// A lease whose last heartbeat is older than this many milliseconds may be taken over. Its owner should send one
/// at least three times as often.
pub const LEASE_TTL_MS: i64 = 15_000;

/// The right to append to a run, until someone takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    run: String,
    epoch: i64,
}

/// Who has a run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The owner.
    pub by: Owner,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// Milliseconds since the last heartbeat. Negative if the owner's clock is ahead.
    pub heartbeat_age_ms: i64,
}

impl Held {
    /// Whether the owner still drives the run, as far as `seer`, which must be the calling process, can tell: by the
    /// process itself where it is in sight, and by its last heartbeat where it is not.
    pub fn lives(&self, seer: &Owner) -> bool {
        match self.by.life(seer) {
            Life::Dead => false,
            Life::Alive => true,
            Life::Unknown => self.heartbeat_age_ms <= LEASE_TTL_MS,
        }
    }
}

/// Why a lease was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// A living owner has it. Nothing was written.
    #[error("run `{run}` is driven by process {pid} on `{host}`", pid = held.by.pid, host = held.by.host)]
    Held {
        /// The run.
        run: String,
        /// Its owner.
        held: Box<Held>,
    },
    /// There is no such run. Nothing was written.
    #[error("there is no run `{0}`")]
    UnknownRun(String),
    /// The journal could not be read or written. If the lease was written after all, the next call of this
    /// process finds itself as the owner and must wait for the time to live.
    #[error("the lease could not be entered in the journal")]
    Storage(#[from] Fault),
}

/// Why a held lease could not be prolonged or given back.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It was taken over or given back before.
    #[error("the lease {epoch} on run `{run}` is no longer held")]
    Lost {
        /// The run.
        run: String,
        /// The epoch that is stale.
        epoch: i64,
    },
    /// The journal could not be written.
    #[error("the lease could not be changed")]
    Storage(#[from] Fault),
}

/// A lease with a heartbeat from the future, as this store first saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    epoch: i64,
    heartbeat_ms: i64,
    first_seen_ms: i64,
}

impl Lease {
    /// The run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The fence: grows with every change of owner.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }
}

impl Store {
    /// Takes the lease on `run` for `owner`, which must be the calling process, if nobody has it, if its owner is
    /// known to be dead, or if no heartbeat came for `LEASE_TTL_MS`. Of several callers exactly one succeeds.
    pub async fn acquire(&self, run: &str, owner: &Owner, now_ms: i64) -> Result<Lease, AcquireError> {
        let mut link = self.link.lock().await;
        loop {
            let found = self.row(&mut link.sql, run).await?;
            let seen_epoch = found.as_ref().map_or(0, |f| f.epoch);
            if let Some(Found { epoch, heartbeat_ms, owner: Some((by, since_ms)) }) = found
                && by.life(owner) != Life::Dead
                && !link.is_stale(run, epoch, heartbeat_ms, now_ms)
            {
                let held =
                    Box::new(Held { by, since_ms, heartbeat_age_ms: now_ms.saturating_sub(heartbeat_ms) });
                return Err(AcquireError::Held { run: run.to_owned(), held });
            }
            let taken = take(&mut link.sql, run, seen_epoch, owner, now_ms).await;
            match taken {
                Ok(true) => {
                    link.sightings.remove(run);
                    // The former owner may have appended since this store last did.
                    link.heads.remove(run);
                    self.note_commit();
                    return Ok(Lease { run: run.to_owned(), epoch: seen_epoch + 1 });
                }
                // Someone was faster; what is in the row now decides.
                Ok(false) => {}
                Err(sqlx::Error::Database(e)) if e.is_foreign_key_violation() => {
                    return Err(AcquireError::UnknownRun(run.to_owned()));
                }
                Err(e) => return Err(self.fault(e).into()),
            }
        }
    }

    /// Says that the owner lives. `Lost` means it must stop acting on the run.
    pub async fn heartbeat(&self, lease: &Lease, now_ms: i64) -> Result<(), LeaseError> {
        let update =
            sqlx::query("UPDATE lease SET heartbeat_ms = ?3 WHERE run = ?1 AND epoch = ?2").bind(&lease.run);
        self.change(lease, update.bind(lease.epoch).bind(now_ms)).await
    }

    /// Gives the lease back. The run is free at once and this lease can append no more.
    pub async fn release(&self, lease: Lease) -> Result<(), LeaseError> {
        let update =
            sqlx::query("UPDATE lease SET pid = NULL, epoch = epoch + 1 WHERE run = ?1 AND epoch = ?2");
        self.change(&lease, update.bind(&lease.run).bind(lease.epoch)).await
    }

    /// Who has `run` now, by the journal: the owner may have died since. `None` if nobody has it.
    pub async fn holder(&self, run: &str, now_ms: i64) -> Result<Option<Held>, Fault> {
        let found = self.row(&mut self.link.lock().await.sql, run).await?;
        Ok(found.and_then(|f| {
            let heartbeat_age_ms = now_ms.saturating_sub(f.heartbeat_ms);
            f.owner.map(|(by, since_ms)| Held { by, since_ms, heartbeat_age_ms })
        }))
    }

    async fn change(
        &self,
        lease: &Lease,
        update: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<(), LeaseError> {
        let done = update.execute(&mut self.link.lock().await.sql).await.map_err(|e| self.fault(e))?;
        if done.rows_affected() == 0 {
            return Err(LeaseError::Lost { run: lease.run.clone(), epoch: lease.epoch });
        }
        self.note_commit();
        Ok(())
    }

    async fn row(&self, sql: &mut SqliteConnection, run: &str) -> Result<Option<Found>, Fault> {
        let query = "SELECT epoch, heartbeat_ms, since_ms, pid, start_time, pid_namespace, host, boot_id \
             FROM lease WHERE run = ?";
        let row = sqlx::query(query).bind(run).fetch_optional(sql).await.map_err(|e| self.fault(e))?;
        row.map(|row| Found::of(&row)).transpose().map_err(|e| self.fault(e))
    }
}

struct Found {
    epoch: i64,
    heartbeat_ms: i64,
    /// With the time since when; none after a release.
    owner: Option<(Owner, i64)>,
}

impl Found {
    fn of(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let number = |column| row.try_get::<Option<i64>, _>(column).map(|n| n.map(i64::cast_unsigned));
        let owner = match row.try_get::<Option<i64>, _>(3)? {
            None => None,
            Some(pid) => Some(Owner {
                pid: u32::try_from(pid).map_err(|e| sqlx::Error::Decode(e.into()))?,
                start_time: number(4)?,
                pid_namespace: number(5)?,
                host: row.try_get(6)?,
                boot_id: row.try_get(7)?,
            }),
        };
        let since_ms: i64 = row.try_get(2)?;
        Ok(Self {
            epoch: row.try_get(0)?,
            heartbeat_ms: row.try_get(1)?,
            owner: owner.map(|owner| (owner, since_ms)),
        })
    }
}

impl Link {
    /// Whether the heartbeat is too old. One from the future says nothing about its age (a clock was set back), so
    /// such a lease is stale once it was seen unchanged for the time to live, by the caller's clock.
    fn is_stale(&mut self, run: &str, epoch: i64, heartbeat_ms: i64, now_ms: i64) -> bool {
        let age = now_ms.saturating_sub(heartbeat_ms);
        if age >= 0 {
            return age > LEASE_TTL_MS;
        }
        let now = Sighting { epoch, heartbeat_ms, first_seen_ms: now_ms };
        let first = self.sightings.entry(run.to_owned()).or_insert(now);
        if (first.epoch, first.heartbeat_ms) != (epoch, heartbeat_ms) || first.first_seen_ms > now_ms {
            *first = now;
        }
        now_ms.saturating_sub(first.first_seen_ms) > LEASE_TTL_MS
    }
}

/// The first lease of a run that is being created.
pub(super) async fn insert_first(
    sql: &mut SqliteConnection,
    run: &str,
    owner: &Owner,
    now_ms: i64,
) -> Result<Lease, sqlx::Error> {
    if take(sql, run, 0, owner, now_ms).await? {
        Ok(Lease { run: run.to_owned(), epoch: 1 })
    } else {
        Err(sqlx::Error::Protocol(format!("a run that was not there has a lease: `{run}`")))
    }
}

/// Writes the next epoch if the row still has the one that was seen.
async fn take(
    sql: &mut SqliteConnection,
    run: &str,
    seen_epoch: i64,
    owner: &Owner,
    now_ms: i64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO lease (run, epoch, pid, start_time, pid_namespace, host, boot_id, since_ms, heartbeat_ms) \
         VALUES (?1, ?2 + 1, ?3, ?4, ?5, ?6, ?7, ?8, ?8) \
         ON CONFLICT (run) DO UPDATE SET epoch = excluded.epoch, pid = excluded.pid, \
         start_time = excluded.start_time, pid_namespace = excluded.pid_namespace, host = excluded.host, \
         boot_id = excluded.boot_id, since_ms = excluded.since_ms, heartbeat_ms = excluded.heartbeat_ms \
         WHERE lease.epoch = ?2",
    )
    .bind(run)
    .bind(seen_epoch)
    .bind(owner.pid)
    .bind(owner.start_time.map(u64::cast_signed))
    .bind(owner.pid_namespace.map(u64::cast_signed))
    .bind(&owner.host)
    .bind(&owner.boot_id)
    .bind(now_ms)
    .execute(sql)
    .await?;
    Ok(done.rows_affected() == 1)
}
