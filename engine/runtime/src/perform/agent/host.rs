//! What the tools of one session act on: sandboxes of the node over one checkout, and the history of its workspace.
//! Commands that only read may have a sandbox each; one that writes has the workspace to itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blueprint_agent::scan::{Options, Scanner};
use blueprint_agent::tool::{
    Command, Effect, Fetch, Fetched, GitQuery, HostError, Process, Ran, RanEnd, ToolHost,
};
use blueprint_core::format::Workspace;
use blueprint_core::graph::{Agent, Node};
use blueprint_core::run::{Failure, FailureClass};
use blueprint_sandbox::{
    Backend, ReadOnlyMount, Sandbox, Spec, Status, Stream, WorkspaceMode, WorkspaceMount,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::command::origin;
use super::super::outlet::Outlet;
use super::super::{Job, blocking, infra, surroundings};
use super::fetch::Outbound;
use crate::logs::{Line, Log, LogWriter, live_path};
use crate::scope::{as_text, value_of};
use crate::shared::Shared;
use crate::trees::Prepared;
use crate::workspace::{CommitId, DiffOptions, TreeId};

mod ends;

use ends::Ends;

/// Where our own program is inside a sandbox, for its file tools.
const PROGRAM: &str = "/opt/blueprint/engine";
/// What tells it to serve one file tool. See [`blueprint_agent::tool::FILE_TOOLS`].
const LONGEST_PATCH: u64 = 1 << 20;
/// The signal that ends a tool whose process is made to die.
const KILLED: i32 = 9;
/// The most sandboxes that are kept for commands that read.
const READERS: usize = 4;

/// The host of one session.
#[derive(Debug)]
pub(super) struct Host {
    shared: Arc<Shared>,
    job: Job,
    backend: Backend,
    /// The digest of what the sandbox of commands that write really was, once there was one.
    attestation: Mutex<Option<String>>,
    env: BTreeMap<String, String>,
    inside: PathBuf,
    mount: Option<WorkspaceMount>,
    captures: bool,
    held: Mutex<Option<Held>>,
    writer: tokio::sync::Mutex<Option<Sandbox>>,
    readers: Mutex<Vec<Sandbox>>,
    log: Mutex<Option<LogWriter>>,
    pub(super) outbound: Outbound,
    /// The way out of those sandboxes whose commands may do more than read.
    outlet: Outlet,
    pub(super) scanner: Scanner,
}

#[derive(Debug)]
struct Held {
    prepared: Prepared,
    /// The workspace as it was kept last.
    last: Option<(TreeId, CommitId)>,
}

impl Host {
    pub(super) fn new(
        shared: &Arc<Shared>,
        job: &Job,
        node: &Node,
        agent: &Agent,
        prepared: Option<Prepared>,
        outlet: Outlet,
    ) -> Result<Self, Failure> {
        let mut env = BTreeMap::new();
        for (name, value) in &agent.env {
            let value = value_of(value, &job.scope).map_err(|error| {
                let message = format!("the variable `{name}` of `{}` has no value: {error}", node.name);
                Failure::new(FailureClass::Command, message)
            })?;
            env.insert(name.clone(), as_text(&value));
        }
        let backend = shared.settings.isolation.of(node)?;
        let isolated = backend != Backend::None;
        let mount = prepared.as_ref().map(|prepared| WorkspaceMount {
            host: prepared.checkout.dir().to_owned(),
            inside: surroundings::inside(shared, backend, prepared.checkout.dir()),
            mode: match node.workspace {
                // The checkout is the node's own and is brought to another tree before anybody else sees it.
                Workspace::Write | Workspace::Scratch | Workspace::None => WorkspaceMode::ReadWrite,
                Workspace::Read if !isolated => WorkspaceMode::ReadWrite,
                Workspace::Read => WorkspaceMode::ReadOnly,
            },
        });
        let inside = mount.as_ref().map_or_else(|| PathBuf::from("/"), |mount| mount.inside.clone());
        let inside = match super::project_folder(shared) {
            folder if folder.is_empty() || mount.is_none() => inside,
            folder => inside.join(folder),
        };
        let live = live_path(&shared.state_dir, &shared.run, &job.path, job.attempt);
        Ok(Self {
            shared: Arc::clone(shared),
            job: job.clone(),
            env,
            backend,
            attestation: Mutex::new(None),
            inside,
            mount,
            captures: node.workspace == Workspace::Write,
            held: Mutex::new(prepared.map(|prepared| Held { prepared, last: None })),
            writer: tokio::sync::Mutex::new(None),
            readers: Mutex::new(Vec::new()),
            outbound: Outbound::new(crate::egress::rules(shared, &agent.network)?),
            outlet,
            scanner: Scanner::new(&shared.redactor, Options::default()),
            log: Mutex::new(Some(LogWriter::new(shared.store.blobs(), &shared.redactor, live, 0))),
        })
    }

    /// What isolates the agent's commands.
    pub(super) fn backend(&self) -> Backend {
        self.backend
    }

    /// What its sandbox really was, by digest.
    pub(super) fn attestation(&self) -> Option<String> {
        self.attestation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends every sandbox.
    pub(super) async fn stop(&self) {
        let readers = std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner));
        for sandbox in readers.into_iter().chain(self.writer.lock().await.take()) {
            sandbox.stop().await;
        }
    }

    /// The checkout, for whoever keeps it.
    pub(super) fn held(&self) -> Option<Prepared> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take().map(|held| held.prepared)
    }

    /// Ends the log.
    pub(super) fn log(&self) -> Result<Log, Failure> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(log) = log else {
            return Err(Failure::new(FailureClass::Infra, "the log of the agent broke off"));
        };
        let mut seen = |line: &Line| self.shared.observer.line(&self.job.path, self.job.attempt, line);
        log.finish(&mut seen).map_err(|error| infra("the log of the node could not be written", &error))
    }

    fn spec(&self, reads: bool) -> Result<Spec, HostError> {
        let settings = &self.shared.settings;
        let isolated = self.backend != Backend::None;
        let mount = self.mount.clone().map(|mount| {
            let mode = if reads && isolated { WorkspaceMode::ReadOnly } else { mount.mode };
            WorkspaceMount { mode, ..mount }
        });
        let node = self.job.node(&self.shared);
        let mut spec = surroundings::spec(&self.shared, node, self.backend, mount, settings.limits)
            .map_err(|failure| HostError::Sandbox(failure.message))?;
        if !reads {
            spec.read_only.extend(self.outlet.mount());
        }
        if isolated && let Some(program) = &settings.program {
            spec.read_only.push(ReadOnlyMount { host: program.clone(), inside: PROGRAM.into() });
        }
        Ok(spec)
    }

    async fn start(&self, reads: bool) -> Result<Sandbox, HostError> {
        let failed = |error: &(dyn std::error::Error + 'static)| HostError::Sandbox(crate::chain(error));
        let (backend, spec) = (self.backend, self.spec(reads)?);
        let started = if reads {
            surroundings::start(&self.shared, backend, &spec).await
        } else {
            self.outlet.start(&self.shared, backend, &spec).await.map(|(sandbox, _)| sandbox)
        };
        let sandbox = started.map_err(|error| failed(&error))?;
        let attestation = surroundings::attest(&self.shared, &sandbox)
            .map_err(|failure| HostError::Infra(failure.message))?;
        // That of a sandbox that writes says more than that of one that reads.
        let mut kept = self.attestation.lock().unwrap_or_else(PoisonError::into_inner);
        if !reads || kept.is_none() {
            *kept = Some(attestation);
        }
        drop(kept);
        Ok(sandbox)
    }

    /// The requests of the session and of its commands, for the record of the node.
    pub(super) fn note_requests(&self, record: &mut Value) {
        self.outlet.note(&self.shared, record);
        let (requests, more) = self.outbound.requests();
        if requests.is_empty() {
            return;
        }
        let egress = &mut record["egress"];
        let all = egress["requests"].as_array().into_iter().flatten().chain(&requests).cloned();
        let all: Vec<Value> = all.collect();
        *egress = json!({ "requests": all, "more": egress["more"].as_u64().unwrap_or(0) + more as u64 });
    }

    async fn exec(
        &self,
        sandbox: &mut Sandbox,
        command: Command,
        cancel: &CancellationToken,
    ) -> Result<Ran, HostError> {
        let mut exec = surroundings::exec(
            &self.shared,
            &self.job,
            self.backend,
            command.argv,
            self.inside.join(&command.cwd),
        );
        exec.env.extend(self.outlet.variables());
        exec.env.extend(self.env.clone());
        exec.env.extend(self.outlet.placeholders());
        exec.env.extend(command.env);
        exec.stdin = (!command.stdin.is_empty()).then_some(command.stdin);
        exec.wall = Some(command.wall);
        let (send, mut receive) = mpsc::channel(16);
        let cancelled = cancel.clone().cancelled_owned();
        let execution = async {
            let ended = sandbox.exec(exec, &send, cancelled).await;
            drop(send);
            ended
        };
        let reading = async {
            let redactor = &self.shared.redactor;
            let mut out = (redactor.stream(), Ends::new(command.keep));
            let mut err = (redactor.stream(), Ends::new(command.keep));
            while let Some(output) = receive.recv().await {
                let (redact, ends) = if output.stream == Stream::Stdout { &mut out } else { &mut err };
                ends.push(&redact.push(&output.bytes));
            }
            let finish = |(redact, mut ends): (crate::redact::RedactStream, Ends)| {
                ends.push(&redact.finish());
                ends.finish()
            };
            (finish(out), finish(err))
        };
        let (ended, ((stdout, cut_out), (stderr, cut_err))) = tokio::join!(execution, reading);
        let ended = ended.map_err(|error| HostError::Sandbox(crate::chain(&error)))?;
        let end = match ended.status {
            Status::Exit(code) => RanEnd::Exit(code),
            Status::Signal(signal) => RanEnd::Signal(signal),
            Status::NotStarted(_) => RanEnd::NotStarted,
            Status::TimedOut => RanEnd::TimedOut,
            Status::Cancelled => return Err(HostError::Cancelled),
            Status::OutputLimit | Status::MemoryLimit => RanEnd::Limit,
        };
        Ok(Ran { end, stdout, stderr, dropped: cut_out + cut_err })
    }

    /// Looks at the workspace as it is now, and keeps it.
    async fn capture(self: &Arc<Self>) -> Result<(TreeId, Option<CommitId>), HostError> {
        let host = Arc::clone(self);
        blocking(move || {
            let mut held = host.held.lock().unwrap_or_else(PoisonError::into_inner);
            let (Some(held), Some(trees)) = (held.as_mut(), &host.shared.trees) else {
                return Err(Failure::new(FailureClass::Infra, "the agent has no workspace"));
            };
            let captured = held.prepared.checkout.capture(trees.repository()).map_err(|error| {
                let class = if error.blames_content() { FailureClass::Policy } else { FailureClass::Infra };
                Failure::new(class, format!("what the agent left cannot be kept: {}", crate::chain(&error)))
            })?;
            let known = held.last.map_or(held.prepared.tree, |(tree, _)| tree);
            if captured.tree == known {
                return Ok((captured.tree, None));
            }
            let commit =
                trees.keep(captured.tree, &[held.prepared.commit], origin(&host.shared, &host.job))?;
            held.last = Some((captured.tree, commit));
            Ok((captured.tree, Some(commit)))
        })
        .await
        .map_err(|failure| match failure.class {
            FailureClass::Policy => HostError::Denied(failure.message),
            _ => HostError::Infra(failure.message),
        })
    }
}

