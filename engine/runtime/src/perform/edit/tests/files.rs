//! Files below a folder, and everything that only looks as if it were.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::files::{FileError, Files};

#[test]
fn paths_that_name_nothing_inside_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let files = Files::open(root.path()).unwrap();
    for path in ["", "/etc/passwd", "../x", "a/../b", "./a", "a//b", "a/", ".git/config", "a/.GIT/x", "a\0b"]
    {
        assert!(matches!(files.read(path), Err(FileError::Path)), "{path:?}");
        assert!(matches!(files.write(path, "x", None), Err(FileError::Path)), "{path:?}");
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn links_are_neither_read_nor_written() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(root.path().join("real"), "r").unwrap();
    symlink("real", root.path().join("inside")).unwrap();
    symlink(outside.path(), root.path().join("out")).unwrap();
    symlink("/proc/self/root", root.path().join("magic")).unwrap();
    let files = Files::open(root.path()).unwrap();
    for path in ["inside", "out/x", "magic/etc/hostname"] {
        assert!(matches!(files.read(path), Err(FileError::Link)), "{path}: {:?}", files.read(path));
    }
    for path in ["out/x", "out/new/x", "magic/tmp/x"] {
        let written = files.write(path, "x", None);
        assert!(matches!(written, Err(FileError::Link | FileError::NotAFolder)), "{path}: {written:?}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_pipe_is_no_file_and_does_not_block() {
    let root = tempfile::tempdir().unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path().join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let files = Files::open(root.path()).unwrap();
    assert!(matches!(files.read("pipe"), Err(FileError::NotAFile("a device or a pipe"))));
}

#[test]
fn a_written_file_keeps_its_mode_and_leaves_its_other_names_alone() {
    let root = tempfile::tempdir().unwrap();
    let (path, other) = (root.path().join("a"), root.path().join("b"));
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
    fs::hard_link(&path, &other).unwrap();
    let files = Files::open(root.path()).unwrap();
    let found = files.read("a").unwrap();
    files.write("a", "new", found.as_ref()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o751);
    assert_eq!(fs::read_to_string(&other).unwrap(), "old");
}

#[test]
fn a_missing_file_is_made_with_its_folders() {
    let root = tempfile::tempdir().unwrap();
    let files = Files::open(root.path()).unwrap();
    assert!(files.read("a/b/c").unwrap().is_none());
    files.write("a/b/c", "x", None).unwrap();
    assert_eq!(files.read("a/b/c").unwrap().unwrap().text().unwrap(), "x");
    let again = files.write("a/b/c", "y", None);
    assert!(again.is_err(), "what was not found must not be there");
}
