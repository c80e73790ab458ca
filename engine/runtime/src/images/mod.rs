//! The images of a run, fetched and built before it starts. One that is the same in everything that goes in is not built
//! twice; a run that goes on uses the images it began with, or says that they are gone. Nothing is taken in place of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blueprint_core::format::Tier;
use blueprint_core::graph::{Action, Image, Node, Recipe};
use blueprint_core::run::BuiltImage;
use blueprint_sandbox::{BuildError, BuildOrder, ImageWatch, Launcher, StartError};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

mod context;
mod ignore;
mod memory;
mod text;

pub use context::{ContextError, MAX_CONTEXT};

use context::Packed;
use memory::Memory;

/// Part of what is digested: other texts for the same recipe are another recipe.
const VERSION: &str = "image 1";

/// Why the images of a run are not there. Nothing was started.
#[derive(Debug, Error)]
pub enum ImageError {
    /// One cannot be fetched, or the engine cannot be asked.
    #[error(transparent)]
    Fetch(#[from] StartError),
    /// The files that one is built of cannot be sent.
    #[error("the files for the image `{of}` cannot be sent to the container engine")]
    Context {
        /// What is built.
        of: String,
        /// Why not.
        #[source]
        source: ContextError,
    },
    /// One could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Whoever started it wants it to stop.
    #[error("stopped while the image `{0}` was fetched")]
    Stopped(String),
    /// The engine has not got what the run began with, and its tier bears no other.
    #[error("the image that the run began with is gone from the container engine: `{of}` ({id})")]
    Gone {
        /// What it was built of.
        of: String,
        /// Its id.
        id: String,
    },
    /// The engine has not got what the run began with, and what would be built now is something else.
    #[error("the image that the run began with is gone, and what `{of}` is built of has changed since")]
    Changed {
        /// What it was built of.
        of: String,
    },
    /// Nothing says what the run began with.
    #[error("the run does not say which image it began with for `{0}`")]
    NotRecorded(String),
}

/// An image that is not there, and who needs it.
#[derive(Debug, Error)]
#[error("the image of `{node}` is not there")]
pub struct Unprepared {
    /// The first node that needs it.
    pub node: Arc<str>,
    /// Why it is not there.
    #[source]
    pub why: ImageError,
}

/// The images that were built for a run, by the key of their recipe.
#[derive(Debug, Clone, Default)]
pub struct Images(BTreeMap<String, BuiltImage>);

impl Images {
    /// What was built of a recipe.
    pub fn get(&self, recipe: &Recipe) -> Option<&BuiltImage> {
        self.0.get(&recipe.key())
    }

    /// All of them, as they are recorded.
    pub fn recorded(&self) -> Vec<BuiltImage> {
        self.0.values().cloned().collect()
    }
}

/// What images are fetched and built with.
#[derive(Clone, Copy)]
pub struct Builder<'a> {
    /// What reaches the container engine.
    pub launcher: &'a Launcher,
    /// The project folder, whose files may be sent.
    pub project: &'a Path,
    /// The state folder, which is never sent.
    pub state: &'a Path,
    /// Whether to remember there what was built.
    pub remember: bool,
    /// How long one build may take.
    pub time: Duration,
    /// Who is told how far it is.
    pub watch: ImageWatch<'a>,
    /// Ends it early.
    pub stop: &'a CancellationToken,
}

impl std::fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("project", &self.project)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// An image that nodes want, and what they are.
#[derive(Debug)]
struct Wanted<'p> {
    image: &'p Image,
    /// The first of them.
    node: &'p Arc<str>,
    /// The least trusted tier of those that want it.
    tier: Tier,
}

