//! Where we are and how we are set up: the project folder, the state folder, the settings. The only place that
//! reads the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use blueprint_agent::hook::{Builtins, HookEngine, HookTable, HostRunner};
use blueprint_agent::model::Described;
use blueprint_agent::tool::ToolPaces;
use blueprint_core::format::Tier;
use blueprint_runtime::clock::Clock;
use blueprint_runtime::hooks::RunHooks;
use blueprint_runtime::isolation::Isolation;
use blueprint_runtime::models::Configured;
use blueprint_runtime::shared::{Minds, Settings, Toolchains};
use blueprint_runtime::start::Engine;
use blueprint_runtime::store::{Fault, Lookup, Mode, OpenError, Options, RunSummary, Store, SyncLevel};
use blueprint_sandbox::{Backend, DockerSettings, HOME, Launcher, Limits, MachineSettings, ReadOnlyMount};

use crate::args::{Format, Global, RunSettings};
use crate::config::{Color, Durability, Flags, Mapped, Resolved, Sources, resolve};
use crate::error::{CliError, Exit, from_error};
use crate::logins::Logins;
use crate::terminal;

/// Where and how a command runs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) project: PathBuf,
    pub(crate) cwd: PathBuf,
    pub(crate) settings: Resolved,
    pub(crate) format: Format,
    pub(crate) environment: BTreeMap<String, String>,
    /// The hooks of the user, if there are any.
    pub(crate) hooks: Option<RunHooks>,
}

fn parsed<T: FromStr<Err = String>>(flag: &str, value: Option<&String>) -> Result<Option<T>, CliError> {
    value
        .map(|value| value.parse::<T>())
        .transpose()
        .map_err(|reason| CliError::usage(format!("`--{flag}` {reason}")))
}

impl Context {
    /// Reads the settings. `run` holds those of commands that run something.
    pub(crate) fn new(global: &Global, run: Option<&RunSettings>) -> Result<Self, CliError> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let cwd = std::env::current_dir().map_err(|error| {
            CliError::environment("the current folder cannot be found")
                .because(&error)
                .hint("go to a folder that exists")
        })?;
        let project = project_folder(&cwd, global.project.as_deref())?;
        let flags = Flags {
            jobs: parsed("jobs", run.and_then(|run| run.jobs.as_ref()))?,
            sandbox: parsed("sandbox", run.and_then(|run| run.sandbox.as_ref()))?,
            state: global.state.as_ref().map(|state| cwd.join(state)),
            sync: parsed("sync", run.and_then(|run| run.sync.as_ref()))?,
            color: parsed("color", global.color.as_ref())?,
            ..Flags::default()
        };
        let user = user_file(&environment);
        let sources = Sources {
            flags,
            folder: project.clone(),
            env: environment.clone(),
            project: read_if_there(project.join("blueprint.toml"))?,
            user: user.map(read_if_there).transpose()?.flatten(),
        };
        let settings = resolve(&sources).map_err(|errors| {
            let said = CliError::usage("the settings cannot be used");
            errors
                .iter()
                .fold(said, |said, error| said.because(error))
                .hint("mend them; `blueprint config show` says where each value comes from")
        })?;
        for notice in settings.notices() {
            terminal::error_line(&format!("note: {notice}"));
        }
        match settings.color() {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        let hooks = hooks(&settings, &environment);
        if hooks.is_some() {
            reload_on_signal(hooks.clone(), sources);
        }
        Ok(Self { project, cwd, settings, format: global.format, environment, hooks })
    }

