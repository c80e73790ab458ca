//! `audit verify`: whether the journal still says what was written.

use blueprint_runtime::store::{LostRun, Verdict};
use serde_json::json;

use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal;

pub(crate) async fn verify(context: &Context, run: Option<&str>) -> Result<Exit, CliError> {
    let store = context.reader().await?.store;
    let failed = |error: &(dyn std::error::Error + 'static)| from_error(Exit::Environment, error);
    let (runs, lost) = match run {
        Some(run) => (vec![context.find_run(&store, Some(run)).await?], Vec::new()),
        None => {
            let lost = store.lost_runs().await.map_err(|error| failed(&error))?;
            let runs = store.runs().await.map_err(|error| failed(&error))?;
            (runs.into_iter().map(|run| run.id).collect(), lost)
        }
    };
    let mut whole = lost.is_empty();
    for LostRun { id, seq } in lost {
        say(context, &id, false, &format!("lost: it had {seq} events"));
    }
    for id in runs {
        let verdict = store.verify(&id).await.map_err(|error| failed(&error))?;
        let (ok, text) = match &verdict {
            Verdict::Verified { events, head, anchored: true } => {
                (true, format!("{events} events, head {}", head.hash))
            }
            Verdict::Verified { events, head, anchored: false } => (
                true,
                format!("{events} events, head {}; nothing beside the journal confirms its end", head.hash),
            ),
            Verdict::Broken { seq, reason } => (false, format!("broken at event {seq}: {reason}")),
        };
        whole &= ok;
        say(context, &id, ok, &text);
    }
    if whole {
        return Ok(Exit::Succeeded);
    }
    Err(CliError::failed("a journal does not hold what was written to it")
        .hint("do not trust that run; keep the state folder as it is and look at who could write to it")
        .hint("`blueprint audit salvage --to FOLDER` saves what is intact"))
}

fn say(context: &Context, id: &str, ok: bool, text: &str) {
    if context.format == Format::Json {
        terminal::line(&json!({ "run": id, "ok": ok, "verdict": text }).to_string());
    } else {
        let (id, text) = (terminal::clean(id), terminal::clean(text));
        terminal::line(&format!("{} {id}  {text}", if ok { "✓" } else { "✗" }));
    }
}
