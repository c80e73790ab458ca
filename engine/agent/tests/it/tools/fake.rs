//! Tools that behave badly, each in its own way.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use blueprint_agent::tool::{Effect, HostError, Tool, ToolHost, ToolOutcome, ToolSpec};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::process_host::SECRET;

/// What one does when it is called.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Gives this.
    Gives(String),
    /// Ends the session with its arguments.
    Finishes,
    /// Breaks off.
    Panics,
    /// Never ends, whatever it is told.
    Hangs,
    /// Ends when it is told to.
    Obeys,
    /// Ends when it is told to, with its work done.
    EndsLate,
    /// Cannot go on.
    Breaks,
}

/// Such a tool.
#[derive(Debug)]
pub(crate) struct Fake {
    spec: ToolSpec,
    does: Does,
    /// Whether what it was doing was dropped.
    pub(crate) dropped: Arc<AtomicBool>,
}

impl Fake {
    pub(crate) fn new(name: &str, effect: Effect, does: Does) -> Self {
        let schema = json!({"type": "object"});
        let spec = ToolSpec { name: name.to_owned(), description: String::new(), schema, effect };
        Self { spec, does, dropped: Arc::default() }
    }

    pub(crate) fn with_schema(mut self, schema: Value) -> Self {
        self.spec.schema = schema;
        self
    }

    pub(crate) fn tool(self) -> Arc<dyn Tool> {
        Arc::new(self)
    }
}

/// Says so when it is dropped.
struct Watched(Arc<AtomicBool>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Tool for Fake {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn wall(&self, _: &Value) -> Duration {
        Duration::from_secs(30)
    }

    async fn call(
        &self,
        _: &dyn ToolHost,
        arguments: Value,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let _watched = Watched(Arc::clone(&self.dropped));
        match &self.does {
            Does::Gives(text) => Ok(ToolOutcome::Done(text.clone())),
            Does::Finishes => Ok(ToolOutcome::Finish(arguments)),
            Does::Panics => panic!("broke while it held {SECRET}"),
            Does::Hangs => pending().await,
            Does::Obeys => {
                cancel.cancelled().await;
                Err(HostError::Cancelled)
            }
            Does::EndsLate => {
                cancel.cancelled().await;
                Ok(ToolOutcome::Done("done at last".to_owned()))
            }
            Does::Breaks => Err(HostError::Infra("the disk is gone".to_owned())),
        }
    }
}
