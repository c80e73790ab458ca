//! A project with a repository, and runs of one `edit` node on it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use blueprint_core::check::compile;
use blueprint_core::run::{Event, Failure, Success};
use blueprint_core::source::SourceSet;
use blueprint_runtime::clock::Clock;
use blueprint_runtime::drive::Patience;
use blueprint_runtime::shared::{Settings, Toolchains, Unobserved};
use blueprint_runtime::start::{Engine, NewRunOptions};
use blueprint_runtime::store::{Options, Store};
use blueprint_runtime::workspace::Dirty;
use blueprint_sandbox::{Backend, Limits};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A project.
pub(super) struct Lab {
    root: tempfile::TempDir,
}

/// How the node ended.
pub(super) type Ended = Result<Success, Failure>;

impl Lab {
    pub(super) fn new() -> Self {
        let lab = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(lab.project()).unwrap();
        lab.git(&["init", "-q", "-b", "main"]);
        lab.write("README", b"hello\n");
        lab
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn project(&self) -> PathBuf {
        self.path("project")
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.project().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn executable(&self, path: &str) {
        fs::set_permissions(self.project().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn link(&self, path: &str, target: &Path) {
        std::os::unix::fs::symlink(target, self.project().join(path)).unwrap();
    }

    /// Runs git in the project, as its user would.
    pub(super) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.project())
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs([("GIT_AUTHOR_NAME", "user"), ("GIT_AUTHOR_EMAIL", "user@localhost")])
            .envs([("GIT_COMMITTER_NAME", "user"), ("GIT_COMMITTER_EMAIL", "user@localhost")])
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Commits what the project holds and runs the edits on it.
    pub(super) fn edit(&self, edits: &str) -> Ended {
        self.edit_with(edits, "", &[], json!({}))
    }

    /// As `edit`, with more keys of the node, files beside the blueprint, and inputs.
    pub(super) fn edit_with(&self, edits: &str, keys: &str, beside: &[(&str, &str)], inputs: Value) -> Ended {
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-qm", "base", "--allow-empty"]);
        let names = inputs.as_object().unwrap().keys();
        let declared: Vec<String> = names.map(|name| format!("{name} = {{ type = \"string\" }}")).collect();
        let declared = declared.join("\n");
        let text = format!(
            "schema = 1\nname = \"edits\"\nsummary = \"Edits.\"\n[inputs]\n{declared}\n[nodes.change]\n{keys}\nedit = [{edits}]\n"
        );
        let mut sources = SourceSet::single("edits/blueprint.toml", text);
        for (name, text) in beside {
            sources.files.insert(format!("edits/{name}"), (*text).to_owned());
        }
        let checked = compile(&sources);
        let program = checked.program.unwrap_or_else(|| panic!("{:#?}", checked.findings));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let events = runtime.block_on(async {
            let state = tempfile::tempdir_in(self.root.path()).unwrap();
            let store = Arc::new(Store::open(state.path(), Options::default()).await.unwrap());
            let engine = Engine {
                store,
                project: self.project(),
                state_dir: state.path().to_owned(),
                clock: Arc::new(Clock::system()),
                settings: Settings {
                    isolation: blueprint_runtime::isolation::Isolation::same(Backend::None),
                    launcher: blueprint_sandbox::Launcher::this_program(),
                    machine: None,
                    pool: blueprint_sandbox::PoolSettings::OFF,
                    limits: Limits::default(),
                    toolchains: Toolchains::default(),
                    program: None,
                    models: None,
                    access: None,
                    outside: None,
                    private: Arc::default(),
                    authorities: None,
                    tool_paces: None,
                    hooks: None,
                },
                driver: "test".to_owned(),
                environment: BTreeMap::new(),
            };
            let id = "edit-run".to_owned();
            let new = NewRunOptions {
                id: id.clone(),
                sources,
                program,
                inputs,
                secrets: BTreeMap::new(),
                dirty: Dirty::Exclude,
                jobs: 1,
                by: "test".to_owned(),
                options: Value::Null,
            };
            let (driver, _) = engine.start(new, Arc::new(Unobserved)).await.unwrap();
            driver.drive(Patience::Stay, CancellationToken::new()).await.0.unwrap();
            let entries = engine.open_with_entries(&id).await.unwrap().entries;
            entries.into_iter().map(|entry| entry.event).collect::<Vec<_>>()
        });
        let ended = events.into_iter().find_map(|event| match event {
            Event::NodeSucceeded { success, .. } => Some(Ok(*success)),
            Event::NodeFailed { failure, .. } => Some(Err(*failure)),
            _ => None,
        });
        ended.expect("the node ended")
    }

    /// A file of the commit the node left.
    pub(super) fn left(&self, ended: &Ended, path: &str) -> String {
        let commit = ended.as_ref().unwrap().tree.as_deref().expect("the node left a tree");
        self.show(commit, path)
    }

    /// A file of a commit; runs keep their objects beside the project's.
    pub(super) fn show(&self, commit: &str, path: &str) -> String {
        self.git(&["show", &format!("{commit}:{path}")])
    }

    pub(super) fn mode(&self, ended: &Ended, path: &str) -> String {
        let commit = ended.as_ref().unwrap().tree.as_deref().unwrap();
        self.git(&["ls-tree", commit, "--", path]).split(' ').next().unwrap_or_default().to_owned()
    }
}
