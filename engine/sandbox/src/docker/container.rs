//! One container with our guest as its first process: made, attached to, started, checked and removed.
//! What the engine says it made is checked against what was ordered before the guest hears a word.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bollard::{
    Docker,
    models::ContainerInspectResponse,
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptions, InspectContainerOptions,
        StartContainerOptions, WaitContainerOptionsBuilder,
    },
};
use futures::StreamExt;
use nix::unistd::{Gid, Uid};
use tokio::time;

use crate::{
    attestation::{
        Applied, Attestation, Isolation, MountAccess, MountNote, Network, ProcView, Runtime, WorkspaceOwner,
    },
    contract::{Backend, HostIds, Spec, WorkspaceMode},
    docker::{
        daemon::Daemon,
        image::{self, Resolved},
        limits::{self, Found},
        mounts,
        order::{self, Order},
        removal::remove,
        stream::{Incoming, Outgoing, split},
        sweep::{self, CANARIES, VIEWS},
    },
    error::StartError,
    guest::{CANARY_FILE, Settings},
    host::{Launcher, translate},
};

/// The guest, static, as the build made it.
const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/blueprint-guest"));

/// Time the engine may take to remove a container.
const REMOVAL_TIME: Duration = Duration::from_secs(30);

/// Time the engine may take to stop a container where it is.
const FREEZING_TIME: Duration = Duration::from_secs(10);

/// A container that runs.
#[derive(Debug)]
pub(crate) struct Container {
    api: Docker,
    id: String,
    groups: Vec<PathBuf>,
    canary: Canary,
    /// Keeps the translated view of the workspace for as long as the container.
    view: Option<View>,
    complaint: Arc<Mutex<Vec<u8>>>,
    removed: bool,
    /// Whether it was ever told to stop where it is and not resumed since.
    paused: AtomicBool,
}

/// A container whose guest waits for its settings.
pub(crate) struct Started {
    pub(crate) container: Container,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    pub(crate) settings: Settings,
}

