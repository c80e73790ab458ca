//! What the payloads of the control frames say, as JSON.
//! Data frames (`Stdin`, `Stdout`, `Stderr`) carry bare bytes and must never be parsed as one of these.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    attestation::Attestation,
    contract::{HostIds, Spec, Usage},
};

/// Version of the conversation; both sides must name the same one.
pub const PROTOCOL_VERSION: u32 = 3;

/// Standard input bytes the host may have in flight before the guest grants more.
pub const STDIN_WINDOW_BYTES: usize = 256 << 10;

/// Connections outwards that a guest may have open at one time.
pub const EGRESS_STREAMS: usize = 64;

/// Bytes of one connection that may be under way in one direction before the other side grants more.
pub const EGRESS_WINDOW_BYTES: usize = 64 << 10;

/// Largest payload either side puts into one frame of a connection, in bytes.
pub const EGRESS_CHUNK_BYTES: usize = 16 << 10;

/// The port on the loopback interface of a sandbox at which commands find the way out, where there is one.
pub const EGRESS_PORT: u16 = 3128;

/// Largest payload either side puts into one data frame, in bytes.
pub const CHUNK_BYTES: usize = 64 << 10;

/// Which kind of sandbox the launcher builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootBackend {
    /// Build it ourselves.
    Process,
    /// Prepare, then become `bwrap`.
    Bubblewrap,
}

/// The first frame a launcher reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Boot {
    /// What to build.
    pub backend: BootBackend,
    /// For whom.
    pub spec: Spec,
    /// Name for control groups, unique on this host.
    pub name: String,
    /// The executable that serves as guest when another program builds the sandbox.
    pub guest: PathBuf,
}

/// The host's greeting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// See [`PROTOCOL_VERSION`].
    pub version: u32,
    /// A number the guest must give back, so that no earlier answer can be taken for this one.
    pub nonce: u64,
    /// The hosts that commands may reach through the host, as `host:port`; with none the guest takes no connections.
    pub network: Vec<String>,
}

/// The guest's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// See [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The host's number.
    pub nonce: u64,
    /// What the sandbox really is.
    pub attestation: Attestation,
    /// Control group directories that hold the sandbox, as the host sees them.
    pub control_groups: Vec<PathBuf>,
}

/// Run a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory inside.
    pub cwd: PathBuf,
    /// Whether standard input frames will follow; otherwise it is `/dev/null`.
    pub stdin: bool,
    /// Wall time in milliseconds after which the guest stops the command by itself.
    pub wall_ms: u64,
    /// Time between the polite and the final signal, in milliseconds.
    pub grace_ms: u64,
    /// Output bytes, both streams together, after which the guest stops the command.
    pub output_bytes: u64,
}

/// Show a folder at another place, with its owner's files as somebody else's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Translation {
    /// The folder.
    pub folder: PathBuf,
    /// An empty folder to show it at.
    pub target: PathBuf,
    /// Who its files shall belong to there.
    pub ids: HostIds,
    /// Whether what user 0 makes there shall be possible, and belong to `ids` on disk.
    pub keeps_root: bool,
}

/// Deliver a signal.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SignalRequest {
    /// Its number.
    pub signal: i32,
}

/// Stop the command.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StopRequest {
    /// Time between the polite and the final signal, in milliseconds; 0 kills at once.
    pub grace_ms: u64,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It returned this code.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// It never started: the program could not be executed, for this errno.
    NotExecuted(i32),
    /// It never started: the working directory could not be entered, for this errno.
    NoWorkingDirectory(i32),
}

/// Why the guest ended a command early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The host asked.
    Asked,
    /// Its wall time was up.
    Wall,
    /// It wrote more than allowed.
    Output,
    /// It used more memory than allowed.
    Memory,
}

/// The last frame of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExitReport {
    /// How.
    pub end: End,
    /// Why, if the guest ended it.
    pub cause: Option<Cause>,
    /// Whether output was dropped because of the cap.
    pub truncated: bool,
    /// What it used.
    pub usage: Usage,
}

/// Which step of building or entering a sandbox failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading what to build.
    Boot,
    /// Dropping the caller's identity.
    Identity,
    /// Creating the user and other namespaces.
    Namespaces,
    /// Opening a directory that was asked for.
    Source,
    /// Giving the workspace to the sandboxed user.
    WorkspaceOwner,
    /// Building the file system view.
    Mounts,
    /// Bringing up the loopback interface.
    Network,
    /// Starting the guest or `bwrap`.
    Guest,
    /// Opening the command's pipes or creating its process.
    Spawn,
    /// Lowering the command's resource limits.
    ResourceLimits,
    /// Dropping privileges of the command.
    Privileges,
    /// Landlock.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// The conversation with the host.
    Protocol,
}

/// The sandbox failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// What, naming the thing.
    pub detail: String,
    /// The kernel's reason, if there was one.
    pub errno: Option<i32>,
}
