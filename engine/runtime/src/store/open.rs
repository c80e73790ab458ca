//! Opens a state folder: the journal's connection, its settings, and the check of what is there.
//! It must never write to a file it has not recognised as a journal of a version it knows.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, watch};

use super::anchor::Anchors;
use super::blobs::{BlobError, Blobs};
use super::chain::Head;
use super::create;
use super::fault::Fault;
use super::lease::Sighting;
use super::migrate::{self, Found};

/// Name of the database file in a state folder.
pub const JOURNAL_FILE: &str = "journal.db";

/// Pages in the log before SQLite copies them back: 8 MiB, so that a thousand appends copy at most once or twice
/// and reading the log again after a crash stays in the milliseconds.
const AUTOCHECKPOINT_PAGES: &str = "2000";
/// Bytes the log file keeps after it was copied back. Above the checkpoint size, so it is not cut and grown again.
const LOG_SIZE_LIMIT: &str = "16777216";
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What an append survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncLevel {
    /// Every append is on the disk before it returns: it survives a power loss.
    #[default]
    Full,
    /// Appends survive the death of the process, but a power loss may take the last ones. Never a torn journal.
    Normal,
}

/// What a store may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Creates what is missing, migrates, appends.
    #[default]
    ReadWrite,
    /// Only reads; nothing is created or migrated.
    ReadOnly,
}

/// How to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What an append survives.
    pub sync: SyncLevel,
    /// What the store may do.
    pub mode: Mode,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no journal, and a read-only store creates none.
    #[error("there is no journal at `{path}`")]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The journal was written by a newer engine. It was not changed.
    #[error(
        "the journal `{path}` has schema version {found}, this engine knows up to {supported}; \
         update `blueprint`, or use another state folder; nothing was changed"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest version this engine knows.
        supported: i64,
    },
    /// The journal has an older schema and was opened only for reading.
    #[error(
        "the journal `{path}` has schema version {found}; open it once for writing to bring it to {supported}"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The version this engine reads.
        supported: i64,
    },
    /// The file is a sound SQLite database of something else.
    #[error("`{path}` is an SQLite file, but not a journal; move it away or use another state folder")]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A file that must hold at least a header is empty. Its log, if any, was left alone.
    #[error("the journal `{path}` is empty, so its content was lost; move it away, and `{path}-wal` with it")]
    Emptied {
        /// The file.
        path: PathBuf,
    },
    /// The last events are in the log, and SQLite must write beside it to read it. Nothing was changed.
    #[error(
        "`{log}` holds the last events, and they can only be read where the folder can be written; copy the folder \
         and read the copy with `--state`"
    )]
    LogUnread {
        /// The log.
        log: PathBuf,
        /// What was said without it.
        #[source]
        source: Fault,
    },
    /// The folder for large bodies could not be read.
    #[error("the bodies beside the journal are not usable")]
    Blobs(#[from] BlobError),
    /// The disk, the file system or SQLite said no. A damaged file is `Fault::Corrupt`.
    #[error("the journal could not be opened")]
    Fault(#[from] Fault),
}

/// An open state folder. One store writes per process; other processes may have the same folder open.
#[derive(Debug)]
pub struct Store {
    pub(super) db: PathBuf,
    pub(super) blobs: Blobs,
    pub(super) anchors: Anchors,
    pub(super) link: Mutex<Link>,
    /// What the file was when it was opened as one that nobody writes.
    unwritten: Option<Seen>,
    /// Counts this store's own commits, which SQLite's change counter does not show to their own connection.
    pub(super) commits: watch::Sender<u64>,
}

/// The connection and what was learned over it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) sql: SqliteConnection,
    /// Heads of the runs this store appends to. An entry is absent while an append is under way or unclear.
    pub(super) heads: HashMap<String, Head>,
    /// The anchors of the runs this store appends to.
    pub(super) anchors: HashMap<String, File>,
    /// When this store first saw a foreign lease in its present state.
    pub(super) sightings: HashMap<String, Sighting>,
}

