//! The hostile suite: one table of attempts, run on every isolating backend and once without isolation.
//! An attempt that fails even without isolation proves nothing, so it makes its row invalid.

use std::{fmt, fs, path::Path};

use blueprint_sandbox::{Backend, Exec, ExecError, Launcher, ReadOnlyMount, Sandbox, StartError, Status};

use crate::{
    desk::{Desk, Story, launcher, limits, python, run, sh, tries},
    microvm::machine,
    scene::{Scene, is_root},
};

mod mutations;
mod rows;
mod table;

use rows::{Attempt, CALL, Control, ROWS, Row};

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing of it reached the host, and the sandbox went on.
    Contained,
    /// Nothing of it reached the host, and the whole sandbox ended, as its backend is known to.
    Ended,
    /// It worked, on a kernel that is a program of the sandbox's own, and changed nothing of the host.
    Emulated,
    /// It was seen, as its backend is known to show it, and leads nowhere.
    Shown,
    /// It worked.
    Open(String),
    /// It proves nothing.
    Invalid(String),
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Contained => "contained",
            Self::Ended => "sandbox ends",
            Self::Emulated => "own kernel",
            Self::Shown => "shown",
            Self::Open(_) => "OPEN",
            Self::Invalid(_) => "INVALID",
        })
    }
}

/// Attempts that ask a kernel for something, and get it under gVisor from a kernel that is not the host's.
const ANSWERED_BY_GVISOR: &[&str] = &[
    "trace a process",
    "write to its own entry in the process list",
    // They are rights in that kernel, and none over the machine.
    "find the first process with rights of its own",
    "find the first process without a filter of system calls",
    "find kernel settings that are not mounted read-only",
];

/// What the guest is on a kernel of its own: its rights there are none over the machine.
const ABOUT_THE_GUEST: &[&str] = &[
    "find the first process with rights of its own",
    "find the first process without a filter of system calls",
];

/// What a backend shows, by its nature. Nothing here can be acted on.
const SHOWN: &[(Backend, &str)] = &[
    // Its `/proc` has the kernel's general files.
    (Backend::Bubblewrap, "learn how the kernel was started"),
    // Only their owner's rights stand before them: they are root's.
    (Backend::Bubblewrap, "find kernel settings that are not mounted read-only"),
    // The guest is confined like its commands but for the filter, which it puts on them.
    (Backend::Process, "find the first process without a filter of system calls"),
    (Backend::Bubblewrap, "find the first process without a filter of system calls"),
];

/// Attempts at which gVisor ends as a whole: it has one group of tasks and one memory for everything inside.
const ENDS_GVISOR: &[&str] = &["fork without end", "fill memory"];

fn exec_of(row: &Row, scene: &Scene) -> Exec {
    let mut exec = match &row.attempt {
        Attempt::Shell(script) => sh(script),
        Attempt::Python(script) => python(&format!("{CALL}{script}")),
    };
    scene.reveal(&mut exec);
    exec
}

/// Makes one attempt: the story, or `None` if the sandbox ended over it.
async fn attempt(row: &Row, backend: Backend) -> (bool, Option<Story>) {
    let attempted = attempt_in(row, Scene::new(), Desk::new(backend), &launcher()).await;
    attempted.unwrap_or_else(|error| panic!("{} on {}: {error}", row.name, backend.name()))
}

/// The same around a scene and with a launcher of the caller's. `Err` if no sandbox could be started.
async fn attempt_in(
    row: &Row,
    mut scene: Scene,
    mut desk: Desk,
    launcher: &Launcher,
) -> Result<(bool, Option<Story>), StartError> {
    let backend = desk.backend;
    desk.spec.limits = (row.limits)(limits());
    let shown = if backend == Backend::None {
        scene.path("shown")
    } else {
        desk.spec.read_only.push(ReadOnlyMount { host: scene.path("shown"), inside: "/shown".into() });
        Path::new("/shown").to_owned()
    };
    let mut sandbox = Sandbox::start_with(launcher, backend, &desk.spec).await?;
    let tried = try_in(row, &mut scene, &desk, &shown, &mut sandbox).await;
    sandbox.stop().await;
    Ok(tried)
}

