//! The input of a node: the merge of what its needs put out.
//! Merging happens in the object database; no file is written and no program of anybody is run.

use super::git::{GitError, Input, printable};
use super::ids::{CommitId, ObjectId, TreeId};
use super::names::TreePath;
use super::repository::Repository;

/// The most of a merge's answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 16 << 20;

/// The outcome of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// Everything fits together.
    Clean(TreeId),
    /// The same places were changed differently.
    Conflict {
        /// Which paths.
        paths: Vec<TreePath>,
        /// What git says about them, a line each.
        message: String,
    },
}

impl Repository {
    /// Merges the trees of commits. None give the empty tree, one gives its own. The order of the
    /// commits does not matter.
    pub fn merge(&self, commits: &[CommitId]) -> Result<Merge, GitError> {
        let mut commits = commits.to_vec();
        commits.sort_unstable();
        commits.dedup();
        let Some((&first, others)) = commits.split_first() else {
            return Ok(Merge::Clean(self.format().empty_tree()));
        };
        let tree = self.tree_of(first)?;
        let mut all_equal = true;
        for &other in others {
            all_equal &= self.tree_of(other)? == tree;
        }
        if all_equal {
            return Ok(Merge::Clean(tree));
        }
        let (mut merged, mut tree) = (first, tree);
        for (at, &other) in others.iter().enumerate() {
            match self.merge_two(merged, other)? {
                Merge::Clean(result) => tree = result,
                conflict @ Merge::Conflict { .. } => return Ok(conflict),
            }
            if at + 1 < others.len() {
                // The next merge needs to know what both sides have in common with the third.
                merged = self.write_commit(tree, &[merged, other], 0, "Merge of inputs\n")?;
            }
        }
        Ok(Merge::Clean(tree))
    }

    fn merge_two(&self, ours: CommitId, theirs: CommitId) -> Result<Merge, GitError> {
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        let args = [
            "merge-tree",
            "--write-tree",
            "-z",
            "--name-only",
            "--messages",
            "--allow-unrelated-histories",
            &ours,
            &theirs,
        ];
        let answer = self.git().ask(&args, Input::Nothing, LONGEST_ANSWER)?;
        let unreadable = || GitError::answer("merge-tree", "no tree");
        match answer.status.code() {
            Some(0) => {
                let end = answer.stdout.iter().position(|&byte| byte == 0).ok_or_else(unreadable)?;
                let id = ObjectId::from_hex(&answer.stdout[..end]).map_err(|_| unreadable())?;
                Ok(Merge::Clean(TreeId(id)))
            }
            Some(1) => Ok(conflict(&answer.stdout)),
            _ => Err(answer.failure(&args)),
        }
    }
}

/// Tree, conflicted paths, an empty field; then for each message: the number of paths, the paths, a
/// short and a long text.
fn conflict(answer: &[u8]) -> Merge {
    let mut fields = answer.split(|&byte| byte == 0).skip(1);
    let paths: Vec<TreePath> =
        fields.by_ref().take_while(|field| !field.is_empty()).map(TreePath::from).collect();
    let mut lines = Vec::new();
    while let Some(count) = fields.next().and_then(|field| std::str::from_utf8(field).ok()?.parse().ok()) {
        let (kind, text) = (fields.by_ref().nth(count), fields.next());
        if let (Some(kind), Some(text)) = (kind, text)
            && kind.starts_with(b"CONFLICT")
        {
            lines.push(printable(text));
        }
    }
    Merge::Conflict { paths, message: lines.join("\n") }
}
