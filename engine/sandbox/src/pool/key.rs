//! What a sandbox is made of, as one comparable thing. Two sandboxes with the same key must be the same but for what
//! ran in them; where a description leaves anything open there is no key.

use crate::{
    contract::{Backend, Image, Spec},
    host::Launcher,
};

/// Everything a sandbox is made of: backend, engine, base system, mounts, limits and identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The key of a sandbox without a way out. `None` if it cannot be made ahead of time.
    pub fn of(launcher: &Launcher, backend: Backend, spec: &Spec) -> Option<Self> {
        if backend == Backend::None {
            return None;
        }
        // What a tag names may change until the sandbox is wanted.
        if matches!(&spec.image, Image::Named(name) if !name.contains("@sha256:")) {
            return None;
        }
        // A spare is made while a command may be at work in the same workspace. Places in it that are mounted on could be
        // made to lead elsewhere meanwhile.
        let within = |mount: &crate::contract::ReadOnlyMount| {
            spec.workspace.as_ref().is_some_and(|workspace| mount.inside.starts_with(&workspace.inside))
        };
        if spec.read_only.iter().any(within) {
            return None;
        }
        let words = serde_json::to_string(spec).ok()?;
        Some(Self(format!("{}\n{}\n{words}", backend.name(), launcher.identity())))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::contract::{ReadOnlyMount, WorkspaceMode, WorkspaceMount};
    use crate::docker::DockerSettings;

    fn spec() -> Spec {
        let workspace = WorkspaceMount {
            host: PathBuf::from("/srv/checkout"),
            inside: PathBuf::from("/work"),
            mode: WorkspaceMode::ReadWrite,
        };
        Spec { workspace: Some(workspace), ..Spec::default() }
    }

    #[test]
    fn whatever_differs_makes_another_key() {
        let launcher = Launcher::this_program();
        let base = Key::of(&launcher, Backend::Gvisor, &spec()).unwrap();
        assert_eq!(Key::of(&launcher, Backend::Gvisor, &spec()), Some(base.clone()));
        let changes: [fn(&mut Spec); 8] = [
            |spec| spec.workspace = None,
            |spec| spec.workspace.as_mut().unwrap().host = "/srv/other".into(),
            |spec| spec.workspace.as_mut().unwrap().mode = WorkspaceMode::ReadOnly,
            |spec| spec.limits.memory_bytes -= 1,
            |spec| spec.limits.wall *= 2,
            |spec| spec.tmp_bytes += 1,
            |spec| spec.read_only.push(ReadOnlyMount::same("/opt")),
            |spec| spec.image = Image::Named(format!("a@sha256:{}", "0".repeat(64))),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut changed = spec();
            change(&mut changed);
            let key = Key::of(&launcher, Backend::Gvisor, &changed).unwrap();
            assert_ne!(key, base, "change {at}");
        }
        assert_ne!(Key::of(&launcher, Backend::Container, &spec()).unwrap(), base);
        let elsewhere = Launcher::this_program().with_docker(DockerSettings::new("/srv/other"));
        assert_ne!(Key::of(&elsewhere, Backend::Gvisor, &spec()).unwrap(), base);
    }

    #[test]
    fn what_is_left_open_has_no_key() {
        let launcher = Launcher::this_program();
        let tag = Spec { image: Image::Named("a:latest".to_owned()), ..spec() };
        assert_eq!(Key::of(&launcher, Backend::Gvisor, &tag), None);
        assert_eq!(Key::of(&launcher, Backend::None, &spec()), None);
        let mut within = spec();
        within.read_only.push(ReadOnlyMount { host: "/opt".into(), inside: "/work/tools".into() });
        assert_eq!(Key::of(&launcher, Backend::Gvisor, &within), None);
    }
}
