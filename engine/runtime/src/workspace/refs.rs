//! The refs of runs, below `refs/blueprint/`. No other ref is ever written.

use std::fmt::Write as _;

use super::git::{GitError, Input};
use super::ids::CommitId;
use super::repository::Repository;

/// The name of a ref of a run, below `refs/blueprint/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(String);

impl RefName {
    /// The ref that holds the output of a node. Characters that refs cannot have are escaped, so
    /// different nodes never share one.
    pub fn of_node(run: &str, node: &str) -> Self {
        Self(format!("{}{}", prefix_of_run(run), escaped(node)))
    }

    /// The name under which a ref of `run` is handed on to the run `heir`. No node of that run has it. `None` if this is
    /// no ref of `run`.
    pub fn handed_on(&self, run: &str, heir: &str, commit: CommitId) -> Option<Self> {
        let node = self.0.strip_prefix(&prefix_of_run(run))?;
        let commit = commit.to_string();
        // `%40` is `@`, which no path of a node has.
        Some(Self(format!("{}{node}%40{}", prefix_of_run(heir), commit.get(..12).unwrap_or(&commit))))
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn prefix_of_run(run: &str) -> String {
    format!("refs/blueprint/{}/", escaped(run))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => escaped.push(byte.into()),
            // Writing into a string cannot fail.
            _ => write!(escaped, "%{byte:02X}").unwrap_or_default(),
        }
    }
    if escaped.is_empty() { "%".to_owned() } else { escaped }
}

impl Repository {
    /// Points a ref of a run at a commit.
    pub fn set_ref(&self, name: &RefName, commit: CommitId) -> Result<(), GitError> {
        self.set_refs(&[(name.clone(), commit)])
    }

    /// Points several refs at their commits; all of them or none.
    pub fn set_refs(&self, refs: &[(RefName, CommitId)]) -> Result<(), GitError> {
        let mut script = String::new();
        for (name, commit) in refs {
            // Writing into a string cannot fail.
            write!(script, "update {}\0{commit}\0\0", name.as_str()).unwrap_or_default();
        }
        self.update_refs(&script)
    }

    /// The refs of a run and the commits they point at, ordered by name.
    pub fn refs_of_run(&self, run: &str) -> Result<Vec<(RefName, CommitId)>, GitError> {
        let args = ["for-each-ref", "--format=%(objectname) %(refname)", &prefix_of_run(run)];
        let listing = self.refs().run(&args, Input::Nothing)?;
        let unreadable = || GitError::answer("for-each-ref", "a malformed line");
        String::from_utf8_lossy(&listing)
            .lines()
            .map(|line| {
                let (id, name) = line.split_once(' ').ok_or_else(unreadable)?;
                Ok((RefName(name.to_owned()), id.parse().map_err(|_| unreadable())?))
            })
            .collect()
    }

    /// Deletes all refs of a run and returns how many there were. The objects stay until git
    /// collects them.
    pub fn delete_refs_of_run(&self, run: &str) -> Result<usize, GitError> {
        let refs = self.refs_of_run(run)?;
        let mut script = String::new();
        for (name, commit) in &refs {
            // Writing into a string cannot fail.
            write!(script, "delete {}\0{commit}\0", name.as_str()).unwrap_or_default();
        }
        self.update_refs(&script)?;
        Ok(refs.len())
    }

    fn update_refs(&self, script: &str) -> Result<(), GitError> {
        if script.is_empty() {
            return Ok(());
        }
        self.refs().run(&["update-ref", "--stdin", "-z"], Input::Bytes(script.as_bytes())).map(drop)
    }
}
