//! `audit salvage`: what of a damaged journal is intact, and saving it. Never writes to the damaged file or its folder.

use std::path::{Path, PathBuf};

use blueprint_runtime::store::{
    Fault, JOURNAL_FILE, RewriteError, Salvage, SalvagedRun, salvage as read_what_is_left,
};
use serde_json::json;

use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal::{self, clean};

const FIRST_PAGE: &str = "its first page, which says where everything else is, cannot be read";
const BRING_BACK: &str = "bring back a copy of the file; nothing was changed";

pub(crate) async fn salvage(context: &Context, to: Option<&Path>) -> Result<Exit, CliError> {
    let dir = context.state_dir();
    let file = dir.join(JOURNAL_FILE);
    if !file.is_file() {
        return Err(CliError::usage(format!("there is no journal at `{}`", file.display()))
            .hint("name the state folder with `--state DIR`"));
    }
    let found = read_what_is_left(&file).await.map_err(|fault| unread(&fault))?;
    if let Some(fault) = found.unlisted.as_ref().filter(|_| found.is_empty()) {
        return Err(unread(fault));
    }
    if context.format == Format::Text {
        for line in &found.damage {
            terminal::line(&format!("{}: {}", file.display(), clean(line)));
        }
        if found.damage.is_empty() {
            terminal::line(&format!("{}: every page is readable", file.display()));
        }
    }
    for run in &found.runs {
        say(context, run);
    }
    if let Some(fault) = &found.unlisted {
        let why = blueprint_runtime::chain(fault);
        terminal::error_line(&format!(
            "note: there may be more runs; the search for them ended: {}",
            clean(&why)
        ));
    }
    if let Some(to) = to {
        write(context, &found, &dir, &context.cwd.join(to)).await?;
    } else if context.format == Format::Text && found.runs.iter().any(|run| !run.events.is_empty()) {
        terminal::error_line("nothing was written; `--to FOLDER` writes what is intact to a new journal");
    }
    Ok(Exit::Succeeded)
}

/// Nothing of the journal can be read.
fn unread(fault: &Fault) -> CliError {
    let error = from_error(Exit::Environment, fault);
    match fault {
        // What could be salvaged is known by now, so the general word for damage is not added.
        Fault::Corrupt { .. } => error.undamaged().since(FIRST_PAGE).hint(BRING_BACK),
        _ => error.hint("copy the folder to where it can be written, and name the copy with `--state DIR`"),
    }
}

async fn write(context: &Context, found: &Salvage, from: &Path, to: &Path) -> Result<(), CliError> {
    let written = found.write_to(from, to).await.map_err(|error| match error {
        RewriteError::Taken(_) => {
            CliError::usage(error.to_string()).hint("name a folder that does not exist")
        }
        error => from_error(Exit::Environment, &error),
    })?;
    for id in &written.left_out {
        terminal::error_line(&format!(
            "note: nothing of run {} could be saved: its first event is lost",
            clean(id)
        ));
    }
    for digest in &written.damaged {
        terminal::error_line(&format!("note: the large body {digest} is damaged and was left out"));
    }
    if context.format == Format::Text {
        terminal::error_line(&format!(
            "wrote {} runs and {} large bodies to `{}`; read them with `--state {}`",
            written.runs,
            written.blobs,
            to.display(),
            to.display()
        ));
        if found.runs.iter().any(|run| run.stopped.is_some() && !run.events.is_empty()) {
            terminal::error_line(
                "a run that was cut short can be resumed there, and may then do again what its lost events told of",
            );
        }
    }
    Ok(())
}

fn say(context: &Context, run: &SalvagedRun) {
    let events = run.events.len();
    let why = run.stopped.as_ref().map(|stop| blueprint_runtime::chain(stop));
    if context.format == Format::Json {
        let (last, whole) = (run.events.last().map(|event| event.seq), run.stopped.is_none());
        let line = json!({ "run": run.id, "whole": whole, "events": events, "last": last, "expected": run.expected,
            "stopped": why });
        terminal::line(&line.to_string());
        return;
    }
    let mark = if run.stopped.is_none() { "✓" } else { "✗" };
    let of = run.expected.map_or_else(String::new, |all| format!(" of {all}"));
    let text = match why {
        None => format!("all {events} events are intact"),
        Some(why) if events == 0 => format!("none{of} of its events: {why}"),
        Some(why) => format!("{events}{of} events are intact: {why}"),
    };
    terminal::line(&format!("{mark} {}  {}", clean(&run.id), clean(&text)));
}

/// Adds to an error about a damaged journal what is damaged and what can be saved, found by trying.
pub(crate) async fn say_what_is_intact(error: CliError) -> CliError {
    let Some(file) = error.damaged().map(PathBuf::from) else { return error };
    let error = error.without_hints();
    let found = read_what_is_left(&file).await.ok().filter(|found| !found.is_empty());
    let Some(found) = found else { return error.since(FIRST_PAGE).hint(BRING_BACK) };
    let whole = found.runs.iter().filter(|run| run.stopped.is_none()).count();
    let part = found.runs.iter().filter(|run| run.stopped.is_some() && !run.events.is_empty()).count();
    let said = found.damage.iter().fold(error, |error, line| error.since(clean(line)));
    said.hint(format!(
        "`blueprint audit salvage --to FOLDER`: of {} runs {whole} can be saved whole and {part} in part; nothing was changed",
        found.runs.len()
    ))
}
