//! What honest and hostile machines give back, and what becomes of it.
//! The machine is played: whatever a real one could say, these say.

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
        &[(Kind::Directory, ".blueprint-1-0.taken", 0o755, "")],
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
fn what_a_dead_engine_put_aside_is_swept() {
    let desk = desk(|root| {
        for name in [".blueprint-4194305-0.taken", &format!(".blueprint-{}-0.taken", std::process::id())] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("0"), "half").unwrap();
        }
    });
    assert_eq!(desk.files(), [format!(".blueprint-{}-0.taken", std::process::id())]);
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