impl Store {
    /// Opens the journal in `dir`, creating the folder (mode 0700, ignored by git) and the file if they are missing.
    ///
    /// An older journal is migrated after a copy was made beside it; a newer one is refused untouched.
    pub async fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let dir = std::path::absolute(dir.as_ref()).map_err(|e| Fault::io(dir.as_ref(), e))?;
        let db = dir.join(JOURNAL_FILE);
        // Only `stat`, never open: closing any descriptor of this file would drop the locks that another
        // connection of this process holds on it.
        match std::fs::metadata(&db) {
            Ok(found) if found.is_file() && found.len() == 0 => return Err(OpenError::Emptied { path: db }),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => match options.mode {
                Mode::ReadOnly => return Err(OpenError::Missing { path: db }),
                Mode::ReadWrite => create::fresh(&dir, &db).await?,
            },
            Err(e) => return Err(Fault::io(&db, e).into()),
        }
        let blobs = Blobs::at(dir.join("blobs"));
        let unwritten = match options.mode {
            Mode::ReadOnly => unwritten(&dir, &db)?,
            Mode::ReadWrite => None,
        };
        let opened = async {
            let mut sql = connect(&dir, &db, options, unwritten.is_some()).await?;
            let found = migrate::inspect(&mut sql, &db).await?;
            Ok((sql, found))
        };
        let (mut sql, found) = match opened.await {
            Ok(opened) => opened,
            Err(source) if options.mode == Mode::ReadOnly && is_locked_in(&dir, &db, &source) => {
                return Err(OpenError::LogUnread { log: log_of(&db), source });
            }
            Err(source) => return Err(source.into()),
        };
        match found {
            Found::Current => {}
            Found::Foreign => return Err(refuse(sql, OpenError::NotAJournal { path: db }).await),
            Found::Newer(found) => {
                let error = OpenError::Newer { path: db, found, supported: migrate::SCHEMA_VERSION };
                return Err(refuse(sql, error).await);
            }
            Found::Older(found) if options.mode == Mode::ReadOnly => {
                let error = OpenError::Older { path: db, found, supported: migrate::SCHEMA_VERSION };
                return Err(refuse(sql, error).await);
            }
            Found::Older(found) => migrate::bring_up(&mut sql, &db, found, migrate::STEPS).await?,
        }
        if options.mode == Mode::ReadWrite {
            blobs.sweep()?;
        }
        let anchors = Anchors::of(&dir, options.sync);
        let link = Link { sql, heads: HashMap::new(), anchors: HashMap::new(), sightings: HashMap::new() };
        let (link, commits) = (Mutex::new(link), watch::Sender::new(0));
        Ok(Self { db, blobs, anchors, link, unwritten, commits })
    }

    /// Closes the connection. The last one to close a journal copies its log back, which costs two or three syncs;
    /// a process in a hurry may leave that to the next one.
    pub async fn close(self) -> Result<(), Fault> {
        let Self { db, link, .. } = self;
        link.into_inner().sql.close().await.map_err(|e| Fault::sql(&db, e))
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.db
    }

    /// The large bodies beside the journal.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Fails if the journal was read as a file that nobody writes, and somebody wrote it meanwhile.
    pub(super) fn still_unwritten(&self) -> Result<(), Fault> {
        let Some(seen) = &self.unwritten else { return Ok(()) };
        if log_length(&self.db) == 0 && Seen::of(&self.db).is_ok_and(|now| now == *seen) {
            return Ok(());
        }
        let source = "a process began to write it while it was read; try again".into();
        Err(Fault::Busy { path: self.db.clone(), source })
    }

    pub(super) fn fault(&self, error: sqlx::Error) -> Fault {
        Fault::sql(&self.db, error)
    }

    pub(super) fn note_commit(&self) {
        self.commits.send_modify(|n| *n += 1);
    }
}

async fn connect(
    dir: &Path,
    db: &Path,
    options: Options,
    immutable: bool,
) -> Result<SqliteConnection, Fault> {
    let base = SqliteConnectOptions::new()
        .filename(db)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(512)
        .disable_statement_logging();
    let settled = match options.mode {
        Mode::ReadOnly => base.read_only(true).immutable(immutable),
        Mode::ReadWrite => {
            // SQLite would quietly open a write-protected file for reading.
            for path in [dir, db] {
                rustix::fs::access(path, Access::WRITE_OK).map_err(|e| Fault::io(path, e.into()))?;
            }
            let synchronous = match options.sync {
                SyncLevel::Full => SqliteSynchronous::Full,
                SyncLevel::Normal => SqliteSynchronous::Normal,
            };
            base.synchronous(synchronous)
                .pragma("wal_autocheckpoint", AUTOCHECKPOINT_PAGES)
                .pragma("journal_size_limit", LOG_SIZE_LIMIT)
        }
    };
    settled.connect().await.map_err(|e| Fault::sql(db, e))
}

/// A file as it was at some time.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Seen {
    fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|found| Self {
            inode: found.ino(),
            length: found.len(),
            changed: (found.mtime(), found.mtime_nsec()),
        })
    }
}

/// A reader needs to write the shared memory beside the log. Where this process cannot write the folder and the log
/// holds nothing, the file is read as one that nobody writes. That may end at any time (another user, another mount),
/// so what the file was is kept and compared after each reading.
pub(super) fn is_read_as_it_is(dir: &Path, db: &Path) -> bool {
    log_length(db) == 0 && rustix::fs::access(dir, Access::WRITE_OK).is_err()
}

fn unwritten(dir: &Path, db: &Path) -> Result<Option<Seen>, Fault> {
    if !is_read_as_it_is(dir, db) {
        return Ok(None);
    }
    Seen::of(db).map(Some).map_err(|e| Fault::io(db, e))
}

/// Whether a failure to open comes from a log that cannot be read without writing beside it.
fn is_locked_in(dir: &Path, db: &Path, fault: &Fault) -> bool {
    matches!(fault, Fault::ReadOnly { .. } | Fault::Denied { .. })
        && log_length(db) > 0
        && rustix::fs::access(db, Access::READ_OK).is_ok()
        && rustix::fs::access(dir, Access::WRITE_OK).is_err()
}

fn log_of(db: &Path) -> PathBuf {
    let mut log = db.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

fn log_length(db: &Path) -> u64 {
    std::fs::metadata(log_of(db)).as_ref().map_or(0, Metadata::len)
}

async fn refuse(sql: SqliteConnection, error: OpenError) -> OpenError {
    // The refusal is the answer; whether the connection closed well does not change it.
    drop(sql.close().await);
    error
}
