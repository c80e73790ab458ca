//! Puts the layers on top of each other: options, then the environment, then the project, then the
//! user, then what is built in. A project is asked before the user and can still only tighten: what
//! it would loosen stays as the user set it, and that is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blueprint_agent::hook::HookConfig;
use blueprint_agent::mcp::McpConfig;
use blueprint_agent::model::ModelsConfig;
use blueprint_agent::tool::ToolsConfig;
use blueprint_core::proof::Policy;
use blueprint_sandbox::egress::Private;

use super::error::{ConfigError, ConfigErrors, Notice};
use super::file::{self, Owner};
use super::key::Key;
use super::listed;
use super::origin::Origin;
use super::paths::Places;
use super::quantity::{Bytes, Cpus, Jobs, Pids, Wall};
use super::sources::{Flags, Layer, Placed, Sources};
use super::tiers::{Docker, Microvm, Pool, Tiers};
use super::value::{Color, Durability, Sandbox, Value};
use super::variables;

/// The settings in force, each with the one who set it.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    jobs: Placed<Jobs>,
    sandbox: Placed<Sandbox>,
    state: Placed<Option<PathBuf>>,
    sync: Placed<Durability>,
    color: Placed<Color>,
    memory: Placed<Bytes>,
    pids: Placed<Pids>,
    cpus: Placed<Cpus>,
    output: Placed<Bytes>,
    wall: Placed<Wall>,
    read_only: Placed<Vec<PathBuf>>,
    models: ModelsConfig,
    hooks: Vec<HookConfig>,
    policies: Vec<Policy>,
    tools: ToolsConfig,
    private: Private,
    tiers: Tiers,
    docker: Docker,
    microvm: Option<Microvm>,
    pool: Pool,
    authorities: Option<PathBuf>,
    mcp: McpConfig,
    stand: BTreeMap<String, Origin>,
    notices: Vec<Notice>,
}

/// What commands in a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    /// Memory of all processes together.
    pub(crate) memory: Bytes,
    /// Processes at one time.
    pub(crate) pids: Pids,
    /// Processors kept busy.
    pub(crate) cpus: Cpus,
    /// Output of one command.
    pub(crate) output: Bytes,
    /// Wall time of one command.
    pub(crate) wall: Wall,
}

