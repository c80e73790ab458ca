//! Reads what can still be read of a damaged journal.
//! It must never write to the file, nor report an event whose place in the chain does not hold.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::anchor::Anchors;
use super::blobs::Blobs;
use super::chain::{Break, ChainCheck, Head};
use super::event::StoredEvent;
use super::fault::Fault;
use super::open::{SyncLevel, is_read_as_it_is};
use super::read::{Envelope, digest, page};
use super::runs::RunSummary;

/// Findings of SQLite's own check that are kept; one damaged page may make hundreds.
const FINDINGS: usize = 3;

/// Its check ends with an error behind the findings, so only the first row, which holds them all, is asked for.
const CHECK: &str = "SELECT quick_check FROM pragma_quick_check LIMIT 1";

/// What a damaged journal still holds.
#[derive(Debug, Default)]
pub struct Salvage {
    /// The runs that were found, in the order of their ids.
    pub runs: Vec<SalvagedRun>,
    /// Why the search for runs ended early, if it did.
    pub unlisted: Option<Fault>,
    /// What SQLite's own check found, its first few lines. Empty if the file is sound as a database.
    pub damage: Vec<String>,
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
    /// The row of the run, if it is readable. It names the last event the run should have.
    pub row: Option<RunSummary>,
    /// The last event the run is known to have had, by its row and its anchor.
    pub expected: Option<u64>,
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

impl Salvage {
    /// Whether nothing at all could be read. If the file is damaged, it is its first page, which says where everything
    /// else is.
    pub fn is_empty(&self) -> bool {
        self.unlisted.is_some() && self.runs.iter().all(|run| run.events.is_empty() && run.row.is_none())
    }
}

/// Reads the journal file at `path` as far as it goes. Fails only if SQLite cannot open it at all.
pub async fn salvage(path: &Path) -> Result<Salvage, Fault> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let anchors = Anchors::of(dir, SyncLevel::Full);
    // Before the journal is read: whatever an anchor names by now is in the journal already.
    let anchored: BTreeMap<String, u64> =
        anchors.runs().unwrap_or_default().into_iter().map(|run| (run.id, run.seq)).collect();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(is_read_as_it_is(dir, path))
        .disable_statement_logging();
    let mut sql = options.connect().await.map_err(|e| Fault::sql(path, e))?;
    let blobs = Blobs::at(dir.join("blobs"));
    let mut found: BTreeMap<String, Option<RunSummary>> =
        anchored.keys().map(|id| (id.clone(), None)).collect();
    let mut salvage = Salvage { damage: findings(&mut sql).await, ..Salvage::default() };
    // The two tables lie in different pages: what one has lost the other may still name.
    for end in [from_events(&mut sql, &mut found).await, from_runs(&mut sql, &mut found).await] {
        if let Err(e) = end {
            salvage.unlisted = Some(Fault::sql(path, e));
        }
    }
    for (id, row) in found {
        let (events, mut stopped) = events_of(&mut sql, path, &blobs, &id, row.as_ref()).await;
        let last = events.last().map_or(0, |e| e.seq);
        let anchor = anchored.get(&id).copied();
        if let Some(expected) = anchor.filter(|seq| *seq > last && stopped.is_none()) {
            stopped = Some(Break::CutOff { expected, found: last }.into());
        }
        let expected = row.as_ref().map(|row| row.head.seq).max(anchor);
        salvage.runs.push(SalvagedRun { id, events, stopped, row, expected });
    }
    sql.close().await.map_err(|e| Fault::sql(path, e))?;
    Ok(salvage)
}

/// What SQLite says is wrong with the file. What it cannot even check, it says by the error.
async fn findings(sql: &mut SqliteConnection) -> Vec<String> {
    match sqlx::query_scalar::<_, String>(CHECK).fetch_optional(sql).await {
        Ok(found) => {
            let found = found.unwrap_or_default();
            let lines = found.lines().filter(|line| *line != "ok" && !line.starts_with("***"));
            lines.take(FINDINGS).map(str::to_owned).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

async fn from_events(
    sql: &mut SqliteConnection,
    found: &mut BTreeMap<String, Option<RunSummary>>,
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
    found: &mut BTreeMap<String, Option<RunSummary>>,
) -> Result<(), sqlx::Error> {
    let mut last = String::new();
    loop {
        let query = "SELECT id, blueprint, digest, created_at_ms, status, head_seq, head_hash \
             FROM run WHERE id > ? ORDER BY id LIMIT 1";
        let Some(row) = sqlx::query(query).bind(&last).fetch_optional(&mut *sql).await? else {
            return Ok(());
        };
        last = row.try_get(0)?;
        let summary = || {
            let head =
                Head { seq: u64::try_from(row.try_get::<i64, _>(5).ok()?).ok()?, hash: digest(&row, 6)? };
            Some(RunSummary {
                id: last.clone(),
                blueprint: row.try_get(1).ok()?,
                digest: row.try_get(2).ok()?,
                created_at_ms: row.try_get(3).ok()?,
                status: row.try_get(4).ok()?,
                head,
            })
        };
        found.insert(last.clone(), summary());
    }
}

async fn events_of(
    sql: &mut SqliteConnection,
    path: &Path,
    blobs: &Blobs,
    id: &str,
    row: Option<&RunSummary>,
) -> (Vec<StoredEvent>, Option<Stop>) {
    let mut check = row.map(|row| ChainCheck::new(row.identity()));
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
    let stopped = match row {
        None => Some(Stop::Unlisted),
        Some(row) if row.head.seq != found => {
            Some(Break::WrongEnd { expected: row.head.seq as i64, found }.into())
        }
        Some(_) => None,
    };
    (events, stopped)
}
