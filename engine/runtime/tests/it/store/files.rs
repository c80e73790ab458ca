//! What may be found where a journal should be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use blueprint_runtime::store::{Fault, OpenError, Options, SCHEMA_VERSION, Store};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::fixture::{NOW, READ_ONLY, RUN, assert_verified, child, journal_of, open, raw, start};

#[tokio::test]
async fn a_fresh_folder_is_private_and_ignored_by_git() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("deep/state");
    let store = open(&state).await;
    start(&store, RUN).await;
    let mode = |name: &str| fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("."), 0o700);
    for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!(fs::read_to_string(state.join(".gitignore")).unwrap(), "*\n");
    assert!(!state.join("journal.db.new").exists());
}

#[tokio::test]
async fn many_first_openers_share_one_journal() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let openers: Vec<_> = (0..8)
        .map(|n| {
            let state = state.clone();
            tokio::spawn(async move { start(&open(&state).await, &format!("run-{n}")).await })
        })
        .collect();
    for opener in openers {
        opener.await.unwrap();
    }
    assert_eq!(open(&state).await.runs().await.unwrap().len(), 8);
}

#[tokio::test]
async fn what_a_crash_left_of_a_first_opening_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("journal.db.new"), "half a database").unwrap();
    fs::write(dir.path().join("journal.db.new-journal"), "and its journal").unwrap();
    fs::write(dir.path().join(".gitignore"), "mine\n").unwrap();
    start(&open(dir.path()).await, RUN).await;
    assert_eq!(fs::read_to_string(dir.path().join(".gitignore")).unwrap(), "mine\n");
}

#[tokio::test]
async fn a_newer_journal_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), 2).await.close().await.unwrap();
    let newer = format!("PRAGMA user_version = {}", SCHEMA_VERSION + 4);
    let mut past = raw(dir.path()).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(newer)).execute(&mut past).await.unwrap();
    sqlx::Connection::close(past).await.unwrap();
    let before = fs::read(dir.path().join("journal.db")).unwrap();
    for options in [Options::default(), READ_ONLY] {
        match Store::open(dir.path(), options).await {
            Err(error @ OpenError::Newer { .. }) => {
                let text = error.to_string();
                assert!(text.contains(&format!("version {}", SCHEMA_VERSION + 4)), "{text}");
                assert!(
                    text.contains(&format!("up to {SCHEMA_VERSION}")) && text.contains("journal.db"),
                    "{text}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fs::read(dir.path().join("journal.db")).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.db");
    let mut other =
        SqliteConnectOptions::new().filename(&file).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE recipes (name TEXT)").execute(&mut other).await.unwrap();
    sqlx::Connection::close(other).await.unwrap();
    let before = fs::read(&file).unwrap();
    for options in [Options::default(), READ_ONLY] {
        let refused = Store::open(dir.path(), options).await;
        assert!(matches!(refused, Err(OpenError::NotAJournal { .. })), "{refused:?}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), 2).await.close().await.unwrap();
    let file = dir.path().join("journal.db");
    let whole = fs::read(&file).unwrap();
    let mut headless = whole.clone();
    headless[..16].fill(b'#');
    let mut schemaless = whole.clone();
    schemaless[100..4096].fill(0xff);
    for (what, bytes) in [("header", headless), ("schema", schemaless), ("rest", whole[..1_000].to_vec())] {
        fs::write(&file, &bytes).unwrap();
        match Store::open(dir.path(), Options::default()).await {
            Err(OpenError::Fault(Fault::Corrupt { path, .. })) => assert_eq!(path, file, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(fs::read(&file).unwrap(), bytes, "{what}");
    }
    fs::write(&file, "").unwrap();
    let refused = Store::open(dir.path(), Options::default()).await;
    assert!(matches!(refused, Err(OpenError::Emptied { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_damaged_page_is_reported_as_damage_by_whoever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), 400).await.close().await.unwrap();
    let file = dir.path().join("journal.db");
    let mut bytes = fs::read(&file).unwrap();
    let last_pages = bytes.len() - 3 * 4096;
    bytes[last_pages..].fill(0xa5);
    fs::write(&file, &bytes).unwrap();
    let store = open(dir.path()).await;
    let text = format!("{:?}", store.read(RUN).await.unwrap_err());
    assert!(text.contains("Corrupt"), "{text}");
}

#[tokio::test]
async fn something_else_in_the_place_of_the_folder_or_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    fs::create_dir_all(dir.path().join("state/journal.db")).unwrap();
    for state in [file.clone(), file.join("below"), dir.path().join("state")] {
        match Store::open(&state, Options::default()).await {
            Err(OpenError::Fault(Fault::Denied { path, .. })) => assert!(path.starts_with(dir.path())),
            other => panic!("{}: {other:?}", state.display()),
        }
    }
}

#[tokio::test]
async fn reading_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let refused = Store::open(&state, READ_ONLY).await;
    assert!(matches!(refused, Err(OpenError::Missing { .. })), "{refused:?}");
    assert!(!state.exists());
}

#[tokio::test]
async fn a_reader_cannot_write_and_sees_what_a_killed_writer_left_in_the_log() {
    use std::io::BufRead as _;
    let dir = tempfile::tempdir().unwrap();
    let mut command = child("leaves_three_events_without_closing", dir.path());
    let mut writer = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.into_iter().any(|line| line.contains("written")));
    writer.kill().unwrap();
    writer.wait().unwrap();
    let store = Store::open(dir.path(), READ_ONLY).await.unwrap();
    assert_verified(&store, RUN, 3).await;
    let refused = store.post(RUN, "x", NOW).await;
    assert!(format!("{refused:?}").contains("ReadOnly"), "{refused:?}");
}

#[tokio::test]
async fn a_folder_with_an_unusual_name_is_a_folder_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["file:x?mode=memory", "a b#%41", "ü'\""] {
        let state = dir.path().join(name);
        journal_of(&state, 1).await.close().await.unwrap();
        assert!(state.join("journal.db").exists());
        assert_verified(&Store::open(&state, READ_ONLY).await.unwrap(), RUN, 1).await;
    }
}
