//! What is asked of the engine for one container. Pure, and the only place where a container's privileges are
//! decided: whatever a sandbox is asked to be, nothing here can add one.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use crate::{
    contract::{Backend, HOME, HostIds, Spec},
    docker::profile,
    launcher::{CARRIED, HIDDEN_ARGUMENT},
};

/// Where the guest is inside.
pub(super) const GUEST: &str = "/.guest";

/// Parts of `/proc` and `/sys` that tell about the machine or its hardware: the engine's own list, which naming any
/// replaces, and what it leaves open.
const MASKED: [&str; 17] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/cmdline",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/version",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel",
    "/sys/class/net",
    "/sys/devices/system/cpu/vulnerabilities",
];

/// Parts of `/proc` that act on the machine.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Tasks of its own that gVisor has besides those inside, which it needs about two each for.
const GVISOR_TASKS: i64 = 96;

/// Everything one container is made from.
pub(super) struct Order<'a> {
    pub(super) backend: Backend,
    pub(super) runtime: &'a str,
    pub(super) image: &'a str,
    pub(super) spec: &'a Spec,
    /// Who commands are.
    pub(super) ids: HostIds,
    pub(super) mounts: Vec<Mount>,
    pub(super) labels: HashMap<String, String>,
}

/// Tasks that the whole container may have on this machine.
pub(super) fn tasks(backend: Backend, spec: &Spec) -> i64 {
    let inside = i64::from(spec.limits.pids);
    match backend {
        // The guest counts as one.
        Backend::Container => inside + 1,
        _ => inside.saturating_mul(11) / 5 + GVISOR_TASKS,
    }
}

impl Order<'_> {
    /// The request.
    pub(super) fn body(self) -> ContainerCreateBody {
        let inside_gvisor = self.backend == Backend::Gvisor;
        let user =
            if inside_gvisor { "0:0".to_owned() } else { format!("{}:{}", self.ids.uid, self.ids.gid) };
        ContainerCreateBody {
            hostname: Some(self.spec.hostname.clone()),
            user: Some(user),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            open_stdin: Some(true),
            // When our end of the channel goes, so does the guest's input, and with it the guest.
            stdin_once: Some(true),
            env: Some(Vec::new()),
            cmd: Some(Vec::new()),
            entrypoint: Some(vec![GUEST.to_owned(), HIDDEN_ARGUMENT.to_owned(), CARRIED.to_owned()]),
            image: Some(self.image.to_owned()),
            working_dir: Some("/".to_owned()),
            labels: Some(self.labels.clone()),
            healthcheck: Some(bollard::models::HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..Default::default()
            }),
            host_config: Some(self.host()),
            ..Default::default()
        }
    }

    fn host(self) -> HostConfig {
        let limits = &self.spec.limits;
        let memory = i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX);
        let inside_gvisor = self.backend == Backend::Gvisor;
        HostConfig {
            runtime: Some(self.runtime.to_owned()),
            network_mode: Some("none".to_owned()),
            dns: Some(vec!["127.0.0.1".to_owned()]),
            dns_search: Some(vec![".".to_owned()]),
            memory: Some(memory),
            // The same number: no swap on top.
            memory_swap: Some(memory),
            nano_cpus: Some(nano(limits.cpus)),
            pids_limit: Some(tasks(self.backend, self.spec)),
            ulimits: Some(self.ulimits()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            // gVisor protects no process from another of the same user, so its guest is another user there. These are
            // gVisor's own capabilities, not the machine's.
            cap_add: inside_gvisor.then(|| ["SETUID", "SETGID", "KILL"].map(str::to_owned).to_vec()),
            security_opt: Some(vec!["no-new-privileges".to_owned(), format!("seccomp={}", profile::text())]),
            privileged: Some(false),
            readonly_rootfs: Some(true),
            init: Some(false),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            masked_paths: Some(MASKED.map(str::to_owned).to_vec()),
            readonly_paths: Some(READ_ONLY.map(str::to_owned).to_vec()),
            tmpfs: Some(self.private_folders()),
            shm_size: Some(i64::try_from(self.spec.tmp_bytes).unwrap_or(i64::MAX)),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            // Loopback has both families; nobody may ping.
            sysctls: Some(HashMap::from([
                ("net.ipv6.conf.all.disable_ipv6".to_owned(), "0".to_owned()),
                ("net.ipv4.ping_group_range".to_owned(), "1 0".to_owned()),
            ])),
            auto_remove: Some(false),
            oom_score_adj: Some(500),
            mounts: Some(self.mounts),
            ..Default::default()
        }
    }

    fn ulimits(&self) -> Vec<ResourcesUlimits> {
        let files = i64::try_from(self.spec.limits.open_files).unwrap_or(i64::MAX).max(1024);
        [("core", 0), ("nofile", files)]
            .map(|(name, value)| ResourcesUlimits {
                name: Some(name.to_owned()),
                soft: Some(value),
                hard: Some(value),
            })
            .to_vec()
    }

    fn private_folders(&self) -> HashMap<String, String> {
        let size = self.spec.tmp_bytes;
        let HostIds { uid, gid } = self.ids;
        let private = format!("rw,exec,nosuid,nodev,size={size},nr_inodes=1m");
        // gVisor takes no owner for such a folder; its only other user is the guest.
        let home = match self.backend {
            Backend::Gvisor => format!("{private},mode=0777"),
            _ => format!("{private},mode=0700,uid={uid},gid={gid}"),
        };
        HashMap::from([("/tmp".to_owned(), format!("{private},mode=1777")), (HOME.to_owned(), home)])
    }
}

fn nano(cpus: f64) -> i64 {
    (cpus * 1e9).round().max(1.0) as i64
}
