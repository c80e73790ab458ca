//! What happened before a commit, for people and models to read. Nothing is decided by it.

use std::ffi::OsString;

use super::git::{GitError, Input, flag};
use super::ids::CommitId;
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
}
