//! Which sandbox the tiers get, where containers are made, and how many wait: `[tiers]`, `[docker]`, `[microvm]` and `[pool]`
//! of the user's settings.
//! A tier that is mapped to something weaker than its default stays mapped, and is said so at every run.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use blueprint_core::format::Tier;
use blueprint_sandbox::{Acceleration, MachineSettings, PoolSettings, Rootfs};
use serde::Deserialize;

use super::value::Sandbox;

/// The sandboxes of the tiers. That of `trusted` is the setting `sandbox`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tiers {
    #[serde(default)]
    pub(super) internal: Option<String>,
    #[serde(default)]
    pub(super) generated: Option<String>,
    #[serde(default)]
    pub(super) untrusted: Option<String>,
}

/// What isolates a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// The sandbox.
    pub(crate) sandbox: Sandbox,
    /// Whether it isolates less than the tier's default.
    pub(crate) weaker: bool,
}

impl Tiers {
    /// What is wrong with it, for people.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, word) in
            [("internal", &self.internal), ("generated", &self.generated), ("untrusted", &self.untrusted)]
        {
            match word.as_deref().map(str::parse::<Sandbox>) {
                Some(Ok(Sandbox::Auto | Sandbox::None)) => {
                    return Err(format!(
                        "`{name}` names the sandbox it gets: \"microvm\", \"gvisor\", \"container\", \"process\" or \
                         \"bubblewrap\""
                    ));
                }
                None | Some(Ok(_)) => {}
                Some(Err(reason)) => return Err(format!("`{name}` {reason}")),
            }
        }
        Ok(())
    }

    /// The sandbox of a tier other than `trusted`.
    pub(crate) fn of(&self, tier: Tier) -> Mapped {
        let (word, default) = match tier {
            Tier::Trusted => (&None, Sandbox::Process),
            Tier::Internal => (&self.internal, Sandbox::Container),
            Tier::Generated => (&self.generated, Sandbox::Gvisor),
            Tier::Untrusted => (&self.untrusted, Sandbox::Gvisor),
        };
        let sandbox = word.as_deref().and_then(|word| word.parse().ok()).unwrap_or(default);
        Mapped { sandbox, weaker: rank(sandbox) < rank(default) }
    }
}

/// How much stands between a command and the machine's kernel. The process sandbox and a container have the same kernel
/// and much the same walls; what a hardened container has more is a control group for every limit.
fn rank(sandbox: Sandbox) -> u8 {
    match sandbox {
        Sandbox::None => 0,
        Sandbox::Auto | Sandbox::Process | Sandbox::Bubblewrap => 1,
        Sandbox::Container => 2,
        Sandbox::Gvisor => 3,
        // With the processor's help; software emulation is no boundary, and the attestation says which it was.
        Sandbox::Microvm => 4,
    }
}

/// The Docker engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Docker {
    /// Its socket, as in `DOCKER_HOST`.
    #[serde(default)]
    pub(crate) host: Option<String>,
    /// Its name of the plain OCI runtime.
    #[serde(default)]
    pub(crate) runc: Option<String>,
    /// Its name of the gVisor runtime.
    #[serde(default)]
    pub(crate) gvisor: Option<String>,
    /// How long one image may be built, in seconds.
    #[serde(default)]
    pub(crate) build_seconds: Option<NonZeroU32>,
}

/// Virtual machines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Microvm {
    /// The base system: a folder, or an image of a file system.
    pub(super) rootfs: PathBuf,
    #[serde(default)]
    pub(super) qemu: Option<PathBuf>,
    #[serde(default)]
    pub(super) kernel: Option<PathBuf>,
    #[serde(default)]
    pub(super) modules: Option<PathBuf>,
    #[serde(default)]
    pub(super) acceleration: Acceleration,
    #[serde(default)]
    boot_seconds: Option<u64>,
    #[serde(default)]
    workspace_bytes: Option<u64>,
}

