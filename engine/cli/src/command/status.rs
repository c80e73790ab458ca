//! `status`: the runs of a project, or the nodes of one run.

use blueprint_core::run::RunStatus;
use blueprint_runtime::clock::Clock;
use blueprint_runtime::store::Owner;
use serde_json::json;

use super::replay::replayed;
use super::run::{start_failed, warn_if_broken};
use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::progress::{phase_mark, spending};
use crate::terminal::{self, clean};

pub(crate) async fn status(context: &Context, run: Option<&str>) -> Result<Exit, CliError> {
    let engine = context.reader().await?;
    let Some(run) = run else {
        let runs = engine.store.runs().await.map_err(|error| from_error(Exit::Environment, &error))?;
        if context.format == Format::Json {
            let runs: Vec<_> = runs
                .iter()
                .map(|run| json!({ "id": run.id, "blueprint": run.blueprint, "status": run.status, "created_at_ms": run.created_at_ms, "events": run.head.seq }))
                .collect();
            terminal::line(&serde_json::Value::from(runs).to_string());
        } else if runs.is_empty() {
            terminal::line("no runs yet; start one with `blueprint run NAME`");
        } else {
            for run in runs {
                let when = jiff::Timestamp::from_millisecond(run.created_at_ms)
                    .map_or_else(|_| String::new(), |at| format!("{at:.0}"));
                terminal::line(&format!(
                    "{}  {when}  {:10}  {}",
                    run.id,
                    clean(&run.status),
                    clean(&run.blueprint)
                ));
            }
        }
        return Ok(Exit::Succeeded);
    };
    let id = context.find_run(&engine.store, Some(run)).await?;
    let opened = engine.open(&id).await.map_err(start_failed)?;
    warn_if_broken(&opened);
    let now = i64::try_from(Clock::system().now_ms()).unwrap_or(i64::MAX);
    let holder =
        engine.store.holder(&id, now).await.map_err(|error| from_error(Exit::Environment, &error))?;
    let holder = holder.filter(|held| held.lives(&Owner::current()));
    let state = &opened.state;
    let word = match state.status() {
        RunStatus::Finished(outcome) => outcome.as_str(),
        _ if holder.is_some() => "running",
        _ if state.open_gates().next().is_some() => "waiting",
        _ => "stopped",
    };
    let replay_of = state.start().and_then(|start| replayed(&start.options));
    if context.format == Format::Json {
        let nodes: Vec<_> = state
            .instances()
            .map(|(_, instance)| {
                json!({ "node": instance.path, "phase": instance.phase, "attempt": instance.attempt, "round": instance.round,
                    "started_at_ms": instance.started_at, "ended_at_ms": instance.ended_at,
                    "failure": instance.failure.as_ref().map(|failure| json!({ "class": failure.class, "message": failure.message })) })
            })
            .collect();
        let driven = holder.as_ref().map(|held| json!({ "pid": held.by.pid, "host": held.by.host }));
        terminal::line(&json!({ "run": id, "blueprint": state.program().name, "status": word, "driven_by": driven, "replay_of": replay_of, "spent": state.spent(), "nodes": nodes }).to_string());
        return Ok(Exit::Succeeded);
    }
    terminal::line(&format!("run {id} of {}: {word}", state.program().name));
    if let Some(of) = &replay_of {
        terminal::line(&format!("a replay of {}", clean(of)));
    }
    if let Some(held) = holder {
        terminal::line(&format!("driven by process {} on {}", held.by.pid, clean(&held.by.host)));
    }
    if let Some(spent) = spending(state) {
        terminal::line(spent.trim_start());
    }
    let width = state.instances().map(|(_, instance)| instance.path.len()).max().unwrap_or(0).min(40);
    for (inst, instance) in state.instances() {
        let (mark, style) = phase_mark(instance.phase);
        let mut more = Vec::new();
        if let (Some(from), Some(to)) = (instance.started_at, instance.ended_at) {
            more.push(blueprint_runtime::human(std::time::Duration::from_millis(to.saturating_sub(from))));
        }
        if let Some(region) = state.region(inst).filter(|region| region.round > 1) {
            more.push(format!("{} of {} rounds", region.round, region.rounds));
        }
        if instance.attempt > instance.round {
            more.push(format!("attempt {}", instance.attempt));
        }
        if let Some(failure) =
            instance.failure.as_ref().filter(|_| instance.phase == blueprint_core::run::Phase::Failed)
        {
            more.push(clean(failure.message.lines().next().unwrap_or_default()));
        }
        terminal::line(&format!(
            "{style}{mark}{style:#} {:width$}  {:10}  {}",
            instance.path,
            instance.phase.as_str(),
            more.join(", ")
        ));
    }
    Ok(Exit::Succeeded)
}
