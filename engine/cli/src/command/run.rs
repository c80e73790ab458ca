//! `run`, `resume`, `retry` and `fork`: everything that drives a run, with the same progress, the same stop on
//! Ctrl-C and the same exit codes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use blueprint_core::format::InputType;
use blueprint_core::graph::{Action, InputSpec, Mind, Program};
use blueprint_core::run::{Outcome, SecretSource};
use blueprint_runtime::drive::{DriveEnd, DriveError, Driver, Patience};
use blueprint_runtime::isolation::Isolation;
use blueprint_runtime::message::Message;
use blueprint_runtime::start::{
    Engine, NewRunOptions, OpenedRun, RunOptions, StandIn, StartError, agent_trouble,
};
use blueprint_runtime::store::{AcquireError, Verdict};
use blueprint_runtime::workspace::{Base, Dirty, LeftOut};
use blueprint_sandbox::Backend;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::bill;
use super::check;
use super::decide::unfinished;
use super::doctor;
use super::replay;
use super::stand_in::stand_ins;
use crate::args::{Ceilings, Format, RunSettings};
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::progress::{self, Progress};
use crate::terminal;

/// What `run` was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) blueprint: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) secrets: Vec<String>,
    pub(crate) include_dirty: bool,
    pub(crate) models: Vec<String>,
    pub(crate) record: Option<PathBuf>,
    pub(crate) ceilings: Ceilings,
}

pub(crate) async fn run(context: &Context, settings: &RunSettings, asked: &Asked) -> Result<Exit, CliError> {
    let (sources, program) = check::sound(context, &asked.blueprint)?;
    refuse_later_kinds(&program)?;
    let (inputs, secrets) = inputs(&program, asked)?;
    let models = stand_ins(context, &program, &asked.models)?;
    bill::refuse(&bill::of(context, &program, &models), &asked.ceilings)?;
    let isolation = doctor::isolation(context, settings, &program, None).await?;
    let engine = context.engine(isolation.clone()).await?;
    if let Some(why) = agent_trouble(&program) {
        return Err(CliError::usage(why).hint("mend that; nothing was started"));
    }
    refuse_missing_models(&program, &engine.settings, &models)?;
    let id = new_id();
    let progress = progress::start(context, settings, &program, &id);
    let new = NewRunOptions {
        id: id.clone(),
        sources,
        program,
        inputs,
        secrets,
        dirty: if asked.include_dirty { Dirty::Include } else { Dirty::Exclude },
        jobs: context.settings.jobs().get() as u32,
        by: user(context),
        options: RunOptions { sandbox: isolation.named(), models, replay: None }.to_value(),
    };
    let (driver, base) = engine.start(new, progress.observer()).await.map_err(start_failed)?;
    if let Some(base) = &base {
        say_base(context, base);
    }
    let exit = drive(context, settings, &engine, driver, progress, &id).await?;
    if let Some(file) = &asked.record {
        replay::record(context, &engine, &id, file).await?;
    }
    Ok(exit)
}

pub(crate) async fn resume(
    context: &Context,
    settings: &RunSettings,
    run: Option<&str>,
) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let id = context.find_run_where(&store, run, "run to resume", unfinished).await?;
    drop(store.close().await);
    Box::pin(take_over(context, settings, &id, News::None)).await
}

pub(crate) async fn retry(
    context: &Context,
    settings: &RunSettings,
    run: &str,
    node: &str,
) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let id = context.find_run(&store, Some(run)).await?;
    drop(store.close().await);
    let message = Message::Retry { node: node.to_owned(), by: user(context) };
    Box::pin(take_over(context, settings, &id, News::Retry(node, message))).await
}

/// What a run that is taken over is told first.
#[derive(Debug)]
pub(crate) enum News<'n> {
    /// Nothing: it goes on.
    None,
    /// To try this node again.
    Retry(&'n str, Message),
    /// Nothing, since it was told already: to end. No command is run any more, so no image is needed.
    End,
}

