//! Makes a directory hold exactly a tree, writing only what differs.
//! Existing files are never written into, because a link elsewhere may share them: what differs is
//! removed and created anew.

use std::fs::File;
use std::io::{self, Write as _};

use rustix::fs::{FileType, Stat};

use super::blobs::{Blobs, CopyError};
use super::checkout::{Clean, Stats};
use super::fsdir::{self, Dir};
use super::git::GitError;
use super::ids::{ObjectFormat, ObjectId};
use super::ignores::{Entered, Ignores};
use super::leaves::hash_blob;
use super::names::{self, TreePath};
use super::remove::Trash;
use super::stamp::{Moment, Stamp};
use super::tree::{Directory, Node};

/// A directory could not be brought to a tree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error("could not {action} `{path}`")]
    Disk {
        action: &'static str,
        path: TreePath,
        #[source]
        source: io::Error,
    },
    #[error("git could not provide content")]
    Git(#[source] GitError),
}

pub(crate) struct Reconcile<'a> {
    pub(crate) format: ObjectFormat,
    pub(crate) clean: Clean,
    pub(crate) blobs: Blobs<'a>,
    pub(crate) trash: Trash,
    pub(crate) ignores: Ignores,
    pub(crate) path: Vec<u8>,
    pub(crate) stats: Stats,
}

/// Earlier than anything, so that no stamp taken with it counts as settled.
const NOT_YET: Moment = (i64::MIN, 0);