impl Container {
    /// Makes and starts a container for this sandbox alone.
    pub(crate) async fn start(
        daemon: &Daemon,
        launcher: &Launcher,
        backend: Backend,
        spec: &Spec,
    ) -> Result<Started, StartError> {
        let unsupported = |what: &str| StartError::Unsupported { backend, what: what.to_owned() };
        if spec.workspace.as_ref().is_some_and(|mount| mount.mode == WorkspaceMode::Scratch) {
            return Err(unsupported("a workspace whose changes are thrown away"));
        }
        if daemon.facts.remaps_users {
            return Err(unsupported("a workspace through an engine that translates users (`userns-remap`)"));
        }
        let runtime = daemon.runtime(backend)?.to_owned();
        let who = Who::determine(daemon, spec);
        if backend == Backend::Gvisor && who.inside.uid == 0 {
            // There the guest is user 0 and can be told from commands by nothing else.
            return Err(unsupported("a guest that its commands cannot touch, on a rootless engine"));
        }
        let image = image::resolve(daemon, spec, who.inside).await?;
        let folder = &daemon.settings.folder;
        let guest =
            guest_file(folder).map_err(|source| StartError::Source { path: folder.clone(), source })?;
        let canary =
            Canary::new(folder).map_err(|source| StartError::Source { path: folder.clone(), source })?;
        let view = match &spec.workspace {
            Some(mount) if who.translates => {
                Some(View::open(launcher, folder, &mount.host, who.inside, backend).await?)
            }
            _ => None,
        };
        let workspace = view
            .as_ref()
            .map(|view| view.0.as_path())
            .or(spec.workspace.as_ref().map(|mount| mount.host.as_path()));
        let order = Order {
            backend,
            runtime: &runtime,
            image: &image.id,
            spec,
            ids: who.inside,
            mounts: mounts::all(spec, image.shows_host, &guest, &canary.0, workspace)?,
            labels: sweep::labels(),
        };
        let failed = |what: &'static str| {
            move |source: bollard::errors::Error| StartError::Engine { what, source: source.into() }
        };
        let made = daemon
            .api
            .create_container(None::<CreateContainerOptions>, order.body())
            .await
            .map_err(failed("make a container"))?;
        let mut container = Self {
            api: daemon.api.clone(),
            id: made.id,
            groups: Vec::new(),
            canary,
            view,
            complaint: Arc::default(),
            removed: false,
            paused: AtomicBool::new(false),
        };
        match container.begin(daemon, backend, spec, &image, &who, runtime).await {
            Ok((incoming, outgoing, settings)) => Ok(Started { container, incoming, outgoing, settings }),
            Err(error) => {
                container.end().await;
                Err(error)
            }
        }
    }

    async fn begin(
        &mut self,
        daemon: &Daemon,
        backend: Backend,
        spec: &Spec,
        image: &Resolved,
        who: &Who,
        runtime: String,
    ) -> Result<(Incoming, Outgoing, Settings), StartError> {
        let failed = |what: &'static str| {
            move |source: bollard::errors::Error| StartError::Engine { what, source: source.into() }
        };
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self
            .api
            .attach_container(&self.id, Some(options))
            .await
            .map_err(failed("attach to a container"))?;
        self.api
            .start_container(&self.id, None::<StartContainerOptions>)
            .await
            .map_err(failed("start a container"))?;
        let seen = self
            .api
            .inspect_container(&self.id, None::<InspectContainerOptions>)
            .await
            .map_err(failed("describe a container"))?;
        check(&seen, &runtime)?;
        let ordered = |target: &str| {
            spec.workspace.as_ref().is_some_and(|mount| mount.inside == Path::new(target))
                || spec.read_only.iter().any(|mount| mount.inside == Path::new(target))
        };
        for mount in seen.mounts.iter().flatten() {
            let (target, writable) =
                (mount.destination.as_deref().unwrap_or_default(), mount.rw != Some(false));
            if writable && !ordered(target) {
                return Err(StartError::NotAsOrdered(format!("`{target}` can be written in it")));
            }
        }
        let process = seen.state.as_ref().and_then(|state| state.pid).unwrap_or_default();
        if let (Some(view), Some(mount), Backend::Container) = (&self.view, &spec.workspace, backend) {
            let inside = mount.inside.strip_prefix("/").unwrap_or(&mount.inside);
            let there = fs::metadata(format!("/proc/{process}/root")).and_then(|_| {
                fs::metadata(Path::new("/proc").join(process.to_string()).join("root").join(inside))
            });
            let here = fs::metadata(&view.0)
                .map_err(|source| StartError::Source { path: view.0.clone(), source })?;
            // An engine with mounts of its own sees an empty folder where we see the workspace.
            if !there.is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())) {
                return Err(StartError::NotAsOrdered(
                    "the engine does not see the workspace where this process does; run both in one mount namespace"
                        .to_owned(),
                ));
            }
        }
        let Found { groups, enforcement } = limits::read_back(process, spec, order::tasks(backend, spec));
        let wanted = [
            ("memory", enforcement.memory),
            ("processes", enforcement.pids),
            ("processors", enforcement.cpus),
        ];
        for (limit, enforcer) in wanted {
            if enforcer == crate::attestation::Enforcer::Nothing {
                return Err(StartError::NotInForce { limit });
            }
        }
        self.groups = groups;
        let attestation = Attestation {
            isolation: Isolation::Isolated,
            host_uid: who.host,
            inside_uid: who.inside.uid,
            seccomp: Applied::Yes,
            no_privileges: Applied::Yes,
            network: Network::LoopbackOnly,
            proc: ProcView::OwnNamespace,
            workspace_owner: match (&spec.workspace, &self.view) {
                (None, _) => WorkspaceOwner::NoWorkspace,
                (Some(_), None) => WorkspaceOwner::SameUser,
                (Some(_), Some(_)) => WorkspaceOwner::IdMapped,
            },
            mounts: notes(spec),
            limits: enforcement,
            runtime: Some(Runtime {
                name: runtime,
                engine: daemon.facts.version.clone(),
                image: image.attested.clone(),
            }),
            ..Attestation::unisolated(backend)
        };
        let settings = Settings {
            limits: spec.limits,
            attestation,
            control_groups: Vec::new(),
            outer_cgroup_namespace: PathBuf::new(),
            step: (backend == Backend::Gvisor).then_some(who.inside),
        };
        let (api, id) = (self.api.clone(), self.id.clone());
        let ended = async move {
            let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
            // An exit code that is not 0 is an error to the client; that it ended is all we ask.
            drop(api.wait_container(&id, Some(options)).next().await);
        };
        let (incoming, outgoing) = split(attached, ended, Arc::clone(&self.complaint));
        Ok((incoming, outgoing, settings))
    }

    /// Whether what is shown read-only cannot be changed from inside: the guest has tried before it answered.
    ///
    /// gVisor up to 20240729 empties a file that is opened for that on a read-only mount, and then refuses the opening,
    /// unless it is told `--directfs=false`.
    pub(crate) fn is_read_only(&self) -> bool {
        fs::read(self.canary.0.join(CANARY_FILE)).is_ok_and(|found| found == CANARY_TEXT)
    }

    /// Its control groups, as this machine sees them.
    pub(crate) fn groups(&self) -> &[PathBuf] {
        &self.groups
    }

    /// Stops it where it is.
    pub(crate) async fn pause(&self) -> bool {
        self.paused.store(true, Ordering::Relaxed);
        let pausing = self.api.pause_container(&self.id);
        time::timeout(FREEZING_TIME, pausing).await.is_ok_and(|paused| paused.is_ok())
    }

    /// Lets it go on.
    pub(crate) async fn resume(&self) -> bool {
        let resumed = self.api.unpause_container(&self.id).await.is_ok();
        self.paused.store(!resumed, Ordering::Relaxed);
        resumed
    }

    /// Whether the kernel ended it, or something in it, for want of memory.
    pub(crate) async fn ran_out_of_memory(&self) -> bool {
        let seen = self.api.inspect_container(&self.id, None::<InspectContainerOptions>).await;
        seen.ok().and_then(|seen| seen.state?.oom_killed).unwrap_or(false)
    }

    /// What its guest or its runtime wrote to standard error.
    pub(crate) fn complaint(&self) -> Vec<u8> {
        self.complaint.lock().map(|kept| kept.clone()).unwrap_or_default()
    }

    /// Kills everything in it and removes it.
    pub(crate) async fn end(&mut self) {
        if !self.removed {
            let removal = remove(&self.api, &self.id, self.paused.load(Ordering::Relaxed));
            self.removed = time::timeout(REMOVAL_TIME, removal).await.is_ok_and(|removed| removed);
        }
        self.view = None;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The closed channel ends the guest and the container with it; what is left is only its name. If nobody can
        // remove it now, the next start will.
        if let (false, Ok(runtime)) = (self.removed, tokio::runtime::Handle::try_current()) {
            let (api, id, view) = (self.api.clone(), self.id.clone(), self.view.take());
            let paused = self.paused.load(Ordering::Relaxed);
            runtime.spawn(async move {
                remove(&api, &id, paused).await;
                drop(view);
            });
        }
    }
}

