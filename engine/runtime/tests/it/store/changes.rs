//! Followers.

use std::cell::Cell;
use std::time::Duration;

use super::fixture::{NOW, RUN, assert_verified, journal_of, open, write};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_follower_sees_the_commits_of_other_connections() {
    let dir = tempfile::tempdir().unwrap();
    let writer = journal_of(dir.path(), 1).await;
    let follower = open(dir.path()).await;
    let mut changes = follower.changes().await.unwrap().every(Duration::from_millis(2));
    for n in 0..5 {
        // Also a change from before the wait is not missed.
        writer.post(RUN, "x", NOW).await.unwrap();
        tokio::time::timeout(DEADLINE, changes.wait()).await.unwrap().unwrap();
        assert_eq!(follower.pending(RUN).await.unwrap().len(), n + 1);
    }
}

#[tokio::test]
async fn a_follower_sees_its_own_stores_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    // Long enough that only the notice can be what ends the wait.
    let mut changes = store.changes().await.unwrap().every(Duration::from_hours(1));
    let lease = super::fixture::start(&store, RUN).await;
    tokio::time::timeout(DEADLINE, changes.wait()).await.unwrap().unwrap();
    let (waited, ()) = tokio::join!(changes.wait(), write(&store, &lease, 1, &["1"]));
    waited.unwrap();
}

#[tokio::test]
async fn a_follower_is_not_woken_by_readers() {
    let dir = tempfile::tempdir().unwrap();
    let writer = journal_of(dir.path(), 1).await;
    let follower = open(dir.path()).await;
    let mut changes = follower.changes().await.unwrap().every(Duration::from_millis(1));
    let written = Cell::new(false);
    let write_late = async {
        for _ in 0..200 {
            assert_verified(&writer, RUN, 1).await;
        }
        written.set(true);
        writer.post(RUN, "x", NOW).await.unwrap();
    };
    let wait = async {
        tokio::time::timeout(DEADLINE, changes.wait()).await.unwrap().unwrap();
        assert!(written.get(), "woken before anything was written");
    };
    tokio::join!(wait, write_late);
}
