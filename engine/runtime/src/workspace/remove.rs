//! Removes what a sandbox left behind, however deep it is nested and whatever its permissions say.
//! It never follows a link and never leaves the directory it was given.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::fsdir::{self, Dir};

/// Deeper than this, directories are moved up before they are emptied, so that neither the stack
/// nor the number of open directories depends on what somebody nested.
const DEEPEST: usize = 48;

/// A place on the same filesystem where directories wait to be emptied.
#[derive(Debug)]
pub(crate) struct Trash {
    path: PathBuf,
    dir: Option<Dir>,
    waiting: Vec<Vec<u8>>,
    moved: u64,
}

impl Trash {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), dir: None, waiting: Vec::new(), moved: 0 }
    }

    /// Removes an entry, whatever it is.
    pub(crate) fn remove(&mut self, dir: &Dir, name: &[u8]) -> io::Result<()> {
        self.remove_nested(dir, name, 0)?;
        self.empty()
    }

    /// Removes what an earlier process left in the trash.
    pub(crate) fn sweep(&mut self) -> io::Result<()> {
        if !self.path.try_exists()? {
            return Ok(());
        }
        let dir = Dir::open_root(&self.path)?;
        let names = dir.names(u64::MAX)?.unwrap_or_default();
        // New arrivals must not collide with what is there.
        let numbers = names.iter().filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok());
        self.moved = numbers.max().unwrap_or(0);
        for name in names {
            self.remove_nested(&dir, &name, 0)?;
        }
        self.dir = Some(dir);
        self.empty()
    }

    fn empty(&mut self) -> io::Result<()> {
        while let Some(name) = self.waiting.pop() {
            if let Some(dir) = self.dir.take() {
                let removed = self.remove_nested(&dir, &name, 0);
                self.dir.get_or_insert(dir);
                removed?;
            }
        }
        if self.dir.take().is_some() {
            std::fs::remove_dir(&self.path)?;
        }
        Ok(())
    }

    fn remove_nested(&mut self, parent: &Dir, name: &[u8], depth: usize) -> io::Result<()> {
        let stat = parent.stat(name)?;
        if fsdir::file_type(&stat) != FileType::Directory {
            return parent.remove_file(name);
        }
        if stat.st_mode & 0o700 != 0o700 {
            parent.unlock(name)?;
        }
        if depth >= DEEPEST {
            return self.move_up(parent, name);
        }
        let dir = parent.open_dir(name)?;
        for below in dir.names(u64::MAX)?.unwrap_or_default() {
            self.remove_nested(&dir, &below, depth + 1)?;
        }
        parent.remove_empty_dir(name)
    }

    fn move_up(&mut self, parent: &Dir, name: &[u8]) -> io::Result<()> {
        if self.dir.is_none() {
            if !self.path.try_exists()? {
                std::fs::create_dir(&self.path)?;
            }
            self.dir = Some(Dir::open_root(&self.path)?);
        }
        let Some(dir) = &self.dir else { return Err(io::ErrorKind::NotFound.into()) };
        self.moved += 1;
        let new_name = self.moved.to_string().into_bytes();
        parent.move_to(name, dir, &new_name)?;
        self.waiting.push(new_name);
        Ok(())
    }
}