/// Resolves all layers, or reports everything that is wrong in any of them.
pub(crate) fn resolve(sources: &Sources) -> Result<Resolved, ConfigErrors> {
    let places = Places::of(sources);
    let mut errors: Vec<ConfigError> = Vec::new();
    let mut notices = Vec::new();
    let flags = options(&sources.flags);
    let env = variables::read(sources, &places, &mut errors, &mut notices);
    let mut read = |owner, source: &Option<(PathBuf, String)>| {
        source
            .as_ref()
            .map(|(path, text)| file::read(owner, path, text, &places, &mut errors))
            .unwrap_or_default()
    };
    let project = read(Owner::Project, &sources.project);
    let user = read(Owner::User, &sources.user);
    let place = |source: &Option<(PathBuf, String)>| {
        source
            .as_ref()
            .map(|(path, text)| super::origin::Place::new(path, text, text.find("[models").unwrap_or(0)))
    };
    let mut models = user.models.clone().unwrap_or_default();
    for (alias, names) in project.models.clone().unwrap_or_default().aliases {
        // What a name means to the user, a project does not change.
        models.aliases.entry(alias).or_insert(names);
    }
    for wrong in models.check() {
        if let Some(place) = place(&sources.user).or_else(|| place(&sources.project)) {
            errors.push(ConfigError::Table { place, name: "models", reason: format!("is wrong: {wrong}") });
        }
    }
    ConfigErrors::unless_empty(errors)?;

    let notes = &mut notices;
    let mut files = Layer {
        jobs: tightest(Key::Jobs, project.jobs, user.jobs, notes),
        sandbox: tightest(Key::Sandbox, project.sandbox, user.sandbox, notes),
        state: project.state.or(user.state),
        sync: tightest(Key::Sync, project.sync, user.sync, notes),
        color: tightest(Key::Color, project.color, user.color, notes),
        memory: tightest(Key::Memory, project.memory, user.memory, notes),
        pids: tightest(Key::Pids, project.pids, user.pids, notes),
        cpus: tightest(Key::Cpus, project.cpus, user.cpus, notes),
        output: tightest(Key::Output, project.output, user.output, notes),
        wall: tightest(Key::Wall, project.wall, user.wall, notes),
        read_only: user.read_only,
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
    };
    let mut stand = user.stand;
    let mut docker = user.docker.unwrap_or_default();
    if let (None, Some(host)) = (&docker.host, sources.env.get("DOCKER_HOST").filter(|host| !host.is_empty()))
    {
        docker.host = Some(host.clone());
        stand.insert("docker.host".to_owned(), Origin::Environment("DOCKER_HOST"));
    }
    let state = flags.state.or(env.state).or(files.state.take());
    Ok(Resolved {
        jobs: first([flags.jobs, env.jobs, files.jobs], Jobs::DEFAULT),
        sandbox: first([flags.sandbox, env.sandbox, files.sandbox], Sandbox::Auto),
        state: match state {
            Some(Placed { value, origin }) => Placed { value: Some(value), origin },
            None => Placed { value: Some(places.default_state()), origin: Origin::Default },
        },
        sync: first([flags.sync, env.sync, files.sync], Durability::Full),
        color: first([flags.color, env.color, files.color], Color::Auto),
        memory: first([flags.memory, env.memory, files.memory], Bytes::mebibytes(4096)),
        pids: first([flags.pids, env.pids, files.pids], Pids::DEFAULT),
        cpus: first([flags.cpus, env.cpus, files.cpus], Cpus::DEFAULT),
        output: first([flags.output, env.output, files.output], Bytes::mebibytes(64)),
        wall: first([flags.wall, env.wall, files.wall], Wall::DEFAULT),
        read_only: first([files.read_only, None, None], Vec::new()),
        models,
        hooks: user.hooks.unwrap_or_default(),
        policies: user.policies.into_iter().chain(project.policies).flatten().collect(),
        tools: user.tools.unwrap_or_default(),
        private: user.private.unwrap_or_default(),
        tiers: user.tiers.unwrap_or_default(),
        docker,
        microvm: user.microvm,
        pool: user.pool.unwrap_or_default(),
        authorities: user.authorities,
        mcp: user.mcp.unwrap_or_default(),
        stand,
        notices,
    })
}

fn options(flags: &Flags) -> Layer {
    fn placed<T: Clone>(key: Key, value: Option<&T>) -> Option<Placed<T>> {
        value.cloned().map(|value| Placed { value, origin: Origin::Flag(key.flag()) })
    }
    Layer {
        jobs: placed(Key::Jobs, flags.jobs.as_ref()),
        sandbox: placed(Key::Sandbox, flags.sandbox.as_ref()),
        state: placed(Key::State, flags.state.as_ref()),
        sync: placed(Key::Sync, flags.sync.as_ref()),
        color: placed(Key::Color, flags.color.as_ref()),
        memory: placed(Key::Memory, flags.memory.as_ref()),
        pids: placed(Key::Pids, flags.pids.as_ref()),
        cpus: placed(Key::Cpus, flags.cpus.as_ref()),
        output: placed(Key::Output, flags.output.as_ref()),
        wall: placed(Key::Wall, flags.wall.as_ref()),
        read_only: None,
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
    }
}

fn first<T>(layers: [Option<Placed<T>>; 3], default: T) -> Placed<T> {
    layers.into_iter().flatten().next().unwrap_or(Placed { value: default, origin: Origin::Default })
}

/// What the project says, unless the user said something stricter.
fn tightest<T: Value>(
    key: Key,
    project: Option<Placed<T>>,
    user: Option<Placed<T>>,
    notices: &mut Vec<Notice>,
) -> Option<Placed<T>> {
    match (project, user) {
        (Some(project), Some(user)) if project.value.loosens(user.value) => {
            notices.push(Notice::Tightened {
                key,
                asked: project.value.to_string(),
                project: project.origin,
                allowed: user.value.to_string(),
                user: user.origin.clone(),
            });
            Some(user)
        }
        (project, user) => project.or(user),
    }
}

