//! Values of events: small ones stand in the event, large ones in the content store.

use blueprint_core::run::Payload;
use serde_json::Value;
use thiserror::Error;

use crate::store::{BlobError, Blobs, Digest};

/// Values up to this many bytes of JSON stand in the event itself.
const INLINE_BYTES: usize = 4 * 1024;

/// Why a value cannot be had.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// The content store cannot give or take it.
    #[error("a value could not be kept in or read from the content store")]
    Blob(#[from] BlobError),
    /// The reference is not a digest.
    #[error("`{0}` is not a reference to a value")]
    BadReference(String),
    /// It is not JSON.
    #[error("a stored value is not JSON")]
    NotJson(#[from] serde_json::Error),
}

/// Makes a value fit for an event.
pub fn keep(blobs: &Blobs, value: Value) -> Result<Payload, PayloadError> {
    let text = value.to_string();
    if text.len() <= INLINE_BYTES {
        return Ok(Payload::Inline(value));
    }
    Ok(Payload::Blob(blobs.put(text.as_bytes())?.to_string()))
}

/// The value again.
pub fn fetch(blobs: &Blobs, payload: &Payload) -> Result<Value, PayloadError> {
    match payload {
        Payload::Inline(value) => Ok(value.clone()),
        Payload::Blob(reference) => {
            let digest: Digest =
                reference.parse().map_err(|_| PayloadError::BadReference(reference.clone()))?;
            Ok(serde_json::from_slice(&blobs.get(digest)?)?)
        }
    }
}
