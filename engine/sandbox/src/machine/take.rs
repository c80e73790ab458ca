//! What a command left is taken over: read as an enemy's, put aside whole, and only then into the workspace.
//! Regular files, directories and links that stay inside; nothing else comes out, and nothing leads out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, FileTimes, Permissions},
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown},
    time::{Duration, SystemTime},
};

use nix::unistd::geteuid;

use super::{
    outside::{Workspace, is_repository},
    place::Place,
    stamp::{self, Stamp},
    tree::{self, Entry, Kind, Label, MAX_ENTRIES, STREAM_AT, malformed, parent},
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
            if is_repository(&entry.path) || aside.is_in(&entry.path) {
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
        let name = format!(".blueprint-{}-taken", std::process::id()).into_bytes();
        clear(outer, &name)?;
        outer.make_directory(&name)?;
        let meta = outer.owner()?;
        // Root writes for whom the workspace belongs to.
        let owner = geteuid().is_root().then(|| (meta.uid(), meta.gid()));
        Ok(Self { outer, place: outer.below(&name)?, name, owner })
    }

    fn is_in(&self, path: &[u8]) -> bool {
        path.split(|byte| *byte == b'/').next() == Some(&self.name)
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
        // What stays is in a folder whose name the next taking clears.
        drop(clear(self.outer, &self.name));
    }
}

/// Removes the folder of files that wait.
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
mod tests {
    use std::{fs, io::Write, os::unix::fs::symlink, path::Path};

    use super::*;

    /// A workspace on disk, and a machine that says whatever it wants.
    struct Desk {
        dir: tempfile::TempDir,
        export: File,
        workspace: Workspace,
        generation: u64,
    }

