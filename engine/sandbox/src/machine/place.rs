//! A directory of the host, reached only through an open file: nothing in it can lead out of it.
//! No step on the way may be a symbolic link or a mount, whoever put it there and whenever.

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

use nix::{
    dir::Dir,
    fcntl::{self, OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, symlinkat, unlinkat},
};

use super::tree::{name, parent};

/// A directory and everything below it.
#[derive(Debug)]
pub(super) struct Place {
    root: OwnedFd,
}

impl Place {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { root })
    }

    /// Another place below this one.
    pub(super) fn below(&self, path: &[u8]) -> io::Result<Self> {
        Ok(Self { root: self.reach(path, OFlag::O_DIRECTORY)? })
    }

    fn reach(&self, path: &[u8], flags: OFlag) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        Ok(openat2(&self.root, OsStr::from_bytes(path), how)?)
    }

    fn holder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.reach(parent(path), OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// What is there, a link as itself.
    pub(super) fn look(&self, path: &[u8]) -> io::Result<Metadata> {
        File::from(self.reach(path, OFlag::O_PATH)?).metadata()
    }

    /// The same; `None` if nothing is there.
    pub(super) fn find(&self, path: &[u8]) -> io::Result<Option<Metadata>> {
        match self.look(path) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names in a directory, in order.
    pub(super) fn names(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut directory = Dir::from_fd(self.reach(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// A regular file, to read. Nothing that would make the reader wait is opened.
    pub(super) fn read(&self, path: &[u8]) -> io::Result<File> {
        let file = File::from(self.reach(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// A directory, to change what it is itself.
    pub(super) fn directory(&self, path: &[u8]) -> io::Result<File> {
        Ok(self.reach(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?.into())
    }

    /// A new file, to write.
    pub(super) fn create(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let holder = self.holder(path)?;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        Ok(fcntl::openat(&holder, OsStr::from_bytes(name(path)), flags, mode)?.into())
    }

    /// A new directory that is its owner's alone.
    pub(super) fn make_directory(&self, path: &[u8]) -> io::Result<()> {
        Ok(mkdirat(self.holder(path)?, OsStr::from_bytes(name(path)), Mode::S_IRWXU)?)
    }

    /// A new symbolic link.
    pub(super) fn make_link(&self, path: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(symlinkat(OsStr::from_bytes(target), self.holder(path)?, OsStr::from_bytes(name(path)))?)
    }

    /// Where a link leads.
    pub(super) fn target(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let holder = self.holder(path)?;
        Ok(fcntl::readlinkat(&holder, OsStr::from_bytes(name(path)))?.into_vec())
    }

    /// Moves a file of another place here, in place of what is there.
    pub(super) fn take(&self, from: &Self, source: &[u8], path: &[u8]) -> io::Result<()> {
        let (old, new) = (from.holder(source)?, self.holder(path)?);
        fcntl::renameat(&old, OsStr::from_bytes(name(source)), &new, OsStr::from_bytes(name(path)))?;
        Ok(())
    }

    /// Removes a file, a link or an empty directory. That nothing is there is fine.
    pub(super) fn remove(&self, path: &[u8]) -> io::Result<()> {
        let Some(meta) = self.find(path)? else { return Ok(()) };
        let flag = if meta.is_dir() { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
        Ok(unlinkat(self.holder(path)?, OsStr::from_bytes(name(path)), flag)?)
    }

    /// Whose it is, among other things.
    pub(super) fn owner(&self) -> io::Result<Metadata> {
        File::from(self.root.as_fd().try_clone_to_owned()?).metadata()
    }
}