/// The host as the session sees it.
#[derive(Debug, Clone)]
pub(super) struct Handle(pub(super) Arc<Host>);

#[async_trait]
impl ToolHost for Handle {
    fn workspace(&self) -> &str {
        self.0.inside.to_str().unwrap_or("/")
    }

    fn file_tools(&self) -> Vec<String> {
        let program = if self.0.backend == Backend::None {
            self.0.shared.settings.program.as_ref().map(|program| program.display().to_string())
        } else {
            Some(PROGRAM.to_owned())
        };
        vec![program.unwrap_or_default(), blueprint_agent::tool::FILE_TOOLS.to_owned()]
    }

    async fn run(&self, command: Command, cancel: &CancellationToken) -> Result<Ran, HostError> {
        let host = &self.0;
        let outside = host.shared.settings.outside.as_ref();
        if outside.is_some_and(|outside| outside.breaks(host.job.asker(&host.shared))) {
            let stderr = b"the process died: a fault of the scenario\n".to_vec();
            return Ok(Ran { end: RanEnd::Signal(KILLED), stdout: Vec::new(), stderr, dropped: 0 });
        }
        let isolated = host.backend != Backend::None;
        // A sandbox that does not become ready takes no more time than its command may, and nobody's patience. What was
        // begun ends with what is dropped here.
        let late = tokio::time::sleep(command.wall);
        tokio::pin!(late);
        let not_in_time =
            || Ran { end: RanEnd::TimedOut, stdout: Vec::new(), stderr: Vec::new(), dropped: 0 };
        if command.effect == Effect::Read && isolated {
            let idle = host.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut sandbox = match idle {
                Some(sandbox) => sandbox,
                None => tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Err(HostError::Cancelled),
                    started = host.start(true) => started?,
                    () = &mut late => return Ok(not_in_time()),
                },
            };
            let ran = host.exec(&mut sandbox, command, cancel).await?;
            let mut readers = host.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS {
                readers.push(sandbox);
            }
            return Ok(ran);
        }
        let mut writer = host.writer.lock().await;
        let mut sandbox = match writer.take() {
            Some(sandbox) => sandbox,
            None => tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(HostError::Cancelled),
                started = host.start(false) => started?,
                () = &mut late => return Ok(not_in_time()),
            },
        };
        // If this is given up half-way, the sandbox goes with it and the next command gets a new one.
        let ran = host.exec(&mut sandbox, command, cancel).await?;
        *writer = Some(sandbox);
        Ok(ran)
    }

    async fn open(
        &self,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        effect: Effect,
    ) -> Result<Process, HostError> {
        let host = &self.0;
        let sandbox = host.start(effect == Effect::Read).await?;
        let mut exec = surroundings::exec(&host.shared, &host.job, host.backend, argv, host.inside.clone());
        exec.env.extend(host.outlet.variables());
        exec.env.extend(host.env.clone());
        exec.env.extend(host.outlet.placeholders());
        exec.env.extend(env);
        Ok(super::process::open(sandbox, exec))
    }

    async fn git(&self, query: GitQuery) -> Result<String, HostError> {
        let host = &self.0;
        let base = {
            let held = host.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.as_ref().map(|held| (held.prepared.tree, held.prepared.commit))
        };
        let Some((base, commit)) = base else {
            return Err(HostError::Denied("there is no workspace".to_owned()));
        };
        let now = match query {
            GitQuery::Diff { .. } | GitQuery::Status => host.capture().await?.0,
            GitQuery::Log { .. } => base,
        };
        let shared = Arc::clone(&host.shared);
        blocking(move || {
            let trees = shared
                .trees
                .as_ref()
                .ok_or_else(|| Failure::new(FailureClass::Infra, "there is no workspace"))?;
            let repository = trees.repository();
            let text = match query {
                GitQuery::Diff { paths } => {
                    let options =
                        DiffOptions { max_bytes: LONGEST_PATCH, binary: false, ..DiffOptions::default() };
                    repository
                        .diff(base, now, options)
                        .map(|diff| ends::only(&String::from_utf8_lossy(&diff.patch), &paths))
                }
                GitQuery::Status => repository.diff_stat(base, now).map(|files| {
                    let line = |file: &crate::workspace::FileStat| match file.lines {
                        Some((more, less)) => format!("{} +{more} -{less}", file.path),
                        None => format!("{} binary", file.path),
                    };
                    files.iter().map(line).collect::<Vec<_>>().join("\n")
                }),
                GitQuery::Log { limit, path } => repository.log(commit, limit, path.as_deref()),
            };
            text.map_err(|error| infra("git could not answer", &error))
        })
        .await
        .map_err(|failure| HostError::Infra(failure.message))
    }

    async fn fetch(&self, fetch: Fetch, cancel: &CancellationToken) -> Result<Fetched, HostError> {
        self.0.outbound.fetch(&self.0.shared, &self.0.scanner, &fetch, cancel).await
    }

    async fn snapshot(&self) -> Result<Option<String>, HostError> {
        if !self.0.captures {
            return Ok(None);
        }
        Ok(self.0.capture().await?.1.map(|commit| commit.to_string()))
    }

    fn redact(&self, text: &str) -> String {
        self.0.scanner.redact(text)
    }

    fn note(&self, line: &str) {
        self.0.note(line);
    }

    fn facts(&self) -> Value {
        json!({ "run": self.0.shared.run, "node": self.0.job.path, "attempt": self.0.job.attempt })
    }
}

impl Host {
    /// A line for the log.
    pub(super) fn note(&self, line: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = log.as_mut() else { return };
        let mut seen = |line: &Line| self.shared.observer.line(&self.job.path, self.job.attempt, line);
        let pushed = writer
            .push(Stream::Stdout, line.as_bytes(), &mut seen)
            .and_then(|()| writer.push(Stream::Stdout, b"\n", &mut seen));
        if pushed.is_err() {
            // A log with a hole is none: its end says that it broke off.
            *log = None;
        }
    }

    /// The variables the node gives its commands.
    pub(super) fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The folder commands work in.
    pub(super) fn folder(&self) -> String {
        self.inside.display().to_string()
    }
}
