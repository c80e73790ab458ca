//! `run` nodes: a command in a sandbox, on a checkout of its input tree. Values arrive as arguments and
//! environment, never as text of a command.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blueprint_core::format::{Expect, OutputFrom, Shell, Workspace};
use blueprint_core::graph::{Action, Node, Run};
use blueprint_core::run::{Failure, FailureClass, LostBecause, Success};
use blueprint_sandbox::{Backend, Ended, Exec, NotStarted, Spec, Status, WorkspaceMode, WorkspaceMount};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::outlet::Outlet;
use super::{Ending, Job, ahead, blocking, infra, kept, surroundings};
use crate::logs::{Log, LogWriter, live_path};
use crate::outputs;
use crate::payload::keep;
use crate::scope::{as_text, value_of};
use crate::shared::Shared;
use crate::trees::{Origin, Prepared};
use crate::workspace::CommitId;

pub(super) async fn run(
    shared: &Arc<Shared>,
    job: &Job,
    cancel: &CancellationToken,
) -> Result<Success, Ending> {
    let node = job.node(shared);
    let Action::Run(run) = &node.action else { return Err(Ending::Lost(LostBecause::Cancelled)) };
    let outlet = Outlet::new(shared, job, &run.network, &run.credentials).await?;
    let mut prepared = prepare(shared, job, node.workspace).await?;
    let ended = attempt(shared, job, node, run, prepared.as_ref(), &outlet, cancel).await;
    let done = match ended {
        Ok(ended) => conclude(shared, job, node, run, &mut prepared, ended).await,
        Err(ending) => Err(ending),
    };
    let left = prepared.as_ref().map(|prepared| prepared.commit.to_string());
    if let (Some(prepared), Some(trees)) = (prepared, &shared.trees) {
        trees.give_back(prepared.checkout);
    }
    match done {
        Ok(mut success) => {
            outlet.note(shared, &mut success.record);
            Ok(success)
        }
        Err(Ending::Failed(mut failure)) => {
            failure.tree = left;
            outlet.note(shared, &mut failure.record);
            Err(Ending::Failed(failure))
        }
        other @ Err(_) => other,
    }
}

/// Brings a checkout to the input tree, if the node sees the workspace.
pub(super) async fn prepare(
    shared: &Arc<Shared>,
    job: &Job,
    mode: Workspace,
) -> Result<Option<Prepared>, Ending> {
    prepare_at(shared, job, mode, None).await
}

/// The same, with the workspace as an earlier part of the attempt left it at the commit `at`.
pub(super) async fn prepare_at(
    shared: &Arc<Shared>,
    job: &Job,
    mode: Workspace,
    at: Option<&str>,
) -> Result<Option<Prepared>, Ending> {
    if mode == Workspace::None {
        return Ok(None);
    }
    let (shared, job, at) = (Arc::clone(shared), job.clone(), at.map(str::to_owned));
    let prepared = blocking(move || {
        let trees = shared.trees.as_ref().ok_or_else(|| {
            Failure::new(FailureClass::Infra, "the run has no workspace, but this node wants one")
        })?;
        let mut prepared = trees.prepare(&job.inputs, origin(&shared, &job))?;
        if let Some(at) = at {
            trees.bring_to(&mut prepared, &at)?;
        }
        Ok(prepared)
    });
    Ok(Some(prepared.await?))
}

pub(super) fn origin<'a>(shared: &Shared, job: &'a Job) -> Origin<'a> {
    Origin { node: &job.path, attempt: job.attempt, at_ms: shared.clock.now_ms() }
}

/// A path of the project as a path of the tree.
pub(super) fn in_tree(shared: &Shared, path: &str) -> String {
    shared.trees.as_ref().map_or_else(|| path.to_owned(), |trees| trees.in_tree(path))
}

/// A command that came to its end.
struct Attempted {
    ended: Ended,
    log: Log,
    backend: Backend,
    /// The digest of what its sandbox really was.
    attestation: String,
    /// How that came to be, and how long it took.
    start: Value,
}

