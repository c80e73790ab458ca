//! `prune`: runs that have ended are deleted. Says beforehand what cannot be, and afterwards what was.

use blueprint_runtime::isolation::Isolation;
use blueprint_runtime::prune::{PruneError, Pruned, Stays};
use blueprint_runtime::start::Engine;
use blueprint_runtime::store::RunSummary;
use blueprint_sandbox::Backend;
use serde_json::json;

use crate::args::{Format, PruneArgs};
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal::{self, clean};

/// A run to delete and when it ended.
struct Chosen {
    run: RunSummary,
    ended_ms: i64,
}

pub(crate) async fn prune(context: &Context, asked: &PruneArgs) -> Result<Exit, CliError> {
    if asked.runs.is_empty() && asked.older_than.is_none() && asked.keep.is_none() {
        return Err(CliError::usage("nothing says which runs to delete")
            .hint("`blueprint prune --older-than 30d`, `blueprint prune --keep 20` or `blueprint prune RUN`")
            .hint("add `--dry-run` to see what would go"));
    }
    let oldest = asked.older_than.as_deref().map(duration_ms).transpose()?;
    let engine = context.engine(Isolation::same(Backend::None)).await?;
    let (chosen, left) = if asked.runs.is_empty() {
        chosen_by_age(&engine, oldest, asked.keep).await?
    } else {
        (named(context, &engine, &asked.runs).await?, 0)
    };
    let runs: Vec<RunSummary> = chosen.iter().map(|chosen| chosen.run.clone()).collect();
    let pruned = if asked.dry_run { engine.prunable(&runs).await } else { engine.prune(&runs).await };
    let pruned = pruned.map_err(|error| failed(&error))?;
    tell(context, asked.dry_run, &chosen, &pruned, left);
    if pruned.stay.is_empty() {
        Ok(Exit::Succeeded)
    } else {
        Err(CliError::failed("not every run could be deleted").hint("look at those that stay, and try again"))
    }
}

/// The runs somebody named. If one of them stays, so do all.
async fn named(context: &Context, engine: &Engine, words: &[String]) -> Result<Vec<Chosen>, CliError> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for word in words {
        let id = context.find_run(&engine.store, Some(word)).await?;
        if chosen.iter().any(|known| known.run.id == id) {
            continue;
        }
        let run = engine.store.run(&id).await.map_err(|error| from_error(Exit::Environment, &error))?;
        match engine.ended(&run).await.map_err(|error| failed(&error))? {
            Ok(ended_ms) => chosen.push(Chosen { run, ended_ms }),
            Err(stays) => return Err(refused(&id, &stays)),
        }
    }
    Ok(chosen)
}

/// The runs that ended long enough ago, without the newest `keep`; and how many have not ended.
async fn chosen_by_age(
    engine: &Engine,
    oldest: Option<i64>,
    keep: Option<usize>,
) -> Result<(Vec<Chosen>, usize), CliError> {
    let now = i64::try_from(engine.clock.now_ms()).unwrap_or(i64::MAX);
    let mut left = 0;
    let mut ended = Vec::new();
    for run in engine.store.runs().await.map_err(|error| from_error(Exit::Environment, &error))? {
        match engine.ended(&run).await.map_err(|error| failed(&error))? {
            Ok(ended_ms) => ended.push(Chosen { run, ended_ms }),
            Err(Stays::Driven(_) | Stays::Unfinished | Stays::Starting) => left += 1,
            Err(stays @ (Stays::Broken(_) | Stays::Unreadable(_))) => {
                left += 1;
                terminal::error_line(&format!("note: run {} stays: {}", run.id, worded(&stays)));
            }
        }
    }
    ended.sort_by_key(|chosen| std::cmp::Reverse(chosen.ended_ms));
    let chosen = ended.into_iter().skip(keep.unwrap_or(0));
    let chosen = chosen.filter(|chosen| oldest.is_none_or(|age| now.saturating_sub(chosen.ended_ms) > age));
    Ok((chosen.collect(), left))
}