/// Drives a run that is on record.
pub(crate) async fn take_over(
    context: &Context,
    settings: &RunSettings,
    id: &str,
    news: News<'_>,
) -> Result<Exit, CliError> {
    let engine = context.engine(Isolation::same(Backend::None)).await?;
    let opened = engine.open(id).await.map_err(start_failed)?;
    opened.must_hold().map_err(start_failed)?;
    if let News::Retry(node, _) = &news {
        let known = opened.state.at(node).filter(|inst| opened.state.instance(*inst).scope == 0);
        let Some(inst) = known else { return Err(no_node(&opened.state, node)) };
        if !opened.state.instance(inst).phase.is_settled() {
            return Err(CliError::usage(format!(
                "`{node}` has not come to an end: it is {}",
                opened.state.instance(inst).phase.as_str()
            ))
            .hint(format!("`blueprint resume {id}` goes on with the run")));
        }
    } else if let blueprint_core::run::RunStatus::Finished(outcome) = opened.state.status() {
        return Err(CliError::usage(format!("run {id} has ended: it {}", worded(outcome)))
            .hint(format!("`blueprint retry {id} NODE` tries a node again, `blueprint fork {id} --from NODE` starts a new run")));
    }
    let isolation = match news {
        News::End => doctor::isolation_to_end(context, opened.state.program()).await?,
        News::None | News::Retry(..) => {
            let began = Some(opened.state.images());
            doctor::isolation(context, settings, opened.state.program(), began).await?
        }
    };
    let engine = Engine {
        settings: blueprint_runtime::shared::Settings { isolation, ..engine.settings.clone() },
        ..engine
    };
    let progress = progress::start(context, settings, opened.state.program(), id);
    let mut driver = engine.resume(id, progress.observer()).await.map_err(start_failed)?;
    progress.replay(&opened);
    if let News::Retry(_, message) = news {
        let event = message.into_event(driver.state());
        driver.tell(event);
    }
    drive(context, settings, &engine, driver, progress, id).await
}

pub(crate) async fn fork(
    context: &Context,
    settings: &RunSettings,
    run: &str,
    from: &str,
) -> Result<Exit, CliError> {
    let engine = context.engine(Isolation::same(Backend::None)).await?;
    let id = context.find_run(&engine.store, Some(run)).await?;
    let parent = engine.open(&id).await.map_err(start_failed)?;
    parent.must_hold().map_err(start_failed)?;
    if parent.state.at(from).is_none_or(|inst| parent.state.instance(inst).scope != 0) {
        return Err(no_node(&parent.state, from));
    }
    let began = Some(parent.state.images());
    let isolation = doctor::isolation(context, settings, parent.state.program(), began).await?;
    let engine = Engine {
        settings: blueprint_runtime::shared::Settings { isolation, ..engine.settings.clone() },
        ..engine
    };
    let new_id = new_id();
    let progress = progress::start(context, settings, parent.state.program(), &new_id);
    let driver = engine
        .fork(&parent, from, &new_id, &user(context), progress.observer())
        .await
        .map_err(start_failed)?;
    drive(context, settings, &engine, driver, progress, &new_id).await
}

pub(crate) fn no_node(state: &blueprint_core::run::State, node: &str) -> CliError {
    let names: Vec<String> = state.instances().map(|(_, instance)| instance.path.to_string()).collect();
    let near = blueprint_core::finding::nearest(node, names.iter().map(String::as_str));
    let error = CliError::usage(format!("the run has no node `{}`", terminal::clean(node)));
    match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`blueprint status RUN` lists its nodes"),
    }
}

pub(crate) async fn drive(
    context: &Context,
    settings: &RunSettings,
    engine: &Engine,
    driver: Driver,
    progress: Progress,
    id: &str,
) -> Result<Exit, CliError> {
    let stop = CancellationToken::new();
    watch_signals(stop.clone());
    let patience = if settings.wait { Patience::Stay } else { Patience::Leave };
    let (end, journal, state) = driver.drive(patience, stop).await;
    progress.finish();
    let end = match end {
        Ok(end) => {
            // A lease that stays behind is taken over at once, since its process is dead. A finished run needs no
            // driver, so its lease is left to lapse with this process: one sync less.
            if !matches!(end, DriveEnd::Finished(_)) {
                drop(engine.store.release(journal.into_lease()).await);
            }
            end
        }
        Err(error) => return Err(drive_failed(&error, id)),
    };
    progress::summary(context, id, &state, &end);
    if matches!(end, DriveEnd::Finished(_)) {
        let work = engine.state_dir.join("work").join(id);
        if work.exists() {
            drop(std::fs::remove_dir_all(work));
        }
        drop(std::fs::remove_dir_all(engine.state_dir.join("live").join(id)));
    }
    Ok(match end {
        DriveEnd::Finished(Outcome::Succeeded) => Exit::Succeeded,
        DriveEnd::Finished(Outcome::Failed | Outcome::Cancelled) => Exit::Failed,
        DriveEnd::Finished(Outcome::Rejected | Outcome::Escalated) => Exit::Rejected,
        DriveEnd::Waiting { .. } | DriveEnd::Interrupted => Exit::Waiting,
    })
}

