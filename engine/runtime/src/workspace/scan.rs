//! Reads what is in a directory into a tree, without trusting anything in it.
//! Only ordinary files, directories and symbolic links are taken; nothing is followed or run.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::findings::{ChangedPath, EscapingLinks, FlagKind, Flagged, Kind, LONGEST_PATH, Limits, ScanError};
use super::fsdir::{self, Dir};
use super::ids::ObjectFormat;
use super::ignores::{Entered, Ignores};
use super::names::{self, TreePath};
use super::pack::{ObjectKind, Pack};
use super::secrets;
use super::stamp::Moment;
use super::tree::{DEEPEST, Directory, Node};
use crate::redact::Redactor;

/// Whose directory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Ours, where a sandbox has worked.
    Checkout,
    /// The work tree of a repository of the user. Nothing in it may be altered.
    WorkTree,
    /// A directory of the user that is no repository. Nothing in it may be altered.
    Plain,
}

/// What to read and what is known about it.
pub(crate) struct Scan<'a> {
    pub(crate) format: ObjectFormat,
    pub(crate) place: Place,
    pub(crate) limits: Limits,
    pub(crate) links: EscapingLinks,
    /// What must not be in anything new.
    pub(crate) secrets: Option<&'a Redactor>,
    /// The tree the result is compared with.
    pub(crate) base: Option<&'a Directory>,
    /// What was known about the files: their stamps, and which of them are tracked.
    pub(crate) known: Option<&'a Directory>,
    /// Paths that are tracked and absent on purpose.
    pub(crate) absent: Option<&'a BTreeSet<TreePath>>,
    /// Directories to leave out: device and inode.
    pub(crate) skip: &'a [(u64, u64)],
    pub(crate) ignores: Ignores,
    /// The filesystem's clock before anything was read.
    pub(crate) read_at: Moment,
    /// Where new objects go. Without it names are computed and nothing is kept.
    pub(crate) pack: Option<&'a mut Pack>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) root: Directory,
    pub(crate) changed: Vec<ChangedPath>,
    pub(crate) flagged: Vec<Flagged>,
}

impl Scan<'_> {
    /// Reads the directory.
    pub(crate) fn run(self, root: &Dir) -> Result<Found, ScanError> {
        let (base, known) = (self.base, self.known);
        let mut walk = Walk {
            scan: self,
            path: Vec::new(),
            entries: 0,
            bytes: 0,
            changed: Vec::new(),
            flagged: Vec::new(),
        };
        let mut found = walk.directory(root, base, known, 0, false)?;
        if found.id.is_none() {
            // Git has no empty directories, except for the root.
            walk.name(&mut found)?;
        }
        // Names become objects too: the trees that hold them.
        for change in walk.changed.iter().filter(|change| change.after.is_some()) {
            secrets::refuse(walk.scan.secrets, &change.path, change.path.as_bytes())?;
        }
        Ok(Found { root: found, changed: walk.changed, flagged: walk.flagged })
    }
}

/// One name in an open directory, and what is known about it.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) name: &'a [u8],
    pub(crate) base: Option<&'a Node>,
    pub(crate) known: Option<&'a Node>,
    /// How many directories lie between the root and the name.
    pub(crate) depth: usize,
}

pub(crate) struct Walk<'a> {
    pub(crate) scan: Scan<'a>,
    pub(crate) path: Vec<u8>,
    entries: u64,
    pub(crate) bytes: u64,
    changed: Vec<ChangedPath>,
    flagged: Vec<Flagged>,
}

