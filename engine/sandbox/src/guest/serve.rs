//! The guest's loop: frames from the host, ends of processes, clocks and pipes, one at a time.
//! It must never wait for any one of them, and ends the sandbox as soon as the host is gone.

use std::{
    ffi::OsStr,
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{self, OFlag},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        stat::Mode,
        utsname,
    },
    unistd::{self, Pid},
};
use serde::{Deserialize, Serialize};

use crate::{
    attestation::{Applied, Attestation, Enforcer, Network},
    contract::{HostIds, Limits, Usage},
    guest::{
        channel::{Channel, Host},
        command::Command,
        confine::{Rules, enforced_abi},
        egress::{Egress, Turn},
        renew::{self, Bearings},
        seccomp::{self, Affinity},
        spawn::{self, Confinement, NotSpawned},
        watch,
    },
    kernel::{self, Patience},
    launcher::{During, fault},
    machine::Interior,
    wire::{
        Cause, ExitReport, Failure, Frame, Hello, Kind, PROTOCOL_VERSION, Ready, Request, SignalRequest,
        Stage, StopRequest,
    },
};

/// A folder of the host that is shown read-only to prove that this means something.
pub(crate) const CANARY: &str = "/.canary";

/// The file in it that the guest tries to empty.
pub(crate) const CANARY_FILE: &str = "whole";

/// What the guest must know about the sandbox it is in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) attestation: Attestation,
    pub(crate) control_groups: Vec<PathBuf>,
    pub(crate) outer_cgroup_namespace: PathBuf,
    /// Who commands are, where that is not who the guest is: it keeps what it takes to become them and to kill them.
    #[serde(default)]
    pub(crate) step: Option<HostIds>,
}

/// The release of the running kernel.
pub(crate) fn kernel_release() -> String {
    utsname::uname().map(|names| names.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Serves inside a sandbox that another program built. The builder left its description in a file in memory
/// and names its number.
pub(crate) fn serve_inside(number: &OsStr) -> Result<ExitCode, Failure> {
    let what = "nothing is known about this sandbox";
    let text = fs::read(Path::new("/proc/self/fd").join(number)).during(Stage::Boot, what)?;
    let mut settings: Settings =
        serde_json::from_slice(&text).map_err(|error| fault(Stage::Boot, format!("{what}: {error}")))?;
    let facts = &mut settings.attestation;
    facts.landlock_abi = Some(enforced_abi()?);
    facts.inside_uid = unistd::geteuid().as_raw();
    let own = control_group_namespace().during(Stage::Namespaces, "the namespaces cannot be told apart")?;
    facts.cgroup_namespace = if own == settings.outer_cgroup_namespace { Applied::No } else { Applied::Yes };
    Ok(serve(settings, None))
}

/// Serves inside a sandbox that another program built and carried us into. The host tells what is known about it.
pub(crate) fn serve_carried(mut settings: Settings) -> Result<ExitCode, Failure> {
    // The host looks whether this changed anything; from in here a lie looks like a refusal.
    drop(
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(Path::new(CANARY).join(CANARY_FILE)),
    );
    let facts = &mut settings.attestation;
    facts.kernel = kernel_release();
    facts.user_space_kernel = kernel::first_words().filter(|words| words.contains("gVisor"));
    // That kernel has no Landlock, and no file of the machine that could be reached by its absence.
    facts.landlock_abi = if facts.user_space_kernel.is_some() { None } else { Some(enforced_abi()?) };
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let hidden = !groups.is_empty() && groups.lines().all(|line| line.ends_with(":/"));
    facts.cgroup_namespace =
        if hidden || facts.user_space_kernel.is_some() { Applied::Yes } else { Applied::No };
    Ok(serve(settings, None))
}

/// A name for this process's control group namespace.
pub(crate) fn control_group_namespace() -> io::Result<PathBuf> {
    fs::read_link("/proc/self/ns/cgroup")
}

/// Serves the host until it is gone. In a machine there is more to do around commands.
pub(crate) fn serve(settings: Settings, interior: Option<Interior>) -> ExitCode {
    let mut guest = match Guest::prepare(settings, interior) {
        Ok(guest) => guest,
        Err(failure) => {
            crate::launcher::report(&failure);
            return ExitCode::FAILURE;
        }
    };
    match guest.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            guest.channel.send_json(Kind::Error, 0, &failure);
            // The host may not be listening any more; the closed channel tells it as well.
            let _ = guest.channel.flush();
            ExitCode::FAILURE
        }
    }
}

struct Guest {
    settings: Settings,
    confinement: Confinement,
    channel: Channel,
    ended: SignalFd,
    command: Option<Command>,
    bearings: Bearings,
    interior: Option<Interior>,
    egress: Egress,
    turn: Turn,
    next_watch: Instant,
}

