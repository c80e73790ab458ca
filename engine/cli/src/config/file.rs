//! A settings file as a layer. Reads on after an error, so that all of them are reported at once.

use std::ops::Range;
use std::path::{Path, PathBuf};

use blueprint_agent::hook::{Builtins, HookConfig, HookTable};
use blueprint_agent::mcp::McpConfig;
use blueprint_agent::model::ModelsConfig;
use blueprint_agent::tool::{ToolPaces, ToolsConfig};
use blueprint_core::format::Prove;
use blueprint_core::proof::Policy;
use blueprint_sandbox::egress::Private;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::key::{Key, Section, nearest};
use super::origin::{Origin, Place, plain};
use super::paths::{self, Places};
use super::sources::{Layer, Placed};
use super::tiers::{Docker, Microvm, Pool, Tiers};
use super::value::{Form, Sandbox, Value};
use super::variables::no_sandbox;

/// The tables about sandboxes, which are the user's own.
const SANDBOXES: [&str; 4] = ["tiers", "docker", "microvm", "pool"];

/// Longest settings file, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// What may leave, beyond what blueprints say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Egress {
    /// Hosts of this machine and its networks, as `host:port` or `host:*`.
    #[serde(default)]
    private: Vec<String>,
    /// A file with certificates (PEM) of authorities that servers of hosts with a credential may prove themselves by,
    /// besides those the machine trusts.
    #[serde(default)]
    authorities: Option<PathBuf>,
}

/// The invariants of a file, whatever else is in it.
#[derive(Deserialize)]
struct Demands {
    prove: Vec<Prove>,
}

/// Whose file it is, which decides what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Project,
    User,
}

/// Reads the layer.
pub(super) fn read(
    owner: Owner,
    path: &Path,
    text: &str,
    places: &Places,
    errors: &mut Vec<ConfigError>,
) -> Layer {
    let mut reader = Reader { owner, path, text, places, errors, layer: Layer::default() };
    if text.len() > MAX_BYTES {
        reader.syntax(None, "the file is larger than 1 MiB");
        return reader.layer;
    }
    let (table, problems) = DeTable::parse_recoverable(text);
    for problem in &problems {
        reader.syntax(problem.span(), problem.message());
    }
    // What a broken file seems to say is not worth a second complaint.
    if problems.is_empty() {
        reader.table(Section::Top, table.get_ref());
    }
    reader.layer
}

struct Reader<'s> {
    owner: Owner,
    path: &'s Path,
    text: &'s str,
    places: &'s Places,
    errors: &'s mut Vec<ConfigError>,
    layer: Layer,
}