impl Builder<'_> {
    /// Fetches and builds what the nodes need. `began` is what the run that goes on began with.
    pub async fn prepare<'p>(
        &self,
        nodes: impl Iterator<Item = &'p Node>,
        began: Option<&BTreeMap<String, BuiltImage>>,
    ) -> Result<Images, Unprepared> {
        let mut wanted: Vec<Wanted<'p>> = Vec::new();
        for node in nodes.filter(|node| matches!(node.action, Action::Run(_) | Action::Agent(_))) {
            let Some(image) = &node.image else { continue };
            match wanted.iter_mut().find(|wanted| wanted.image == image) {
                Some(known) => known.tier = known.tier.max(node.tier),
                None => wanted.push(Wanted { image, node: &node.name, tier: node.tier }),
            }
        }
        let mut images = Images::default();
        for Wanted { image, node, tier } in wanted {
            let unprepared = |why| Unprepared { node: Arc::clone(node), why };
            match image {
                Image::Named(name) => drop(self.fetch(name).await.map_err(unprepared)?),
                Image::Made(recipe) => {
                    let built = self.made(recipe, tier, began).await.map_err(unprepared)?;
                    images.0.insert(built.recipe.clone(), built);
                }
            }
        }
        Ok(images)
    }

    async fn fetch(&self, name: &str) -> Result<String, ImageError> {
        tokio::select! {
            fetched = self.launcher.fetch(name, self.watch) => Ok(fetched?),
            () = self.stop.cancelled() => Err(ImageError::Stopped(name.to_owned())),
        }
    }

    async fn made(
        &self,
        recipe: &Recipe,
        tier: Tier,
        began: Option<&BTreeMap<String, BuiltImage>>,
    ) -> Result<BuiltImage, ImageError> {
        let (of, key) = (recipe.to_string(), recipe.key());
        let before = match began.map(|began| began.get(&key)) {
            Some(None) => return Err(ImageError::NotRecorded(of)),
            Some(Some(before)) => Some(before),
            None => None,
        };
        if let Some(before) = before {
            if self.launcher.has_built(&before.id, &before.digest).await? {
                return Ok(before.clone());
            }
            if tier > Tier::Internal {
                return Err(ImageError::Gone { of, id: before.id.clone() });
            }
        }
        let ready = self.ready(recipe, &of).await?;
        if before.is_some_and(|before| before.digest != ready.digest) {
            return Err(ImageError::Changed { of });
        }
        let id = self.built(recipe, &of, &ready.digest, ready.packed, &ready.bases).await?;
        Ok(BuiltImage { of, recipe: key, digest: ready.digest, id })
    }

    /// Everything that goes in.
    async fn ready(&self, recipe: &Recipe, of: &str) -> Result<Ready, ImageError> {
        let mut hash = blake3::Hasher::new();
        let mut field = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        field(VERSION);
        field(&recipe.key());
        let mut bases = Vec::new();
        for base in recipe.bases() {
            let id = self.fetch(base).await?;
            field(&id);
            bases.push(id);
        }
        let packed = match recipe {
            Recipe::Packages { .. } => None,
            Recipe::Dockerfile(recipe) => {
                let packed = self.pack(of, Some(recipe.context.clone()), text::of_dockerfile(recipe)).await?;
                field(&packed.digest);
                Some(packed)
            }
        };
        Ok(Ready { digest: hash.finalize().to_hex().to_string(), bases, packed })
    }

    async fn pack(&self, of: &str, folder: Option<String>, text: String) -> Result<Packed, ImageError> {
        let (project, state) = (self.project.to_owned(), self.state.to_owned());
        let packing =
            tokio::task::spawn_blocking(move || context::pack(&project, folder.as_deref(), &state, &text));
        let packed =
            packing.await.unwrap_or_else(|error| Err(ContextError::Archive(std::io::Error::other(error))));
        packed.map_err(|source| ImageError::Context { of: of.to_owned(), source })
    }

    async fn built(
        &self,
        recipe: &Recipe,
        of: &str,
        digest: &str,
        packed: Option<Packed>,
        bases: &[String],
    ) -> Result<String, ImageError> {
        let mut memory = Memory::of(self.state);
        if let Some(id) = memory.get(digest)
            && self.launcher.has_built(id, digest).await?
        {
            return Ok(id.to_owned());
        }
        let (args, target) = match recipe {
            Recipe::Packages { .. } => (Vec::new(), None),
            Recipe::Dockerfile(recipe) => (recipe.args.clone(), recipe.target.clone()),
        };
        let packed = match (packed, recipe) {
            (Some(packed), _) => packed,
            (None, Recipe::Packages { packages, base }) => {
                let id = bases.first().unwrap_or(base);
                let manager = self.launcher.package_manager(id).await?;
                self.pack(of, None, text::of_packages(id, manager, packages)).await?
            }
            (None, Recipe::Dockerfile(recipe)) => {
                self.pack(of, Some(recipe.context.clone()), text::of_dockerfile(recipe)).await?
            }
        };
        let order = BuildOrder {
            of: of.to_owned(),
            recipe: digest.to_owned(),
            archive: packed.archive,
            dockerfile: context::DOCKERFILE.to_owned(),
            args,
            target,
            time: self.time,
        };
        let id = self.launcher.build(order, self.watch, self.stop).await?;
        if self.remember {
            memory.keep(digest, &id);
        }
        Ok(id)
    }
}

struct Ready {
    digest: String,
    /// The engine's ids of the images it begins with.
    bases: Vec<String>,
    packed: Option<Packed>,
}
