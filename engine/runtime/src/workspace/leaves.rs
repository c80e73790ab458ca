//! Reads the files and links a walk finds.
//! A content that changes while it is read is refused, never half captured.

use std::fs::File;
use std::io::{self, Read, Seek as _};

use rustix::fs::{FileType, Stat};

use super::findings::{EscapingLinks, FlagKind, ScanError};
use super::fsdir;
use super::ids::{Hasher, ObjectFormat, ObjectId};
use super::names;
use super::pack::ObjectKind;
use super::scan::{Place, Spot, Walk};
use super::secrets::{self, SEARCHED_AT_MOST, WatchedReader};
use super::stamp::Stamp;
use super::tree::Node;

/// How often a file that changes while it is read is tried again.
const TRIES: u32 = 3;

impl Walk<'_> {
    pub(crate) fn file(&mut self, spot: Spot<'_>, stat: &Stat) -> Result<Node, ScanError> {
        let executable = is_executable(stat);
        if let Some(Node::File { executable: was, id, stamp: Some(stamp) }) = spot.known
            && *was == executable
            && stamp.settled
            && stamp.agrees(stat)
        {
            let node = Node::File { executable, id: *id, stamp: Some(*stamp) };
            self.compare(spot.base, &node);
            return Ok(node);
        }
        let mut stored: Vec<ObjectId> = Vec::new();
        if let Some(Node::File { id, .. }) = spot.base {
            stored.push(*id);
        }
        // What git's index merely announces has no stamp and need not be in the object database.
        if let Some(Node::File { id, stamp: Some(_), .. }) = spot.known {
            stored.push(*id);
        }
        let limit = self.scan.limits.total_bytes;
        self.bytes = self.bytes.saturating_add(stat.st_size as u64);
        let mut node = None;
        for _ in 0..TRIES {
            node = self.read_file(spot, &stored)?;
            if node.is_some() || self.bytes > limit {
                break;
            }
        }
        if self.bytes > limit {
            return Err(ScanError::TooMuch { limit });
        }
        let (node, stat) = node.ok_or_else(|| ScanError::Unstable { path: self.here() })?;
        if stat.st_mode & 0o7000 != 0 {
            self.flag(FlagKind::SpecialBits);
        }
        self.compare(spot.base, &node);
        Ok(node)
    }

    /// Reads a file once; `None` when it changed meanwhile.
    pub(crate) fn read_file(
        &mut self,
        spot: Spot<'_>,
        stored: &[ObjectId],
    ) -> Result<Option<(Node, Stat)>, ScanError> {
        let opened = match self.scan.place {
            Place::Checkout => spot.dir.open_file_unlocked(spot.name),
            Place::WorkTree | Place::Plain => spot.dir.open_file(spot.name),
        };
        let mut file = opened.map_err(|error| self.unreadable(error))?;
        let stat = fsdir::file_stat(&file).map_err(|error| self.unreadable(error))?;
        if fsdir::file_type(&stat) != FileType::RegularFile {
            return Err(ScanError::Unstable { path: self.here() });
        }
        let size = stat.st_size as u64;
        let limit = self.scan.limits.file_bytes;
        if size > limit {
            return Err(ScanError::FileTooLarge { path: self.here(), size, limit });
        }
        let stamp = Stamp::of(&stat, self.scan.read_at);
        let id = hash_blob(self.scan.format, &mut file, size).map_err(|error| self.unreadable(error))?;
        let after = fsdir::file_stat(&file).map_err(|error| self.unreadable(error))?;
        let Some(id) = id.filter(|_| stamp.agrees(&after)) else { return Ok(None) };
        if !stored.contains(&id)
            && let Some(pack) = &mut self.scan.pack
            && !pack.holds(id)
        {
            let path = || self.path.as_slice().into();
            if self.scan.secrets.is_some() && size > SEARCHED_AT_MOST {
                return Err(ScanError::TooLargeToSearch { path: path(), size, limit: SEARCHED_AT_MOST });
            }
            file.rewind().map_err(ScanError::Spool)?;
            let hasher = blob_hasher(self.scan.format, size);
            let mut reader = WatchedReader::new(&mut file, hasher, self.scan.secrets);
            let added = pack.add(ObjectKind::Blob, id, size, &mut reader);
            // A pack that is refused here is dropped with the walk: git never sees any of it.
            match (added, reader.finish()) {
                (_, (_, true)) => return Err(ScanError::Secret { path: path() }),
                (Err(error), _) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(ScanError::Spool(error));
                }
                // What was written under this name is something else, so the pack must not be used.
                (Ok(()), (name, _)) if name == id => {}
                _ => return Err(ScanError::Unstable { path: path() }),
            }
        }
        let executable = is_executable(&stat);
        Ok(Some((Node::File { executable, id, stamp: Some(stamp) }, stat)))
    }

    pub(crate) fn link(&mut self, spot: Spot<'_>, stat: &Stat) -> Result<Node, ScanError> {
        if let Some(Node::Link { id, stamp: Some(stamp) }) = spot.known
            && stamp.settled
            && stamp.agrees(stat)
        {
            let node = Node::Link { id: *id, stamp: Some(*stamp) };
            self.compare(spot.base, &node);
            return Ok(node);
        }
        let target = spot.dir.read_link(spot.name).map_err(|error| self.unreadable(error))?;
        let stamp = Stamp::of(stat, self.scan.read_at);
        let after = spot.dir.stat(spot.name).map_err(|error| self.unreadable(error))?;
        if !stamp.agrees(&after) {
            return Err(ScanError::Unstable { path: self.here() });
        }
        let id = self.scan.format.object("blob", &target);
        let node = Node::Link { id, stamp: Some(stamp) };
        let was_there = spot.base.is_some_and(|base| base.same_content(&node));
        if !was_there && !names::stays_inside(&target, spot.depth) {
            if self.scan.links == EscapingLinks::Reject {
                let target = target.as_slice().into();
                return Err(ScanError::EscapingLink { path: self.here(), target });
            }
            self.flag(FlagKind::EscapingLink);
        }
        if !was_there {
            secrets::refuse(self.scan.secrets, &self.here(), &target)?;
        }
        if !was_there && let Some(pack) = &mut self.scan.pack {
            pack.add(ObjectKind::Blob, id, target.len() as u64, &mut target.as_slice())
                .map_err(ScanError::Spool)?;
        }
        self.compare(spot.base, &node);
        Ok(node)
    }
}

fn is_executable(stat: &Stat) -> bool {
    stat.st_mode & 0o100 != 0
}

fn blob_hasher(format: ObjectFormat, size: u64) -> Hasher {
    let mut hasher = format.hasher();
    hasher.update(format!("blob {size}\0").as_bytes());
    hasher
}

/// The name of a file's content; `None` when it does not have exactly `size` bytes.
pub(crate) fn hash_blob(format: ObjectFormat, file: &mut File, size: u64) -> io::Result<Option<ObjectId>> {
    let mut hasher = blob_hasher(format, size);
    let mut buffer = vec![0; usize::try_from(size.clamp(1, 1 << 16)).unwrap_or(1)];
    let mut read_so_far = 0;
    loop {
        let read = file.read(&mut buffer)?;
        read_so_far += read as u64;
        if read == 0 || read_so_far > size {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok((read_so_far == size).then(|| hasher.finish()))
}
