//! The first process of a machine: from the kernel's hands to the guest that serves the host.
//! Everything it mounts is the machine's own; it must never run as the first process of anything else.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        reboot::{RebootMode, reboot},
        socket::{AddressFamily, SockFlag, SockType, socket},
    },
    unistd::{self, Pid},
};

use super::{
    boot::{EXPORT_DISK, IMPORT_DISK, MachineBoot, PORT, ROOT_DISK, shown_disk},
    disk,
    exchange::Exchange,
    interior::Interior,
};
use crate::{
    contract::{HostIds, WorkspaceMode},
    guest, kernel,
    launcher::{self, During, INSIDE_ID, fault},
    wire::{Failure, Kind, Stage},
};

/// Time the devices of the machine may take to appear.
const DEVICES: Duration = Duration::from_secs(10);

/// How often to look for them.
const INTERVAL: Duration = Duration::from_millis(2);

/// Where the base system is mounted before it becomes the root.
const IMAGE: &str = "/image";

/// Where the workspace and what else is shown are, once the base system is the root. Any directory every
/// system has will do: the view that commands get covers it.
const STAGE: &str = "/tmp";

/// Prepares the machine and serves the host; then the machine is over.
pub(crate) fn first_process() -> Result<ExitCode, Failure> {
    if unistd::getpid() != Pid::from_raw(1) || !Path::new(IMAGE).is_dir() {
        return Err(fault(Stage::Guest, "this is not the first process of a machine"));
    }
    let code = match prepare() {
        Ok((settings, interior)) => guest::serve(settings, Some(interior)),
        Err(failure) => {
            launcher::report(&failure);
            // As long as there is no channel, the console is all there is.
            drop(writeln!(io::stderr(), "{}", failure.detail));
            ExitCode::FAILURE
        }
    };
    // The emulator ends instead of starting the machine again.
    match reboot(RebootMode::RB_AUTOBOOT) {
        Ok(never) => match never {},
        // The kernel ends a machine whose first process returns.
        Err(_) => Ok(code),
    }
}

fn prepare() -> Result<(guest::Settings, Interior), Failure> {
    let none = None::<&str>;
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(Some(kind), at, Some(kind), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, none)
            .during(Stage::Mounts, format_args!("`{at}` cannot be mounted"))?;
    }
    load_modules()?;
    let port = open_port()?;
    let boot = read_boot(&port)?;
    let what = "the channel cannot be opened";
    unistd::dup2_stdin(&port).during(Stage::Guest, what)?;
    unistd::dup2_stdout(&port).during(Stage::Guest, what)?;
    drop(port);
    enter(boot)
}