impl Guest {
    fn prepare(settings: Settings, interior: Option<Interior>) -> Result<Self, Failure> {
        // Ending a command means killing every process we can see. Only as the first process of a namespace
        // are those ours alone.
        if unistd::getpid() != Pid::from_raw(1) {
            return Err(fault(Stage::Guest, "the guest is not the first process of its sandbox"));
        }
        // Commands run as the same user: without this they could read our memory and write our pipes.
        prctl::set_dumpable(false).during(Stage::Guest, "the guest cannot be protected")?;
        // In a machine of its own it needs all of them, to take in and give back the workspace.
        if interior.is_none() {
            let kept: &[u32] = if settings.step.is_some() { &kernel::BECOME_ANOTHER } else { &[] };
            kernel::keep_capabilities(kept).during(Stage::Privileges, "capabilities cannot be dropped")?;
        }
        prctl::set_no_new_privs().during(Stage::Privileges, "gaining privileges cannot be ruled out")?;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.thread_block().during(Stage::Guest, "signals cannot be awaited")?;
        let ended = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .during(Stage::Guest, "signals cannot be awaited")?;
        let what = "the channel cannot be opened";
        let null = fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
            .during(Stage::Guest, "`/dev/null` cannot be opened")?;
        let input = io::stdin().as_fd().try_clone_to_owned().during(Stage::Guest, what)?;
        let output = io::stdout().as_fd().try_clone_to_owned().during(Stage::Guest, what)?;
        // The channel lives on numbers that are closed on `exec`; the usual three lead nowhere.
        unistd::dup2_stdin(&null).during(Stage::Guest, what)?;
        unistd::dup2_stdout(&null).during(Stage::Guest, what)?;
        unistd::dup2_stderr(&null).during(Stage::Guest, what)?;
        let channel = Channel::new(input, output).during(Stage::Guest, what)?;
        let enforcement = settings.attestation.limits;
        let affinity =
            if enforcement.cpus == Enforcer::CpuAffinity { Affinity::Fixed } else { Affinity::Free };
        let confinement = Confinement {
            limits: settings.limits,
            enforcement,
            rules: Rules::prepare(&settings.attestation)?,
            shared_user: settings.attestation.runtime.is_some(),
            step: settings.step,
            filter: seccomp::program(affinity),
            unusual_signals: kernel::unusual_signals(),
        };
        Ok(Self {
            settings,
            confinement,
            channel,
            ended,
            command: None,
            bearings: Bearings::take(),
            interior,
            egress: Egress::default(),
            turn: Turn::default(),
            next_watch: Instant::now(),
        })
    }

