//! Which executable becomes the launcher.
//! It must be one whose `main` calls `launcher_main` before anything else.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::{
    contract::Backend,
    docker::{self, BuildOrder, Daemon, DockerSettings, ImageWatch, PackageManager},
    error::{BuildError, StartError},
};

/// The program started with the hidden argument, and where containers are made.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    engine: Option<Engine>,
}

/// A container engine, connected to at its first use.
#[derive(Clone, Debug)]
struct Engine {
    settings: DockerSettings,
    daemon: Arc<OnceCell<Daemon>>,
}

impl Launcher {
    /// The running program itself.
    pub fn this_program() -> Self {
        Self::at("/proc/self/exe")
    }

    /// Another program, such as the guest binary of this crate.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), engine: None }
    }

    /// The same with a container engine.
    #[must_use]
    pub fn with_docker(mut self, settings: DockerSettings) -> Self {
        self.engine = Some(Engine { settings, daemon: Arc::default() });
        self
    }

    /// The container engine. An engine that did not answer is asked again the next time.
    pub(crate) async fn daemon(&self, backend: Backend) -> Result<&Daemon, StartError> {
        let Some(engine) = &self.engine else {
            let what = "anything: no container engine is configured".to_owned();
            return Err(StartError::Unsupported { backend, what });
        };
        engine.daemon.get_or_try_init(|| Daemon::connect(&engine.settings)).await
    }

    /// Makes sure that the engine has an image, fetching it if need be, and gives the engine's id of it.
    pub async fn fetch(&self, image: &str, watch: ImageWatch<'_>) -> Result<String, StartError> {
        docker::fetch(self.daemon(Backend::Container).await?, image, watch).await
    }

    /// Whether the engine has an image by its id, and it was built of this recipe.
    pub async fn has_built(&self, id: &str, recipe: &str) -> Result<bool, StartError> {
        docker::is_built(self.daemon(Backend::Container).await?, id, recipe).await
    }

    /// What adds packages to an image that the engine has.
    pub async fn package_manager(&self, image: &str) -> Result<PackageManager, StartError> {
        docker::package_manager(self.daemon(Backend::Container).await?, image).await
    }

    /// Whether the steps of a build have a network, which is the engine's own.
    pub async fn builds_have_network(&self) -> Result<bool, StartError> {
        docker::has_network(self.daemon(Backend::Container).await?).await
    }

    /// Builds an image, outside of every sandbox, and gives the engine's id of it.
    pub async fn build(
        &self,
        order: BuildOrder,
        watch: ImageWatch<'_>,
        stop: &CancellationToken,
    ) -> Result<String, BuildError> {
        docker::build(self.daemon(Backend::Container).await?, order, watch, stop).await
    }

    /// Removes containers of processes that are gone, and returns how many. Asks no engine if none was ever used here.
    pub async fn sweep(&self) -> Result<usize, StartError> {
        match &self.engine {
            Some(engine) if engine.settings.folder.is_dir() => {
                docker::sweep_containers(&engine.settings).await
            }
            _ => Ok(0),
        }
    }

    /// What tells it from others: sandboxes of equal launchers are made in the same way.
    pub(crate) fn identity(&self) -> String {
        format!("{} {:?}", self.program.display(), self.engine.as_ref().map(|engine| &engine.settings))
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The same program under a name that still holds in another process.
    pub(super) fn resolved(&self) -> std::io::Result<PathBuf> {
        std::fs::canonicalize(&self.program)
    }
}

impl Default for Launcher {
    fn default() -> Self {
        Self::this_program()
    }
}
