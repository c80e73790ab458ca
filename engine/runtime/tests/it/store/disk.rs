//! Read-only and full disks, as real mounts in a mount namespace of their own.

use std::path::Path;
use std::process::Command;

use super::fixture::{in_wrapper, journal_of};

/// Runs a child after the shell commands in `mounts`, in which `$1` is the folder. `None` where mounting is not
/// allowed.
fn in_mounts(mounts: &str, function: &str, dir: &Path) -> Option<String> {
    let probe = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs"]).arg(dir).output();
    if !probe.is_ok_and(|p| p.status.success()) {
        eprintln!("skipped: mounts are not allowed here");
        return None;
    }
    let script = format!("set -e; {mounts}; shift; exec \"$@\"");
    let folder = dir.to_str().unwrap();
    let wrapper = ["unshare", "-rm", "sh", "-c", &script, "sh", folder];
    let output = in_wrapper(&wrapper, function, dir).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    Some(text)
}

#[test]
fn a_disk_that_fills_up_is_named_and_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = "mount -t tmpfs -o size=700k tmpfs \"$1\"";
    if let Some(text) = in_mounts(mounts, "fills_the_disk", dir.path()) {
        assert!(text.contains("full after"), "{text}");
    }
}

#[test]
fn a_full_disk_is_named_on_opening() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = "mount -t tmpfs -o size=64k tmpfs \"$1\"; head -c 64k /dev/zero > \"$1/filler\"";
    if let Some(text) = in_mounts(mounts, "opens_on_a_full_disk", dir.path()) {
        assert!(text.contains("refused"), "{text}");
    }
}

#[tokio::test]
async fn a_read_only_disk_is_named_and_its_journal_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(&dir.path().join("journal"), 3).await.close().await.unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let mounts = "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; cd \"$1\"";
    if let Some(text) = in_mounts(mounts, "opens_on_a_read_only_mount", dir.path()) {
        assert!(text.contains("read"), "{text}");
    }
}

#[tokio::test]
async fn a_journal_that_is_written_by_another_way_while_it_is_read_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(&dir.path().join("journal"), 3).await.close().await.unwrap();
    std::fs::create_dir(dir.path().join("view")).unwrap();
    let mounts = "mount --bind \"$1/journal\" \"$1/view\"; mount -o remount,ro,bind \"$1/view\"";
    if let Some(text) = in_mounts(mounts, "reads_by_one_way_and_writes_by_another", dir.path()) {
        assert!(text.contains("not believed"), "{text}");
    }
}
