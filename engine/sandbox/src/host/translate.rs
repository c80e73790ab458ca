//! Shows a folder once more at another place, with its owner's files as the sandboxed user's.
//! Done by our own program in a process of its own: the kernel wants a single thread for a part of it.

use std::{path::Path, process::Stdio};

use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    contract::HostIds,
    error::StartError,
    host::Launcher,
    launcher::{HIDDEN_ARGUMENT, TRANSLATE},
    wire::{self, Decoder, Failure, Kind, Translation},
};

/// Mounts a translated view of `folder` on `target`, both of this machine. It stays until it is unmounted.
pub(crate) async fn translate(
    launcher: &Launcher,
    folder: &Path,
    target: &Path,
    ids: HostIds,
    keeps_root: bool,
) -> Result<(), StartError> {
    let request = Translation { folder: folder.to_owned(), target: target.to_owned(), ids, keeps_root };
    let failed = |source| StartError::Spawn { program: launcher.program().to_owned(), source };
    let protocol = |error: String| StartError::Protocol(error);
    let payload = serde_json::to_vec(&request).map_err(|error| protocol(error.to_string()))?;
    let mut bytes = Vec::new();
    wire::encode(Kind::Boot, 0, &payload, &mut bytes)?;
    let mut child = Command::new(launcher.program())
        .args([HIDDEN_ARGUMENT, TRANSLATE])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&bytes).await.map_err(failed)?;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let mut decoder = Decoder::new();
    decoder.push(&output.stdout);
    let frame = decoder.next_frame()?.filter(|frame| frame.kind == Kind::Error);
    let failure = frame.and_then(|frame| serde_json::from_slice::<Failure>(&frame.payload).ok());
    Err(failure.map_or_else(|| StartError::Died(String::new()), StartError::from))
}
