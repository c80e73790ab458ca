//! What has to be known by the next process too. The runtime keeps it in the state folder; this module says only what
//! is kept, never where. Nothing here is needed to be right: what is lost or garbled counts as never said.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Keeps small values by name. Names are lower-case letters, digits, `-`, `_` and `.`, at most 96 of them.
pub trait Memory: Send + Sync + Debug {
    /// What was kept; `None` if nothing was or it cannot be read.
    fn load(&self, name: &str) -> Option<Value>;

    /// Keeps it, all of it or nothing. A failure is the implementation's to report; nothing waits for it.
    fn save(&self, name: &str, value: &Value);
}

/// Forgets when the process ends.
#[derive(Debug, Default)]
pub struct Forgetful(Mutex<BTreeMap<String, Value>>);

impl Memory for Forgetful {
    fn load(&self, name: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn save(&self, name: &str, value: &Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.clone());
    }
}