    /// The state folder.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.settings.state().map_or_else(|| self.project.join(".blueprint"), Path::to_path_buf)
    }

    /// Opens the journal for commands that write.
    pub(crate) async fn store(&self) -> Result<Store, CliError> {
        self.open(Mode::ReadWrite).await.map_err(|error| self.unopened(&error))
    }

    /// Opens the journal for commands that only read: where it cannot be written, as it is.
    async fn store_to_read(&self) -> Result<Store, CliError> {
        match self.open(Mode::ReadWrite).await {
            Err(OpenError::Fault(Fault::ReadOnly { .. } | Fault::Denied { .. })) => {
                self.open(Mode::ReadOnly).await.map_err(|error| self.unopened(&error))
            }
            other => other.map_err(|error| self.unopened(&error)),
        }
    }

    fn unopened(&self, error: &OpenError) -> CliError {
        let dir = self.state_dir();
        from_error(Exit::Environment, error)
            .hint(format!("check `{}`, or choose another folder with `--state DIR`", dir.display()))
    }

    async fn open(&self, mode: Mode) -> Result<Store, OpenError> {
        let sync = match self.settings.sync() {
            Durability::Full => SyncLevel::Full,
            Durability::Normal => SyncLevel::Normal,
        };
        Store::open(self.state_dir(), Options { sync, mode }).await
    }

    /// Everything that runs need, with the isolation that this machine has.
    pub(crate) async fn engine(&self, isolation: Isolation) -> Result<Engine, CliError> {
        Ok(self.engine_on(self.store().await?, isolation))
    }

    /// The same for commands that only read.
    pub(crate) async fn reader(&self) -> Result<Engine, CliError> {
        Ok(self.engine_on(self.store_to_read().await?, Isolation::same(Backend::None)))
    }

    /// The models of the settings, which were checked when they were read.
    fn models(&self, clock: &Arc<Clock>) -> Option<Arc<dyn Minds>> {
        let config = self.settings.models().clone();
        let models = Configured::new(config, &self.environment, &self.state_dir(), clock).ok()?;
        Some(Arc::new(models))
    }

    /// The models that a name stands for, in the order they are asked; none if that is not known.
    pub(crate) fn described(&self, name: &str) -> Vec<Described> {
        let clock = Arc::new(Clock::system());
        let config = self.settings.models().clone();
        let models = Configured::new(config, &self.environment, &self.state_dir(), &clock).ok();
        models.and_then(|models| models.describe(name).ok()).unwrap_or_default()
    }

    /// What the user has for servers of tools.
    pub(crate) fn logins(&self) -> Logins {
        Logins::new(&self.environment, self.settings.mcp().clone())
    }

    /// Everything that runs need, over a journal that is open.
    pub(crate) fn engine_on(&self, store: Store, isolation: Isolation) -> Engine {
        let limits = self.settings.limits();
        let base = Limits::default();
        let clock = Arc::new(Clock::system());
        Engine {
            store: Arc::new(store),
            project: self.project.clone(),
            state_dir: self.state_dir(),
            clock: Arc::clone(&clock),
            settings: Settings {
                isolation,
                launcher: self.launcher(),
                machine: self.machine(),
                pool: self.settings.pool().settings(),
                limits: Limits {
                    memory_bytes: limits.memory.get(),
                    pids: limits.pids.get(),
                    cpus: limits.cpus.get(),
                    output_bytes: limits.output.get(),
                    wall: limits.wall.get(),
                    ..base
                },
                toolchains: self.toolchains(),
                program: std::env::current_exe().ok(),
                private: Arc::new(self.settings.private().clone()),
                authorities: self.settings.authorities().map(Path::to_owned),
                models: self.models(&clock),
                tool_paces: ToolPaces::new(self.settings.tools()).ok().map(Arc::new),
                access: Some(Arc::new(self.logins())),
                hooks: self.hooks.clone(),
                outside: None,
            },
            driver: format!(
                "process {} on {}",
                std::process::id(),
                rustix::system::uname().nodename().to_string_lossy()
            ),
            environment: self.environment.clone(),
        }
    }

    /// What makes sandboxes here: this program, and the container engine the settings name.
    pub(crate) fn launcher(&self) -> Launcher {
        Launcher::this_program().with_docker(self.docker())
    }

    /// What virtual machines are made of, if the settings say so.
    pub(crate) fn machine(&self) -> Option<MachineSettings> {
        self.settings.microvm().map(|microvm| microvm.machine(self.cache("machines")))
    }

    /// A folder of ours for what can be made again.
    fn cache(&self, name: &str) -> PathBuf {
        let named = |name: &str| self.environment.get(name).filter(|value| !value.is_empty());
        let home = named("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let cache = named("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
        cache.join("blueprint").join(name)
    }

    /// Where containers are made.
    pub(crate) fn docker(&self) -> DockerSettings {
        let named = |name: &str| self.environment.get(name).filter(|value| !value.is_empty());
        let usual = DockerSettings::new(self.cache("containers"));
        let asked = self.settings.docker();
        let rootless = named("XDG_RUNTIME_DIR").map(|folder| Path::new(folder).join("docker.sock"));
        let own = rootless.filter(|socket| socket.exists() && !Path::new("/var/run/docker.sock").exists());
        DockerSettings {
            host: (asked.host.clone())
                .or_else(|| own.map(|socket| format!("unix://{}", socket.display())))
                .unwrap_or(usual.host),
            runc: asked.runc.clone().unwrap_or(usual.runc),
            gvisor: asked.gvisor.clone().unwrap_or(usual.gvisor),
            folder: usual.folder,
        }
    }

    /// How long one image may be built.
    pub(crate) fn build_time(&self) -> Duration {
        let asked = self.settings.docker().build_seconds;
        asked.map_or(Duration::from_mins(30), |seconds| Duration::from_secs(seconds.get().into()))
    }

    /// The sandbox of a tier, as the settings say.
    pub(crate) fn wanted(&self, tier: Tier) -> Mapped {
        match tier {
            Tier::Trusted => Mapped { sandbox: self.settings.sandbox(), weaker: false },
            other => self.settings.tiers().of(other),
        }
    }

    /// Tools of the user that sandboxes may use. Only their programs and caches: never a folder that holds
    /// credentials.
    fn toolchains(&self) -> Toolchains {
        let mut tools = Toolchains::default();
        let home = self.environment.get("HOME").map(PathBuf::from);
        let place = |variable: &str, default: &str| {
            let named = self.environment.get(variable).map(PathBuf::from);
            named.or_else(|| home.as_ref().map(|home| home.join(default))).filter(|path| path.is_absolute())
        };
        if let (Some(cargo), Some(rustup)) = (place("CARGO_HOME", ".cargo"), place("RUSTUP_HOME", ".rustup"))
            && cargo.join("bin").is_dir()
            && rustup.is_dir()
        {
            tools.read_only.push(ReadOnlyMount::same(cargo.join("bin")));
            tools.read_only.push(ReadOnlyMount::same(&rustup));
            for part in ["registry", "git"] {
                let host = cargo.join(part);
                if host.is_dir() {
                    tools
                        .read_only
                        .push(ReadOnlyMount { host, inside: Path::new(HOME).join(".cargo").join(part) });
                }
            }
            tools.path.push(cargo.join("bin"));
            tools.env.insert("RUSTUP_HOME".to_owned(), rustup.display().to_string());
            tools.bare_env.insert("CARGO_HOME".to_owned(), cargo.display().to_string());
        }
        for path in self.settings.read_only() {
            tools.read_only.push(ReadOnlyMount::same(path));
        }
        tools
    }

    /// The run that a word on the command line means.
    pub(crate) async fn find_run(&self, store: &Store, word: Option<&str>) -> Result<String, CliError> {
        self.find_run_where(store, word, "run", |_| true).await
    }

    /// The same, with the newest run that fits as the default.
    pub(crate) async fn find_run_where(
        &self,
        store: &Store,
        word: Option<&str>,
        what: &str,
        fits: impl Fn(&RunSummary) -> bool,
    ) -> Result<String, CliError> {
        let Some(word) = word else {
            let runs = store.runs().await.map_err(|error| from_error(Exit::Environment, &error))?;
            return runs.into_iter().find(fits).map(|run| run.id).ok_or_else(|| {
                CliError::usage(format!("there is no {what} in this project"))
                    .hint("start one with `blueprint run NAME`, or name a state folder with `--state DIR`")
            });
        };
        match store.find(word).await.map_err(|error| from_error(Exit::Environment, &error))? {
            Lookup::One(id) => Ok(id),
            Lookup::None => {
                let lost = store.lost_runs().await.map_err(|error| from_error(Exit::Environment, &error))?;
                match lost.iter().find(|run| run.id.starts_with(word)) {
                    Some(run) => Err(CliError::environment(format!(
                        "run {} had {} events, and the journal has lost it",
                        terminal::clean(&run.id),
                        run.seq
                    ))
                    .hint("bring back a copy of the state folder; `blueprint audit verify` says what else is lost")),
                    None => Err(CliError::usage(format!("there is no run `{}`", terminal::clean(word)))
                        .hint("`blueprint status` lists the runs of this project")),
                }
            }
            Lookup::Several(ids) => Err(CliError::usage(format!(
                "`{}` is the beginning of several runs: {}",
                terminal::clean(word),
                ids.join(", ")
            ))
            .hint("write more of the id")),
        }
    }
}

