//! What a command left is taken over: read as an enemy's, put aside whole, and only then into the workspace.
//! Regular files, directories and links that stay inside; nothing else comes out, and nothing leads out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, FileTimes, Permissions},
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use nix::unistd::geteuid;

use super::{
    outside::Workspace,
    place::Place,
    stamp::{self, Stamp},
    tree::{self, Entry, Kind, Label, MAX_ENTRIES, STREAM_AT, is_repository, malformed, parent},
};

/// An entry that was read and is wanted.
#[derive(Debug)]
struct Wanted {
    entry: Entry,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Directory,
    /// Put aside under this number.
    File(usize),
    Unchanged,
    Link(Vec<u8>),
}

impl Workspace {
    /// Takes over what the machine put on its disk since the last time, and says how many links stayed behind
    /// because they lead out. That nothing was put there is an error if a command ran.
    pub(super) fn take(&mut self, ran: bool) -> io::Result<u64> {
        let Some(export) = self.export.as_ref().map(File::try_clone).transpose()? else { return Ok(0) };
        let mut block = vec![0; STREAM_AT as usize];
        export.read_exact_at(&mut block, 0)?;
        let label = Label::from_block(&block)?;
        if label.generation == self.exported && !ran {
            return Ok(0);
        }
        if label.generation != self.exported + 1 {
            return Err(malformed("the machine did not give the workspace back"));
        }
        self.exported = label.generation;
        if !label.reason.is_empty() {
            let reason = label.reason.chars().filter(|c| !c.is_control()).collect::<String>();
            return Err(io::Error::other(reason));
        }
        let mut stream = BufReader::with_capacity(1 << 20, export);
        stream.seek(SeekFrom::Start(STREAM_AT))?;
        let aside = Aside::make(&self.place)?;
        let (wanted, behind) = self.read(&mut stream, &aside)?;
        let now = self.put(wanted, &aside)?;
        drop(aside);
        self.shared = now;
        Ok(behind)
    }

    /// Reads all of it. Nothing of the workspace has changed when this fails.
    fn read(&self, stream: &mut impl Read, aside: &Aside<'_>) -> io::Result<(Vec<Wanted>, u64)> {
        let mut wanted = Vec::new();
        let mut directories = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut left = self.most_bytes;
        let mut behind = 0;
        loop {
            let entry = Entry::read(stream)?;
            if entry.kind == Kind::End {
                break;
            }
            if seen.len() >= MAX_ENTRIES {
                return Err(malformed("it holds more files than a workspace may"));
            }
            let top = entry.path.split(|byte| *byte == b'/').next().unwrap_or_default();
            if is_repository(&entry.path) || maker(top).is_some() {
                return Err(malformed("it holds files that no command may write"));
            }
            if !seen.insert(entry.path.clone()) {
                return Err(malformed("a path is there twice"));
            }
            if !entry.path.is_empty() && !directories.contains(parent(&entry.path)) {
                return Err(malformed("a path lies in no directory"));
            }
            let content = match entry.kind {
                Kind::Directory => {
                    directories.insert(entry.path.clone());
                    Content::Directory
                }
                Kind::File => {
                    left = left
                        .checked_sub(entry.size)
                        .ok_or_else(|| malformed("it holds more bytes than a workspace may"))?;
                    let number = wanted.len();
                    let mut file = aside.place.create(number.to_string().as_bytes())?;
                    if io::copy(&mut stream.take(entry.size), &mut file)? != entry.size {
                        return Err(malformed("a file ends too early"));
                    }
                    aside.dress(&file, &entry)?;
                    Content::File(number)
                }
                Kind::Link => {
                    let target = entry.target(stream)?;
                    // One that was here before is the caller's own.
                    let same = || self.place.target(&entry.path).is_ok_and(|known| known == target);
                    if !stays_inside(&entry.path, &target) && !same() {
                        behind += 1;
                        continue;
                    }
                    Content::Link(target)
                }
                Kind::Unchanged if self.shared.get(&entry.path).is_some_and(Stamp::is_file) => {
                    Content::Unchanged
                }
                Kind::Unchanged | Kind::End => {
                    return Err(malformed("a file is the same as one that is not there"));
                }
            };
            wanted.push(Wanted { entry, content });
        }
        if !directories.contains(b"".as_slice()) {
            return Err(malformed("it has no root"));
        }
        Ok((wanted, behind))
    }

