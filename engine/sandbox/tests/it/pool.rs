//! Sandboxes that wait: unused when they are claimed, claimed once, and gone with their pool.

use std::{
    collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command,
    time::Duration,
};

use blueprint_sandbox::{Backend, Key, Launcher, Pool, PoolSettings, Spec, Start};

use crate::{
    desk::{Desk, docker, isolating, launcher, run, sh, tries},
    endings::eventually,
};

fn pool(size: usize) -> Pool {
    Pool::new(PoolSettings { size, ..PoolSettings::default() })
}

/// Everything a command could find of somebody before it: files, processes, variables, connections.
const TRACES: &str = r"
for place in /tmp /var/tmp /dev/shm /run $HOME; do echo $place; ls -A $place 2>/dev/null | grep -v '^\.guest$'; done
env | sort
echo $(for process in /proc/[0-9]*; do head -c1 $process/cmdline 2>/dev/null | tr '\0-\377' x; done)
wc -l < /proc/net/tcp 2>/dev/null
cat /proc/sys/kernel/hostname; cat /etc/resolv.conf 2>/dev/null; ls -A /work; true";

#[tokio::test]
async fn a_claimed_spare_is_as_empty_as_a_new_sandbox_under_every_backend() {
    for backend in isolating() {
        let desk = Desk::new(backend);
        let cold = desk.sh(TRACES).await;
        let pool = pool(2);
        assert!(pool.warm(&launcher(), backend, &desk.spec, 1), "{backend:?}");
        assert!(!pool.warm(&launcher(), backend, &desk.spec, 1), "{backend:?}: one is enough");
        // What lies in the workspace by then is seen, as it would be by a new one.
        fs::write(desk.dir.path().join("late"), "come").unwrap();
        let (mut sandbox, start) = pool.start(&launcher(), backend, &desk.spec).await.unwrap();
        assert_eq!(start, Start::Warm, "{backend:?}");
        assert_eq!(sandbox.attestation().backend, backend);
        let late = run(&mut sandbox, sh("cat late; rm late")).await.unwrap();
        assert_eq!(late.text(), "come", "{backend:?}: {}", late.complaints());
        sandbox.stop().await;
        assert!(pool.warm(&launcher(), backend, &desk.spec, 1), "{backend:?}");
        let (mut sandbox, start) = pool.start(&launcher(), backend, &desk.spec).await.unwrap();
        assert_eq!(start, Start::Warm, "{backend:?}");
        let warm = run(&mut sandbox, sh(TRACES)).await.unwrap();
        assert_eq!(warm.text(), cold.text(), "{backend:?}");
        assert!(cold.text().contains("TMPDIR=/tmp"), "{}", cold.text());
        sandbox.stop().await;
        assert!(pool.is_empty());
        let (sandbox, start) = pool.start(&launcher(), backend, &desk.spec).await.unwrap();
        assert_eq!(start, Start::Cold, "{backend:?}: a used one never comes back");
        sandbox.stop().await;
        pool.close().await;
    }
}

#[tokio::test]
async fn claims_at_the_same_time_never_share_one() {
    for (backend, spares, claims) in [(Backend::Process, 8, 40), (Backend::Container, 3, 12)] {
        if backend.is_container() && !tries(backend) {
            continue;
        }
        let desk = Desk::new(backend);
        let pool = pool(spares);
        while pool.warm(&launcher(), backend, &desk.spec, spares) {}
        assert_eq!(pool.len(), spares);
        let key = Key::of(&launcher(), backend, &desk.spec).unwrap();
        let mut claiming = tokio::task::JoinSet::new();
        for number in 0..claims {
            let (pool, key) = (pool.clone(), key.clone());
            claiming.spawn(async move {
                let mut sandbox = pool.claim(&key).await?;
                let script = format!("echo {number} >> /tmp/mark; cat /tmp/mark");
                let told = run(&mut sandbox, sh(&script)).await.unwrap();
                sandbox.stop().await;
                Some((number, told.text()))
            });
        }
        let mut given = BTreeSet::new();
        for claimed in claiming.join_all().await.into_iter().flatten() {
            assert_eq!(claimed.1.trim(), claimed.0.to_string(), "{backend:?}");
            given.insert(claimed.0);
        }
        assert_eq!(given.len(), spares, "{backend:?}: each was given, to one claimant");
        pool.close().await;
    }
}

#[tokio::test]
async fn another_key_is_never_claimed_and_the_size_holds() {
    let (desk, other) = (Desk::new(Backend::Process), Desk::new(Backend::Process));
    let pool = pool(2);
    for size in [1, 2, 2, 2] {
        let mut spec = desk.spec.clone();
        spec.limits.pids += size;
        pool.warm(&launcher(), Backend::Process, &spec, 9);
        assert!(pool.len() <= 2);
    }
    let (sandbox, start) = pool.start(&launcher(), Backend::Process, &other.spec).await.unwrap();
    assert_eq!((start, pool.len()), (Start::Cold, 2));
    sandbox.stop().await;
    pool.close().await;
    assert!(pool.is_empty());
    assert!(!pool.warm(&launcher(), Backend::Process, &desk.spec, 9), "a closed pool starts nothing");
}

