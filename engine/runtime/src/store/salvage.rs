//! Reads what can still be read of a damaged journal.
//! It must never write to the file, nor report an event whose place in the chain does not hold.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::blobs::Blobs;
use super::chain::{Break, ChainCheck, Head, Identity};
use super::event::StoredEvent;
use super::fault::Fault;
use super::read::{Envelope, page};

/// What a damaged journal still holds.
#[derive(Debug, Default)]
pub struct Salvage {
    /// The runs that were found, in the order of their ids.
    pub runs: Vec<SalvagedRun>,
    /// Why the search for runs ended early, if it did.
    pub unlisted: Option<Fault>,
}

/// What is left of a run.
#[derive(Debug)]
pub struct SalvagedRun {
    /// The run's id.
    pub id: String,
    /// The events before the break, in order. They follow from each other; from the run's own beginning too, unless
    /// its row was lost.
    pub events: Vec<StoredEvent>,
    /// Why there are no more, if the run does not end where it should.
    pub stopped: Option<Stop>,
}

/// Why the reading of a run ended.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The chain does not hold.
    #[error("the chain breaks after the last event")]
    Chain(#[from] Break),
    /// The file could not be read further.
    #[error("the file is unreadable after the last event")]
    Fault(#[from] Fault),
    /// The run's own row is lost, so its beginning and its end are not known.
    #[error("the row of the run is lost")]
    Unlisted,
}

/// The row of a run.
struct Listed {
    blueprint: String,
    digest: String,
    created_at_ms: i64,
    head_seq: i64,
}

/// Reads the journal file at `path` as far as it goes. Fails only if SQLite cannot open it at all.
pub async fn salvage(path: &Path) -> Result<Salvage, Fault> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut sql = options.connect().await.map_err(|e| Fault::sql(path, e))?;
    let blobs = Blobs::at(path.parent().unwrap_or(Path::new(".")).join("blobs"));
    let mut found: BTreeMap<String, Option<Listed>> = BTreeMap::new();
    let mut salvage = Salvage::default();
    // The two tables lie in different pages: what one has lost the other may still name.
    for end in [from_events(&mut sql, &mut found).await, from_runs(&mut sql, &mut found).await] {
        if let Err(e) = end {
            salvage.unlisted = Some(Fault::sql(path, e));
        }
    }
    for (id, listed) in found {
        let (events, stopped) = events_of(&mut sql, path, &blobs, &id, listed.as_ref()).await;
        salvage.runs.push(SalvagedRun { id, events, stopped });
    }
    sql.close().await.map_err(|e| Fault::sql(path, e))?;
    Ok(salvage)
}

async fn from_events(
    sql: &mut SqliteConnection,
    found: &mut BTreeMap<String, Option<Listed>>,
) -> Result<(), sqlx::Error> {
    let mut last = String::new();
    loop {
        let query = "SELECT run FROM event WHERE run > ? ORDER BY run LIMIT 1";
        let next: Option<String> = sqlx::query_scalar(query).bind(&last).fetch_optional(&mut *sql).await?;
        let Some(id) = next else { return Ok(()) };
        last.clone_from(&id);
        found.insert(id, None);
    }
}

async fn from_runs(
    sql: &mut SqliteConnection,
    found: &mut BTreeMap<String, Option<Listed>>,
) -> Result<(), sqlx::Error> {
    let mut last = String::new();
    loop {
        let query =
            "SELECT id, blueprint, digest, created_at_ms, head_seq FROM run WHERE id > ? ORDER BY id LIMIT 1";
        let Some(row) = sqlx::query(query).bind(&last).fetch_optional(&mut *sql).await? else {
            return Ok(());
        };
        last = row.try_get(0)?;
        let listed = Listed {
            blueprint: row.try_get(1)?,
            digest: row.try_get(2)?,
            created_at_ms: row.try_get(3)?,
            head_seq: row.try_get(4)?,
        };
        found.insert(last.clone(), Some(listed));
    }
}

async fn events_of(
    sql: &mut SqliteConnection,
    path: &Path,
    blobs: &Blobs,
    id: &str,
    listed: Option<&Listed>,
) -> (Vec<StoredEvent>, Option<Stop>) {
    let mut check = listed.map(|l| {
        let (blueprint, digest) = (l.blueprint.as_str(), l.digest.as_str());
        ChainCheck::new(Identity { id, blueprint, digest, created_at_ms: l.created_at_ms })
    });
    let mut events: Vec<StoredEvent> = Vec::new();
    loop {
        let after = events.last().map_or(0, |e| e.seq);
        // One row at a time: every row before the unreadable one counts.
        let rows = match page(sql, id, after, 1).await {
            Ok(rows) => rows,
            Err(e) => return (events, Some(Fault::sql(path, e).into())),
        };
        let Some(row) = rows.first() else { break };
        let Some(envelope) = Envelope::of(row) else { return (events, Some(Break::Unreadable.into())) };
        let body = envelope.blob;
        let event = match (envelope.whole(blobs), body) {
            (Ok(event), _) => event,
            (Err(_), Some(body)) => return (events, Some(Break::Body(body).into())),
            (Err(_), None) => return (events, Some(Break::Unreadable.into())),
        };
        match &mut check {
            Some(check) => {
                if let Err(e) = check.admit(&event) {
                    return (events, Some(e.into()));
                }
            }
            // Without the run's row the first event has to be believed.
            None => check = Some(ChainCheck::after(id, Head { seq: event.seq, hash: event.hash })),
        }
        events.push(event);
    }
    let found = events.last().map_or(0, |e| e.seq);
    let stopped = match listed {
        None => Some(Stop::Unlisted),
        Some(l) if l.head_seq != found as i64 => Some(Break::WrongEnd { expected: l.head_seq, found }.into()),
        Some(_) => None,
    };
    (events, stopped)
}