async fn attempt(
    shared: &Arc<Shared>,
    job: &Job,
    node: &Node,
    run: &Run,
    prepared: Option<&Prepared>,
    outlet: &Outlet,
    cancel: &CancellationToken,
) -> Result<Attempted, Ending> {
    let settings = &shared.settings;
    let backend = settings.isolation.of(node)?;
    let mut spec = spec(shared, node, backend, prepared.map(|prepared| prepared.checkout.dir()))?;
    let exec = exec(shared, job, backend, run, spec.workspace.as_ref(), outlet)?;
    spec.read_only.extend(outlet.mount());
    let purpose = if outlet.is_closed() { kept::purpose(node, backend, &spec) } else { None };
    let asked = std::time::Instant::now();
    let starting = async {
        let waiting = match &purpose {
            Some(purpose) => shared.kept.take(purpose).await,
            None => None,
        };
        match waiting {
            Some(sandbox) => Ok((sandbox, "kept")),
            None => outlet.start(shared, backend, &spec).await,
        }
    };
    let (mut sandbox, start) = tokio::select! {
        started = starting => started.map_err(|error| surroundings::failed(&error))?,
        // What was begun ends by itself, or is swept.
        () = cancel.cancelled() => return Err(Ending::Lost(LostBecause::Cancelled)),
        () = tokio::time::sleep(spec.limits.wall) => {
            let message = format!("its sandbox was not ready within {}", crate::human(spec.limits.wall));
            return Err(Failure::new(FailureClass::Timeout, message).into());
        }
    };
    let start = json!({ "start": start, "start_ms": asked.elapsed().as_millis() as u64 });
    let attestation = surroundings::attest(shared, &sandbox)?;
    ahead::prepare(shared, job, prepared.map(|prepared| prepared.checkout.dir()));
    let (send, mut receive) = mpsc::channel(16);
    let live = live_path(&shared.state_dir, &shared.run, &job.path, job.attempt);
    let wanted = if node.outputs.is_empty() || matches!(node.output_from, OutputFrom::File(_)) {
        0
    } else {
        outputs::MAX_BYTES
    };
    let mut log = LogWriter::new(shared.store.blobs(), &shared.redactor, live, wanted);
    let mut seen = |line: &crate::logs::Line| shared.observer.line(&job.path, job.attempt, line);
    let cancelled = cancel.clone().cancelled_owned();
    let execution = async {
        let ended = sandbox.exec(exec, &send, cancelled).await;
        drop(send);
        ended
    };
    let reading = async {
        let mut fault = None;
        while let Some(output) = receive.recv().await {
            if fault.is_none()
                && let Err(error) = log.push(output.stream, &output.bytes, &mut seen)
            {
                // The command goes on to its end, but without a log it cannot count.
                fault = Some(error);
            }
        }
        fault
    };
    let (ended, fault) = tokio::join!(execution, reading);
    let whole = ended.as_ref().is_ok_and(|ended| ended.status != Status::Cancelled);
    match purpose.filter(|_| whole) {
        Some(purpose) => shared.kept.keep(purpose, sandbox).await,
        None => sandbox.stop().await,
    }
    let log = match fault {
        Some(error) => Err(error),
        None => log.finish(&mut seen),
    };
    let log = log.map_err(|error| infra("the log of the node could not be written", &error))?;
    let ended = ended.map_err(|error| surroundings::failed(&error))?;
    if ended.status == Status::Cancelled {
        return Err(Ending::Lost(LostBecause::Cancelled));
    }
    Ok(Attempted { ended, log, backend, attestation, start })
}

/// The sandbox of a node that works in this checkout, without what leads out of it.
pub(super) fn spec(
    shared: &Shared,
    node: &Node,
    backend: Backend,
    checkout: Option<&Path>,
) -> Result<Spec, Failure> {
    let workspace = checkout.map(|checkout| WorkspaceMount {
        host: checkout.to_owned(),
        inside: surroundings::inside(shared, backend, checkout),
        mode: match node.workspace {
            // Without isolation nothing is mounted. What such a node writes is left uncaptured, and goes when the
            // checkout is brought to its next tree; so it is with sandboxes that cannot throw it away themselves.
            Workspace::Read if backend == Backend::None => WorkspaceMode::ReadWrite,
            Workspace::Scratch if !backend.discards() => WorkspaceMode::ReadWrite,
            // What is thrown away with the sandbox cannot be read afterwards. The checkout is the node's own and is
            // brought to another tree before anybody else sees it.
            Workspace::Scratch if reads_files(node) => WorkspaceMode::ReadWrite,
            Workspace::Scratch => WorkspaceMode::Scratch,
            Workspace::Read => WorkspaceMode::ReadOnly,
            Workspace::Write | Workspace::None => WorkspaceMode::ReadWrite,
        },
    });
    let mut limits = shared.settings.limits;
    if let Some(timeout) = node.timeout {
        limits.wall = timeout;
    }
    surroundings::spec(shared, node, backend, workspace, limits)
}

