//! What a program in a sandbox may leave behind to hurt whoever looks at it.
//! Every trap is shown to work on a plain git or a plain walk first or afterwards.

use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use blueprint_runtime::workspace::{
    CaptureError, Checkout, Clean, DiffOptions, Dirty, EscapingLinks, FlagKind, Limits, Repository,
    ScanError, SetToError, TreePath,
};

use super::ground::{Ground, content, empty, info, make_executable, paths, write};

fn prepared(ground: &Ground) -> (Repository, Checkout) {
    let repository = ground.repository();
    let mut checkout = ground.checkout("a");
    let tree = repository.base(Dirty::Exclude, 0).unwrap().tree;
    checkout.set_to(&repository, tree, Clean::All).unwrap();
    (repository, checkout)
}

/// Plants everything that makes a git run something, each leaving its own mark.
fn plant_repository(ground: &Ground, dir: &Path) {
    let marks = ground.path("marks");
    fs::create_dir_all(&marks).unwrap();
    let mark = |name: &str| {
        let script = ground.path(&format!("{name}.sh"));
        write(
            &script,
            format!("#!/bin/sh\ntouch '{}'\ncat 2>/dev/null\n", marks.join(name).display()).as_bytes(),
        );
        make_executable(&script);
        script.display().to_string()
    };
    ground.git_in(dir, &["init", "-q"]);
    ground.git_in(dir, &["add", "README"]);
    let hooks = dir.join(".git/hooks");
    for hook in
        ["pre-commit", "post-index-change", "reference-transaction", "post-checkout", "fsmonitor-watchman"]
    {
        let path = hooks.join(hook);
        write(&path, format!("#!/bin/sh\ntouch '{}'\n", marks.join(hook).display()).as_bytes());
        make_executable(&path);
    }
    let included = ground.path("included.config");
    write(&included, format!("[diff]\n\texternal = {}\n", mark("external-diff")).as_bytes());
    for (key, value) in [
        ("core.fsmonitor", mark("fsmonitor")),
        ("core.sshCommand", mark("ssh")),
        ("filter.evil.clean", mark("clean")),
        ("filter.evil.smudge", mark("smudge")),
        ("filter.evil.process", mark("process")),
        ("diff.evil.textconv", mark("textconv")),
        ("merge.evil.driver", mark("merge")),
        ("include.path", included.display().to_string()),
    ] {
        ground.git_in(dir, &["config", key, &value]);
    }
    write(
        &dir.join(".gitattributes"),
        b"* filter=evil diff=evil merge=evil text=auto eol=crlf working-tree-encoding=UTF-16\n",
    );
    write(
        &dir.join(".gitmodules"),
        b"[submodule \"x\"]\n\tpath = x\n\turl = ext::touch /tmp/pwned\n\tupdate = !touch /tmp/pwned\n",
    );
}