/// The first Ctrl-C stops the run so that it can be resumed, the second one ends the program at once.
fn watch_signals(stop: CancellationToken) {
    tokio::spawn(async move {
        let kind = tokio::signal::unix::SignalKind::terminate();
        let Ok(mut terminate) = tokio::signal::unix::signal(kind) else { return };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        terminal::error_line("stopping; the run can be resumed. Ctrl-C again ends the program at once");
        stop.cancel();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        kill_at_once();
    });
}

#[expect(clippy::exit, reason = "the second Ctrl-C: the journal is durable, so nothing is lost")]
fn kill_at_once() {
    std::process::exit(130);
}

fn refuse_later_kinds(program: &Program) -> Result<(), CliError> {
    let later = program.nodes().find_map(|node| match node.action {
        Action::Ci | Action::Forge(_) => Some((node, "0.5")),
        _ => None,
    });
    match later {
        None => Ok(()),
        Some((node, release)) => Err(CliError::environment(format!(
            "`{}` cannot run: {} nodes come with release {release}, this is {}",
            node.name,
            node.action.kind(),
            env!("CARGO_PKG_VERSION")
        ))
        .hint("`check`, `plan` and `graph` work; nothing was started")),
    }
}

/// A model that cannot be asked is found before anything is spent on the nodes before it.
fn refuse_missing_models(
    program: &Program,
    settings: &blueprint_runtime::shared::Settings,
    stand_ins: &BTreeMap<String, StandIn>,
) -> Result<(), CliError> {
    if settings.outside.is_some() {
        return Ok(());
    }
    let mut named: Vec<(String, String)> = Vec::new();
    let mut agents = false;
    for node in program.nodes() {
        let Action::Agent(agent) = &node.action else { continue };
        agents |= !matches!(agent.mind, Mind::Program { .. });
        if let Mind::Model { model, .. } = &agent.mind {
            named.push((format!("the agent `{}`", node.name), model.clone()));
        }
    }
    if let Some(hooks) = settings.hooks.as_ref().filter(|_| agents) {
        named.extend(hooks.engine.models().into_iter().map(|model| ("a hook".to_owned(), model)));
    }
    for (who, model) in &named {
        let model = match stand_ins.get(model) {
            Some(StandIn::Script { .. }) => continue,
            Some(StandIn::Model(other)) => other,
            None => model,
        };
        let resolved = match &settings.models {
            Some(models) => models.resolve(model).map(drop),
            None => Err("no models are configured".to_owned()),
        };
        if let Err(why) = resolved {
            return Err(CliError::environment(format!("{who} has no model: {why}")).hint(
                "say in the settings of the user what it means: `[models.aliases]` with `NAME = [\"provider/model\"]`; nothing was started",
            ));
        }
    }
    Ok(())
}

fn known_inputs(specs: &[InputSpec]) -> String {
    let names: Vec<String> =
        specs.iter().map(|spec| format!("{} ({})", spec.name, spec.type_name())).collect();
    if names.is_empty() {
        "it takes no inputs".to_owned()
    } else {
        format!("its inputs are {}", names.join(", "))
    }
}

/// Where secrets are read: of `--secret NAME=SOURCE`.
pub(crate) fn secret_sources(
    program: &Program,
    given: &[String],
) -> Result<BTreeMap<String, SecretSource>, CliError> {
    let specs = &program.root().inputs;
    let mut secrets = BTreeMap::new();
    for text in given {
        let parsed = text.split_once('=').and_then(|(name, source)| {
            let source = match source.split_once(':')? {
                ("env", variable) => SecretSource::Env(variable.to_owned()),
                ("file", path) => SecretSource::File(path.to_owned()),
                _ => return None,
            };
            Some((name.to_owned(), source))
        });
        // Not repeated in the message: it may be the secret itself.
        let Some((name, source)) = parsed else {
            return Err(CliError::usage("a secret is not given as NAME=env:VARIABLE or NAME=file:PATH"));
        };
        if !specs.iter().any(|spec| *spec.name == *name && spec.ty == InputType::Secret) {
            return Err(CliError::usage(format!(
                "`{}` has no secret `{}`",
                program.name,
                terminal::clean(&name)
            ))
            .hint(known_inputs(specs)));
        }
        if secrets.insert(name.clone(), source).is_some() {
            return Err(CliError::usage(format!("the secret `{name}` is given twice")).hint("give it once"));
        }
    }
    Ok(secrets)
}

