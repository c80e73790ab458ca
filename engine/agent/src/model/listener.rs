//! Who hears an answer arrive, and is asked before a call is made again that may have been paid for already. Watching
//! decides nothing; whoever knows the budgets decides about the second try, never the model that wants to make it.

use async_trait::async_trait;

use super::ModelError;

/// A piece of an answer while it arrives. For people to watch; nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta<'a> {
    /// More text.
    Text(&'a str),
    /// More of what the model thinks aloud.
    Reasoning(&'a str),
    /// A call of this tool begins.
    Call(&'a str),
}

/// Hears of a call while it is made.
#[async_trait]
pub trait Listener: Send {
    /// A piece of the answer.
    fn delta(&mut self, delta: Delta<'_>);

    /// A try failed that may have been billed all the same. Whether the call may be made once more, which may cost as
    /// much again. What the try before may have cost is settled with this question, whatever the answer.
    async fn again(&mut self, failed: &ModelError) -> bool;
}

/// Sees an answer arrive, for whoever has no budget to keep to.
#[derive(Debug)]
pub struct Watch<F>(pub F);

/// Looks at nothing.
pub fn unheard() -> Watch<fn(Delta<'_>)> {
    Watch(|_| {})
}

#[async_trait]
impl<F: FnMut(Delta<'_>) + Send> Listener for Watch<F> {
    fn delta(&mut self, delta: Delta<'_>) {
        (self.0)(delta);
    }

    async fn again(&mut self, _: &ModelError) -> bool {
        true
    }
}
