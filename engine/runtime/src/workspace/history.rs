//! What happened before a commit and what lies in a tree, for people and models to read. Nothing is decided by it.

use std::ffi::OsString;

use super::git::{GitError, Input, flag};
use super::ids::{CommitId, TreeId};
use super::repository::Repository;

/// The longest answer, in bytes.
const LONGEST: u64 = 256 << 10;

impl Repository {
    /// The last commits up to `commit`, newest first: short id, date, author and first line; those that touch `path`,
    /// if one is given.
    pub fn log(&self, commit: CommitId, limit: u32, path: Option<&str>) -> Result<String, GitError> {
        let mut args: Vec<OsString> = ["log", "--no-color", "--no-decorate", "--no-ext-diff", "--date=short"]
            .map(OsString::from)
            .to_vec();
        args.push(flag("--max-count=", limit.to_string()));
        args.push(flag("--format=", "%h %ad %an: %s"));
        args.extend(["--end-of-options".into(), commit.to_string().into(), "--".into()]);
        args.extend(path.map(OsString::from));
        let answer = self.git().ask(&args, Input::Nothing, LONGEST)?;
        let cut = answer.cut;
        let text = if cut { answer.stdout } else { answer.success(&args)?.stdout };
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// What lies right in a folder of a tree. Nothing if there is no such folder.
    pub fn listing(&self, tree: TreeId, folder: &str) -> Result<Vec<Listed>, GitError> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut args: Vec<OsString> = ["ls-tree", "-z", "--full-tree"].map(OsString::from).to_vec();
        args.extend(["--end-of-options".into(), tree.to_string().into()]);
        if !prefix.is_empty() {
            args.push(prefix.clone().into());
        }
        let answer = self.git().ask(&args, Input::Nothing, LONGEST)?;
        let text = if answer.cut { answer.stdout } else { answer.success(&args)?.stdout };
        // Names that are no text are nobody's business here.
        let lines = text.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
        Ok(lines
            .filter_map(|line| {
                let (head, path) = line.split_once('\t')?;
                let mut head = head.split(' ');
                let kind = match head.next()? {
                    "100644" | "100755" => ListedKind::File,
                    "040000" => ListedKind::Folder,
                    _ => ListedKind::Other,
                };
                let object = head.nth(1)?.to_owned();
                Some(Listed { name: path.strip_prefix(&prefix)?.to_owned(), kind, object })
            })
            .collect())
    }

    /// The first `most` bytes of a listed file.
    pub fn head_of(&self, file: &Listed, most: usize) -> Result<Vec<u8>, GitError> {
        let args: Vec<OsString> = ["cat-file", "blob", &file.object].map(OsString::from).to_vec();
        let answer = self.git().ask(&args, Input::Nothing, most as u64)?;
        if answer.cut { Ok(answer.stdout) } else { Ok(answer.success(&args)?.stdout) }
    }
}

/// Something in a folder of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the folder.
    pub name: String,
    /// What it is.
    pub kind: ListedKind,
    /// The object, as git told it.
    object: String,
}

/// What lies in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a submodule.
    Other,
}
