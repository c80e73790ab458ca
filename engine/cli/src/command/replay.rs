//! `replay`: a run once more, as a new run, with what the outside world said taken from the record; then what differs.
//! Never changes the run that is replayed.

use std::collections::BTreeMap;
use std::path::Path;

use blueprint_core::run::SecretSource;
use blueprint_runtime::cassette::{Cassette, CassetteError, Comparison, Difference, Replay, compare};
use blueprint_runtime::isolation::Isolation;
use blueprint_runtime::shared::Settings;
use blueprint_runtime::start::{Engine, RunOptions, StartError};
use blueprint_sandbox::Backend;
use serde_json::json;

use super::doctor;
use super::run::{drive, new_id, secret_sources, start_failed, user};
use crate::args::{Format, RunSettings};
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::progress;
use crate::terminal::{self, clean};

/// What `replay` was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) what: String,
    pub(crate) base: Option<String>,
    pub(crate) secrets: Vec<String>,
}

/// What is replayed.
struct Source {
    of: String,
    cassette: Cassette,
    secrets: BTreeMap<String, SecretSource>,
}

pub(crate) async fn replay(
    context: &Context,
    settings: &RunSettings,
    asked: &Asked,
) -> Result<Exit, CliError> {
    let engine = context.engine(Isolation::same(Backend::None)).await?;
    let Source { of, cassette, mut secrets } = source(context, &engine, &asked.what).await?;
    let program = cassette.program().map_err(|error| unusable(&error))?;
    secrets.extend(secret_sources(&program, &asked.secrets)?);
    if let Some(name) = cassette.head.secrets.iter().find(|name| !secrets.contains_key(*name)) {
        return Err(CliError::usage(format!("the recorded run had the secret `{}`", clean(name)))
            .hint(format!("--secret {}=env:VARIABLE", clean(name))));
    }
    let isolation = doctor::isolation(context, settings, &program, None).await?;
    let engine = Engine { settings: Settings { isolation, ..engine.settings.clone() }, ..engine };
    let id = new_id();
    let progress = progress::start(context, settings, &program, &id);
    let replay = Replay {
        id: id.clone(),
        of: of.clone(),
        base: asked.base.clone(),
        secrets,
        jobs: settings.jobs.as_ref().map_or(cassette.head.jobs, |_| context.settings.jobs().get() as u32),
        by: user(context),
    };
    let driver =
        engine.replay(&cassette, replay, progress.observer()).await.map_err(|error| match error {
            StartError::NoBase(_) => {
                start_failed(error).hint("fetch it, or name another commit with `--base REF`")
            }
            error => start_failed(error),
        })?;
    drive(context, settings, &engine, driver, progress, &id).await?;
    let opened = engine.open_with_entries(&id).await.map_err(start_failed)?;
    let came = engine.cassette(&opened).map_err(|error| from_error(Exit::Environment, &error))?;
    let found = compare(&cassette, &came);
    say(context, &of, &id, &cassette, &found);
    Ok(if found.is_identical() { Exit::Succeeded } else { Exit::Failed })
}

/// Writes what the outside world said in a run: `run --record`.
pub(crate) async fn record(
    context: &Context,
    engine: &Engine,
    id: &str,
    file: &Path,
) -> Result<(), CliError> {
    let opened = engine.open_with_entries(id).await.map_err(start_failed)?;
    let written = engine.cassette(&opened).and_then(|cassette| cassette.write(&context.cwd.join(file)));
    written.map_err(|error| {
        from_error(Exit::Environment, &error)
            .hint(format!("the run is on record all the same: `blueprint replay {id}` needs no file"))
    })?;
    terminal::error_line(&format!("  recorded in {}", clean(&file.display().to_string())));
    Ok(())
}

/// A file, if there is one of this name; else a run.
async fn source(context: &Context, engine: &Engine, what: &str) -> Result<Source, CliError> {
    let path = context.cwd.join(what);
    if path.is_file() {
        let cassette = Cassette::read(&path).map_err(|error| unusable(&error))?;
        return Ok(Source { of: what.to_owned(), cassette, secrets: BTreeMap::new() });
    }
    let id = context.find_run(&engine.store, Some(what)).await?;
    let opened = engine.open_with_entries(&id).await.map_err(start_failed)?;
    opened.must_hold().map_err(start_failed)?;
    let cassette = engine.cassette(&opened).map_err(|error| match &error {
        CassetteError::Fork { parent, .. } => {
            from_error(Exit::Usage, &error).hint(format!("`blueprint replay {parent}`"))
        }
        _ => from_error(Exit::Environment, &error),
    })?;
    let secrets = opened.state.start().map(|start| start.secrets.clone()).unwrap_or_default();
    Ok(Source { of: id, cassette, secrets })
}

fn unusable(error: &CassetteError) -> CliError {
    from_error(Exit::Usage, error).hint("a cassette is what `blueprint run NAME --record FILE` wrote")
}

fn say(context: &Context, of: &str, id: &str, cassette: &Cassette, found: &Comparison) {
    if context.format == Format::Json {
        let told = json!({ "type": "replay", "run": id, "of": of, "identical": found.is_identical(), "compared": found.compared,
            "accidents": found.accidents, "differences": found.differences });
        terminal::line(&told.to_string());
        return;
    }
    let steps = |count: usize| if count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
    let Some((first, rest)) = found.differences.split_first() else {
        let accidents = match found.accidents {
            0 => String::new(),
            count => format!(", {} in accidents such as times only", steps(count)),
        };
        let whole =
            if cassette.head.outcome.is_some() { "route and diff" } else { "as far as the recording goes" };
        terminal::line(&format!("identical: {whole} ({} compared{accidents})", steps(found.compared)));
        return;
    };
    terminal::line(&format!("differs first at {}", place(first)));
    terminal::line(&format!("  recorded: {}", clean(&first.recorded)));
    terminal::line(&format!("  came:     {}", clean(&first.came)));
    for difference in rest {
        terminal::line(&format!(
            "then at {}: {} became {}",
            place(difference),
            clean(&difference.recorded),
            clean(&difference.came)
        ));
    }
}

fn place(difference: &Difference) -> String {
    if difference.node.is_empty() {
        return clean(&difference.what);
    }
    let mut place = format!("`{}`", clean(&difference.node));
    if difference.round > 0 {
        place = format!("{place}, round {}", difference.round);
    }
    if difference.attempt > difference.round {
        place = format!("{place}, try {}", difference.attempt);
    }
    if let Some(turn) = difference.turn {
        place = format!("{place}, turn {turn}");
    }
    format!("{place}: {}", clean(&difference.what))
}

/// What a run replays, for people, if it is a replay.
pub(crate) fn replayed(options: &serde_json::Value) -> Option<String> {
    // What cannot be read is no replay to show; driving such a run is refused.
    RunOptions::of(options).ok()?.replay.map(|replay| replay.of)
}
