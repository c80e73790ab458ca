//! Who may drive a run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use blueprint_runtime::store::{
    AcquireError, Append, AppendError, Held, LEASE_TTL_MS, Lease, LeaseError, Owner, Store,
};

use super::fixture::{NOW, RUN, assert_verified, child, event, open, start, write};

/// A process on another machine, of which only the heartbeat can be seen.
fn far() -> Owner {
    Owner {
        pid: 7,
        start_time: Some(1),
        pid_namespace: Some(1),
        host: "far".into(),
        boot_id: Some("b".into()),
    }
}

fn held(result: Result<Lease, AcquireError>) -> Held {
    match result {
        Err(AcquireError::Held { held, .. }) => *held,
        other => panic!("{other:?}"),
    }
}

async fn assert_fenced(store: &Store, lease: &Lease, first_seq: u64) {
    let append = Append { first_seq, events: &[event("stale")], ..Append::default() };
    let refused = store.append(lease, append).await;
    assert!(matches!(refused, Err(AppendError::Fenced { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_living_owner_keeps_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    start(&store, RUN).await;
    let other = open(dir.path()).await;
    let held = held(other.acquire(RUN, &far(), NOW + LEASE_TTL_MS).await);
    assert_eq!((held.by, held.since_ms, held.heartbeat_age_ms), (Owner::current(), NOW, LEASE_TTL_MS));
    let unknown = other.acquire("none", &far(), NOW).await;
    assert!(matches!(unknown, Err(AcquireError::UnknownRun(_))), "{unknown:?}");
}

#[tokio::test]
async fn a_silent_owner_is_replaced_and_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let old = open(dir.path()).await;
    let stale = old.create(super::fixture::new_run(RUN), &far(), NOW).await.unwrap();
    write(&old, &stale, 1, &["1"]).await;
    old.heartbeat(&stale, NOW + 10_000).await.unwrap();

    let new = open(dir.path()).await;
    held(new.acquire(RUN, &Owner::current(), NOW + 10_000 + LEASE_TTL_MS).await);
    let lease = new.acquire(RUN, &Owner::current(), NOW + 10_001 + LEASE_TTL_MS).await.unwrap();
    assert_eq!(lease.epoch(), stale.epoch() + 1);

    // The old owner's own idea of the head is still right; only the lease stops it.
    assert_fenced(&old, &stale, 2).await;
    write(&new, &lease, 2, &["2"]).await;
    assert!(matches!(old.heartbeat(&stale, NOW).await, Err(LeaseError::Lost { .. })));
    assert!(matches!(old.release(stale).await, Err(LeaseError::Lost { .. })));
    assert_verified(&new, RUN, 2).await;
}

#[tokio::test]
async fn a_released_run_is_free_at_once_and_its_lease_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let first = start(&store, RUN).await;
    store.release(first.clone()).await.unwrap();
    assert_eq!(store.holder(RUN, NOW).await.unwrap(), None);
    assert_fenced(&store, &first, 1).await;
    let second = store.acquire(RUN, &far(), NOW).await.unwrap();
    assert!(second.epoch() > first.epoch());
    assert_eq!(store.holder(RUN, NOW + 5).await.unwrap().unwrap().heartbeat_age_ms, 5);
    assert_fenced(&store, &first, 1).await;
    write(&store, &second, 1, &["1"]).await;
}

#[tokio::test]
async fn a_killed_process_is_replaced_at_once() {
    for reaped in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let mut owner =
            child("holds_the_lease_until_killed", dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("epoch 1")));
        let held = held(store.acquire(RUN, &Owner::current(), NOW).await);
        assert_eq!(held.by.pid, owner.id());

        owner.kill().unwrap();
        if reaped {
            owner.wait().unwrap();
        } else {
            // Dead, but its parent has not asked for it: still in the process table.
            use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
            let id = WaitId::Pid(Pid::from_child(&owner));
            waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        }
        let lease = store.acquire(RUN, &Owner::current(), NOW).await.unwrap();
        assert_eq!(lease.epoch(), 2);
        owner.wait().unwrap();
    }
}

