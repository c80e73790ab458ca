//! Builds the file system a sandbox sees: an empty root of its own with what was opened attached to it.
//! Never follows a symbolic link on the way to a mount point, because a workspace may contain planted ones.

use std::{
    ffi::OsStr,
    fs,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Component, Path},
};

use nix::{
    errno::Errno,
    fcntl::{self, AT_FDCWD, OFlag, OpenHow, ResolveFlag},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::{self, Mode},
    unistd,
};

use crate::{
    contract::{HOME, Spec, WorkspaceMode},
    kernel::{self, NO_DEVICES, NO_SUID, READ_ONLY, Reach},
    launcher::{
        etc,
        fault::{During, fault},
        identity::INSIDE_ID,
        sources::{Content, Source, Sources},
    },
    wire::{Failure, Stage},
};

/// Where the new root is put together. Any directory every system has will do: it is covered by the new root
/// and left behind with the old one.
const STAGING: &str = "/tmp";

/// Files, directories and links a private file system may hold.
const MAX_INODES: u32 = 1 << 20;

/// Shows what a description asks for, to a process that has a system to itself.
pub(crate) fn show(spec: &Spec) -> Result<(), Failure> {
    enter(spec, Sources::open(spec, None)?)
}

/// Builds the view and makes it the root of this process. Nothing of the host remains reachable.
pub(super) fn enter(spec: &Spec, sources: Sources) -> Result<(), Failure> {
    let staging = Path::new(STAGING);
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .during(Stage::Mounts, "the mounts cannot be separated from the host's")?;
    private(staging, 4 << 20, 0o755)?;
    let root = fcntl::open(staging, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .during(Stage::Mounts, "the new root cannot be opened")?;

    etc::write(&staging.join("etc"), &spec.hostname).during(Stage::Mounts, "`/etc` cannot be written")?;
    for source in sources.base {
        place(root.as_fd(), source)?;
    }
    devices(staging, spec.tmp_bytes)?;
    proc(staging)?;
    for (name, mode) in [("tmp", 0o1777), (HOME.trim_start_matches('/'), 0o700)] {
        directory(&staging.join(name))?;
        private(&staging.join(name), spec.tmp_bytes, mode)?;
    }
    for name in ["run", "var"] {
        directory(&staging.join(name))?;
    }
    symlink("/tmp", staging.join("var/tmp")).during(Stage::Mounts, "`/var/tmp` cannot be made")?;

    let mut rest = sources.read_only;
    if let (Some(mount), Some(tree)) = (&spec.workspace, sources.workspace) {
        let tree = if mount.mode == WorkspaceMode::Scratch {
            layered(root.as_fd(), tree.as_fd(), spec.tmp_bytes)?
        } else {
            tree
        };
        rest.push(Source { inside: mount.inside.clone(), content: Content::Directory(tree) });
    }
    // Outer places first, so that what lies within another place is put on top of it.
    rest.sort_by_key(|source| source.inside.components().count());
    for source in rest {
        place(root.as_fd(), source)?;
    }

    kernel::restrict_mount(root.as_fd(), READ_ONLY | NO_SUID | NO_DEVICES, None, Reach::One)
        .during(Stage::Mounts, "the new root cannot be made read-only")?;
    unistd::fchdir(&root).during(Stage::Mounts, "the new root cannot be entered")?;
    unistd::pivot_root(".", ".").during(Stage::Mounts, "the root cannot be changed")?;
    umount2(".", MntFlags::MNT_DETACH)
        .during(Stage::Mounts, "the host's file system cannot be left behind")?;
    unistd::chdir("/").during(Stage::Mounts, "the new root cannot be entered")
}

/// Puts one source at its place below `root`.
fn place(root: BorrowedFd<'_>, source: Source) -> Result<(), Failure> {
    let inside = &source.inside;
    let what = || format!("`{}` cannot be placed in the sandbox", inside.display());
    match source.content {
        Content::Link(target) => {
            symlink(target, Path::new(STAGING).join(inside.strip_prefix("/").unwrap_or(inside)))
                .during(Stage::Mounts, what())
        }
        Content::Directory(tree) => {
            let target = mount_point(root, inside, Shape::Directory)?;
            kernel::attach(tree.as_fd(), target.as_fd()).during(Stage::Mounts, what())
        }
        Content::File(tree) => {
            let target = mount_point(root, inside, Shape::File)?;
            kernel::attach(tree.as_fd(), target.as_fd()).during(Stage::Mounts, what())
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Directory,
    File,
}

/// Opens the place to mount on, creating what is missing as long as that is on a file system of our own.
fn mount_point(root: BorrowedFd<'_>, inside: &Path, shape: Shape) -> Result<OwnedFd, Failure> {
    let what = || format!("`{}` is no place to mount on", inside.display());
    let ours = stat::fstat(root).during(Stage::Mounts, what())?.st_dev;
    let mut at = root.try_clone_to_owned().during(Stage::Mounts, what())?;
    let mut names = inside.components().filter(|part| *part != Component::RootDir).peekable();
    while let Some(part) = names.next() {
        let Component::Normal(name) = part else { return Err(fault(Stage::Mounts, what())) };
        let last = names.peek().is_none();
        at = match step(&at, name) {
            Err(Errno::ENOENT) => {
                let here = stat::fstat(&at).during(Stage::Mounts, what())?.st_dev;
                if here != ours && !is_private(here) {
                    return Err(Errno::ENOENT).during(Stage::Mounts, what());
                }
                if last && shape == Shape::File {
                    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                    fcntl::openat(&at, name, flags, Mode::from_bits_truncate(0o644))
                        .during(Stage::Mounts, what())?;
                } else {
                    stat::mkdirat(&at, name, Mode::from_bits_truncate(0o755))
                        .during(Stage::Mounts, what())?;
                }
                step(&at, name).during(Stage::Mounts, what())?
            }
            other => other.during(Stage::Mounts, what())?,
        };
    }
    Ok(at)
}

/// Whether a device number is that of a private file system of this sandbox.
fn is_private(device: libc::dev_t) -> bool {
    ["tmp", HOME.trim_start_matches('/')]
        .iter()
        .filter_map(|name| stat::stat(&Path::new(STAGING).join(name)).ok())
        .any(|meta| meta.st_dev == device)
}

fn step(at: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    fcntl::openat2(at, name, OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve))
}

/// Mounts a private file system of limited size.
fn private(at: &Path, bytes: u64, mode: u32) -> Result<(), Failure> {
    let options =
        format!("size={bytes},nr_inodes={MAX_INODES},mode={mode:o},uid={INSIDE_ID},gid={INSIDE_ID}");
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))
        .during(Stage::Mounts, "a private file system cannot be mounted")
}