impl Reader<'_> {
    fn place(&self, range: Range<usize>) -> Place {
        Place::new(self.path, self.text, range.start)
    }

    fn origin(&self, range: Range<usize>) -> Origin {
        match self.owner {
            Owner::Project => Origin::Project(self.place(range)),
            Owner::User => Origin::User(self.place(range)),
        }
    }

    fn syntax(&mut self, range: Option<Range<usize>>, message: &str) {
        let place = self.place(range.unwrap_or(0..0));
        self.errors.push(ConfigError::Syntax { place, message: plain(message) });
    }

    fn table(&mut self, section: Section, table: &DeTable<'_>) {
        for (name, value) in table {
            if section == Section::Top && SANDBOXES.contains(&name.get_ref().as_ref()) {
                self.stands(name.get_ref(), value.get_ref());
            }
            let inner = match (section, name.get_ref().as_ref()) {
                (Section::Top, "models") => {
                    self.models(name.span());
                    continue;
                }
                (Section::Top, "hooks") => {
                    self.hooks(name.span());
                    continue;
                }
                (Section::Top, "prove") => {
                    self.policies(name.span());
                    continue;
                }
                (Section::Top, "egress") => {
                    self.egress(name.span());
                    continue;
                }
                (Section::Top, "tools") => {
                    self.tools(name.span());
                    continue;
                }
                (Section::Top, "mcp") => {
                    self.mcp(name.span());
                    continue;
                }
                (Section::Top, "tiers") => {
                    let read = self.users_own::<Tiers>("tiers", "says what isolates strangers' code");
                    let read = read.and_then(|tiers| tiers.check().map(|()| tiers));
                    self.layer.tiers = self.kept("tiers", name.span(), read);
                    continue;
                }
                (Section::Top, "microvm") => {
                    let read = self.users_own::<Microvm>("microvm", "says what virtual machines are made of");
                    let read = read.and_then(|machine| machine.check().map(|()| machine));
                    self.layer.microvm = self.kept("microvm", name.span(), read);
                    continue;
                }
                (Section::Top, "pool") => {
                    let read = self.users_own::<Pool>("pool", "says what waits in this machine's memory");
                    let read = read.and_then(|pool| pool.check().map(|()| pool));
                    self.layer.pool = self.kept("pool", name.span(), read);
                    continue;
                }
                (Section::Top, "docker") => {
                    let read = self.users_own::<Docker>("docker", "says where containers are made");
                    self.layer.docker = self.kept("docker", name.span(), read);
                    continue;
                }
                (Section::Top, "limits") => Some((Section::Limits, "limits")),
                (Section::Top, "toolchains") => Some((Section::Toolchains, "toolchains")),
                _ => None,
            };
            match (inner, value.get_ref()) {
                (Some((section, _)), DeValue::Table(table)) => self.table(section, table),
                (Some((_, name)), _) => {
                    let place = self.place(value.span());
                    self.errors.push(ConfigError::NotATable { place, name });
                }
                (None, _) => match Key::find(section, name.get_ref()) {
                    Some(key) => self.setting(key, value),
                    None => self.unknown(section, name.get_ref(), name.span()),
                },
            }
        }
    }

    /// Remembers where the keys of a table stand.
    fn stands(&mut self, table: &str, value: &DeValue<'_>) {
        for (name, value) in value.as_table().into_iter().flatten() {
            let origin = self.origin(value.span());
            self.layer.stand.insert(format!("{table}.{}", name.get_ref()), origin);
        }
    }

    /// The models agents may be given. Where they are and what they cost is the user's to say: a project that could
    /// name an address would be told the key.
    fn models(&mut self, range: Range<usize>) {
        let models = self.part::<ModelsConfig>("models");
        let place = self.place(range);
        match models {
            Ok(models) if self.owner == Owner::Project && !only_aliases(&models) => {
                let reason = "may only hold `aliases` in a project: providers, prices and limits stand in the user's own settings file";
                self.errors.push(ConfigError::Table { place, name: "models", reason: reason.to_owned() });
            }
            Ok(models) => self.layer.models = Some(models),
            Err(reason) => {
                let reason = format!("cannot be read: {}", plain(&reason));
                self.errors.push(ConfigError::Table { place, name: "models", reason });
            }
        }
    }

    /// One part of the file, by the rules of whoever it is for.
    fn part<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let mut table = self.text.parse::<toml::Table>().map_err(|error| error.message().to_owned())?;
        let value = table.remove(name).ok_or_else(|| "is not there".to_owned())?;
        value.try_into::<T>().map_err(|error| error.message().to_owned())
    }

    /// A part of the file that only the user's own may have, because of what it `does`.
    fn users_own<T: serde::de::DeserializeOwned>(&self, name: &str, does: &str) -> Result<T, String> {
        match self.owner {
            Owner::Project => Err(format!("{does}: only the user's own settings file can do that")),
            Owner::User => self.part(name).map_err(|reason| format!("cannot be read: {}", plain(&reason))),
        }
    }

    fn kept<T>(&mut self, name: &'static str, range: Range<usize>, read: Result<T, String>) -> Option<T> {
        match read {
            Ok(part) => Some(part),
            Err(reason) => {
                let place = self.place(range);
                self.errors.push(ConfigError::Table { place, name, reason });
                None
            }
        }
    }

    /// Hosts of our own that requests may reach: this machine and its network are the user's to open.
    fn egress(&mut self, range: Range<usize>) {
        let read = match self.owner {
            Owner::Project => {
                Err("opens this machine and its network: only the user's own settings file can do that"
                    .to_owned())
            }
            Owner::User => {
                self.part("egress").map_err(|reason| format!("cannot be read: {}", plain(&reason)))
            }
        };
        let usable = read.and_then(|egress: Egress| {
            if egress.authorities.as_ref().is_some_and(|file| !file.is_absolute()) {
                return Err("cannot be used: `authorities` is not an absolute path".to_owned());
            }
            let private = Private::parse(&egress.private)
                .map_err(|(text, why)| format!("cannot be used: `private`, `{}`: {why}", plain(&text)))?;
            Ok((private, egress.authorities))
        });
        match usable {
            Ok((private, authorities)) => {
                self.layer.private = Some(private);
                self.layer.authorities = authorities;
            }
            Err(reason) => {
                let place = self.place(range);
                self.errors.push(ConfigError::Table { place, name: "egress", reason });
            }
        }
    }

    /// How fast agents may call tools: on whose account these work, and on whose machine, the user knows.
    fn tools(&mut self, range: Range<usize>) {
        let read = match self.owner {
            Owner::Project => Err("are the user's to limit, in their own settings file".to_owned()),
            Owner::User => self.part("tools").map_err(|reason| format!("cannot be read: {}", plain(&reason))),
        };
        let usable = read.and_then(|tools: ToolsConfig| match ToolPaces::new(&tools) {
            Ok(_) => Ok(tools),
            Err(error) => Err(format!("cannot be used: {}", plain(&error.to_string()))),
        });
        match usable {
            Ok(tools) => self.layer.tools = Some(tools),
            Err(reason) => {
                let place = self.place(range);
                self.errors.push(ConfigError::Table { place, name: "tools", reason });
            }
        }
    }

    /// Hooks run on the host and see everything, so a project has no say in them.
    fn hooks(&mut self, range: Range<usize>) {
        let place = self.place(range);
        let read = self.part::<Vec<HookConfig>>("hooks");
        let mut wrong = |reason: String| {
            self.errors.push(ConfigError::Table { place: place.clone(), name: "hooks", reason });
        };
        if self.owner == Owner::Project {
            wrong("run on this machine: only the user's own settings file can name them".to_owned());
            return;
        }
        match read {
            Err(reason) => wrong(format!("cannot be read: {}", plain(&reason))),
            Ok(hooks) => {
                if let Err(errors) = HookTable::compile(&hooks, &Builtins::default()) {
                    for error in &errors {
                        wrong(format!("cannot be used: {}", plain(&error.to_string())));
                    }
                }
                self.layer.hooks = Some(hooks);
            }
        }
    }

    /// Invariants for every blueprint. A project may add some as well, since they only forbid.
    fn policies(&mut self, range: Range<usize>) {
        // Names of invariants know where they stand, which only the text can say.
        let read = toml::from_str::<Demands>(self.text)
            .map(|whole| whole.prove)
            .map_err(|error| format!("cannot be read: {}", plain(error.message())));
        let place = self.place(range.clone());
        let file = format!("{}:{}", place.path.display(), place.line);
        let Some(all) = self.kept("prove", range, read) else { return };
        let policies: Vec<Policy> = (1..)
            .zip(all)
            .map(|(number, prove)| Policy { place: format!("invariant {number} of {file}"), prove })
            .collect();
        for policy in &policies {
            if let Err(reason) = policy.check() {
                let reason = format!("cannot be used: {}", plain(&reason));
                self.errors.push(ConfigError::Table { place: place.clone(), name: "prove", reason });
            }
        }
        self.layer.policies = Some(policies);
    }

    /// The user's own clients for servers of tools. A project that could name an address would be shown the secret.
    fn mcp(&mut self, range: Range<usize>) {
        let read = self.part::<McpConfig>("mcp");
        let place = self.place(range);
        let mut wrong = |reason: String| {
            self.errors.push(ConfigError::Table { place: place.clone(), name: "mcp", reason });
        };
        if self.owner == Owner::Project {
            wrong("says whom secrets are shown: only the user's own settings file can do that".to_owned());
            return;
        }
        match read {
            Err(reason) => wrong(format!("cannot be read: {}", plain(&reason))),
            Ok(mcp) => {
                for error in mcp.check() {
                    wrong(format!("cannot be used: {}", plain(&error)));
                }
                self.layer.mcp = Some(mcp);
            }
        }
    }

    fn unknown(&mut self, section: Section, name: &str, range: Range<usize>) {
        // The right name in the wrong table is more likely than a near name in the right one.
        let elsewhere = Key::ALL.into_iter().find(|key| key.leaf() == name).map(Key::name);
        let here = Key::ALL.into_iter().filter(|key| key.section() == section).map(Key::leaf);
        let tables = [
            "limits",
            "toolchains",
            "models",
            "hooks",
            "tools",
            "egress",
            "mcp",
            "tiers",
            "docker",
            "microvm",
            "prove",
            "pool",
        ]
        .into_iter()
        .filter(|_| section == Section::Top);
        let suggestion = elsewhere.or_else(|| nearest(name, here.chain(tables))).map(str::to_owned);
        let place = self.place(range);
        self.errors.push(ConfigError::unknown(place, name, suggestion));
    }

    fn setting(&mut self, key: Key, value: &Spanned<DeValue<'_>>) {
        match key {
            Key::Jobs => self.layer.jobs = self.value(key, value),
            Key::Sync => self.layer.sync = self.value(key, value),
            Key::Color => self.layer.color = self.value(key, value),
            Key::Memory => self.layer.memory = self.value(key, value),
            Key::Pids => self.layer.pids = self.value(key, value),
            Key::Cpus => self.layer.cpus = self.value(key, value),
            Key::Output => self.layer.output = self.value(key, value),
            Key::Wall => self.layer.wall = self.value(key, value),
            Key::Sandbox => {
                let mut sandbox = self.value(key, value);
                if let Some(refused) = sandbox.take_if(|placed| placed.value == Sandbox::None) {
                    self.errors.push(no_sandbox(refused.origin));
                }
                self.layer.sandbox = sandbox;
            }
            Key::State => {
                let folder = self.path.parent().unwrap_or(Path::new(""));
                let parsed = text_of(value).and_then(|text| match self.owner {
                    Owner::Project => paths::in_project_file(folder, text),
                    Owner::User => self.places.in_user_file(folder, text),
                });
                self.layer.state = self.keep(key, value.span(), parsed);
            }
            Key::ReadOnly => self.read_only(value),
        }
    }

    fn read_only(&mut self, value: &Spanned<DeValue<'_>>) {
        let key = Key::ReadOnly;
        if self.owner == Owner::Project {
            let origin = self.origin(value.span());
            let reason =
                "opens folders of this machine to sandboxes: only the user's own settings file can do that";
            self.errors.push(ConfigError::NotHere { origin, key, reason: reason.to_owned() });
            return;
        }
        let Some(items) = value.get_ref().as_array() else {
            let reason = Err("must be a list of paths".to_owned());
            self.layer.read_only = self.keep(key, value.span(), reason);
            return;
        };
        let mut found = Vec::new();
        for item in items {
            let parsed = text_of(item).and_then(|text| self.places.readable(text));
            found.extend(self.keep(key, item.span(), parsed).map(|placed: Placed<PathBuf>| placed.value));
        }
        self.layer.read_only = Some(Placed { value: found, origin: self.origin(value.span()) });
    }

    fn keep<T>(&mut self, key: Key, range: Range<usize>, parsed: Result<T, String>) -> Option<Placed<T>> {
        let origin = self.origin(range);
        match parsed {
            Ok(value) => Some(Placed { value, origin }),
            Err(reason) => {
                self.errors.push(ConfigError::Value { origin, key, reason: plain(&reason) });
                None
            }
        }
    }

    fn value<T: Value>(&mut self, key: Key, value: &Spanned<DeValue<'_>>) -> Option<Placed<T>> {
        let parsed = match (value.get_ref(), T::FORM) {
            (DeValue::String(text), Form::Text) => text.parse(),
            (DeValue::Integer(number), Form::Integer | Form::Number) => match number.radix() {
                10 => number.as_str().parse(),
                _ => Err("must be written in decimal".to_owned()),
            },
            (DeValue::Float(number), Form::Number) => number.as_str().parse(),
            (other, form) => Err(format!(
                "must be {}, not {}",
                match form {
                    Form::Text => "text in quotes",
                    Form::Integer => "a whole number",
                    Form::Number => "a number",
                },
                kind(other)
            )),
        };
        self.keep(key, value.span(), parsed)
    }
}

fn only_aliases(models: &ModelsConfig) -> bool {
    *models == ModelsConfig { aliases: models.aliases.clone(), ..ModelsConfig::default() }
}

fn text_of<'v>(value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, String> {
    let value = value.get_ref();
    value.as_str().ok_or_else(|| format!("must be text in quotes, not {}", kind(value)))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
