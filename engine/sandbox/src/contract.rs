//! What a caller asks of a sandbox and what it gets back, the same for every backend.
//! Plain data: nothing here acts, and no field means something else under another backend.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::machine::MachineSettings;

/// The private, writable home directory inside isolating backends.
pub const HOME: &str = "/home/sandbox";

/// Which way commands are isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// A virtual machine of our own: QEMU, a kernel of its own, and a copy of the workspace.
    Microvm,
    /// Our own launcher: namespaces, Landlock, a system call filter and an unprivileged user.
    Process,
    /// `/usr/bin/bwrap` builds the namespaces; our guest confines the commands.
    Bubblewrap,
    /// A container of the Docker engine, under the plain OCI runtime.
    Container,
    /// A container of the Docker engine, under gVisor: commands talk to a kernel that is a program of its own.
    Gvisor,
    /// No isolation: a direct child process of the caller.
    None,
}

impl Backend {
    /// Every backend that needs no more than a [`Launcher`](crate::Launcher), strongest first. [`Backend::Microvm`] needs
    /// [`Spec::machine`] as well.
    pub const ALL: [Self; 5] = [Self::Gvisor, Self::Container, Self::Process, Self::Bubblewrap, Self::None];

    /// The name used in configuration and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Microvm => "microvm",
            Self::Process => "process",
            Self::Bubblewrap => "bubblewrap",
            Self::Container => "container",
            Self::Gvisor => "gvisor",
            Self::None => "none",
        }
    }

    /// Whether what commands write to a workspace can be thrown away by the sandbox itself.
    pub fn discards(self) -> bool {
        self == Self::Process
    }

    /// Whether the Docker engine makes it.
    pub fn is_container(self) -> bool {
        matches!(self, Self::Container | Self::Gvisor)
    }
}

/// What to put around commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The private checkout the commands work on; `None` mounts nothing.
    pub workspace: Option<WorkspaceMount>,
    /// More of the host to show, read-only. The base system (`/usr`, `/bin`, `/lib*`, parts of `/etc`) is
    /// always there.
    pub read_only: Vec<ReadOnlyMount>,
    /// Size of each private temporary file system (`/tmp`, home, `/dev/shm`, the layer of a scratch
    /// workspace), in bytes.
    pub tmp_bytes: u64,
    /// Limits of every command.
    pub limits: Limits,
    /// The base system that commands see.
    pub image: Image,
    /// Host name inside.
    pub hostname: String,
    /// Whose identity commands have on the host when the caller is root. Other callers keep their own.
    pub host_ids: HostIds,
    /// What a virtual machine is made of; needed by [`Backend::Microvm`] and looked at by no other.
    #[serde(default)]
    pub machine: Option<MachineSettings>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            workspace: None,
            read_only: Vec::new(),
            tmp_bytes: 256 << 20,
            limits: Limits::default(),
            image: Image::Host,
            hostname: "sandbox".to_owned(),
            host_ids: HostIds::default(),
            machine: None,
        }
    }
}

/// The base system of a sandbox: the programs and libraries that commands find.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Image {
    /// That of this machine, read-only: `/usr` and what belongs to it, never `/home`, `/root`, `/var` or accounts.
    #[default]
    Host,
    /// An image of the container engine, best named by digest: `NAME@sha256:…`. Only containers can show one.
    Named(String),
    /// An image that the container engine built.
    Built {
        /// The engine's own id of it, a digest.
        id: String,
        /// What it was built of, for people.
        of: String,
    },
}

/// A directory of the host that commands work in.
///
/// It must be a private checkout made for this purpose. When the caller is root, its files keep their owner
/// on disk and appear inside as the sandboxed user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceMount {
    /// Where it is.
    pub host: PathBuf,
    /// Where commands see it: absolute, without `..`, outside the base system.
    pub inside: PathBuf,
    /// What they may do to it.
    pub mode: WorkspaceMode,
}

/// What commands may do to the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceMode {
    /// Read and write.
    ReadWrite,
    /// Read.
    ReadOnly,
    /// Read and write, and what they write is thrown away when the sandbox stops.
    Scratch,
}

/// Something of the host shown read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOnlyMount {
    /// The directory or file on the host.
    pub host: PathBuf,
    /// Where commands see it. Inside the workspace it must already exist.
    pub inside: PathBuf,
}

