//! What a server in the sandbox writes to its standard error, and how it ended: the words to say when it is gone. Reads
//! all of it, so that no server waits for a reader, and keeps the end.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::sync::CancellationToken;

use super::foreign::complaint;
use crate::tool::{Process, RanEnd};

/// How much is remembered, in bytes.
const REMEMBERED: usize = 1 << 10;

/// The last words of a server.
#[derive(Debug, Clone, Default)]
pub(super) struct Complaints(Arc<Mutex<Vec<u8>>>);

impl Complaints {
    /// Reads until there is nothing more, or the process is killed.
    pub(super) async fn remember(
        self,
        mut stderr: Box<dyn AsyncRead + Send + Unpin>,
        kill: CancellationToken,
    ) {
        let mut buffer = [0; 4096];
        while let Some(Ok(count @ 1..)) = kill.run_until_cancelled(stderr.read(&mut buffer)).await {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
            let excess = kept.len().saturating_sub(REMEMBERED);
            kept.drain(..excess);
        }
    }

    /// How a process ended and what it wrote, as far as known.
    pub(super) fn words(&self, process: Option<&mut Process>) -> String {
        let end = process.and_then(|process| process.ended.try_recv().ok()).map(|end| match end {
            RanEnd::Exit(code) => format!("; it returned {code}"),
            RanEnd::Signal(signal) => format!("; signal {signal} ended it"),
            RanEnd::NotStarted => "; the program could not be started".to_owned(),
            RanEnd::TimedOut => "; its time was up".to_owned(),
            RanEnd::Limit => "; it used more than it may".to_owned(),
        });
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = complaint(&String::from_utf8_lossy(&kept));
        let said = if said.is_empty() { said } else { format!("; it wrote: {said}") };
        format!("{}{said}", end.unwrap_or_default())
    }
}