#[tokio::test]
async fn a_pool_of_no_size_starts_everything_when_it_is_wanted() {
    let desk = Desk::new(Backend::Process);
    let pool = Pool::new(PoolSettings::OFF);
    assert!(!pool.warm(&launcher(), Backend::Process, &desk.spec, 9));
    let (sandbox, start) = pool.start(&launcher(), Backend::Process, &desk.spec).await.unwrap();
    assert_eq!(start, Start::Cold);
    sandbox.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_an_error_whether_it_was_warmed_or_not() {
    let desk = Desk::new(Backend::Gvisor);
    let nowhere = Launcher::this_program();
    let pool = pool(2);
    for warmed in [false, true] {
        if warmed {
            assert!(pool.warm(&nowhere, Backend::Gvisor, &desk.spec, 1));
        }
        let error = pool.start(&nowhere, Backend::Gvisor, &desk.spec).await.unwrap_err();
        assert!(error.to_string().contains("gvisor"), "{error}");
    }
    assert!(pool.is_empty());
}

/// A guest that greets like a good one and answers a ping with this.
fn guest(at: &Path, attestation: &str, answer: &str) {
    let text = r"#!/usr/bin/python3
import json, os, struct, sys
def take(count):
    data = b''
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more: sys.exit()
        data += more
    return data
def frame():
    length, kind, stream = struct.unpack('<IBI', take(9))
    return kind, stream, take(length)
def say(kind, stream, payload): os.write(1, struct.pack('<IBI', len(payload), kind, stream) + payload)
frame()
hello = json.loads(frame()[2])
say(3, 0, json.dumps({'version': hello['version'], 'nonce': hello['nonce'], 'attestation': json.loads(r'''ATTESTATION'''), 'control_groups': []}).encode())
kind, stream, payload = frame()
open(sys.argv[0] + '.asked', 'a').write('%d\n' % kind)
ANSWER
while True: frame()
";
    fs::write(at, text.replace("ATTESTATION", attestation).replace("ANSWER", answer)).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_spare_that_does_not_answer_as_it_should_is_ended_and_a_new_one_started() {
    let desk = Desk::new(Backend::Process);
    let sandbox = desk.start().await;
    let attestation = serde_json::to_string(sandbox.attestation()).unwrap();
    sandbox.stop().await;
    let answers = [
        ("say(15, 0, payload)", Start::Warm),
        ("say(15, 0, bytes(8))", Start::Cold),
        ("say(15, 0, b'')", Start::Cold),
        ("say(22, 0, payload)", Start::Cold),
        ("say(8, 1, b'early'); say(15, 0, payload)", Start::Cold),
        ("sys.exit()", Start::Cold),
        ("", Start::Cold),
    ];
    for (number, (answer, expected)) in answers.into_iter().enumerate() {
        let path = desk.dir.path().join(format!("guest-{number}"));
        guest(&path, &attestation, answer);
        let launcher = Launcher::at(&path);
        let pool = pool(1);
        assert!(pool.warm(&launcher, Backend::Process, &desk.spec, 1));
        let (sandbox, start) = pool.start(&launcher, Backend::Process, &desk.spec).await.unwrap();
        assert_eq!(start, expected, "{answer}");
        sandbox.stop().await;
        // One ping to the spare, and no word to another.
        assert_eq!(fs::read_to_string(format!("{}.asked", path.display())).unwrap(), "14\n", "{answer}");
    }
}

#[tokio::test]
async fn one_that_waited_too_long_is_replaced() {
    let desk = Desk::new(Backend::Process);
    let pool = Pool::new(PoolSettings { size: 1, ttl: Duration::from_millis(20) });
    assert!(pool.warm(&launcher(), Backend::Process, &desk.spec, 1));
    eventually("two are replaced", || {
        assert!(pool.len() <= 1);
        pool.replaced() >= 2
    })
    .await;
    pool.close().await;
    assert!(pool.is_empty());
}

/// The containers that this process has now, by state.
fn containers() -> Vec<String> {
    let host = docker().host;
    let format = "{{.State}} {{.Label \"dev.blueprint.owner\"}}";
    let listed = Command::new("docker").args(["-H", &host, "ps", "-a", "--format", format]).output().unwrap();
    let own = format!(":{}:", std::process::id());
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines()
        .filter(|line| line.contains(&own))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn spares_of_an_engine_are_paused_and_gone_with_the_pool() {
    for backend in [Backend::Container, Backend::Gvisor] {
        if !tries(backend) {
            continue;
        }
        let desk = Desk::new(backend);
        let pool = pool(1);
        assert!(pool.warm(&launcher(), backend, &desk.spec, 1));
        eventually("it waits", || containers() == ["paused"]).await;
        pool.close().await;
        assert_eq!(containers(), Vec::<String>::new(), "{backend:?}");
        // And with it being dropped, or thrown out for another.
        let pool = self::pool(1);
        assert!(pool.warm(&launcher(), backend, &desk.spec, 1));
        eventually("it waits", || containers() == ["paused"]).await;
        let other = Spec { tmp_bytes: desk.spec.tmp_bytes + 4096, ..desk.spec.clone() };
        assert!(pool.warm(&launcher(), backend, &other, 1));
        pool.close().await;
        assert_eq!(containers(), Vec::<String>::new(), "{backend:?}");
    }
}