#[tokio::test]
async fn what_proves_a_death_and_what_does_not() {
    let me = Owner::current();
    let gone = {
        let mut short = std::process::Command::new("true").spawn().unwrap();
        short.wait().unwrap();
        Owner { pid: short.id(), ..me.clone() }
    };
    let cases = [
        ("a process that is gone", gone.clone(), true),
        (
            "a later process of the same id",
            Owner { start_time: me.start_time.map(|t| t - 1), ..me.clone() },
            true,
        ),
        ("a machine that was started again", Owner { boot_id: Some("earlier".into()), ..me.clone() }, true),
        ("this process", me.clone(), false),
        ("a process id of another namespace", Owner { pid_namespace: Some(1), ..gone.clone() }, false),
        ("a process of an unknown namespace", Owner { pid_namespace: None, ..gone.clone() }, false),
        ("a process of an unknown boot", Owner { boot_id: None, ..gone.clone() }, false),
        ("a process on another machine", Owner { host: "far".into(), ..gone }, false),
        ("a process with an unknown start", Owner { start_time: None, ..me.clone() }, false),
    ];
    for (what, owner, dead) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        store.create(super::fixture::new_run(RUN), &owner, NOW).await.unwrap();
        assert_eq!(store.acquire(RUN, &me, NOW).await.is_ok(), dead, "{what}");
    }
}

#[tokio::test]
async fn a_heartbeat_from_the_future_holds_only_while_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let owner = open(dir.path()).await;
    let lease = owner.create(super::fixture::new_run(RUN), &far(), NOW).await.unwrap();
    let store = open(dir.path()).await;
    let me = Owner::current();
    // Our clock was set back by a year.
    let back = NOW - 31_536_000_000;
    assert!(held(store.acquire(RUN, &me, back).await).heartbeat_age_ms < 0);
    held(store.acquire(RUN, &me, back + LEASE_TTL_MS).await);
    owner.heartbeat(&lease, NOW + 1).await.unwrap();
    held(store.acquire(RUN, &me, back + LEASE_TTL_MS + 1).await);
    held(store.acquire(RUN, &me, back + 2 * LEASE_TTL_MS).await);
    // Set back once more: the wait starts again.
    held(store.acquire(RUN, &me, back - LEASE_TTL_MS).await);
    held(store.acquire(RUN, &me, back).await);
    store.acquire(RUN, &me, back + 1).await.unwrap();
}

#[tokio::test]
async fn extreme_clocks_do_not_overflow() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.create(super::fixture::new_run(RUN), &far(), i64::MAX).await.unwrap();
    held(store.acquire(RUN, &Owner::current(), i64::MIN).await);
    held(store.acquire(RUN, &Owner::current(), i64::MAX).await);
    // From the lowest time to zero is longer than a lease may stay unchanged.
    store.acquire(RUN, &Owner::current(), 0).await.unwrap();
}

#[tokio::test]
async fn of_many_connections_that_race_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.create(super::fixture::new_run(RUN), &far(), NOW).await.unwrap();
    for round in 1..=10 {
        let late = NOW + round * (LEASE_TTL_MS + 1);
        let mut racers = Vec::new();
        for _ in 0..8 {
            let store = open(dir.path()).await;
            racers.push(tokio::spawn(async move { store.acquire(RUN, &Owner::current(), late).await }));
        }
        let mut won = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(lease) => {
                    won += 1;
                    assert_eq!(lease.epoch(), round + 1);
                }
                Err(AcquireError::Held { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(won, 1, "round {round}");
    }
}

#[tokio::test]
async fn of_many_processes_that_race_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.create(super::fixture::new_run(RUN), &far(), NOW - 2 * LEASE_TTL_MS).await.unwrap();
    let mut racers: Vec<_> = (0..6)
        .map(|_| {
            let mut command = child("tries_to_acquire_once", dir.path());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut won = 0;
    for racer in &mut racers {
        let lines = BufReader::new(racer.stdout.take().unwrap()).lines().map_while(Result::ok);
        let verdict = lines.map(|l| (l.contains("won 2"), l.contains("lost"))).find(|v| v.0 || v.1).unwrap();
        won += usize::from(verdict.0);
    }
    assert_eq!(won, 1);
    for mut racer in racers {
        // The winner waits for this line; the others have ended and need none.
        drop(racer.stdin.take().unwrap().write_all(b"\n"));
        racer.wait().unwrap();
    }
}