/// The folder that holds the project: the repository around `cwd`, or `cwd` itself.
fn project_folder(cwd: &Path, given: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(given) = given {
        let folder = cwd.join(given);
        return folder.canonicalize().ok().filter(|folder| folder.is_dir()).ok_or_else(|| {
            CliError::usage(format!("there is no folder `{}`", given.display())).hint("mend `--project`")
        });
    }
    let marks = [".git", ".blueprint", "blueprints"];
    let found = cwd
        .ancestors()
        .find(|folder| marks.iter().any(|mark| folder.join(mark).exists()) || has_settings(folder));
    Ok(found.unwrap_or(cwd).to_path_buf())
}

/// Whether the settings of a project lie here. A blueprint in a folder of its own has the same file name.
fn has_settings(folder: &Path) -> bool {
    let in_library = folder.parent().and_then(Path::file_name).is_some_and(|parent| parent == "blueprints");
    !in_library && folder.join("blueprint.toml").exists()
}

/// The hooks of the settings, which were compiled once already when these were read.
fn hooks(settings: &Resolved, environment: &BTreeMap<String, String>) -> Option<RunHooks> {
    let table = HookTable::compile(settings.hooks(), &Builtins::default()).ok()?;
    if table.is_empty() {
        return None;
    }
    let folder = user_file(environment).and_then(|file| file.parent().map(Path::to_path_buf));
    let variables = environment.clone();
    let runner = HostRunner {
        folder: folder.unwrap_or_else(|| PathBuf::from("/")),
        variables: Arc::new(move |name| variables.get(name).cloned()),
    };
    Some(RunHooks { engine: Arc::new(HookEngine::new(table)), runner: Arc::new(runner) })
}

