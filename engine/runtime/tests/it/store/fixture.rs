//! A journal in a folder of its own, and the child processes that tests start and kill.

use std::path::Path;
use std::process::{Command, Stdio};

use blueprint_runtime::store::{
    Append, Identity, Lease, Mode, NewEvent, NewRun, Options, Owner, Store, SyncLevel, Verdict,
};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

/// Tells a child process where to work.
pub(super) const DIR: &str = "BLUEPRINT_TEST_STATE_DIR";
pub(super) const RUN: &str = "run-1";
pub(super) const NOW: i64 = 1_760_000_000_000;

pub(super) const READ_ONLY: Options = Options { sync: SyncLevel::Full, mode: Mode::ReadOnly };

pub(super) async fn open(dir: &Path) -> Store {
    Store::open(dir, Options::default()).await.unwrap()
}

pub(super) fn new_run(id: &str) -> NewRun<'_> {
    let identity = Identity { id, blueprint: "build", digest: "d1", created_at_ms: NOW };
    NewRun { identity, status: "running" }
}

pub(super) async fn start(store: &Store, id: &str) -> Lease {
    store.create(new_run(id), &Owner::current(), NOW).await.unwrap()
}

/// Appends one event a body, from the first number on.
pub(super) async fn write(store: &Store, lease: &Lease, first_seq: u64, bodies: &[&str]) {
    let events: Vec<NewEvent<'_>> = bodies.iter().map(|body| event(body)).collect();
    store.append(lease, Append { first_seq, events: &events, ..Append::default() }).await.unwrap();
}

pub(super) fn event(body: &str) -> NewEvent<'_> {
    NewEvent { at_ms: NOW, kind: "note", body }
}

/// A store with one run of `count` events, each with its number as its body.
pub(super) async fn journal_of(dir: &Path, count: u64) -> Store {
    let store = open(dir).await;
    let lease = start(&store, RUN).await;
    for seq in 1..=count {
        write(&store, &lease, seq, &[&seq.to_string()]).await;
    }
    store
}

pub(super) async fn assert_verified(store: &Store, run: &str, count: u64) {
    match store.verify(run).await.unwrap() {
        Verdict::Verified { events, .. } => assert_eq!(events, count),
        Verdict::Broken { seq, reason } => panic!("broken at {seq}: {reason}"),
    }
}

/// A connection past the store, for doing what the store never would.
pub(super) async fn raw(dir: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("journal.db")).foreign_keys(false).connect().await.unwrap()
}

/// One of the functions in `children`, as a process.
pub(super) fn child(function: &str, dir: &Path) -> Command {
    in_wrapper(&[], function, dir)
}

/// The same, started through another program.
pub(super) fn in_wrapper(wrapper: &[&str], function: &str, dir: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
    };
    command
        .args([
            &format!("store::children::{function}"),
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR, dir)
        .stdin(Stdio::null());
    command
}
