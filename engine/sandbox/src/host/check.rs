//! Refuses descriptions of a sandbox that make no sense, before anything is started.
//! Looks at the host only to name a missing directory early; the launcher checks again.

use std::{
    fs, io,
    path::{Component, Path},
};

use crate::{
    contract::{Exec, HOME, Spec},
    error::{ExecError, StartError},
};

/// Places a workspace may neither be nor lie in.
const RESERVED: [&str; 12] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/dev", "/sys", "/run"];

/// Longest host name Linux takes.
const MAX_HOSTNAME: usize = 64;

/// Checks a description.
pub(super) fn spec(spec: &Spec) -> Result<(), StartError> {
    let bad = |text: String| Err(StartError::BadSpec(text));
    if let Some(mount) = &spec.workspace {
        inside(&mount.inside)?;
        if RESERVED.iter().any(|place| mount.inside.starts_with(place))
            || ["/tmp", "/home", HOME, "/var", "/var/tmp"]
                .iter()
                .any(|place| mount.inside == Path::new(place))
        {
            return bad(format!("the workspace cannot be at `{}`", mount.inside.display()));
        }
        exists(&mount.host, Expected::Directory)?;
    }
    for mount in &spec.read_only {
        inside(&mount.inside)?;
        if ["/proc", "/dev"].iter().any(|place| mount.inside.starts_with(place)) {
            return bad(format!("nothing can be mounted at `{}`", mount.inside.display()));
        }
        exists(&mount.host, Expected::Anything)?;
    }
    let limits = &spec.limits;
    if !limits.cpus.is_finite() || limits.cpus <= 0.0 {
        return bad(format!("{} processors are not a limit", limits.cpus));
    }
    for (what, value) in [
        ("memory", limits.memory_bytes),
        ("processes", u64::from(limits.pids)),
        ("open files", limits.open_files),
        ("temporary space", spec.tmp_bytes),
    ] {
        if value == 0 {
            return bad(format!("nothing can run with no {what}"));
        }
    }
    let name = &spec.hostname;
    if name.is_empty()
        || name.len() > MAX_HOSTNAME
        || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return bad("the host name must be letters, digits and hyphens".to_owned());
    }
    if spec.host_ids.uid == 0 || spec.host_ids.gid == 0 {
        return bad("commands must not run as the host's user or group 0".to_owned());
    }
    Ok(())
}

/// Checks a command.
pub(super) fn exec(exec: &Exec) -> Result<(), ExecError> {
    let bad = |text: &str| Err(ExecError::BadCommand(text.to_owned()));
    if exec.argv.first().is_none_or(String::is_empty) {
        return bad("it names no program");
    }
    if exec.argv.iter().chain(exec.env.values()).any(|text| text.contains('\0')) {
        return bad("it contains a NUL byte");
    }
    if exec.env.keys().any(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return bad("a variable's name is malformed");
    }
    if !exec.cwd.is_absolute() {
        return bad("its working directory is not absolute");
    }
    Ok(())
}

fn inside(path: &Path) -> Result<(), StartError> {
    let normal = path.is_absolute()
        && path != Path::new("/")
        && path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    if normal { Ok(()) } else { Err(StartError::BadSpec(format!("`{}` is no place inside", path.display()))) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Directory,
    Anything,
}

fn exists(path: &Path, expected: Expected) -> Result<(), StartError> {
    if !path.is_absolute() {
        return Err(StartError::BadSpec(format!("`{}` is not absolute", path.display())));
    }
    let meta = fs::metadata(path).map_err(|source| StartError::Source { path: path.to_owned(), source })?;
    if expected == Expected::Directory && !meta.is_dir() {
        let source = io::ErrorKind::NotADirectory.into();
        return Err(StartError::Source { path: path.to_owned(), source });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Limits, WorkspaceMode, WorkspaceMount};

    fn at(place: &str) -> Spec {
        let workspace =
            WorkspaceMount { host: "/".into(), inside: place.into(), mode: WorkspaceMode::ReadWrite };
        Spec { workspace: Some(workspace), ..Spec::default() }
    }

    #[test]
    fn a_workspace_cannot_hide_the_base_system() {
        for place in ["/", "relative", "/work/..", "/usr", "/usr/local/x", "/etc/x", "/proc/x", "/tmp", HOME]
        {
            assert!(spec(&at(place)).is_err(), "{place}");
        }
        for place in ["/work", "/tmp/work", "/home/someone/work", "/usrx"] {
            assert!(spec(&at(place)).is_ok(), "{place}");
        }
    }

    #[test]
    fn limits_must_limit_something() {
        let with = |limits| Spec { limits, ..Spec::default() };
        assert!(spec(&with(Limits::default())).is_ok());
        assert!(spec(&with(Limits { cpus: f64::NAN, ..Limits::default() })).is_err());
        assert!(spec(&with(Limits { cpus: 0.0, ..Limits::default() })).is_err());
        assert!(spec(&with(Limits { memory_bytes: 0, ..Limits::default() })).is_err());
    }

    #[test]
    fn a_missing_workspace_is_named() {
        let mut missing = at("/work");
        if let Some(mount) = &mut missing.workspace {
            mount.host = "/does/not/exist".into();
        }
        let error = spec(&missing).unwrap_err();
        assert!(matches!(&error, StartError::Source { path, .. } if path == Path::new("/does/not/exist")));
    }

    #[test]
    fn a_variable_name_cannot_smuggle_another() {
        let mut command = Exec::new(["true"], "/", Path::new("/"));
        command.env.insert("A=B".into(), "c".into());
        assert!(exec(&command).is_err());
    }
}
