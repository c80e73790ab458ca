//! A tree in memory, nested as in git, and its encoding.
//! Names are checked when it is read: no name that could leave a checkout gets in.

use std::collections::BTreeMap;

use super::git::{Git, GitError, Input};
use super::ids::{ObjectFormat, ObjectId, TreeId};
use super::names::{self, TreePath};
use super::stamp::Stamp;

/// How deep trees may be nested.
pub(crate) const DEEPEST: usize = 64;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File { executable: bool, id: ObjectId, stamp: Option<Stamp> },
    Link { id: ObjectId, stamp: Option<Stamp> },
    Submodule(ObjectId),
    Directory(Directory),
}

/// The entries of a directory, and the name of its tree object where that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) id: Option<ObjectId>,
    pub(crate) entries: BTreeMap<Box<[u8]>, Node>,
}

/// A tree that cannot be laid out in a directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadTreeError {
    #[error("git could not list the tree")]
    Git(#[from] GitError),
    #[error("the tree holds `{path}`, which is no safe file name")]
    Unsafe { path: TreePath },
}

impl Node {
    /// Whether both stand for the same content, whatever is known about files on disk.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { executable, id, .. }, Self::File { executable: also, id: other, .. }) => {
                executable == also && id == other
            }
            (Self::Link { id, .. }, Self::Link { id: other, .. })
            | (Self::Submodule(id), Self::Submodule(other)) => id == other,
            (Self::Directory(one), Self::Directory(other)) => one.id.is_some() && one.id == other.id,
            _ => false,
        }
    }

    fn mode(&self) -> &'static str {
        match self {
            Self::File { executable: false, .. } => "100644",
            Self::File { executable: true, .. } => "100755",
            Self::Link { .. } => "120000",
            Self::Submodule(_) => "160000",
            Self::Directory(_) => "40000",
        }
    }

    fn id(&self) -> Option<ObjectId> {
        match self {
            Self::File { id, .. } | Self::Link { id, .. } | Self::Submodule(id) => Some(*id),
            Self::Directory(directory) => directory.id,
        }
    }
}

impl Directory {
    /// The bytes of the tree object. Every directory below must be named already; one that is not
    /// is left out, as git leaves out empty directories.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut entries: Vec<(&Box<[u8]>, &Node, ObjectId)> =
            self.entries.iter().filter_map(|(name, node)| Some((name, node, node.id()?))).collect();
        // Git compares the name of a directory as if it ended in a slash.
        entries.sort_by(|(a, one, _), (b, other, _)| sort_key(a, one).cmp(sort_key(b, other)));
        let mut bytes = Vec::new();
        for (name, node, id) in entries {
            bytes.extend_from_slice(node.mode().as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(id.raw());
        }
        bytes
    }

    /// Puts a node at a path, making the directories on the way.
    pub(crate) fn graft(&mut self, path: &[u8], node: Node) -> bool {
        let mut here = self;
        let mut parts = path.split(|&byte| byte == b'/').peekable();
        while let Some(part) = parts.next() {
            if !names::is_safe(part) {
                return false;
            }
            here.id = None;
            if parts.peek().is_none() {
                here.entries.insert(part.into(), node);
                return true;
            }
            let next = here.entries.entry(part.into()).or_insert_with(|| Node::Directory(Self::default()));
            match next {
                Node::Directory(directory) => here = directory,
                _ => return false,
            }
        }
        false
    }
}

fn sort_key<'a>(name: &'a [u8], node: &Node) -> impl Iterator<Item = &'a u8> + use<'a> {
    let slash: &[u8] = if matches!(node, Node::Directory(_)) { b"/" } else { b"" };
    name.iter().chain(slash)
}

/// Reads a whole tree with one call of git.
pub(crate) fn read(git: &Git, format: ObjectFormat, tree: TreeId) -> Result<Directory, ReadTreeError> {
    let mut root = Directory { id: Some(tree.0), entries: BTreeMap::new() };
    if tree == format.empty_tree() {
        return Ok(root);
    }
    let args = ["ls-tree", "-r", "-t", "-z", "--full-tree", "--end-of-options", &tree.to_string()];
    let listing = git.run(&args, Input::Nothing)?;
    for line in listing.split(|&byte| byte == 0).filter(|line| !line.is_empty()) {
        let (mode, id, path) = entry(line).ok_or_else(|| GitError::answer("ls-tree", "a malformed line"))?;
        let node = match mode {
            b"040000" => Node::Directory(Directory { id: Some(id), entries: BTreeMap::new() }),
            b"120000" => Node::Link { id, stamp: None },
            b"160000" => Node::Submodule(id),
            b"100755" => Node::File { executable: true, id, stamp: None },
            b"100644" | b"100664" => Node::File { executable: false, id, stamp: None },
            _ => return Err(GitError::answer("ls-tree", "an unknown mode").into()),
        };
        if !insert(&mut root, path, node) {
            return Err(ReadTreeError::Unsafe { path: path.into() });
        }
    }
    Ok(root)
}

/// `mode SP type SP name TAB path`
pub(crate) fn entry(line: &[u8]) -> Option<(&[u8], ObjectId, &[u8])> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let mut words = line[..tab].split(|&byte| byte == b' ');
    let (mode, _kind, id) = (words.next()?, words.next()?, words.next()?);
    Some((mode, ObjectId::from_hex(id).ok()?, &line[tab + 1..]))
}

/// Adds one listed entry. Its directory must have been listed before: an entry whose name holds a
/// slash has none.
fn insert(root: &mut Directory, path: &[u8], node: Node) -> bool {
    let mut here = root;
    let mut parts = path.split(|&byte| byte == b'/').enumerate().peekable();
    while let Some((depth, part)) = parts.next() {
        if !names::is_safe(part) || depth > DEEPEST {
            return false;
        }
        if parts.peek().is_none() {
            return here.entries.insert(part.into(), node).is_none();
        }
        match here.entries.get_mut(part) {
            Some(Node::Directory(directory)) => here = directory,
            _ => return false,
        }
    }
    false
}
