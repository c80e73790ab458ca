//! Builds an image with the engine's own classic builder, and leaves nothing behind that is not the image: a build that
//! fails, is too slow or is stopped takes its containers and the layers it made with it. A build runs outside of every
//! sandbox, so it gets as little as this builder can be told: limits, no secrets, and never the network of the machine itself.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fs::File,
    time::Duration,
};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::{
    errors::Error,
    models::ImageSummary,
    query_parameters::{
        BuildImageOptionsBuilder, ContainerArchiveInfoOptionsBuilder, CreateContainerOptions,
        InspectNetworkOptions, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveImageOptionsBuilder,
    },
};
use futures::TryStreamExt;
use tokio::time;
use tokio_util::{io::ReaderStream, sync::CancellationToken};

use crate::{
    docker::{
        daemon::Daemon,
        image::{find, refuse_volumes},
        progress::{ImageProgress, ImageWatch, MAX_LINE, step},
        sweep,
    },
    error::{BuildError, StartError, described},
};

/// The label of an image that was built, with the digest of everything that went in.
pub const RECIPE_LABEL: &str = "dev.blueprint.recipe";
/// The label of all layers that a build makes; has to stand in every stage of what is built.
pub const LAYER_LABEL: &str = "dev.blueprint.layer";

/// Memory of each step, without swap, in bytes. The engine's interface takes no more.
const MEMORY: i32 = i32::MAX & !0xfff;
/// Processors of each step, in hundred thousandths.
const CPU_QUOTA: i32 = 200_000;
const CPU_PERIOD: i32 = 100_000;
/// Lines of a failed step that are kept.
const LAST_LINES: usize = 12;
/// The longest unfinished line that is held, in bytes.
const MAX_HELD: usize = 64 << 10;
/// Time to take away what a build left.
const TIDY_TIME: Duration = Duration::from_secs(20);
/// Pause between two looks at what cannot be taken away yet.
const TIDY_PAUSE: Duration = Duration::from_millis(50);

/// What to build.
#[derive(Debug)]
pub struct BuildOrder {
    /// What it is, for people.
    pub of: String,
    /// The digest of everything that goes in.
    pub recipe: String,
    /// An archive of the files, from its beginning.
    pub archive: File,
    /// The Dockerfile in it.
    pub dockerfile: String,
    /// Values for its `ARG`s.
    pub args: Vec<(String, String)>,
    /// The stage to build.
    pub target: Option<String>,
    /// How long it may take.
    pub time: Duration,
}

/// A program that adds packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// `apt-get`, of Debian and what is made of it.
    Apt,
    /// `apk`, of Alpine.
    Apk,
}

impl PackageManager {
    /// Where it is.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apt => "/usr/bin/apt-get",
            Self::Apk => "/sbin/apk",
        }
    }
}

/// What adds packages to an image, found by looking into it. Nothing of it is run.
pub(crate) async fn package_manager(daemon: &Daemon, image: &str) -> Result<PackageManager, StartError> {
    let failed = |what: &'static str| move |source: Error| StartError::Engine { what, source: source.into() };
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["/".to_owned()]),
        labels: Some(sweep::labels()),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let made = daemon.api.create_container(None::<CreateContainerOptions>, body).await;
    let id = made.map_err(failed("make a container to look into an image"))?.id;
    let mut found = Ok(None);
    for manager in [PackageManager::Apt, PackageManager::Apk] {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(manager.program()).build();
        match daemon.api.get_container_archive_info(&id, Some(options)).await {
            Ok(_) => {
                found = Ok(Some(manager));
                break;
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => {
                found = Err(failed("look into an image")(error));
                break;
            }
        }
    }
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    daemon.api.remove_container(&id, Some(options)).await.map_err(failed("remove a container"))?;
    found?.ok_or_else(|| StartError::NoImage {
        image: image.to_owned(),
        reason: "it has neither `apt-get` nor `apk`, so no packages can be added to it".to_owned(),
    })
}

/// Whether the steps of builds have a network to fetch with: the engine's own, which it may not have.
pub(crate) async fn has_network(daemon: &Daemon) -> Result<bool, StartError> {
    match daemon.api.inspect_network("bridge", None::<InspectNetworkOptions>).await {
        Ok(_) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(source) => Err(StartError::Engine { what: "look for its network", source: source.into() }),
    }
}

