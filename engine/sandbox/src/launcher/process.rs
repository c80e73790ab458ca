//! Our own backend: new namespaces, an unprivileged identity, a private view, then the guest as process 1.
//! The launcher stays outside as the parent; when it dies, everything inside dies with it.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::PathBuf,
    process::ExitCode,
};

use nix::{
    fcntl::OFlag,
    sched::{self, CloneFlags},
    sys::{
        prctl,
        signal::{self, Signal},
        socket::{AddressFamily, SockFlag, SockType, socket},
        wait,
    },
    unistd::{self, Pid},
};
use serde::{Deserialize, Serialize};

use crate::{
    attestation::{
        Applied, Attestation, Enforcement, Enforcer, Isolation, MountAccess, MountNote, Network, ProcView,
        WorkspaceOwner,
    },
    contract::{Backend, HostIds, Spec, WorkspaceMode},
    guest,
    kernel::{self, Side},
    launcher::{
        cgroup::ControlGroups,
        entry,
        fault::{During, fault},
        identity::{self, Caller, INSIDE_ID},
        sources::Sources,
        view,
    },
    wire::{Boot, Failure, Stage},
};

/// Everything but time: that one would only hide how long the host has been up.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// What the launcher tells the process inside once it may go on.
#[derive(Debug, Serialize, Deserialize)]
struct Gate {
    groups: ControlGroups,
}

/// Builds the sandbox and serves it. Returns in two processes: the launcher and the guest.
pub(super) fn run(boot: &Boot) -> Result<ExitCode, Failure> {
    let caller = Caller::determine(boot.spec.host_ids)?;
    let sources = match caller {
        Caller::Root(ids) => {
            unistd::setgroups(&[]).during(Stage::Identity, "the caller's groups cannot be dropped")?;
            Some(Sources::open(&boot.spec, Some(ids))?)
        }
        Caller::Ordinary(_) => None,
    };
    let (gate_read, gate_write) =
        unistd::pipe2(OFlag::O_CLOEXEC).during(Stage::Namespaces, "no pipe can be made")?;
    let groups = ControlGroups::create(&boot.name, &boot.spec.limits);
    let side = kernel::clone_into(NAMESPACES).during(Stage::Namespaces, "the namespaces cannot be created");
    match side {
        Ok(Side::Child) => {
            drop(gate_write);
            Ok(inside(boot, caller, sources, gate_read))
        }
        Ok(Side::Parent(pid)) => {
            drop((gate_read, sources));
            let outcome = supervise(pid, caller, &groups, gate_write);
            groups.remove();
            outcome
        }
        Err(failure) => {
            groups.remove();
            Err(failure)
        }
    }
}

/// The launcher's part: opens the gate, then waits for the end.
fn supervise(pid: Pid, caller: Caller, groups: &ControlGroups, gate: OwnedFd) -> Result<ExitCode, Failure> {
    let opened = open_gate(pid, caller, groups, gate);
    if let Err(failure) = opened {
        signal::kill(pid, Signal::SIGKILL).during(Stage::Namespaces, "the first process cannot be ended")?;
        wait::waitpid(pid, None).during(Stage::Namespaces, "the first process cannot be awaited")?;
        return Err(failure);
    }
    // The channel now belongs to the guest alone: the host must see it close when the guest ends.
    release_channel().during(Stage::Namespaces, "the channel cannot be handed over")?;
    match wait::waitpid(pid, None) {
        Ok(wait::WaitStatus::Exited(_, 0)) => Ok(ExitCode::SUCCESS),
        Ok(_) | Err(_) => Ok(ExitCode::FAILURE),
    }
}

fn open_gate(pid: Pid, caller: Caller, groups: &ControlGroups, gate: OwnedFd) -> Result<(), Failure> {
    let inside = HostIds { uid: INSIDE_ID, gid: INSIDE_ID };
    identity::write_maps(pid, inside, caller.host_ids())?;
    let message = serde_json::to_vec(&Gate { groups: groups.clone() })
        .map_err(|error| fault(Stage::Namespaces, format!("the gate message cannot be written: {error}")))?;
    File::from(gate).write_all(&message).during(Stage::Namespaces, "the first process is gone")
}

pub(super) fn release_channel() -> nix::Result<()> {
    let null =
        nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    unistd::dup2_stdin(&null)?;
    unistd::dup2_stdout(&null)
}

