//! What a directory held when we last looked, kept in a file beside it.
//! A file that is missing, cut short or altered is no manifest: it is never half believed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::ids::{ObjectFormat, ObjectId, TreeId};
use super::names;
use super::stamp::Stamp;
use super::tree::{DEEPEST, Directory, Node};

const MAGIC: &[u8] = b"blueprint manifest 2\n";
const CHECKSUM: usize = blake3::OUT_LEN;

/// A tree, and the stamps of the files that hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) format: ObjectFormat,
    pub(crate) tree: TreeId,
    /// The device the directory lies on.
    pub(crate) device: u64,
    /// Who used the directory last; empty if that is not known.
    pub(crate) user: Box<str>,
    pub(crate) root: Directory,
}

impl Manifest {
    /// Reads a manifest; `None` when there is none to believe.
    pub(crate) fn load(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        if blake3::hash(content).as_bytes() != checksum {
            return None;
        }
        let mut reader = Reader(content.strip_prefix(MAGIC)?);
        let format = match reader.byte()? {
            1 => ObjectFormat::Sha1,
            2 => ObjectFormat::Sha256,
            _ => return None,
        };
        let device = reader.number()?;
        let user = reader.text()?.into();
        let root = reader.directory(0)?;
        let tree = TreeId(root.id?);
        reader.0.is_empty().then_some(Self { format, tree, device, user, root })
    }

    /// Writes the manifest so that a reader sees all of it or what was there before.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(match self.format {
            ObjectFormat::Sha1 => 1,
            ObjectFormat::Sha256 => 2,
        });
        bytes.extend_from_slice(&self.device.to_le_bytes());
        bytes.extend_from_slice(&(self.user.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.user.as_bytes());
        write_directory(&mut bytes, &self.root);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        // Several processes may save at once; the last one wins, and each is whole.
        let new = path.with_added_extension(format!("{}.new", std::process::id()));
        std::fs::write(&new, &bytes)?;
        std::fs::rename(&new, path)
    }
}

fn write_directory(bytes: &mut Vec<u8>, directory: &Directory) {
    write_id(bytes, directory.id);
    bytes.extend_from_slice(&(directory.entries.len() as u32).to_le_bytes());
    for (name, node) in &directory.entries {
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        match node {
            Node::File { executable, id, stamp } => {
                bytes.push(if *executable { 2 } else { 1 });
                write_id(bytes, Some(*id));
                write_stamp(bytes, *stamp);
            }
            Node::Link { id, stamp } => {
                bytes.push(3);
                write_id(bytes, Some(*id));
                write_stamp(bytes, *stamp);
            }
            Node::Submodule(id) => {
                bytes.push(4);
                write_id(bytes, Some(*id));
            }
            Node::Directory(below) => {
                bytes.push(5);
                write_directory(bytes, below);
            }
        }
    }
}

fn write_id(bytes: &mut Vec<u8>, id: Option<ObjectId>) {
    let raw = id.as_ref().map_or(&[][..], ObjectId::raw);
    bytes.push(raw.len() as u8);
    bytes.extend_from_slice(raw);
}

fn write_stamp(bytes: &mut Vec<u8>, stamp: Option<Stamp>) {
    let Some(stamp) = stamp else {
        bytes.push(0);
        return;
    };
    bytes.push(if stamp.settled { 2 } else { 1 });
    bytes.extend_from_slice(&stamp.size.to_le_bytes());
    for (seconds, nanos) in [stamp.modified, stamp.changed] {
        bytes.extend_from_slice(&seconds.to_le_bytes());
        bytes.extend_from_slice(&nanos.to_le_bytes());
    }
    bytes.extend_from_slice(&stamp.inode.to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn short(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.short()?).ok()?;
        std::str::from_utf8(self.take(len)?).ok()
    }

    fn id(&mut self) -> Option<ObjectId> {
        let len = usize::from(self.byte()?);
        ObjectId::from_raw(self.take(len)?).ok()
    }

    /// A file without a stamp, like a directory without a name, is not in a record worth believing.
    fn stamp(&mut self) -> Option<Stamp> {
        let settled = match self.byte()? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let size = self.number()?;
        let modified = (self.number()? as i64, self.short()?);
        let changed = (self.number()? as i64, self.short()?);
        Some(Stamp { size, modified, changed, inode: self.short()?, settled })
    }

    fn directory(&mut self, depth: usize) -> Option<Directory> {
        if depth > DEEPEST + 1 {
            return None;
        }
        let id = Some(self.id()?);
        let count = self.short()?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let len = usize::from(self.byte()?);
            let name = self.take(len)?;
            let node = match self.byte()? {
                kind @ (1 | 2) => {
                    Node::File { executable: kind == 2, id: self.id()?, stamp: Some(self.stamp()?) }
                }
                3 => Node::Link { id: self.id()?, stamp: Some(self.stamp()?) },
                4 => Node::Submodule(self.id()?),
                5 => Node::Directory(self.directory(depth + 1)?),
                _ => return None,
            };
            if !names::is_safe(name) || entries.insert(name.into(), node).is_some() {
                return None;
            }
        }
        Some(Directory { id, entries })
    }
}
