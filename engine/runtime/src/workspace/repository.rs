//! The object database and the refs of runs.
//! Inside a repository of the user only objects and `refs/blueprint/` are ever written; its index,
//! branches, stash, configuration and work tree are not.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::git::{Git, GitError, Input, printable};
use super::ids::{CommitId, ObjectFormat, ObjectId, TreeId};
use super::locate::{OLDEST_GIT, UserRepository, check_version, find, format_of, set_up};

/// Whom the commits of runs name as author and committer.
const AUTHOR: (&str, &str) = ("blueprint", "blueprint@localhost");

/// Where the trees and commits of runs are kept.
///
/// Every method may start git and wait for it, so asynchronous callers use a blocking thread.
#[derive(Debug)]
pub struct Repository {
    format: ObjectFormat,
    /// Objects: a git directory of our own, with the user's objects behind it if there are any.
    git: Git,
    /// Refs: the user's git directory, or the same as above.
    refs: Git,
    user: Option<UserRepository>,
    project: PathBuf,
    state: PathBuf,
    private: PathBuf,
    trees: Mutex<HashMap<CommitId, TreeId>>,
}

/// There is no usable place for the objects of runs.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A directory cannot be used.
    #[error("could not use `{path}`")]
    Directory {
        /// Which directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A `.git` file leads nowhere.
    #[error("`{path}` does not lead to a git directory")]
    BrokenLink {
        /// The `.git` file.
        path: PathBuf,
    },
    /// Git is too old.
    #[error("git {}.{} or newer is needed, found `{found}`", OLDEST_GIT.0, OLDEST_GIT.1)]
    OldGit {
        /// What git says of itself.
        found: String,
    },
    /// The repository uses a hash function we do not know.
    #[error("the repository uses the unknown object format `{format}`")]
    UnknownFormat {
        /// Its name.
        format: String,
    },
    /// Git could not do its part.
    #[error("git could not open the repository")]
    Git(#[from] GitError),
}

/// What a node's commit says about where it came from.
#[derive(Debug, Clone, Copy)]
pub struct CommitInfo<'a> {
    /// The run.
    pub run: &'a str,
    /// The node.
    pub node: &'a str,
    /// Which try of the node.
    pub attempt: u32,
    /// The name of the blueprint.
    pub blueprint: &'a str,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// A subject line and, after an empty line, a text.
    pub message: &'a str,
}

impl Repository {
    /// Finds the repository `project` lies in, or sets up a private one below `state`, which is
    /// created when missing.
    pub fn discover(project: &Path, state: &Path) -> Result<Self, RepositoryError> {
        let absolute = |path: &Path| {
            path.canonicalize().map_err(|source| RepositoryError::Directory { path: path.to_owned(), source })
        };
        let project = absolute(project)?;
        let home = state.join("git").join("home");
        std::fs::create_dir_all(&home)
            .map_err(|source| RepositoryError::Directory { path: home.clone(), source })?;
        let (home, state) = (absolute(&home)?, absolute(state)?);
        check_version(&home)?;
        let user = find(&project)?;
        let format = match &user {
            Some(user) => format_of(user, &home)?,
            None => ObjectFormat::Sha1,
        };
        let empty_tree = format.empty_tree().to_string();
        let name = match &user {
            Some(_) => format.name().to_owned(),
            None => blake3::hash(project.as_os_str().as_bytes()).to_hex()[..16].to_owned(),
        };
        let private = home.with_file_name(format!("{name}.git"));
        let own = Git::new(&private, &home, empty_tree.clone());
        set_up(&private, &home, format)?;
        let (git, refs) = match &user {
            Some(user) => (
                own.with_objects(&user.common.join("objects"), &user.common.join("shallow")),
                Git::new(&user.git_dir, &home, empty_tree),
            ),
            None => (own.clone(), own),
        };
        Ok(Self { format, git, refs, user, project, state, private, trees: Mutex::default() })
    }

    /// The hash function of the repository.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Whether runs are kept in a repository of the user.
    pub fn is_users(&self) -> bool {
        self.user.is_some()
    }