    fn desk(prepare: impl FnOnce(&Path)) -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("work");
        fs::create_dir(&root).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        prepare(&root);
        let export = tempfile::tempfile().unwrap();
        export.set_len(1 << 20).unwrap();
        let import = tempfile::tempfile().unwrap();
        let copy = Some(export.try_clone().unwrap());
        let workspace = Workspace::open(&root, import, copy, 1 << 16).unwrap();
        Desk { dir, export, workspace, generation: 0 }
    }

    impl Desk {
        fn root(&self) -> std::path::PathBuf {
            self.dir.path().join("work")
        }

        /// The machine gives this back.
        fn give(&mut self, entries: &[(Kind, &str, u16, &str)]) -> io::Result<u64> {
            let mut bytes = Vec::new();
            entry(Kind::Directory, "", 0o755, "").write(&mut bytes).unwrap();
            for (kind, path, mode, content) in entries {
                entry(*kind, path, *mode, content).write(&mut bytes).unwrap();
                bytes.write_all(content.as_bytes()).unwrap();
            }
            Entry::end().write(&mut bytes).unwrap();
            self.give_bytes(&bytes)
        }

        fn give_bytes(&mut self, bytes: &[u8]) -> io::Result<u64> {
            self.generation += 1;
            self.export.write_all_at(bytes, STREAM_AT).unwrap();
            let label = Label { generation: self.generation, reason: String::new() };
            self.export.write_all_at(&label.to_block(), 0).unwrap();
            self.workspace.take(true)
        }

        fn files(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(self.root())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn entry(kind: Kind, path: &str, mode: u16, content: &str) -> Entry {
        let path = path.as_bytes().to_vec();
        Entry { kind, mode, modified: (1_700_000_000, 0), path, size: content.len() as u64 }
    }

    #[test]
    fn what_was_left_is_taken_over() {
        let mut desk = desk(|root| {
            fs::write(root.join("old"), "old").unwrap();
            fs::write(root.join("kept"), "kept").unwrap();
            fs::create_dir(root.join("gone")).unwrap();
            fs::write(root.join("gone/file"), "x").unwrap();
        });
        desk.give(&[
            (Kind::Directory, "d", 0o755, ""),
            (Kind::File, "d/new", 0o755, "new"),
            (Kind::Unchanged, "kept", 0o644, ""),
            (Kind::Link, "link", 0o777, "d/new"),
            (Kind::File, "old", 0o644, "changed"),
        ])
        .unwrap();
        assert_eq!(desk.files(), ["d", "kept", "link", "old"]);
        assert_eq!(fs::read(desk.root().join("link")).unwrap(), b"new");
        assert_eq!(fs::read(desk.root().join("old")).unwrap(), b"changed");
        let meta = fs::metadata(desk.root().join("d/new")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o755, 1_700_000_000));
        desk.give(&[(Kind::File, "d", 0o600, "a file now")]).unwrap();
        assert_eq!(desk.files(), ["d"]);
    }

    #[test]
    fn an_enemys_tree_changes_nothing() {
        let cases: &[&[(Kind, &str, u16, &str)]] = &[
            &[(Kind::File, "../secret", 0o644, "x")],
            &[(Kind::File, "/etc/x", 0o644, "x")],
            &[(Kind::File, "a/b", 0o644, "x")],
            &[(Kind::Link, "d", 0o777, "."), (Kind::File, "d/x", 0o644, "x")],
            &[(Kind::File, "tool", 0o4755, "x")],
            &[(Kind::Directory, "d", 0o2755, "")],
            &[(Kind::File, "twice", 0o644, "x"), (Kind::File, "twice", 0o644, "y")],
            &[(Kind::Directory, ".git", 0o755, "")],
            &[(Kind::Directory, ".GIT", 0o755, "")],
            &[(Kind::File, ".git", 0o644, "gitdir: /elsewhere")],
            &[(Kind::Unchanged, "never", 0o644, "")],
            &[(Kind::File, "huge", 0o644, "x"), (Kind::File, "end", 0o644, &"x".repeat(1 << 16))],
        ];
        for case in cases {
            let mut desk = desk(|root| fs::write(root.join("mine"), "mine").unwrap());
            let taken = desk.give(case);
            assert!(taken.is_err(), "{case:?}");
            assert_eq!(desk.files(), ["mine"], "{case:?}");
            assert_eq!(fs::read(desk.dir.path().join("secret")).unwrap(), b"secret");
        }
    }

    #[test]
    fn bytes_that_are_no_tree_change_nothing() {
        let mut whole = Vec::new();
        entry(Kind::Directory, "", 0o755, "").write(&mut whole).unwrap();
        let mut liar = whole.clone();
        let huge = Entry { size: u64::MAX, ..entry(Kind::File, "huge", 0o644, "") };
        huge.write(&mut liar).unwrap();
        for bytes in [vec![0xff; 4096], vec![0; 4096], liar] {
            let mut desk = desk(|root| fs::write(root.join("mine"), "mine").unwrap());
            assert!(desk.give_bytes(&bytes).is_err());
            assert_eq!(desk.files(), ["mine"]);
        }
    }

    #[test]
    fn links_that_lead_out_stay_behind_unless_they_were_here() {
        let mut desk = desk(|root| symlink("/etc/hosts", root.join("mine")).unwrap());
        let behind = desk
            .give(&[
                (Kind::Directory, "d", 0o755, ""),
                (Kind::Link, "absolute", 0o777, "/etc/passwd"),
                (Kind::Link, "up", 0o777, "../secret"),
                (Kind::Link, "d/up", 0o777, "../../secret"),
                (Kind::Link, "d/detour", 0o777, "x/../../../secret"),
                (Kind::Link, "d/fine", 0o777, "../d"),
                (Kind::Link, "mine", 0o777, "/etc/hosts"),
            ])
            .unwrap();
        assert_eq!(behind, 4);
        assert_eq!(desk.files(), ["d", "mine"]);
        assert_eq!(fs::read_dir(desk.root().join("d")).unwrap().count(), 1);
    }

    #[test]
    fn a_link_on_the_way_is_never_followed() {
        let mut desk = desk(|root| fs::create_dir(root.join("d")).unwrap());
        let outside = desk.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        // Somebody of this host exchanges the directory while the command runs.
        fs::remove_dir(desk.root().join("d")).unwrap();
        symlink(&outside, desk.root().join("d")).unwrap();
        drop(desk.give(&[(Kind::Directory, "d", 0o755, ""), (Kind::File, "d/x", 0o644, "x")]));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn the_repository_is_neither_changed_nor_removed() {
        let mut desk = desk(|root| {
            fs::create_dir(root.join(".git")).unwrap();
            fs::write(root.join(".git/config"), "mine").unwrap();
        });
        desk.give(&[]).unwrap();
        assert_eq!(fs::read(desk.root().join(".git/config")).unwrap(), b"mine");
    }

    #[test]
    fn a_machine_that_gives_nothing_back_is_found_out() {
        let mut desk = desk(|_| ());
        assert!(desk.workspace.take(true).is_err());
        assert_eq!(desk.workspace.take(false).unwrap(), 0);
        let label = Label { generation: 1, reason: "it is \u{1b}too large".to_owned() };
        desk.export.write_all_at(&label.to_block(), 0).unwrap();
        assert!(desk.workspace.take(true).unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn the_callers_files_are_sent_again_only_if_they_changed() {
        let mut desk = desk(|root| fs::write(root.join("a"), "a").unwrap());
        desk.give(&[(Kind::Unchanged, "a", 0o644, ""), (Kind::File, "b", 0o644, "b")]).unwrap();
        let label = |desk: &Desk| {
            let mut block = vec![0; 4096];
            desk.workspace.import_disk().read_exact_at(&mut block, 0).unwrap();
            Label::from_block(&block).unwrap().generation
        };
        desk.workspace.send().unwrap();
        assert_eq!(label(&desk), 1, "the machine has all of it");
        fs::write(desk.root().join("a"), "b").unwrap();
        desk.workspace.send().unwrap();
        assert_eq!(label(&desk), 2);
    }
}