#[test]
fn nothing_planted_in_a_checkout_is_ever_run() {
    let ground = Ground::with_repository();
    let (repository, mut checkout) = prepared(&ground);
    let dir = checkout.dir().to_owned();
    plant_repository(&ground, &dir);
    // A second repository below, a bare one, and a file that points elsewhere.
    ground.git_in(&dir, &["init", "-q", "--bare", "planted"]);
    fs::create_dir(dir.join("sub")).unwrap();
    fs::rename(dir.join(".git"), dir.join("sub/.git")).unwrap();
    write(&dir.join("redirected/.git"), b"gitdir: ../sub/.git\n");
    fs::rename(dir.join("sub/.git"), dir.join(".git")).unwrap();
    write(&dir.join("README"), b"changed\n");
    let marks = ground.path("marks");
    // Preparing the trap with git springs some of it.
    fs::remove_dir_all(&marks).unwrap();
    fs::create_dir(&marks).unwrap();

    let captured = checkout.capture(&repository).unwrap();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let commit = repository.commit(captured.tree, &[base.commit], &info("run", "node")).unwrap();
    let diff = repository.diff(base.tree, captured.tree, DiffOptions::default()).unwrap();
    repository.apply_patch(base.tree, &diff.patch).unwrap();
    let other = repository.commit(base.tree, &[base.commit], &info("run", "other")).unwrap();
    repository.merge(&[commit, other]).unwrap();
    ground.checkout("b").set_to(&repository, captured.tree, Clean::All).unwrap();
    assert_eq!(fs::read_dir(&marks).unwrap().count(), 0, "something planted ran");

    assert_eq!(content(&repository, captured.tree, "README").unwrap(), b"changed\n");
    assert!(
        content(&repository, captured.tree, "planted/config").is_some(),
        "a planted repository is plain files"
    );
    let flagged: Vec<_> = captured.flagged.iter().map(|flag| (flag.path.to_string(), flag.kind)).collect();
    for expected in [
        (".git", FlagKind::DotGit),
        ("redirected/.git", FlagKind::DotGit),
        (".gitattributes", FlagKind::ExecutesOnHost),
        (".gitmodules", FlagKind::ExecutesOnHost),
    ] {
        assert!(flagged.contains(&(expected.0.to_owned(), expected.1)), "{expected:?} in {flagged:?}");
    }
    assert!(captured.changed.iter().all(|change| !change.path.to_string().contains(".git/")));

    ground.try_git(&dir, &["status"]);
    ground.try_git(&dir, &["add", "-A"]);
    ground.try_git(&dir, &["diff", "--cached"]);
    assert!(fs::read_dir(&marks).unwrap().count() >= 2, "the traps must work for plain git");

    checkout.set_to(&repository, base.tree, Clean::Untracked).unwrap();
    assert!(!dir.join(".git").exists() && !dir.join("planted").exists());
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_race_between_a_directory_and_a_link_never_leaks_what_the_link_shows() {
    let ground = Ground::with_repository();
    let (repository, checkout) = prepared(&ground);
    let mut checkout = checkout.with_escaping_links(EscapingLinks::Flag);
    let dir = checkout.dir().to_owned();
    let secret = ground.path("secret");
    write(&secret.join("file"), b"canary");
    write(&dir.join("swap/file"), b"harmless");
    symlink(&secret, dir.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    let (mut captured, mut refused, mut plain_leaks) = (0, 0, 0);
    thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps: u64 = 0;
            while !stop.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let cwd = rustix::fs::CWD;
                rustix::fs::renameat_with(cwd, dir.join("swap"), cwd, dir.join("link"), exchange).unwrap();
                swaps += 1;
            }
            swaps
        });
        // A failed assertion must end the other thread as well.
        let ended = EndOnDrop(&stop);
        for _ in 0..400 {
            match checkout.capture(&repository) {
                Ok(result) => {
                    captured += 1;
                    for path in ["swap/file", "link/file"] {
                        assert_ne!(
                            content_or_none(&repository, result.tree, path).as_deref(),
                            Some(&b"canary"[..])
                        );
                    }
                }
                Err(CaptureError::Content(ScanError::Unstable { .. })) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        // The control: looking first and opening afterwards does leak.
        for _ in 0..200_000 {
            let path = dir.join("swap");
            if path.symlink_metadata().is_ok_and(|found| found.is_dir())
                && fs::read(path.join("file")).is_ok_and(|bytes| bytes == b"canary")
            {
                plain_leaks += 1;
                break;
            }
        }
        drop(ended);
        assert!(swapper.join().unwrap() > 100);
    });
    assert!(captured > 0, "{captured} captured, {refused} refused");
    assert!(plain_leaks > 0, "the race must be winnable for a plain walk");
}

fn content_or_none(
    repository: &Repository,
    tree: blueprint_runtime::workspace::TreeId,
    path: &str,
) -> Option<Vec<u8>> {
    repository.read_file(tree, &TreePath::from(path), 1 << 20).ok().flatten()
}

