//! What hooks can do without a program: `deny` says no, `log` writes a line. Others can be registered.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt as _;

use super::reply::Reply;

/// A hook that is built in. It must not block: nothing can take the time back from it.
#[async_trait]
pub trait Builtin: Send + Sync + Debug {
    /// Whether it only looks.
    fn observes(&self) -> bool {
        false
    }

    /// Does it. An error is a failure of the hook.
    async fn call(&self, envelope: &Value) -> Result<Reply, String>;
}

/// Makes a builtin of what `with` says.
pub type MakeBuiltin = dyn Fn(&Map<String, Value>) -> Result<Arc<dyn Builtin>, String> + Send + Sync;

/// The builtins there are.
#[derive(Clone)]
pub struct Builtins(BTreeMap<String, Arc<MakeBuiltin>>);

impl Debug for Builtins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Default for Builtins {
    fn default() -> Self {
        let none = Self(BTreeMap::new());
        none.with("deny", |with| Ok(Arc::new(Deny::new(with)?)))
            .with("log", |with| Ok(Arc::new(Log::new(with)?)))
    }
}

impl Builtins {
    /// These and another one.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        make: impl Fn(&Map<String, Value>) -> Result<Arc<dyn Builtin>, String> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.to_owned(), Arc::new(make));
        self
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn make(
        &self,
        name: &str,
        with: &Map<String, Value>,
    ) -> Option<Result<Arc<dyn Builtin>, String>> {
        self.0.get(name).map(|make| make(with))
    }
}

/// The one text that `with` may hold.
fn text(with: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    if let Some(other) = with.keys().find(|name| *name != key) {
        return Err(format!("`with` has no `{other}`, only `{key}`"));
    }
    match with.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`with.{key}` is a text")),
    }
}

/// Says no to everything it is asked about.
#[derive(Debug)]
struct Deny(String);

impl Deny {
    fn new(with: &Map<String, Value>) -> Result<Self, String> {
        Ok(Self(text(with, "reason")?.unwrap_or_else(|| "denied by configuration".to_owned())))
    }
}

#[async_trait]
impl Builtin for Deny {
    async fn call(&self, _envelope: &Value) -> Result<Reply, String> {
        Ok(Reply::Veto(self.0.clone()))
    }
}

/// Appends what happened to a file, a line of JSON for each.
#[derive(Debug)]
struct Log(PathBuf);

impl Log {
    fn new(with: &Map<String, Value>) -> Result<Self, String> {
        let file = text(with, "file")?.map(PathBuf::from).ok_or("`with.file` says where to write")?;
        if !file.is_absolute() {
            return Err("`with.file` is an absolute path".to_owned());
        }
        Ok(Self(file))
    }
}

#[async_trait]
impl Builtin for Log {
    fn observes(&self) -> bool {
        true
    }

    async fn call(&self, envelope: &Value) -> Result<Reply, String> {
        let line = format!("{envelope}\n");
        let told = |error: std::io::Error| format!("{}: {error}", self.0.display());
        let mut options = tokio::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).mode(0o600).open(&self.0).await.map_err(told)?;
        file.write_all(line.as_bytes()).await.map_err(told)?;
        file.flush().await.map_err(told)?;
        Ok(Reply::Proceed)
    }
}