    /// Puts it into the workspace: first what goes, then directories and what is in them, at last the times of
    /// directories, which the rest would change.
    fn put(&self, wanted: Vec<Wanted>, aside: &Aside<'_>) -> io::Result<BTreeMap<Vec<u8>, Stamp>> {
        let place = &self.place;
        let kinds: BTreeMap<_, _> =
            wanted.iter().map(|item| (item.entry.path.as_slice(), item.entry.kind)).collect();
        for path in self.shared.keys().rev().filter(|path| !is_repository(path)) {
            let is_directory = place.find(path)?.is_some_and(|meta| meta.is_dir());
            let stays = match kinds.get(path.as_slice()) {
                None => false,
                Some(Kind::Directory) => is_directory,
                Some(_) => !is_directory,
            };
            if !stays {
                match place.remove(path) {
                    // What the machine never had is still in it.
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                    other => other?,
                }
            }
        }
        for Wanted { entry, content } in &wanted {
            let path = &entry.path;
            match content {
                Content::Directory => {
                    if !place.find(path)?.is_some_and(|meta| meta.is_dir()) {
                        place.make_directory(path)?;
                    }
                }
                Content::File(number) => {
                    place.take(&aside.place, number.to_string().as_bytes(), path)?;
                }
                Content::Link(target) => {
                    if !place.target(path).is_ok_and(|known| known == *target) {
                        place.make_link_in(aside, target, path)?;
                    }
                }
                Content::Unchanged => {}
            }
        }
        for Wanted { entry, .. } in wanted.iter().rev().filter(|item| item.entry.kind == Kind::Directory) {
            let directory = place.directory(&entry.path)?;
            if entry.path.is_empty() {
                // Who may enter the workspace itself is the caller's decision.
                continue;
            }
            aside.dress(&directory, entry)?;
        }
        let found = wanted
            .into_iter()
            .map(|item| place.look(&item.entry.path).map(|meta| (item.entry.path, meta)))
            .collect::<io::Result<Vec<_>>>()?;
        let now = stamp::settle(found.iter().map(|(_, meta)| meta))?;
        let repository = self.shared.iter().filter(|(path, _)| is_repository(path));
        let repository = repository.map(|(path, stamp)| (path.clone(), stamp.clone()));
        Ok(found.into_iter().map(|(path, meta)| (path, Stamp::of(&meta, now))).chain(repository).collect())
    }
}

impl Place {
    /// A link in place of what is there.
    fn make_link_in(&self, aside: &Aside<'_>, target: &[u8], path: &[u8]) -> io::Result<()> {
        aside.place.make_link(b"link", target)?;
        self.take(&aside.place, b"link", path)
    }
}

/// Where files wait until all of them are there: in the workspace itself, because only there moving one is a
/// single step. Gone afterwards, whatever happens.
struct Aside<'a> {
    outer: &'a Place,
    name: Vec<u8>,
    place: Place,
    owner: Option<(u32, u32)>,
}

impl<'a> Aside<'a> {
    fn make(outer: &'a Place) -> io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        sweep(outer)?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".blueprint-{}-{number}.taken", std::process::id()).into_bytes();
        outer.make_directory(&name)?;
        let meta = outer.owner()?;
        // Root writes for whom the workspace belongs to.
        let owner = geteuid().is_root().then(|| (meta.uid(), meta.gid()));
        Ok(Self { outer, place: outer.below(&name)?, name, owner })
    }

    /// Gives a file or directory its owner, its permissions and its time.
    fn dress(&self, file: &File, entry: &Entry) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            fchown(file, Some(uid), Some(gid))?;
        }
        // The caller can always read what came out and remove it, whatever the command wanted.
        let least = if entry.kind == Kind::Directory { 0o700 } else { 0o400 };
        file.set_permissions(Permissions::from_mode(u32::from(entry.mode) | least))?;
        file.set_times(FileTimes::new().set_modified(time(entry.modified)?))
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        // What stays is in a folder that is swept once we are gone.
        drop(clear(self.outer, &self.name));
    }
}

/// The process that made such a folder, if the name is one.
fn maker(name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    let (pid, number) = name.strip_prefix(".blueprint-")?.strip_suffix(".taken")?.split_once('-')?;
    number.parse::<u64>().ok()?;
    pid.parse().ok()
}

/// Removes the folders of processes that are gone.
pub(super) fn sweep(place: &Place) -> io::Result<()> {
    let is_gone = |pid: u32| !Path::new("/proc").join(pid.to_string()).exists();
    for name in place.names(b"")?.iter().filter(|name| maker(name).is_some_and(is_gone)) {
        clear(place, name)?;
    }
    Ok(())
}

/// Removes a folder of files that wait.
fn clear(outer: &Place, name: &[u8]) -> io::Result<()> {
    if outer.find(name)?.is_none() {
        return Ok(());
    }
    let place = outer.below(name)?;
    for file in place.names(b"")? {
        place.remove(&file)?;
    }
    outer.remove(name)
}

/// Whether a link stays below the root wherever the links on its way lead, if they are such links too: it may
/// go up through the directories it lies in, which are none, and from there only down.
fn stays_inside(path: &[u8], target: &[u8]) -> bool {
    let mut depth = tree::depth(parent(path));
    let mut down = false;
    for step in target.split(|byte| *byte == b'/') {
        match step {
            b"" | b"." => {}
            b".." if down || depth == 0 => return false,
            b".." => depth -= 1,
            _ => down = true,
        }
    }
    !target.starts_with(b"/")
}

fn time((seconds, nanoseconds): (i64, u32)) -> io::Result<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    second
        .and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into())))
        .ok_or_else(|| malformed("an entry has an impossible time"))
}

#[cfg(test)]
mod tests;
