//! `audit verify`: whether the journal still says what was written.

use blueprint_runtime::store::Verdict;
use serde_json::json;

use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal;

pub(crate) async fn verify(context: &Context, run: Option<&str>) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let runs = match run {
        Some(run) => vec![context.find_run(&store, Some(run)).await?],
        None => {
            let runs = store.runs().await.map_err(|error| from_error(Exit::Environment, &error))?;
            runs.into_iter().map(|run| run.id).collect()
        }
    };
    let mut whole = true;
    for id in runs {
        let verdict = store.verify(&id).await.map_err(|error| from_error(Exit::Environment, &error))?;
        let (ok, text) = match &verdict {
            Verdict::Verified { events, head } => (true, format!("{events} events, head {}", head.hash)),
            Verdict::Broken { seq, reason } => (false, format!("broken at event {seq}: {reason}")),
        };
        whole &= ok;
        if context.format == Format::Json {
            terminal::line(&json!({ "run": id, "ok": ok, "verdict": text }).to_string());
        } else {
            terminal::line(&format!("{} {id}  {}", if ok { "✓" } else { "✗" }, terminal::clean(&text)));
        }
    }
    if whole {
        return Ok(Exit::Succeeded);
    }
    Err(CliError::failed("a journal does not hold what was written to it")
        .hint("do not trust that run; keep the state folder as it is and look at who could write to it"))
}
