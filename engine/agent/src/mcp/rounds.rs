//! A call that may take several rounds: the server needs answers first, or only wants to be asked again, and is given
//! back what it remembers by. What it remembers by is never looked into, and belongs to this call alone.

use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, InputRequiredResult};
use rmcp::{Peer, RoleClient, ServiceError};

use super::asked::Listener;

/// How often a server may come back before a call is done.
const MOST_ROUNDS: u32 = 8;

/// The longest state that is given back, in bytes.
const LONGEST_STATE: usize = 64 << 10;

/// How long a server that only wants to be asked again is left alone the first time.
const AGAIN: Duration = Duration::from_millis(50);

/// Why there is no result.
pub(super) enum NoResult {
    /// We do not go on.
    Ours(String),
    /// The server failed.
    Theirs(ServiceError),
}

/// Asks until there is a result.
pub(super) async fn rounds(
    listener: &Listener,
    peer: &Peer<RoleClient>,
    mut params: CallToolRequestParams,
) -> Result<CallToolResult, NoResult> {
    let ours = |why: &str| Err(NoResult::Ours(why.to_owned()));
    for round in 0..=MOST_ROUNDS {
        let needed = match peer.call_tool_once(params.clone()).await.map_err(NoResult::Theirs)? {
            CallToolResponse::Complete(result) => return Ok(result),
            CallToolResponse::InputRequired(needed) => needed,
            _ => return ours("it answers later, which is not supported"),
        };
        let InputRequiredResult { input_requests, request_state, .. } = needed;
        if request_state.as_ref().is_some_and(|state| state.len() > LONGEST_STATE) {
            return ours(&format!("it wants to be given back more than {LONGEST_STATE} bytes"));
        }
        let requests = input_requests.unwrap_or_default();
        if requests.is_empty() {
            // It is busy. What it waits for is its own, so it is left alone for longer each time.
            tokio::time::sleep(AGAIN * 2u32.pow(round)).await;
        }
        let answers = listener.answers(requests).map_err(NoResult::Ours)?;
        params.input_responses = (!answers.is_empty()).then_some(answers);
        params.request_state = request_state;
    }
    ours(&format!("it still asks after {MOST_ROUNDS} answers"))
}
