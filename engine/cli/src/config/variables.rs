//! The environment as a layer of settings. An empty variable counts as absent.

use std::collections::BTreeMap;

use super::error::{ConfigError, Notice};
use super::key::{Key, nearest};
use super::origin::Origin;
use super::paths::Places;
use super::sources::{Layer, Placed, Sources};
use super::value::{Color, Sandbox, Value};

/// Reads the layer.
pub(super) fn read(
    sources: &Sources,
    places: &Places,
    errors: &mut Vec<ConfigError>,
    notices: &mut Vec<Notice>,
) -> Layer {
    let mut reader = Reader { sources, errors };
    let mut layer = Layer {
        models: None,
        hooks: None,
        tools: None,
        private: None,
        tiers: None,
        docker: None,
        microvm: None,
        pool: None,
        authorities: None,
        mcp: None,
        policies: None,
        stand: BTreeMap::new(),
        jobs: reader.value(Key::Jobs),
        sandbox: reader.value(Key::Sandbox),
        state: reader.state(places),
        sync: reader.value(Key::Sync),
        color: reader.value(Key::Color),
        memory: reader.value(Key::Memory),
        pids: reader.value(Key::Pids),
        cpus: reader.value(Key::Cpus),
        output: reader.value(Key::Output),
        wall: reader.value(Key::Wall),
        read_only: None,
    };
    if layer.sandbox.take_if(|placed| placed.value == Sandbox::None).is_some() {
        errors.push(no_sandbox(Origin::Environment("BLUEPRINT_SANDBOX")));
    }
    // A convention of many programs; our own variable is more specific.
    if layer.color.is_none() && sources.env.get("NO_COLOR").is_some_and(|text| !text.is_empty()) {
        layer.color = Some(Placed { value: Color::Never, origin: Origin::Environment("NO_COLOR") });
    }
    for name in sources.env.keys().filter(|name| name.starts_with("BLUEPRINT_")) {
        let known = || Key::ALL.into_iter().filter_map(Key::variable);
        if known().all(|variable| variable != name)
            && let Some(suggestion) = nearest(name, known())
        {
            notices.push(Notice::UnknownVariable { name: name.clone(), suggestion });
        }
    }
    layer
}

/// Running without a sandbox is a decision about one run, so nothing that lasts can make it.
pub(super) fn no_sandbox(origin: Origin) -> ConfigError {
    let reason = "cannot be \"none\" here: type `--sandbox none` for each run that needs it".to_owned();
    ConfigError::NotHere { origin, key: Key::Sandbox, reason }
}

struct Reader<'s> {
    sources: &'s Sources,
    errors: &'s mut Vec<ConfigError>,
}

impl<'s> Reader<'s> {
    fn text(&self, key: Key) -> Option<(&'s str, Origin)> {
        let variable = key.variable()?;
        let text = self.sources.env.get(variable).filter(|text| !text.is_empty())?;
        Some((text, Origin::Environment(variable)))
    }

    fn keep<T>(&mut self, key: Key, origin: Origin, parsed: Result<T, String>) -> Option<Placed<T>> {
        match parsed {
            Ok(value) => Some(Placed { value, origin }),
            Err(reason) => {
                self.errors.push(ConfigError::Value { origin, key, reason });
                None
            }
        }
    }

    fn value<T: Value>(&mut self, key: Key) -> Option<Placed<T>> {
        let (text, origin) = self.text(key)?;
        self.keep(key, origin, T::from_str(text))
    }

    fn state(&mut self, places: &Places) -> Option<Placed<std::path::PathBuf>> {
        let (text, origin) = self.text(Key::State)?;
        self.keep(Key::State, origin, places.in_environment(text))
    }
}
