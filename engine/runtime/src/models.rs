//! The models of a configuration, with what they need of a machine: keys from the environment, clients, a memory in the
//! state folder. Asks nobody before an agent does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blueprint_agent::model::{
    Described, Memory, Model, Models, ModelsConfig, ModelsConfigError, Provider, Surroundings, chance,
};
use serde_json::Value;

use crate::clock::Clock;
use crate::shared::Minds;

/// The folder of a state folder in which models are remembered.
const FOLDER: &str = "models";
/// The largest memory that is read, in bytes.
const LARGEST: u64 = 8 << 20;

/// The models that are configured.
#[derive(Debug)]
pub struct Configured(Models);

impl Configured {
    /// Of a configuration, with keys from `environment`.
    pub fn new(
        config: ModelsConfig,
        environment: &BTreeMap<String, String>,
        state: &Path,
        clock: &Arc<Clock>,
    ) -> Result<Self, Vec<ModelsConfigError>> {
        let (environment, clock) = (environment.clone(), Arc::clone(clock));
        let surroundings = Surroundings {
            variables: Arc::new(move |name| environment.get(name).cloned()),
            connect: Arc::new(|settings| Ok(Arc::new(Provider::new(settings)?))),
            memory: Arc::new(Folder(state.join(FOLDER))),
            now: Arc::new(move || clock.now_ms()),
            chance: Arc::new(chance),
        };
        Models::new(config, surroundings).map(Self)
    }

    /// The models a name stands for, with what is known of them.
    pub fn describe(&self, name: &str) -> Result<Vec<Described>, String> {
        self.0.describe(name).map_err(|error| error.to_string())
    }
}

impl Minds for Configured {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, String> {
        self.0.resolve(name).map_err(|error| error.to_string())
    }
}

/// Small values as files.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn path(&self, name: &str) -> Option<PathBuf> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let usable = !name.is_empty() && name.len() <= 96 && name.chars().all(good) && !name.starts_with('.');
        usable.then(|| self.0.join(format!("{name}.json")))
    }

    fn write(&self, path: &Path, value: &Value) -> std::io::Result<()> {
        use std::io::Write as _;
        std::fs::create_dir_all(&self.0)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(value.to_string().as_bytes())?;
        file.persist(path)?;
        Ok(())
    }
}

impl Memory for Folder {
    fn load(&self, name: &str) -> Option<Value> {
        let path = self.path(name)?;
        let small = path.metadata().ok()?.len() <= LARGEST;
        small.then(|| std::fs::read(path).ok())?.and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    fn save(&self, name: &str, value: &Value) {
        let Some(path) = self.path(name) else { return };
        if let Err(error) = self.write(&path, value) {
            tracing::warn!(name, %error, "what a provider said cannot be kept for the next process");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_the_next_process_and_garbage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Folder(folder.path().join("models"));
        assert_eq!(kept.load("provider.x"), None);
        kept.save("provider.x", &serde_json::json!({ "until": 7 }));
        let next = Folder(folder.path().join("models"));
        assert_eq!(next.load("provider.x"), Some(serde_json::json!({ "until": 7 })));
        std::fs::write(folder.path().join("models/provider.x.json"), "{").unwrap();
        assert_eq!(next.load("provider.x"), None);
        for name in ["", "../x", ".x", "A"] {
            next.save(name, &Value::Null);
        }
        assert_eq!(std::fs::read_dir(folder.path().join("models")).unwrap().count(), 1);
    }
}