/// Whether the engine still has an image that was built of a recipe.
pub(crate) async fn is_built(daemon: &Daemon, id: &str, recipe: &str) -> Result<bool, StartError> {
    let failed = |source: Error| StartError::Engine { what: "look for an image", source: source.into() };
    let found = find(daemon, id).await.map_err(failed)?;
    Ok(found.is_some_and(|found| {
        let label = found.config.as_ref().and_then(|config| config.labels.as_ref()?.get(RECIPE_LABEL));
        found.id.as_deref() == Some(id) && label.is_some_and(|label| label == recipe)
    }))
}

/// Builds, and gives the engine's id of what came out.
pub(crate) async fn build(
    daemon: &Daemon,
    order: BuildOrder,
    watch: ImageWatch<'_>,
    stop: &CancellationToken,
) -> Result<String, BuildError> {
    let of = order.of.clone();
    let time = order.time;
    let before = layers(daemon).await.map_err(|error| unanswered(&of, &error))?;
    let before: BTreeSet<String> = before.into_iter().map(|layer| layer.id).collect();
    let mut log = Log::default();
    let ended = {
        let building = follow(daemon, order, watch, &mut log);
        tokio::select! {
            ended = time::timeout(time, building) => Some(ended),
            () = stop.cancelled() => None,
        }
        // Here the connection is gone, which is what tells the engine to end a build that is not over.
    };
    let error = match ended {
        Some(Ok(Ok(id))) => match usable(daemon, &of, &id).await {
            Ok(()) => return Ok(id),
            Err(error) => {
                log.made.push(id);
                error
            }
        },
        Some(Ok(Err(Error::DockerStreamError { error }))) => log.failed(of.clone(), error),
        Some(Ok(Err(error))) => log.failed(of.clone(), described(&error)),
        Some(Err(_)) => BuildError::TooSlow { image: of.clone(), seconds: time.as_secs(), step: log.step() },
        None => BuildError::Stopped { image: of.clone() },
    };
    if !tidy(daemon, &before, &log.made).await {
        return Err(BuildError::Left { image: of, source: Box::new(error) });
    }
    Err(error)
}

fn unanswered(of: &str, error: &Error) -> BuildError {
    BuildError::Failed {
        image: of.to_owned(),
        step: "before the first step".to_owned(),
        reason: described(error),
        last: Vec::new(),
    }
}

async fn usable(daemon: &Daemon, of: &str, id: &str) -> Result<(), BuildError> {
    let found = find(daemon, id).await.map_err(|error| unanswered(of, &error))?;
    let wrong = match &found {
        None => Some("the engine built it and does not have it".to_owned()),
        Some(found) => refuse_volumes(found).err(),
    };
    wrong.map_or(Ok(()), |reason| {
        let step = "what came of it".to_owned();
        Err(BuildError::Failed { image: of.to_owned(), step, reason, last: Vec::new() })
    })
}

/// One build from the order to the id.
async fn follow(
    daemon: &Daemon,
    order: BuildOrder,
    watch: ImageWatch<'_>,
    log: &mut Log,
) -> Result<String, Error> {
    let labels = HashMap::from([(RECIPE_LABEL, order.recipe.as_str())]);
    let args: HashMap<String, String> = order.args.into_iter().collect();
    let mut options = BuildImageOptionsBuilder::default()
        .dockerfile(&order.dockerfile)
        .labels(&labels)
        .buildargs(&args)
        .rm(true)
        .forcerm(true)
        .memory(MEMORY)
        .memswap(MEMORY)
        .cpuperiod(CPU_PERIOD)
        .cpuquota(CPU_QUOTA);
    if let Some(target) = &order.target {
        options = options.target(target);
    }
    let archive = ReaderStream::new(tokio::fs::File::from_std(order.archive));
    let building = daemon.api.build_image(options.build(), None, Some(bollard::body_try_stream(archive)));
    let mut building = std::pin::pin!(building);
    let mut id = None;
    while let Some(said) = building.try_next().await? {
        if let Some(aux) = said.aux {
            id = aux.id;
        }
        if let Some(text) = &said.stream
            && let Some((step, steps, what)) = log.take(text)
        {
            watch(&ImageProgress::Building { image: order.of.clone(), step, steps, what });
        }
    }
    id.ok_or_else(|| Error::DockerStreamError { error: "the engine does not say what came of it".to_owned() })
}

/// What a build said so far.
#[derive(Debug, Default)]
struct Log {
    now: Option<(u32, u32, String)>,
    last: VecDeque<String>,
    held: String,
    /// Short ids of layers, as the engine names them. A step may print such a line as well, which is why nothing is
    /// removed for standing here alone.
    made: Vec<String>,
}

