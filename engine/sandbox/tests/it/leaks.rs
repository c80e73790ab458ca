//! Many sandboxes in a row leave nothing: no container, no mount, no file, no descriptor, no memory.

use std::{fs, path::Path, process::Command};

use blueprint_sandbox::Backend;

use crate::desk::{Desk, docker, isolating};

/// What this process and its sandboxes hold now.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    mounts: usize,
    containers: usize,
    volumes: usize,
    networks: usize,
    views: usize,
    proofs: usize,
}

impl Held {
    fn now() -> Self {
        let folder = docker().folder;
        // Other tests run beside this one, in processes of their own: theirs are not counted.
        let own = std::process::id().to_string();
        let ours = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{own}-")))
                .count()
        };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        Self {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            mounts: mounts.lines().filter(|line| line.contains(&format!("/views/{own}-"))).count(),
            containers: listed(
                &["ps", "-a", "--format", "{{.Label \"dev.blueprint.owner\"}}"],
                &format!(":{own}:"),
            ),
            volumes: listed(&["volume", "ls", "-q"], ""),
            networks: listed(&["network", "ls", "-q"], ""),
            views: ours(&folder.join("views")),
            proofs: ours(&folder.join("canaries")),
        }
    }
}

fn listed(args: &[&str], holding: &str) -> usize {
    let Ok(done) = Command::new("docker").arg("-H").arg(docker().host).args(args).output() else { return 0 };
    String::from_utf8_lossy(&done.stdout).lines().filter(|line| line.contains(holding)).count()
}

fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the runner says whether each test has a process of its own")]
async fn two_hundred_sandboxes_in_a_row_leave_nothing() {
    if std::env::var("NEXTEST").is_err() {
        return println!("skipped: other tests of this process have descriptors and memory, too");
    }
    for backend in isolating() {
        // What these could leave is left by a few as well, and they take several times as long.
        let rounds = match backend {
            Backend::Gvisor => 20,
            Backend::Microvm => 5,
            _ => 200,
        };
        let desk = Desk::new(backend);
        // The first ones make what stays by design: the connection, the guest's file, the image.
        for _ in 0..3 {
            assert_eq!(desk.sh("echo warm").await.text(), "warm\n");
        }
        let (before, resident) = (Held::now(), resident_bytes());
        for round in 0..rounds {
            assert_eq!(desk.sh("echo $$ > /tmp/x; echo hi").await.text(), "hi\n", "{backend:?} {round}");
        }
        let after = Held::now();
        assert_eq!(after, before, "{backend:?}");
        let grown = resident_bytes().saturating_sub(resident);
        assert!(grown < 8 << 20, "{backend:?}: {grown} bytes more after {rounds} sandboxes");
    }
}