/// Whether files are read after the command has ended.
fn reads_files(node: &Node) -> bool {
    !node.artifacts.is_empty()
        || (!node.outputs.is_empty() && matches!(node.output_from, OutputFrom::File(_)))
}

/// The command in a message: its program, or the beginning of its shell line.
fn named(run: &Run) -> String {
    let text = run.argv.first().map_or("", |line| line.trim_start());
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(60).collect();
    if short.len() < text.trim_end().len() { format!("{}…", short.trim_end()) } else { short }
}

fn exec(
    shared: &Shared,
    job: &Job,
    backend: Backend,
    run: &Run,
    workspace: Option<&WorkspaceMount>,
    outlet: &Outlet,
) -> Result<Exec, Failure> {
    let node = job.node(shared);
    let bad = |what: &str, error: &dyn std::error::Error| {
        Failure::new(FailureClass::Command, format!("{what} of `{}` has no value: {error}", node.name))
    };
    let mut argv: Vec<String> = match run.shell {
        None => run.argv.clone(),
        // Read with errors not ignored. The line is one argument of the shell; arguments come behind it.
        Some(Shell::Bash) => {
            ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"].map(str::to_owned).to_vec()
        }
        Some(Shell::Sh) => ["sh", "-euc"].map(str::to_owned).to_vec(),
    };
    if let Some(shell) = run.shell {
        argv.extend(run.argv.iter().cloned());
        argv.push(shell.as_str().to_owned());
    }
    for arg in &run.args {
        argv.push(as_text(&value_of(arg, &job.scope).map_err(|error| bad("an argument", &error))?));
    }
    let inside = workspace.map_or_else(|| PathBuf::from("/"), |workspace| workspace.inside.clone());
    let cwd = match (&shared.trees, workspace) {
        (Some(trees), Some(_)) => inside.join(trees.in_tree(&run.cwd)),
        _ => inside,
    };
    let mut exec = surroundings::exec(shared, job, backend, argv, cwd);
    exec.env.extend(outlet.variables());
    for (name, value) in &run.env {
        let value =
            value_of(value, &job.scope).map_err(|error| bad(&format!("the variable `{name}`"), &error))?;
        exec.env.insert(name.clone(), as_text(&value));
    }
    exec.env.extend(outlet.placeholders());
    if let Some(stdin) = &run.stdin {
        let text = stdin.render(&job.scope).map_err(|error| bad("the standard input", &error))?;
        exec.stdin = Some(text.into_bytes());
    }
    Ok(exec)
}