/// Refuses a container that is not what was ordered.
fn check(seen: &ContainerInspectResponse, runtime: &str) -> Result<(), StartError> {
    let wrong = |what: &str| Err(StartError::NotAsOrdered(what.to_owned()));
    let Some(host) = &seen.host_config else { return wrong("it says nothing of its settings") };
    if host.runtime.as_deref() != Some(runtime) {
        return wrong(&format!("its runtime is {:?}", host.runtime));
    }
    if host.network_mode.as_deref() != Some("none") {
        return wrong(&format!("its network is {:?}", host.network_mode));
    }
    let networks = seen.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    for (name, end) in networks.into_iter().flatten() {
        if name != "none" || end.ip_address.as_ref().is_some_and(|address| !address.is_empty()) {
            return wrong(&format!("it is part of the network {name}"));
        }
    }
    if host.privileged == Some(true) || host.readonly_rootfs != Some(true) {
        return wrong("its root can be written or it has privileges");
    }
    Ok(())
}

fn notes(spec: &Spec) -> Vec<MountNote> {
    let read_only =
        spec.read_only.iter().map(|m| MountNote { inside: m.inside.clone(), access: MountAccess::ReadOnly });
    let workspace = spec.workspace.iter().map(|mount| MountNote {
        inside: mount.inside.clone(),
        access: if mount.mode == WorkspaceMode::ReadOnly {
            MountAccess::ReadOnly
        } else {
            MountAccess::ReadWrite
        },
    });
    read_only.chain(workspace).collect()
}

