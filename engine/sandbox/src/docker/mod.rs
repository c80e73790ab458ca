//! Containers as sandboxes, through the API of a Docker engine: under the plain runtime and under gVisor.
//! Never uses the `docker` program, never a network of the engine's, and never a weaker runtime than asked for.

mod base;
mod build;
mod container;
mod daemon;
mod image;
mod limits;
mod mounts;
mod order;
mod profile;
mod progress;
mod removal;
mod settings;
mod stream;
mod sweep;

pub use build::{BuildOrder, LAYER_LABEL, PackageManager, RECIPE_LABEL};
pub(crate) use build::{build, has_network, is_built, package_manager};
pub(crate) use container::{Container, Started};
pub(crate) use daemon::Daemon;
pub(crate) use image::fetch;
pub use progress::{ImageProgress, ImageWatch};
pub use settings::DockerSettings;
pub(crate) use sweep::sweep_containers;
