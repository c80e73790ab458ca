//! Any sequence of appends reads back as it was given.

use blueprint_runtime::store::{Append, NewEvent, Store};
use proptest::prelude::*;

use super::fixture::{READ_ONLY, RUN, assert_verified, open, start};

/// Any text, at times one that is too long for a row.
fn body() -> impl Strategy<Value = String> {
    prop_oneof![8 => any::<String>(), 1 => "[a-zü\"\\\\]{6000,7000}".prop_map(|s| s.repeat(3))]
}

fn batches() -> impl Strategy<Value = Vec<Vec<(i64, String, String)>>> {
    let event = (any::<i64>(), any::<String>(), body());
    prop::collection::vec(prop::collection::vec(event, 1..6), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn appended_batches_are_read_back_in_order_and_verify(batches in batches(), reopen_at in 0_usize..8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut store = open(dir.path()).await;
            let lease = start(&store, RUN).await;
            let mut model = Vec::new();
            for (n, batch) in batches.iter().enumerate() {
                if n == reopen_at {
                    store.close().await.unwrap();
                    store = open(dir.path()).await;
                }
                let events: Vec<NewEvent<'_>> =
                    batch.iter().map(|(at_ms, kind, body)| NewEvent { at_ms: *at_ms, kind, body }).collect();
                let append = Append { first_seq: model.len() as u64 + 1, events: &events, ..Append::default() };
                let appended = store.append(&lease, append).await.unwrap();
                model.extend(batch.iter().cloned());
                assert_eq!(appended.head.seq, model.len() as u64);
            }
            drop(store);
            let store = Store::open(dir.path(), READ_ONLY).await.unwrap();
            assert_verified(&store, RUN, model.len() as u64).await;
            let read = store.read(RUN).await.unwrap();
            assert!(read.iter().map(|e| e.seq).eq(1..=model.len() as u64));
            let read: Vec<_> = read.into_iter().map(|e| (e.at_ms, e.kind, e.body)).collect();
            assert_eq!(read, model);
        });
    }
}
