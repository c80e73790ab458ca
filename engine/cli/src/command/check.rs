//! `check`: everything that is wrong with a blueprint, in one go.

use std::sync::Arc;

use blueprint_core::check::{Checked, compile_under};
use blueprint_core::finding::Severity;
use blueprint_core::graph::{Program, SubKind};
use blueprint_core::source::SourceSet;
use blueprint_runtime::load::{LoadError, load};
use serde_json::json;

use crate::args::Format;
use crate::config::Color;
use crate::context::Context;
use crate::diagnose;
use crate::error::{CliError, Exit, from_error};
use crate::terminal;

pub(crate) fn check(context: &Context, name: &str) -> Result<Exit, CliError> {
    let (sources, checked) = read(context, name)?;
    let exit = if checked.program.is_some() { Exit::Succeeded } else { Exit::Usage };
    if context.format == Format::Json {
        let located: Vec<_> = checked
            .findings
            .iter()
            .map(|finding| {
                let place = finding.span.as_ref().and_then(|span| {
                    let text = sources.get(&span.file)?;
                    let (line, column) = blueprint_core::source::line_column(text, span.start);
                    Some(json!({ "file": span.file, "line": line, "column": column, "start": span.start, "end": span.end }))
                });
                json!({ "code": finding.code, "severity": finding.severity, "message": finding.message, "place": place,
                    "label": finding.label, "reason": finding.reason, "fix": finding.fix })
            })
            .collect();
        terminal::line(&json!({ "ok": checked.program.is_some(), "findings": located }).to_string());
        return Ok(exit);
    }
    if context.format == Format::Sarif {
        terminal::line(&super::sarif::of(&checked.findings, &sources).to_string());
        return Ok(exit);
    }
    print_findings(context, &checked, &sources);
    if let Some(program) = &checked.program {
        // The body of an `each` is the node itself once more.
        let written = program.graphs.iter().filter(|graph| graph.kind == SubKind::Blueprint);
        let nodes: usize = written.map(|graph| graph.nodes.len()).sum();
        let warnings =
            checked.findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
        let noted = if warnings > 0 { format!(", {warnings} warnings") } else { String::new() };
        terminal::line(&format!("{} is sound: {nodes} nodes{noted}", program.name));
    }
    Ok(exit)
}

/// The names of the project's blueprints, for suggestions.
fn names(project: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(project.join("blueprints")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_suffix(".toml").map(str::to_owned).unwrap_or(name))
        })
        .collect()
}

/// Prints findings to standard error.
pub(crate) fn print_findings(context: &Context, checked: &Checked, sources: &SourceSet) {
    if !checked.findings.is_empty() {
        // What is coloured here is stripped again when it does not go to a terminal.
        let colour = match context.settings.color() {
            Color::Never => diagnose::Colour::Never,
            Color::Auto | Color::Always => diagnose::Colour::Always,
        };
        let text = diagnose::render(&checked.findings, sources, colour);
        terminal::error_line(text.trim_end_matches('\n'));
    }
}

/// Reads and checks a blueprint.
pub(crate) fn read(context: &Context, name: &str) -> Result<(SourceSet, Checked), CliError> {
    let sources = load(&context.project, &context.cwd, name).map_err(|error| {
        let said = from_error(Exit::Usage, &error);
        match error {
            LoadError::NotFound { .. } => {
                let names = names(&context.project);
                match blueprint_core::finding::nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => said.hint(format!("did you mean `{}`?", terminal::clean(near))),
                    None => said.hint("`blueprint init` makes a first one"),
                }
            }
            LoadError::Outside { .. } => said.hint("name the project folder with `--project DIR`"),
            LoadError::Read { .. } | LoadError::TooMany => said,
        }
    })?;
    let checked = compile_under(&sources, context.settings.policies());
    Ok((sources, checked))
}

/// Reads a blueprint that must be sound; says what is wrong otherwise.
pub(crate) fn sound(context: &Context, name: &str) -> Result<(SourceSet, Arc<Program>), CliError> {
    let (sources, checked) = read(context, name)?;
    print_findings(context, &checked, &sources);
    match checked.program {
        Some(program) => Ok((sources, program)),
        None => Err(CliError::said(Exit::Usage)),
    }
}
