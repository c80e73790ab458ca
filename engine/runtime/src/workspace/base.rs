//! What a run starts from: the user's last commit, or the directory as it is.
//! The user's files are only read here, and only by our own walk.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::findings::{EscapingLinks, Flagged, Limits, ScanError};
use super::fsdir::{self, Dir};
use super::git::GitError;
use super::ids::{CommitId, TreeId};
use super::ignores::Ignores;
use super::index;
use super::locate::UserRepository;
use super::manifest::Manifest;
use super::names::TreePath;
use super::pack::{Pack, PackError};
use super::repository::Repository;
use super::scan::{Found, Place, Scan};
use super::tree::{self, Directory, ReadTreeError};

/// How often a directory that is being worked on is read again.
const TRIES: u32 = 3;

/// Whether a run sees what the user has not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dirty {
    /// It starts from the last commit.
    Exclude,
    /// It starts from the files as they are, untracked ones included, ignored ones not.
    Include,
}

/// What a run starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The tree.
    pub tree: TreeId,
    /// A commit with that tree: the user's own where that is the same, else one we made.
    pub commit: CommitId,
    /// The commit the user has checked out; `None` outside a repository or before its first commit.
    pub head: Option<CommitId>,
    /// What the run will not see.
    pub left_out: LeftOut,
    /// What was noticed about the user's files where they were captured.
    pub flagged: Vec<Flagged>,
}

/// Uncommitted changes that are not part of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// There are none.
    Nothing,
    /// The files differ from the last commit at these paths.
    Changes(Vec<TreePath>),
    /// The files could not be compared with the last commit.
    Unknown {
        /// Why not.
        reason: String,
    },
}

impl LeftOut {
    /// Whether there may be changes the run will not see.
    pub fn is_dirty(&self) -> bool {
        *self != Self::Nothing
    }
}

/// A run has nothing to start from.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// A bare repository has no files.
    #[error("a bare repository has no uncommitted files to include")]
    NoWorkTree,
    /// The last commit holds a name that must not be created.
    #[error("the last commit holds `{path}`, which is no safe file name")]
    UnsafeName {
        /// The path.
        path: TreePath,
    },
    /// The directory could not be opened.
    #[error("could not open `{path}`")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The files cannot be captured.
    #[error("the files of the project cannot be captured")]
    Content(#[from] ScanError),
    /// New objects could not be written to a temporary file.
    #[error("could not write temporary files")]
    Spool(#[source] io::Error),
    /// Git could not do its part.
    #[error("git could not provide the base")]
    Git(#[from] GitError),
}

impl From<PackError> for BaseError {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Spool(error) => Self::Spool(error),
            PackError::Git(error) => Self::Git(error),
        }
    }
}

impl From<ReadTreeError> for BaseError {
    fn from(error: ReadTreeError) -> Self {
        match error {
            ReadTreeError::Git(error) => Self::Git(error),
            ReadTreeError::Unsafe { path } => Self::UnsafeName { path },
        }
    }
}

/// A directory of the user and what is known about it.
struct Project<'a> {
    root: &'a Path,
    place: Place,
    base: Option<&'a Directory>,
    known: Option<&'a Directory>,
    absent: Option<&'a BTreeSet<TreePath>>,
    ignores: Ignores,
}

impl Repository {
    /// What a run of the project starts from. `at_ms` dates the commit that is made where the user
    /// has none, in milliseconds since 1970.
    pub fn base(&self, dirty: Dirty, at_ms: u64) -> Result<Base, BaseError> {
        let Some((user, _)) = self.user() else { return self.base_of_directory(at_ms) };
        let head = self.head()?;
        let head_tree = match head {
            Some(head) => self.tree_of(head)?,
            None => self.format().empty_tree(),
        };
        let committed = tree::read(self.git(), self.format(), head_tree)?;
        match (dirty, &user.work_tree) {
            (Dirty::Exclude, None) => self.committed(head, head_tree, at_ms, LeftOut::Nothing),
            (Dirty::Include, None) => Err(BaseError::NoWorkTree),
            (Dirty::Exclude, Some(root)) => {
                let left_out = match self.scan_work_tree(user, root, &committed, None) {
                    Ok(found) if found.root.id == Some(head_tree.0) => LeftOut::Nothing,
                    Ok(found) => {
                        LeftOut::Changes(found.changed.into_iter().map(|change| change.path).collect())
                    }
                    Err(error) => LeftOut::Unknown { reason: reason(&error) },
                };
                self.committed(head, head_tree, at_ms, left_out)
            }
            (Dirty::Include, Some(root)) => {
                let mut pack = Pack::new(self.git(), self.format());
                let found = self.scan_work_tree(user, root, &committed, Some(&mut pack))?;
                pack.store(self.git())?;
                let tree = found.root.id.map_or_else(|| self.format().empty_tree(), TreeId);
                let mut base = if tree == head_tree {
                    self.committed(head, head_tree, at_ms, LeftOut::Nothing)?
                } else {
                    let parents: Vec<CommitId> = head.into_iter().collect();
                    let message = "The files of the project as the run found them\n";
                    let commit = self.write_commit(tree, &parents, at_ms, message)?;
                    Base { tree, commit, head, left_out: LeftOut::Nothing, flagged: Vec::new() }
                };
                base.flagged = found.flagged;
                Ok(base)
            }
        }
    }

