//! Appending and reading back.

use blueprint_runtime::store::{
    Append, AppendError, Break, ChainCheck, CreateError, Digest, INLINE_BODY_LIMIT, Lookup, NewEvent, Owner,
    ReadError, Store, StoredEvent,
};

use super::fixture::{
    NOW, READ_ONLY, RUN, assert_verified, event, journal_of, new_run, open, raw, start, write,
};

#[tokio::test]
async fn what_was_appended_is_read_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let lease = start(&store, RUN).await;
    let bodies = [r#"{"a":"\"\\\u0000 ü 🦀"}"#, "", "null", " { \"spaces\" : [ ] } ", "a\0b\n\t\u{7f}"];
    let events: Vec<NewEvent<'_>> = bodies
        .iter()
        .zip([i64::MIN, -1, 0, NOW, i64::MAX])
        .map(|(body, at_ms)| NewEvent { at_ms, kind: "k\"ü", body })
        .collect();
    let appended =
        store.append(&lease, Append { first_seq: 1, events: &events, ..Append::default() }).await.unwrap();
    assert_eq!(appended.head.seq, 5);

    store.close().await.unwrap();
    let store = Store::open(dir.path(), READ_ONLY).await.unwrap();
    let read = store.read(RUN).await.unwrap();
    for (n, (stored, new)) in read.iter().zip(&events).enumerate() {
        assert_eq!(stored.seq, n as u64 + 1);
        assert_eq!(
            (stored.at_ms, stored.kind.as_str(), stored.body.as_str()),
            (new.at_ms, new.kind, new.body)
        );
    }
    assert_eq!(read.len(), 5);
    assert_eq!(read[4].hash, appended.head.hash);
    assert_verified(&store, RUN, 5).await;
}

#[tokio::test]
async fn a_run_is_read_in_pages_from_any_event() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 7).await;
    let seqs = async |from, limit| -> Vec<u64> {
        store.read_from(RUN, from, limit).await.unwrap().iter().map(|e| e.seq).collect()
    };
    assert_eq!(seqs(1, 3).await, [1, 2, 3]);
    assert_eq!(seqs(6, 10).await, [6, 7]);
    assert_eq!(seqs(0, 1).await, [1]);
    assert!(seqs(8, 10).await.is_empty());
    assert!(store.read_from("other", 1, 10).await.unwrap().is_empty());
    assert!(matches!(store.read("other").await, Err(ReadError::UnknownRun(_))));
}

#[tokio::test]
async fn an_append_at_another_number_than_the_due_one_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 2).await;
    let other = open(dir.path()).await;
    let lease = store.acquire(RUN, &Owner::current(), NOW + 60_000).await.unwrap();
    for first_seq in [0, 1, 2, 4, u64::MAX] {
        let append = Append { first_seq, events: &[event("x")], ..Append::default() };
        match store.append(&lease, append).await {
            Err(AppendError::UnexpectedSeq { expected, due: 3, .. }) => assert_eq!(expected, first_seq),
            unexpected => panic!("{unexpected:?}"),
        }
    }
    // The same lease through another connection moves the head behind the first one's back.
    write(&other, &lease, 3, &["3"]).await;
    let append = Append { first_seq: 3, events: &[event("x")], ..Append::default() };
    let refused = store.append(&lease, append).await;
    assert!(matches!(refused, Err(AppendError::UnexpectedSeq { expected: 3, due: 4, .. })), "{refused:?}");
    write(&store, &lease, 4, &["4"]).await;
    assert_verified(&store, RUN, 4).await;
}

#[tokio::test]
async fn an_append_after_a_head_that_was_exchanged_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let lease = start(&store, RUN).await;
    write(&store, &lease, 1, &["1"]).await;
    let exchange = "UPDATE run SET head_hash = zeroblob(32)";
    sqlx::raw_sql(exchange).execute(&mut raw(dir.path()).await).await.unwrap();
    let append = Append { first_seq: 2, events: &[event("2")], ..Append::default() };
    let refused = store.append(&lease, append).await;
    assert!(matches!(refused, Err(AppendError::Altered { .. })), "{refused:?}");
    assert_eq!(store.read(RUN).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_append_of_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let lease = start(&store, RUN).await;
    let append = Append { first_seq: 1, ..Append::default() };
    assert!(matches!(store.append(&lease, append).await, Err(AppendError::Empty { .. })));
}

