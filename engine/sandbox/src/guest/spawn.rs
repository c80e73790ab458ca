//! Creates the process of a command and confines it before it runs its program.
//! If any measure cannot be put in place the program is not run, and the host is told which.

use std::{
    ffi::CString,
    fs::File,
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use libc::sock_filter;
use nix::{
    errno::Errno,
    fcntl::{self, OFlag},
    sched::{self, CpuSet},
    sys::{
        prctl,
        resource::{self, Resource},
        stat::Mode,
    },
    unistd::{self, Gid, Pid, Uid},
};
use serde::{Deserialize, Serialize};

use crate::{
    attestation::{Enforcement, Enforcer},
    contract::{HostIds, Limits},
    guest::{channel, confine::Rules},
    kernel::{self, Side},
    launcher::{During, fault},
    wire::{End, Failure, Request, Stage},
};

/// Where programs are looked for when the environment names no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What is put on every command.
#[derive(Debug)]
pub(super) struct Confinement {
    pub(super) limits: Limits,
    /// Whom to become; `None` is who we are.
    pub(super) enforcement: Enforcement,
    pub(super) rules: Rules,
    pub(super) filter: Vec<sock_filter>,
    /// Whether commands are a user that others on the machine may be as well.
    pub(super) shared_user: bool,
    /// Who commands become, if not who we are.
    pub(super) step: Option<HostIds>,
    /// Signals that commands must be given back.
    pub(super) unusual_signals: Vec<libc::c_int>,
}

/// A command that runs.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) main: Pid,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Why a command does not run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum NotSpawned {
    /// Because of the command.
    Command(End),
    /// Because of the sandbox.
    Sandbox(Failure),
}

impl From<Failure> for NotSpawned {
    fn from(failure: Failure) -> Self {
        Self::Sandbox(failure)
    }
}

/// The program in the form `exec` takes it.
struct Program {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
}

