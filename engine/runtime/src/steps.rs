//! Facts on their way from the work of a node to the driver, and the word that they are on disk. Never decides whether
//! a step is taken: the driver asks the state.

use std::sync::Arc;

use blueprint_core::run::{Event, Overrun, SessionStep};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// A fact for the driver.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) event: Event,
    /// Told once the fact is durable, or why it is none.
    pub(crate) durable: Option<oneshot::Sender<Result<(), NotTaken>>>,
}

impl From<Event> for Report {
    fn from(event: Event) -> Self {
        Self { event, durable: None }
    }
}

/// Why a step did not become a fact. What it announces must not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NotTaken {
    /// The budget does not allow it.
    #[error(transparent)]
    Overrun(Overrun),
    /// Nobody waits for this attempt any more.
    #[error("the attempt is over")]
    Over,
}

/// Reports the steps of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    node: Arc<str>,
    attempt: u32,
    report: mpsc::UnboundedSender<Report>,
}

impl Steps {
    pub(crate) fn new(node: Arc<str>, attempt: u32, report: mpsc::UnboundedSender<Report>) -> Self {
        Self { node, attempt, report }
    }

    /// Returns once the step is durable.
    pub(crate) async fn take(&self, step: SessionStep) -> Result<(), NotTaken> {
        let (durable, heard) = oneshot::channel();
        let event = Event::SessionAdvanced {
            node: Arc::clone(&self.node),
            attempt: self.attempt,
            step: Box::new(step),
        };
        // A driver that is gone takes nothing any more.
        self.report.send(Report { event, durable: Some(durable) }).map_err(|_| NotTaken::Over)?;
        heard.await.unwrap_or(Err(NotTaken::Over))
    }
}
