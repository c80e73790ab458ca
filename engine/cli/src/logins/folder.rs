//! The folder of logins: one file for one server, readable by the user alone, replaced as a whole. What others could
//! have read or written is refused, and links are never followed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blueprint_agent::mcp::{Login, ServerUrl};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::error::LoginsError;

/// The longest file, in bytes.
const LONGEST: u64 = 1 << 20;

/// How long somebody else may renew a login, and how often that is looked at.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(20);

/// A file that holds a login, or should.
pub(crate) struct Kept {
    /// Its name.
    pub(crate) file: String,
    /// What is in it.
    pub(crate) login: Result<Login, LoginsError>,
}

/// The folder.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn file(&self, server: &ServerUrl) -> PathBuf {
        self.path.join(name(server))
    }

    fn failed(&self, done: &'static str) -> impl Fn(Errno) -> LoginsError {
        failed(self.path.clone(), done)
    }

    /// Opens the folder, if there is one.
    fn open(&self) -> Result<Option<OwnedFd>, LoginsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failed("opened")(error)),
        };
        let stat = rustix::fs::fstat(&folder).map_err(self.failed("looked at"))?;
        private(&self.path, &stat, FileType::Directory)?;
        Ok(Some(folder))
    }

    /// Opens the folder and makes it first, if need be.
    pub(super) fn open_or_make(&self) -> Result<OwnedFd, LoginsError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.map_err(|source| LoginsError::Io { path: self.path.clone(), done: "made", source })?;
        self.open()?.ok_or_else(|| self.failed("opened")(Errno::NOENT))
    }

    pub(super) fn read(&self, server: &ServerUrl) -> Result<Option<Login>, LoginsError> {
        let Some(folder) = self.open()? else { return Ok(None) };
        let Some(login) = self.read_in(&folder, &name(server))? else { return Ok(None) };
        if login.server() != server {
            return Err(LoginsError::Elsewhere { path: self.file(server) });
        }
        Ok(Some(login))
    }

    fn read_in(&self, folder: &OwnedFd, name: &str) -> Result<Option<Login>, LoginsError> {
        let path = self.path.join(name);
        let Some(file) = self.open_file(folder, name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(LONGEST).read_to_end(&mut bytes);
        read.map_err(|source| LoginsError::Io { path: path.clone(), done: "read", source })?;
        let login = Login::from_json(&bytes);
        login.map(Some).map_err(|source| LoginsError::Damaged { path, source })
    }

    fn open_file(&self, folder: &OwnedFd, name: &str) -> Result<Option<File>, LoginsError> {
        let path = self.path.join(name);
        // A pipe in its place must not make us wait.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed(path, "opened")(error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(failed(path.clone(), "looked at"))?;
        private(&path, &stat, FileType::RegularFile)?;
        Ok(Some(File::from(file)))
    }

    /// Writes a login in place of the one before: whoever reads meanwhile sees the one or the other.
    pub(super) fn write(&self, login: &Login) -> Result<(), LoginsError> {
        let folder = self.open_or_make()?;
        let name = name(login.server());
        let draft = format!(".{name}.{}", uuid::Uuid::now_v7());
        let written = || -> rustix::io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&folder, &draft, flags, Mode::RUSR | Mode::WUSR)?;
            let mut file = File::from(file);
            let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
            file.write_all(&login.to_json()).map_err(io)?;
            file.sync_all().map_err(io)?;
            rustix::fs::renameat(&folder, &draft, &folder, &name)?;
            rustix::fs::fsync(&folder)
        };
        written().map_err(|error| {
            // What is left of it helps nobody.
            let _ = rustix::fs::unlinkat(&folder, &draft, AtFlags::empty());
            failed(self.path.join(&name), "written")(error)
        })
    }

    /// Deletes a login, and what a process that was killed left of it.
    pub(super) fn remove(&self, server: &ServerUrl) -> Result<bool, LoginsError> {
        let Some(folder) = self.open()? else { return Ok(false) };
        let name = name(server);
        let drafts = format!(".{name}.");
        for draft in self.names()?.into_iter().filter(|name| name.starts_with(&drafts)) {
            let _ = rustix::fs::unlinkat(&folder, &draft, AtFlags::empty());
        }
        match rustix::fs::unlinkat(&folder, &name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed(self.path.join(name), "deleted")(error)),
        }
    }

    /// Everything that is kept, in the order of the names.
    pub(super) fn all(&self) -> Result<Vec<Kept>, LoginsError> {
        let Some(folder) = self.open()? else { return Ok(Vec::new()) };
        let kept = |name: &String| {
            !name.starts_with('.') && Path::new(name).extension().is_some_and(|e| e == "json")
        };
        let mut all = Vec::new();
        for name in self.names()?.into_iter().filter(kept) {
            // One that went while we looked is none.
            if let Some(login) = self.read_in(&folder, &name).transpose() {
                all.push(Kept { file: name, login });
            }
        }
        Ok(all)
    }

    fn names(&self) -> Result<Vec<String>, LoginsError> {
        let failed = |source| LoginsError::Io { path: self.path.clone(), done: "listed", source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    /// Waits until nobody else works on a login. Where there is none that anybody could work on, there is nothing to
    /// wait for.
    pub(super) async fn hold(&self, server: &ServerUrl) -> Result<Option<File>, LoginsError> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let wait = async {
            loop {
                let Some(folder) = self.open()? else { return Ok(None) };
                // What is open to others is replaced and deleted like any other.
                let Ok(file) = rustix::fs::openat(&folder, name(server), flags, Mode::empty()) else {
                    return Ok(None);
                };
                let file = File::from(file);
                match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    // The file may have been replaced while we waited for it.
                    Ok(()) if is_still(&folder, &name(server), &file) => return Ok(Some(file)),
                    Ok(()) | Err(Errno::WOULDBLOCK) => {}
                    Err(error) => return Err(self.failed("locked")(error)),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let busy = |_| LoginsError::Busy { path: self.file(server) };
        tokio::time::timeout(PATIENCE, wait).await.map_err(busy)?
    }
}

fn failed(path: PathBuf, done: &'static str) -> impl Fn(Errno) -> LoginsError {
    move |error| LoginsError::Io { path: path.clone(), done, source: error.into() }
}

fn name(server: &ServerUrl) -> String {
    format!("{}.json", server.digest())
}

/// Whether a file is the one that has this name now.
pub(super) fn is_still(folder: &OwnedFd, name: &str, file: &File) -> bool {
    let named = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let open = rustix::fs::fstat(file);
    matches!((named, open), (Ok(named), Ok(open)) if (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino))
}

/// Whether something is the user's alone.
fn private(path: &Path, stat: &Stat, kind: FileType) -> Result<(), LoginsError> {
    let open = |why| Err(LoginsError::Open { path: path.to_path_buf(), why });
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return open("it is not what it should be");
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return open("it belongs to somebody else");
    }
    if stat.st_mode & 0o077 != 0 {
        return open(match kind {
            FileType::Directory => "take the rights of others away with `chmod 700`",
            _ => "take the rights of others away with `chmod 600`, or log in again if they could read it",
        });
    }
    Ok(())
}
