//! The tables about sandboxes, `[tiers]`, `[docker]`, `[microvm]` and `[pool]`, as rows for people.
//! Shows what is in force by the same functions that put it in force; must never have a default of its own.

use std::path::{Path, PathBuf};

use blueprint_core::format::Tier;
use blueprint_sandbox::{Acceleration, DockerSettings};

use super::origin::plain;
use super::tiers::{Docker, Microvm, Pool, Tiers};

/// A name as in messages, and the value in force; empty where something is found out later or not set.
pub(super) type Row = (&'static str, String);

pub(super) fn tiers(tiers: &Tiers) -> Vec<Row> {
    let of = |tier| tiers.of(tier).sandbox.to_string();
    vec![
        ("tiers.internal", of(Tier::Internal)),
        ("tiers.generated", of(Tier::Generated)),
        ("tiers.untrusted", of(Tier::Untrusted)),
    ]
}

pub(super) fn docker(docker: &Docker) -> Vec<Row> {
    let usual = DockerSettings::new("");
    let shown = |value: &Option<String>, usual: String| plain(value.as_ref().unwrap_or(&usual));
    vec![
        ("docker.host", shown(&docker.host, String::new())),
        ("docker.runc", shown(&docker.runc, usual.runc)),
        ("docker.gvisor", shown(&docker.gvisor, usual.gvisor)),
    ]
}

/// Without the table there are no machines, which one empty row says.
pub(super) fn microvm(microvm: Option<&Microvm>) -> Vec<Row> {
    let Some(microvm) = microvm else { return vec![("microvm.rootfs", String::new())] };
    let shown = |path: &Path| plain(&path.to_string_lossy());
    let maybe = |path: &Option<PathBuf>| path.as_deref().map(shown).unwrap_or_default();
    let machine = microvm.machine(PathBuf::new());
    let acceleration = match machine.acceleration {
        Acceleration::Auto => "auto",
        Acceleration::Kvm => "kvm",
        Acceleration::Emulated => "emulated",
    };
    vec![
        ("microvm.rootfs", shown(&microvm.rootfs)),
        ("microvm.kernel", maybe(&machine.kernel)),
        ("microvm.modules", maybe(&machine.modules)),
        ("microvm.qemu", maybe(&machine.qemu)),
        ("microvm.acceleration", acceleration.to_owned()),
        ("microvm.boot_seconds", machine.boot_seconds.to_string()),
        ("microvm.workspace_bytes", machine.workspace_bytes.to_string()),
    ]
}

pub(super) fn pool(pool: &Pool) -> Vec<Row> {
    let pool = pool.settings();
    vec![("pool.size", pool.size.to_string()), ("pool.ttl", pool.ttl.as_secs().to_string())]
}
