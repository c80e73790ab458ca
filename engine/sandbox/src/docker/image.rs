//! Which image a container is made of: this machine's base system, or one that the engine has or can pull.
//! What it resolved to is a digest; a name alone is never recorded.

use std::time::Duration;

use bollard::{errors::Error, models::ImageInspect, query_parameters::CreateImageOptionsBuilder};
use futures::TryStreamExt;
use tokio::time;

use crate::{
    contract::{HostIds, Image, Spec},
    docker::{
        base,
        daemon::Daemon,
        progress::{ImageWatch, Layers},
    },
    error::{StartError, described},
};

/// Time a registry may say nothing while an image is pulled.
const SILENCE: Duration = Duration::from_mins(2);

/// An image the engine has.
pub(super) struct Resolved {
    /// The engine's own id of it, a digest.
    pub(super) id: String,
    /// What the attestation calls it.
    pub(super) attested: String,
    /// Whether the folders of this machine's base system go on top of it.
    pub(super) shows_host: bool,
}

/// Finds the image, fetching it if the engine does not have it.
pub(super) async fn resolve(daemon: &Daemon, spec: &Spec, ids: HostIds) -> Result<Resolved, StartError> {
    let (found, name) = match &spec.image {
        Image::Host => return base_of_this_machine(daemon, spec, ids).await,
        Image::Named(name) => (present(daemon, name, &|_| {}).await?, name),
        Image::Built { id, of } => {
            let missing = |reason: String| StartError::NoImage { image: of.clone(), reason };
            let found = find(daemon, id).await.map_err(|error| missing(described(&error)))?;
            (found.ok_or_else(|| missing(format!("the engine no longer has what was built, {id}")))?, of)
        }
    };
    let missing = |reason: String| StartError::NoImage { image: name.clone(), reason };
    refuse_volumes(&found).map_err(missing)?;
    let id = found.id.ok_or_else(|| missing("the engine does not say its digest".to_owned()))?;
    let attested = match &spec.image {
        Image::Named(name) if pinned(name).is_some() => name.clone(),
        _ => format!("{name} ({id})"),
    };
    Ok(Resolved { id, attested, shows_host: false })
}

/// Refuses an image that declares volumes.
pub(super) fn refuse_volumes(found: &ImageInspect) -> Result<(), String> {
    let volumes = found.config.as_ref().and_then(|config| config.volumes.as_ref());
    match volumes {
        Some(volumes) if !volumes.is_empty() => {
            Err("it declares volumes, which no limit would hold; make one without".to_owned())
        }
        _ => Ok(()),
    }
}

/// Makes sure that the engine has an image, and gives the engine's id of it.
pub(crate) async fn fetch(daemon: &Daemon, name: &str, watch: ImageWatch<'_>) -> Result<String, StartError> {
    let found = present(daemon, name, watch).await?;
    let nameless = || StartError::NoImage {
        image: name.to_owned(),
        reason: "the engine does not say its digest".to_owned(),
    };
    found.id.ok_or_else(nameless)
}

/// The image of a name, pulled if the engine does not have it. One that has another digest than its name says is none.
async fn present(daemon: &Daemon, name: &str, watch: ImageWatch<'_>) -> Result<ImageInspect, StartError> {
    let missing = |reason: String| StartError::NoImage { image: name.to_owned(), reason };
    let failed = |error: Error| missing(described(&error));
    let found = match find(daemon, name).await.map_err(failed)? {
        Some(found) => found,
        None if pinned(name) == Some(name) => {
            return Err(missing(
                "the engine has nothing with this id, and an id names nothing to pull".to_owned(),
            ));
        }
        None => {
            let options = CreateImageOptionsBuilder::default().from_image(name).build();
            let pulling = daemon.api.create_image(Some(options), None, None);
            let mut pulling = std::pin::pin!(pulling);
            let mut layers = Layers::default();
            loop {
                match time::timeout(SILENCE, pulling.try_next()).await {
                    Ok(Ok(Some(said))) => {
                        layers.take(&said);
                        watch(&layers.told(name));
                    }
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => return Err(failed(error)),
                    Err(_) => return Err(missing("the registry fell silent".to_owned())),
                }
            }
            find(daemon, name)
                .await
                .map_err(failed)?
                .ok_or_else(|| missing("the engine pulled it and does not have it".to_owned()))?
        }
    };
    let digests = found.repo_digests.as_deref().unwrap_or_default();
    let is = |digest: &str| {
        found.id.as_deref() == Some(digest)
            || digests.iter().any(|known| known.ends_with(&format!("@{digest}")))
    };
    match pinned(name) {
        Some(digest) if !is(digest) => {
            Err(missing("the engine has another image under this name".to_owned()))
        }
        _ => Ok(found),
    }
}

/// The digest that a name is pinned to.
fn pinned(name: &str) -> Option<&str> {
    name.split_once('@').map(|(_, digest)| digest).or_else(|| name.starts_with("sha256:").then_some(name))
}

/// What the engine has under a name, if anything.
pub(super) async fn find(daemon: &Daemon, name: &str) -> Result<Option<ImageInspect>, Error> {
    match daemon.api.inspect_image(name).await {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn base_of_this_machine(daemon: &Daemon, spec: &Spec, ids: HostIds) -> Result<Resolved, StartError> {
    let missing = |reason: String| StartError::NoImage { image: "host".to_owned(), reason };
    let base = base::root(&spec.hostname, ids).map_err(|error| missing(described(&error)))?;
    let found = find(daemon, &base.name).await.map_err(|error| missing(described(&error)))?;
    let id = if let Some(found) = found.and_then(|found| found.id) {
        found
    } else {
        let (repository, tag) = base.name.split_once(':').unwrap_or((&base.name, "latest"));
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(repository).tag(tag).build();
        let body = bollard::body_full(base.archive.into());
        let importing = daemon.api.create_image(Some(options), Some(body), None);
        importing.try_for_each(|_| async { Ok(()) }).await.map_err(|error| missing(described(&error)))?;
        find(daemon, &base.name)
            .await
            .map_err(|error| missing(described(&error)))?
            .and_then(|found| found.id)
            .ok_or_else(|| missing("the engine took it and does not have it".to_owned()))?
    };
    Ok(Resolved { id, attested: "host".to_owned(), shows_host: true })
}