impl Log {
    /// Takes in one message of the engine; gives the step that it announces.
    fn take(&mut self, text: &str) -> Option<(u32, u32, String)> {
        if let Some(found) = step(text) {
            self.last.clear();
            self.held.clear();
            self.now = Some(found.clone());
            return Some(found);
        }
        if let Some(id) = text.strip_prefix(" ---> ").map(str::trim_end)
            && id.len() == 12
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            self.made.push(id.to_owned());
            return None;
        }
        self.held.push_str(text);
        while let Some((line, rest)) = self.held.split_once(['\n', '\r']) {
            let kept: String = line.chars().take(MAX_LINE).collect();
            let rest = rest.to_owned();
            self.keep(kept);
            self.held = rest;
        }
        if self.held.len() > MAX_HELD {
            let kept = self.held.chars().take(MAX_LINE).collect();
            self.keep(kept);
            self.held.clear();
        }
        None
    }

    fn keep(&mut self, line: String) {
        // The builder's own bookkeeping says nothing about what failed.
        let bookkeeping = [" ---> ", "Removing intermediate container "];
        if line.trim().is_empty() || bookkeeping.iter().any(|words| line.contains(words)) {
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn step(&self) -> String {
        match &self.now {
            Some((step, steps, what)) => format!("step {step} of {steps} (`{what}`)"),
            None => "before the first step".to_owned(),
        }
    }

    fn failed(&mut self, image: String, reason: String) -> BuildError {
        let held: String = self.held.chars().take(MAX_LINE).collect();
        self.keep(held);
        BuildError::Failed { image, step: self.step(), reason, last: self.last.drain(..).collect() }
    }
}

struct LayerImage {
    id: String,
    tagged: bool,
}

/// All layers that builds of ours made, ever.
async fn layers(daemon: &Daemon) -> Result<Vec<LayerImage>, Error> {
    let filters = HashMap::from([("label", vec![LAYER_LABEL])]);
    let options = ListImagesOptionsBuilder::default().all(true).filters(&filters).build();
    let found = daemon.api.list_images(Some(options)).await?;
    let named = |image: &ImageSummary| image.repo_tags.iter().any(|tag| tag != "<none>:<none>");
    Ok(found.into_iter().map(|image| LayerImage { tagged: named(&image), id: image.id }).collect())
}

/// Takes away the layers that are new, that carry our label, and that the engine named while it built. Never one that has
/// a name, is used, or was there before. Says whether all of them are gone.
async fn tidy(daemon: &Daemon, before: &BTreeSet<String>, made: &[String]) -> bool {
    let tidying = async {
        loop {
            let Ok(now) = layers(daemon).await else { return false };
            let ours = |id: &str| {
                let short = id.strip_prefix("sha256:").unwrap_or(id);
                made.iter().any(|made| made == id || short.starts_with(made.as_str()))
            };
            let left: Vec<String> = now
                .into_iter()
                .filter(|layer| !layer.tagged && !before.contains(&layer.id) && ours(&layer.id))
                .map(|layer| layer.id)
                .collect();
            if left.is_empty() {
                return true;
            }
            for id in &left {
                // The parent of another one, or of a container that is just going, is refused and comes next time. Its own
                // parents stay: they may be what somebody else brought.
                let options = RemoveImageOptionsBuilder::default().noprune(true).build();
                drop(daemon.api.remove_image(id, Some(options), None).await);
            }
            time::sleep(TIDY_PAUSE).await;
        }
    };
    time::timeout(TIDY_TIME, tidying).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_the_step_that_failed_are_kept() {
        let mut log = Log::default();
        assert_eq!(log.take("Step 1/2 : FROM a"), Some((1, 2, "FROM a".to_owned())));
        log.take("\n");
        log.take(" ---> 0123456789ab\n");
        log.take("of the first\n");
        log.take("Step 2/2 : RUN x");
        for number in 0..20 {
            log.take(&format!("line {number}\r\nhal"));
            log.take("f\n");
        }
        log.take(&"x".repeat(MAX_HELD + 1));
        log.take("the end");
        assert_eq!(log.made, ["0123456789ab"]);
        let BuildError::Failed { step, last, .. } = log.failed("i".to_owned(), "r".to_owned()) else {
            unreachable!()
        };
        assert_eq!(step, "step 2 of 2 (`RUN x`)");
        assert_eq!(last.len(), LAST_LINES);
        assert_eq!(last[LAST_LINES - 1], "the end");
        assert_eq!(last[LAST_LINES - 2].len(), MAX_LINE);
        assert!(!last.iter().any(|line| line.contains("first")));
    }
}
