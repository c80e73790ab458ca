//! A private directory that is brought to a tree, worked on by a sandbox, and read back.
//! Nothing about it is believed that a program in the sandbox could have forged.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::blobs::Blobs;
use super::findings::{ChangedPath, EscapingLinks, Flagged, Limits, ScanError};
use super::fsdir::{self, Dir};
use super::git::GitError;
use super::ids::TreeId;
use super::ignores::Ignores;
use super::manifest::Manifest;
use super::names::TreePath;
use super::pack::{Pack, PackError};
use super::reconcile::{Reconcile, ReconcileError, settle};
use super::remove::Trash;
use super::repository::Repository;
use super::scan::{Place, Scan};
use super::tree::{self, ReadTreeError};
use crate::redact::Redactor;

/// A directory we own, locked for this process.
///
/// Beside `dir` lie `dir.lock`, `dir.manifest` and, while something is being removed, `dir.trash`.
#[derive(Debug)]
pub struct Checkout {
    dir: PathBuf,
    lock: File,
    manifest: Option<Manifest>,
    limits: Limits,
    links: EscapingLinks,
    secrets: Option<Redactor>,
    user: Box<str>,
}

/// What may stay in a checkout that is brought to another tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clean {
    /// Untracked files go, files that the ignore rules of the tree leave out stay, such as `target/`.
    Untracked,
    /// Only the tree stays.
    All,
}

/// What bringing a checkout to a tree took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Files and links written.
    pub written: u64,
    /// Files and links that were right already.
    pub kept: u64,
    /// Entries removed that the tree does not have.
    pub removed: u64,
    /// Content written, in bytes.
    pub bytes: u64,
}

/// What a node left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Its tree; all objects of it are stored.
    pub tree: TreeId,
    /// The difference to the tree the checkout was last brought to or captured as, ordered by path.
    pub changed: Vec<ChangedPath>,
    /// What a person should see before the result leaves the sandbox.
    pub flagged: Vec<Flagged>,
}