#[test]
fn pipes_sockets_and_devices_are_left_out_without_being_opened() {
    let ground = Ground::with_repository();
    let (repository, mut checkout) = prepared(&ground);
    let dir = checkout.dir().to_owned();
    let tree = checkout.tree();
    assert!(Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    let mut expected = vec!["pipe", "socket"];
    // Only a privileged test can make the look-alike of an overlay whiteout.
    if Command::new("mknod").arg(dir.join("device")).args(["c", "0", "0"]).status().unwrap().success() {
        expected.insert(0, "device");
    }
    // A pipe in the place of the ignore file must not be waited for either.
    assert!(Command::new("mkfifo").arg(dir.join("src/.gitignore")).status().unwrap().success());
    let captured = checkout.capture(&repository).unwrap();
    assert_eq!(Some(captured.tree), tree);
    let special: Vec<_> = captured
        .flagged
        .iter()
        .filter(|flagged| flagged.kind == FlagKind::SpecialFile)
        .map(|flagged| flagged.path.to_string())
        .collect();
    expected.push("src/.gitignore");
    assert_eq!(special, expected);
    checkout.set_to(&repository, captured.tree, Clean::All).unwrap();
    assert!(!dir.join("pipe").exists() && !dir.join("socket").exists());
}

#[test]
fn links_out_of_the_workspace_are_refused_or_flagged_and_never_followed() {
    let ground = Ground::with_repository();
    for target in ["/etc/passwd", "../../outside", "src/../..", ".git/config", "x/../../../y"] {
        let (repository, mut checkout) = prepared(&ground);
        symlink(target, checkout.dir().join("src/link")).unwrap();
        match checkout.capture(&repository) {
            Err(error @ CaptureError::Content(ScanError::EscapingLink { .. })) => {
                assert!(error.blames_content());
            }
            other => panic!("{target}: {other:?}"),
        }
        let mut checkout = checkout.with_escaping_links(EscapingLinks::Flag);
        let captured = checkout.capture(&repository).unwrap();
        assert_eq!(
            captured.flagged.iter().map(|flagged| flagged.kind).collect::<Vec<_>>(),
            [FlagKind::EscapingLink]
        );
        let commit = repository.commit(captured.tree, &[], &info("run", "node")).unwrap();
        assert_eq!(ground.git(&["show", &format!("{commit}:src/link")]), target);
        // What was there before is no fault of the next node.
        let mut next = checkout.with_escaping_links(EscapingLinks::Reject);
        write(&next.dir().join("more"), b"more");
        assert_eq!(paths(&next.capture(&repository).unwrap()), ["more"]);
    }
}

#[test]
fn limits_hold_before_anything_is_read() {
    let ground = Ground::with_repository();
    let (repository, mut checkout) = prepared(&ground);
    let dir = checkout.dir().to_owned();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    // The largest some filesystems have.
    let size = if sparse.set_len(10 << 40).is_ok() { 10 << 40 } else { 8 << 40 };
    sparse.set_len(size).unwrap();
    match checkout.capture(&repository) {
        Err(CaptureError::Content(ScanError::FileTooLarge { path, size: found, .. })) => {
            assert_eq!((path, found), (TreePath::from("sparse"), size));
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(dir.join("sparse")).unwrap();
    write(&dir.join("one"), &[b'x'; 600]);
    write(&dir.join("two"), &[b'y'; 600]);
    let limits = Limits { entries: 100, file_bytes: 1000, total_bytes: 1000 };
    let mut checkout = checkout.with_limits(limits);
    assert!(matches!(
        checkout.capture(&repository),
        Err(CaptureError::Content(ScanError::TooMuch { limit: 1000 }))
    ));
    fs::remove_file(dir.join("two")).unwrap();
    for number in 0..100 {
        write(&dir.join(format!("many/{number}")), b"");
    }
    assert!(matches!(
        checkout.capture(&repository),
        Err(CaptureError::Content(ScanError::TooMany { limit: 100 }))
    ));
    checkout.set_to(&repository, checkout.tree().unwrap(), Clean::All).unwrap();
    assert!(checkout.capture(&repository).unwrap().changed.is_empty());
}

#[test]
fn directories_nested_without_end_are_refused_and_removed() {
    let ground = Ground::with_repository();
    let (repository, mut checkout) = prepared(&ground);
    // Deeper than any path can say, so it is dug from the bottom of what was dug before.
    let mut here =
        rustix::fs::open(checkout.dir(), rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..3_000 {
        rustix::fs::mkdirat(&here, "d", rustix::fs::Mode::RWXU).unwrap();
        here =
            rustix::fs::openat(&here, "d", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    assert!(matches!(checkout.capture(&repository), Err(CaptureError::Content(ScanError::TooDeep { .. }))));
    let tree = checkout.tree().unwrap();
    checkout.set_to(&repository, tree, Clean::All).unwrap();
    assert!(!checkout.dir().join("d").exists());
    assert!(!ground.state().join("checkouts/a.trash").exists());
    assert_eq!(checkout.capture(&repository).unwrap().tree, tree);
}

#[test]
fn a_checkout_nobody_may_read_is_read_and_cleaned_all_the_same() {
    let ground = Ground::with_repository();
    let (repository, mut checkout) = prepared(&ground);
    let dir = checkout.dir().to_owned();
    write(&dir.join("locked/inner/file"), b"locked");
    for path in ["locked/inner/file", "locked/inner", "locked", "src/lib.rs", "src", ""] {
        fs::set_permissions(dir.join(path), fs::Permissions::from_mode(0o0)).unwrap();
    }
    let captured = checkout.capture(&repository).unwrap();
    assert_eq!(paths(&captured), ["locked/inner/file"]);
    for path in ["locked/inner", "locked"] {
        fs::set_permissions(dir.join(path), fs::Permissions::from_mode(0o0)).unwrap();
    }
    let base = repository.base(Dirty::Exclude, 0).unwrap().tree;
    checkout.set_to(&repository, base, Clean::All).unwrap();
    assert_eq!(fs::metadata(dir.join("src")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(checkout.capture(&repository).unwrap().tree, base);
}

#[test]
fn odd_names_are_kept_as_bytes_and_shown_harmlessly() {
    let ground = Ground::with_repository();
    let (repository, mut checkout) = prepared(&ground);
    let names: [&[u8]; 8] = [
        b"new\nline",
        b"\x1b]0;title\x07",
        b"-rf",
        b"CON",
        b"\xff\xfe",
        b" ",
        b"a\\b",
        "\u{202e}gpj".as_bytes(),
    ];
    for name in names {
        fs::write(checkout.dir().join(std::ffi::OsStr::from_bytes(name)), b"x").unwrap();
    }
    let captured = checkout.capture(&repository).unwrap();
    let mut found: Vec<&[u8]> = captured.changed.iter().map(|change| change.path.as_bytes()).collect();
    found.sort_unstable();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(
        paths(&captured)
            .iter()
            .all(|shown| shown.chars().all(|char| !char.is_control() && char != '\u{202e}'))
    );
    let mut other = ground.checkout("b");
    other.set_to(&repository, captured.tree, Clean::All).unwrap();
    for name in names {
        assert!(other.dir().join(std::ffi::OsStr::from_bytes(name)).exists());
    }
}

#[test]
fn names_that_other_filesystems_confuse_are_flagged_or_left_out() {
    let ground = Ground::with_repository();
    let (repository, mut checkout) = prepared(&ground);
    for name in [".GIT/config", ".git /x", "git~1", "s/.g\u{200c}it/config", "readme", "e\u{301}", "\u{e9}"] {
        write(&checkout.dir().join(name), b"x");
    }
    let captured = checkout.capture(&repository).unwrap();
    assert_eq!(paths(&captured), ["e\u{301}", "readme", "\u{e9}"]);
    let of = |kind| captured.flagged.iter().filter(|flagged| flagged.kind == kind).count();
    assert_eq!((of(FlagKind::DotGit), of(FlagKind::NameCollision)), (4, 2));
}

#[test]
fn a_tree_with_dangerous_names_is_not_laid_out() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let blob = ground.git(&["rev-parse", "HEAD:README"]);
    let raw: Vec<u8> = (0..20).map(|at| u8::from_str_radix(&blob[2 * at..2 * at + 2], 16).unwrap()).collect();
    for name in [&b".."[..], b".", b".git", b".GIT", b"a/b", b"../../escaped", b".git ", b"git~1"] {
        let mut object = b"100644 ".to_vec();
        object.extend_from_slice(name);
        object.push(0);
        object.extend_from_slice(&raw);
        let mut hash = Command::new("git")
            .args(["hash-object", "-t", "tree", "-w", "--stdin", "--literally"])
            .current_dir(ground.project())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        hash.stdin.take().unwrap().write_all(&object).unwrap();
        let output = hash.wait_with_output().unwrap();
        let tree = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let mut checkout = ground.checkout("a");
        match checkout.set_to(&repository, tree, Clean::All) {
            Err(SetToError::UnsafeName { .. }) => {}
            other => panic!("{}: {other:?}", String::from_utf8_lossy(name)),
        }
        assert!(!ground.state().join("escaped").exists());
    }
}

#[test]
fn hard_links_inside_a_checkout_are_two_files() {
    let ground = Ground::with_repository();
    let (repository, mut checkout) = prepared(&ground);
    fs::hard_link(checkout.dir().join("README"), checkout.dir().join("again")).unwrap();
    let captured = checkout.capture(&repository).unwrap();
    assert_eq!(paths(&captured), ["again"]);
    assert_eq!(content(&repository, captured.tree, "again").unwrap(), b"hello\n");
    assert_eq!(content(&repository, captured.tree, "nothing"), None);
    assert_ne!(captured.tree, empty(&repository));
}
