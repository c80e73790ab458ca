//! Differences between trees, single files of a tree, and patches applied to a tree.
//! All of it between objects: no drivers, no text conversion, no work tree.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::git::{GitError, Input, flag, printable};
use super::ids::{ObjectId, TreeId};
use super::names::{self, TreePath};
use super::repository::{Repository, only_id};
use super::tree;

/// How a difference is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffOptions {
    /// Unchanged lines around a change.
    pub context: u32,
    /// The longest patch, in bytes.
    pub max_bytes: u64,
    /// Whether binary content is written out, so that the patch can be applied.
    pub binary: bool,
}

impl Default for DiffOptions {
    /// Three lines of context, at most 64 MiB, binary content included.
    fn default() -> Self {
        Self { context: 3, max_bytes: 64 << 20, binary: true }
    }
}

/// A patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The patch in git's format.
    pub patch: Vec<u8>,
    /// It was longer than allowed and ends in the middle.
    pub truncated: bool,
}

/// How much of a file changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Which file.
    pub path: TreePath,
    /// Lines added and removed; `None` for binary content.
    pub lines: Option<(u64, u64)>,
}

/// A file of a tree could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFileError {
    /// The path names something else than a file: a directory, a link, a submodule.
    #[error("`{path}` is not a file")]
    NotAFile {
        /// The path.
        path: TreePath,
    },
    /// The path cannot be the name of a file in a tree.
    #[error("`{path}` is no path inside a tree")]
    BadPath {
        /// The path.
        path: TreePath,
    },
    /// The file is larger than the caller allows.
    #[error("`{path}` has more than {limit} bytes")]
    TooLarge {
        /// The path.
        path: TreePath,
        /// The limit in bytes.
        limit: u64,
    },
    /// Git could not do its part.
    #[error("git could not read the file")]
    Git(#[from] GitError),
}

/// A patch could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It does not fit the tree, or is no patch.
    #[error("the patch does not apply: {reason}")]
    Rejected {
        /// What git says.
        reason: String,
    },
    /// A temporary file could not be made.
    #[error("could not make a temporary index")]
    Temporary(#[source] std::io::Error),
    /// Git could not do its part.
    #[error("git could not apply the patch")]
    Git(#[from] GitError),
}

impl Repository {
    /// The patch that leads from one tree to another.
    pub fn diff(&self, from: TreeId, to: TreeId, options: DiffOptions) -> Result<Diff, GitError> {
        if from == to {
            return Ok(Diff { patch: Vec::new(), truncated: false });
        }
        let mut args: Vec<OsString> = Vec::new();
        for arg in
            ["diff-tree", "-r", "-p", "-M", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index"]
        {
            args.push(arg.into());
        }
        args.push(flag("--unified=", options.context.to_string()));
        if options.binary {
            args.push("--binary".into());
        }
        args.extend(["--end-of-options".into(), from.to_string().into(), to.to_string().into()]);
        let answer = self.git().ask(&args, Input::Nothing, options.max_bytes)?;
        if answer.cut {
            return Ok(Diff { patch: answer.stdout, truncated: true });
        }
        Ok(Diff { patch: answer.success(&args)?.stdout, truncated: false })
    }

    /// How much each file differs between two trees, renames counted as both.
    pub fn diff_stat(&self, from: TreeId, to: TreeId) -> Result<Vec<FileStat>, GitError> {
        if from == to {
            return Ok(Vec::new());
        }
        let (from, to) = (from.to_string(), to.to_string());
        let args = ["diff-tree", "-r", "--no-renames", "--numstat", "-z", "--end-of-options", &from, &to];
        let listing = self.git().run(&args, Input::Nothing)?;
        let lines = listing.split(|&byte| byte == 0).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let mut fields = line.splitn(3, |&byte| byte == b'\t');
                let number = |field: Option<&[u8]>| std::str::from_utf8(field?).ok()?.parse().ok();
                let (added, removed) = (number(fields.next()), number(fields.next()));
                let path = fields.next().ok_or_else(|| GitError::answer("diff-tree", "a malformed line"))?;
                Ok(FileStat { path: path.into(), lines: added.zip(removed) })
            })
            .collect()
    }

    /// The content of a file of at most `limit` bytes; `None` when the tree has nothing at that path.
    /// Links are not followed.
    pub fn read_file(
        &self,
        tree: TreeId,
        path: &TreePath,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, ReadFileError> {
        if path.as_bytes().len() > 4096 || !path.as_bytes().split(|&byte| byte == b'/').all(names::is_safe) {
            return Err(ReadFileError::BadPath { path: path.clone() });
        }
        let Some((mode, id)) = self.entry(tree, path)? else { return Ok(None) };
        if !mode.starts_with(b"100") {
            return Err(ReadFileError::NotAFile { path: path.clone() });
        }
        let args = ["cat-file", "blob", &id.to_string()];
        let answer = self.git().ask(&args, Input::Nothing, limit)?;
        if answer.cut {
            return Err(ReadFileError::TooLarge { path: path.clone(), limit });
        }
        Ok(Some(answer.success(&args)?.stdout))
    }

    fn entry(&self, tree: TreeId, path: &TreePath) -> Result<Option<(Vec<u8>, ObjectId)>, GitError> {
        let args: [OsString; 6] = [
            "ls-tree".into(),
            "-z".into(),
            "--full-tree".into(),
            "--end-of-options".into(),
            tree.to_string().into(),
            OsString::from_vec(path.as_bytes().to_vec()),
        ];
        let listing = self.git().run(&args, Input::Nothing)?;
        let lines = listing.split(|&byte| byte == 0).filter(|line| !line.is_empty());
        for line in lines {
            let (mode, id, found) =
                tree::entry(line).ok_or_else(|| GitError::answer("ls-tree", "a malformed line"))?;
            if found == path.as_bytes() {
                return Ok(Some((mode.to_vec(), id)));
            }
        }
        Ok(None)
    }

    /// Applies a patch to a tree and returns the tree that results. The patch is untrusted: it can
    /// change nothing but that tree.
    pub fn apply_patch(&self, tree: TreeId, patch: &[u8]) -> Result<TreeId, ApplyError> {
        let directory = tempfile::tempdir_in(self.git().home()).map_err(ApplyError::Temporary)?;
        let index = directory.path().join("index");
        let git = self.git();
        let tree = tree.to_string();
        git.run_prepared(&["read-tree", "--end-of-options", &tree], Input::Nothing, |command| {
            command.env("GIT_INDEX_FILE", &index);
        })?;
        let args = ["apply", "--cached", "--whitespace=nowarn", "-"];
        let applied = git.run_prepared(&args, Input::Bytes(patch), |command| {
            command.env("GIT_INDEX_FILE", &index);
        });
        match applied {
            Ok(_) => {}
            Err(GitError::Failed { stderr, .. }) => {
                return Err(ApplyError::Rejected { reason: printable(stderr.as_bytes()) });
            }
            Err(error) => return Err(error.into()),
        }
        let answer = git.run_prepared(&["write-tree"], Input::Nothing, |command| {
            command.env("GIT_INDEX_FILE", &index);
        })?;
        Ok(TreeId(only_id("write-tree", &answer)?))
    }
}
