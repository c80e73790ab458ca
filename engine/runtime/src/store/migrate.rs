//! The versions of the journal's schema, and the way from an older one to this engine's.
//! It must never change a file before a copy of it is on the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::fault::Fault;

/// Marks the file as ours in SQLite's header.
pub(super) const APPLICATION_ID: i64 = 0x626c_7065;

/// Step `n` brings a journal from version `n` to `n + 1`; together they make a fresh one.
pub(super) const STEPS: &[&str] = &[include_str!("schema/v1.sql")];

/// The schema version this engine reads and writes.
pub const SCHEMA_VERSION: i64 = STEPS.len() as i64;

/// What the file says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Current,
    Older(i64),
    Newer(i64),
    Foreign,
}

pub(super) async fn inspect(sql: &mut SqliteConnection, db: &Path) -> Result<Found, Fault> {
    let query = "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version";
    let row = sqlx::query(query).fetch_one(sql).await.map_err(|e| Fault::sql(db, e))?;
    let application: i64 = row.try_get(0).map_err(|e| Fault::sql(db, e))?;
    let version: i64 = row.try_get(1).map_err(|e| Fault::sql(db, e))?;
    Ok(if application != APPLICATION_ID || version < 1 {
        Found::Foreign
    } else {
        match version.cmp(&SCHEMA_VERSION) {
            std::cmp::Ordering::Less => Found::Older(version),
            std::cmp::Ordering::Equal => Found::Current,
            std::cmp::Ordering::Greater => Found::Newer(version),
        }
    })
}

/// Copies the journal to `journal.db.v<n>.bak`, then applies the missing steps in one transaction.
pub(super) async fn bring_up(
    sql: &mut SqliteConnection,
    db: &Path,
    from: i64,
    steps: &[&str],
) -> Result<(), Fault> {
    back_up(sql, db, from).await?;
    let mut change = sql.begin_with("BEGIN IMMEDIATE").await.map_err(|e| Fault::sql(db, e))?;
    // Another process may have migrated while this one waited for the lock.
    let now: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *change)
        .await
        .map_err(|e| Fault::sql(db, e))?;
    let missing = steps.get(now as usize..).unwrap_or_default().concat();
    let script = format!("{missing}\nPRAGMA user_version = {};", steps.len().max(now as usize));
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *change).await.map_err(|e| Fault::sql(db, e))?;
    change.commit().await.map_err(|e| Fault::sql(db, e))
}

async fn back_up(sql: &mut SqliteConnection, db: &Path, from: i64) -> Result<PathBuf, Fault> {
    let copy = beside(db, &format!(".v{from}.bak"));
    let draft = beside(db, &format!(".v{from}.bak.{}", std::process::id()));
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Fault::io(&draft, e)),
        _ => {}
    }
    sqlx::query("VACUUM INTO ?")
        .bind(draft.to_string_lossy().into_owned())
        .execute(sql)
        .await
        .map_err(|e| Fault::sql(&draft, e))?;
    File::open(&draft).and_then(|f| f.sync_all()).map_err(|e| Fault::io(&draft, e))?;
    fs::rename(&draft, &copy).map_err(|e| Fault::io(&copy, e))?;
    let folder = db.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Fault::io(folder, e))?;
    Ok(copy)
}

fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;
    use crate::store::{Options, Store};

    #[tokio::test]
    async fn an_older_journal_is_copied_and_then_migrated() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path(), Options::default()).await.unwrap().close().await.unwrap();
        let db = dir.path().join("journal.db");
        let mut sql = SqliteConnectOptions::new().filename(&db).connect().await.unwrap();
        let steps = [STEPS[0], "ALTER TABLE meta ADD COLUMN note TEXT;"];
        bring_up(&mut sql, &db, 1, &steps).await.unwrap();

        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut sql).await.unwrap();
        assert_eq!(version, 2);
        sqlx::query("SELECT note FROM meta").fetch_all(&mut sql).await.unwrap();
        let mut old = SqliteConnectOptions::new()
            .filename(dir.path().join("journal.db.v1.bak"))
            .connect()
            .await
            .unwrap();
        assert_eq!(inspect(&mut old, &db).await.unwrap(), Found::Current);
        sqlx::query("SELECT note FROM meta").fetch_all(&mut old).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_failing_migration_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path(), Options::default()).await.unwrap().close().await.unwrap();
        let db = dir.path().join("journal.db");
        let mut sql = SqliteConnectOptions::new().filename(&db).connect().await.unwrap();
        let steps = [STEPS[0], "ALTER TABLE meta ADD COLUMN note TEXT; ALTER TABLE absent ADD COLUMN x;"];
        bring_up(&mut sql, &db, 1, &steps).await.unwrap_err();

        assert_eq!(inspect(&mut sql, &db).await.unwrap(), Found::Current);
        sqlx::query("SELECT note FROM meta").fetch_all(&mut sql).await.unwrap_err();
    }
}
