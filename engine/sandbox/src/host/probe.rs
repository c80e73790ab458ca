//! Finds out whether a backend works on this host, by using it.
//! A report of success means that a command ran and that what must be denied was denied.

use std::{fs, future, io, path::Path};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    attestation::{Attestation, Isolation},
    contract::{Backend, Exec, HOME, Output, Spec, Status, WorkspaceMode, WorkspaceMount},
    error::described,
    host::{Launcher, Sandbox},
    machine::MachineSettings,
};

/// What a probe command prints when it ran as it should.
const GREETING: &str = "probe";

/// What was found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeReport {
    /// About which backend.
    pub backend: Backend,
    /// The finding.
    pub verdict: Verdict,
}

/// Whether a backend can be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A command ran, and nothing it must not reach was reachable.
    Works(Box<Attestation>),
    /// It cannot be used here.
    Broken {
        /// What happened, and what to do about it.
        reason: String,
    },
}

/// Tries a backend.
pub async fn probe_with(launcher: &Launcher, backend: Backend) -> ProbeReport {
    report(launcher, backend, Spec::default()).await
}

/// Tries virtual machines made of this.
pub async fn probe_machine(launcher: &Launcher, machine: MachineSettings) -> ProbeReport {
    report(launcher, Backend::Microvm, Spec { machine: Some(machine), ..Spec::default() }).await
}

async fn report(launcher: &Launcher, backend: Backend, spec: Spec) -> ProbeReport {
    let verdict = match try_it(launcher, backend, spec).await {
        Ok(attestation) => Verdict::Works(Box::new(attestation)),
        Err(reason) => Verdict::Broken { reason },
    };
    ProbeReport { backend, verdict }
}

async fn try_it(launcher: &Launcher, backend: Backend, spec: Spec) -> Result<Attestation, String> {
    let place = Place::new().map_err(|error| format!("a place to try it cannot be made: {error}"))?;
    let workspace = WorkspaceMount {
        host: place.inner.clone(),
        inside: Path::new("/work").to_owned(),
        mode: WorkspaceMode::ReadWrite,
    };
    let spec = Spec { workspace: Some(workspace), ..spec };
    let mut sandbox =
        Sandbox::start_with(launcher, backend, &spec).await.map_err(|error| described(&error))?;
    let outcome = challenge(&mut sandbox, &place).await;
    let attestation = sandbox.attestation().clone();
    sandbox.stop().await;
    outcome.map(|()| attestation)
}

/// One command does something allowed, which must succeed, and something forbidden, which must not.
async fn challenge(sandbox: &mut Sandbox, place: &Place) -> Result<(), String> {
    let script = "printf '%s' \"$1\" > written && printf '%s' \"$1\"; exec 2>/dev/null; cat \"$2\"";
    let secret = place.secret.to_str().ok_or("the place to try it has no readable name")?;
    let exec = Exec::new(["/bin/sh", "-c", script, "sh", GREETING, secret], "/work", Path::new(HOME));
    let (sender, mut receiver) = mpsc::channel::<Output>(4);
    let run = async {
        let ended = sandbox.exec(exec, &sender, future::pending()).await;
        drop(sender);
        ended
    };
    let listen = async {
        let mut heard = Vec::new();
        while let Some(piece) = receiver.recv().await {
            heard.extend(piece.bytes);
        }
        heard
    };
    let (ended, heard) = tokio::join!(run, listen);
    let ended = ended.map_err(|error| described(&error))?;
    let heard = String::from_utf8_lossy(&heard).into_owned();
    if !matches!(ended.status, Status::Exit(_)) || !heard.starts_with(GREETING) {
        return Err(format!("a command could not be run ({:?})", ended.status));
    }
    if fs::read(place.inner.join("written")).ok().as_deref() != Some(GREETING.as_bytes()) {
        return Err("what a command writes to the workspace does not arrive".to_owned());
    }
    let reached = heard.contains(SECRET);
    let isolated = sandbox.attestation().isolation == Isolation::Isolated;
    match (isolated, reached) {
        (true, true) => {
            Err("a command could read a file of the host; do not use this backend here".to_owned())
        }
        // The control: what proves isolation must be readable without it.
        (false, false) => Err("a file of the host could not be read although nothing isolates it".to_owned()),
        (true, false) | (false, true) => Ok(()),
    }
}

/// What a probe must not find.
const SECRET: &str = "not for the inside";

/// A directory of the host with a workspace and, beside it, a secret.
struct Place {
    outer: std::path::PathBuf,
    inner: std::path::PathBuf,
    secret: std::path::PathBuf,
}

impl Place {
    fn new() -> io::Result<Self> {
        use std::hash::{BuildHasher, Hasher};
        use std::os::unix::fs::DirBuilderExt;
        let number = std::hash::RandomState::new().build_hasher().finish();
        let outer = std::env::temp_dir().join(format!("blueprint-probe-{number:x}"));
        fs::DirBuilder::new().mode(0o700).create(&outer)?;
        let place = Self { inner: outer.join("work"), secret: outer.join("secret"), outer };
        fs::create_dir(&place.inner)?;
        fs::write(&place.secret, SECRET)?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A directory that stays behind in the temporary directory does no harm.
        drop(fs::remove_dir_all(&self.outer));
    }
}