/// SIGUSR1 has the hooks read again. Settings that are wrong replace nothing.
fn reload_on_signal(hooks: Option<RunHooks>, sources: Sources) {
    let Some(hooks) = hooks else { return };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let kind = tokio::signal::unix::SignalKind::user_defined1();
        let Ok(mut signal) = tokio::signal::unix::signal(kind) else { return };
        let mut sources = sources;
        while signal.recv().await.is_some() {
            let Some((path, _)) = sources.user.clone() else { continue };
            let read =
                read_if_there(path).map_err(|_| "the file cannot be read".to_owned()).and_then(|user| {
                    sources.user = user;
                    resolve(&sources).map_err(|errors| errors.to_string())
                });
            let table: Result<HookTable, String> = read.and_then(|settings| {
                HookTable::compile(settings.hooks(), &Builtins::default())
                    .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            });
            match table {
                Ok(table) => {
                    hooks.engine.replace(table);
                    terminal::error_line("note: the hooks were read again");
                }
                Err(why) => terminal::error_line(&format!(
                    "note: the hooks stay as they are; the new ones cannot be used: {}",
                    terminal::clean(&why)
                )),
            }
        }
    });
}

fn user_file(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let folder = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("blueprint").join("config.toml"))
}

fn read_if_there(path: PathBuf) -> Result<Option<(PathBuf, String)>, CliError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => {
            Err(CliError::environment(format!("the settings in `{}` cannot be read", path.display()))
                .because(&error))
        }
    }
}
