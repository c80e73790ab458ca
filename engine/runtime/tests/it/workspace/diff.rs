//! Patches out of trees and into trees.

use std::fs;

use blueprint_runtime::workspace::{ApplyError, Clean, DiffOptions, ReadFileError, TreePath};

use super::ground::{Ground, content, empty, write};

#[test]
fn a_patch_leads_from_one_tree_to_the_other() {
    let ground = Ground::new();
    let repository = ground.repository();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, empty(&repository), Clean::All).unwrap();
    let dir = checkout.dir().to_owned();
    write(&dir.join("text"), b"one\ntwo\n");
    write(&dir.join("binary"), b"\0\x01\x02");
    write(&dir.join("gone"), b"gone\n");
    write(&dir.join(".gitattributes"), b"text diff=evil\n* -text binary\n");
    let from = checkout.capture(&repository).unwrap().tree;
    write(&dir.join("text"), b"one\r\n2\n");
    write(&dir.join("binary"), b"\0\xff\xfe\xfd");
    write(&dir.join("new\nname"), b"new\n");
    fs::remove_file(dir.join("gone")).unwrap();
    let to = checkout.capture(&repository).unwrap().tree;

    let diff = repository.diff(from, to, DiffOptions::default()).unwrap();
    let patch = String::from_utf8_lossy(&diff.patch).into_owned();
    assert!(!diff.truncated);
    assert!(
        patch.contains("-two") && patch.contains("GIT binary patch") && patch.contains("\"b/new\\nname\""),
        "{patch}"
    );
    assert_eq!(repository.apply_patch(from, &diff.patch).unwrap(), to);

    let stat = repository.diff_stat(from, to).unwrap();
    let shown: Vec<_> = stat.iter().map(|file| (file.path.to_string(), file.lines)).collect();
    assert_eq!(
        shown,
        [
            ("binary".to_owned(), None),
            ("gone".to_owned(), Some((0, 1))),
            ("new\\nname".to_owned(), Some((1, 0))),
            ("text".to_owned(), Some((2, 2))),
        ]
    );
    let short = repository.diff(from, to, DiffOptions { max_bytes: 50, ..DiffOptions::default() }).unwrap();
    assert_eq!((short.patch.len(), short.truncated), (50, true));
    assert_eq!(repository.diff(to, to, DiffOptions::default()).unwrap().patch, b"");
}

#[test]
fn a_patch_that_does_not_fit_is_rejected_with_a_reason() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(blueprint_runtime::workspace::Dirty::Exclude, 0).unwrap();
    let misfit = b"--- a/README\n+++ b/README\n@@ -1 +1 @@\n-something else\n+new\n";
    match repository.apply_patch(base.tree, misfit) {
        Err(ApplyError::Rejected { reason }) => assert!(reason.contains("README"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let fitting = b"--- a/README\n+++ b/README\n@@ -1 +1 @@\n-hello\n+bye\n";
    let tree = repository.apply_patch(base.tree, fitting).unwrap();
    assert_eq!(content(&repository, tree, "README").unwrap(), b"bye\n");
}

#[test]
fn a_patch_cannot_leave_the_tree() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(blueprint_runtime::workspace::Dirty::Exclude, 0).unwrap();
    for path in
        ["../escape", "/tmp/escape", ".git/config", ".GIT/hooks/post-checkout", "a/.git/config", "a/../../b"]
    {
        let patch = format!(
            "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+escaped\n"
        );
        match repository.apply_patch(base.tree, patch.as_bytes()) {
            Err(ApplyError::Rejected { .. }) => {}
            // What git lets pass as an ordinary name must at least not be laid out.
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(!ground.path("escape").exists() && !ground.state().join("git/escape").exists());
}

#[test]
fn files_are_read_from_trees_and_nothing_else_is() {
    let ground = Ground::new();
    let repository = ground.repository();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, empty(&repository), Clean::All).unwrap();
    write(&checkout.dir().join("d/f"), b"content");
    write(&checkout.dir().join("d/-o\n*"), b"odd");
    std::os::unix::fs::symlink("f", checkout.dir().join("d/link")).unwrap();
    let tree = checkout.capture(&repository).unwrap().tree;
    assert_eq!(content(&repository, tree, "d/f").unwrap(), b"content");
    assert_eq!(content(&repository, tree, "d/-o\n*").unwrap(), b"odd");
    assert_eq!(content(&repository, tree, "d/g"), None);
    assert_eq!(content(&repository, tree, "d/f/x"), None);
    let read = |path: &str, limit| repository.read_file(tree, &TreePath::from(path), limit);
    assert!(matches!(read("d/f", 3), Err(ReadFileError::TooLarge { .. })));
    assert!(matches!(read("d", 9), Err(ReadFileError::NotAFile { .. })));
    assert!(matches!(read("d/link", 9), Err(ReadFileError::NotAFile { .. })));
    for path in ["", "/d/f", "../d/f", "d/./f", "d//f", "d/f/", "a\0b"] {
        assert!(matches!(read(path, 9), Err(ReadFileError::BadPath { .. })), "{path:?}");
    }
}
