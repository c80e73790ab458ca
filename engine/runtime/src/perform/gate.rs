//! Gates: what an approval is bound to. A changed blueprint, input, tree or output of what the gate needs is another
//! subject, so an old approval counts for nothing.

use std::sync::Arc;

use blueprint_core::graph::Action;
use blueprint_core::run::{Event, Failure, FailureClass};

use super::{Job, blocking};
use crate::shared::Shared;
use crate::trees::Origin;

pub(super) async fn open(shared: Arc<Shared>, job: Job) -> Event {
    let (node, attempt) = (Arc::clone(&job.path), job.attempt);
    let opened = blocking(move || {
        let ask = match &job.node(&shared).action {
            Action::Gate(gate) => {
                gate.ask.as_ref().map(|ask| ask.render(&job.scope)).transpose().map_err(|error| {
                    Failure::new(
                        FailureClass::Command,
                        format!("the question of the gate has no value: {error}"),
                    )
                })?
            }
            _ => None,
        };
        let mut hasher = blake3::Hasher::new();
        let mut field = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        field("blueprint gate subject v2");
        field(&shared.run);
        field(&shared.program.digest);
        field(&job.path);
        field(&job.round.to_string());
        field(&job.scope["inputs"].to_string());
        field(&job.shown.len().to_string());
        job.shown.iter().for_each(|outputs| field(outputs));
        let mut left = None;
        if let Some(trees) = &shared.trees {
            let origin = Origin { node: &job.path, attempt: job.attempt, at_ms: shared.clock.now_ms() };
            let (commit, tree, _) = trees.input(&job.inputs, origin)?;
            field(&tree.to_string());
            left = Some(commit.to_string());
        }
        Ok((hasher.finalize().to_hex().to_string(), ask, left))
    });
    match opened.await {
        Ok((subject, ask, tree)) => Event::GateOpened { node, attempt, subject, ask, tree },
        Err(failure) => Event::NodeFailed { node, attempt, failure: Box::new(failure) },
    }
}
