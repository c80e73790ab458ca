//! A machine of the host's: made ready, started, kept in step with its workspace, and ended.
//! It holds no file with a name: whatever happens to the engine, nothing of a machine stays behind.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use nix::{
    sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair},
    unistd::{geteuid, getuid},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{UnixStream, unix::pipe},
    process::{Child, Command},
    task::spawn_blocking,
    time,
};

use super::{
    boot::{EXPORT_DISK, IMPORT_DISK, MAX_SHOWN, MachineBoot, ROOT_DISK, shown_disk},
    cache::Cache,
    hypervisor::{self, Order},
    outside::Workspace,
    parts::Parts,
    qemu::{self, Access, Processor, Size},
    settings::{Acceleration, MachineFacts},
    shown::Shown,
};
use crate::{
    attestation::{
        Applied, Attestation, Enforcement, Enforcer, Isolation, Network, ProcView, WorkspaceOwner,
    },
    contract::{Backend, Spec, WorkspaceMode},
    error::{ExecError, StartError},
    launcher::{HIDDEN_ARGUMENT, INSIDE_ID, mount_notes},
};

/// Memory of a machine that is neither commands' nor a file system's: the kernel's and the guest's, in bytes.
const OWN_MEMORY_BYTES: u64 = 160 << 20;

/// How many private temporary file systems a machine has.
const TEMPORARY: u64 = 3;

/// Most processors of a machine.
const MAX_PROCESSORS: u32 = 64;

/// Time the emulator's parent may take to kill it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Console and error text that is kept, in bytes.
const COMPLAINT_BYTES: u64 = 4096;

/// Bytes from a machine.
type Incomings = Box<dyn AsyncRead + Send + Unpin>;

/// Bytes to a machine.
type Outgoings = Box<dyn AsyncWrite + Send + Unpin>;

/// Everything a machine needs, before and after it runs.
#[derive(Debug)]
pub(crate) struct Prepared {
    parts: Parts,
    spec: Spec,
    workspace: Option<Workspace>,
    workspace_bytes: u64,
    boot_time: Duration,
    shown: Vec<Shown>,
    size: Size,
}

impl Prepared {
    /// Finds, makes and packs all of it.
    pub(crate) async fn make(spec: &Spec) -> Result<Self, StartError> {
        let spec = spec.clone();
        blocking(move || Self::make_now(spec)).await.map_err(StartError::Channel)?
    }

    fn make_now(spec: Spec) -> Result<Self, StartError> {
        let Some(settings) = spec.machine.clone() else {
            return Err(StartError::Missing(
                "a microvm needs an image: name a root file system and a cache".to_owned(),
            ));
        };
        if spec.read_only.len() > MAX_SHOWN {
            let what = format!("more than {MAX_SHOWN} read-only files and directories");
            return Err(StartError::Unsupported { backend: Backend::Microvm, what });
        }
        let parts = Parts::gather(&settings).map_err(StartError::Missing)?;
        let shown = spec
            .read_only
            .iter()
            .map(|mount| Shown::of(&parts.cache, &mount.host))
            .collect::<Result<Vec<_>, _>>()?;
        let workspace = spec
            .workspace
            .as_ref()
            .map(|mount| {
                workspace(mount, &parts.cache, settings.workspace_bytes)
                    .map_err(|source| StartError::Source { path: mount.host.clone(), source })
            })
            .transpose()?;
        let room = if workspace.is_some() { settings.workspace_bytes } else { 0 };
        let present = thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let size = Size {
            memory_bytes: spec
                .limits
                .memory_bytes
                .saturating_add(spec.tmp_bytes.saturating_mul(TEMPORARY))
                .saturating_add(room)
                .saturating_add(OWN_MEMORY_BYTES),
            processors: (spec.limits.cpus.ceil() as u32).clamp(1, present.min(MAX_PROCESSORS)),
        };
        Ok(Self {
            parts,
            spec,
            workspace,
            workspace_bytes: settings.workspace_bytes,
            boot_time: Duration::from_secs(settings.boot_seconds),
            shown,
            size,
        })
    }