impl Reconcile<'_> {
    fn disk(&self, action: &'static str) -> impl FnOnce(io::Error) -> ReconcileError + use<> {
        let path = TreePath::from(self.path.as_slice());
        move |source| ReconcileError::Disk { action, path, source }
    }

    /// Brings `dir` to `target` and stamps the files of `target`.
    pub(crate) fn directory(
        &mut self,
        dir: &Dir,
        target: &mut Directory,
        known: Option<&Directory>,
        ignored: bool,
    ) -> Result<(), ReconcileError> {
        let prefix = self.path.len();
        let own_prefix = if prefix == 0 { 0 } else { prefix + 1 };
        // The ignore file comes first: the rules of the tree decide what else may stay, not those
        // that somebody left on disk.
        let mut entered = Entered::Bare;
        if let Some(node) = target.entries.get_mut(&b".gitignore"[..]) {
            self.entry(dir, b".gitignore", node, known, false)?;
            if self.clean == Clean::Untracked {
                entered = self.ignores.enter(dir, own_prefix);
            }
        }
        let on_disk = dir.names(u64::MAX).map_err(self.disk("list"))?.unwrap_or_default();
        for name in &on_disk {
            if !target.entries.contains_key(name) {
                self.push(name);
                self.extra(dir, name, ignored)?;
                self.path.truncate(prefix);
            }
        }
        for (name, node) in &mut target.entries {
            if **name == *b".gitignore" {
                continue;
            }
            let left_out = if let Node::Directory(_) = node {
                self.push(name);
                let left_out = ignored || self.ignores.matches(&self.path, true);
                self.path.truncate(prefix);
                left_out
            } else {
                ignored
            };
            self.entry(dir, name, node, known, left_out)?;
        }
        self.ignores.leave(entered);
        Ok(())
    }

    fn push(&mut self, name: &[u8]) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
    }

    /// Something on disk that the tree does not have.
    fn extra(&mut self, dir: &Dir, name: &[u8], ignored: bool) -> Result<(), ReconcileError> {
        if self.clean == Clean::Untracked && !names::is_dot_git(name) {
            let stat = dir.stat(name).map_err(self.disk("look at"))?;
            let is_dir = fsdir::file_type(&stat) == FileType::Directory;
            if ignored || self.ignores.matches(&self.path, is_dir) {
                return Ok(());
            }
        }
        self.remove(dir, name)
    }

    fn remove(&mut self, dir: &Dir, name: &[u8]) -> Result<(), ReconcileError> {
        self.trash.remove(dir, name).map_err(self.disk("remove"))?;
        self.stats.removed += 1;
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &Dir,
        name: &[u8],
        node: &mut Node,
        known: Option<&Directory>,
        ignored: bool,
    ) -> Result<(), ReconcileError> {
        let prefix = self.path.len();
        self.push(name);
        let stat = match dir.stat(name) {
            Ok(stat) => Some(stat),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.disk("look at")(error)),
        };
        let known = known.and_then(|known| known.entries.get(name));
        match node {
            Node::Directory(target) => {
                let below = self.open_directory(dir, name, stat)?;
                let known = match known {
                    Some(Node::Directory(known)) => Some(known),
                    _ => None,
                };
                self.directory(&below, target, known, ignored)?;
            }
            Node::Submodule(_) => {
                let below = self.open_directory(dir, name, stat)?;
                for name in below.names(u64::MAX).map_err(self.disk("list"))?.unwrap_or_default() {
                    self.remove(&below, &name)?;
                }
            }
            Node::File { .. } | Node::Link { .. } => self.leaf(dir, name, node, known, stat)?,
        }
        self.path.truncate(prefix);
        Ok(())
    }

    fn open_directory(&mut self, dir: &Dir, name: &[u8], stat: Option<Stat>) -> Result<Dir, ReconcileError> {
        match stat {
            Some(stat) if fsdir::file_type(&stat) == FileType::Directory => {
                let below = dir.open_dir_unlocked(name).map_err(self.disk("open"))?;
                if stat.st_mode & 0o7777 != 0o755 {
                    below.set_mode(0o755).map_err(self.disk("set the permissions of"))?;
                }
                return Ok(below);
            }
            Some(_) => self.remove(dir, name)?,
            None => {}
        }
        dir.make_dir(name).map_err(self.disk("create"))
    }

    fn leaf(
        &mut self,
        dir: &Dir,
        name: &[u8],
        node: &mut Node,
        known: Option<&Node>,
        stat: Option<Stat>,
    ) -> Result<(), ReconcileError> {
        if let Some(stat) = stat {
            if let Some(known) = known.filter(|known| known.same_content(node))
                && self.is_untouched(dir, name, known, &stat)
            {
                *node = known.clone();
                self.stats.kept += 1;
                return Ok(());
            }
            self.trash.remove(dir, name).map_err(self.disk("replace"))?;
        }
        self.stats.written += 1;
        match node {
            Node::File { executable, id, stamp } => {
                let mut file = dir.create_file(name).map_err(self.disk("create"))?;
                self.stats.bytes += self.blobs.copy(*id, &mut file).map_err(|source| self.content(source))?;
                *stamp = Some(seal(file, *executable).map_err(self.disk("finish writing"))?);
            }
            Node::Link { id, stamp } => {
                let target = self.blobs.read(*id).map_err(|source| self.content(source))?;
                dir.make_link(name, &target).map_err(self.disk("create"))?;
                let stat = dir.stat(name).map_err(self.disk("look at"))?;
                *stamp = Some(Stamp::of(&stat, NOT_YET));
            }
            Node::Submodule(_) | Node::Directory(_) => {}
        }
        Ok(())
    }

    fn content(&self, source: CopyError) -> ReconcileError {
        match source {
            CopyError::Write(source) => self.disk("write")(source),
            CopyError::Git(source) => ReconcileError::Git(source),
        }
    }

    /// Whether a file still holds what is known of it. Where the metadata cannot tell, the content
    /// decides.
    fn is_untouched(&self, dir: &Dir, name: &[u8], known: &Node, stat: &Stat) -> bool {
        match (known, fsdir::file_type(stat)) {
            (Node::File { executable, id, stamp: Some(stamp) }, FileType::RegularFile) => {
                let mode = if *executable { 0o755 } else { 0o644 };
                stamp.agrees(stat)
                    && stat.st_mode & 0o7777 == mode
                    && (stamp.settled || self.content_is(dir, name, *id, stamp.size))
            }
            (Node::Link { id, stamp: Some(stamp) }, FileType::Symlink) => {
                stamp.agrees(stat)
                    && (stamp.settled
                        || dir.read_link(name).is_ok_and(|target| self.format.object("blob", &target) == *id))
            }
            _ => false,
        }
    }

    fn content_is(&self, dir: &Dir, name: &[u8], id: ObjectId, size: u64) -> bool {
        // Anything in the way of reading it is a reason to write it again.
        let Ok(mut file) = dir.open_file(name) else { return false };
        let is_file = fsdir::file_stat(&file).is_ok_and(|stat| {
            fsdir::file_type(&stat) == FileType::RegularFile && stat.st_size as u64 == size
        });
        is_file && hash_blob(self.format, &mut file, size).is_ok_and(|found| found == Some(id))
    }
}

fn seal(mut file: File, executable: bool) -> io::Result<Stamp> {
    file.flush()?;
    fsdir::set_file_mode(&file, if executable { 0o755 } else { 0o644 })?;
    Ok(Stamp::of(&fsdir::file_stat(&file)?, NOT_YET))
}

/// Judges all stamps anew, as of a moment after the last file was written.
pub(crate) fn settle(directory: &mut Directory, now: Moment) {
    for node in directory.entries.values_mut() {
        match node {
            Node::File { stamp: Some(stamp), .. } | Node::Link { stamp: Some(stamp), .. } => {
                *stamp = stamp.read_at(now);
            }
            Node::Directory(below) => settle(below, now),
            _ => {}
        }
    }
}
