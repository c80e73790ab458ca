//! What is left of a damaged journal.

use std::fs;

use blueprint_runtime::store::{Break, INLINE_BODY_LIMIT, Owner, Stop, salvage};

use super::fixture::{NOW, RUN, journal_of, raw, start, write};

#[tokio::test]
async fn everything_is_salvaged_from_a_sound_journal() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 20).await;
    let lease = start(&store, "run-2").await;
    write(&store, &lease, 1, &[&"l".repeat(INLINE_BODY_LIMIT + 1)]).await;
    start(&store, "run-3").await;
    let report = salvage(store.path()).await.unwrap();
    assert!(report.unlisted.is_none());
    let found: Vec<(&str, usize, bool)> =
        report.runs.iter().map(|r| (r.id.as_str(), r.events.len(), r.stopped.is_none())).collect();
    assert_eq!(found, [("run-1", 20, true), ("run-2", 1, true), ("run-3", 0, true)]);
    assert_eq!(report.runs[0].events, store.read(RUN).await.unwrap());
}

#[tokio::test]
async fn the_events_before_a_break_are_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 20).await;
    sqlx::raw_sql("UPDATE event SET body = 'x' WHERE seq = 8")
        .execute(&mut raw(dir.path()).await)
        .await
        .unwrap();
    let report = salvage(store.path()).await.unwrap();
    assert_eq!(report.runs[0].events.len(), 7);
    assert!(matches!(report.runs[0].stopped, Some(Stop::Chain(Break::Altered))));
}

#[tokio::test]
async fn a_run_without_its_row_is_salvaged_and_called_that() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 20).await;
    sqlx::raw_sql("DELETE FROM run").execute(&mut raw(dir.path()).await).await.unwrap();
    let report = salvage(store.path()).await.unwrap();
    assert_eq!(report.runs[0].events.len(), 20);
    assert!(matches!(report.runs[0].stopped, Some(Stop::Unlisted)));
}

#[tokio::test]
async fn pages_that_cannot_be_read_end_the_salvage_of_a_run_but_not_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 3).await;
    let lease = start(&store, "run-2").await;
    let bodies: Vec<String> = (0..400).map(|n| format!("{n} {}", "b".repeat(200))).collect();
    write(&store, &lease, 1, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    store.acquire(RUN, &Owner::current(), NOW + 60_000).await.unwrap();
    let file = store.path().to_owned();
    store.close().await.unwrap();
    let mut bytes = fs::read(&file).unwrap();
    // The last pages are the last leaves of the events.
    let last_pages = bytes.len() - 4 * 4096;
    bytes[last_pages..].fill(0xa5);
    fs::write(&file, &bytes).unwrap();

    let report = salvage(&file).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), bytes, "salvage only reads");
    assert_eq!((report.runs[0].events.len(), report.runs[0].stopped.is_none()), (3, true));
    let damaged = &report.runs[1];
    assert!((1..400).contains(&damaged.events.len()), "{}", damaged.events.len());
    assert!(matches!(damaged.stopped, Some(Stop::Fault(_))), "{:?}", damaged.stopped);
}
