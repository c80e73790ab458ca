//! Containers that ran a command of this run and may run another of the same kind: starting one costs a hundred times as
//! much as a command in it. Only for tiers whose code comes from people of the project; whatever a command left outside of
//! the workspace is gone before the next one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use blueprint_core::format::Tier;
use blueprint_core::graph::Node;
use blueprint_sandbox::{Backend, Sandbox, Spec};

/// The most that wait at a time.
const MOST: usize = 8;

/// Those that wait.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    sandboxes: VecDeque<(String, Sandbox)>,
    /// The run is over: what comes back now is ended.
    over: bool,
}

/// What a container is for: the same words mean that one may stand in for another. `None` if it is for one node alone.
pub(super) fn purpose(node: &Node, backend: Backend, spec: &Spec) -> Option<String> {
    let shared = backend == Backend::Container && matches!(node.tier, Tier::Trusted | Tier::Internal);
    let words = serde_json::to_string(spec).ok().filter(|_| shared)?;
    Some(format!("{}\n{words}", node.tier.as_str()))
}

impl Kept {
    /// One for this purpose that is alive and empty, if there is one.
    pub(super) async fn take(&self, purpose: &str) -> Option<Sandbox> {
        loop {
            let mut sandbox = self.pop(purpose)?;
            if sandbox.renew().await {
                return Some(sandbox);
            }
            sandbox.stop().await;
        }
    }

    /// Whether one for this purpose waits.
    pub(super) fn has(&self, purpose: &str) -> bool {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.sandboxes.iter().any(|(kept, _)| kept == purpose)
    }

    fn pop(&self, purpose: &str) -> Option<Sandbox> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting.sandboxes.iter().position(|(kept, _)| kept == purpose)?;
        waiting.sandboxes.remove(at).map(|(_, sandbox)| sandbox)
    }

    /// Keeps one that has run a command to its end.
    pub(super) async fn keep(&self, purpose: String, sandbox: Sandbox) {
        let oldest = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.sandboxes.push_back((purpose, sandbox));
            let full = waiting.over || waiting.sandboxes.len() > MOST;
            if full { waiting.sandboxes.pop_front() } else { None }
        };
        if let Some((_, sandbox)) = oldest {
            sandbox.stop().await;
        }
    }

    /// Ends all of them.
    pub(crate) async fn stop(&self) {
        let all = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.over = true;
            std::mem::take(&mut waiting.sandboxes)
        };
        for (_, sandbox) in all {
            sandbox.stop().await;
        }
    }
}
