//! Random directories, captured and laid out again, with git itself as the judge.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use blueprint_runtime::workspace::{Clean, ObjectFormat};
use proptest::prelude::*;

use super::ground::{Ground, empty, info, make_executable};

#[derive(Debug, Clone)]
enum Thing {
    File(Vec<u8>),
    Executable(Vec<u8>),
    Link(&'static str),
    Ignores(Vec<&'static str>),
    Nothing,
}

type Things = Vec<(Vec<&'static [u8]>, Thing)>;

fn name() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"c",
        b"a.b",
        b"a-",
        b"a0",
        b"A",
        b"keep.log",
        b"x.log",
        b"-rf",
        b"with space",
        b"new\nline",
        b"\x1b[31m",
        b"\xff\xfe",
        "\u{e9}".as_bytes(),
        b"build",
    ])
}

fn things() -> impl Strategy<Value = Things> {
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(b"line\r\nline\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 4000..9000),
    ];
    let rule = prop::sample::select(vec!["*.log", "!keep.log", "/a", "build/", "a/b", "**/c", "# no", "b"]);
    let thing = prop_oneof![
        4 => content.clone().prop_map(Thing::File),
        1 => content.prop_map(Thing::Executable),
        1 => prop::sample::select(vec!["a", "a/b", "nowhere"]).prop_map(Thing::Link),
        1 => prop::collection::vec(rule, 0..3).prop_map(Thing::Ignores),
        1 => Just(Thing::Nothing),
    ];
    prop::collection::vec((prop::collection::vec(name(), 1..4), thing), 0..14)
}

/// Changes a directory the way a careless program would.
fn apply(dir: &Path, things: &Things) {
    for (parts, thing) in things {
        let mut path = dir.to_owned();
        for part in &parts[..parts.len() - 1] {
            path.push(OsStr::from_bytes(part));
            if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
                fs::remove_file(&path).unwrap();
            }
            if !path.exists() {
                fs::create_dir(&path).unwrap();
            }
        }
        let last =
            if matches!(thing, Thing::Ignores(_)) { &b".gitignore"[..] } else { parts[parts.len() - 1] };
        path.push(OsStr::from_bytes(last));
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path).unwrap(),
            Ok(_) => fs::remove_file(&path).unwrap(),
            Err(_) => {}
        }
        match thing {
            Thing::File(content) => fs::write(&path, content).unwrap(),
            Thing::Executable(content) => {
                fs::write(&path, content).unwrap();
                make_executable(&path);
            }
            Thing::Link(target) => symlink(target, &path).unwrap(),
            Thing::Ignores(rules) => fs::write(&path, rules.join("\n") + "\n").unwrap(),
            Thing::Nothing => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_captured_is_what_git_itself_would_add(first in things(), second in things()) {
        let ground = Ground::new();
        let repository = ground.repository();
        let mut checkout = ground.checkout("a");
        checkout.set_to(&repository, empty(&repository), Clean::All).unwrap();
        let judge = ground.path("judge");
        ground.git_in(&ground.path("home"), &["init", "-q", "--bare", judge.to_str().unwrap()]);
        let git_dir = format!("--git-dir={}", judge.display());
        let work_tree = format!("--work-tree={}", checkout.dir().display());
        let mut last = None;
        let mut before = ground.git_in(&judge, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
        for things in [&first, &second] {
            apply(checkout.dir(), things);
            let captured = checkout.capture(&repository).unwrap();
            ground.git_in(checkout.dir(), &[&git_dir, &work_tree, "add", "-A", "."]);
            let expected = ground.git_in(checkout.dir(), &[&git_dir, "write-tree"]);
            prop_assert_eq!(&captured.tree.to_string(), &expected);
            let names = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", &before, &expected];
            let changed: Vec<Vec<u8>> = ground
                .try_git(&judge, &names)
                .stdout
                .split(|&byte| byte == 0)
                .filter(|path| !path.is_empty())
                .map(<[u8]>::to_vec)
                .collect();
            let told: Vec<Vec<u8>> = captured.changed.iter().map(|change| change.path.as_bytes().to_vec()).collect();
            prop_assert_eq!(told, changed.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>());
            before = expected;

            let again = checkout.capture(&repository).unwrap();
            prop_assert_eq!(again.tree, captured.tree);
            prop_assert_eq!(again.changed, vec![]);

            // A second checkout, reused for both, must come to the same by writing only differences.
            let mut other = ground.checkout("b");
            other.set_to(&repository, captured.tree, Clean::All).unwrap();
            let copy = other.capture(&repository).unwrap();
            prop_assert_eq!(copy.tree, captured.tree);
            let fresh = ground.path("fresh");
            fs::create_dir(&fresh).unwrap();
            let fresh_tree = format!("--work-tree={}", fresh.display());
            ground.git_in(&fresh, &[&git_dir, &fresh_tree, "checkout-index", "-a"]);
            prop_assert_eq!(listing(&fresh), listing(other.dir()));
            fs::remove_dir_all(&fresh).unwrap();
            last = Some(captured.tree);
        }
        let commit = repository.commit(last.unwrap(), &[], &info("run", "node")).unwrap();
        ground.objects(&["fsck", "--strict", "--no-dangling", &commit.to_string()]);
    }
}

/// Files and links with their content and executable bit, directories left out.
fn listing(dir: &Path) -> Vec<String> {
    let mut lines: Vec<String> = super::ground::fingerprint(dir)
        .into_iter()
        .map(|line| line.replace(&format!("{}", dir.display()), ""))
        .filter(|line| !line.contains(" 40755 "))
        .map(|line| {
            let mut words: Vec<&str> = line.rsplitn(4, ' ').collect();
            words.remove(1);
            words.join(" ")
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_repository_with_sha256_works_the_same() {
    let ground = Ground::new();
    ground.git(&["init", "-q", "--object-format=sha256"]);
    ground.write("a", b"one");
    ground.git(&["add", "-A"]);
    ground.git(&["commit", "-qm", "first"]);
    let repository = ground.repository();
    assert_eq!(repository.format(), ObjectFormat::Sha256);
    let base = repository.base(blueprint_runtime::workspace::Dirty::Exclude, 0).unwrap();
    assert!(!base.left_out.is_dirty());
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    super::ground::write(&checkout.dir().join("d/b"), b"two");
    let captured = checkout.capture(&repository).unwrap();
    let commit = repository.commit(captured.tree, &[base.commit], &info("run", "node")).unwrap();
    assert_eq!(ground.git(&["show", &format!("{commit}:d/b")]), "two");
    ground.git(&["fsck", "--strict"]);
}

#[test]
fn a_large_capture_goes_into_one_pack_that_git_accepts() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, empty(&repository), Clean::All).unwrap();
    for number in 0..400 {
        super::ground::write(
            &checkout.dir().join(format!("d{}/f{number}", number % 7)),
            format!("{number}").as_bytes(),
        );
    }
    let captured = checkout.capture(&repository).unwrap();
    assert_eq!(captured.changed.len(), 400);
    let commit = repository.commit(captured.tree, &[], &info("run", "node")).unwrap();
    ground.git(&["fsck", "--strict", "--no-dangling", &commit.to_string()]);
    assert_eq!(ground.git(&["ls-tree", "-r", "--name-only", &commit.to_string()]).lines().count(), 400);
    assert!(ground.git(&["count-objects", "-v"]).contains("packs: 1"));
}