#[tokio::test]
async fn a_large_body_lives_in_a_file_and_is_read_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let lease = start(&store, RUN).await;
    let (inline, large) = ("i".repeat(INLINE_BODY_LIMIT), "l".repeat(INLINE_BODY_LIMIT + 1));
    write(&store, &lease, 1, &[&inline, &large]).await;

    assert!(!store.blobs().path(Digest::of(inline.as_bytes())).exists());
    assert!(store.blobs().path(Digest::of(large.as_bytes())).exists());
    let bodies: Vec<String> = store.read(RUN).await.unwrap().into_iter().map(|e| e.body).collect();
    assert_eq!(bodies, [inline, large]);
    assert_verified(&store, RUN, 2).await;
}

#[tokio::test]
async fn the_status_in_listings_changes_with_the_append_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let lease = start(&store, RUN).await;
    let status = async || store.runs().await.unwrap()[0].status.clone();
    assert_eq!(status().await, "running");
    let append = Append { first_seq: 1, events: &[event("1")], status: Some("waiting"), ..Append::default() };
    store.append(&lease, append).await.unwrap();
    assert_eq!(status().await, "waiting");
    write(&store, &lease, 2, &["2"]).await;
    assert_eq!(status().await, "waiting");
    assert_eq!(store.runs().await.unwrap()[0].head.seq, 2);
}

#[tokio::test]
async fn a_follower_can_check_the_chain_while_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let store = journal_of(dir.path(), 5).await;
    let run = store.run(RUN).await.unwrap();
    let mut check = ChainCheck::new(run.identity());
    let events = store.read(RUN).await.unwrap();
    events[..3].iter().for_each(|event| check.admit(event).unwrap());
    assert_eq!(check.admit(&events[4]), Err(Break::OutOfSequence { expected: 4, found: 5 }));
    let altered = StoredEvent { body: "4 ".into(), ..events[3].clone() };
    assert_eq!(check.admit(&altered), Err(Break::Altered));
    let newer = StoredEvent { v: 2, ..events[3].clone() };
    assert_eq!(check.admit(&newer), Err(Break::UnknownVersion(2)));
    let mut check = ChainCheck::after(RUN, check.head());
    events[3..].iter().for_each(|event| check.admit(event).unwrap());
    assert_eq!(check.head(), run.head);
    assert!(matches!(store.run("other").await, Err(ReadError::UnknownRun(_))));
}

#[tokio::test]
async fn a_run_is_found_by_the_beginning_of_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for id in ["ab", "abc", "abd", "b%_", "ü1"] {
        start(&store, id).await;
    }
    let find = async |prefix: &str| store.find(prefix).await.unwrap();
    assert_eq!(find("abc").await, Lookup::One("abc".into()));
    assert_eq!(find("ab").await, Lookup::One("ab".into()));
    assert_eq!(find("a").await, Lookup::Several(vec!["ab".into(), "abc".into(), "abd".into()]));
    assert_eq!(find("b%").await, Lookup::One("b%_".into()));
    assert_eq!(find("%").await, Lookup::None);
    assert_eq!(find("ü").await, Lookup::One("ü1".into()));
    let again = store.create(new_run("ab"), &Owner::current(), NOW).await;
    assert!(matches!(again, Err(CreateError::Exists(id)) if id == "ab"));
}

#[tokio::test]
async fn an_append_that_nobody_waits_for_is_whole_or_absent_and_the_next_one_knows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let lease = start(&store, RUN).await;
    let mut due = 1;
    for polls in 0..20 {
        let events = [event("a"), event("b")];
        let mut call =
            Box::pin(store.append(&lease, Append { first_seq: due, events: &events, ..Append::default() }));
        // Polled a few times and then dropped, at whatever point it has come to.
        for _ in 0..polls % 5 {
            let once = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_ready()));
            if once.await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        due = store.read(RUN).await.unwrap().len() as u64 + 1;
        assert_eq!(due % 2, 1, "half an append is there");
        write(&store, &lease, due, &["c", "d"]).await;
        due += 2;
    }
    assert_verified(&store, RUN, due - 1).await;
}
