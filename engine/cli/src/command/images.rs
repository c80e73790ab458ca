//! The images of a run: fetched and built before anything is started, in sight of whoever waits, and given up at Ctrl-C.
//! Words what goes wrong; never goes on without an image.

use std::collections::BTreeMap;

use blueprint_core::graph::Node;
use blueprint_core::run::BuiltImage;
use blueprint_runtime::images::{Builder, ContextError, ImageError, Images, Unprepared};
use blueprint_sandbox::BuildError;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::error::CliError;
use crate::progress::Images as Shown;
use crate::terminal::{self, clean};

/// Fetches and builds the images of nodes. `began` is what the run that goes on began with.
pub(crate) async fn prepare<'p>(
    context: &Context,
    shown: &Shown,
    nodes: impl Iterator<Item = &'p Node>,
    began: Option<&BTreeMap<String, BuiltImage>>,
    remember: bool,
) -> Result<Images, CliError> {
    let nodes: Vec<&Node> = nodes.filter(|node| node.image.is_some()).collect();
    if nodes.is_empty() {
        return Ok(Images::default());
    }
    let stop = CancellationToken::new();
    let watching = tokio::spawn(watch(stop.clone()));
    let launcher = context.launcher();
    let state = context.state_dir();
    let builder = Builder {
        launcher: &launcher,
        project: &context.project,
        state: &state,
        remember,
        time: context.build_time(),
        watch: &|progress| shown.show(progress),
        stop: &stop,
    };
    let prepared = builder.prepare(nodes.into_iter(), began).await;
    watching.abort();
    shown.finish();
    prepared.map_err(|error| worded(&error))
}

/// Nothing is running yet that could be resumed: both signals end what is built, and with it the program.
async fn watch(stop: CancellationToken) {
    let kind = tokio::signal::unix::SignalKind::terminate();
    let Ok(mut terminate) = tokio::signal::unix::signal(kind) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}

fn worded(error: &Unprepared) -> CliError {
    if let ImageError::Build(BuildError::Failed { last, .. }) = &error.why {
        for line in last.iter().map(|line| clean(line)).filter(|line| !line.trim().is_empty()) {
            terminal::error_line(&format!("  | {line}"));
        }
    }
    let mut said = CliError::environment(clean(&error.why.to_string()));
    let mut next = std::error::Error::source(&error.why);
    while let Some(cause) = next {
        said = said.since(clean(&cause.to_string()));
        next = cause.source();
    }
    let advice = match &error.why {
        ImageError::Gone { .. } => Some(
            "this tier bears no other image than the one its run began with: start the run again, or bring the image back",
        ),
        ImageError::Changed { .. } => Some("start the run again, or put back what the image was built of"),
        ImageError::NotRecorded(_) => Some("start the run again"),
        ImageError::Build(BuildError::TooSlow { .. }) => {
            Some("give builds more time: `[docker] build_seconds` in your own settings file")
        }
        ImageError::Context {
            source: ContextError::LeadsOut { .. } | ContextError::Special { .. }, ..
        } => Some("name it in `.dockerignore` of that folder, or take it away"),
        ImageError::Context {
            source: ContextError::TooLarge { .. } | ContextError::TooMany { .. }, ..
        } => Some("name what is not needed in `.dockerignore`, or choose a smaller `context`"),
        ImageError::Context { source: ContextError::Ignores { .. }, .. } => Some("mend that line"),
        ImageError::Context { .. } | ImageError::Fetch(_) | ImageError::Build(_) | ImageError::Stopped(_) => {
            None
        }
    };
    said = advice.into_iter().fold(said, CliError::hint);
    said.hint(format!("`{}` needs it; nothing was started", clean(&error.node)))
}