    /// Where the project lies inside the tree: empty when it is the root.
    pub fn project_prefix(&self) -> &Path {
        let work_tree = self.user.as_ref().and_then(|user| user.work_tree.as_deref());
        work_tree.and_then(|root| self.project.strip_prefix(root).ok()).unwrap_or(Path::new(""))
    }

    /// Commits a tree as the output of a node. Equal arguments give equal commits.
    pub fn commit(
        &self,
        tree: TreeId,
        parents: &[CommitId],
        info: &CommitInfo<'_>,
    ) -> Result<CommitId, GitError> {
        let node = printable(info.node.as_bytes());
        let text = info.message.replace(['\0', '\r'], "");
        let subject =
            if text.trim().is_empty() { format!("Output of `{node}`") } else { text.trim().to_owned() };
        // The trailers are a paragraph of their own at the end, so nothing in the text is one.
        let message = format!(
            "{subject}\n\nBlueprint-Name: {}\nBlueprint-Run: {}\nBlueprint-Node: {node}\nBlueprint-Attempt: {}\n",
            printable(info.blueprint.as_bytes()),
            printable(info.run.as_bytes()),
            info.attempt,
        );
        self.write_commit(tree, parents, info.at_ms, &message)
    }

    pub(crate) fn write_commit(
        &self,
        tree: TreeId,
        parents: &[CommitId],
        at_ms: u64,
        message: &str,
    ) -> Result<CommitId, GitError> {
        if tree == self.format.empty_tree() {
            // Git knows this tree without having it, and a commit of it would be called broken.
            self.git.run(&["hash-object", "-t", "tree", "-w", "--stdin"], Input::Nothing)?;
        }
        let mut args = vec!["commit-tree".to_owned(), "-F".to_owned(), "-".to_owned()];
        for parent in parents {
            args.extend(["-p".to_owned(), parent.to_string()]);
        }
        args.push(tree.to_string());
        let date = format!("@{} +0000", at_ms / 1000);
        let answer = self.git.run_prepared(&args, Input::Bytes(message.as_bytes()), |command| {
            for (role, value) in [("NAME", AUTHOR.0), ("EMAIL", AUTHOR.1), ("DATE", &date)] {
                command.env(format!("GIT_AUTHOR_{role}"), value).env(format!("GIT_COMMITTER_{role}"), value);
            }
        })?;
        let commit = CommitId(only_id("commit-tree", &answer)?);
        self.remember(commit, tree);
        Ok(commit)
    }

    /// The tree of a commit.
    pub fn tree_of(&self, commit: CommitId) -> Result<TreeId, GitError> {
        let known = self.trees.lock().unwrap_or_else(PoisonError::into_inner).get(&commit).copied();
        if let Some(tree) = known {
            return Ok(tree);
        }
        let object = format!("{commit}^{{tree}}");
        let answer = self.git.run(&["rev-parse", "--verify", "--end-of-options", &object], Input::Nothing)?;
        let tree = TreeId(only_id("rev-parse", &answer)?);
        self.remember(commit, tree);
        Ok(tree)
    }

    fn remember(&self, commit: CommitId, tree: TreeId) {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner).insert(commit, tree);
    }

    /// The commit the user has checked out; `None` when there is none yet.
    pub(crate) fn head(&self) -> Result<Option<CommitId>, GitError> {
        if self.user.is_none() {
            return Ok(None);
        }
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD"];
        let answer = self.refs.ask(&args, Input::Nothing, 1 << 10)?;
        match answer.status.code() {
            Some(0) => only_id("rev-parse", &answer.stdout).map(CommitId).map(Some),
            Some(1) => Ok(None),
            _ => Err(answer.failure(&args)),
        }
    }

    pub(crate) fn refs(&self) -> &Git {
        &self.refs
    }

    pub(crate) fn git(&self) -> &Git {
        &self.git
    }

    pub(crate) fn user(&self) -> Option<(&UserRepository, &Git)> {
        self.user.as_ref().map(|user| (user, &self.refs))
    }

    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn private(&self) -> &Path {
        &self.private
    }
}

/// An answer that is one object name.
pub(crate) fn only_id(command: &str, answer: &[u8]) -> Result<ObjectId, GitError> {
    ObjectId::from_hex(answer.trim_ascii())
        .map_err(|_| GitError::answer(command, format!("`{}`", printable(answer))))
}
