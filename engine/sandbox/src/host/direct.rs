//! The backend without isolation: a direct child of the caller in a process group of its own.
//! Starts as fast as the system can; it must never be called a sandbox in anything a person reads.

use std::{
    fs,
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::pin,
    process::{ExitStatus, Stdio},
};

use nix::{
    sys::{signal::Signal, utsname},
    unistd,
};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{self, Instant},
};

use crate::{
    attestation::{Attestation, Enforcement, Enforcer, MountAccess, MountNote, WorkspaceOwner},
    contract::{
        Backend, Ended, Exec, Limits, NotStarted, Output, Spec, Status, Stream, Usage, WorkspaceMode,
        WorkspaceMount,
    },
    error::{ExecError, StartError},
    host::{
        child::{Feed, Group, Kept, Tap, find},
        guarded::far,
    },
    wire::CHUNK_BYTES,
};

/// Commands as direct children.
#[derive(Debug)]
pub(super) struct Direct {
    workspace: Option<WorkspaceMount>,
    limits: Limits,
    attestation: Attestation,
}

impl Direct {
    pub(super) fn start(spec: &Spec) -> Result<Self, StartError> {
        let unsupported =
            |what: &str| Err(StartError::Unsupported { backend: Backend::None, what: what.to_owned() });
        match spec.workspace.as_ref().map(|mount| mount.mode) {
            Some(WorkspaceMode::ReadOnly) => return unsupported("a workspace that cannot be written"),
            Some(WorkspaceMode::Scratch) => return unsupported("a workspace whose changes are thrown away"),
            Some(WorkspaceMode::ReadWrite) | None => {}
        }
        if spec.read_only.iter().any(|mount| mount.host != mount.inside) {
            return unsupported("a directory under another name");
        }
        Ok(Self { workspace: spec.workspace.clone(), limits: spec.limits, attestation: attest(spec) })
    }

