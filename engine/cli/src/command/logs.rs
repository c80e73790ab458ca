//! `logs`: what nodes wrote, from the content store, or from the file that is being written.

use std::time::Duration;

use blueprint_core::run::{Event, RunStatus};
use blueprint_runtime::journal::Entry;
use blueprint_runtime::logs::{lines, live_path};
use blueprint_runtime::start::{Engine, OpenedRun};
use blueprint_sandbox::Stream;
use serde_json::json;

use super::run::{no_node, start_failed, warn_if_broken};
use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal;

pub(crate) async fn logs(
    context: &Context,
    run: Option<&str>,
    node: Option<&str>,
    follow: bool,
) -> Result<Exit, CliError> {
    let engine = context.reader().await?;
    let id = context.find_run(&engine.store, run).await?;
    let mut changes = engine.store.changes().await.map_err(|error| from_error(Exit::Environment, &error))?;
    let mut shown = 0;
    let mut warned = false;
    let mut live = std::collections::BTreeMap::new();
    loop {
        let opened = engine.open_with_entries(&id).await.map_err(start_failed)?;
        warned = warned || warn_if_broken(&opened);
        if let Some(node) = node
            && opened.state.at(node).is_none()
        {
            return Err(no_node(&opened.state, node));
        }
        for entry in opened.entries.iter().filter(|entry| entry.seq > shown) {
            finished(context, &engine, entry, node, &mut live)?;
        }
        shown = opened.last.0;
        going_on(context, &engine, &opened, node, &mut live);
        if !follow || matches!(opened.state.status(), RunStatus::Finished(_)) {
            return Ok(Exit::Succeeded);
        }
        // Output of a node that works changes a file, not the journal.
        if let Ok(done) = tokio::time::timeout(Duration::from_millis(300), changes.wait()).await {
            done.map_err(|error| from_error(Exit::Environment, &error))?;
        }
    }
}

type Live = std::collections::BTreeMap<(String, u32), usize>;

/// Prints the log of an attempt that came to an end, less what was printed while it was written.
fn finished(
    context: &Context,
    engine: &Engine,
    entry: &Entry,
    wanted: Option<&str>,
    live: &mut Live,
) -> Result<(), CliError> {
    let (node, attempt, record) = match &entry.event {
        Event::NodeSucceeded { node, attempt, success } => (node, *attempt, &success.record),
        Event::NodeFailed { node, attempt, failure } => (node, *attempt, &failure.record),
        _ => return Ok(()),
    };
    if wanted.is_some_and(|wanted| wanted != &**node) {
        return Ok(());
    }
    let digest = record.get("log").and_then(serde_json::Value::as_str).and_then(|digest| digest.parse().ok());
    let Some(digest) = digest else { return Ok(()) };
    let log = engine.store.blobs().get(digest).map_err(|error| from_error(Exit::Environment, &error))?;
    let printed = live.remove(&(node.to_string(), attempt)).unwrap_or(0);
    print(context, node, attempt, log.get(printed..).unwrap_or_default());
    Ok(())
}

fn going_on(context: &Context, engine: &Engine, opened: &OpenedRun, wanted: Option<&str>, live: &mut Live) {
    for (node, attempt) in opened.state.in_flight() {
        if wanted.is_some_and(|wanted| wanted != &**node) {
            continue;
        }
        let path = live_path(&engine.state_dir, &opened.id, node, attempt);
        let Ok(log) = std::fs::read(path) else { continue };
        let printed = live.entry((node.to_string(), attempt)).or_insert(0);
        let whole = log.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        print(context, node, attempt, log.get(*printed..whole).unwrap_or_default());
        *printed = whole.max(*printed);
    }
}

fn print(context: &Context, node: &str, attempt: u32, log: &[u8]) {
    for line in lines(log) {
        let text = String::from_utf8_lossy(&line.text);
        if context.format == Format::Json {
            let stream = if line.stream == Stream::Stdout { "stdout" } else { "stderr" };
            terminal::line(
                &json!({ "node": node, "attempt": attempt, "stream": stream, "text": text }).to_string(),
            );
        } else {
            terminal::line(&format!("{node} | {}", terminal::clean(&text)));
        }
    }
}
