//! The system call filter that the container runtime puts around the guest and everything in the container.
//! The guest's own filter on commands is narrower and judges arguments; this one holds even if the guest does not.

use serde_json::{Value, json};

use crate::guest::call_names;

/// What the guest needs besides the calls of commands.
const GUEST: [&str; 8] = [
    "capset",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "seccomp",
    "setgroups",
    "signalfd4",
    "statfs",
];

/// All flags of `clone` that make a namespace.
const NAMESPACES: u64 = 0x7e02_0080;

/// Number of the address family that leads to a hypervisor.
const VSOCK: u64 = 40;

/// The profile as the engine takes it: the text itself, not a path.
pub(super) fn text() -> String {
    let allowed: Vec<&str> = call_names()
        .chain(GUEST)
        .filter(|name| !["clone", "clone3", "socket", "io_uring_setup", "openat2"].contains(name))
        .collect();
    let rules: Vec<Value> = vec![
        json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }),
        // Their arguments lie behind a pointer; C libraries fall back to the older calls.
        json!({ "names": ["clone3", "openat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS }),
        json!({
            "names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }],
        }),
        json!({
            "names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": VSOCK, "op": "SCMP_CMP_NE" }],
        }),
    ];
    let architecture = if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": [architecture], "syscalls": rules })
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_makes_namespaces_or_mounts_is_allowed() {
        let profile: Value = serde_json::from_str(&text()).unwrap();
        let allowed = profile["syscalls"][0]["names"].as_array().unwrap();
        assert!(allowed.contains(&json!("read")) && allowed.contains(&json!("execve")));
        for name in
            ["mount", "unshare", "setns", "bpf", "ptrace", "keyctl", "io_uring_setup", "clone3", "kexec_load"]
        {
            assert!(!allowed.contains(&json!(name)), "{name}");
        }
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    }
}
