//! `--model ALIAS=MODEL` of `run`: who answers in place of a model that the blueprint names. Scripts are read at once and
//! kept with the run, so that nothing depends on their files later.

use std::collections::BTreeMap;

use blueprint_core::graph::{Action, Mind, Program};
use blueprint_runtime::start::StandIn;

use crate::context::Context;
use crate::error::CliError;
use crate::terminal::clean;

/// The names of models that agents of a program, and hooks of its user, ask for.
fn asked_for(context: &Context, program: &Program) -> Vec<String> {
    let mut named: Vec<String> = program
        .nodes()
        .filter_map(|node| match &node.action {
            Action::Agent(agent) => match &agent.mind {
                Mind::Model { model, .. } => Some(model.clone()),
                Mind::Script { .. } | Mind::Program { .. } => None,
            },
            _ => None,
        })
        .collect();
    named.extend(context.hooks.iter().flat_map(|hooks| hooks.engine.models()));
    named.sort_unstable();
    named.dedup();
    named
}

/// Who answers in place of models.
pub(crate) fn stand_ins(
    context: &Context,
    program: &Program,
    given: &[String],
) -> Result<BTreeMap<String, StandIn>, CliError> {
    let named = asked_for(context, program);
    let mut models = BTreeMap::new();
    for text in given {
        let Some((alias, model)) = text.split_once('=').filter(|(_, model)| !model.is_empty()) else {
            return Err(CliError::usage(format!("`{}` names no model", clean(text)))
                .hint("write it as ALIAS=MODEL, such as `coding=scripted/answers.toml`"));
        };
        if !named.iter().any(|named| named == alias) {
            let message = format!("no agent of `{}` asks for the model `{}`", program.name, clean(alias));
            let error = CliError::usage(message);
            return Err(if named.is_empty() {
                error
            } else {
                error.hint(format!("they ask for {}", named.join(", ")))
            });
        }
        let stand_in = match model.strip_prefix("scripted/") {
            None => StandIn::Model(model.to_owned()),
            Some(file) => {
                let unread = format!("the script `{}` cannot be read", clean(file));
                match std::fs::read_to_string(context.cwd.join(file)) {
                    Err(error) => return Err(CliError::usage(unread).because(&error)),
                    Ok(text) => StandIn::script(file.to_owned(), text)
                        .map_err(|why| CliError::usage(unread).since(clean(&why)))?,
                }
            }
        };
        if models.insert(alias.to_owned(), stand_in).is_some() {
            return Err(CliError::usage(format!("the model `{alias}` is given twice")).hint("give it once"));
        }
    }
    Ok(models)
}
