//! What a command may do to the files it sees, enforced by Landlock as a hard requirement.
//! A partly enforced rule set counts as none: the command is then not started.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::{
    attestation::{Attestation, MountAccess},
    contract::HOME,
    kernel,
    launcher::{During, fault},
    wire::{Failure, Stage},
};

/// Rules made once and put on every command.
#[derive(Debug)]
pub(super) struct Rules {
    /// None where the kernel has none to offer, which the attestation then says.
    ruleset: Option<RulesetCreated>,
}

impl Rules {
    /// Reading and running everything in view; writing only where writing was granted.
    pub(super) fn prepare(attestation: &Attestation) -> Result<Self, Failure> {
        let Some(abi) = attestation.landlock_abi else { return Ok(Self { ruleset: None }) };
        let abi = supported(abi)?;
        let writable = attestation
            .mounts
            .iter()
            .filter(|mount| mount.access != MountAccess::ReadOnly)
            .map(|mount| mount.inside.clone())
            .chain(["/tmp", HOME, "/dev/shm", "/dev/pts"].map(PathBuf::from));
        Ok(Self { ruleset: Some(build(abi, writable)?) })
    }

    /// Confines this process and everything it starts.
    pub(super) fn apply(&self) -> Result<(), Failure> {
        let Some(ruleset) = &self.ruleset else { return Ok(()) };
        let ruleset = ruleset.try_clone().during(Stage::Landlock, "the rules cannot be used")?;
        let status = ruleset
            .restrict_self()
            .map_err(|error| fault(Stage::Landlock, format!("the rules cannot be applied: {error}")))?;
        if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
            return Err(fault(Stage::Landlock, "the kernel enforces the rules only in part"));
        }
        Ok(())
    }
}

fn build(abi: ABI, writable: impl Iterator<Item = PathBuf>) -> Result<RulesetCreated, Failure> {
    let refused = |error: RulesetError| fault(Stage::Landlock, format!("the rules cannot be made: {error}"));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .map_err(refused)?;
    let scopes: BitFlags<Scope> = Scope::from_all(abi);
    if !scopes.is_empty() {
        ruleset = ruleset.scope(scopes).map_err(refused)?;
    }
    let devices = AccessFs::from_all(abi) & (AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::Truncate);
    let fixed = [(PathBuf::from("/"), AccessFs::from_read(abi)), (PathBuf::from("/dev"), devices)];
    let mut created = ruleset.create().map_err(refused)?;
    for (path, access) in fixed.into_iter().chain(writable.map(|path| (path, AccessFs::from_all(abi)))) {
        let place = PathFd::new(&path).map_err(|error| fault(Stage::Landlock, error))?;
        created = created.add_rule(PathBeneath::new(place, access)).map_err(refused)?;
    }
    Ok(created)
}

/// The newest rules we know how to ask for.
const NEWEST: u32 = 6;

/// The version of the rules that commands will be confined by.
pub(crate) fn enforced_abi() -> Result<u32, Failure> {
    let kernel = kernel::landlock_abi().during(Stage::Landlock, "this kernel has no Landlock")?;
    Ok(kernel.min(NEWEST))
}

/// The newest set of rules both this kernel and we know. Before version 2 no file could be moved between
/// directories, which no build survives.
fn supported(kernel: u32) -> Result<ABI, Failure> {
    match kernel {
        0 | 1 => Err(fault(Stage::Landlock, format!("Landlock version {kernel} is too old"))),
        2 => Ok(ABI::V2),
        3 => Ok(ABI::V3),
        4 => Ok(ABI::V4),
        5 => Ok(ABI::V5),
        _ => Ok(ABI::V6),
    }
}
