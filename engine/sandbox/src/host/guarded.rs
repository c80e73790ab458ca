//! Sandboxes with a guest inside: starts them, drives one command over the channel, takes them down.
//! Trusts the guest for nothing that matters to the host: time, output and death are watched here as well.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{self, Instant},
};

use crate::{
    attestation::{Applied, Attestation},
    contract::{Backend, Ended, Exec, Limits, NotStarted, Output, Spec, Status, Usage, WorkspaceMode},
    docker::{Container, Started},
    error::{ExecError, StartError},
    host::{
        Launcher,
        accounting::Counters,
        channel::{Broken, Incoming, Incomings, Outgoings, Reader, Writer},
        flow::{Cap, Input, Progress},
        outlet::Outlet,
        vessel::{Launched, Vessel},
    },
    machine::Prepared,
    proxy::Proxy,
    wire::{
        Boot, BootBackend, Cause, End, ExitReport, Failure, Frame, Hello, Kind, PROTOCOL_VERSION, Ready,
        Request, StopRequest,
    },
};

mod spare;

/// Time a sandbox may take to become ready.
const START_TIME: Duration = Duration::from_secs(20);

/// How often a machine is started before it counts as not starting: emulated ones hang once in a while.
const BOOTS: u32 = 2;

/// Time a guest may take to empty the private folders.
const RENEWAL_TIME: Duration = Duration::from_secs(5);

/// Time the guest may take beyond what it was given, before it is killed with everything inside.
const PATIENCE: Duration = Duration::from_secs(2);

/// A sandbox with a guest.
pub(super) struct Guarded {
    vessel: Vessel,
    reader: Reader,
    writer: Writer,
    attestation: Attestation,
    limits: Limits,
    last_stream: u32,
    outlet: Outlet,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Busy,
    Over,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vessel, attestation, state, .. } = self;
        out.debug_struct("Guarded")
            .field("vessel", vessel)
            .field("attestation", attestation)
            .field("state", state)
            .finish_non_exhaustive()
    }
}

