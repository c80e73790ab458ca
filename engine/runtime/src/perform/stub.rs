//! Nodes that something stands in for: how they end is given, what they write is put into their workspace. Does nothing
//! of what the node says.

use std::sync::Arc;

use blueprint_core::run::{Failure, Payload, Success};

use super::{Ending, Job, edit, infra};
use crate::payload::keep;
use crate::shared::Shared;

/// Ends a node as it is said to end.
pub(super) async fn end(shared: &Arc<Shared>, job: &Job, end: Result<Success, Failure>) -> Ending {
    let writes = match &shared.settings.outside {
        Some(outside) => outside.writes(job.asker(shared)),
        None => Vec::new(),
    };
    let tree = if writes.is_empty() {
        None
    } else {
        match edit::put(shared, job, writes).await {
            Ok(tree) => tree,
            Err(ending) => return ending,
        }
    };
    match end {
        Ok(success) => {
            let outputs = match success.outputs {
                Some(Payload::Inline(value)) => match keep(shared.store.blobs(), value) {
                    Ok(kept) => Some(kept),
                    Err(error) => return infra("the outputs could not be kept", &error).into(),
                },
                other => other,
            };
            Ending::Succeeded(Success { outputs, tree: tree.or(success.tree), ..success })
        }
        Err(failure) => Ending::Failed(Failure { tree: tree.or(failure.tree), ..failure }),
    }
}