impl Program {
    fn of(request: &Request) -> Result<Self, Failure> {
        let bytes = |text: String| {
            CString::new(text).map_err(|_| fault(Stage::Protocol, "the command contains a NUL byte"))
        };
        let Some(name) = request.argv.first() else {
            return Err(fault(Stage::Protocol, "the command names no program"));
        };
        let candidates = if name.contains('/') || name.is_empty() {
            vec![bytes(name.clone())?]
        } else {
            let path = request.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
            path.split(':')
                .map(|dir| bytes(if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") }))
                .collect::<Result<_, _>>()?
        };
        let cwd = request.cwd.to_str().ok_or_else(|| fault(Stage::Protocol, "the directory is not text"))?;
        Ok(Self {
            candidates,
            argv: request.argv.iter().cloned().map(bytes).collect::<Result<_, _>>()?,
            env: request.env.iter().map(|(k, v)| bytes(format!("{k}={v}"))).collect::<Result<_, _>>()?,
            cwd: bytes(cwd.to_owned())?,
        })
    }

    /// Becomes the program, or says why not.
    fn execute(&self) -> End {
        let mut worst = Errno::ENOENT;
        for candidate in &self.candidates {
            match unistd::execve(candidate, &self.argv, &self.env) {
                Ok(never) => match never {},
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                // As shells do: something that cannot be run does not hide a program further on.
                Err(Errno::EACCES) => worst = Errno::EACCES,
                Err(errno) => return End::NotExecuted(errno as i32),
            }
        }
        End::NotExecuted(worst as i32)
    }
}

/// Runs a command.
pub(super) fn spawn(request: &Request, confinement: &Confinement) -> Result<Spawned, NotSpawned> {
    let program = Program::of(request)?;
    let pipe = || unistd::pipe2(OFlag::O_CLOEXEC).during(Stage::Spawn, "no pipe can be made");
    let (verdict_read, verdict_write) = pipe()?;
    let made_for = Acting::as_user(confinement.step)?;
    let (stdout, out) = pipe()?;
    let (stderr, err) = pipe()?;
    let (input, stdin) = if request.stdin {
        let (read, write) = pipe()?;
        (read, Some(write))
    } else {
        let null = fcntl::open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .during(Stage::Spawn, "`/dev/null` cannot be opened")?;
        (null, None)
    };
    made_for.end()?;
    let mut child = || {
        let pipes = [input.as_fd(), out.as_fd(), err.as_fd()];
        let reason = match confine(&program, confinement, pipes) {
            Ok(end) => NotSpawned::Command(end),
            Err(reason) => reason,
        };
        let message = serde_json::to_vec(&reason).unwrap_or_default();
        let told = unistd::write(&verdict_write, &message);
        if told == Ok(message.len()) { 126 } else { 125 }
    };
    // Where the command becomes another user, no command can reach us by what it shares with us for this moment; and there
    // the kernel is one that copies memory slowly. Elsewhere a copy keeps us from being what may be traced.
    let main = if confinement.step.is_some() {
        kernel::fork_borrowing(&mut child)
    } else {
        kernel::fork().map(|side| match side {
            Side::Child => kernel::exit_now(child()),
            Side::Parent(main) => main,
        })
    };
    let main = main.during(Stage::Spawn, "no process can be created")?;
    drop((verdict_write, input, out, err));
    let mut verdict = Vec::new();
    File::from(verdict_read).read_to_end(&mut verdict).during(Stage::Spawn, "the verdict is unreadable")?;
    if !verdict.is_empty() {
        return Err(serde_json::from_slice(&verdict)
            .unwrap_or_else(|_| fault(Stage::Spawn, "the verdict is unreadable").into()));
    }
    for fd in [Some(stdout.as_fd()), Some(stderr.as_fd()), stdin.as_ref().map(AsFd::as_fd)] {
        fd.map_or(Ok(()), channel::set_nonblocking).during(Stage::Spawn, "a pipe cannot be prepared")?;
    }
    Ok(Spawned { main, stdin, stdout, stderr })
}

/// The new process's part. Returns only if the program does not run. It may have borrowed its memory from the guest, so it
/// must not change what the guest relies on.
fn confine(
    program: &Program,
    confinement: &Confinement,
    pipes: [BorrowedFd<'_>; 3],
) -> Result<End, NotSpawned> {
    kernel::default_signals(&confinement.unusual_signals);
    unistd::setsid().during(Stage::Privileges, "no session can be made")?;
    if confinement.step.is_none() {
        prefer_as_victim();
    }
    let [input, out, err] = pipes;
    unistd::dup2_stdin(input).during(Stage::Spawn, "the input cannot be connected")?;
    unistd::dup2_stdout(out).during(Stage::Spawn, "the output cannot be connected")?;
    unistd::dup2_stderr(err).during(Stage::Spawn, "the output cannot be connected")?;
    if let Err(errno) = unistd::chdir(program.cwd.as_c_str()) {
        return Ok(End::NoWorkingDirectory(errno as i32));
    }
    lower_limits(confinement)?;
    kernel::close_others_on_exec().during(Stage::Privileges, "files cannot be closed")?;
    if let Some(ids) = confinement.step {
        become_step(ids)?;
    }
    kernel::keep_capabilities(&[]).during(Stage::Privileges, "capabilities cannot be dropped")?;
    prctl::set_no_new_privs().during(Stage::Privileges, "gaining privileges cannot be ruled out")?;
    confinement.rules.apply()?;
    kernel::filter_system_calls(&confinement.filter).during(Stage::Seccomp, "the filter cannot be set")?;
    Ok(program.execute())
}

/// Acting as the command's user for a moment: a pipe belongs to whoever made it, and the command opens its own again
/// by name (`/dev/stdout`).
struct Acting(Option<Uid>);

impl Acting {
    fn as_user(step: Option<HostIds>) -> Result<Self, Failure> {
        let Some(ids) = step else { return Ok(Self(None)) };
        let own = Uid::effective();
        unistd::seteuid(Uid::from_raw(ids.uid))
            .during(Stage::Spawn, "a pipe cannot be made for the command")?;
        Ok(Self(Some(own)))
    }

    fn end(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), unistd::seteuid).during(Stage::Spawn, "the guest cannot be itself again")
    }
}

fn become_step(ids: HostIds) -> Result<(), Failure> {
    let what = "the command's user cannot be assumed";
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    // Only who may do everything may rule out that it is ever done again.
    kernel::bound_capabilities(&[]).during(Stage::Privileges, "capabilities cannot be dropped")?;
    unistd::setgroups(&[]).during(Stage::Privileges, what)?;
    unistd::setresgid(gid, gid, gid).during(Stage::Privileges, what)?;
    unistd::setresuid(uid, uid, uid).during(Stage::Privileges, what)
}

/// When memory runs out the kernel should end a command rather than the guest. Where it cannot be arranged
/// the largest process goes, which is not the guest either.
fn prefer_as_victim() {
    if prctl::set_dumpable(true).is_ok() {
        drop(std::fs::write("/proc/self/oom_score_adj", "500"));
    }
}

fn lower_limits(confinement: &Confinement) -> Result<(), Failure> {
    let limits = &confinement.limits;
    // The guest counts as one. Where the user is one of the whole machine, so would be everybody else's processes.
    let tasks = (!confinement.shared_user).then(|| (Resource::RLIMIT_NPROC, u64::from(limits.pids) + 1));
    let fixed = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, limits.file_bytes),
        (Resource::RLIMIT_NOFILE, limits.open_files),
    ];
    for (what, value) in fixed.into_iter().chain(tasks) {
        let detail = format!("{what:?}");
        let (_, hard) = resource::getrlimit(what).during(Stage::ResourceLimits, &detail)?;
        let value = value.min(hard);
        resource::setrlimit(what, value, value).during(Stage::ResourceLimits, &detail)?;
    }
    if confinement.enforcement.cpus == Enforcer::CpuAffinity {
        let what = "the processors cannot be limited";
        let this = Pid::from_raw(0);
        let allowed = sched::sched_getaffinity(this).during(Stage::ResourceLimits, what)?;
        let wanted = limits.cpus.ceil().max(1.0) as usize;
        let mut chosen = CpuSet::new();
        for cpu in (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).take(wanted) {
            chosen.set(cpu).during(Stage::ResourceLimits, what)?;
        }
        sched::sched_setaffinity(this, &chosen).during(Stage::ResourceLimits, what)?;
    }
    Ok(())
}
