//! The process between the engine and an emulator: gives it another identity and its files, and outlives neither.
//! It waits for one of them to go; nothing the emulator does can keep it from killing the emulator.

use std::{
    convert::Infallible,
    ffi::CString,
    io::{self, IoSliceMut, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
    process::ExitCode,
};

use nix::{
    cmsg_space,
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{self, SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        socket::{ControlMessageOwned, MsgFlags, recvmsg},
        stat::Mode,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{self, Gid, Pid, Uid, getpid, getppid},
};
use serde::{Deserialize, Serialize};

use super::qemu::FIRST_FILE;
use crate::{
    contract::HostIds,
    kernel::{self, Side},
    launcher::{During, fault},
    wire::{Failure, Stage},
};

/// The word that makes the program this process.
pub(crate) const ENTRY: &str = "hypervisor";

/// Most bytes an order may have.
const MAX_ORDER_BYTES: usize = 64 << 10;

/// Most files an emulator is given.
const MAX_FILES: usize = 24;

/// Where files wait until they get their numbers.
const WAITING: RawFd = 100;

/// What to start. The files come with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) program: PathBuf,
    pub(super) words: Vec<String>,
    /// Whom the emulator runs as if we are root.
    pub(super) ids: HostIds,
    /// The only group it is in besides.
    pub(super) group: Option<u32>,
}

/// Starts the emulator and waits until it or the engine is gone.
pub(crate) fn supervise() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure);
            ExitCode::FAILURE
        }
    }
}

/// The channel belongs to the machine, so the engine reads this instead.
fn tell(failure: &Failure) {
    let reason =
        failure.errno.map(|errno| format!(": {}", Errno::from_raw(errno).desc())).unwrap_or_default();
    drop(writeln!(io::stderr(), "{}{reason}", failure.detail));
}

fn run() -> Result<(), Failure> {
    let (order, files) = receive()?;
    prctl::set_dumpable(false).during(Stage::Guest, "the emulator's parent cannot be protected")?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().during(Stage::Guest, "signals cannot be awaited")?;
    let ended = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .during(Stage::Guest, "signals cannot be awaited")?;
    let parent = getpid();
    match kernel::fork().during(Stage::Guest, "no process can be created")? {
        Side::Child => {
            let Err(failure) = become_emulator(&order, files, parent);
            tell(&failure);
            kernel::exit_now(1)
        }
        Side::Parent(emulator) => {
            drop(files);
            watch(emulator, &ended)
        }
    }
}

/// The order and the files. The other end of standard input is the engine's life.
fn receive() -> Result<(Order, Vec<OwnedFd>), Failure> {
    let what = "the order for a machine cannot be read";
    let mut bytes = vec![0; MAX_ORDER_BYTES];
    let mut space = cmsg_space!([RawFd; MAX_FILES]);
    let (count, files) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<()>(io::stdin().as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
                .during(Stage::Boot, what)?;
        let files = message.cmsgs().during(Stage::Boot, what)?.flat_map(|control| match control {
            ControlMessageOwned::ScmRights(files) => files,
            _ => Vec::new(),
        });
        (message.bytes, files.map(kernel::adopt).collect::<Vec<_>>())
    };
    let order = serde_json::from_slice(bytes.get(..count).unwrap_or_default())
        .map_err(|error| fault(Stage::Boot, format!("{what}: {error}")))?;
    Ok((order, files))
}

fn watch(emulator: Pid, ended: &SignalFd) -> Result<(), Failure> {
    let stdin = io::stdin();
    loop {
        let mut files =
            [PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        match poll(&mut files, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).during(Stage::Guest, "nothing can be awaited"),
        }
        // The engine says nothing more: whatever is heard is its end.
        if files.first().and_then(PollFd::any).unwrap_or(false) {
            let _ = signal::kill(emulator, Signal::SIGKILL);
            return waitpid(emulator, None).map(drop).during(Stage::Guest, "the emulator cannot be awaited");
        }
        while matches!(ended.read_signal(), Ok(Some(_))) {}
        match waitpid(emulator, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

fn become_emulator(order: &Order, files: Vec<OwnedFd>, parent: Pid) -> Result<Infallible, Failure> {
    let what = "the emulator's files cannot be handed over";
    kernel::default_signals(&kernel::unusual_signals());
    kernel::close_others_on_exec().during(Stage::Guest, what)?;
    let null =
        open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).during(Stage::Guest, what)?;
    // Out of the way first, so that every number they are to get is free.
    let waiting = files
        .iter()
        .map(|file| fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(WAITING)).map(kernel::adopt))
        .collect::<nix::Result<Vec<_>>>()
        .during(Stage::Guest, what)?;
    drop(files);
    for (number, file) in (FIRST_FILE..).zip(&waiting) {
        let got = fcntl(file, FcntlArg::F_DUPFD(number)).during(Stage::Guest, what)?;
        if got != number {
            return Err(fault(Stage::Guest, what));
        }
    }
    unistd::dup2_stdin(&null).during(Stage::Guest, what)?;
    unistd::dup2_stdout(&null).during(Stage::Guest, what)?;
    let what = "the caller's identity cannot be dropped";
    if Uid::effective().is_root() || Uid::current().is_root() {
        if order.ids.uid == 0 || order.ids.gid == 0 {
            return Err(fault(Stage::Identity, "the emulator must not run as the host's user or group 0"));
        }
        let (uid, gid) = (Uid::from_raw(order.ids.uid), Gid::from_raw(order.ids.gid));
        let groups: Vec<_> = order.group.map(Gid::from_raw).into_iter().collect();
        unistd::setgroups(&groups).during(Stage::Identity, what)?;
        unistd::setresgid(gid, gid, gid).during(Stage::Identity, what)?;
        unistd::setresuid(uid, uid, uid).during(Stage::Identity, what)?;
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0).during(Stage::ResourceLimits, "memory could reach the disk")?;
    prctl::set_no_new_privs().during(Stage::Privileges, "gaining privileges cannot be ruled out")?;
    // Changing identity forgets this, so it comes last.
    prctl::set_pdeathsig(Signal::SIGKILL).during(Stage::Guest, "dying with the parent cannot be arranged")?;
    if getppid() != parent {
        return Err(fault(Stage::Guest, "the engine is gone"));
    }
    let text = |bytes: Vec<u8>| CString::new(bytes).map_err(|error| fault(Stage::Guest, error));
    let program = text(order.program.clone().into_os_string().into_vec())?;
    let mut argv = vec![program.clone()];
    for word in &order.words {
        argv.push(text(word.clone().into_bytes())?);
    }
    unistd::execve(&program, &argv, &[] as &[CString])
        .during(Stage::Guest, format_args!("`{}` cannot be run", order.program.display()))
}
