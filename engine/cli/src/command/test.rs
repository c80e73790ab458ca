//! `test`: runs the scenarios beside blueprints, each in a project of its own, with the engine and the driver of `run`.
//! Never touches the repository, the state folder or the files of the project, and never lets a run reach out.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blueprint_core::graph::{Action, Node, Program};
use blueprint_core::run::SecretSource;
use blueprint_core::source::SourceSet;
use blueprint_runtime::drive::{DriveEnd, Patience};
use blueprint_runtime::isolation::Isolation;
use blueprint_runtime::scenario::{Judged, Place, Scenario, Stand, Wrong, judge, read};
use blueprint_runtime::shared::Settings;
use blueprint_runtime::start::{Engine, NewRunOptions};
use blueprint_runtime::store::{Mode, Options, Store, SyncLevel};
use blueprint_runtime::workspace::Dirty;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::run::{new_id, start_failed};
use super::{check, doctor};
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal::{self, clean};

mod report;

use report::{Report, Told};

/// How many scenarios run at the same time.
const AT_ONCE: usize = 2;
/// The largest file of a scenario, in bytes.
const LARGEST: u64 = 1 << 20;

/// A blueprint with its scenarios.
struct Suite {
    name: String,
    sources: SourceSet,
    program: Arc<Program>,
    scenarios: Vec<Arc<Scenario>>,
}

/// A scenario that is to be run, and which one it is.
type Task<'a> = (usize, &'a Suite, Arc<Scenario>);

pub(crate) async fn test(context: &Context, names: &[String]) -> Result<Exit, CliError> {
    let suites = suites(context, names)?;
    let tasks: VecDeque<Task<'_>> = suites
        .iter()
        .flat_map(|suite| suite.scenarios.iter().map(move |scenario| (suite, Arc::clone(scenario))))
        .enumerate()
        .map(|(number, (suite, scenario))| (number, suite, scenario))
        .collect();
    let nodes: Vec<&Node> =
        tasks.iter().flat_map(|(_, suite, scenario)| working(&suite.program, scenario)).collect();
    let isolation = doctor::isolation_of_tests(context, &nodes).await?;
    let stop = CancellationToken::new();
    watch(stop.clone());
    let (tasks, report) = (Mutex::new(tasks), Mutex::new(Report::new(context.format)));
    let worker = || async {
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((number, suite, scenario)) = task.filter(|_| !stop.is_cancelled()) else {
                return Ok(());
            };
            let told = run(context, &isolation, suite, &scenario, &stop).await?;
            report.lock().unwrap_or_else(PoisonError::into_inner).take(number, told);
        }
    };
    let workers: [_; AT_ONCE] = [worker(), worker()];
    let [first, second] = workers;
    let (first, second): (Result<(), CliError>, Result<(), CliError>) = tokio::join!(first, second);
    first.and(second)?;
    if stop.is_cancelled() {
        return Err(CliError::failed("stopped before all scenarios were run"));
    }
    let failed = report.lock().unwrap_or_else(PoisonError::into_inner).end();
    Ok(if failed == 0 { Exit::Succeeded } else { Exit::Failed })
}

/// Ctrl-C ends the runs, so that their folders are cleared away.
fn watch(stop: CancellationToken) {
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
}

/// The blueprints that were asked for, with all that is wrong with their scenarios in one go.
fn suites(context: &Context, names: &[String]) -> Result<Vec<Suite>, CliError> {
    let all = if names.is_empty() { with_scenarios(&context.project) } else { names.to_vec() };
    let (mut suites, mut wrong) = (Vec::new(), Vec::new());
    for name in &all {
        let (sources, program) = check::sound(context, name)?;
        let mut scenarios = Vec::new();
        for path in files(&context.project, &folder(&sources.entry)) {
            let text = text(context, &path)?;
            match read(&context.project, &path, &text, &program) {
                Ok(scenario) => scenarios.push(Arc::new(scenario)),
                Err(more) => wrong.extend(more),
            }
        }
        suites.push(Suite { name: program.name.clone(), sources, program, scenarios });
    }
    if !wrong.is_empty() {
        return Err(refused(&wrong));
    }
    let empty = suites.iter().find(|suite| suite.scenarios.is_empty());
    if let Some(suite) = empty {
        return Err(CliError::usage(format!("`{}` has no scenarios", clean(&suite.name)))
            .hint(format!("write one: {}/happy.toml", clean(&folder(&suite.sources.entry)))));
    }
    if suites.is_empty() {
        return Err(CliError::usage("no blueprint of this project has a scenario")
            .hint("write one: blueprints/NAME/tests/happy.toml"));
    }
    Ok(suites)
}

fn refused(wrong: &[Wrong]) -> CliError {
    for one in wrong {
        terminal::error_line(&format!("error: {}", clean(&one.to_string())));
    }
    CliError::usage("nothing was run: mend the scenarios first")
}

fn text(context: &Context, path: &str) -> Result<String, CliError> {
    let full = context.project.join(path);
    let unread = |error: &dyn std::error::Error| {
        CliError::usage(format!("the scenario `{}` cannot be read", clean(path))).because(error)
    };
    let size = std::fs::metadata(&full).map_err(|error| unread(&error))?.len();
    if size > LARGEST {
        return Err(CliError::usage(format!("the scenario `{}` is larger than 1 MiB", clean(path))));
    }
    std::fs::read_to_string(&full).map_err(|error| unread(&error))
}

