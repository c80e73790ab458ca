//! What a started sandbox really is, as opposed to what was asked for.
//! It must never claim an enforcement that was not put in place.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{contract::Backend, machine::MachineFacts};

/// Facts about one started sandbox, recorded with the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Which backend built it.
    pub backend: Backend,
    /// Whether there is any isolation at all.
    pub isolation: Isolation,
    /// Kernel release the commands run on.
    pub kernel: String,
    /// The user id of the commands as the host sees it.
    pub host_uid: u32,
    /// The user id of the commands as they see it.
    pub inside_uid: u32,
    /// The Landlock ABI that every command is confined by; `None` if it is not.
    pub landlock_abi: Option<u32>,
    /// Whether every command runs under the system call filter.
    pub seccomp: Applied,
    /// Whether commands can neither hold nor gain capabilities.
    pub no_privileges: Applied,
    /// Whether the control group tree is hidden by a namespace of its own.
    pub cgroup_namespace: Applied,
    /// What commands can reach.
    pub network: Network,
    /// What `/proc` shows.
    pub proc: ProcView,
    /// How the workspace's files belong to the sandboxed user.
    pub workspace_owner: WorkspaceOwner,
    /// What of the host is visible inside besides the base system.
    pub mounts: Vec<MountNote>,
    /// What enforces each limit.
    pub limits: Enforcement,
    /// The container engine and its runtime, if that built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// How the kernel that answers commands names itself, if it is a program of its own and not the machine's kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_space_kernel: Option<String>,
    /// What the virtual machine is made of, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineFacts>,
}

/// An OCI runtime as the run used it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The engine's name for it.
    pub name: String,
    /// The engine's version.
    pub engine: String,
    /// The image commands saw as their base system, by digest; "host" for this machine's own, read-only.
    pub image: String,
}

impl Attestation {
    /// Claims nothing: no isolation, no limit in force.
    #[cfg(feature = "host")]
    pub(crate) fn unisolated(backend: Backend) -> Self {
        Self {
            backend,
            isolation: Isolation::Unisolated,
            kernel: String::new(),
            host_uid: 0,
            inside_uid: 0,
            landlock_abi: None,
            seccomp: Applied::No,
            no_privileges: Applied::No,
            cgroup_namespace: Applied::No,
            network: Network::Host,
            proc: ProcView::Host,
            workspace_owner: WorkspaceOwner::NoWorkspace,
            mounts: Vec::new(),
            limits: Enforcement::NONE,
            runtime: None,
            user_space_kernel: None,
            machine: None,
        }
    }
}

/// Whether commands are separated from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Own namespaces or an own kernel, an own file system view, and confinement.
    Isolated,
    /// None: a command can do whatever the caller can.
    Unisolated,
}

/// Whether a measure is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Yes, for every command.
    Yes,
    /// No.
    No,
}

/// What commands can reach over sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Only an interface of their own that leads back to themselves.
    LoopbackOnly,
    /// The same, with a port on it behind which the host decides about each request.
    Proxied {
        /// The hosts it lets through, as `host:port`.
        hosts: Vec<String>,
    },
    /// Everything the host reaches.
    Host,
}

/// What `/proc` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcView {
    /// Only the sandbox's own processes.
    ProcessesOnly,
    /// The sandbox's own processes and the kernel's general files, which its user cannot write.
    OwnNamespace,
    /// The host's.
    Host,
}

/// How the workspace's files belong to the sandboxed user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceOwner {
    /// There is no workspace.
    NoWorkspace,
    /// The caller and the sandboxed user are the same user.
    SameUser,
    /// The mount translates ids: files stay the caller's on disk.
    IdMapped,
    /// Commands work on a copy. What they leave in it is written back as the caller's own files.
    Copied,
}

/// Something of the host that is visible inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountNote {
    /// Where inside.
    pub inside: PathBuf,
    /// How.
    pub access: MountAccess,
}

/// What may be done to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountAccess {
    /// Reading.
    ReadOnly,
    /// Reading and writing the host's files, or a copy that is written back.
    ReadWrite,
    /// Reading the host's files; writes go to a private layer that is thrown away.
    Discarded,
}

/// What enforces a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcer {
    /// A control group, version 1.
    CgroupV1,
    /// A control group, version 2.
    CgroupV2,
    /// A per-process or per-user resource limit of the kernel.
    Rlimit,
    /// The guest adds up what all processes use and kills them when it is too much; it looks every few
    /// milliseconds, so a fast program can exceed the limit for that long.
    GuestWatch,
    /// Commands may only run on as many processors as the limit rounds up to.
    CpuAffinity,
    /// The guest, and the host should the guest fail.
    GuestAndHost,
    /// The host alone.
    Host,
    /// The size of a private file system.
    MountSize,
    /// The size of the virtual machine: it has no more of it.
    Machine,
    /// Nothing. The limit is not in force.
    Nothing,
}

/// What enforces each limit of [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforcement {
    /// Memory of all processes together.
    pub memory: Enforcer,
    /// Number of processes and threads.
    pub pids: Enforcer,
    /// Processor time per wall time.
    pub cpus: Enforcer,
    /// Wall time.
    pub wall: Enforcer,
    /// Output bytes.
    pub output: Enforcer,
    /// Size of one written file.
    pub file_bytes: Enforcer,
    /// Open files per process.
    pub open_files: Enforcer,
    /// Size of the private temporary directories.
    pub tmp_bytes: Enforcer,
    /// Total size of the workspace.
    pub workspace_bytes: Enforcer,
}

impl Enforcement {
    /// No limit is in force.
    #[cfg(feature = "host")]
    pub(crate) const NONE: Self = Self {
        memory: Enforcer::Nothing,
        pids: Enforcer::Nothing,
        cpus: Enforcer::Nothing,
        wall: Enforcer::Nothing,
        output: Enforcer::Nothing,
        file_bytes: Enforcer::Nothing,
        open_files: Enforcer::Nothing,
        tmp_bytes: Enforcer::Nothing,
        workspace_bytes: Enforcer::Nothing,
    };
}
