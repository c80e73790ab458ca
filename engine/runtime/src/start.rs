//! Runs are started, opened again and forked. What a run needs to go on is in its journal: never in files that
//! may have changed since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use blueprint_core::check::compile;
use blueprint_core::format::Workspace;
use blueprint_core::graph::Program;
use blueprint_core::run::{Adopted, Event, Inst, Payload, Phase, RunStart, SecretSource, State, Success};
use blueprint_core::source::SourceSet;
use serde_json::Value;
use thiserror::Error;

use crate::cassette::CassetteError;
use crate::clock::Clock;
use crate::crash::CrashPoint;
use crate::drive::Driver;
use crate::journal::{Entry, Journal, JournalError, LARGEST_START, decode};
use crate::payload::{PayloadError, fetch, keep};
use crate::redact::{RedactError, Redactor};
use crate::shared::{Observer, Settings, Shared};
use crate::store::{AcquireError, Break, CreateError, Identity, NewRun, Owner, ReadError, Store, Verdict};
use crate::trees::{Trees, input_commits};
use crate::workspace::{Base, BaseError, CommitId, Dirty, GitError, Repository, RepositoryError};

mod options;

pub use options::{Replayed, RunOptions, StandIn};

/// Why a run cannot be started or opened.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its blueprint does not compile with this release any more.
    #[error("the blueprint stored with run `{0}` does not compile with this release")]
    Incompatible(String),
    /// There is nothing in its journal.
    #[error("run `{0}` has an empty journal: it was cut off before it began; start it again")]
    Empty(String),
    /// Its journal does not hold what was written to it, so nothing may be done on its word.
    #[error("the journal of run `{run}` breaks at event {seq}, so the run is not taken on")]
    Broken {
        /// The run.
        run: String,
        /// The first event that is missing, altered or too many.
        seq: u64,
        /// What is wrong with it.
        #[source]
        reason: Break,
    },
    /// The run is being driven.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// It could not be entered.
    #[error("the run could not be entered in the journal")]
    Create(#[from] CreateError),
    /// Its journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A value could not be read or kept.
    #[error("a value of the run could not be read or kept")]
    Payload(#[from] PayloadError),
    /// A secret could not be read.
    #[error("the secret `{name}` could not be read from {from}")]
    Secret {
        /// Its name.
        name: String,
        /// Where it should be.
        from: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The secrets cannot be kept out of logs.
    #[error(transparent)]
    Redact(#[from] RedactError),
    /// There is no usable object database.
    #[error("the repository of the project cannot be used")]
    Repository(#[from] RepositoryError),
    /// There is nothing to start from.
    #[error("the run has nothing to start from")]
    Base(#[from] BaseError),
    /// What it was started with is not something this release can read.
    #[error("what run `{run}` was started with means nothing to this release")]
    Options {
        /// The run.
        run: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// A cassette cannot be used.
    #[error(transparent)]
    Cassette(#[from] CassetteError),
    /// The cassette that was kept with a replay is gone.
    #[error("the cassette `{0}` that the run replays is not in the content store")]
    NoCassette(String),
    /// A replay has nothing to start from.
    #[error("{0}")]
    NoBase(String),
    /// Git could not say what is in the repository.
    #[error("git could not read the repository")]
    Git(#[from] GitError),
    /// A replay is only ever itself.
    #[error("run `{0}` is a replay, and what was recorded says nothing about a fork of it")]
    ForkOfReplay(String),
    /// The node to fork from does not exist.
    #[error("run `{run}` has no node `{node}`")]
    NoNode {
        /// The run.
        run: String,
        /// The node.
        node: String,
    },
}

/// Where a project keeps its runs, and how they are run.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The journal.
    pub store: Arc<Store>,
    /// The project folder.
    pub project: PathBuf,
    /// The state folder.
    pub state_dir: PathBuf,
    /// Time.
    pub clock: Arc<Clock>,
    /// How nodes are run.
    pub settings: Settings,
    /// This process, as the journal names it.
    pub driver: String,
    /// What secrets given by environment variable are read from.
    pub environment: BTreeMap<String, String>,
}

/// What a new run is started with.
#[derive(Debug, Clone)]
pub struct NewRunOptions {
    /// Its id.
    pub id: String,
    /// The texts of the blueprint.
    pub sources: SourceSet,
    /// The compiled blueprint.
    pub program: Arc<Program>,
    /// The inputs, checked, without secrets.
    pub inputs: Value,
    /// Where secrets come from.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Whether what is not committed is part of the base.
    pub dirty: Dirty,
    /// How many nodes run at the same time.
    pub jobs: u32,
    /// Who starts it.
    pub by: String,
    /// What to know again when it is resumed.
    pub options: Value,
}

/// A run as its journal tells it.
#[derive(Debug)]
pub struct OpenedRun {
    /// The run.
    pub id: String,
    /// Everything that happened, if it was asked for.
    pub entries: Vec<Entry>,
    /// The last event, and its time in milliseconds since the Unix epoch.
    pub last: (u64, u64),
    /// What it adds up to.
    pub state: State,
    /// What the check of the journal found.
    pub verdict: Verdict,
    /// The texts of the blueprint.
    pub sources: SourceSet,
}

impl OpenedRun {
    /// Fails if the journal does not hold what was written to it. To be called before anything is done on its word.
    pub fn must_hold(&self) -> Result<(), StartError> {
        match &self.verdict {
            Verdict::Verified { .. } => Ok(()),
            Verdict::Broken { seq, reason } => {
                Err(StartError::Broken { run: self.id.clone(), seq: *seq, reason: reason.clone() })
            }
        }
    }
}

impl From<ReadError> for StartError {
    fn from(error: ReadError) -> Self {
        Self::Journal(error.into())
    }
}

/// What of the agents of a program cannot work, whatever happens before them: scripts and names of tools.
pub fn agent_trouble(program: &Program) -> Option<String> {
    program.nodes().find_map(crate::perform::trouble)
}

/// True if some node of the program sees the workspace.
pub fn needs_workspace(program: &Program) -> bool {
    program.nodes().any(|node| node.workspace != Workspace::None)
}

impl Engine {
    /// Starts a run and hands it to a driver. Returns what the run starts from, if it has a workspace.
    pub async fn start(
        &self,
        new: NewRunOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<(Driver, Option<Base>), StartError> {
        let (trees, base) = self.base(&new, self.clock.now_ms())?;
        let from = base.as_ref().map(|base| base.commit);
        let driver = self.start_from(new, trees, from, observer).await?;
        Ok((driver, base))
    }

    /// The same from a commit that was chosen already.
    pub(crate) async fn start_from(
        &self,
        new: NewRunOptions,
        trees: Option<Trees>,
        base: Option<CommitId>,
        observer: Arc<dyn Observer>,
    ) -> Result<Driver, StartError> {
        let now = self.clock.now_ms();
        let secrets = self.secrets(&new.secrets)?;
        let redactor = redactor(&secrets)?;
        let options = options_of(&new.id, &new.options)?;
        let player = self.player(&options)?;
        let sources = serde_json::to_value(&new.sources).map_err(PayloadError::from)?;
        let sources = if new.sources.files.values().map(String::len).sum::<usize>() <= LARGEST_START / 2 {
            Payload::Inline(sources)
        } else {
            keep(self.store.blobs(), sources)?
        };
        let identity = Identity {
            id: &new.id,
            blueprint: &new.program.name,
            digest: &new.program.digest,
            created_at_ms: i64::try_from(now).unwrap_or(i64::MAX),
        };
        let owner = Owner::current();
        let lease = self
            .store
            .create(NewRun { identity, status: "starting" }, &owner, i64::try_from(now).unwrap_or(i64::MAX))
            .await?;
        let start = RunStart {
            blueprint: new.program.name.clone(),
            digest: new.program.digest.clone(),
            sources,
            inputs: inputs_with_secrets(&new.inputs, &new.secrets),
            secrets: new.secrets,
            base: base.map(|commit| commit.to_string()),
            dirty_included: new.dirty == Dirty::Include,
            jobs: new.jobs,
            by: new.by,
            forked_from: None,
            options: new.options,
        };
        let (settings, observer) = self.playing(player, observer);
        let world = World { settings, stand_ins: options.models, observer };
        let shared = self.shared(&new.id, &new.program, secrets, redactor, trees, world);
        let state = State::new(Arc::clone(&new.program));
        let mut driver = Driver::new(Arc::new(shared), Journal::new(lease, 0), state, 0);
        driver.crash_at(CrashPoint::of(&self.environment));
        driver.tell(Event::RunStarted(Box::new(start)));
        driver.tell(self.driver_started());
        self.sweep(&new.id);
        Ok(driver)
    }

    /// Reads a run without driving it, and without its entries. Whether its journal holds what was written stands in
    /// the verdict.
    pub async fn open(&self, id: &str) -> Result<OpenedRun, StartError> {
        self.replay_events(id, |_| {}).await
    }

    /// The same with all entries, for those who tell the whole story.
    pub async fn open_with_entries(&self, id: &str) -> Result<OpenedRun, StartError> {
        let mut entries = Vec::new();
        let opened = self.replay_events(id, |entry| entries.push(entry)).await?;
        Ok(OpenedRun { entries, ..opened })
    }

    /// Folds the events while they are read, so that they are not all held at once.
    async fn replay_events(&self, id: &str, mut each: impl FnMut(Entry)) -> Result<OpenedRun, StartError> {
        let mut begun: Option<(SourceSet, State)> = None;
        let mut last = (0, 0);
        let read = self
            .store
            .replay(id, |stored| {
                let entry = decode(&stored)?;
                drop(stored);
                let (_, state) = match &mut begun {
                    Some(begun) => begun,
                    None => begun.insert(self.begin(id, &entry.event)?),
                };
                state.fold(entry.at_ms, &entry.event);
                last = (entry.seq, entry.at_ms);
                each(entry);
                Ok::<(), StartError>(())
            })
            .await;
        let verdict = match read {
            Ok(verdict) => verdict,
            // An event that makes no sense may be one that was altered.
            Err(error) => match self.store.verify(id).await {
                Ok(Verdict::Broken { seq, reason }) => {
                    return Err(StartError::Broken { run: id.to_owned(), seq, reason });
                }
                _ => return Err(error),
            },
        };
        match (begun, verdict) {
            (Some((sources, state)), verdict) => {
                Ok(OpenedRun { id: id.to_owned(), entries: Vec::new(), last, state, verdict, sources })
            }
            (None, Verdict::Verified { .. }) => Err(StartError::Empty(id.to_owned())),
            (None, Verdict::Broken { seq, reason }) => {
                Err(StartError::Broken { run: id.to_owned(), seq, reason })
            }
        }
    }

    /// The texts and the first state of a run, by its first event.
    fn begin(&self, id: &str, first: &Event) -> Result<(SourceSet, State), StartError> {
        let Event::RunStarted(start) = first else { return Err(StartError::Empty(id.to_owned())) };
        let sources: SourceSet =
            serde_json::from_value(fetch(self.store.blobs(), &start.sources)?).map_err(PayloadError::from)?;
        let program = compile(&sources).program.ok_or_else(|| StartError::Incompatible(id.to_owned()))?;
        Ok((sources, State::new(program)))
    }

    /// Takes over a run that nobody drives.
    pub async fn resume(&self, id: &str, observer: Arc<dyn Observer>) -> Result<Driver, StartError> {
        let now = i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX);
        let lease = self.store.acquire(id, &Owner::current(), now).await?;
        // Read only now: whoever held the lease before may have written until it was taken.
        let read = self.open(id).await.and_then(|opened| opened.must_hold().map(|()| opened));
        let opened = match read {
            Ok(opened) => opened,
            Err(error) => {
                // The error that matters is the first one; a lease that stays is taken over later.
                drop(self.store.release(lease).await);
                return Err(error);
            }
        };
        let (seq, last_ms) = opened.last;
        self.clock.not_before(last_ms);
        let secrets = self.secrets(opened.state.start().map_or(&BTreeMap::new(), |start| &start.secrets))?;
        let redactor = redactor(&secrets)?;
        let options = options_of(id, opened.state.start().map_or(&Value::Null, |start| &start.options))?;
        let player = self.player(&options)?;
        if let Some(player) = &player {
            // What was played so far is not played again.
            self.replay_events(id, |entry| player.heard(&entry.event)).await?;
        }
        let (settings, observer) = self.playing(player, observer);
        let world = World { settings, stand_ins: options.models, observer };
        let program = Arc::clone(opened.state.program());
        let trees = if opened.state.start().is_some_and(|start| start.base.is_some()) {
            Some(self.trees(id, &program)?)
        } else {
            None
        };
        let shared = self.shared(id, &program, secrets, redactor, trees, world);
        let mut driver = Driver::new(Arc::new(shared), Journal::new(lease, seq), opened.state, seq);
        driver.crash_at(CrashPoint::of(&self.environment));
        driver.tell(self.driver_started());
        driver.recover();
        self.sweep(id);
        Ok(driver)
    }

    /// Starts a run that takes over the outcomes of another up to, but not including, `from` and what is behind it.
    pub async fn fork(
        &self,
        parent: &OpenedRun,
        from: &str,
        new_id: &str,
        by: &str,
        observer: Arc<dyn Observer>,
    ) -> Result<Driver, StartError> {
        parent.must_hold()?;
        let no_node = || StartError::NoNode { run: parent.id.clone(), node: from.to_owned() };
        let old = &parent.state;
        let first = old.at(from).filter(|inst| old.instance(*inst).scope == 0).ok_or_else(no_node)?;
        let mut again = std::collections::BTreeSet::new();
        let mut next = vec![old.instance(first).node];
        while let Some(node) = next.pop() {
            if again.insert(node) {
                next.extend(old.program().root().behind(node).map(|(other, _)| other));
            }
        }
        let Some(start) = old.start() else { return Err(no_node()) };
        let options = options_of(&parent.id, &start.options)?;
        if options.replay.is_some() {
            return Err(StartError::ForkOfReplay(parent.id.clone()));
        }
        let world = World { settings: self.settings.clone(), stand_ins: options.models, observer };
        let now = self.clock.now_ms();
        let secrets = self.secrets(&start.secrets)?;
        let redactor = redactor(&secrets)?;
        let program = Arc::clone(old.program());
        let trees = if start.base.is_some() { Some(self.trees(new_id, &program)?) } else { None };
        let identity = Identity {
            id: new_id,
            blueprint: &start.blueprint,
            digest: &start.digest,
            created_at_ms: i64::try_from(now).unwrap_or(i64::MAX),
        };
        let lease = self
            .store
            .create(
                NewRun { identity, status: "starting" },
                &Owner::current(),
                i64::try_from(now).unwrap_or(i64::MAX),
            )
            .await?;
        let shared = self.shared(new_id, &program, secrets, redactor, trees, world);
        let state = State::new(Arc::clone(&program));
        let mut driver = Driver::new(Arc::new(shared), Journal::new(lease, 0), state, 0);
        driver.crash_at(CrashPoint::of(&self.environment));
        let forked = RunStart { forked_from: Some(parent.id.clone()), by: by.to_owned(), ..start.clone() };
        driver.tell(Event::RunStarted(Box::new(forked)));
        driver.tell(self.driver_started());
        for (inst, instance) in old.instances().filter(|(_, instance)| instance.scope == 0) {
            if again.contains(&instance.node) {
                continue;
            }
            let adopted = match instance.phase {
                Phase::Succeeded => Adopted::Succeeded(success_of(old, inst)),
                Phase::Skipped => Adopted::Skipped,
                _ => continue,
            };
            driver.tell(Event::NodeAdopted { node: instance.path.clone(), adopted: Box::new(adopted) });
        }
        self.sweep(new_id);
        Ok(driver)
    }

    /// What dead processes left goes, once the run has begun and without it waiting.
    fn sweep(&self, run: &str) {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        crate::sweep::begin(store, clock, self.settings.launcher.clone(), &self.state_dir, run);
    }

    fn driver_started(&self) -> Event {
        Event::DriverStarted {
            driver: self.driver.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            isolation: self.settings.isolation.recorded(),
            images: self.settings.isolation.images().recorded(),
        }
    }

    pub(crate) fn trees(&self, run: &str, program: &Arc<Program>) -> Result<Trees, StartError> {
        let repository = Repository::discover(&self.project, &self.state_dir)?;
        Ok(Trees::new(repository, &self.state_dir, run, Arc::clone(program)))
    }

    fn base(&self, new: &NewRunOptions, now: u64) -> Result<(Option<Trees>, Option<Base>), StartError> {
        if !needs_workspace(&new.program) {
            return Ok((None, None));
        }
        let trees = self.trees(&new.id, &new.program)?;
        let base = trees.repository().base(new.dirty, now)?;
        Ok((Some(trees), Some(base)))
    }

    fn secrets(
        &self,
        sources: &BTreeMap<String, SecretSource>,
    ) -> Result<BTreeMap<String, String>, StartError> {
        let mut secrets = BTreeMap::new();
        for (name, source) in sources {
            let missing = |from: String, source| StartError::Secret { name: name.clone(), from, source };
            let value = match source {
                SecretSource::Env(variable) => self.environment.get(variable).cloned().ok_or_else(|| {
                    missing(
                        format!("the environment variable `{variable}`"),
                        std::io::ErrorKind::NotFound.into(),
                    )
                })?,
                SecretSource::File(path) => std::fs::read_to_string(Path::new(path))
                    .map_err(|source| missing(format!("the file `{path}`"), source))?
                    .trim_end_matches(['\n', '\r'])
                    .to_owned(),
            };
            secrets.insert(name.clone(), value);
        }
        Ok(secrets)
    }

    fn shared(
        &self,
        run: &str,
        program: &Arc<Program>,
        secrets: BTreeMap<String, String>,
        redactor: Redactor,
        trees: Option<Trees>,
        world: World,
    ) -> Shared {
        let trees =
            trees.map(|trees| if secrets.is_empty() { trees } else { trees.guarding(redactor.clone()) });
        Shared {
            run: run.to_owned(),
            program: Arc::clone(program),
            store: Arc::clone(&self.store),
            project: self.project.clone(),
            state_dir: self.state_dir.clone(),
            clock: Arc::clone(&self.clock),
            pool: blueprint_sandbox::Pool::new(world.settings.pool),
            settings: world.settings,
            stand_ins: world.stand_ins,
            secrets,
            redactor,
            trees,
            observer: world.observer,
            attested: crate::isolation::Attested::default(),
            kept: crate::perform::Kept::default(),
            http: OnceLock::new(),
        }
    }
}

/// What is around a run: what it acts with, who answers in place of models, who watches.
struct World {
    settings: Settings,
    stand_ins: BTreeMap<String, StandIn>,
    observer: Arc<dyn Observer>,
}

fn options_of(run: &str, options: &Value) -> Result<RunOptions, StartError> {
    RunOptions::of(options).map_err(|source| StartError::Options { run: run.to_owned(), source })
}

/// What a node made, with the tree it really left: in another run its needs may not be there to pass it on.
fn success_of(state: &State, inst: Inst) -> Success {
    let instance = state.instance(inst);
    let passed = || match input_commits(state, inst).as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    };
    Success {
        outputs: instance.outputs.clone(),
        tree: instance.tree.as_deref().map(str::to_owned).or_else(passed),
        record: instance.record.clone(),
    }
}

/// The inputs as they are journalled: secrets stand there by their names.
fn inputs_with_secrets(inputs: &Value, secrets: &BTreeMap<String, SecretSource>) -> Value {
    let mut inputs = inputs.clone();
    if let Value::Object(inputs) = &mut inputs {
        for name in secrets.keys() {
            inputs.insert(name.clone(), serde_json::json!({ crate::scope::SECRET_KEY: name }));
        }
    }
    inputs
}

fn redactor(secrets: &BTreeMap<String, String>) -> Result<Redactor, RedactError> {
    let pairs: Vec<(&String, &String)> = secrets.iter().collect();
    Redactor::new(&pairs)
}
