//! Facts in words, a line each. Text that came from nodes or people is cleaned here.

use blueprint_core::run::{
    Command, Decision, Did, Evaluated, Event, LostBecause, Phase, State, TimerPurpose, usd,
};

use crate::terminal::clean;

/// A sign and a style for a phase.
pub(crate) fn phase_mark(phase: Phase) -> (&'static str, anstyle::Style) {
    use anstyle::AnsiColor::{BrightBlack, Cyan, Green, Red, Yellow};
    let style = |colour: anstyle::AnsiColor| colour.on_default();
    match phase {
        Phase::Succeeded => ("✓", style(Green)),
        Phase::Failed => ("✗", style(Red)),
        Phase::Cancelled => ("■", style(Yellow)),
        Phase::Skipped => ("–", style(BrightBlack)),
        Phase::Running | Phase::Evaluating | Phase::Expanded | Phase::Collecting => ("▸", style(Cyan)),
        Phase::Waiting | Phase::Backoff => ("…", style(Yellow)),
        Phase::Repairing | Phase::Escalating => ("!", style(Yellow)),
        Phase::Pending | Phase::Ready => ("·", style(BrightBlack)),
    }
}

/// A fact as a line, if it is one that people want to see go by.
pub(crate) fn event_line(event: &Event, state: &State) -> Option<(String, Phase, String)> {
    let at = |node: &str| state.at(node).map(|inst| state.instance(inst));
    let took = |node: &str| {
        at(node)
            .and_then(|instance| Some(instance.ended_at?.saturating_sub(instance.started_at?)))
            .map_or_else(String::new, |ms| {
                format!(" in {}", blueprint_runtime::human(std::time::Duration::from_millis(ms)))
            })
    };
    let line = match event {
        Event::Issued(Command::StartNode { node, attempt, round, .. }) => {
            let which = |what: &str, number: u32| {
                if number > 1 { format!(", {what} {number}") } else { String::new() }
            };
            let more = which("round", *round) + &which("attempt", *attempt);
            (node.to_string(), Phase::Running, format!("started{more}"))
        }
        Event::Issued(Command::StartRound { node, round }) => {
            (node.to_string(), Phase::Repairing, format!("failed; round {round} of its repair begins"))
        }
        Event::Issued(Command::StartTimer { timer, after_ms }) if timer.purpose == TimerPurpose::Backoff => {
            let node = timer.node.as_deref().unwrap_or_default().to_owned();
            let pause = blueprint_runtime::human(std::time::Duration::from_millis(*after_ms));
            (node, Phase::Backoff, format!("another try in {pause}"))
        }
        Event::NodeEvaluated { node, result, .. } => match result {
            Evaluated::Skip => {
                (node.to_string(), Phase::Skipped, "skipped: its condition is false".to_owned())
            }
            Evaluated::Run => return None,
            Evaluated::Expand { count, .. } => {
                (node.to_string(), Phase::Expanded, format!("runs {count} times"))
            }
        },
        Event::NodeSucceeded { node, .. } => {
            (node.to_string(), Phase::Succeeded, format!("succeeded{}", took(node)))
        }
        Event::NodeFailed { node, failure, .. } => {
            let message = clean(failure.message.lines().next().unwrap_or_default());
            (node.to_string(), Phase::Failed, format!("failed ({}): {message}", failure.class.as_str()))
        }
        Event::CommandLost { node, because, .. } => {
            let why = match because {
                LostBecause::Crash => "was cut off when its process died; it is done again",
                LostBecause::Interrupted => "was stopped; it is done again later",
                LostBecause::Cancelled => "was stopped",
            };
            (node.to_string(), Phase::Cancelled, why.to_owned())
        }
        Event::GateOpened { node, ask, subject, .. } => {
            let ask = ask.as_ref().map_or_else(String::new, |ask| {
                format!(": {}", clean(ask.lines().next().unwrap_or_default()))
            });
            (
                node.to_string(),
                Phase::Waiting,
                format!("asks for approval of {}{ask}", subject.get(..12).unwrap_or(subject)),
            )
        }
        Event::GateDecided { node, decision, by, reason, .. } => {
            let (phase, word) = match decision {
                Decision::Approved => (Phase::Succeeded, "approved"),
                Decision::Rejected => (Phase::Failed, "rejected"),
            };
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {}", clean(reason)));
            (node.to_string(), phase, format!("{word} by {}{reason}", clean(by)))
        }
        Event::TimerFired { timer } if timer.purpose == TimerPurpose::Wall => {
            (String::new(), Phase::Failed, "the time budget of the run is used up".to_owned())
        }
        Event::Escalated { node, .. } => (node.to_string(), Phase::Failed, "handed to a person".to_owned()),
        Event::CancelRequested { by, reason } => {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {}", clean(reason)));
            (String::new(), Phase::Cancelled, format!("cancelled by {}{reason}", clean(by)))
        }
        Event::RetryRequested { node, by } => {
            (node.to_string(), Phase::Ready, format!("is to be tried again, says {}", clean(by)))
        }
        Event::SessionAdvanced { node, step, .. } => {
            let turn = step.turn;
            let (phase, text) = match &step.did {
                Did::CallModel { model, .. } => {
                    (Phase::Running, format!("turn {turn}: asks {}", clean(model)))
                }
                Did::HearModel { model, origin, ok: true, spent } => {
                    let cost = spent
                        .cost_micros
                        .map_or_else(|| "price unknown".to_owned(), |cost| format!("${}", usd(cost)));
                    let real = if origin == "provider" { String::new() } else { format!(", {origin} model") };
                    let text = format!(
                        "turn {turn}: {} answered, {} tokens, {cost}{real}",
                        clean(model),
                        spent.tokens
                    );
                    (Phase::Running, text)
                }
                Did::HearModel { model, ok: false, .. } => {
                    (Phase::Running, format!("turn {turn}: {} did not answer", clean(model)))
                }
                Did::CallHook { hook, model, .. } => {
                    (Phase::Running, format!("turn {turn}: the hook {} asks {}", clean(hook), clean(model)))
                }
                Did::HearHook { hook, ok: false, .. } => (
                    Phase::Running,
                    format!("turn {turn}: the model of the hook {} did not answer", clean(hook)),
                ),
                Did::CallTool { tool, .. } => (Phase::Running, format!("turn {turn}: {}", clean(tool))),
                Did::HearTool { tool, ok: false, .. } => {
                    (Phase::Running, format!("turn {turn}: {} failed", clean(tool)))
                }
                Did::HearHook { .. } | Did::HearTool { .. } | Did::Note => return None,
            };
            (node.to_string(), phase, text)
        }
        Event::NodeAdopted { node, .. } => (node.to_string(), Phase::Succeeded, "taken over".to_owned()),
        Event::RunStarted(_) | Event::DriverStarted { .. } | Event::Issued(_) | Event::TimerFired { .. } => {
            return None;
        }
    };
    Some(line)
}