    fn run(&mut self) -> Result<(), Failure> {
        loop {
            let ready = self.wait()?;
            if ready.host && self.channel.receive() == Host::Gone {
                return Ok(());
            }
            while let Some(frame) =
                self.channel.next_frame().map_err(|error| fault(Stage::Protocol, error))?
            {
                self.handle(&frame)?;
            }
            self.collect()?;
            self.watch_memory();
            if let Some(command) = &mut self.command {
                command.tick(Instant::now());
                // Whoever goes first may fill the channel, so they take turns.
                let turn = self.turn.pass();
                if turn == Turn::Egress {
                    self.egress.pump(&mut self.channel)?;
                }
                command.pump(&mut self.channel);
                if turn == Turn::Command {
                    self.egress.pump(&mut self.channel)?;
                }
                if let Some(mut report) = command.report() {
                    // Nothing of the command is left, so nobody is kept waiting and nothing changes meanwhile.
                    if let Some(interior) = &mut self.interior {
                        interior.after_command(&mut report)?;
                    }
                    // Its connections are those of the dead; the host ends its side of them with the report.
                    self.egress.forget();
                    self.channel.send_json(Kind::Exit, command.stream(), &report);
                    self.command = None;
                }
            }
            if self.channel.flush() == Host::Gone {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> Result<Awake, Failure> {
        let mut files = vec![
            PollFd::new(self.channel.input(), PollFlags::POLLIN),
            PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
        ];
        if !self.channel.is_empty() {
            files.push(PollFd::new(self.channel.output(), PollFlags::POLLOUT));
        }
        let mut timer = None;
        if let Some(command) = &self.command {
            if self.channel.has_room() {
                files.extend(command.readable().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            }
            files.extend(command.writable().map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
            files.extend(self.egress.awaited(self.channel.has_room()));
            timer = command.next_timer();
            if self.watches_memory() {
                timer = Some(timer.map_or(self.next_watch, |at| at.min(self.next_watch)));
            }
        }
        let timeout = timer.map_or(PollTimeout::NONE, |at| {
            // Rounded up, so that we do not spin through the last millisecond.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut files, timeout) {
            Ok(_) => Ok(Awake { host: files.first().and_then(PollFd::any).unwrap_or(false) }),
            Err(Errno::EINTR) => Ok(Awake { host: false }),
            Err(errno) => Err(errno).during(Stage::Guest, "nothing can be awaited"),
        }
    }

    fn handle(&mut self, frame: &Frame) -> Result<(), Failure> {
        match frame.kind {
            Kind::Hello => {
                let hello: Hello = parse(frame)?;
                if hello.version != PROTOCOL_VERSION {
                    return Err(fault(Stage::Protocol, format!("version {} is not ours", hello.version)));
                }
                if !hello.network.is_empty() {
                    self.egress = Egress::listen()?;
                    self.settings.attestation.network = Network::Proxied { hosts: hello.network };
                }
                let ready = Ready {
                    version: PROTOCOL_VERSION,
                    nonce: hello.nonce,
                    attestation: self.settings.attestation.clone(),
                    control_groups: self.settings.control_groups.clone(),
                };
                self.channel.send_json(Kind::Ready, 0, &ready);
            }
            Kind::Exec => {
                let request: Request = parse(frame)?;
                self.execute(frame.stream, &request);
            }
            Kind::EgressData | Kind::EgressCredit | Kind::EgressClose | Kind::EgressReset => {
                self.egress.handle(frame)?;
            }
            Kind::Renew if self.command.is_some() => {
                return Err(fault(Stage::Protocol, "a command is running"));
            }
            Kind::Renew => {
                renew::renew(&self.bearings)?;
                self.channel.send(Kind::Renewed, 0, &[]);
            }
            Kind::Ping => self.channel.send(Kind::Pong, frame.stream, &frame.payload),
            Kind::Stdin | Kind::StdinClose | Kind::Signal | Kind::Kill => self.pass_on(frame)?,
            _ => return Err(fault(Stage::Protocol, format!("a host does not send {:?}", frame.kind))),
        }
        Ok(())
    }

    /// Frames for a command. One that has just ended needs them no more.
    fn pass_on(&mut self, frame: &Frame) -> Result<(), Failure> {
        let Some(command) = self.command.as_mut().filter(|command| command.stream() == frame.stream) else {
            return Ok(());
        };
        match frame.kind {
            Kind::Stdin => command.take_input(&frame.payload),
            Kind::StdinClose => command.end_input(),
            Kind::Signal => command.signal(parse::<SignalRequest>(frame)?.signal),
            _ => {
                let stop: StopRequest = parse(frame)?;
                command.stop(Cause::Asked, Duration::from_millis(stop.grace_ms));
            }
        }
        Ok(())
    }

    fn execute(&mut self, stream: u32, request: &Request) {
        if self.command.is_some() {
            self.channel.send_json(
                Kind::Error,
                stream,
                &fault(Stage::Protocol, "a command is already running"),
            );
            return;
        }
        if let Some(Err(failure)) = self.interior.as_mut().map(Interior::before_command) {
            self.channel.send_json(Kind::Error, stream, &failure);
            return;
        }
        match spawn::spawn(request, &self.confinement) {
            Ok(spawned) => {
                self.command = Some(Command::new(stream, spawned, request));
                self.next_watch = Instant::now() + watch::INTERVAL;
            }
            Err(NotSpawned::Command(end)) => {
                let report = ExitReport { end, cause: None, truncated: false, usage: Usage::default() };
                self.channel.send_json(Kind::Exit, stream, &report);
            }
            Err(NotSpawned::Sandbox(failure)) => self.channel.send_json(Kind::Error, stream, &failure),
        }
    }

    /// Collects every process that ended, the command's and those it left to us.
    fn collect(&mut self) -> Result<(), Failure> {
        while matches!(self.ended.read_signal(), Ok(Some(_))) {}
        loop {
            match kernel::reap(Patience::Poll) {
                Ok(Some(reaped)) => {
                    if let Some(command) = &mut self.command {
                        command.note(reaped).during(Stage::Guest, "processes cannot be collected")?;
                    }
                }
                Ok(None) | Err(Errno::ECHILD) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).during(Stage::Guest, "processes cannot be collected"),
            }
        }
    }

    fn watches_memory(&self) -> bool {
        self.confinement.enforcement.memory == Enforcer::GuestWatch
    }

    fn watch_memory(&mut self) {
        let now = Instant::now();
        if !self.watches_memory() || now < self.next_watch {
            return;
        }
        self.next_watch = now + watch::INTERVAL;
        let limit = self.confinement.limits.memory_bytes;
        if let Some(command) = &mut self.command
            && watch::memory_in_use() > limit
        {
            command.stop(Cause::Memory, Duration::ZERO);
        }
    }
}

/// What was worth waking up for, where it makes a difference.
struct Awake {
    host: bool,
}

fn parse<T: serde::de::DeserializeOwned>(frame: &Frame) -> Result<T, Failure> {
    serde_json::from_slice(&frame.payload)
        .map_err(|error| fault(Stage::Protocol, format!("{:?} is malformed: {error}", frame.kind)))
}