/// A checkout could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// Another process, or another [`Checkout`], uses the directory.
    #[error("the checkout `{path}` is in use")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The path cannot be a checkout.
    #[error("could not prepare the checkout `{path}`")]
    Prepare {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A checkout could not be brought to a tree. What it holds now is unknown.
#[derive(Debug, thiserror::Error)]
pub enum SetToError {
    /// The tree holds a name that must not be created.
    #[error("the tree `{tree}` holds `{path}`, which is no safe file name")]
    UnsafeName {
        /// The tree.
        tree: TreeId,
        /// The path.
        path: TreePath,
    },
    /// Something in the directory could not be changed.
    #[error("could not {action} `{path}` in the checkout")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Where, relative to the checkout.
        path: TreePath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory itself could not be used.
    #[error("could not use the checkout `{path}`")]
    Root {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Git could not provide the tree or its content.
    #[error("git could not provide the tree")]
    Git(#[from] GitError),
}

/// A checkout could not be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Nothing trustworthy says what the checkout held before.
    #[error("the checkout `{path}` has not been brought to a tree")]
    NoBaseline {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is gone, or is something else now.
    #[error("the checkout `{path}` is no longer a directory that can be opened")]
    Gone {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is in it cannot be captured.
    #[error("the workspace cannot be captured")]
    Content(#[from] ScanError),
    /// New objects could not be written to a temporary file, or the checkout's record not be kept.
    #[error("could not write the record of the checkout")]
    Record(#[source] io::Error),
    /// Git did not take the new objects.
    #[error("git did not store what was captured")]
    Git(#[from] GitError),
}

impl CaptureError {
    /// Whether what the node left behind is at fault, and not the machine.
    pub fn blames_content(&self) -> bool {
        match self {
            Self::Gone { .. } => true,
            Self::Content(error) => error.blames_content(),
            Self::NoBaseline { .. } | Self::Record(_) | Self::Git(_) => false,
        }
    }
}

impl Checkout {
    /// Opens the checkout at `dir`, which need not exist yet. What it held before is remembered only
    /// if its record is whole.
    pub fn open_or_create(dir: &Path) -> Result<Self, CheckoutError> {
        let prepare = |source| CheckoutError::Prepare { path: dir.to_owned(), source };
        if dir.file_name().is_none() {
            return Err(prepare(io::ErrorKind::InvalidInput.into()));
        }
        if let Some(parent) = dir.parent() {
            std::fs::create_dir_all(parent).map_err(prepare)?;
        }
        let lock = loop {
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(beside(dir, ".lock"));
            let lock = lock.map_err(prepare)?;
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(CheckoutError::Busy { path: dir.to_owned() }),
                Err(error) => return Err(prepare(error.into())),
            }
            // Whoever deleted the checkout took the lock's file with it; then this lock holds nobody off.
            if lock.metadata().map_err(prepare)?.nlink() > 0 {
                break lock;
            }
        };
        Trash::new(&beside(dir, ".trash")).sweep().map_err(prepare)?;
        let manifest = Manifest::load(&beside(dir, ".manifest"));
        let user = manifest.as_ref().map_or_else(Box::default, |manifest| manifest.user.clone());
        Ok(Self {
            dir: dir.to_owned(),
            lock,
            manifest,
            limits: Limits::default(),
            links: EscapingLinks::default(),
            secrets: None,
            user,
        })
    }

    /// Changes how much may be captured.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Changes what happens to new links that may lead out of the workspace.
    #[must_use]
    pub fn with_escaping_links(mut self, links: EscapingLinks) -> Self {
        self.links = links;
        self
    }

    /// Captures nothing that holds one of these secrets: no object of it is written.
    #[must_use]
    pub fn guarding(mut self, secrets: Redactor) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who used the checkout last, as [`Checkout::set_user`] was told; empty if that is not known. What it left there
    /// beside the tree may still be there.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Says who uses the checkout from now on. It is on record when the checkout is next brought to a tree.
    pub fn set_user(&mut self, user: &str) {
        self.user = user.into();
    }

    /// The tree the checkout was last brought to or captured as.
    pub fn tree(&self) -> Option<TreeId> {
        self.manifest.as_ref().map(|manifest| manifest.tree)
    }

    /// Makes the directory hold exactly `tree`. Only what differs is written; when nothing does, no
    /// git is started. Nothing else may use the directory meanwhile.
    pub fn set_to(
        &mut self,
        repository: &Repository,
        tree: TreeId,
        clean: Clean,
    ) -> Result<Stats, SetToError> {
        let at_root = |source| SetToError::Root { path: self.dir.clone(), source };
        let root = self.make_root().map_err(at_root)?;
        let device = root.own_stat().map_err(at_root)?.st_dev;
        let format = repository.format();
        // From here on the record no longer tells what the directory holds. Should we be stopped,
        // there must be none.
        let manifest_path = beside(&self.dir, ".manifest");
        match std::fs::remove_file(&manifest_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at_root(error)),
            _ => {}
        }
        let known = self.manifest.take().filter(|known| known.format == format && known.device == device);
        let mut target = match &known {
            Some(known) if known.tree == tree => known.root.clone(),
            _ => tree::read(repository.git(), format, tree).map_err(|error| match error {
                ReadTreeError::Git(error) => SetToError::Git(error),
                ReadTreeError::Unsafe { path } => SetToError::UnsafeName { tree, path },
            })?,
        };
        let mut reconcile = Reconcile {
            format,
            clean,
            blobs: Blobs::new(repository.git()),
            trash: Trash::new(&beside(&self.dir, ".trash")),
            ignores: Ignores::default(),
            path: Vec::new(),
            stats: Stats::default(),
        };
        reconcile.directory(&root, &mut target, known.as_ref().map(|known| &known.root), false)?;
        let stats = reconcile.stats;
        settle(&mut target, fsdir::filesystem_now(&self.lock).map_err(at_root)?);
        let manifest = Manifest { format, tree, device, user: self.user.clone(), root: target };
        manifest.save(&manifest_path).map_err(at_root)?;
        self.manifest = Some(manifest);
        Ok(stats)
    }

    /// Reads what is in the directory now into a tree. When nothing changed, no file is read and no
    /// git is started. The sandbox that used the directory must have been stopped.
    ///
    /// Untracked files are left out by the `.gitignore` files as they are found now; tracked files
    /// stay tracked. Nothing is converted: the bytes on disk are the bytes of the tree.
    pub fn capture(&mut self, repository: &Repository) -> Result<Captured, CaptureError> {
        let gone = |source| CaptureError::Gone { path: self.dir.clone(), source };
        let root = Dir::open_root_unlocked(&self.dir).map_err(gone)?;
        let device = root.own_stat().map_err(gone)?.st_dev;
        let format = repository.format();
        let known = self.manifest.as_ref().filter(|known| known.format == format && known.device == device);
        let known = known.ok_or_else(|| CaptureError::NoBaseline { path: self.dir.clone() })?;
        let mut pack = Pack::new(repository.git(), format);
        let scan = Scan {
            format,
            place: Place::Checkout,
            limits: self.limits,
            links: self.links,
            secrets: self.secrets.as_ref(),
            base: Some(&known.root),
            known: Some(&known.root),
            absent: None,
            skip: &[],
            ignores: Ignores::default(),
            read_at: fsdir::filesystem_now(&self.lock).map_err(CaptureError::Record)?,
            pack: Some(&mut pack),
        };
        let found = scan.run(&root)?;
        pack.store(repository.git()).map_err(|error| match error {
            PackError::Spool(error) => CaptureError::Record(error),
            PackError::Git(error) => CaptureError::Git(error),
        })?;
        let tree = found.root.id.map_or_else(|| format.empty_tree(), TreeId);
        let mut changed = found.changed;
        changed.sort_by(|one, other| one.path.cmp(&other.path));
        let manifest = Manifest { format, tree, device, user: self.user.clone(), root: found.root };
        if let Err(error) = manifest.save(&beside(&self.dir, ".manifest")) {
            self.manifest = None;
            return Err(CaptureError::Record(error));
        }
        self.manifest = Some(manifest);
        Ok(Captured { tree, changed, flagged: found.flagged })
    }

    /// Removes the directory and everything kept beside it.
    pub fn delete(self) -> Result<(), CheckoutError> {
        let failed = |source| CheckoutError::Prepare { path: self.dir.clone(), source };
        let Some(name) = self.dir.file_name() else { return Ok(()) };
        let parent = Dir::open_root(self.dir.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        for end in ["", ".manifest", ".trash", ".lock"] {
            let mut name = name.to_owned();
            name.push(end);
            let name = name.as_encoded_bytes();
            let removed = match parent.stat(name) {
                Ok(_) => Trash::new(&beside(&self.dir, ".trash")).remove(&parent, name),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens the directory, putting one where there is none. Something else in its place goes.
    fn make_root(&self) -> io::Result<Dir> {
        match std::fs::symlink_metadata(&self.dir) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                std::fs::remove_file(&self.dir)?;
                std::fs::create_dir(&self.dir)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir(&self.dir)?,
            Err(error) => return Err(error),
        }
        Dir::open_root_unlocked(&self.dir)
    }
}

impl From<ReconcileError> for SetToError {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Disk { action, path, source } => Self::Disk { action, path, source },
            ReconcileError::Git(error) => Self::Git(error),
        }
    }
}

/// A path next to the directory, its name extended.
fn beside(dir: &Path, end: &str) -> PathBuf {
    let mut name = dir.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(end);
    dir.with_file_name(name)
}