impl Guarded {
    pub(super) async fn start(
        launcher: &Launcher,
        backend: Backend,
        spec: &Spec,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Self, StartError> {
        if backend == Backend::Microvm {
            return Self::start_machine(launcher, spec, proxy).await;
        }
        let mut sandbox = if backend.is_container() {
            Self::contain(launcher, backend, spec).await?
        } else {
            Self::spawn(launcher, backend, spec)?
        };
        sandbox.outlet = Outlet::new(proxy);
        match time::timeout(START_TIME, sandbox.greet()).await {
            Ok(Ok(())) => Ok(sandbox),
            Ok(Err(error)) => {
                sandbox.end().await;
                Err(error)
            }
            Err(_) => {
                sandbox.end().await;
                Err(StartError::TimedOut)
            }
        }
    }

    async fn start_machine(
        launcher: &Launcher,
        spec: &Spec,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Self, StartError> {
        let mut prepared = Prepared::make(spec).await?;
        let patience = prepared.boot_time();
        for _ in 0..BOOTS {
            let boot = prepared.boot();
            let (machine, incomings, outgoings) = prepared.start(launcher.program())?;
            let vessel = Vessel::Machine(Box::new(machine));
            let mut sandbox = Self::around(Backend::Microvm, vessel, incomings, outgoings, spec.limits);
            sandbox.outlet = Outlet::new(proxy.clone());
            sandbox.writer.queue_json(Kind::Boot, 0, &boot).map_err(StartError::BadSpec)?;
            match time::timeout(patience, sandbox.greet()).await {
                Ok(Ok(())) => return Ok(sandbox),
                Ok(Err(error)) => {
                    sandbox.end().await;
                    return Err(error);
                }
                Err(_) => {
                    sandbox.end().await;
                    let Vessel::Machine(machine) = sandbox.vessel else { break };
                    prepared = machine.into_prepared();
                }
            }
        }
        Err(StartError::TimedOut)
    }

    fn spawn(launcher: &Launcher, backend: Backend, spec: &Spec) -> Result<Self, StartError> {
        if backend == Backend::Bubblewrap
            && spec.workspace.as_ref().is_some_and(|mount| mount.mode == WorkspaceMode::Scratch)
        {
            let what = "a workspace whose changes are thrown away".to_owned();
            return Err(StartError::Unsupported { backend, what });
        }
        let boot = Boot {
            backend: if backend == Backend::Bubblewrap {
                BootBackend::Bubblewrap
            } else {
                BootBackend::Process
            },
            spec: spec.clone(),
            name: unique_name(),
            // Only bubblewrap mounts the program; ours goes on as it is, even if its file was replaced meanwhile.
            guest: match backend {
                Backend::Bubblewrap => launcher
                    .resolved()
                    .map_err(|source| StartError::Spawn { program: launcher.program().to_owned(), source })?,
                _ => launcher.program().to_owned(),
            },
        };
        let (launched, incomings, outgoings) = Launched::spawn(launcher, boot.name.clone())?;
        let vessel = Vessel::Launched(Box::new(launched));
        let mut sandbox = Self::around(backend, vessel, incomings, outgoings, spec.limits);
        sandbox.writer.queue_json(Kind::Boot, 0, &boot).map_err(StartError::BadSpec)?;
        Ok(sandbox)
    }

    fn around(
        backend: Backend,
        vessel: Vessel,
        incomings: Incomings,
        outgoings: Outgoings,
        limits: Limits,
    ) -> Self {
        Self {
            vessel,
            reader: Reader::new(incomings),
            writer: Writer::new(outgoings),
            attestation: Attestation::unisolated(backend),
            limits,
            last_stream: 0,
            outlet: Outlet::default(),
            state: State::Idle,
        }
    }

    async fn contain(launcher: &Launcher, backend: Backend, spec: &Spec) -> Result<Self, StartError> {
        let daemon = launcher.daemon(backend).await?;
        let Started { container, incoming, outgoing, settings } =
            Container::start(daemon, launcher, backend, spec).await?;
        let mut sandbox = Self {
            vessel: Vessel::Container(Box::new(container)),
            reader: Reader::new(Box::new(incoming)),
            writer: Writer::new(Box::new(outgoing)),
            attestation: settings.attestation.clone(),
            limits: spec.limits,
            last_stream: 0,
            outlet: Outlet::default(),
            state: State::Idle,
        };
        sandbox.writer.queue_json(Kind::Boot, 0, &settings).map_err(StartError::BadSpec)?;
        Ok(sandbox)
    }

    async fn greet(&mut self) -> Result<(), StartError> {
        let nonce = nonce();
        let hello = Hello { version: PROTOCOL_VERSION, nonce, network: self.outlet.hosts() };
        self.writer.queue_json(Kind::Hello, 0, &hello).map_err(StartError::Protocol)?;
        self.writer.flush().await;
        let frame = match self.reader.next().await {
            Ok(Incoming::Frame(frame)) => frame,
            Ok(Incoming::Closed) => return Err(StartError::Died(self.vessel.complaint().await)),
            Err(Broken::Frame(error)) => return Err(error.into()),
            Err(Broken::Io(error)) => return Err(StartError::Channel(error)),
        };
        let malformed = |error: serde_json::Error| StartError::Protocol(error.to_string());
        match frame.kind {
            Kind::Ready => {
                let ready: Ready = serde_json::from_slice(&frame.payload).map_err(malformed)?;
                if ready.version != PROTOCOL_VERSION || ready.nonce != nonce {
                    return Err(StartError::Protocol("the answer is not for this greeting".to_owned()));
                }
                if !self.outlet.fits(&ready.attestation.network) {
                    let what = "it does not lead to the hosts it was told".to_owned();
                    return Err(StartError::Protocol(what));
                }
                self.believe(ready.attestation)?;
                self.vessel.learn_groups(ready.control_groups);
                Ok(())
            }
            Kind::Error => Err(serde_json::from_slice::<Failure>(&frame.payload).map_err(malformed)?.into()),
            kind => Err(StartError::Protocol(format!("{kind:?} is no answer to a greeting"))),
        }
    }

    /// Takes over what only the guest can know, and refuses what does not fit the backend. What is known from outside is
    /// not the guest's to say.
    fn believe(&mut self, told: Attestation) -> Result<(), StartError> {
        if !self.attestation.backend.is_container() {
            self.attestation = told;
            return Ok(());
        }
        let backend = self.attestation.backend;
        let lacks = |what| Err(StartError::NotWhatItSays { backend, what });
        match (backend, &told.user_space_kernel) {
            (Backend::Gvisor, None) => {
                return lacks("no gVisor answers in it, whatever the runtime is called");
            }
            (Backend::Gvisor, Some(_)) => {}
            _ if told.landlock_abi.is_none() => return lacks("commands are not confined by Landlock"),
            _ => {}
        }
        if told.cgroup_namespace != Applied::Yes {
            return lacks("the machine's control groups can be seen in it");
        }
        if !self.vessel.is_read_only() {
            return lacks(
                "a file that is shown read-only could be emptied; register this gVisor with `--directfs=false`, or use a \
                 newer one",
            );
        }
        let own = self.attestation.clone();
        self.attestation = Attestation {
            kernel: told.kernel,
            landlock_abi: told.landlock_abi,
            cgroup_namespace: told.cgroup_namespace,
            user_space_kernel: told.user_space_kernel,
            network: told.network,
            ..own
        };
        Ok(())
    }

    pub(super) fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    /// Empties what is private to it, for another command. Says whether it can be used: one that does not answer, or
    /// cannot be emptied, is ended.
    pub(super) async fn renew(&mut self) -> bool {
        if self.state != State::Idle {
            return false;
        }
        self.state = State::Busy;
        let done = match self.writer.queue(Kind::Renew, 0, &[]) {
            Ok(()) => time::timeout(RENEWAL_TIME, self.renewed()).await.unwrap_or(false),
            Err(_) => false,
        };
        if done {
            self.state = State::Idle;
        } else {
            self.end().await;
        }
        done
    }

    async fn renewed(&mut self) -> bool {
        self.writer.flush().await;
        loop {
            match self.reader.next().await {
                Ok(Incoming::Frame(frame)) if frame.kind == Kind::Renewed => return true,
                // Late words about an earlier command.
                Ok(Incoming::Frame(frame)) if frame.kind != Kind::Error => {}
                Ok(Incoming::Frame(_) | Incoming::Closed) | Err(_) => return false,
            }
        }
    }

    pub(super) async fn exec(
        &mut self,
        exec: Exec,
        input: Option<mpsc::Receiver<Vec<u8>>>,
        output: &mpsc::Sender<Output>,
        cancel: impl Future<Output = ()>,
    ) -> Result<Ended, ExecError> {
        match self.state {
            State::Idle => self.state = State::Busy,
            State::Busy => return Err(ExecError::Abandoned),
            State::Over => return Err(ExecError::Died),
        }
        self.outlet.begin();
        let outcome = self.carry_through(exec, input, output, cancel).await;
        self.outlet.clear().await;
        match &outcome {
            Ok(Driven::Whole(_)) | Err(ExecError::Refused { .. } | ExecError::BadCommand(_)) => {
                self.state = State::Idle;
            }
            Ok(Driven::Broken(_)) | Err(_) => self.end().await,
        }
        outcome.map(|driven| match driven {
            Driven::Whole(ended) | Driven::Broken(ended) => ended,
        })
    }

    /// One command, with the workspace brought in before and out after it.
    async fn carry_through(
        &mut self,
        exec: Exec,
        input: Option<mpsc::Receiver<Vec<u8>>>,
        output: &mpsc::Sender<Output>,
        cancel: impl Future<Output = ()>,
    ) -> Result<Driven, ExecError> {
        self.vessel.before_command().await?;
        let mut driven = self.drive(exec, input, output, cancel).await?;
        if let Driven::Whole(ended) = &mut driven {
            self.vessel.after_command(ended).await?;
        }
        Ok(driven)
    }

    async fn drive(
        &mut self,
        exec: Exec,
        input: Option<mpsc::Receiver<Vec<u8>>>,
        output: &mpsc::Sender<Output>,
        cancel: impl Future<Output = ()>,
    ) -> Result<Driven, ExecError> {
        self.last_stream = self.last_stream.wrapping_add(1);
        let stream = self.last_stream;
        let wall = exec.wall.map_or(self.limits.wall, |wall| wall.min(self.limits.wall));
        let grace = self.limits.grace;
        let request = Request {
            argv: exec.argv,
            env: exec.env,
            cwd: exec.cwd,
            stdin: exec.stdin.is_some() || input.is_some(),
            wall_ms: millis(wall),
            grace_ms: millis(grace),
            output_bytes: self.limits.output_bytes,
        };
        self.writer.queue_json(Kind::Exec, stream, &request).map_err(ExecError::BadCommand)?;
        let before = self.vessel.counters();
        let started = Instant::now();
        let mut input = Input::new(exec.stdin, input);
        let mut progress = Progress { kept: 0, cap: self.limits.output_bytes, pending: None };
        let mut asked: Option<Status> = None;
        let mut timer = far(started, wall);
        let mut cancel = pin!(cancel);
        loop {
            if self.writer.is_idle() {
                // Both offer only to a writer that is idle, so they take turns.
                if self.outlet.goes_first() {
                    self.outlet.offer(&mut self.writer)?;
                }
                input.offer(stream, &mut self.writer)?;
                self.outlet.offer(&mut self.writer)?;
            }
            let waiting = !self.writer.is_idle();
            let holding = progress.pending.is_some();
            tokio::select! {
                incoming = self.reader.next(), if !holding => match incoming {
                    Ok(Incoming::Frame(frame)) if frame.kind.is_egress() => self.outlet.take(&frame)?,
                    Ok(Incoming::Frame(frame)) if frame.stream == stream => match frame.kind {
                        Kind::Stdout | Kind::Stderr => {
                            if progress.take(frame) == Cap::Exceeded {
                                let usage = Usage { wall: started.elapsed(), output_bytes: progress.kept, ..Usage::default() };
                                if let Some(rest) = progress.pending.take() {
                                    drop(output.send_timeout(rest, PATIENCE).await);
                                }
                                return Ok(Driven::Broken(Ended { status: Status::OutputLimit, usage, truncated: true }));
                            }
                        }
                        Kind::StdinCredit => input.grant(&frame.payload)?,
                        Kind::Exit => {
                            let report: ExitReport = parse(&frame)?;
                            let counted = self.vessel.counters().since(before);
                            return Ok(Driven::Whole(conclude(&report, asked, counted)));
                        }
                        Kind::Error => return Err(parse::<Failure>(&frame)?.into()),
                        kind => return Err(ExecError::Protocol(format!("a guest does not send {kind:?}"))),
                    },
                    Ok(Incoming::Frame(frame)) if frame.kind == Kind::Error => {
                        return Err(parse::<Failure>(&frame)?.into());
                    }
                    // Late words about an earlier command.
                    Ok(Incoming::Frame(_)) => {}
                    Ok(Incoming::Closed) => {
                        let counted = self.vessel.last_counters(before).await.since(before);
                        let status = match asked {
                            Some(status) => status,
                            None if counted.memory_kills > 0 => Status::MemoryLimit,
                            None => return Err(ExecError::Died),
                        };
                        return Ok(Driven::Broken(broken(status, started, &progress, counted)));
                    }
                    Err(Broken::Frame(error)) => return Err(error.into()),
                    Err(Broken::Io(error)) => return Err(ExecError::Channel(error)),
                },
                permit = output.reserve(), if holding => {
                    if let (Ok(permit), Some(held)) = (permit, progress.pending.take()) {
                        permit.send(held);
                    } else {
                        progress.pending = None;
                    }
                }
                () = self.writer.progress(), if waiting => {}
                () = input.more(), if input.wants_more() => {}
                () = self.outlet.changed() => {}
                () = cancel.as_mut(), if asked.is_none() => {
                    asked = Some(Status::Cancelled);
                    timer = self.ask_to_stop(stream, grace)?;
                }
                () = time::sleep_until(timer) => match asked.take() {
                    None => {
                        asked = Some(Status::TimedOut);
                        timer = self.ask_to_stop(stream, grace)?;
                    }
                    // The guest had its time. Its outside parent goes, and with it everything inside.
                    Some(status) => {
                        return Ok(Driven::Broken(broken(status, started, &progress, Counters::default())));
                    }
                },
            }
        }
    }

    fn ask_to_stop(&mut self, stream: u32, grace: Duration) -> Result<Instant, ExecError> {
        let request = StopRequest { grace_ms: millis(grace) };
        self.writer.queue_json(Kind::Kill, stream, &request).map_err(ExecError::Protocol)?;
        Ok(far(Instant::now(), grace.saturating_add(self.vessel.patience())))
    }

    pub(super) async fn stop(mut self) {
        self.end().await;
    }

    /// Closes the channel, which ends the guest and all it runs; kills what does not obey.
    async fn end(&mut self) {
        self.state = State::Over;
        self.writer.close();
        self.vessel.end(&mut self.reader).await;
    }
}

/// How a command was carried through.
enum Driven {
    /// The sandbox can run another.
    Whole(Ended),
    /// The command is over because the sandbox is.
    Broken(Ended),
}

fn conclude(report: &ExitReport, asked: Option<Status>, counted: Counters) -> Ended {
    // A machine counts for itself, because nobody else can.
    let memory_kills = counted.memory_kills.max(report.usage.memory_kills);
    let natural = match report.end {
        End::Signal(libc::SIGKILL) if memory_kills > 0 => Status::MemoryLimit,
        End::Exit(code) => Status::Exit(code),
        End::Signal(signal) => Status::Signal(signal),
        End::NotExecuted(libc::ENOENT) => Status::NotStarted(NotStarted::ProgramNotFound),
        End::NotExecuted(errno) => Status::NotStarted(NotStarted::NotExecutable { errno }),
        End::NoWorkingDirectory(errno) => Status::NotStarted(NotStarted::WorkingDirectory { errno }),
    };
    let status = match report.cause {
        // It ended by itself, perhaps just before we asked it to.
        None => natural,
        Some(Cause::Asked) => asked.unwrap_or(Status::Cancelled),
        Some(Cause::Wall) => Status::TimedOut,
        Some(Cause::Output) => Status::OutputLimit,
        Some(Cause::Memory) => Status::MemoryLimit,
    };
    let usage = Usage { memory_kills, refused_pids: counted.refused_pids, ..report.usage };
    Ended { status, usage, truncated: report.truncated }
}

fn broken(status: Status, started: Instant, progress: &Progress, counted: Counters) -> Ended {
    let usage = Usage {
        wall: started.elapsed(),
        output_bytes: progress.kept,
        memory_kills: counted.memory_kills,
        refused_pids: counted.refused_pids,
        ..Usage::default()
    };
    // Output that was still under way is lost with the sandbox.
    Ended { status, usage, truncated: true }
}

fn parse<T: serde::de::DeserializeOwned>(frame: &Frame) -> Result<T, ExecError> {
    serde_json::from_slice(&frame.payload).map_err(|error| ExecError::Protocol(error.to_string()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A moment to wait for, even if it would lie beyond what the clock can say.
pub(super) fn far(from: Instant, after: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_hours(24 * 365 * 100);
    from.checked_add(after.min(CENTURY)).unwrap_or(from)
}

/// A name for control groups that no other sandbox of this host has now.
fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("blueprint-{}-{number}", std::process::id())
}

/// A number that no earlier conversation can have used. It need not be secret: nothing but the guest can
/// write to the channel.
fn nonce() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