/// The same in a sandbox that runs.
async fn try_in(
    row: &Row,
    scene: &mut Scene,
    desk: &Desk,
    shown: &Path,
    sandbox: &mut Sandbox,
) -> (bool, Option<Story>) {
    let backend = desk.backend;
    let mut exec = exec_of(row, scene);
    exec.env.insert("SHOWN".to_owned(), shown.display().to_string());
    let story = match run(sandbox, exec).await {
        Ok(story) => Some(story),
        Err(ExecError::Died) => None,
        Err(error) => panic!("{} on {}: {error}", row.name, backend.name()),
    };
    let mut survived = story.is_some();
    if survived {
        survived = match run(sandbox, sh("echo still here")).await {
            Ok(after) => after.text() == "still here\n",
            Err(ExecError::Died) => false,
            Err(error) => panic!("after {} on {}: {error}", row.name, backend.name()),
        };
    }
    let succeeded = match &story {
        Some(story) => (row.succeeded)(scene, desk, story),
        None => false,
    };
    (succeeded, story.filter(|_| survived))
}

fn judge(row: &Row, backend: Backend, attempted: (bool, Option<Story>)) -> Found {
    let gvisor = |names: &[&str]| backend == Backend::Gvisor && names.contains(&row.name);
    let own_kernel = backend == Backend::Microvm && ABOUT_THE_GUEST.contains(&row.name);
    match attempted {
        (true, Some(_)) if own_kernel => Found::Emulated,
        (true, story) if gvisor(ANSWERED_BY_GVISOR) && story.is_some() => Found::Emulated,
        (true, Some(_)) if SHOWN.contains(&(backend, row.name)) => Found::Shown,
        (true, story) => Found::Open(format!("{story:?}")),
        (false, None) if gvisor(ENDS_GVISOR) => Found::Ended,
        (false, None) => Found::Invalid("the sandbox ended".to_owned()),
        (false, Some(story)) if matches!(story.status(), Status::NotStarted(_) | Status::TimedOut) => {
            Found::Invalid(format!("{story:?}"))
        }
        (false, Some(_)) => Found::Contained,
    }
}

async fn suite(backend: Backend) {
    let mut attempted = Vec::new();
    for row in ROWS {
        attempted.push((row, attempt(row, backend).await));
    }
    conclude(backend, attempted);
}

/// The same where starting takes long: rows that need nothing of their own share a sandbox.
async fn suite_in_few(backend: Backend) {
    let shared = Desk::new(backend);
    let mut sandbox = shared.start().await;
    let mut attempted = Vec::new();
    for row in ROWS {
        let needs_its_own = matches!(row.attempt, Attempt::Shell(script) if script.contains("SHOWN"));
        if (row.limits)(limits()) != limits() || needs_its_own {
            attempted.push((row, attempt(row, backend).await));
            continue;
        }
        for entry in fs::read_dir(shared.dir.path()).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        let tried = try_in(row, &mut Scene::new(), &shared, Path::new("/shown"), &mut sandbox).await;
        attempted.push((row, tried));
    }
    sandbox.stop().await;
    conclude(backend, attempted);
}

fn conclude(backend: Backend, attempted: Vec<(&Row, (bool, Option<Story>))>) {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for (row, attempted) in attempted {
        let verdict = judge(row, backend, attempted);
        if let Found::Open(why) | Found::Invalid(why) = &verdict {
            failures.push(format!("{verdict}: {}: {why}", row.name));
        }
        found.push((row.name, verdict.to_string()));
    }
    assert!(failures.is_empty(), "{}:\n{}", backend.name(), failures.join("\n"));
    // What an ordinary user cannot try anyway is measured by root.
    if is_root() {
        table::compare(backend, &found);
    }
}

#[tokio::test]
async fn nothing_hostile_succeeds_in_the_process_sandbox() {
    suite(Backend::Process).await;
}

#[tokio::test]
async fn nothing_hostile_succeeds_in_bubblewrap() {
    suite(Backend::Bubblewrap).await;
}

#[tokio::test]
async fn nothing_hostile_succeeds_in_a_container() {
    if tries(Backend::Container) {
        suite(Backend::Container).await;
    }
}

#[tokio::test]
async fn nothing_hostile_succeeds_under_gvisor() {
    if tries(Backend::Gvisor) {
        suite(Backend::Gvisor).await;
    }
}

#[tokio::test]
async fn nothing_hostile_succeeds_in_a_machine() {
    if machine().is_some() {
        suite_in_few(Backend::Microvm).await;
    }
}

#[tokio::test]
async fn everything_hostile_succeeds_without_isolation() {
    let mut invalid = Vec::new();
    for row in ROWS.iter().filter(|row| row.control == Control::Anyone || is_root()) {
        let (succeeded, story) = attempt(row, Backend::None).await;
        if !succeeded {
            invalid.push(format!("{}: {story:?}", row.name));
        }
    }
    assert!(invalid.is_empty(), "these rows prove nothing:\n{}", invalid.join("\n"));
}
