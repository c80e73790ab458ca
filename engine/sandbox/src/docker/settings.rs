//! Where the Docker engine is and what its runtimes are called there.
//! Plain data; a value left out means the engine's own default place, never another backend.

use std::path::PathBuf;

use crate::contract::Backend;

/// How containers are made on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSettings {
    /// Address of the engine's socket, as in `DOCKER_HOST`: `unix:///var/run/docker.sock`.
    pub host: String,
    /// The engine's name of the plain OCI runtime.
    pub runc: String,
    /// The engine's name of the gVisor runtime.
    pub gvisor: String,
    /// A folder of ours that the engine sees under the same path: the guest and translated workspaces lie there.
    pub folder: PathBuf,
}

impl DockerSettings {
    /// The usual names, with a folder of our own.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            host: "unix:///var/run/docker.sock".to_owned(),
            runc: "runc".to_owned(),
            gvisor: "runsc".to_owned(),
            folder: folder.into(),
        }
    }

    /// The engine's name of the runtime behind a backend; `None` if it is no container.
    pub(crate) fn runtime(&self, backend: Backend) -> Option<&str> {
        match backend {
            Backend::Container => Some(&self.runc),
            Backend::Gvisor => Some(&self.gvisor),
            Backend::Microvm | Backend::Process | Backend::Bubblewrap | Backend::None => None,
        }
    }
}
