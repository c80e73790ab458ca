//! What every test needs: a private checkout, a started sandbox, a command's whole story.
//! Nothing here decides whether a test passes.

use std::{
    collections::BTreeMap,
    future,
    path::{Path, PathBuf},
    time::Duration,
};

use blueprint_sandbox::{
    Backend, DockerSettings, Ended, Exec, ExecError, HOME, Launcher, Limits, Output, Sandbox, Spec,
    StartError, Status, Stream, WorkspaceMode, WorkspaceMount,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::microvm;

/// Where the workspace is inside.
pub(crate) const WORK: &str = "/work";

/// The guest binary of this crate, which serves as launcher, with the container engine of the tests.
pub(crate) fn launcher() -> Launcher {
    Launcher::at(env!("CARGO_BIN_EXE_blueprint-guest")).with_docker(docker())
}

/// Where containers of the tests are made.
pub(crate) fn docker() -> DockerSettings {
    let folder = std::env::temp_dir().join(format!("blueprint-docker-{}", nix::unistd::Uid::effective()));
    DockerSettings { host: docker_host(), ..DockerSettings::new(folder) }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine of the tests is named the way every Docker client is told"
)]
fn docker_host() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

/// The backends that must be there: those of this crate alone, and those that `BLUEPRINT_REQUIRE_BACKENDS` names.
/// Others are tried where a socket of an engine exists. What is left out is said.
pub(crate) fn backends() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| !backend.is_container() || tries(*backend)).collect()
}

/// Whether the host's own list of processes shows what runs inside.
pub(crate) fn host_sees(backend: Backend) -> bool {
    !matches!(backend, Backend::Gvisor | Backend::Microvm)
}

/// Every backend that can be tested here, machines included.
pub(crate) fn every() -> Vec<Backend> {
    microvm::machine().map(|_| Backend::Microvm).into_iter().chain(backends()).collect()
}

/// Those that isolate and show the programs of this system.
pub(crate) fn on_this_system() -> Vec<Backend> {
    isolating().into_iter().filter(|backend| *backend != Backend::Microvm).collect()
}

/// The same without the one that isolates nothing.
pub(crate) fn isolating() -> Vec<Backend> {
    every().into_iter().filter(|backend| *backend != Backend::None).collect()
}

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "whoever runs the tests says what must not be left out, and is told what was"
)]
pub(crate) fn tries(backend: Backend) -> bool {
    let required = std::env::var("BLUEPRINT_REQUIRE_BACKENDS").unwrap_or_default();
    if required.split(',').any(|name| name == backend.name()) {
        return true;
    }
    let there = docker_host().strip_prefix("unix://").is_some_and(|path| Path::new(path).exists());
    if !there {
        println!("skipped: no container engine for `{}`", backend.name());
    }
    there
}

/// Limits small enough to be reached in a test.
pub(crate) fn limits() -> Limits {
    Limits {
        memory_bytes: 256 << 20,
        pids: 64,
        cpus: 2.0,
        wall: Duration::from_mins(1),
        grace: Duration::from_millis(300),
        output_bytes: 1 << 20,
        file_bytes: 64 << 20,
        open_files: 256,
    }
}

/// A private checkout and what a sandbox on it is made of.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) backend: Backend,
    pub(crate) dir: TempDir,
    pub(crate) spec: Spec,
}

impl Desk {
    pub(crate) fn new(backend: Backend) -> Self {
        let dir = tempfile::Builder::new().prefix("sandbox-test-").tempdir().unwrap();
        let workspace = WorkspaceMount {
            host: dir.path().to_owned(),
            inside: PathBuf::from(WORK),
            mode: WorkspaceMode::ReadWrite,
        };
        let spec = Spec {
            workspace: Some(workspace),
            tmp_bytes: 16 << 20,
            limits: limits(),
            machine: if backend == Backend::Microvm { microvm::machine() } else { None },
            ..Spec::default()
        };
        Self { backend, dir, spec }
    }

    pub(crate) fn mode(mut self, mode: WorkspaceMode) -> Self {
        if let Some(mount) = &mut self.spec.workspace {
            mount.mode = mode;
        }
        self
    }

    pub(crate) async fn try_start(&self) -> Result<Sandbox, StartError> {
        Sandbox::start_with(&launcher(), self.backend, &self.spec).await
    }

    pub(crate) async fn start(&self) -> Sandbox {
        self.try_start().await.unwrap_or_else(|error| panic!("{:?}: {error}", self.backend))
    }

    /// Starts, runs one shell script, stops.
    pub(crate) async fn sh(&self, script: &str) -> Story {
        let mut sandbox = self.start().await;
        let story = run(&mut sandbox, sh(script)).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        sandbox.stop().await;
        story
    }
}

/// A shell script in the workspace.
pub(crate) fn sh(script: &str) -> Exec {
    command(["sh", "-c", script])
}

/// A Python script in the workspace.
pub(crate) fn python(script: &str) -> Exec {
    command(["/usr/bin/python3", "-c", script])
}

/// A command in the workspace.
pub(crate) fn command<A: Into<String>>(argv: impl IntoIterator<Item = A>) -> Exec {
    Exec::new(argv, WORK, Path::new(HOME))
}

/// A command's end and all it wrote.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) ended: Ended,
    pub(crate) written: BTreeMap<&'static str, Vec<u8>>,
}

impl Story {
    pub(crate) fn status(&self) -> &Status {
        &self.ended.status
    }

    pub(crate) fn bytes(&self, stream: Stream) -> &[u8] {
        self.written.get(key(stream)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes(Stream::Stdout)).into_owned()
    }

    pub(crate) fn complaints(&self) -> String {
        String::from_utf8_lossy(self.bytes(Stream::Stderr)).into_owned()
    }
}

fn key(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// Runs a command that nobody cancels.
pub(crate) async fn run(sandbox: &mut Sandbox, exec: Exec) -> Result<Story, ExecError> {
    run_until(sandbox, exec, future::pending()).await
}

/// Runs a command.
pub(crate) async fn run_until(
    sandbox: &mut Sandbox,
    exec: Exec,
    cancel: impl Future<Output = ()>,
) -> Result<Story, ExecError> {
    let (sender, mut receiver) = mpsc::channel::<Output>(8);
    let collect = async {
        let mut written = BTreeMap::<&'static str, Vec<u8>>::new();
        while let Some(piece) = receiver.recv().await {
            written.entry(key(piece.stream)).or_default().extend(piece.bytes);
        }
        written
    };
    let work = async {
        let ended = sandbox.exec(exec, &sender, cancel).await;
        drop(sender);
        ended
    };
    let (ended, written) = tokio::join!(work, collect);
    Ok(Story { ended: ended?, written })
}