/// The part of process 1: from the gate to the guest.
fn inside(boot: &Boot, caller: Caller, sources: Option<Sources>, gate: OwnedFd) -> ExitCode {
    match enter(boot, caller, sources, gate) {
        Ok(settings) => guest::serve(settings, None),
        Err(failure) => {
            entry::report(&failure);
            ExitCode::FAILURE
        }
    }
}

fn enter(
    boot: &Boot,
    caller: Caller,
    sources: Option<Sources>,
    gate: OwnedFd,
) -> Result<guest::Settings, Failure> {
    let mut message = Vec::new();
    File::from(gate).read_to_end(&mut message).during(Stage::Namespaces, "the gate cannot be read")?;
    let gate: Gate = serde_json::from_slice(&message)
        .map_err(|_| fault(Stage::Namespaces, "the launcher gave up on its first process"))?;
    // While this process is still the user who made them.
    let groups = gate.groups.join();
    identity::assume()?;
    prctl::set_pdeathsig(Signal::SIGKILL)
        .during(Stage::Identity, "dying with the launcher cannot be arranged")?;
    let cgroup_namespace = match sched::unshare(CloneFlags::CLONE_NEWCGROUP) {
        Ok(()) => Applied::Yes,
        Err(_) => Applied::No,
    };
    unistd::sethostname(&boot.spec.hostname).during(Stage::Namespaces, "the host name cannot be set")?;
    let plain = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .during(Stage::Network, "no socket can be made")?;
    kernel::raise_loopback(std::os::fd::AsFd::as_fd(&plain))
        .during(Stage::Network, "loopback cannot be raised")?;
    drop(plain);
    let sources = match sources {
        Some(sources) => sources,
        None => Sources::open(&boot.spec, None)?,
    };
    view::enter(&boot.spec, sources)?;
    let attestation = attest(&boot.spec, caller, &groups, cgroup_namespace)?;
    Ok(guest::Settings {
        limits: boot.spec.limits,
        step: None,
        attestation,
        control_groups: groups.directories,
        outer_cgroup_namespace: PathBuf::new(),
    })
}

fn attest(
    spec: &Spec,
    caller: Caller,
    groups: &ControlGroups,
    cgroup_namespace: Applied,
) -> Result<Attestation, Failure> {
    Ok(Attestation {
        backend: Backend::Process,
        isolation: Isolation::Isolated,
        kernel: guest::kernel_release(),
        host_uid: caller.host_ids().uid,
        inside_uid: INSIDE_ID,
        landlock_abi: Some(guest::enforced_abi()?),
        seccomp: Applied::Yes,
        no_privileges: Applied::Yes,
        cgroup_namespace,
        network: Network::LoopbackOnly,
        proc: ProcView::ProcessesOnly,
        workspace_owner: workspace_owner(spec, caller),
        mounts: mount_notes(spec),
        limits: enforcement(groups),
        runtime: None,
        user_space_kernel: None,
        machine: None,
    })
}

pub(super) fn workspace_owner(spec: &Spec, caller: Caller) -> WorkspaceOwner {
    match (&spec.workspace, caller) {
        (None, _) => WorkspaceOwner::NoWorkspace,
        (Some(_), Caller::Ordinary(_)) => WorkspaceOwner::SameUser,
        (Some(_), Caller::Root(_)) => WorkspaceOwner::IdMapped,
    }
}

pub(crate) fn mount_notes(spec: &Spec) -> Vec<MountNote> {
    let read_only =
        spec.read_only.iter().map(|m| MountNote { inside: m.inside.clone(), access: MountAccess::ReadOnly });
    let workspace = spec.workspace.iter().map(|mount| MountNote {
        inside: mount.inside.clone(),
        access: match mount.mode {
            WorkspaceMode::ReadWrite => MountAccess::ReadWrite,
            WorkspaceMode::ReadOnly => MountAccess::ReadOnly,
            WorkspaceMode::Scratch => MountAccess::Discarded,
        },
    });
    read_only.chain(workspace).collect()
}

/// What control groups do not enforce, the guest and the kernel's per-process limits must.
pub(super) fn enforcement(groups: &ControlGroups) -> Enforcement {
    Enforcement {
        memory: groups.memory.unwrap_or(Enforcer::GuestWatch),
        pids: groups.pids.unwrap_or(Enforcer::Rlimit),
        cpus: groups.cpus.unwrap_or(Enforcer::CpuAffinity),
        wall: Enforcer::GuestAndHost,
        output: Enforcer::GuestAndHost,
        file_bytes: Enforcer::Rlimit,
        open_files: Enforcer::Rlimit,
        tmp_bytes: Enforcer::MountSize,
        workspace_bytes: Enforcer::Nothing,
    }
}
