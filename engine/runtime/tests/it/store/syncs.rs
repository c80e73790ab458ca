//! The price of an append, counted in what it costs on any machine: syncs.

use std::process::Command;

use super::fixture::in_wrapper;

/// A thousand appends, and what opening, creating, copying the log back and closing may add.
const LIMIT: u64 = 1_000 + 15;

#[test]
fn a_thousand_appends_sync_a_thousand_times_and_hardly_more() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("calls");
    let wrapper = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-o",
        report.to_str().unwrap(),
        "-e",
        "trace=fsync,fdatasync",
        "-y",
    ];
    let probe = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if !probe.is_ok_and(|p| p.status.success()) {
        eprintln!("skipped: no strace, or tracing is not allowed here");
        return;
    }
    let output =
        in_wrapper(&wrapper, "appends_a_thousand_times", &dir.path().join("state")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let calls = std::fs::read_to_string(&report).unwrap();
    let syncs = calls.lines().filter(|l| l.contains("sync(")).count() as u64;
    // The first commit makes the journal's name durable; its creation leaves that to it.
    assert!(calls.lines().any(|l| l.contains("sync(") && l.contains("/state>")), "{calls}");
    assert!((1_000..=LIMIT).contains(&syncs), "{syncs} syncs");
}