impl ReadOnlyMount {
    /// Shows a path under its own name.
    pub fn same(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { host: path.clone(), inside: path }
    }
}

/// A user and group of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIds {
    /// User id; never 0.
    pub uid: u32,
    /// Group id; never 0.
    pub gid: u32,
}

impl Default for HostIds {
    /// An id outside the ranges distributions give to users and services.
    fn default() -> Self {
        Self { uid: 61_184, gid: 61_184 }
    }
}

/// What commands may use. [`Attestation`](crate::Attestation) says what really enforces each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all processes together, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads at one time.
    pub pids: u32,
    /// Processors' worth of time per wall time; 1.5 is one and a half.
    pub cpus: f64,
    /// Wall time of one command.
    pub wall: Duration,
    /// Time between the polite and the final signal.
    pub grace: Duration,
    /// Output of one command, both streams together, in bytes.
    pub output_bytes: u64,
    /// Size of one written file, in bytes.
    pub file_bytes: u64,
    /// Open files per process.
    pub open_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            pids: 512,
            cpus: 2.0,
            wall: Duration::from_mins(30),
            grace: Duration::from_secs(5),
            output_bytes: 64 << 20,
            file_bytes: 8 << 30,
            open_files: 4096,
        }
    }
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// Program and arguments; a program without `/` is looked up in `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment: nothing is inherited and nothing added.
    pub env: BTreeMap<String, String>,
    /// Working directory as commands see it.
    pub cwd: PathBuf,
    /// Standard input; `None` is empty.
    pub stdin: Option<Vec<u8>>,
    /// A wall time shorter than that of the sandbox's limits.
    pub wall: Option<Duration>,
}

impl Exec {
    /// A command with the environment programs expect at least: `PATH`, `HOME`, `TMPDIR` and `LANG`.
    pub fn new<A: Into<String>>(
        argv: impl IntoIterator<Item = A>,
        cwd: impl Into<PathBuf>,
        home: &Path,
    ) -> Self {
        let base = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", home.to_str().unwrap_or("/")),
            ("TMPDIR", "/tmp"),
            ("LANG", "C.UTF-8"),
        ];
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: base.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            cwd: cwd.into(),
            stdin: None,
            wall: None,
        }
    }
}

/// Which output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output, in the order it was written within its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where it was written.
    pub stream: Stream,
    /// What, exactly.
    pub bytes: Vec<u8>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub status: Status,
    /// What it used.
    pub usage: Usage,
    /// Whether output was dropped because of the cap.
    pub truncated: bool,
}

/// The outcome of a command that the sandbox could run. None of these is a failure of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It returned this code, verbatim.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// It never ran.
    NotStarted(NotStarted),
    /// Its wall time was up.
    TimedOut,
    /// The caller cancelled it.
    Cancelled,
    /// It wrote more output than allowed.
    OutputLimit,
    /// It was ended for using more memory than allowed.
    MemoryLimit,
}

impl Status {
    /// The code a shell would report.
    pub fn shell_code(&self) -> i32 {
        match self {
            Self::Exit(code) => *code,
            Self::Signal(signal) => 128 + signal,
            Self::NotStarted(NotStarted::ProgramNotFound) => 127,
            Self::NotStarted(_) => 126,
            Self::TimedOut => 124,
            Self::Cancelled => 130,
            Self::OutputLimit | Self::MemoryLimit => 137,
        }
    }
}

/// Why a command never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotStarted {
    /// There is no such program.
    ProgramNotFound,
    /// The program is there but cannot be executed, for this errno.
    NotExecutable {
        /// The kernel's reason.
        errno: i32,
    },
    /// The working directory cannot be entered, for this errno.
    WorkingDirectory {
        /// The kernel's reason.
        errno: i32,
    },
}

/// What a command used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall time.
    pub wall: Duration,
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// Largest resident memory of one process, in bytes.
    pub max_rss_bytes: u64,
    /// Output bytes the command produced that were kept.
    pub output_bytes: u64,
    /// Processes the kernel killed for want of memory.
    pub memory_kills: u64,
    /// Processes or threads that were refused because of the limit.
    pub refused_pids: u64,
    /// Symbolic links that were not copied out of the sandbox because they lead out of the workspace.
    #[serde(default)]
    pub left_behind: u64,
}
