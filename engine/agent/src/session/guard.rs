//! Notices a session that goes round in circles. Judges by what was called and what came out, never by what the
//! model says of itself.

use std::collections::HashSet;

use super::end::Stopped;
use crate::tool::ToolOutcome;

/// The same call this many times in a row ends the session.
const SAME_CALLS: u32 = 3;
/// This many failures in a row end the session.
const FAILURES: u32 = 4;
/// This many turns without anything new end the session.
const STALE_TURNS: u32 = 6;

/// Watches calls and their outcomes.
#[derive(Debug, Default)]
pub(super) struct Guard {
    last: Option<blake3::Hash>,
    same: u32,
    failures: u32,
    seen: HashSet<blake3::Hash>,
    stale: u32,
    fresh: bool,
}

fn hash(parts: &[&str]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize()
}

impl Guard {
    /// A call is about to be made, or refused.
    pub(super) fn calls(&mut self, tool: &str, arguments: &str) -> Result<(), Stopped> {
        let call = hash(&[tool, arguments]);
        self.same = if self.last == Some(call) { self.same + 1 } else { 1 };
        self.last = Some(call);
        if self.same >= SAME_CALLS { Err(Stopped::SameCall(tool.to_owned())) } else { Ok(()) }
    }

    /// It came to an end.
    pub(super) fn returned(
        &mut self,
        tool: &str,
        arguments: &str,
        outcome: &ToolOutcome,
    ) -> Result<(), Stopped> {
        let (failed, text) = match outcome {
            ToolOutcome::Done(text) => (false, text.as_str()),
            ToolOutcome::Failed(text) => (true, text.as_str()),
            ToolOutcome::Finish(_) => (false, ""),
        };
        self.fresh |= self.seen.insert(hash(&[tool, arguments, text]));
        self.failures = if failed { self.failures + 1 } else { 0 };
        if self.failures >= FAILURES { Err(Stopped::ToolFailures(tool.to_owned())) } else { Ok(()) }
    }

    /// All calls of a turn came to an end.
    pub(super) fn turned(&mut self) -> Result<(), Stopped> {
        self.stale = if std::mem::take(&mut self.fresh) { 0 } else { self.stale + 1 };
        if self.stale >= STALE_TURNS { Err(Stopped::NoProgress(STALE_TURNS)) } else { Ok(()) }
    }
}
