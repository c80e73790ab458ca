//! Files of a checkout, read and written for edits. Everything is opened relative to the checkout and no
//! symbolic link is followed, so nothing outside it can be read or changed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use thiserror::Error;

use super::LARGEST;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// The mode of a file that an edit creates.
const NEW_FILE: u32 = 0o644;

/// A file cannot be read or written.
#[derive(Debug, Error)]
pub(super) enum FileError {
    /// The path itself cannot be used.
    #[error("the path does not name a file of the workspace")]
    Path,
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// A part of the path is a link.
    #[error("the path leads through a symbolic link, and links are not followed")]
    Link,
    /// A part of the path is not a folder.
    #[error("a part of the path is not a folder")]
    NotAFolder,
    /// It is a folder, a device or a pipe.
    #[error("it is {0}, not a file")]
    NotAFile(&'static str),
    /// It is not text.
    #[error("it is not UTF-8 text (the first other byte is at offset {0})")]
    NotText(usize),
    /// It is too large.
    #[error("it is larger than {LARGEST} bytes")]
    TooLarge,
    /// The system refused.
    #[error("it could not be {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl FileError {
    /// Whether the machine is at fault, and not what the workspace holds.
    pub(super) fn blames_machine(&self) -> bool {
        match self {
            Self::System { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    fn of(action: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing,
            Errno::LOOP => Self::Link,
            Errno::NOTDIR => Self::NotAFolder,
            Errno::ISDIR => Self::NotAFile("a folder"),
            // The walk came to something that is not below the checkout.
            Errno::XDEV | Errno::NAMETOOLONG | Errno::INVAL => Self::Path,
            other => Self::System { action, source: other.into() },
        }
    }
}

/// A file as it was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    mode: u32,
}

impl Found {
    /// Its text; an edit of anything else would be a guess.
    pub(super) fn text(&self) -> Result<&str, FileError> {
        std::str::from_utf8(&self.bytes).map_err(|error| FileError::NotText(error.valid_up_to()))
    }
}

/// The files below one folder.
#[derive(Debug)]
pub(super) struct Files {
    root: OwnedFd,
}

impl Files {
    /// Opens the folder, which is ours.
    pub(super) fn open(dir: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = fs::open(dir, flags, Mode::empty()).map_err(|errno| FileError::of("opened", errno))?;
        Ok(Self { root })
    }

    /// Reads a file; `None` if there is none.
    pub(super) fn read(&self, path: &str) -> Result<Option<Found>, FileError> {
        parts(path)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match open(&self.root, path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NXIO) => return Err(FileError::NotAFile("a socket or a device")),
            Err(errno) => return Err(FileError::of("opened", errno)),
        };
        let stat = fs::fstat(&file).map_err(|errno| FileError::of("read", errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(FileError::NotAFile("a folder")),
            _ => return Err(FileError::NotAFile("a device or a pipe")),
        }
        let mut bytes = Vec::new();
        file.take(LARGEST as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| FileError::System { action: "read", source })?;
        if bytes.len() > LARGEST {
            return Err(FileError::TooLarge);
        }
        Ok(Some(Found { bytes, mode: stat.st_mode & 0o7777 }))
    }

    /// Puts `text` in the place of what `read` found, which keeps its mode. Folders that are missing are made.
    pub(super) fn write(&self, path: &str, text: &str, before: Option<&Found>) -> Result<(), FileError> {
        let failed = |errno| FileError::of("written", errno);
        let parts = parts(path)?;
        let Some((name, folders)) = parts.split_last() else { return Err(FileError::Path) };
        let mut folder = open_folder(&self.root, ".").map_err(failed)?;
        for part in folders {
            folder = match open_folder(&folder, part) {
                Err(Errno::NOENT) => {
                    fs::mkdirat(&folder, *part, Mode::from_raw_mode(0o755)).map_err(failed)?;
                    open_folder(&folder, part).map_err(failed)?
                }
                other => other.map_err(failed)?,
            };
        }
        if before.is_some() {
            // A new file takes its place: the old one may have other names, which stay as they are.
            fs::unlinkat(&folder, *name, AtFlags::empty()).map_err(failed)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = open(&folder, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let mut file = File::from(file);
        file.write_all(text.as_bytes()).map_err(|source| FileError::System { action: "written", source })?;
        let mode = before.map_or(NEW_FILE, |found| found.mode);
        fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed)
    }
}

/// The names a path is made of. Git's own folder is none of the workspace's.
fn parts(path: &str) -> Result<Vec<&str>, FileError> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |part: &&str| !matches!(*part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git");
    if parts.iter().all(fits) && !path.contains('\0') { Ok(parts) } else { Err(FileError::Path) }
}

fn open_folder(at: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    open(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK, Mode::empty())
}

fn open(at: &OwnedFd, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The kernel gives up on a beneath-only walk that races a rename anywhere and asks to be called again.
    for _ in 0..16 {
        match fs::openat2(at, path, flags, mode, RESOLVE) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}
