//! Work inside a directory that somebody hostile may have written: one name at a time, relative to
//! an open directory. Nothing here follows a symbolic link or crosses into another filesystem.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::stamp::Moment;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

impl Dir {
    /// Opens the root of a checkout. Its parents are ours and trusted; it must itself be a directory.
    pub(crate) fn open_root(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(fs::open(path, flags, Mode::empty())?))
    }

    /// Opens the root of a checkout, taking back access first when a sandbox took it away. Only we
    /// can replace what lies at `path`, so looking at it twice is no race.
    pub(crate) fn open_root_unlocked(path: &Path) -> io::Result<Self> {
        match Self::open_root(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if !std::fs::symlink_metadata(path)?.is_dir() {
                    return Err(Errno::NOTDIR.into());
                }
                fs::chmod(path, Mode::RWXU)?;
                Self::open_root(path)
            }
            other => other,
        }
    }

    pub(crate) fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        self.open(name, flags, Mode::empty()).map(Self)
    }

    /// Opens an existing file for reading. The caller checks what it got.
    pub(crate) fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.open(name, flags, Mode::empty()).map(File::from)
    }

    /// Creates a file that must not exist.
    pub(crate) fn create_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        self.open(name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    fn open(&self, name: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The kernel gives up on a beneath-only walk that races a rename and asks to be called again.
        for _ in 0..16 {
            match fs::openat2(&self.0, name, flags, mode, RESOLVE) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    pub(crate) fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        Ok(fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(crate) fn own_stat(&self) -> io::Result<Stat> {
        Ok(fs::fstat(&self.0)?)
    }

    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(fs::readlinkat(&self.0, name, Vec::new())?.into_bytes())
    }

    /// The names in the directory, sorted; `None` when there are more than `most`.
    pub(crate) fn names(&self, most: u64) -> io::Result<Option<Vec<Box<[u8]>>>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if names.len() as u64 >= most {
                return Ok(None);
            }
            names.push(name.into());
        }
        names.sort_unstable();
        Ok(Some(names))
    }

    pub(crate) fn make_dir(&self, name: &[u8]) -> io::Result<Self> {
        fs::mkdirat(&self.0, name, Mode::RWXU)?;
        let dir = self.open_dir(name)?;
        dir.set_mode(0o755)?;
        Ok(dir)
    }

    pub(crate) fn make_link(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(fs::symlinkat(target, &self.0, name)?)
    }

    pub(crate) fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    pub(crate) fn remove_empty_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    pub(crate) fn move_to(&self, name: &[u8], to: &Self, new_name: &[u8]) -> io::Result<()> {
        Ok(fs::renameat(&self.0, name, &to.0, new_name)?)
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fs::fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }

    /// Gives the owner back what a program took away, so that the entry can be read and removed.
    pub(crate) fn unlock(&self, name: &[u8]) -> io::Result<()> {
        let fd = self.open(name, OFlags::PATH, Mode::empty())?;
        let mode = match file_type(&fs::fstat(&fd)?) {
            FileType::Directory => Mode::RWXU,
            FileType::RegularFile => Mode::RUSR | Mode::WUSR,
            _ => return Err(Errno::ACCESS.into()),
        };
        // A path-only descriptor cannot be changed itself; its entry in /proc leads to the very
        // object it holds, so no name is looked up a second time.
        Ok(fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)?)
    }

    /// Opens a directory, taking back access first when it was taken away.
    pub(crate) fn open_dir_unlocked(&self, name: &[u8]) -> io::Result<Self> {
        match self.open_dir(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unlock(name)?;
                self.open_dir(name)
            }
            other => other,
        }
    }

    /// Opens a file, taking back access first when it was taken away.
    pub(crate) fn open_file_unlocked(&self, name: &[u8]) -> io::Result<File> {
        match self.open_file(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unlock(name)?;
                self.open_file(name)
            }
            other => other,
        }
    }
}

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn file_stat(file: &File) -> io::Result<Stat> {
    Ok(fs::fstat(file)?)
}

pub(crate) fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// The present moment on the clock of the filesystem that holds `file`.
pub(crate) fn filesystem_now(file: impl AsFd) -> io::Result<Moment> {
    let now = fs::Timespec { tv_sec: 0, tv_nsec: fs::UTIME_NOW };
    fs::futimens(&file, &fs::Timestamps { last_access: now, last_modification: now })?;
    let stat = fs::fstat(&file)?;
    Ok((stat.st_ctime, stat.st_ctime_nsec as u32))
}

/// Whether an error says that the entry is not what it was a moment ago.
pub(crate) fn changed_underneath(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::ISDIR
                | Errno::LOOP
                | Errno::NXIO
                | Errno::AGAIN
                | Errno::STALE
                | Errno::INVAL
        )
    )
}
