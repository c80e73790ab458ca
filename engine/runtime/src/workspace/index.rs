//! What git's index of the user's work tree knows: which paths are tracked, and what their files
//! looked like when git last read them. The index is only ever read, and only by git.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::git::{Git, GitError, Input};
use super::ids::ObjectId;
use super::names::TreePath;
use super::stamp::Stamp;
use super::tree::{Directory, Node};

const INTENT_TO_ADD: u32 = 1 << 29;
const SKIP_WORK_TREE: u32 = 1 << 30;

/// The index as far as it matters here.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) tracked: Directory,
    /// Tracked paths that a sparse checkout leaves out of the work tree.
    pub(crate) absent: BTreeSet<TreePath>,
}

/// Lists the index of the work tree that `git_dir` belongs to.
pub(crate) fn read(git: &Git, git_dir: &Path) -> Result<Index, GitError> {
    let Ok(metadata) = std::fs::metadata(git_dir.join("index")) else {
        // A repository nothing was ever added to has none.
        return Ok(Index::default());
    };
    let written = (metadata.mtime(), metadata.mtime_nsec() as u32);
    let listing = git.run(&["ls-files", "--stage", "--debug", "-z"], Input::Nothing)?;
    let mut index = Index::default();
    let mut rest = listing.as_slice();
    while !rest.is_empty() {
        let (entry, after) = parse(rest).ok_or_else(|| GitError::answer("ls-files", "a malformed entry"))?;
        rest = after;
        index.add(&entry, written);
    }
    Ok(index)
}

struct Entry<'a> {
    mode: &'a [u8],
    id: ObjectId,
    merged: bool,
    path: &'a [u8],
    stamp: Stamp,
    flags: u32,
}

impl Index {
    fn add(&mut self, entry: &Entry<'_>, written: (i64, u32)) {
        let known = entry.merged && entry.flags & INTENT_TO_ADD == 0;
        let stamp = known.then(|| entry.stamp.read_at(written));
        let id = entry.id;
        let node = match entry.mode {
            b"120000" => Node::Link { id, stamp },
            b"160000" => Node::Submodule(id),
            mode => Node::File { executable: mode == b"100755", id, stamp },
        };
        if self.tracked.graft(entry.path, node) && entry.flags & SKIP_WORK_TREE != 0 {
            self.absent.insert(entry.path.into());
        }
    }
}

/// `mode SP id SP stage TAB path NUL` and five lines of numbers.
fn parse(listing: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let nul = listing.iter().position(|&byte| byte == 0)?;
    let (line, mut rest) = (&listing[..nul], &listing[nul + 1..]);
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let mut words = line[..tab].split(|&byte| byte == b' ');
    let (mode, id, stage) = (words.next()?, words.next()?, words.next()?);
    let mut next = || {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
        Some(line)
    };
    let changed = moment(next()?, "ctime:")?;
    let modified = moment(next()?, "mtime:")?;
    let inode = next()?.split("ino:").nth(1)?.trim().parse().ok()?;
    next()?;
    let (size, flags) = next()?.trim().strip_prefix("size:")?.split_once("flags:")?;
    let size = size.trim().parse().ok()?;
    let flags = u32::from_str_radix(flags.trim(), 16).ok()?;
    let stamp = Stamp { size, modified, changed, inode, settled: false };
    let id = ObjectId::from_hex(id).ok()?;
    Some((Entry { mode, id, merged: stage == b"0", path: &line[tab + 1..], stamp, flags }, rest))
}

fn moment(line: &str, name: &str) -> Option<(i64, u32)> {
    let (seconds, nanos) = line.trim().strip_prefix(name)?.trim().split_once(':')?;
    Some((seconds.parse().ok()?, nanos.parse().ok()?))
}
