//! `approve`, `reject` and `cancel`: what a person wants of a run, left in its inbox and, if asked, acted on at
//! once.

use blueprint_core::graph::Action;
use blueprint_core::run::{Decision, RunStatus, Timer, TimerPurpose};
use blueprint_runtime::clock::Clock;
use blueprint_runtime::isolation::Isolation;
use blueprint_runtime::message::{Message, may_decide};
use blueprint_runtime::start::OpenedRun;
use blueprint_runtime::store::{Owner, RunSummary};
use blueprint_sandbox::Backend;

use super::run::{News, start_failed, take_over, user, worded};
use crate::args::DecideArgs;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal;

/// Runs that can go on. One that was cut off before its first event never began.
pub(super) fn unfinished(run: &RunSummary) -> bool {
    ["starting", "running"].contains(&run.status.as_str()) && run.head.seq > 0
}

pub(crate) async fn decide(
    context: &Context,
    asked: &DecideArgs,
    decision: Decision,
) -> Result<Exit, CliError> {
    let engine = context.engine(Isolation::same(Backend::None)).await?;
    let id = context
        .find_run_where(&engine.store, asked.run.as_deref(), "run that waits at a gate", unfinished)
        .await?;
    let opened = engine.open(&id).await.map_err(start_failed)?;
    opened.must_hold().map_err(start_failed)?;
    let (gate, subject) = open_gate(&opened, asked.gate.as_deref())?;
    if let Some(seen) = &asked.subject
        && (seen.len() < 8 || !subject.starts_with(seen.as_str()))
    {
        return Err(CliError::usage(format!(
            "`{gate}` asks about {subject}, not about {}",
            terminal::clean(seen)
        ))
        .hint(format!("look at it again: `blueprint show {id} {gate}`")));
    }
    let by = user(context);
    if !may_decide(&opened.state, &gate, &by) {
        return Err(CliError::usage(format!("`{}` may not decide at `{gate}`", terminal::clean(&by)))
            .hint(format!("it is for {}", approvers(&opened, &gate))));
    }
    if let Some(closed) = closed_at(&opened, &gate)
        && closed <= Clock::system().now_ms()
    {
        return Err(CliError::usage(format!(
            "`{gate}` of run {id} is closed: nobody decided in time, which counts as no"
        ))
        .hint(format!("`blueprint resume {id}` takes note of it")));
    }
    let message = Message::Decide {
        node: gate.clone(),
        decision,
        subject: subject.clone(),
        by,
        reason: asked.reason.clone(),
    };
    post(&engine.store, &id, &message).await?;
    let word = if decision == Decision::Approved { "approved" } else { "rejected" };
    terminal::error_line(&format!(
        "{word} {gate} of run {id} (subject {})",
        subject.get(..12).unwrap_or(&subject)
    ));
    let now = i64::try_from(Clock::system().now_ms()).unwrap_or(i64::MAX);
    let driven =
        engine.store.holder(&id, now).await.map_err(|error| from_error(Exit::Environment, &error))?;
    if asked.resume && !driven.is_some_and(|held| held.lives(&Owner::current())) {
        drop(engine);
        return Box::pin(take_over(context, &asked.settings, &id, News::None)).await;
    }
    terminal::error_line(&format!(
        "  the process that drives the run takes it in; if none does: blueprint resume {id}"
    ));
    Ok(Exit::Succeeded)
}

/// When an open gate closes by itself.
fn closed_at(opened: &OpenedRun, gate: &str) -> Option<u64> {
    let expiry =
        |timer: &Timer| timer.purpose == TimerPurpose::GateExpiry && timer.node.as_deref() == Some(gate);
    opened.state.timers().find(|(timer, _)| expiry(timer)).map(|(_, due)| due)
}

/// Who may decide at a gate, in words.
fn approvers(opened: &OpenedRun, gate: &str) -> String {
    let Some(inst) = opened.state.at(gate) else { return String::new() };
    let Action::Gate(gate) = &opened.state.node(inst).action else { return String::new() };
    let asked = &gate.approvers;
    let users = asked.users.iter().map(|user| format!("the user {user}"));
    let teams = asked.teams.iter().map(|team| format!("the team {team}, which only a forge knows"));
    let permission = asked
        .permission
        .iter()
        .map(|wanted| format!("people with the permission {wanted}, which only a forge knows"));
    terminal::clean(&users.chain(teams).chain(permission).collect::<Vec<_>>().join(", "))
}

/// The gate that is meant, and what it asks about.
fn open_gate(opened: &OpenedRun, wanted: Option<&str>) -> Result<(String, String), CliError> {
    let state = &opened.state;
    let open: Vec<_> = state
        .open_gates()
        .filter_map(|inst| {
            let instance = state.instance(inst);
            Some((instance.path.to_string(), instance.gate.as_ref()?.subject.clone()))
        })
        .collect();
    let names = || open.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>().join(", ");
    match wanted {
        Some(wanted) => open.iter().find(|(path, _)| path == wanted).cloned().ok_or_else(|| {
            let error = CliError::usage(format!(
                "`{}` is not an open gate of run {}",
                terminal::clean(wanted),
                opened.id
            ));
            if open.is_empty() {
                error.hint("no gate of it is open")
            } else {
                error.hint(format!("open are {}", names()))
            }
        }),
        None => match open.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(CliError::usage(format!("no gate of run {} is open", opened.id)).hint(
                match state.status() {
                    RunStatus::Finished(outcome) => format!("the run {}", worded(outcome)),
                    _ => format!("`blueprint status {}` shows where it stands", opened.id),
                },
            )),
            _ => Err(CliError::usage("several gates are open").hint(format!("name one: {}", names()))),
        },
    }
}

async fn post(store: &blueprint_runtime::store::Store, id: &str, message: &Message) -> Result<(), CliError> {
    let body = serde_json::to_string(message)
        .map_err(|error| CliError::failed("the message cannot be written").because(&error))?;
    let now = i64::try_from(Clock::system().now_ms()).unwrap_or(i64::MAX);
    store.post(id, &body, now).await.map_err(|error| from_error(Exit::Environment, &error))?;
    Ok(())
}

pub(crate) async fn cancel(
    context: &Context,
    run: Option<&str>,
    reason: Option<String>,
) -> Result<Exit, CliError> {
    let engine = context.engine(Isolation::same(Backend::None)).await?;
    let id = context.find_run_where(&engine.store, run, "run to cancel", unfinished).await?;
    let opened = engine.open(&id).await.map_err(start_failed)?;
    opened.must_hold().map_err(start_failed)?;
    if let RunStatus::Finished(outcome) = opened.state.status() {
        return Err(CliError::usage(format!("run {id} has ended: it {}", worded(outcome))));
    }
    post(&engine.store, &id, &Message::Cancel { by: user(context), reason }).await?;
    let now = i64::try_from(Clock::system().now_ms()).unwrap_or(i64::MAX);
    let driven =
        engine.store.holder(&id, now).await.map_err(|error| from_error(Exit::Environment, &error))?;
    if driven.is_some_and(|held| held.lives(&Owner::current())) {
        terminal::error_line(&format!("run {id} is being cancelled by the process that drives it"));
        return Ok(Exit::Succeeded);
    }
    drop(engine);
    // Nobody drives it: take it over just to end it.
    let settings = crate::args::RunSettings { quiet: true, ..crate::args::RunSettings::default() };
    match Box::pin(take_over(context, &settings, &id, News::End)).await? {
        Exit::Failed => Ok(Exit::Succeeded),
        other => Ok(other),
    }
}
