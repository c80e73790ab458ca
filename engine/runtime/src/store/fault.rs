//! What can go wrong under the journal, sorted by what a person can do about it, always with the path.
//! It must never turn an unknown failure into a known one.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the disk, the file system or SQLite.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No space is left (or the quota is used up).
    #[error("no space is left for `{path}`")]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file, its folder or its file system may only be read.
    #[error("`{path}` can only be read")]
    ReadOnly {
        /// The file that could not be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file or folder may not be opened by this user, or something else is in its place.
    #[error("`{path}` cannot be opened")]
    Denied {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is damaged. `salvage` says what can still be read.
    #[error("`{path}` is damaged")]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process held the file for longer than we wait.
    #[error("`{path}` is held by another process")]
    Busy {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Anything else.
    #[error("`{path}` could not be used")]
    Other {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// SQLite's primary result codes that we tell apart.
mod code {
    pub(super) const PERM: u32 = 3;
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const READONLY: u32 = 8;
    pub(super) const IOERR: u32 = 10;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const FULL: u32 = 13;
    pub(super) const CANTOPEN: u32 = 14;
    pub(super) const NOTADB: u32 = 26;
}

impl Fault {
    pub(super) fn sql(path: &Path, error: sqlx::Error) -> Self {
        let source_code = match &error {
            sqlx::Error::Database(d) => d.code().and_then(|c| c.parse::<u32>().ok()).map(|c| c & 0xff),
            _ => None,
        };
        let path = path.to_owned();
        let full = || is_full(&path);
        let read_only = || is_read_only(&path);
        match source_code {
            Some(code::FULL) => Self::DiskFull { path, source: error.into() },
            // SQLite reports a full disk under its shared memory or journal as a plain I/O error.
            Some(code::IOERR) if full() => Self::DiskFull { path, source: error.into() },
            Some(code::READONLY) => Self::ReadOnly { path, source: error.into() },
            Some(code::CANTOPEN | code::IOERR) if read_only() => {
                Self::ReadOnly { path, source: error.into() }
            }
            Some(code::CANTOPEN | code::PERM) => Self::Denied { path, source: error.into() },
            Some(code::CORRUPT | code::NOTADB) => Self::Corrupt { path, source: error.into() },
            Some(code::BUSY | code::LOCKED) => Self::Busy { path, source: error.into() },
            _ => Self::Other { path, source: error.into() },
        }
    }

    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        use io::ErrorKind as K;
        let path = path.to_owned();
        match error.kind() {
            K::StorageFull | K::QuotaExceeded => Self::DiskFull { path, source: error.into() },
            K::ReadOnlyFilesystem => Self::ReadOnly { path, source: error.into() },
            K::PermissionDenied | K::NotADirectory | K::IsADirectory | K::AlreadyExists | K::NotFound => {
                Self::Denied { path, source: error.into() }
            }
            _ => Self::Other { path, source: error.into() },
        }
    }
}

fn is_full(path: &Path) -> bool {
    // One page of the database is the least SQLite needs to go on.
    path.parent()
        .and_then(|dir| rustix::fs::statvfs(dir).ok())
        .is_some_and(|s| s.f_bavail * s.f_frsize < 4096)
}

fn is_read_only(path: &Path) -> bool {
    path.parent()
        .and_then(|dir| rustix::fs::statvfs(dir).ok())
        .is_some_and(|s| s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}