/// Mounts what the host gave, and shows commands what they may see.
fn enter(boot: MachineBoot) -> Result<(guest::Settings, Interior), Failure> {
    let MachineBoot { mut spec, mut attestation, root_type, workspace_bytes } = boot;
    let none = None::<&str>;
    let root = device(ROOT_DISK)?;
    let shown = (0..spec.read_only.len()).map(|n| device(&shown_disk(n))).collect::<Result<Vec<_>, _>>()?;
    let disks = spec
        .workspace
        .as_ref()
        .map(|mount| {
            let what = "the disks of the workspace cannot be opened";
            device(IMPORT_DISK)?;
            let import = disk::Reader::open(IMPORT_DISK).during(Stage::Source, what)?;
            let export = match mount.mode {
                WorkspaceMode::ReadWrite => {
                    Some(disk::open_to_write(EXPORT_DISK).during(Stage::Source, what)?)
                }
                WorkspaceMode::ReadOnly | WorkspaceMode::Scratch => None,
            };
            Ok::<_, Failure>((import, export))
        })
        .transpose()?;

    let sealed = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(&root), IMAGE, Some(root_type.as_str()), sealed, none)
        .during(Stage::Mounts, format_args!("the image cannot be mounted as {root_type}"))?;
    for at in ["/proc", "/dev"] {
        let below = Path::new(IMAGE).join(at.trim_start_matches('/'));
        mount(Some(at), &below, none, MsFlags::MS_MOVE, none)
            .during(Stage::Mounts, format_args!("the image has no empty directory `{at}`"))?;
    }
    let stage = Path::new(IMAGE).join(STAGE.trim_start_matches('/'));
    let options = format!("size={},nr_inodes={},mode=755", workspace_bytes + (1 << 20), 1 << 20);
    mount(Some("tmpfs"), &stage, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(&*options))
        .during(Stage::Mounts, format_args!("the image has no empty directory `{STAGE}`"))?;
    let what = "the image cannot become the root";
    unistd::chdir(IMAGE).during(Stage::Mounts, what)?;
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none).during(Stage::Mounts, what)?;
    unistd::chroot(".").during(Stage::Mounts, what)?;
    unistd::chdir("/").during(Stage::Mounts, what)?;

    for (number, (source, device)) in spec.read_only.iter_mut().zip(&shown).enumerate() {
        let what = format!("`{}` cannot be mounted", source.inside.display());
        let at = Path::new(STAGE).join(shown_disk(number));
        fs::create_dir(&at).during(Stage::Source, &what)?;
        mount(Some(device), &at, Some("ext4"), sealed, none).during(Stage::Source, &what)?;
        source.host = if source.host.as_os_str().is_empty() { at } else { at.join(&source.host) };
    }
    let exchange = match (&mut spec.workspace, disks) {
        (Some(source), Some((import, export))) => {
            source.host = Path::new(STAGE).join("workspace");
            let what = "the workspace cannot be made";
            fs::DirBuilder::new().mode(0o700).create(&source.host).during(Stage::Source, what)?;
            let directory = File::open(&source.host).during(Stage::Source, what)?;
            if source.mode == WorkspaceMode::Scratch {
                // Nothing is given back, so there is nothing to keep it from.
                source.mode = WorkspaceMode::ReadWrite;
            }
            let mut exchange = Exchange::new(directory, import, export, workspace_bytes);
            exchange.before_command()?;
            Some(exchange)
        }
        _ => None,
    };
    let interior = Interior::new(exchange)?;
    // What is limited is the memory programs use, not what they ask for.
    fs::write("/proc/sys/vm/overcommit_memory", "1")
        .during(Stage::Guest, "memory cannot be overcommitted")?;
    // From here on the kernel is as it stays.
    fs::write("/proc/sys/kernel/modules_disabled", "1")
        .during(Stage::Privileges, "more of the kernel could be loaded")?;
    unistd::sethostname(&spec.hostname).during(Stage::Namespaces, "the host name cannot be set")?;
    let plain = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .during(Stage::Network, "no socket can be made")?;
    kernel::raise_loopback(plain.as_fd()).during(Stage::Network, "loopback cannot be raised")?;
    launcher::show(&spec)?;

    attestation.kernel = guest::kernel_release();
    attestation.landlock_abi = Some(guest::enforced_abi()?);
    let settings = guest::Settings {
        limits: spec.limits,
        attestation,
        control_groups: Vec::new(),
        outer_cgroup_namespace: PathBuf::new(),
        step: Some(HostIds { uid: INSIDE_ID, gid: INSIDE_ID }),
    };
    Ok((settings, interior))
}

/// Loads what the host packed, in the order of its names.
fn load_modules() -> Result<(), Failure> {
    let what = "the modules of the kernel cannot be read";
    let mut names: Vec<_> = fs::read_dir("/modules")
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .during(Stage::Guest, what)?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    names.sort();
    for path in names {
        let file = File::open(&path).during(Stage::Guest, what)?;
        match finit_module(file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => {
                let what = format!("the kernel does not take `{}`", path.display());
                return Err(errno).during(Stage::Guest, what);
            }
        }
    }
    Ok(())
}

/// Tries until it works, or the devices had their time.
fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> io::Result<T>) -> Result<T, Failure> {
    let deadline = Instant::now() + DEVICES;
    loop {
        match attempt() {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => return Err(error).during(Stage::Guest, what),
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}

fn device(name: &str) -> Result<PathBuf, Failure> {
    wait_for(&format!("the disk `{name}` is missing"), || {
        disk::named(name).and_then(|path| fs::metadata(&path).map(|_| path))
    })
}

/// The host's end must be there as well, or a read would mean that the host is gone.
fn open_port() -> Result<File, Failure> {
    let port = wait_for("the machine has no port for the channel", || {
        let named = fs::read_dir("/sys/class/virtio-ports")?.flatten().find(|entry| {
            fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT)
        });
        let entry = named.ok_or(io::ErrorKind::NotFound)?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC)
            .open(Path::new("/dev").join(entry.file_name()))
    })?;
    wait_for("the host does not answer", || {
        let mut files = [PollFd::new(port.as_fd(), PollFlags::POLLIN)];
        poll(&mut files, PollTimeout::from(100_u8))?;
        let events = files.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLIN) && !events.contains(PollFlags::POLLHUP) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotConnected.into())
        }
    })?;
    Ok(port)
}

fn read_boot(port: &File) -> Result<MachineBoot, Failure> {
    let what = "the description of the sandbox cannot be read";
    let mut input = port.try_clone().during(Stage::Boot, what)?;
    let frame = launcher::read_frame(&mut input).during(Stage::Boot, what)?;
    if frame.kind != Kind::Boot {
        return Err(fault(Stage::Boot, "the first frame does not describe a sandbox"));
    }
    serde_json::from_slice(&frame.payload).map_err(|error| fault(Stage::Boot, format!("{what}: {error}")))
}
