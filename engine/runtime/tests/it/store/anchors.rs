//! What the files beside the journal say of its ends.

use blueprint_runtime::store::{ANCHORS_FOLDER, Break, LostRun, Options, Store, SyncLevel, Verdict};

use super::fixture::{READ_ONLY, RUN, assert_verified, journal_of, open, raw, start, write};

fn anchored(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Verified { anchored, .. } => *anchored,
        Verdict::Broken { seq, reason } => panic!("broken at {seq}: {reason}"),
    }
}

#[tokio::test]
async fn a_check_beside_a_writer_is_never_a_false_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let writer = journal_of(dir.path(), 1).await;
    // In a process of its own in life; a store of its own is as far from the writer's memory.
    let reader = Store::open(dir.path(), READ_ONLY).await.unwrap();
    let lease = start(&writer, "run-2").await;
    let appends = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for seq in 1..=400 {
                write(&writer, &lease, seq, &["x"]).await;
            }
        });
    });
    let mut checks = 0;
    while !appends.is_finished() {
        match reader.verify("run-2").await.unwrap() {
            Verdict::Verified { .. } => checks += 1,
            Verdict::Broken { seq, reason } => panic!("a false alarm at {seq}: {reason}"),
        }
        assert_eq!(reader.lost_runs().await.unwrap(), []);
    }
    appends.join().unwrap();
    assert!(checks > 0);
    assert!(anchored(&reader.verify("run-2").await.unwrap()));
}

#[tokio::test]
async fn an_end_that_nothing_confirms_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 3).await;
    assert!(anchored(&store.verify(RUN).await.unwrap()));
    std::fs::remove_dir_all(dir.path().join(ANCHORS_FOLDER)).unwrap();
    assert!(!anchored(&store.verify(RUN).await.unwrap()));
}

#[tokio::test]
async fn a_sound_chain_that_ends_too_early_or_was_written_anew_is_found() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), 5).await.close().await.unwrap();
    // Another history of the same run, each sound in itself.
    let other = tempfile::tempdir().unwrap();
    let store = open(other.path()).await;
    let lease = start(&store, RUN).await;
    write(&store, &lease, 1, &["1", "2", "3"]).await;
    store.close().await.unwrap();
    std::fs::copy(other.path().join("journal.db"), dir.path().join("journal.db")).unwrap();
    let expected = Verdict::Broken { seq: 4, reason: Break::CutOff { expected: 5, found: 3 } };
    assert_eq!(open(dir.path()).await.verify(RUN).await.unwrap(), expected);

    let store = open(other.path()).await;
    write(&store, &lease, 4, &["4", "another", "6"]).await;
    store.close().await.unwrap();
    std::fs::copy(other.path().join("journal.db"), dir.path().join("journal.db")).unwrap();
    let expected = Verdict::Broken { seq: 5, reason: Break::Rewritten };
    assert_eq!(open(dir.path()).await.verify(RUN).await.unwrap(), expected);
    assert_verified(&open(other.path()).await, RUN, 6).await;
}

#[tokio::test]
async fn a_damaged_anchor_breaks_the_run_it_is_of_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 3).await;
    let path = std::fs::read_dir(dir.path().join(ANCHORS_FOLDER)).unwrap().next().unwrap().unwrap().path();
    let lease = start(&store, "run-2").await;
    write(&store, &lease, 1, &["1"]).await;
    std::fs::write(&path, "1 what?").unwrap();
    let expected = Verdict::Broken { seq: 4, reason: Break::Anchor(path) };
    assert_eq!(store.verify(RUN).await.unwrap(), expected);
    assert_verified(&store, "run-2", 1).await;
}

#[tokio::test]
async fn a_run_whose_row_is_gone_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 3).await;
    sqlx::raw_sql("DELETE FROM event; DELETE FROM run").execute(&mut raw(dir.path()).await).await.unwrap();
    assert_eq!(store.lost_runs().await.unwrap(), [LostRun { id: RUN.to_owned(), seq: 3 }]);
}

#[tokio::test]
async fn without_a_sync_for_each_append_an_anchor_counts_until_the_next_boot() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync: SyncLevel::Normal, ..Options::default() };
    let store = Store::open(dir.path(), options).await.unwrap();
    let lease = start(&store, RUN).await;
    write(&store, &lease, 1, &["1"]).await;
    assert!(anchored(&store.verify(RUN).await.unwrap()));
    let anchor = std::fs::read_dir(dir.path().join(ANCHORS_FOLDER)).unwrap().next().unwrap().unwrap().path();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let said = std::fs::read_to_string(anchor).unwrap();
    assert!(said.contains(boot.trim()) && said.contains(" boot "), "{said}");
}
