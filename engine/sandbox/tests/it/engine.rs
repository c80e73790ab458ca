//! An engine that is killed takes its sandboxes with it.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use blueprint_sandbox::Backend;

use crate::{
    desk::{Desk, every, run, sh},
    endings::{alive, eventually, marker},
    microvm::{below, emulators, lives, machine},
    scene::control_groups,
};

const MARK: &str = "BLUEPRINT_TEST_MARK";
const BACKEND: &str = "BLUEPRINT_TEST_BACKEND";

/// The engine to be killed; does nothing unless another test starts it.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test passes its marker this way")]
async fn engine() {
    let (Ok(mark), Ok(backend)) = (std::env::var(MARK), std::env::var(BACKEND)) else { return };
    let backend = every().into_iter().find(|known| known.name() == backend).unwrap();
    let desk = Desk::new(backend);
    let mut sandbox = desk.start().await;
    println!("\nstarted");
    let script = format!("trap '' TERM HUP; setsid sleep {mark} & sleep {mark}; sleep {mark}");
    panic!("{:?}", run(&mut sandbox, sh(&script)).await);
}

#[tokio::test]
async fn a_killed_engine_leaves_nothing_running() {
    for backend in [Backend::Process, Backend::Bubblewrap] {
        let mark = marker();
        // What it leaves on disk when it is killed is ours to remove.
        let leftovers = tempfile::tempdir().unwrap();
        let mut engine = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "engine::engine", "--nocapture"])
            .env("TMPDIR", leftovers.path())
            .env(MARK, &mark)
            .env(BACKEND, backend.name())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(engine.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "started"), "{backend:?}");
        eventually("the sandbox runs", || alive(&mark) == 2).await;
        engine.kill().unwrap();
        engine.wait().unwrap();
        eventually("everything is gone", || alive(&mark) == 0).await;
        let prefix = format!("blueprint-{}-", engine.id());
        eventually("the control groups are gone", || control_groups(&prefix) == 0).await;
    }
}

#[tokio::test]
async fn a_killed_engine_leaves_no_machine_running() {
    if machine().is_none() {
        return;
    }
    let leftovers = tempfile::tempdir().unwrap();
    let mut engine = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engine::engine", "--nocapture"])
        .env("TMPDIR", leftovers.path())
        .env(MARK, marker())
        .env(BACKEND, Backend::Microvm.name())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(engine.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "started"));
    let family = below(engine.id());
    assert_eq!((family.len(), emulators(engine.id()).len()), (2, 1), "the emulator and its parent");
    engine.kill().unwrap();
    engine.wait().unwrap();
    eventually("everything is gone", || !family.iter().copied().any(lives)).await;
    let cache = machine().unwrap().cache;
    let drafts = std::fs::read_dir(cache).unwrap().flatten();
    let left = drafts.filter(|entry| entry.file_name().to_string_lossy().starts_with("blueprint-")).count();
    assert_eq!(left, 0, "a machine leaves no file of its own");
}