/// Says whether the end of a command is a success, and keeps what it made.
async fn conclude(
    shared: &Arc<Shared>,
    job: &Job,
    node: &Node,
    run: &Run,
    prepared: &mut Option<Prepared>,
    attempted: Attempted,
) -> Result<Success, Ending> {
    let Attempted { ended, log, backend, attestation, start } = attempted;
    let mut record = json!({
        "log": log.digest.map(|digest| digest.to_string()),
        "exit": ended.status.shell_code(),
        "isolation": backend.name(),
        "attestation": attestation,
        "sandbox": start,
        "wall_ms": ended.usage.wall.as_millis() as u64,
        "cpu_ms": (ended.usage.user + ended.usage.system).as_millis() as u64,
        "max_rss_bytes": ended.usage.max_rss_bytes,
    });
    if ended.usage.left_behind > 0 {
        record["links_left_behind"] = Value::from(ended.usage.left_behind);
    }
    if ended.truncated {
        record["truncated"] = Value::Bool(true);
    }
    let fail = |class, message: String| {
        let fingerprint = matches!(class, FailureClass::Command | FailureClass::Timeout)
            .then(|| crate::fingerprint::of(&message, &log.tail));
        Failure { class, message, fingerprint, tree: None, record: record.clone() }
    };
    let program = named(run);
    match &ended.status {
        Status::Exit(code) if accepts(&run.expect, *code) => {}
        Status::Exit(code) => {
            return Err(fail(
                FailureClass::Command,
                format!("`{program}` exited with {code}{}", expected(&run.expect)),
            )
            .into());
        }
        Status::Signal(signal) => {
            return Err(
                fail(FailureClass::Command, format!("`{program}` was ended by signal {signal}")).into()
            );
        }
        Status::NotStarted(NotStarted::ProgramNotFound) => {
            return Err(fail(FailureClass::Command, format!("the program `{program}` was not found")).into());
        }
        Status::NotStarted(NotStarted::NotExecutable { errno }) => {
            return Err(fail(
                FailureClass::Command,
                format!("the program `{program}` cannot be executed (errno {errno})"),
            )
            .into());
        }
        Status::NotStarted(NotStarted::WorkingDirectory { errno }) => {
            return Err(fail(
                FailureClass::Command,
                format!("the folder `{}` cannot be entered (errno {errno})", run.cwd),
            )
            .into());
        }
        Status::TimedOut => {
            let limit = node.timeout.unwrap_or(shared.settings.limits.wall);
            return Err(fail(
                FailureClass::Timeout,
                format!("`{program}` took longer than {}", crate::human(limit)),
            )
            .into());
        }
        Status::OutputLimit => {
            return Err(
                fail(FailureClass::Command, format!("`{program}` wrote more output than it may")).into()
            );
        }
        Status::MemoryLimit => {
            return Err(
                fail(FailureClass::Command, format!("`{program}` used more memory than it may")).into()
            );
        }
        Status::Cancelled => return Err(Ending::Lost(LostBecause::Cancelled)),
    }
    let outputs = typed_outputs(shared, node, prepared.as_ref(), &log.stdout)
        .map_err(|message| fail(FailureClass::Command, message))?;
    if !node.artifacts.is_empty()
        && let Some(prepared) = prepared.as_ref()
    {
        let globs: Vec<String> = node.artifacts.iter().map(|glob| in_tree(shared, glob)).collect();
        record["artifacts"] =
            crate::artifacts::keep(shared.store.blobs(), &shared.redactor, prepared.checkout.dir(), &globs)
                .map_err(|message| fail(FailureClass::Command, message))?;
    }
    let mut tree = None;
    if node.workspace == Workspace::Write
        && let Some(held) = prepared.take()
    {
        let (held, captured) = capture(shared, job, held).await?;
        *prepared = Some(held);
        let (commit, flagged) = captured?;
        tree = commit.map(|commit| commit.to_string());
        if !flagged.is_empty() {
            record["flagged"] = json!(flagged);
        }
    } else if let Some(prepared) = prepared.as_ref().filter(|prepared| prepared.merged) {
        tree = Some(prepared.commit.to_string());
    }
    Ok(Success { outputs, tree, record })
}

/// What a capture gave: the commit, if there is something new, and what people should look at.
pub(super) type Captured = Result<(Option<CommitId>, Vec<String>), Failure>;

/// Reads what a node left in its checkout and commits it. The checkout comes back whatever came of it.
pub(super) async fn capture(
    shared: &Arc<Shared>,
    job: &Job,
    mut held: Prepared,
) -> Result<(Prepared, Captured), Failure> {
    let (shared, job) = (Arc::clone(shared), job.clone());
    blocking(move || {
        let trees = shared
            .trees
            .as_ref()
            .ok_or_else(|| Failure::new(FailureClass::Infra, "the run has no workspace"))?;
        let captured = trees.capture(&mut held, origin(&shared, &job));
        Ok((held, captured))
    })
    .await
}

fn accepts(expect: &Expect, code: i32) -> bool {
    match expect {
        Expect::Success => code == 0,
        Expect::Failure => code != 0,
        Expect::Any => true,
        Expect::Codes(codes) => codes.contains(&i64::from(code)),
    }
}

fn expected(expect: &Expect) -> String {
    match expect {
        Expect::Success | Expect::Any => String::new(),
        Expect::Failure => ", but was expected to fail".to_owned(),
        Expect::Codes(codes) => {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            format!(", expected {}", codes.join(" or "))
        }
    }
}

fn typed_outputs(
    shared: &Shared,
    node: &Node,
    prepared: Option<&Prepared>,
    stdout: &[u8],
) -> Result<Option<blueprint_core::run::Payload>, String> {
    if node.outputs.is_empty() {
        return Ok(None);
    }
    let value = match (&node.output_from, prepared) {
        (OutputFrom::File(file), Some(prepared)) => {
            let path = in_tree(shared, &file.value);
            let text = crate::artifacts::read_inside(prepared.checkout.dir(), &path, outputs::MAX_BYTES)?;
            outputs::parse(&node.output_from, &node.outputs, &shared.redactor.redact(&text))?
        }
        (OutputFrom::File(file), None) => {
            return Err(format!(
                "the outputs are to be read from `{}`, but the node has no workspace",
                file.value
            ));
        }
        _ => outputs::parse(&node.output_from, &node.outputs, stdout)?,
    };
    keep(shared.store.blobs(), value).map(Some).map_err(|error| crate::chain(&error))
}