    fn committed(
        &self,
        head: Option<CommitId>,
        tree: TreeId,
        at_ms: u64,
        left_out: LeftOut,
    ) -> Result<Base, BaseError> {
        let commit = match head {
            Some(head) => head,
            None => self.write_commit(tree, &[], at_ms, "An empty project\n")?,
        };
        Ok(Base { tree, commit, head, left_out, flagged: Vec::new() })
    }

    fn scan_work_tree(
        &self,
        user: &UserRepository,
        root: &Path,
        committed: &Directory,
        mut pack: Option<&mut Pack>,
    ) -> Result<Found, BaseError> {
        let Some((_, git)) = self.user() else { return Err(BaseError::NoWorkTree) };
        let exclude = std::fs::read(user.common.join("info").join("exclude")).unwrap_or_default();
        let mut tries = 0;
        loop {
            let index = index::read(git, &user.git_dir)?;
            tries += 1;
            let project = Project {
                root,
                place: Place::WorkTree,
                base: Some(committed),
                known: Some(&index.tracked),
                absent: Some(&index.absent),
                ignores: Ignores::with_base(&exclude),
            };
            let found = self.scan(project, pack.as_deref_mut());
            match found {
                Err(BaseError::Content(ScanError::Unstable { .. })) if tries < TRIES => {
                    // What was read is not what was named, so nothing of it may be stored.
                    if let Some(pack) = &mut pack {
                        **pack = Pack::new(self.git(), self.format());
                    }
                }
                other => return other,
            }
        }
    }

    fn base_of_directory(&self, at_ms: u64) -> Result<Base, BaseError> {
        let record = self.private().join("project.manifest");
        let mut tries = 0;
        let (found, pack) = loop {
            tries += 1;
            let known = Manifest::load(&record).filter(|known| known.format == self.format());
            let known = known.as_ref().map(|known| &known.root);
            let mut pack = Pack::new(self.git(), self.format());
            let project = Project {
                root: self.project(),
                place: Place::Plain,
                base: known,
                known,
                absent: None,
                ignores: Ignores::default(),
            };
            let found = self.scan(project, Some(&mut pack));
            match found {
                Err(BaseError::Content(ScanError::Unstable { .. })) if tries < TRIES => {}
                other => break (other?, pack),
            }
        };
        pack.store(self.git())?;
        let tree = found.root.id.map_or_else(|| self.format().empty_tree(), TreeId);
        let device = std::fs::metadata(self.project()).map_err(|source| self.open_error(source))?.dev();
        let manifest =
            Manifest { format: self.format(), tree, device, user: Box::default(), root: found.root };
        manifest.save(&record).map_err(BaseError::Spool)?;
        let commit =
            self.write_commit(tree, &[], at_ms, "The files of the project as the run found them\n")?;
        Ok(Base { tree, commit, head: None, left_out: LeftOut::Nothing, flagged: found.flagged })
    }

    fn open_error(&self, source: io::Error) -> BaseError {
        BaseError::Open { path: self.project().to_owned(), source }
    }

    fn scan(&self, project: Project<'_>, pack: Option<&mut Pack>) -> Result<Found, BaseError> {
        let Project { root, place, base, known, absent, ignores } = project;
        let opened =
            Dir::open_root(root).map_err(|source| BaseError::Open { path: root.to_owned(), source })?;
        let state = std::fs::metadata(self.state()).map_err(BaseError::Spool)?;
        let clock: File = tempfile::tempfile_in(self.git().home()).map_err(BaseError::Spool)?;
        let scan = Scan {
            format: self.format(),
            place,
            limits: Limits::default(),
            links: EscapingLinks::Flag,
            secrets: None,
            base,
            known,
            absent,
            skip: &[(state.dev(), state.ino())],
            ignores,
            read_at: fsdir::filesystem_now(&clock).map_err(BaseError::Spool)?,
            pack,
        };
        Ok(scan.run(&opened)?)
    }
}

fn reason(error: &BaseError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
