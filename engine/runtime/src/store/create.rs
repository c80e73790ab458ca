//! Creates a state folder and its journal, complete or not at all.
//! It must never touch a journal that already exists.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::fault::Fault;
use super::migrate;

const DRAFT: &str = "journal.db.new";

/// Writes the journal under another name without syncing each step, syncs it once and renames it into place.
/// A crash at any point leaves either no journal or a whole one.
pub(super) async fn fresh(dir: &Path, db: &Path) -> Result<(), Fault> {
    let first_existing = make_folder(dir)?;
    // The lock is on the folder itself, so that it needs no file of its own; closing the folder frees it.
    let folder =
        lock(File::open(dir).map_err(|e| Fault::io(dir, e))?).await.map_err(|e| Fault::io(dir, e))?;
    if fs::exists(db).map_err(|e| Fault::io(db, e))? {
        return Ok(());
    }
    write_once(&dir.join(".gitignore"), b"*\n")?;
    let draft = dir.join(DRAFT);
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let left_over = dir.join(format!("{DRAFT}{suffix}"));
        match fs::remove_file(&left_over) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Fault::io(&left_over, e)),
            _ => {}
        }
    }
    // SQLite gives its log and shared memory the mode of the database file.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let file = file.map_err(|e| Fault::io(&draft, e))?;
    fill(&draft).await?;
    file.sync_all().map_err(|e| Fault::io(&draft, e))?;
    fs::rename(&draft, db).map_err(|e| Fault::io(db, e))?;
    // The new name needs no sync of its own: until the first commit it has nothing to lose, and with that commit
    // SQLite syncs the folder, because it has made the log in it. Only the folders above are left to us.
    for parent in dir.ancestors().skip(1).take_while(|_| first_existing.is_some()) {
        File::open(parent).and_then(|f| f.sync_all()).map_err(|e| Fault::io(parent, e))?;
        if Some(parent) == first_existing {
            break;
        }
    }
    drop(folder);
    Ok(())
}

/// Waits for the lock on a thread of its own: its holder may be another task of this one.
async fn lock(folder: File) -> io::Result<File> {
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(folder),
        Err(Errno::WOULDBLOCK) => {
            let wait = move || rustix::fs::flock(&folder, FlockOperation::LockExclusive).map(|()| folder);
            Ok(tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)??)
        }
        Err(e) => Err(e.into()),
    }
}

async fn fill(draft: &Path) -> Result<(), Fault> {
    let options = SqliteConnectOptions::new().filename(draft).disable_statement_logging();
    let mut sql = options.connect().await.map_err(|e| Fault::sql(draft, e))?;
    // The script goes to the database thread as one message with the `BEGIN` it holds; statement by statement it
    // would be a message each, and twenty wake-ups take longer than the work.
    let script = format!(
        "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; BEGIN; PRAGMA application_id = {}; {} \
         PRAGMA user_version = {};",
        migrate::APPLICATION_ID,
        migrate::STEPS.concat(),
        migrate::SCHEMA_VERSION
    );
    let change = sql.begin_with(AssertSqlSafe(script)).await.map_err(|e| Fault::sql(draft, e))?;
    change.commit().await.map_err(|e| Fault::sql(draft, e))?;
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut sql).await.map_err(|e| Fault::sql(draft, e))?;
    sql.close().await.map_err(|e| Fault::sql(draft, e))
}

/// Creates the folder and those above it. Returns the nearest one that was there before, or nothing if `dir` was.
fn make_folder(dir: &Path) -> Result<Option<&Path>, Fault> {
    if dir.is_dir() {
        return Ok(None);
    }
    let first_existing = dir.ancestors().skip(1).find(|a| a.is_dir());
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Fault::io(dir, e))?;
    Ok(first_existing)
}

fn write_once(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => io::Write::write_all(&mut file, bytes).map_err(|e| Fault::io(path, e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Fault::io(path, e)),
    }
}