/// The folder of the scenarios of a blueprint, by the path of its file.
fn folder(entry: &str) -> String {
    match entry.rsplit_once('/') {
        Some((folder, "blueprint.toml")) => format!("{folder}/tests"),
        None if entry == "blueprint.toml" => "tests".to_owned(),
        _ => format!("{}/tests", entry.trim_end_matches(".toml")),
    }
}

/// The scenarios in a folder, by name.
fn files(project: &Path, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(project.join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.strip_suffix(".toml")
                .is_some_and(|name| Path::new(name).extension().is_none_or(|ending| ending != "model"))
        })
        .map(|name| format!("{folder}/{name}"))
        .collect();
    names.sort();
    names
}

/// The blueprints of the project that have scenarios, by path.
fn with_scenarios(project: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(project.join("blueprints")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| name.strip_suffix(".toml").map_or(name.clone(), str::to_owned))
        .filter(|name| !files(project, &format!("blueprints/{name}/tests")).is_empty())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The nodes that really run commands: stubs need no sandbox.
fn working<'p>(program: &'p Program, scenario: &Scenario) -> Vec<&'p Node> {
    let commands = program.nodes().filter(|node| matches!(node.action, Action::Run(_) | Action::Agent(_)));
    commands.filter(|node| !scenario.stubs(&node.name)).collect()
}

/// Runs a scenario to its end and judges it. An error is about the machine, not about the scenario.
async fn run(
    context: &Context,
    isolation: &Isolation,
    suite: &Suite,
    scenario: &Arc<Scenario>,
    stop: &CancellationToken,
) -> Result<Told, CliError> {
    let started = std::time::Instant::now();
    let place = Place::new(&scenario.start).map_err(|error| from_error(Exit::Environment, &error))?;
    let id = new_id();
    let stand = Arc::new(Stand::new(Arc::clone(scenario), &suite.program));
    let engine = engine(context, isolation, scenario, &stand, &place).await?;
    let (judged, timed_out) = drive(&engine, suite, scenario, &stand, &id, stop).await?;
    drop(engine);
    let kept = (!judged.problems.is_empty()).then(|| place.keep());
    Ok(Told {
        blueprint: suite.name.clone(),
        scenario: scenario.name.clone(),
        summary: scenario.summary.clone(),
        took: started.elapsed(),
        timed_out: timed_out.then_some(scenario.timeout),
        judged,
        run: id,
        kept,
    })
}

/// The variable that holds a secret of a scenario. Nobody else's environment is looked at.
fn variable(secret: &str) -> String {
    format!("SCENARIO_{secret}")
}

async fn engine(
    context: &Context,
    isolation: &Isolation,
    scenario: &Scenario,
    stand: &Arc<Stand>,
    place: &Place,
) -> Result<Engine, CliError> {
    // It lives as long as the scenario, so nothing of it has to survive a power loss.
    let options = Options { sync: SyncLevel::Normal, mode: Mode::ReadWrite };
    let store =
        Store::open(place.state(), options).await.map_err(|error| from_error(Exit::Environment, &error))?;
    let engine = context.engine_on(store, isolation.clone());
    let environment: BTreeMap<String, String> =
        scenario.secrets.iter().map(|(name, value)| (variable(name), value.clone())).collect();
    // Neither the models, the logins nor the hooks of the user: what a scenario shows must not depend on who runs it.
    let outside = Some(Arc::clone(stand) as _);
    let settings = Settings { models: None, access: None, hooks: None, outside, ..engine.settings.clone() };
    let (project, state_dir) = (place.project().to_owned(), place.state());
    Ok(Engine { project, state_dir, settings, environment, ..engine })
}

async fn drive(
    engine: &Engine,
    suite: &Suite,
    scenario: &Scenario,
    stand: &Arc<Stand>,
    id: &str,
    stop: &CancellationToken,
) -> Result<(Judged, bool), CliError> {
    let secrets = scenario.secrets.keys().map(|name| (name.clone(), SecretSource::Env(variable(name))));
    let new = NewRunOptions {
        id: id.to_owned(),
        sources: suite.sources.clone(),
        program: Arc::clone(&suite.program),
        inputs: Value::Object(scenario.inputs.clone()),
        secrets: secrets.collect(),
        dirty: Dirty::Include,
        jobs: scenario.jobs,
        by: format!("scenario {}", scenario.name),
        options: json!({ "scenario": scenario.file }),
    };
    let (driver, _) = engine.start(new, Arc::clone(stand) as _).await.map_err(start_failed)?;
    let cancel = stop.child_token();
    let late = cancel.clone();
    let timeout = scenario.timeout;
    let timer = tokio::spawn(async move {
        tokio::time::sleep(timeout).await;
        late.cancel();
    });
    let (end, journal, _) = driver.drive(Patience::Leave, cancel).await;
    let timed_out = timer.is_finished() && matches!(end, Ok(DriveEnd::Interrupted)) && !stop.is_cancelled();
    timer.abort();
    let end = end.map_err(|error| from_error(Exit::Environment, &error))?;
    drop(engine.store.release(journal.into_lease()).await);
    let outcome = match &end {
        DriveEnd::Finished(outcome) => outcome.as_str(),
        DriveEnd::Waiting { .. } => "waiting",
        DriveEnd::Interrupted => "interrupted",
    };
    let opened = engine.open_with_entries(id).await.map_err(start_failed)?;
    opened.must_hold().map_err(start_failed)?;
    let seen = (engine.store.blobs(), engine.project.as_path(), engine.state_dir.as_path());
    Ok((judge(scenario, &opened, outcome, &stand.unused(), seen), timed_out))
}

/// A duration for a line of a list.
fn short(took: Duration) -> String {
    blueprint_runtime::human(took)
}