impl Resolved {
    /// How many nodes run at the same time.
    pub(crate) fn jobs(&self) -> Jobs {
        self.jobs.value
    }

    /// What isolates commands.
    pub(crate) fn sandbox(&self) -> Sandbox {
        self.sandbox.value
    }

    /// Where runs are kept; `None` if nothing says so and there is no home folder.
    pub(crate) fn state(&self) -> Option<&Path> {
        self.state.value.as_deref()
    }

    /// How hard the journal is pushed to disk.
    pub(crate) fn sync(&self) -> Durability {
        self.sync.value
    }

    /// When output is coloured.
    pub(crate) fn color(&self) -> Color {
        self.color.value
    }

    /// What commands may use.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory: self.memory.value,
            pids: self.pids.value,
            cpus: self.cpus.value,
            output: self.output.value,
            wall: self.wall.value,
        }
    }

    /// Folders of the host that sandboxes may read.
    pub(crate) fn read_only(&self) -> &[PathBuf] {
        &self.read_only.value
    }

    /// What must hold for every blueprint: whoever runs it and the project both have a say, and neither takes any back.
    pub(crate) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The hooks, which were found to make sense.
    pub(crate) fn hooks(&self) -> &[HookConfig] {
        &self.hooks
    }

    /// How fast tools may be called, which was found to make sense.
    pub(crate) fn tools(&self) -> &ToolsConfig {
        &self.tools
    }

    /// What isolates the tiers besides `trusted`.
    pub(crate) fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// What virtual machines are made of.
    pub(crate) fn microvm(&self) -> Option<&Microvm> {
        self.microvm.as_ref()
    }

    /// How many sandboxes may wait.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Where containers are made.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Hosts of our own that requests may reach.
    pub(crate) fn private(&self) -> &Private {
        &self.private
    }

    /// Certificates of more authorities that servers may prove themselves by.
    pub(crate) fn authorities(&self) -> Option<&Path> {
        self.authorities.as_deref()
    }

    /// The user's own clients for servers of tools.
    pub(crate) fn mcp(&self) -> &McpConfig {
        &self.mcp
    }

    /// The models agents may be given.
    pub(crate) fn models(&self) -> &ModelsConfig {
        &self.models
    }

    /// What is not wrong and still worth saying, once per call.
    pub(crate) fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Every setting with its value and the one who set it.
    pub(crate) fn explain(&self) -> Vec<(&'static str, String, Origin)> {
        fn row<T>(key: Key, placed: &Placed<T>, shown: String) -> (&'static str, String, Origin) {
            (key.name(), shown, placed.origin.clone())
        }
        let shown = |path: &PathBuf| super::origin::plain(&path.to_string_lossy());
        let paths: Vec<String> = self.read_only.value.iter().map(shown).collect();
        let mut rows = vec![
            row(Key::Jobs, &self.jobs, self.jobs.value.to_string()),
            row(Key::Sandbox, &self.sandbox, self.sandbox.value.to_string()),
            row(Key::State, &self.state, self.state.value.as_ref().map(shown).unwrap_or_default()),
            row(Key::Sync, &self.sync, self.sync.value.to_string()),
            row(Key::Color, &self.color, self.color.value.to_string()),
            row(Key::Memory, &self.memory, self.memory.value.to_string()),
            row(Key::Pids, &self.pids, self.pids.value.to_string()),
            row(Key::Cpus, &self.cpus, self.cpus.value.to_string()),
            row(Key::Output, &self.output, self.output.value.to_string()),
            row(Key::Wall, &self.wall, self.wall.value.to_string()),
            row(Key::ReadOnly, &self.read_only, paths.join(", ")),
        ];
        let tables = [
            listed::tiers(&self.tiers),
            listed::docker(&self.docker),
            listed::microvm(self.microvm.as_ref()),
            listed::pool(&self.pool),
        ];
        rows.extend(
            tables
                .into_iter()
                .flatten()
                .map(|(name, value)| (name, value, self.stand.get(name).cloned().unwrap_or(Origin::Default))),
        );
        rows
    }
}
