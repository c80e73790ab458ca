//! How a container is removed, by whoever does it: its owner, its owner's drop, or a later process that sweeps.
//! What is paused is never removed as it is: under gVisor the engine then fails to kill it, or loses a process that served it.

use std::time::Duration;

use bollard::{Docker, errors::Error, query_parameters::RemoveContainerOptionsBuilder};
use tokio::time;

/// Time the engine may take to let a container go on.
const RESUMING_TIME: Duration = Duration::from_secs(10);

/// Kills everything in a container and removes it. Says whether it is gone.
pub(super) async fn remove(api: &Docker, id: &str, paused: bool) -> bool {
    if paused {
        // Should it not be paused after all, there is nothing to do.
        drop(time::timeout(RESUMING_TIME, api.unpause_container(id)).await);
    }
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match api.remove_container(id, Some(options)).await {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => true,
        Err(_) => false,
    }
}
