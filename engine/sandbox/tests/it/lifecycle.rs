//! Starts that fail, and that they leave nothing behind.

use std::{
    fs,
    path::{Path, PathBuf},
};

use blueprint_sandbox::{Backend, Enforcer, Launcher, Sandbox, StartError, Verdict, probe_with};

use crate::{
    desk::{Desk, backends, command, launcher, run_until},
    endings::{eventually, marker},
};

#[tokio::test]
async fn a_missing_launcher_is_named() {
    let desk = Desk::new(Backend::Process);
    let error = Sandbox::start_with(&Launcher::at("/no/such/launcher"), Backend::Process, &desk.spec)
        .await
        .unwrap_err();
    assert!(matches!(&error, StartError::Spawn { program, .. } if program.ends_with("launcher")), "{error}");
}

#[tokio::test]
async fn a_program_that_is_no_launcher_is_no_sandbox() {
    let desk = Desk::new(Backend::Process);
    for program in ["/bin/true", "/bin/cat", "/usr/bin/yes"] {
        let error =
            Sandbox::start_with(&Launcher::at(program), Backend::Process, &desk.spec).await.unwrap_err();
        assert!(matches!(error, StartError::Died(_) | StartError::Protocol(_)), "{program}: {error}");
    }
}

#[tokio::test]
async fn control_groups_go_with_their_sandbox() {
    for backend in [Backend::Process, Backend::Bubblewrap] {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let limits = sandbox.attestation().limits;
        assert!([limits.memory, limits.pids, limits.cpus].iter().all(|by| *by != Enforcer::Nothing));
        let mark = marker();
        let mut groups = Vec::new();
        let found = async {
            eventually("it runs", || {
                groups = groups_of(&mark);
                !groups.is_empty()
            })
            .await;
        };
        drop(run_until(&mut sandbox, command(["sleep", &mark]), found).await.unwrap());
        groups.retain(|group| group.to_string_lossy().contains("blueprint-"));
        let by_groups =
            [limits.memory, limits.pids, limits.cpus].iter().filter(|by| **by == Enforcer::CgroupV1).count();
        assert_eq!(groups.len(), by_groups, "{backend:?}: a limit is enforced by a group the command is in");
        sandbox.stop().await;
        assert!(groups.iter().all(|group| !group.exists()), "{backend:?} {groups:?}");
    }
}

/// The control groups of a sleeper.
fn groups_of(mark: &str) -> Vec<PathBuf> {
    let line = format!("sleep\0{mark}\0");
    let Some(process) = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| fs::read(path.join("cmdline")).is_ok_and(|found| found == line.as_bytes()))
    else {
        return Vec::new();
    };
    fs::read_to_string(process.join("cgroup"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some(Path::new("/sys/fs/cgroup").join(parts.next()?).join(parts.next()?.trim_start_matches('/')))
        })
        .collect()
}

#[tokio::test]
async fn sandboxes_run_side_by_side() {
    let desks: Vec<_> = (0..8).map(|_| Desk::new(Backend::Process)).collect();
    let tasks: Vec<_> = desks
        .into_iter()
        .map(|desk| {
            tokio::spawn(async move {
                for round in 0..5 {
                    assert_eq!(desk.sh(&format!("echo {round}")).await.text(), format!("{round}\n"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_probe_uses_what_it_reports_on() {
    for backend in backends() {
        let report = probe_with(&launcher(), backend).await;
        assert!(matches!(&report.verdict, Verdict::Works(facts) if facts.backend == backend), "{report:?}");
        let broken = probe_with(&Launcher::at("/bin/true"), backend).await;
        let usable = matches!(broken.verdict, Verdict::Works(_));
        assert_eq!(usable, backend == Backend::None, "only that one needs no launcher: {broken:?}");
    }
}