    /// Time the machine may take to become ready.
    pub(crate) fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// What the guest is told first.
    pub(crate) fn boot(&self) -> impl serde::Serialize + use<> {
        let mut spec = self.spec.clone();
        // Where things are on the host is none of a machine's business.
        spec.machine = None;
        for (mount, shown) in spec.read_only.iter_mut().zip(&self.shown) {
            shown.within().clone_into(&mut mount.host);
        }
        if let Some(mount) = &mut spec.workspace {
            mount.host = PathBuf::new();
        }
        MachineBoot {
            attestation: self.attest(),
            spec,
            root_type: self.parts.root_type.to_owned(),
            workspace_bytes: self.workspace_bytes,
        }
    }

    fn attest(&self) -> Attestation {
        let parts = &self.parts;
        Attestation {
            backend: Backend::Microvm,
            isolation: Isolation::Isolated,
            kernel: String::new(),
            host_uid: if is_root() { self.spec.host_ids.uid } else { geteuid().as_raw() },
            inside_uid: INSIDE_ID,
            landlock_abi: None,
            seccomp: Applied::Yes,
            no_privileges: Applied::Yes,
            // None of the host's groups exist in there.
            cgroup_namespace: Applied::Yes,
            network: Network::LoopbackOnly,
            proc: ProcView::ProcessesOnly,
            workspace_owner: match self.workspace {
                Some(_) => WorkspaceOwner::Copied,
                None => WorkspaceOwner::NoWorkspace,
            },
            mounts: mount_notes(&self.spec),
            limits: Enforcement {
                memory: Enforcer::GuestWatch,
                pids: Enforcer::Rlimit,
                cpus: Enforcer::Machine,
                wall: Enforcer::GuestAndHost,
                output: Enforcer::GuestAndHost,
                file_bytes: Enforcer::Rlimit,
                open_files: Enforcer::Rlimit,
                tmp_bytes: Enforcer::MountSize,
                workspace_bytes: Enforcer::MountSize,
            },
            runtime: None,
            user_space_kernel: None,
            machine: Some(MachineFacts {
                emulator: parts.emulator.clone(),
                acceleration: match parts.processor {
                    Processor::Real => Acceleration::Kvm,
                    Processor::Software { .. } => Acceleration::Emulated,
                },
                kernel_digest: parts.kernel_digest.clone(),
                initrd_digest: parts.initrd_digest.clone(),
                rootfs_digest: parts.rootfs_digest.clone(),
                memory_bytes: self.size.memory_bytes,
                processors: self.size.processors,
            }),
        }
    }

    /// Starts the machine, with this program between it and us.
    pub(crate) fn start(self, program: &Path) -> Result<(Machine, Incomings, Outgoings), StartError> {
        let failed = |source| StartError::Spawn { program: program.to_owned(), source };
        let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
        let (complaints, console) = io::pipe().map_err(failed)?;
        let (life, order_end) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| failed(errno.into()))?;
        let disks = self.disks().map_err(failed)?;
        let names: Vec<_> = disks.iter().map(|disk| (disk.name.clone(), disk.access)).collect();
        let order = Order {
            program: self.parts.qemu.clone(),
            words: qemu::words(self.parts.processor, self.size, &names),
            ids: self.spec.host_ids,
            group: self.parts.kvm_group,
        };
        let open = |path: &Path| File::open(path).map(OwnedFd::from);
        let mut files = vec![
            OwnedFd::from(theirs),
            OwnedFd::from(console.try_clone().map_err(failed)?),
            open(&self.parts.kernel).map_err(failed)?,
            open(&self.parts.initrd).map_err(failed)?,
        ];
        files.extend(disks.into_iter().map(|disk| disk.file));
        let supervisor = Command::new(program)
            .args([HIDDEN_ARGUMENT, hypervisor::ENTRY])
            .env_clear()
            .stdin(Stdio::from(order_end))
            .stdout(Stdio::null())
            .stderr(Stdio::from(OwnedFd::from(console)))
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let numbers: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let message = serde_json::to_vec(&order).map_err(|error| failed(error.into()))?;
        let rights = [ControlMessage::ScmRights(&numbers)];
        sendmsg::<()>(life.as_raw_fd(), &[IoSlice::new(&message)], &rights, MsgFlags::MSG_NOSIGNAL, None)
            .map_err(|errno| failed(errno.into()))?;
        drop(files);
        ours.set_nonblocking(true).map_err(failed)?;
        let (input, output) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let complaints = pipe::Receiver::from_owned_fd(complaints.into()).map_err(failed)?;
        let machine = Machine { prepared: self, supervisor, complaints, life: Some(life) };
        Ok((machine, Box::new(input), Box::new(output)))
    }

    fn disks(&self) -> io::Result<Vec<Disk>> {
        let read = |name: String, file: OwnedFd| Disk { name, access: Access::Read, file };
        let mut disks = vec![read(ROOT_DISK.to_owned(), File::open(&self.parts.rootfs)?.into())];
        if let Some(workspace) = &self.workspace {
            disks.push(read(IMPORT_DISK.to_owned(), reopened(workspace.import_disk(), Access::Read)?));
            if let Some(export) = &workspace.export {
                let file = reopened(export, Access::Write)?;
                disks.push(Disk { name: EXPORT_DISK.to_owned(), access: Access::Write, file });
            }
        }
        for (number, shown) in self.shown.iter().enumerate() {
            disks.push(read(shown_disk(number), reopened(shown.disk(), Access::Read)?));
        }
        Ok(disks)
    }
}

