//! What the child processes of other tests do. Started on their own they have no folder to work in.

use std::path::PathBuf;

use blueprint_runtime::store::{
    AcquireError, Append, AppendError, Fault, Lease, NewEvent, OpenError, Options, Owner, Store,
};

use super::fixture::{
    DIR, NOW, READ_ONLY, RUN, assert_verified, event, journal_of, new_run, open, start, write,
};

fn dir() -> PathBuf {
    PathBuf::from(std::env::var_os(DIR).expect("the test that starts this child names its folder"))
}

/// Takes the one run over, or creates it.
async fn lease(store: &Store) -> Lease {
    match store.acquire(RUN, &Owner::current(), NOW).await {
        Err(AcquireError::UnknownRun(_)) => store.create(new_run(RUN), &Owner::current(), NOW).await.unwrap(),
        other => other.unwrap(),
    }
}

#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn appends_batches_until_killed() {
    let store = open(&dir()).await;
    let lease = lease(&store).await;
    let mut next = store.read(RUN).await.unwrap().len() as u64 + 1;
    for round in 0.. {
        let of = round % 5 + 1;
        // Every seventh round has a body that goes to a file.
        let padding = "x".repeat(if round % 7 == 0 { 20_000 } else { 10 });
        let bodies: Vec<String> = (1..=of).map(|i| format!("{i}/{of} {padding}")).collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        write(&store, &lease, next, &bodies).await;
        next += of;
        println!("acked {}", next - 1);
    }
}

#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn holds_the_lease_until_killed() {
    let store = open(&dir()).await;
    let lease = lease(&store).await;
    println!("epoch {}", lease.epoch());
    std::future::pending::<()>().await;
}

#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn reads_by_one_way_and_writes_by_another() {
    let view = Store::open(dir().join("view"), READ_ONLY).await.unwrap();
    assert_verified(&view, RUN, 3).await;
    let store = open(&dir().join("journal")).await;
    let lease = store.acquire(RUN, &Owner::current(), NOW + 60_000).await.unwrap();
    write(&store, &lease, 4, &["4"]).await;
    let verdict = view.verify(RUN).await;
    assert!(format!("{verdict:?}").contains("Busy"), "{verdict:?}");
    assert!(format!("{:?}", view.runs().await).contains("Busy"));
    println!("not believed");
}

#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn tries_to_acquire_once() {
    let store = open(&dir()).await;
    match store.acquire(RUN, &Owner::current(), NOW).await {
        Ok(lease) => {
            println!("won {}", lease.epoch());
            // The winner must be alive while the others look.
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        Err(AcquireError::Held { .. }) => println!("lost"),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn appends_a_thousand_times() {
    let store = open(&dir()).await;
    let lease = start(&store, RUN).await;
    for round in 0..1_000 {
        write(&store, &lease, 2 * round + 1, &[r#"{"started":"n1"}"#, r#"{"finished":"n1"}"#]).await;
    }
    store.close().await.unwrap();
}

/// The folder is a mount of a few hundred kilobytes.
#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn fills_the_disk() {
    let dir = dir();
    let store = open(&dir).await;
    let lease = start(&store, RUN).await;
    let body = "y".repeat(10_000);
    let events: Vec<NewEvent<'_>> = std::iter::repeat_n(event(&body), 3).collect();
    let mut acked = 0;
    let failure = loop {
        match store
            .append(&lease, Append { first_seq: acked + 1, events: &events, ..Append::default() })
            .await
        {
            Ok(appended) => acked = appended.head.seq,
            Err(failure) => break failure,
        }
    };
    match failure {
        AppendError::Storage { source: Fault::DiskFull { path, .. }, .. } => assert!(path.starts_with(&dir)),
        other => panic!("{other:?}"),
    }
    assert!(acked > 0, "the mount is too small for the test");
    drop(store);
    // What was acknowledged before is all there, and nothing of the append that failed.
    let store = Store::open(&dir, READ_ONLY).await.unwrap();
    assert_verified(&store, RUN, acked).await;
    println!("full after {acked}");
}

/// The folder is a mount that holds nothing more.
#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn opens_on_a_full_disk() {
    match Store::open(dir(), Options::default()).await {
        Err(OpenError::Fault(Fault::DiskFull { .. })) => println!("refused"),
        other => panic!("{other:?}"),
    }
}

/// The folder is bound twice: `journal` for reading, with a journal in it, and `empty` for reading, without.
#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn opens_on_a_read_only_mount() {
    for folder in ["journal", "empty", "empty/deeper"] {
        match Store::open(dir().join(folder), Options::default()).await {
            Err(OpenError::Fault(Fault::ReadOnly { path, .. })) => assert!(path.starts_with(dir())),
            other => panic!("{folder}: {other:?}"),
        }
    }
    let store = Store::open(dir().join("journal"), READ_ONLY).await.unwrap();
    assert_verified(&store, RUN, 3).await;
    println!("read");
}

#[tokio::test]
#[ignore = "runs as the child of another test"]
async fn leaves_three_events_without_closing() {
    let store = journal_of(&dir(), 3).await;
    println!("written");
    std::future::pending::<()>().await;
    drop(store);
}