impl Microvm {
    /// What machines are made of, with a folder for what takes long to make.
    pub(crate) fn machine(&self, cache: PathBuf) -> MachineSettings {
        let rootfs = self.rootfs.clone();
        let rootfs = if rootfs.is_dir() { Rootfs::Directory(rootfs) } else { Rootfs::Image(rootfs) };
        let usual = MachineSettings::new(rootfs, cache);
        MachineSettings {
            qemu: self.qemu.clone(),
            kernel: self.kernel.clone(),
            modules: self.modules.clone(),
            acceleration: self.acceleration,
            boot_seconds: self.boot_seconds.unwrap_or(usual.boot_seconds),
            workspace_bytes: self.workspace_bytes.unwrap_or(usual.workspace_bytes),
            ..usual
        }
    }

    /// What is wrong with it, for people.
    pub(super) fn check(&self) -> Result<(), String> {
        let named = [Some(&self.rootfs), self.qemu.as_ref(), self.kernel.as_ref(), self.modules.as_ref()];
        match named.into_iter().flatten().find(|path| !path.is_absolute()) {
            Some(path) => Err(format!("cannot be used: `{}` must be an absolute path", path.display())),
            None => Ok(()),
        }
    }
}

/// Sandboxes that are ready before they are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pool {
    /// The most that wait; 0 turns it off.
    #[serde(default)]
    size: Option<usize>,
    /// Seconds after which one is replaced.
    #[serde(default)]
    ttl: Option<u64>,
}

impl Pool {
    /// The most that may be asked for: each holds memory as long as a run lasts.
    const MOST: usize = 64;

    /// What the runs of this user may have ready.
    pub(crate) fn settings(&self) -> PoolSettings {
        let usual = PoolSettings::default();
        PoolSettings {
            size: self.size.unwrap_or(usual.size),
            ttl: self.ttl.map_or(usual.ttl, Duration::from_secs),
        }
    }

    /// What is wrong with it, for people.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.size.is_some_and(|size| size > Self::MOST) {
            return Err(format!("cannot be used: `size` must be at most {}", Self::MOST));
        }
        match self.ttl {
            Some(0) => {
                Err("cannot be used: `ttl` must be at least one second; `size = 0` turns the pool off"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_bounds_and_a_size_of_nothing_is_none() {
        let read = |text: &str| toml::from_str::<Pool>(text).unwrap();
        assert_eq!(read("").settings(), PoolSettings::default());
        assert_eq!(read("size = 0").settings().size, 0);
        assert_eq!(read("ttl = 5").settings().ttl, Duration::from_secs(5));
        assert!(read("size = 64\nttl = 1").check().is_ok());
        assert!(read("size = 65").check().unwrap_err().contains("at most 64"));
        assert!(read("ttl = 0").check().unwrap_err().contains("size = 0"));
        assert!(toml::from_str::<Pool>("sise = 1").is_err());
    }

    #[test]
    fn strangers_get_a_kernel_of_their_own_unless_the_user_says_otherwise() {
        let tiers = Tiers::default();
        assert_eq!(tiers.of(Tier::Untrusted), Mapped { sandbox: Sandbox::Gvisor, weaker: false });
        let tiers: Tiers = toml::from_str("untrusted = \"process\"\ninternal = \"gvisor\"").unwrap();
        assert_eq!(tiers.of(Tier::Untrusted), Mapped { sandbox: Sandbox::Process, weaker: true });
        assert_eq!(tiers.of(Tier::Internal), Mapped { sandbox: Sandbox::Gvisor, weaker: false });
        assert_eq!(tiers.of(Tier::Generated), Mapped { sandbox: Sandbox::Gvisor, weaker: false });
    }

    #[test]
    fn no_tier_is_mapped_to_nothing() {
        for text in ["untrusted = \"none\"", "internal = \"auto\"", "generated = \"docker\""] {
            assert!(toml::from_str::<Tiers>(text).unwrap().check().is_err(), "{text}");
        }
        assert!(toml::from_str::<Tiers>("trusted = \"none\"").is_err());
    }
}
