//! What a capture tells: what changed, what a person should see, and why it was refused.
//! Paths in it come from a sandbox; they are data and are shown escaped.

use std::io;

use super::names::TreePath;
use super::tree::{DEEPEST, Node};

/// The longest path that is captured, in bytes.
pub(crate) const LONGEST_PATH: usize = 4096;

/// How much may be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Names in all directories walked, captured or not.
    pub entries: u64,
    /// Size of one new or changed file, in bytes. A sparse file counts with its apparent size.
    pub file_bytes: u64,
    /// Size of all new and changed files together, in bytes.
    pub total_bytes: u64,
}

impl Default for Limits {
    /// A million names, one GiB a file, sixteen GiB together.
    fn default() -> Self {
        Self { entries: 1_000_000, file_bytes: 1 << 30, total_bytes: 16 << 30 }
    }
}

/// What happens to a new symbolic link that cannot be shown to stay inside the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EscapingLinks {
    /// The capture is refused.
    #[default]
    Reject,
    /// It is captured as text and flagged.
    Flag,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary file.
    File,
    /// An ordinary file its owner may execute.
    Executable,
    /// A symbolic link.
    Link,
    /// A reference to a commit of another repository.
    Submodule,
}

impl Kind {
    pub(crate) fn of(node: &Node) -> Option<Self> {
        match node {
            Node::File { executable: false, .. } => Some(Self::File),
            Node::File { executable: true, .. } => Some(Self::Executable),
            Node::Link { .. } => Some(Self::Link),
            Node::Submodule(_) => Some(Self::Submodule),
            Node::Directory(_) => None,
        }
    }
}

/// A path whose content or kind is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// Where.
    pub path: TreePath,
    /// What was there; `None` when the path is new.
    pub before: Option<Kind>,
    /// What is there now; `None` when the path is gone.
    pub after: Option<Kind>,
}

/// Something a person should see before the result is used outside a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flagged {
    /// Where.
    pub path: TreePath,
    /// What about it.
    pub kind: FlagKind,
}

/// Why a path is flagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// It changed, and tools on a host run it or obey it.
    ExecutesOnHost,
    /// Some filesystem takes it for `.git`. It was left out.
    DotGit,
    /// A pipe, socket or device. It was left out.
    SpecialFile,
    /// A symbolic link that cannot be shown to stay inside. It was taken as text.
    EscapingLink,
    /// It had set-user-id, set-group-id or sticky bits. They were dropped.
    SpecialBits,
    /// Its name equals that of a sibling on a filesystem that ignores case or Unicode form.
    NameCollision,
    /// An ignore file that could not be used. It has no effect.
    UnusableIgnoreFile,
    /// Files inside the directory of a submodule. They were left out.
    SubmoduleContent,
    /// A directory that is a repository of its own. It was left out.
    NestedRepository,
}

/// The directory cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// An entry could not be read.
    #[error("could not read `{path}`")]
    Unreadable {
        /// Which entry.
        path: TreePath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An entry changed while it was read.
    #[error("`{path}` changed while it was being read")]
    Unstable {
        /// Which entry.
        path: TreePath,
    },
    /// A file is larger than allowed.
    #[error("`{path}` has {size} bytes, more than the {limit} allowed for one file")]
    FileTooLarge {
        /// Which file.
        path: TreePath,
        /// Its apparent size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// New and changed files are larger together than allowed.
    #[error("new and changed files have more than the {limit} bytes allowed together")]
    TooMuch {
        /// The limit in bytes.
        limit: u64,
    },
    /// There are more names than allowed.
    #[error("there are more than the {limit} files allowed")]
    TooMany {
        /// The limit.
        limit: u64,
    },
    /// Directories are nested deeper than allowed.
    #[error("`{path}` is nested more than {DEEPEST} directories deep")]
    TooDeep {
        /// The first directory below the limit.
        path: TreePath,
    },
    /// A path is longer than allowed.
    #[error("a path has {length} bytes, more than the {LONGEST_PATH} allowed")]
    PathTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A new symbolic link may lead out of the workspace.
    #[error("the symbolic link `{path}` may lead out of the workspace, to `{target}`")]
    EscapingLink {
        /// The link.
        path: TreePath,
        /// What it says.
        target: TreePath,
    },
    /// Content, path or target hold a secret of the run.
    #[error(
        "`{path}` holds a secret of this run; what holds one is not kept: write it outside of the workspace, \
         or make the workspace `scratch`"
    )]
    Secret {
        /// Where.
        path: TreePath,
    },
    /// A file is larger than what is searched for secrets.
    #[error(
        "`{path}` has {size} bytes, and a run with secrets keeps no new or changed file of more than {limit}: \
         a larger one is not searched for them; write it outside of the workspace, leave it out by \
         `.gitignore`, or make the workspace `scratch`"
    )]
    TooLargeToSearch {
        /// Which file.
        path: TreePath,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Another filesystem is mounted inside.
    #[error("`{path}` lies on another filesystem")]
    OtherFilesystem {
        /// The mount point.
        path: TreePath,
    },
    /// New content could not be kept.
    #[error("could not keep new content")]
    Spool(#[source] io::Error),
}

impl ScanError {
    /// Whether what was left in the directory is at fault, and not the machine.
    pub fn blames_content(&self) -> bool {
        !matches!(self, Self::Unreadable { .. } | Self::Spool(_) | Self::OtherFilesystem { .. })
    }
}