fn duration_ms(text: &str) -> Result<i64, CliError> {
    let parsed = text.parse::<jiff::Span>().ok();
    let exact = parsed.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok());
    let ms =
        exact.filter(|exact| !exact.is_negative()).and_then(|exact| i64::try_from(exact.as_millis()).ok());
    ms.ok_or_else(|| {
        CliError::usage(format!("`{}` is not a time for `--older-than`", clean(text)))
            .hint("write for example 30d, 2w or 12h")
    })
}

fn worded(stays: &Stays) -> String {
    clean(&blueprint_runtime::chain(stays))
}

fn refused(id: &str, stays: &Stays) -> CliError {
    let error = CliError::usage(format!("run {id} cannot be deleted: {}", worded(stays)));
    let error = match stays {
        Stays::Driven(_) | Stays::Unfinished => {
            error.hint(format!("`blueprint cancel {id}` ends it; then it can be deleted"))
        }
        Stays::Starting => error.hint("try again later"),
        Stays::Broken(_) => error.hint(format!("`blueprint audit verify {id}` says more; keep it as it is")),
        Stays::Unreadable(_) => error.hint("read it with the release that wrote it"),
    };
    error.hint("nothing was deleted")
}

fn failed(error: &PruneError) -> CliError {
    from_error(Exit::Environment, error).hint("what is left can be deleted by the same command again")
}

fn tell(context: &Context, dry: bool, chosen: &[Chosen], pruned: &Pruned, left: usize) {
    let gone: Vec<&Chosen> = chosen.iter().filter(|chosen| pruned.runs.contains(&chosen.run.id)).collect();
    if context.format == Format::Json {
        let runs: Vec<_> = gone
            .iter()
            .map(|Chosen { run, ended_ms }| {
                json!({ "run": run.id, "blueprint": run.blueprint, "status": run.status, "ended_at_ms": ended_ms })
            })
            .collect();
        let stay: Vec<_> =
            pruned.stay.iter().map(|(id, stays)| json!({ "run": id, "because": worded(stays) })).collect();
        terminal::line(
            &json!({
                "dry_run": dry, "runs": runs, "stay": stay, "not_ended": left, "refs": pruned.refs,
                "refs_handed_on": pruned.handed_on, "blobs": pruned.blobs.files, "blob_bytes": pruned.blobs.bytes,
                "blobs_left": pruned.blobs_left, "journal_bytes": pruned.journal_bytes,
            })
            .to_string(),
        );
        return;
    }
    let word = if dry { "would delete" } else { "deleted" };
    for Chosen { run, .. } in &gone {
        terminal::line(&format!("{word} {}  {:10}  {}", run.id, clean(&run.status), clean(&run.blueprint)));
    }
    for (id, stays) in &pruned.stay {
        terminal::error_line(&format!("note: run {id} stays: {}", worded(stays)));
    }
    let journal = match pruned.journal_bytes {
        0 => String::new(),
        bytes => format!(", {} of the journal", size(bytes)),
    };
    terminal::line(&format!(
        "{} {}, {}, {} with {}{journal}",
        if dry { "would free" } else { "freed" },
        count(gone.len() as u64, "run"),
        count(pruned.refs as u64, "ref"),
        count(pruned.blobs.files, "file"),
        size(pruned.blobs.bytes),
    ));
    if pruned.blobs_left {
        terminal::error_line("note: a run is just starting, so files are left to the next time");
    }
    if !dry && pruned.refs > 0 {
        terminal::error_line("note: objects that only these runs had go when git next collects them");
    }
    if left > 0 {
        terminal::error_line(&format!(
            "note: {} not ended and cannot be deleted; `blueprint cancel RUN` ends one",
            if left == 1 { "1 run has".to_owned() } else { format!("{left} runs have") }
        ));
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes / 1_048_576, bytes % 1_048_576 * 10 / 1_048_576),
    }
}
