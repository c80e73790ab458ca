//! `diff`: what a run, or one node of it, changed.

use blueprint_core::graph::{Edge, NodeIx};
use blueprint_runtime::trees::{input_commits, output_commits};
use blueprint_runtime::workspace::{CommitId, DiffOptions, Merge, Repository, TreeId};

use serde_json::json;

use super::run::{no_node, start_failed, warn_if_broken};
use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal;

pub(crate) async fn diff(
    context: &Context,
    run: Option<&str>,
    node: Option<&str>,
    stat: bool,
) -> Result<Exit, CliError> {
    let engine = context.reader().await?;
    let id = context.find_run(&engine.store, run).await?;
    let opened = engine.open(&id).await.map_err(start_failed)?;
    warn_if_broken(&opened);
    let state = &opened.state;
    let Some(base) = state.start().and_then(|start| start.base.clone()) else {
        return Err(CliError::usage(format!("run {id} has no workspace, so it changed nothing")));
    };
    let (from, to) = match node {
        Some(node) => {
            let inst = state.at(node).ok_or_else(|| no_node(state, node))?;
            (input_commits(state, inst), output_commits(state, &[inst]))
        }
        None => {
            let graph = state.program().root();
            let ends: Vec<_> = (0..graph.nodes.len() as u32)
                .map(NodeIx)
                .filter(|ix| !graph.behind(*ix).any(|(_, edge)| edge == Edge::Needs))
                .map(|ix| state.in_scope(0, ix))
                .collect();
            (vec![base], output_commits(state, &ends))
        }
    };
    let repository = Repository::discover(&engine.project, &engine.state_dir)
        .map_err(|error| from_error(Exit::Environment, &error))?;
    let from = merged(&repository, &from)?;
    let to = merged(&repository, &to)?;
    if stat {
        let changes =
            repository.diff_stat(from, to).map_err(|error| from_error(Exit::Environment, &error))?;
        if context.format == Format::Json {
            let files: Vec<_> = changes
                .iter()
                .map(|change| json!({ "path": change.path.to_string(), "added": change.lines.map(|(added, _)| added), "removed": change.lines.map(|(_, removed)| removed) }))
                .collect();
            terminal::line(&json!({ "run": id, "files": files }).to_string());
            return Ok(Exit::Succeeded);
        }
        for change in changes {
            let lines = change
                .lines
                .map_or_else(|| "binary".to_owned(), |(added, removed)| format!("+{added} -{removed}"));
            terminal::line(&format!("{lines:>12}  {}", terminal::clean(&change.path.to_string())));
        }
        return Ok(Exit::Succeeded);
    }
    let diff = repository
        .diff(from, to, DiffOptions::default())
        .map_err(|error| from_error(Exit::Environment, &error))?;
    if context.format == Format::Json {
        terminal::line(
            &json!({ "run": id, "patch": String::from_utf8_lossy(&diff.patch), "truncated": diff.truncated })
                .to_string(),
        );
        return Ok(Exit::Succeeded);
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        for line in String::from_utf8_lossy(&diff.patch).lines() {
            terminal::line(&terminal::clean(line));
        }
    } else {
        terminal::bytes(&diff.patch);
    }
    if diff.truncated {
        return Err(CliError::failed("the patch is longer than 64 MiB and was cut")
            .hint("`--stat` shows which files changed"));
    }
    Ok(Exit::Succeeded)
}

fn merged(repository: &Repository, commits: &[String]) -> Result<TreeId, CliError> {
    let ids: Result<Vec<CommitId>, _> = commits.iter().map(|commit| commit.parse::<CommitId>()).collect();
    let ids = ids.map_err(|error| from_error(Exit::Environment, &error))?;
    match repository.merge(&ids).map_err(|error| from_error(Exit::Environment, &error))? {
        Merge::Clean(tree) => Ok(tree),
        Merge::Conflict { paths, .. } => {
            let names: Vec<String> = paths.iter().map(|path| terminal::clean(&path.to_string())).collect();
            Err(CliError::failed(format!(
                "the ends of the run changed the same places: {}",
                names.join(", ")
            ))
            .hint("name a node: `blueprint diff RUN NODE`"))
        }
    }
}