fn directory(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).during(Stage::Mounts, format_args!("`{}` cannot be made", path.display()))
}

fn devices(staging: &Path, bytes: u64) -> Result<(), Failure> {
    let dev = staging.join("dev");
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name))
            .during(Stage::Mounts, format_args!("`/dev/{name}` cannot be made"))?;
    }
    directory(&dev.join("shm"))?;
    private(&dev.join("shm"), bytes, 0o1777)?;
    directory(&dev.join("pts"))?;
    mount(
        Some("devpts"),
        &dev.join("pts"),
        Some("devpts"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("newinstance,ptmxmode=0666,mode=620"),
    )
    .during(Stage::Mounts, "`/dev/pts` cannot be mounted")
}

fn proc(staging: &Path) -> Result<(), Failure> {
    let at = staging.join("proc");
    directory(&at)?;
    mount(
        Some("proc"),
        &at,
        Some("proc"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("subset=pid"),
    )
    .during(Stage::Mounts, "`/proc` cannot be mounted")
}

/// Puts a layer that is thrown away over the workspace and returns the combination, detached.
fn layered(root: BorrowedFd<'_>, workspace: BorrowedFd<'_>, bytes: u64) -> Result<OwnedFd, Failure> {
    let what = "the workspace cannot be layered";
    let (lower, scratch, merged) = (".workspace", ".scratch", ".merged");
    let base = Path::new(STAGING);
    for name in [lower, scratch, merged] {
        directory(&base.join(name))?;
    }
    let at = mount_point(root, Path::new(lower), Shape::Directory)?;
    kernel::attach(workspace, at.as_fd()).during(Stage::Mounts, what)?;
    private(&base.join(scratch), bytes, 0o700)?;
    for name in ["upper", "work"] {
        directory(&base.join(scratch).join(name))?;
    }
    // The upper layer's root decides how the workspace's own directory looks.
    let meta = stat::stat(&base.join(lower)).during(Stage::Mounts, what)?;
    stat::fchmodat(
        AT_FDCWD,
        &base.join(scratch).join("upper"),
        Mode::from_bits_truncate(meta.st_mode & 0o777),
        stat::FchmodatFlags::FollowSymlink,
    )
    .during(Stage::Mounts, what)?;
    let options = format!(
        "lowerdir={STAGING}/{lower},upperdir={STAGING}/{scratch}/upper,workdir={STAGING}/{scratch}/work,userxattr"
    );
    mount(
        Some("overlay"),
        &base.join(merged),
        Some("overlay"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .during(Stage::Mounts, what)?;
    let tree = kernel::open_tree(c"/tmp/.merged").during(Stage::Mounts, what)?;
    for name in [merged, scratch, lower] {
        umount2(&base.join(name), MntFlags::MNT_DETACH).during(Stage::Mounts, what)?;
        fs::remove_dir(base.join(name)).during(Stage::Mounts, what)?;
    }
    Ok(tree)
}
