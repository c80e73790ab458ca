//! What the repository has: commits by name, commits and trees by id. Only looks.

use super::git::{GitError, Input};
use super::ids::{CommitId, TreeId};
use super::repository::{Repository, only_id};

impl Repository {
    /// The commit that a name means to git; `None` if it means none. Outside of a repository of the user nothing has a
    /// name.
    pub fn resolve(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        if !self.is_users() || name.is_empty() {
            return Ok(None);
        }
        let object = format!("{name}^{{commit}}");
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &object];
        let answer = self.refs().ask(&args, Input::Nothing, 1 << 10)?;
        if !answer.status.success() {
            return Ok(None);
        }
        only_id("rev-parse", &answer.stdout).map(CommitId).map(Some)
    }

    /// The commit, if it is here.
    pub fn known_commit(&self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        Ok(self.has(&commit.to_string(), "commit")?.then_some(commit))
    }

    /// The tree, if it is here.
    pub fn known_tree(&self, tree: TreeId) -> Result<Option<TreeId>, GitError> {
        Ok((tree == self.format().empty_tree() || self.has(&tree.to_string(), "tree")?).then_some(tree))
    }

    fn has(&self, id: &str, kind: &str) -> Result<bool, GitError> {
        let object = format!("{id}^{{{kind}}}");
        let answer = self.git().ask(&["cat-file", "-e", &object], Input::Nothing, 1 << 10)?;
        Ok(answer.status.success())
    }
}