impl Walk<'_> {
    pub(crate) fn here(&self) -> TreePath {
        self.path.as_slice().into()
    }

    pub(crate) fn flag(&mut self, kind: FlagKind) {
        self.flagged.push(Flagged { path: self.here(), kind });
    }

    pub(crate) fn unreadable(&self, source: io::Error) -> ScanError {
        let path = self.here();
        match Errno::from_io_error(&source) {
            Some(Errno::XDEV) => ScanError::OtherFilesystem { path },
            _ if fsdir::changed_underneath(&source) => ScanError::Unstable { path },
            _ => ScanError::Unreadable { path, source },
        }
    }

    fn directory(
        &mut self,
        dir: &Dir,
        base: Option<&Directory>,
        known: Option<&Directory>,
        depth: usize,
        ignored: bool,
    ) -> Result<Directory, ScanError> {
        if depth > DEEPEST {
            return Err(ScanError::TooDeep { path: self.here() });
        }
        let limit = self.scan.limits.entries;
        let names = dir.names(limit - self.entries).map_err(|error| self.unreadable(error))?;
        let names = names.ok_or(ScanError::TooMany { limit })?;
        self.entries += names.len() as u64;

        let prefix = self.path.len();
        let own_prefix = if prefix == 0 { 0 } else { prefix + 1 };
        let mut entered = Entered::Bare;
        if names.binary_search_by(|name| (**name).cmp(b".gitignore")).is_ok() {
            entered = self.scan.ignores.enter(dir, own_prefix);
        }
        let mut entries = BTreeMap::new();
        for name in &names {
            self.push(name)?;
            let spot = Spot {
                dir,
                name,
                base: base.and_then(|base| base.entries.get(name)),
                known: known.and_then(|known| known.entries.get(name)),
                depth,
            };
            if entered == Entered::Unusable && **name == *b".gitignore" {
                self.flag(FlagKind::UnusableIgnoreFile);
            }
            let node = self.entry(spot, ignored)?;
            if let Some(node) = node {
                entries.insert(name.clone(), node);
            }
            self.path.truncate(prefix);
        }
        self.scan.ignores.leave(entered);
        self.missing(&mut entries, &names, base, known)?;
        let mut found = Directory { id: None, entries };
        self.finish(&mut found, base)?;
        Ok(found)
    }

    fn push(&mut self, name: &[u8]) -> Result<(), ScanError> {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        if self.path.len() > LONGEST_PATH {
            return Err(ScanError::PathTooLong { length: self.path.len() });
        }
        Ok(())
    }

    /// What a name stands for; `None` when it is left out.
    /// Nothing of what is at this path is captured, so what was there is gone.
    fn left_out(&mut self, base: Option<&Node>) -> Option<Node> {
        if let Some(base) = base {
            self.gone(base);
        }
        None
    }

    fn entry(&mut self, spot: Spot<'_>, ignored: bool) -> Result<Option<Node>, ScanError> {
        if names::is_dot_git(spot.name) {
            if spot.depth > 0 || self.scan.place == Place::Checkout {
                self.flag(FlagKind::DotGit);
            }
            return Ok(self.left_out(spot.base));
        }
        let stat = spot.dir.stat(spot.name).map_err(|error| self.unreadable(error))?;
        let tracked = spot.known.filter(|_| self.scan.place != Place::Plain);
        let kind = fsdir::file_type(&stat);
        let is_dir = kind == FileType::Directory;
        let left_out = ignored || self.scan.ignores.matches(&self.path, is_dir);
        let keeps_track = match tracked {
            Some(Node::Directory(_)) => is_dir,
            Some(Node::Submodule(_)) => true,
            Some(_) => !is_dir,
            None => false,
        };
        if left_out && !keeps_track {
            return Ok(self.left_out(spot.base));
        }
        match kind {
            FileType::Directory => {
                if let Some(Node::Submodule(id)) = tracked.or(spot.base) {
                    self.submodule(spot)?;
                    let node = Node::Submodule(*id);
                    self.compare(spot.base, &node);
                    return Ok(Some(node));
                }
                self.subdirectory(spot, &stat, left_out)
            }
            FileType::RegularFile => self.file(spot, &stat).map(Some),
            FileType::Symlink => self.link(spot, &stat).map(Some),
            _ => {
                self.flag(FlagKind::SpecialFile);
                Ok(self.left_out(spot.base))
            }
        }
    }

    fn subdirectory(
        &mut self,
        spot: Spot<'_>,
        stat: &Stat,
        ignored: bool,
    ) -> Result<Option<Node>, ScanError> {
        if self.scan.skip.contains(&(stat.st_dev, stat.st_ino)) {
            return Ok(self.left_out(spot.base));
        }
        let opened = match self.scan.place {
            Place::Checkout => spot.dir.open_dir_unlocked(spot.name),
            Place::WorkTree | Place::Plain => spot.dir.open_dir(spot.name),
        };
        let below = opened.map_err(|error| self.unreadable(error))?;
        if self.scan.place == Place::WorkTree && spot.known.is_none() && below.stat(b".git").is_ok() {
            self.flag(FlagKind::NestedRepository);
            return Ok(self.left_out(spot.base));
        }
        if let Some(other) = spot.base.filter(|base| !matches!(base, Node::Directory(_))) {
            self.gone(other);
        }
        let base = spot.base.and_then(as_directory);
        let found =
            self.directory(&below, base, spot.known.and_then(as_directory), spot.depth + 1, ignored)?;
        Ok(found.id.is_some().then_some(Node::Directory(found)))
    }

    fn submodule(&mut self, spot: Spot<'_>) -> Result<(), ScanError> {
        if self.scan.place != Place::Checkout {
            return Ok(());
        }
        let below = spot.dir.open_dir_unlocked(spot.name).map_err(|error| self.unreadable(error))?;
        match below.names(0) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                self.flag(FlagKind::SubmoduleContent);
                Ok(())
            }
            Err(error) => Err(self.unreadable(error)),
        }
    }

    /// Notes the difference between what was at this path and the file, link or submodule there now.
    pub(crate) fn compare(&mut self, base: Option<&Node>, node: &Node) {
        match base {
            Some(base) if base.same_content(node) => return,
            Some(Node::Directory(directory)) => self.all_gone(directory),
            _ => {}
        }
        let before = base.and_then(Kind::of);
        self.changed.push(ChangedPath { path: self.here(), before, after: Kind::of(node) });
        self.flag_acting();
    }

    fn flag_acting(&mut self) {
        if names::executes_on_host(&self.path) {
            self.flag(FlagKind::ExecutesOnHost);
        }
    }

    fn gone(&mut self, node: &Node) {
        if let Node::Directory(directory) = node {
            self.all_gone(directory);
        } else {
            self.changed.push(ChangedPath { path: self.here(), before: Kind::of(node), after: None });
            self.flag_acting();
        }
    }

    fn all_gone(&mut self, directory: &Directory) {
        let prefix = self.path.len();
        for (name, node) in &directory.entries {
            if prefix > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            self.gone(node);
            self.path.truncate(prefix);
        }
    }

    /// Deals with what was there and is not found on disk any more.
    fn missing(
        &mut self,
        entries: &mut BTreeMap<Box<[u8]>, Node>,
        names: &[Box<[u8]>],
        base: Option<&Directory>,
        known: Option<&Directory>,
    ) -> Result<(), ScanError> {
        let prefix = self.path.len();
        let no_entries = BTreeMap::new();
        let (base, known) = (
            base.map_or(&no_entries, |base| &base.entries),
            known.map_or(&no_entries, |known| &known.entries),
        );
        for name in base.keys().chain(known.keys().filter(|name| !base.contains_key(*name))) {
            if names.binary_search(name).is_ok() {
                continue;
            }
            self.push(name)?;
            if let Some(kept) = known.get(name).and_then(|node| self.absent(node)).transpose()? {
                if let Some(base) = base.get(name).filter(|base| !base.same_content(&kept)) {
                    self.gone(base);
                }
                entries.insert(name.clone(), kept);
            } else if let Some(node) = base.get(name) {
                self.gone(node);
            }
            self.path.truncate(prefix);
        }
        Ok(())
    }

    /// What of a missing entry is absent on purpose and stays in the tree.
    fn absent(&mut self, node: &Node) -> Option<Result<Node, ScanError>> {
        let absent = self.scan.absent?;
        let Node::Directory(directory) = node else {
            return absent.contains(&self.here()).then(|| Ok(node.clone()));
        };
        let prefix = self.path.len();
        let mut kept = Directory::default();
        for (name, node) in &directory.entries {
            self.path.push(b'/');
            self.path.extend_from_slice(name);
            match self.absent(node) {
                Some(Ok(node)) => {
                    kept.entries.insert(name.clone(), node);
                }
                Some(error) => return Some(error),
                None => {}
            }
            self.path.truncate(prefix);
        }
        if kept.entries.is_empty() {
            return None;
        }
        Some(self.name(&mut kept).map(|()| Node::Directory(kept)))
    }

    /// Names a directory, reusing the name it had when nothing in it changed.
    fn finish(&mut self, found: &mut Directory, base: Option<&Directory>) -> Result<(), ScanError> {
        if let Some(base) = base
            && base.id.is_some()
            && base.entries.len() == found.entries.len()
            && base
                .entries
                .iter()
                .all(|(name, node)| found.entries.get(name).is_some_and(|found| found.same_content(node)))
        {
            found.id = base.id;
            return Ok(());
        }
        self.flag_collisions(found, base);
        if found.entries.is_empty() { Ok(()) } else { self.name(found) }
    }

    fn name(&mut self, directory: &mut Directory) -> Result<(), ScanError> {
        let bytes = directory.encode();
        let id = self.scan.format.object("tree", &bytes);
        directory.id = Some(id);
        match &mut self.scan.pack {
            Some(pack) => pack
                .add(ObjectKind::Tree, id, bytes.len() as u64, &mut bytes.as_slice())
                .map_err(ScanError::Spool),
            None => Ok(()),
        }
    }

    fn flag_collisions(&mut self, found: &Directory, base: Option<&Directory>) {
        let is_new = |name: &[u8]| base.is_none_or(|base| !base.entries.contains_key(name));
        let mut seen: BTreeMap<Vec<u8>, &[u8]> = BTreeMap::new();
        let mut colliding = Vec::new();
        for name in found.entries.keys() {
            let folded = names::folded(name);
            if let Some(first) = seen.get(&folded) {
                if is_new(first) || is_new(name) {
                    colliding.push(name);
                }
            } else {
                seen.insert(folded, name);
            }
        }
        let prefix = self.path.len();
        for name in colliding {
            if prefix > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            self.flag(FlagKind::NameCollision);
            self.path.truncate(prefix);
        }
    }
}

fn as_directory(node: &Node) -> Option<&Directory> {
    match node {
        Node::Directory(directory) => Some(directory),
        _ => None,
    }
}