/// Who commands are, inside and on this machine.
struct Who {
    inside: HostIds,
    host: u32,
    /// Whether the workspace's files must be shown as theirs.
    translates: bool,
}

impl Who {
    fn determine(daemon: &Daemon, spec: &Spec) -> Self {
        let own = HostIds { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() };
        if daemon.facts.rootless {
            // The engine's own user is user 0 of its containers, and nobody's user 0 on the machine.
            return Self { inside: HostIds { uid: 0, gid: 0 }, host: own.uid, translates: false };
        }
        if own.uid == 0 {
            return Self { inside: spec.host_ids, host: spec.host_ids.uid, translates: true };
        }
        Self { inside: own, host: own.uid, translates: false }
    }
}

/// A view of a workspace in which its files are the sandboxed user's, mounted on a folder of ours.
#[derive(Debug)]
struct View(PathBuf);

impl View {
    async fn open(
        launcher: &Launcher,
        folder: &Path,
        workspace: &Path,
        ids: HostIds,
        backend: Backend,
    ) -> Result<Self, StartError> {
        let views = folder.join(VIEWS);
        let at = views.join(sweep::own_name());
        let source = |source| StartError::Source { path: at.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&views).map_err(source)?;
        fs::create_dir(&at).map_err(source)?;
        let view = Self(at);
        // gVisor's helper on this machine creates files as root and gives them away.
        let keeps_root = backend == Backend::Gvisor;
        translate(launcher, workspace, &view.0, ids, keeps_root).await?;
        Ok(view)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        sweep::close_view(&self.0);
    }
}

/// What the proof file says.
const CANARY_TEXT: &[u8] = b"whole\n";

/// A folder of this container alone, with a file that the guest tries to empty although it is shown read-only.
#[derive(Debug)]
struct Canary(PathBuf);

impl Canary {
    fn new(folder: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder.join(CANARIES);
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&folder)?;
        let canary = Self(folder.join(sweep::own_name()));
        fs::create_dir(&canary.0)?;
        let file = canary.0.join(CANARY_FILE);
        fs::write(&file, CANARY_TEXT)?;
        // Only the mount may stand in the way.
        fs::set_permissions(&canary.0, fs::Permissions::from_mode(0o777))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
        Ok(canary)
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The guest as a file that the engine can mount, named by its content.
fn guest_file(folder: &Path) -> io::Result<PathBuf> {
    let digest = blake3::hash(GUEST).to_hex();
    let path = folder.join(format!("guest-{}", digest.get(..16).unwrap_or_default()));
    if fs::read(&path).is_ok_and(|found| found == GUEST) {
        return Ok(path);
    }
    fs::DirBuilder::new().recursive(true).mode(0o711).create(folder)?;
    let draft = folder.join(format!("guest-draft-{}", std::process::id()));
    drop(fs::remove_file(&draft));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o555).open(&draft)?;
    file.write_all(GUEST)?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    Ok(path)
}
