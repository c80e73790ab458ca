//! Every change made past the store is found.

use std::path::Path;

use blueprint_runtime::store::{Break, Digest, INLINE_BODY_LIMIT, Owner, Store, Verdict};

use super::fixture::{NOW, READ_ONLY, RUN, assert_verified, journal_of, open, raw, write};

/// A journal of five events, the third with a large body, changed by `sql`.
async fn tampered(dir: &Path, sql: &'static str) -> Verdict {
    let store = journal_of(dir, 2).await;
    let lease = store.acquire(RUN, &Owner::current(), NOW + 60_000).await.unwrap();
    write(&store, &lease, 3, &[&"l".repeat(INLINE_BODY_LIMIT + 1), "4", "5"]).await;
    assert_verified(&store, RUN, 5).await;
    store.close().await.unwrap();
    let mut past = raw(dir).await;
    sqlx::raw_sql(sql).execute(&mut past).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    drop(past);
    Store::open(dir, READ_ONLY).await.unwrap().verify(RUN).await.unwrap()
}

async fn assert_broken(sql: &'static str, at: u64) {
    let dir = tempfile::tempdir().unwrap();
    match tampered(dir.path(), sql).await {
        Verdict::Broken { seq, .. } => assert_eq!(seq, at, "{sql}"),
        Verdict::Verified { .. } => panic!("not noticed: {sql}"),
    }
}

#[tokio::test]
async fn a_changed_column_of_any_event_is_found_where_it_is() {
    for sql in [
        "UPDATE event SET v = 2 WHERE seq = 2",
        "UPDATE event SET at_ms = at_ms + 1 WHERE seq = 2",
        "UPDATE event SET kind = 'noté' WHERE seq = 2",
        "UPDATE event SET body = '2 ' WHERE seq = 2",
        "UPDATE event SET body = '' WHERE seq = 2",
        "UPDATE event SET body = NULL, blob = zeroblob(32) WHERE seq = 2",
        "UPDATE event SET hash = zeroblob(32) WHERE seq = 2",
        "UPDATE event SET hash = x'00' WHERE seq = 2",
        "UPDATE event SET run = 'other' WHERE seq = 2",
        "UPDATE event SET kind = 'not', body = 'e2' WHERE seq = 2",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'STRICT, ', '') WHERE name = 'event'; \
         PRAGMA writable_schema = RESET; UPDATE event SET at_ms = 'yesterday' WHERE seq = 2",
    ] {
        assert_broken(sql, 2).await;
    }
    assert_broken("UPDATE event SET blob = zeroblob(32) WHERE seq = 3", 3).await;
    assert_broken("UPDATE event SET body = 'l', blob = NULL WHERE seq = 3", 3).await;
    assert_broken("UPDATE event SET seq = 0 WHERE seq = 1", 1).await;
    assert_broken("UPDATE event SET seq = 9 WHERE seq = 5", 5).await;
}

#[tokio::test]
async fn a_missing_moved_or_added_event_is_found() {
    for (sql, at) in [
        ("DELETE FROM event WHERE seq = 1", 1),
        ("DELETE FROM event WHERE seq = 2", 2),
        ("DELETE FROM event WHERE seq = 5", 5),
        ("DELETE FROM event WHERE seq > 3", 4),
        ("DELETE FROM event", 1),
        (
            "UPDATE event SET seq = CASE seq WHEN 4 THEN -5 ELSE -4 END WHERE seq IN (4, 5); \
          UPDATE event SET seq = -seq WHERE seq < 0",
            4,
        ),
        ("DELETE FROM event WHERE seq = 4; UPDATE event SET seq = 4 WHERE seq = 5", 4),
        ("INSERT INTO event SELECT run, 6, v, at_ms, kind, body, blob, hash FROM event WHERE seq = 5", 6),
        ("INSERT INTO event SELECT run, 0, v, at_ms, kind, body, blob, hash FROM event WHERE seq = 5", 0),
        ("INSERT INTO event SELECT run, -3, v, at_ms, kind, body, blob, hash FROM event WHERE seq = 5", 0),
    ] {
        assert_broken(sql, at).await;
    }
}

#[tokio::test]
async fn a_changed_row_of_the_run_is_found() {
    for (sql, at) in [
        ("UPDATE run SET blueprint = 'deploy'", 1),
        ("UPDATE run SET digest = 'd2'", 1),
        ("UPDATE run SET created_at_ms = 0", 1),
        ("UPDATE run SET blueprint = 'buil', digest = 'dd1'", 1),
        ("UPDATE run SET head_seq = 4", 6),
        ("UPDATE run SET head_seq = -1", 6),
        ("UPDATE run SET head_hash = zeroblob(32)", 6),
        ("UPDATE run SET head_hash = x''", 0),
        (
            "UPDATE run SET head_seq = 4, head_hash = (SELECT hash FROM event WHERE seq = 4); \
          UPDATE event SET body = 'x' WHERE seq = 5",
            5,
        ),
    ] {
        assert_broken(sql, at).await;
    }
}

#[tokio::test]
async fn events_of_one_run_do_not_pass_for_those_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 2).await;
    super::fixture::start(&store, "other").await;
    let mut past = raw(dir.path()).await;
    sqlx::raw_sql(
        "INSERT INTO event SELECT 'other', seq, v, at_ms, kind, body, blob, hash FROM event; \
         UPDATE run SET (head_seq, head_hash) = (SELECT head_seq, head_hash FROM run WHERE id = 'run-1')",
    )
    .execute(&mut past)
    .await
    .unwrap();
    assert_verified(&store, RUN, 2).await;
    assert!(matches!(
        store.verify("other").await.unwrap(),
        Verdict::Broken { seq: 1, reason: Break::Altered }
    ));
}

#[tokio::test]
async fn a_missing_or_changed_body_in_a_file_is_found() {
    let body = "l".repeat(INLINE_BODY_LIMIT + 1);
    let digest = Digest::of(body.as_bytes());
    for damage in [None, Some("l"), Some("")] {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(tampered(dir.path(), "SELECT 1").await, Verdict::Verified { events: 5, .. }));
        let store = open(dir.path()).await;
        match damage {
            None => std::fs::remove_file(store.blobs().path(digest)).unwrap(),
            Some(other) => std::fs::write(store.blobs().path(digest), other).unwrap(),
        }
        let expected = Verdict::Broken { seq: 3, reason: Break::Body(digest) };
        assert_eq!(store.verify(RUN).await.unwrap(), expected);
        store.read(RUN).await.unwrap_err();
    }
}
