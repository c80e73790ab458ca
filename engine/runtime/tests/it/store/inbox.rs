//! Messages between processes.

use blueprint_runtime::store::{Append, AppendError, MessageId, PostError};

use super::fixture::{NOW, RUN, assert_verified, event, open, start};

#[tokio::test]
async fn a_message_waits_until_an_append_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(dir.path()).await;
    let lease = start(&driver, RUN).await;
    let other = open(dir.path()).await;
    let first = other.post(RUN, "{\"approve\":\"g1\"}", NOW).await.unwrap();
    let second = other.post(RUN, "cancel", NOW + 1).await.unwrap();
    start(&other, "run-2").await;
    other.post("run-2", "for another run", NOW).await.unwrap();

    let pending = driver.pending(RUN).await.unwrap();
    let seen: Vec<(MessageId, i64, &str)> =
        pending.iter().map(|m| (m.id, m.at_ms, m.body.as_str())).collect();
    assert_eq!(seen, [(first, NOW, "{\"approve\":\"g1\"}"), (second, NOW + 1, "cancel")]);
    assert_eq!(driver.pending(RUN).await.unwrap(), pending, "reading takes nothing");

    let events = [event("approved")];
    driver
        .append(
            &lease,
            Append { first_seq: 1, events: &events, taking: &[first], status: None, inline: None },
        )
        .await
        .unwrap();
    assert_eq!(driver.pending(RUN).await.unwrap(), pending[1..]);
}

#[tokio::test]
async fn a_message_is_taken_once_or_the_append_does_not_happen() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let lease = start(&store, RUN).await;
    let taken = store.post(RUN, "a", NOW).await.unwrap();
    let fresh = store.post(RUN, "b", NOW).await.unwrap();
    start(&store, "run-2").await;
    let foreign = store.post("run-2", "c", NOW).await.unwrap();
    let events = [event("x")];
    let take = async |first_seq, taking: &[MessageId]| {
        store
            .append(
                &lease,
                Append { first_seq, events: &events, taking, status: Some("changed"), inline: None },
            )
            .await
    };
    take(1, &[taken]).await.unwrap();
    for again in [&[taken][..], &[fresh, taken], &[foreign], &[fresh, fresh]] {
        let refused = take(2, again).await;
        assert!(matches!(refused, Err(AppendError::AlreadyTaken { .. })), "{refused:?}");
    }
    assert_verified(&store, RUN, 1).await;
    assert_eq!(store.pending(RUN).await.unwrap().len(), 1);
    take(2, &[fresh]).await.unwrap();
    assert_eq!(store.pending("run-2").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_to_no_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = open(dir.path()).await.post("none", "x", NOW).await;
    assert!(matches!(refused, Err(PostError::UnknownRun(run)) if run == "none"));
}
