//! The second backend: `bwrap` builds the namespaces and starts our guest as process 1 of them.
//! Before it does, the caller's identity is dropped: `bwrap` run by root would let commands keep it.

use std::{
    ffi::{CString, OsString},
    fs::{self, File},
    io::{Seek, Write},
    os::{
        fd::{AsFd, IntoRawFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
    process::ExitCode,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::{MsFlags, mount},
    sched::{self, CloneFlags},
    sys::{
        memfd::{MFdFlags, memfd_create},
        stat::Mode,
        wait,
    },
    unistd::{self, Gid, Uid},
};

use crate::{
    attestation::{Applied, Attestation, Isolation, Network, ProcView},
    contract::{Backend, HOME, HostIds, Spec, WorkspaceMode},
    guest,
    kernel::{self, Side},
    launcher::{
        HIDDEN_ARGUMENT,
        cgroup::ControlGroups,
        entry, etc,
        fault::{During, fault},
        identity::{Caller, INSIDE_ID},
        process::{enforcement, mount_notes, release_channel, workspace_owner},
        sources::{self, Content, ETC, SYSTEM},
    },
    wire::{Boot, Failure, Stage},
};

/// The distribution's own; a copy elsewhere would lack the profile that lets it create namespaces.
const BWRAP: &str = "/usr/bin/bwrap";

/// Where the guest is inside.
const GUEST: &str = "/.guest";

/// Where sources wait when the caller is root.
const STAGE: &str = "/tmp";

/// Starts `bwrap` and waits for its end.
pub(super) fn supervise(boot: &Boot) -> Result<ExitCode, Failure> {
    if !Path::new(BWRAP).exists() {
        return Err(Errno::ENOENT).during(Stage::Guest, format_args!("`{BWRAP}`"));
    }
    let caller = Caller::determine(boot.spec.host_ids)?;
    let groups = ControlGroups::create(&boot.name, &boot.spec.limits);
    let side = kernel::fork().during(Stage::Guest, "no process can be created");
    let outcome = match side {
        Ok(Side::Child) => {
            let failure = become_it(boot, caller, groups);
            entry::report(&failure);
            kernel::exit_now(1);
        }
        Ok(Side::Parent(pid)) => release_channel()
            .and_then(|()| wait::waitpid(pid, None))
            .during(Stage::Guest, "`bwrap` cannot be awaited")
            .map(|status| match status {
                wait::WaitStatus::Exited(_, 0) => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }),
        Err(failure) => Err(failure),
    };
    groups.remove();
    outcome
}

fn become_it(boot: &Boot, caller: Caller, groups: ControlGroups) -> Failure {
    let Err(failure) = try_become(boot, caller, groups);
    failure
}

fn try_become(
    boot: &Boot,
    caller: Caller,
    groups: ControlGroups,
) -> Result<std::convert::Infallible, Failure> {
    let groups = groups.join();
    let mut mounts = match caller {
        Caller::Root(ids) => stage(&boot.spec, &boot.guest, ids)?,
        Caller::Ordinary(_) => in_place(&boot.spec, &boot.guest),
    };
    mounts.sort_by_key(|mount| mount.inside.components().count());
    let settings = serde_json::to_vec(&settings(&boot.spec, caller, &groups)?)
        .map_err(|error| fault(Stage::Boot, error))?;
    // Not as a word of the command line: commands can read that.
    let settings = inherited("settings", &settings)?;
    let mut line = Line::default();
    line.words(["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--as-pid-1"]);
    line.words(["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]);
    let id = INSIDE_ID.to_string();
    line.words(["--uid", &id, "--gid", &id, "--hostname", &boot.spec.hostname]);
    base(&mut line, &boot.spec)?;
    for mount in mounts {
        line.words([if mount.writable { "--bind" } else { "--ro-bind" }]);
        line.path(mount.host);
        line.path(mount.inside);
    }
    line.words(["--remount-ro", "/", "--chdir", "/", "--", GUEST, HIDDEN_ARGUMENT, &settings]);
    let argv = line.finish()?;
    let program = CString::new(BWRAP).map_err(|error| fault(Stage::Guest, error))?;
    unistd::execve(&program, &argv, &[] as &[CString])
        .during(Stage::Guest, format_args!("`{BWRAP}` cannot be run"))
}

fn settings(spec: &Spec, caller: Caller, groups: &ControlGroups) -> Result<guest::Settings, Failure> {
    let attestation = Attestation {
        backend: Backend::Bubblewrap,
        isolation: Isolation::Isolated,
        kernel: guest::kernel_release(),
        host_uid: caller.host_ids().uid,
        inside_uid: INSIDE_ID,
        landlock_abi: None,
        seccomp: Applied::Yes,
        no_privileges: Applied::Yes,
        cgroup_namespace: Applied::No,
        network: Network::LoopbackOnly,
        proc: ProcView::OwnNamespace,
        workspace_owner: workspace_owner(spec, caller),
        mounts: mount_notes(spec),
        limits: enforcement(groups),
        runtime: None,
        user_space_kernel: None,
        machine: None,
    };
    Ok(guest::Settings {
        limits: spec.limits,
        step: None,
        attestation,
        control_groups: groups.directories.clone(),
        outer_cgroup_namespace: guest::control_group_namespace()
            .during(Stage::Namespaces, "the namespaces cannot be told apart")?,
    })
}

/// A mount for `bwrap` to make.
struct Bind {
    host: PathBuf,
    inside: PathBuf,
    writable: bool,
}

fn in_place(spec: &Spec, guest: &Path) -> Vec<Bind> {
    let workspace = spec.workspace.iter().map(|mount| Bind {
        host: mount.host.clone(),
        inside: mount.inside.clone(),
        writable: mount.mode == WorkspaceMode::ReadWrite,
    });
    let read_only = spec.read_only.iter().map(|mount| (mount.host.clone(), mount.inside.clone()));
    read_only
        .chain([(guest.to_owned(), PathBuf::from(GUEST))])
        .map(|(host, inside)| Bind { host, inside, writable: false })
        .chain(workspace)
        .collect()
}

/// Attaches everything below a private directory that the dedicated user can reach, then becomes that user.
fn stage(spec: &Spec, guest: &Path, ids: HostIds) -> Result<Vec<Bind>, Failure> {
    let workspace = spec
        .workspace
        .as_ref()
        .map(|mount| sources::workspace(&mount.host, mount.mode, Some(ids)))
        .transpose()?;
    let mut binds = in_place(spec, guest);
    let opened = binds
        .iter()
        .map(|bind| match &spec.workspace {
            Some(mount) if mount.inside == bind.inside => Ok(None),
            _ => sources::read_only(&bind.host).map(Some),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let what = "the sources cannot be staged";
    let none = None::<&str>;
    sched::unshare(CloneFlags::CLONE_NEWNS).during(Stage::Namespaces, what)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).during(Stage::Mounts, what)?;
    mount(Some("tmpfs"), STAGE, Some("tmpfs"), MsFlags::MS_NODEV, Some("size=1m,mode=755"))
        .during(Stage::Mounts, what)?;
    let mut workspace = workspace.map(Content::Directory);
    for (number, (bind, content)) in binds.iter_mut().zip(opened).enumerate() {
        let at = Path::new(STAGE).join(number.to_string());
        let (tree, flags) = match content.or_else(|| workspace.take()) {
            Some(Content::Directory(tree)) => {
                fs::create_dir(&at).during(Stage::Mounts, what)?;
                (tree, OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY)
            }
            Some(Content::File(tree)) => {
                File::create(&at).during(Stage::Mounts, what)?;
                (tree, OFlag::O_PATH | OFlag::O_CLOEXEC)
            }
            Some(Content::Link(_)) | None => return Err(fault(Stage::Mounts, what)),
        };
        let target = nix::fcntl::open(&at, flags, Mode::empty()).during(Stage::Mounts, what)?;
        kernel::attach(tree.as_fd(), target.as_fd()).during(Stage::Mounts, what)?;
        bind.host = at;
    }
    let what = "the caller's identity cannot be dropped";
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    unistd::setgroups(&[]).during(Stage::Identity, what)?;
    unistd::setresgid(gid, gid, gid).during(Stage::Identity, what)?;
    unistd::setresuid(uid, uid, uid).during(Stage::Identity, what)?;
    Ok(binds)
}

/// The base system, devices and private file systems, in words of `bwrap`.
fn base(line: &mut Line, spec: &Spec) -> Result<(), Failure> {
    for name in SYSTEM.iter().map(PathBuf::from).chain(ETC.iter().map(|name| Path::new("etc").join(name))) {
        let path = Path::new("/").join(&name);
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_symlink() && name.components().count() == 1 {
            line.words(["--symlink"]);
            line.path(fs::read_link(&path).during(Stage::Source, path.display())?);
            line.path(path);
        } else if path.exists() {
            line.words(["--ro-bind"]);
            line.path(path.clone());
            line.path(path);
        }
    }
    for (name, content) in etc::files(&spec.hostname, etc::INSIDE) {
        let file = inherited(name, content.as_bytes())?;
        line.words(["--perms", "0644", "--file", &file, &format!("/etc/{name}")]);
    }
    let bytes = spec.tmp_bytes.to_string();
    line.words(["--proc", "/proc", "--dev", "/dev"]);
    for (at, mode) in [("/dev/shm", "1777"), ("/tmp", "1777"), (HOME, "0700")] {
        line.words(["--perms", mode, "--size", &bytes, "--tmpfs", at]);
    }
    line.words(["--dir", "/run", "--symlink", "/tmp", "/var/tmp"]);
    Ok(())
}

/// A file in memory that survives `exec`, and its number.
fn inherited(name: &str, content: &[u8]) -> Result<String, Failure> {
    let what = "a file in memory cannot be made";
    let mut file = File::from(memfd_create(name, MFdFlags::empty()).during(Stage::Mounts, what)?);
    file.write_all(content).during(Stage::Mounts, what)?;
    file.rewind().during(Stage::Mounts, what)?;
    // Whoever we become reads it.
    Ok(file.into_raw_fd().to_string())
}

/// The words of a command.
#[derive(Default)]
struct Line {
    words: Vec<OsString>,
}

impl Line {
    fn words<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.words.extend(words.into_iter().map(OsString::from));
    }

    fn path(&mut self, path: PathBuf) {
        self.words.push(path.into_os_string());
    }

    fn finish(self) -> Result<Vec<CString>, Failure> {
        self.words
            .into_iter()
            .map(|word| CString::new(word.into_vec()).map_err(|error| fault(Stage::Source, error)))
            .collect()
    }
}