/// A disk and the open file behind it.
struct Disk {
    name: String,
    access: Access,
    file: OwnedFd,
}

/// The same file opened once more: the emulator takes no more access than it asked for, and shares no position
/// with us.
fn reopened(file: &File, access: Access) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Write);
    options.open(format!("/proc/self/fd/{}", file.as_raw_fd())).map(OwnedFd::from)
}

fn is_root() -> bool {
    geteuid().is_root() || getuid().is_root()
}

fn workspace(
    mount: &crate::contract::WorkspaceMount,
    cache: &Cache,
    most_bytes: u64,
) -> io::Result<Workspace> {
    let disk = || {
        let file = cache.unnamed()?;
        // Names and small things come on top of the bytes of files. What is not written takes no room.
        file.set_len((most_bytes + most_bytes / 4 + (64 << 20)).next_multiple_of(1 << 20))?;
        Ok::<_, io::Error>(file)
    };
    let export = match mount.mode {
        WorkspaceMode::ReadWrite => Some(disk()?),
        WorkspaceMode::ReadOnly | WorkspaceMode::Scratch => None,
    };
    Workspace::open(&mount.host, disk()?, export, most_bytes)
}

/// A machine that was started.
#[derive(Debug)]
pub(crate) struct Machine {
    prepared: Prepared,
    supervisor: Child,
    complaints: pipe::Receiver,
    /// The emulator lives as long as this is open.
    life: Option<OwnedFd>,
}

impl Machine {
    /// Brings into the machine what changed in the workspace since the last command.
    pub(crate) async fn before_command(&mut self) -> Result<(), ExecError> {
        self.with_workspace(Workspace::send).await.map(drop)
    }

    /// Takes over what a command left, and says how many links stayed behind.
    pub(crate) async fn after_command(&mut self, ran: bool) -> Result<u64, ExecError> {
        Ok(self.with_workspace(move |workspace| workspace.take(ran)).await?.unwrap_or_default())
    }

    async fn with_workspace<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Workspace) -> io::Result<T> + Send + 'static,
    ) -> Result<Option<T>, ExecError> {
        let Some(mut workspace) = self.prepared.workspace.take() else { return Ok(None) };
        let (workspace, outcome) = blocking(move || {
            let outcome = work(&mut workspace);
            (workspace, outcome)
        })
        .await
        .map_err(ExecError::Workspace)?;
        self.prepared.workspace = Some(workspace);
        outcome.map(Some).map_err(ExecError::Workspace)
    }

    /// Ends it at once: nothing in it is worth a farewell.
    pub(crate) async fn end(&mut self) {
        self.life = None;
        if time::timeout(PATIENCE, self.supervisor.wait()).await.is_err() {
            // The emulator dies with its parent.
            drop(self.supervisor.start_kill());
            drop(self.supervisor.wait().await);
        }
    }

    /// What the emulator or the machine's kernel said before they went away.
    pub(crate) async fn complaint(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.life = None;
        let mut complaints = (&mut self.complaints).take(COMPLAINT_BYTES);
        drop(time::timeout(PATIENCE, complaints.read_to_end(&mut text)).await);
        text
    }

    /// What it was made of, to start another.
    pub(crate) fn into_prepared(self) -> Prepared {
        self.prepared
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)
}