fn inputs(program: &Program, asked: &Asked) -> Result<(Value, BTreeMap<String, SecretSource>), CliError> {
    let specs = &program.root().inputs;
    let known = || known_inputs(specs);
    let mut values = Map::new();
    for given in &asked.inputs {
        let Some((name, text)) = given.split_once('=') else {
            return Err(CliError::usage(format!("`{}` is not an input", terminal::clean(given)))
                .hint("write it as NAME=VALUE"));
        };
        let Some(spec) = specs.iter().find(|spec| *spec.name == *name) else {
            let error =
                CliError::usage(format!("`{}` has no input `{}`", program.name, terminal::clean(name)));
            let near = blueprint_core::finding::nearest(name, specs.iter().map(|spec| &*spec.name));
            return Err(error.hint(near.map_or_else(known, |near| format!("did you mean `{near}`?"))));
        };
        if spec.ty == InputType::Secret {
            return Err(CliError::usage(format!(
                "the input `{name}` is a secret and is not given on the command line"
            ))
            .hint(format!("`--secret {name}=env:VARIABLE` or `--secret {name}=file:PATH`")));
        }
        let value = spec.parse(text).map_err(|error| {
            CliError::usage(format!(
                "the input `{name}` does not fit: {}",
                terminal::clean(&error.to_string())
            ))
        })?;
        if values.insert(name.to_owned(), value).is_some() {
            return Err(CliError::usage(format!("the input `{name}` is given twice")).hint("give it once"));
        }
    }
    let secrets = secret_sources(program, &asked.secrets)?;
    for spec in specs {
        if values.contains_key(&*spec.name) || secrets.contains_key(&*spec.name) {
            continue;
        }
        match &spec.default {
            Some(default) => {
                values.insert(spec.name.to_string(), default.clone());
            }
            None => {
                let how = if spec.ty == InputType::Secret {
                    format!("--secret {}=env:VARIABLE", spec.name)
                } else {
                    format!("--input {}=VALUE", spec.name)
                };
                let help = spec.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
                return Err(CliError::usage(format!(
                    "`{}` needs the input `{}`, {}{help}",
                    program.name,
                    spec.name,
                    spec.type_name()
                ))
                .hint(how));
            }
        }
    }
    Ok((Value::Object(values), secrets))
}

fn say_base(context: &Context, base: &Base) {
    if context.format == Format::Json {
        return;
    }
    match &base.left_out {
        LeftOut::Nothing => {}
        LeftOut::Changes(paths) => {
            let some: Vec<String> =
                paths.iter().take(3).map(|path| terminal::clean(&path.to_string())).collect();
            let more = if paths.len() > 3 { format!(" and {} more", paths.len() - 3) } else { String::new() };
            terminal::error_line(&format!(
                "note: the run starts from the last commit and does not see your changes to {}{more}; `--include-dirty` includes them",
                some.join(", ")
            ));
        }
        LeftOut::Unknown { reason } => {
            terminal::error_line(&format!(
                "note: the run starts from the last commit; whether files differ from it is not known: {}",
                terminal::clean(reason)
            ));
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn start_failed(error: StartError) -> CliError {
    if let StartError::Acquire(held @ AcquireError::Held { .. }) = &error {
        return CliError::environment(held.to_string())
            .hint("wait for it, or stop that process first; nothing was changed");
    }
    if let StartError::Broken { run, .. } = &error {
        let run = run.clone();
        return from_error(Exit::Environment, &error).hint(format!(
            "`blueprint audit verify {run}` checks it again; `blueprint audit salvage --to FOLDER` saves what is intact; \
             nothing was started"
        ));
    }
    let exit = match &error {
        StartError::NoNode { .. } | StartError::Redact(_) | StartError::Secret { .. } => Exit::Usage,
        _ => Exit::Environment,
    };
    from_error(exit, &error)
}

/// Says that what is shown comes from a journal that does not hold what was written to it. True if it was said.
pub(crate) fn warn_if_broken(opened: &OpenedRun) -> bool {
    let Verdict::Broken { seq, reason } = &opened.verdict else { return false };
    terminal::error_line(&format!(
        "warning: the journal of run {} breaks at event {seq}: {}; what is shown may be wrong or incomplete",
        opened.id,
        terminal::clean(&reason.to_string())
    ));
    true
}

fn drive_failed(error: &DriveError, id: &str) -> CliError {
    from_error(Exit::Environment, error)
        .hint(format!("mend that, then `blueprint resume {id}`: what is on record is not lost"))
}

pub(crate) fn user(context: &Context) -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| context.environment.get(*name).cloned());
    named
        .filter(|name| !name.trim().is_empty())
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

pub(crate) fn new_id() -> String {
    // The time is part of the id, so runs sort by when they began.
    uuid::Uuid::now_v7().simple().to_string()
}

pub(crate) fn worded(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Rejected => "was rejected",
        Outcome::Escalated => "was handed to a person",
        Outcome::Cancelled => "was cancelled",
    }
}