    pub(super) fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    pub(super) async fn exec(
        &mut self,
        exec: Exec,
        input: Option<mpsc::Receiver<Vec<u8>>>,
        output: &mpsc::Sender<Output>,
        cancel: impl Future<Output = ()>,
    ) -> Result<Ended, ExecError> {
        let started = Instant::now();
        let cwd = self.on_host(&exec.cwd);
        let not_started = |reason| {
            Ok(Ended { status: Status::NotStarted(reason), usage: Usage::default(), truncated: false })
        };
        if let Err(error) = fs::read_dir(&cwd) {
            let errno = error.raw_os_error().unwrap_or(libc::ENOENT);
            return not_started(NotStarted::WorkingDirectory { errno });
        }
        let Some(name) = exec.argv.first() else {
            return Err(ExecError::BadCommand("it names no program".to_owned()));
        };
        let program = match find(name, exec.env.get("PATH").map(String::as_str), &cwd) {
            Ok(program) => program,
            Err(reason) => return not_started(reason),
        };
        // Everything below keeps to what `posix_spawn` can do: no closure runs between fork and exec.
        let mut command = Command::new(program);
        command
            .arg0(name)
            .args(exec.argv.iter().skip(1))
            .env_clear()
            .envs(&exec.env)
            .current_dir(&cwd)
            .stdin(if exec.stdin.is_some() || input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                return not_started(NotStarted::NotExecutable { errno });
            }
        };
        let wall = exec.wall.map_or(self.limits.wall, |wall| wall.min(self.limits.wall));
        let feed = Feed::new(exec.stdin, input);
        self.drive(child, feed, output, cancel, started, far(started, wall)).await
    }

    async fn drive(
        &self,
        mut child: Child,
        mut feed: Feed,
        output: &mpsc::Sender<Output>,
        cancel: impl Future<Output = ()>,
        started: Instant,
        mut timer: Instant,
    ) -> Result<Ended, ExecError> {
        let mut group = Group::led_by(child.id());
        let lost = || ExecError::Channel(io::ErrorKind::BrokenPipe.into());
        let mut out = Tap::new(Stream::Stdout, child.stdout.take().ok_or_else(lost)?);
        let mut err = Tap::new(Stream::Stderr, child.stderr.take().ok_or_else(lost)?);
        feed.connect(child.stdin.take());
        let mut kept = Kept { bytes: 0, cap: self.limits.output_bytes, truncated: false };
        let mut held: Option<Output> = None;
        let mut why: Option<Status> = None;
        let mut cancel = pin!(cancel);
        let status = loop {
            let free = held.is_none();
            tokio::select! {
                ended = child.wait() => break ended.map_err(ExecError::Channel)?,
                piece = out.next(), if free && out.open => held = kept.keep(piece),
                piece = err.next(), if free && err.open => held = kept.keep(piece),
                permit = output.reserve(), if !free => {
                    if let (Ok(permit), Some(piece)) = (permit, held.take()) {
                        permit.send(piece);
                    }
                }
                () = feed.progress(), if feed.has_work() => {}
                () = cancel.as_mut(), if why.is_none() => {
                    why = Some(Status::Cancelled);
                    group.signal(Signal::SIGTERM);
                    timer = far(Instant::now(), self.limits.grace);
                }
                () = time::sleep_until(timer) => {
                    if why.is_none() {
                        why = Some(Status::TimedOut);
                        group.signal(Signal::SIGTERM);
                        timer = far(Instant::now(), self.limits.grace);
                    } else {
                        group.signal(Signal::SIGKILL);
                        timer = far(Instant::now(), self.limits.grace.max(time::Duration::from_secs(1)));
                    }
                }
            }
            if kept.truncated && !matches!(why, Some(Status::OutputLimit)) {
                why = Some(Status::OutputLimit);
                group.signal(Signal::SIGKILL);
            }
        };
        let wall = started.elapsed();
        // What it left running goes too. Whatever escaped its group is why this backend is no sandbox.
        group.finish();
        drop(feed);
        // All the command wrote is in the pipes by now. Waiting for them to close could take forever.
        let rest = [out.into_rest(), err.into_rest()];
        let mut pieces: Vec<Output> = held.take().into_iter().collect();
        let deadline = far(Instant::now(), self.limits.grace);
        for tap in rest {
            let Some((stream, mut pipe)) = tap.map_err(ExecError::Channel)? else { continue };
            loop {
                while let Some(piece) = pieces.pop() {
                    // A receiver that takes nothing any more loses the rest.
                    kept.truncated |= time::timeout_at(deadline, output.send(piece)).await.is_err();
                }
                let mut buffer = vec![0; CHUNK_BYTES];
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => {
                        buffer.truncate(count);
                        pieces.extend(kept.keep(Some(Output { stream, bytes: buffer })));
                        if kept.truncated && pieces.is_empty() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
        for piece in pieces {
            kept.truncated |= time::timeout_at(deadline, output.send(piece)).await.is_err();
        }
        let usage = Usage { wall, output_bytes: kept.bytes, ..Usage::default() };
        let status = match why {
            Some(why) => why,
            None if kept.truncated => Status::OutputLimit,
            None => natural(status),
        };
        Ok(Ended { status, usage, truncated: kept.truncated })
    }

    /// Where a directory that commands see really is.
    fn on_host(&self, cwd: &Path) -> PathBuf {
        match self.workspace.as_ref().and_then(|mount| Some((mount, cwd.strip_prefix(&mount.inside).ok()?))) {
            Some((mount, rest)) => mount.host.join(rest),
            None => cwd.to_owned(),
        }
    }
}

fn natural(status: ExitStatus) -> Status {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Exit(code),
        (None, Some(signal)) => Status::Signal(signal),
        (None, None) => Status::Signal(0),
    }
}

fn attest(spec: &Spec) -> Attestation {
    let uid = unistd::geteuid().as_raw();
    Attestation {
        kernel: utsname::uname()
            .map(|names| names.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        host_uid: uid,
        inside_uid: uid,
        workspace_owner: spec
            .workspace
            .as_ref()
            .map_or(WorkspaceOwner::NoWorkspace, |_| WorkspaceOwner::SameUser),
        mounts: vec![MountNote { inside: PathBuf::from("/"), access: MountAccess::ReadWrite }],
        limits: Enforcement { wall: Enforcer::Host, output: Enforcer::Host, ..Enforcement::NONE },
        ..Attestation::unisolated(Backend::None)
    }
}
