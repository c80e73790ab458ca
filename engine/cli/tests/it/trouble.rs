//! Trouble with the machine: a clear word, nothing lost, and a run that goes on once the trouble is over.

use std::path::Path;

use super::lab::{Lab, Said, wait_for_orphans, wait_until};

const GATED: &str = r#"
[defaults]
shell = "sh"

[nodes.before]
run = 'echo before > before; seq 1 100'

[nodes.review]
needs = ["before"]
gate  = {}

[nodes.after]
needs = ["review"]
run   = 'cp before after; seq 1 100000'
"#;

fn waiting() -> (Lab, String) {
    let lab = Lab::in_git();
    lab.blueprint("gated", GATED);
    lab.say(&["run", "gated", "--sandbox", "none"]).ends(75);
    let run = lab.run();
    (lab, run)
}

fn finish(lab: &Lab, run: &str) {
    if lab.status(run)["status"] == "waiting" {
        lab.say(&["approve", run, "--resume", "--sandbox", "none"]).ends(0);
    } else {
        lab.say(&["resume", run, "--sandbox", "none"]).ends(0);
    }
    assert_eq!(lab.status(run)["status"], "succeeded");
    assert!(lab.diff(run).contains("b/after"));
    lab.verify(run);
}

#[track_caller]
fn is_clear(said: &Said) {
    assert_eq!(said.status.code(), Some(3), "{said}");
    assert!(said.err.starts_with("error: ") || said.err.contains("\nerror: "), "{said}");
    assert!(!said.err.contains("panicked"), "{said}");
}

#[test]
fn a_deleted_checkout_is_made_again() {
    let (lab, run) = waiting();
    std::fs::remove_dir_all(lab.state().join("work")).unwrap();
    finish(&lab, &run);
}

#[test]
fn a_checkout_that_was_changed_while_nobody_looked_is_brought_back() {
    let (lab, run) = waiting();
    for entry in std::fs::read_dir(lab.state().join("work").join(&run)).unwrap().flatten() {
        if entry.path().join("before").exists() {
            std::fs::write(entry.path().join("before"), "forged\n").unwrap();
            std::fs::write(entry.path().join("extra"), "forged\n").unwrap();
        }
    }
    finish(&lab, &run);
    let diff = lab.diff(&run);
    assert!(!diff.contains("forged"), "{diff}");
}

#[test]
fn everything_that_can_be_made_again_is_made_again() {
    let (lab, run) = waiting();
    for name in ["work", "live"] {
        drop(std::fs::remove_dir_all(lab.state().join(name)));
    }
    drop(std::fs::remove_file(lab.state().join("sandbox.json")));
    finish(&lab, &run);
}

#[test]
fn a_state_folder_that_is_a_file_is_named() {
    let lab = Lab::in_git();
    lab.blueprint("gated", GATED);
    let file = lab.beside("state");
    std::fs::write(&file, "a file").unwrap();
    let said = lab.say(&["run", "gated", "--sandbox", "none", "--state", &file.display().to_string()]);
    is_clear(&said);
    said.mentions("state").mentions("--state DIR");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "a file");
}

/// Mounts something for the time of a test. `None` where the machine does not let us, which the test then says.
pub(super) struct Mount(std::path::PathBuf);

#[expect(clippy::print_stderr, reason = "a test that tests nothing says so")]
pub(super) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

impl Mount {
    pub(super) fn of(place: &Path, args: &[&str]) -> Option<Self> {
        let done = std::process::Command::new("mount").args(args).arg(place).output().ok()?;
        if done.status.success() {
            return Some(Self(place.to_path_buf()));
        }
        skipped(&format!("this machine does not let us mount: {}", String::from_utf8_lossy(&done.stderr)));
        None
    }

    pub(super) fn again(&self, options: &str) {
        let done = std::process::Command::new("mount").args(["-o", options]).arg(&self.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[test]
fn a_state_folder_that_cannot_be_written_loses_nothing() {
    let lab = Lab::in_git();
    lab.blueprint("gated", GATED);
    std::fs::create_dir_all(lab.state()).unwrap();
    let Some(mount) = Mount::of(&lab.state(), &["-t", "tmpfs", "-o", "size=64m", "none"]) else { return };
    mount.again("remount,ro");
    let said = lab.say(&["run", "gated", "--sandbox", "none"]);
    is_clear(&said);
    said.mentions("--state DIR");
    mount.again("remount,rw");
    lab.say(&["run", "gated", "--sandbox", "none"]).ends(75);
    let run = lab.run();
    mount.again("remount,ro");
    for asked in
        [&["resume", &run][..], &["approve", &run], &["approve", &run, "--resume"], &["cancel", &run]]
    {
        let said =
            lab.say(&[asked, if asked[0] == "cancel" { &[][..] } else { &["--sandbox", "none"] }].concat());
        is_clear(&said);
    }
    mount.again("remount,rw");
    finish(&lab, &run);
}

#[test]
fn a_full_disk_stops_a_run_that_goes_on_when_there_is_room() {
    let lab = Lab::in_git();
    lab.blueprint("gated", GATED);
    std::fs::create_dir_all(lab.state()).unwrap();
    let Some(_mount) = Mount::of(&lab.state(), &["-t", "tmpfs", "-o", "size=8m", "none"]) else { return };
    lab.say(&["run", "gated", "--sandbox", "none"]).ends(75);
    let run = lab.run();
    let events = lab.events(&run);
    let filler = lab.state().join("filler");
    // To the last byte.
    let mut file = std::fs::File::create(&filler).unwrap();
    let block = vec![b'x'; 4096];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    drop(file);
    let said = lab.say(&["approve", &run, "--resume", "--sandbox", "none"]);
    // Either the approval could not be left, or the run stopped behind it: both are said, neither ends the run.
    assert!(matches!(said.status.code(), Some(1 | 3)), "{said}");
    assert!(!said.err.contains("panicked"), "{said}");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(lab.events(&run)[..events.len()], events, "what was on record is lost");
    if lab.status(&run)["status"] == "failed" {
        lab.say(&["retry", &run, "after", "--sandbox", "none"]).ends(0);
        lab.verify(&run);
    } else {
        finish(&lab, &run);
    }
}

#[test]
fn a_disk_that_fills_up_in_the_middle_loses_nothing() {
    let lab = Lab::in_git();
    lab.blueprint(
        "filling",
        r#"
[inputs]
state = { type = "string" }

[defaults]
shell = "sh"

[nodes.before]
run = 'echo before > before'

# Takes all the room there is, as any other process might.
[nodes.fill]
needs = ["before"]
run   = 'dd if=/dev/zero of="$STATE/filler" bs=4096 2>/dev/null || true; seq 1 200000'
env   = { STATE = "inputs.state" }

[nodes.after]
needs = ["fill"]
run   = 'cp before after'
"#,
    );
    std::fs::create_dir_all(lab.state()).unwrap();
    let Some(_mount) = Mount::of(&lab.state(), &["-t", "tmpfs", "-o", "size=8m", "none"]) else { return };
    let input = format!("state={}", lab.state().display());
    let said = lab.say(&["run", "filling", "--sandbox", "none", "-i", &input]);
    assert!(matches!(said.status.code(), Some(1 | 3)), "{said}");
    assert!(!said.err.contains("panicked"), "{said}");
    std::fs::remove_file(lab.state().join("filler")).unwrap();
    let run = lab.run();
    lab.verify(&run);
    // It can be read, and what was done before the disk was full is still there.
    assert_eq!(lab.phase(&run, "before"), "succeeded");
}

#[test]
fn a_changed_byte_of_the_journal_is_found_and_named() {
    let (lab, run) = waiting();
    let other = run.clone();
    lab.say(&["run", "gated", "--sandbox", "none"]).ends(75);
    let run = lab.run();
    // Everything into the one file, as a backup or a copy would have it.
    move_log_into_file(&lab.state());
    let path = lab.state().join("journal.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = run.as_bytes();
    // In the body of an event of the second run: the subject of its gate.
    let subject = lab.show(&run, "review")["subject"].as_str().unwrap().to_owned();
    let mut changed = 0;
    while let Some(at) = find(&bytes, subject.as_bytes()) {
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        changed += 1;
    }
    assert!(changed > 0 && find(&bytes, needle).is_some());
    move_log_into_file(&lab.state());
    std::fs::write(&path, &bytes).unwrap();
    let said = lab.say(&["audit", "verify", &run]).ends(1).mentions("does not hold what was written");
    assert!(said.out.contains("broken at event"), "{said}");
    lab.say(&["approve", &run, "--resume", "--sandbox", "none"]);
    assert_ne!(lab.say(&["audit", "verify", &run]).status.code(), Some(0));
    // The other runs of the project are not affected.
    lab.verify(&other);
    finish(&lab, &other);
}

fn move_log_into_file(state: &Path) {
    use blueprint_runtime::store::{Options, Store};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Store::open(state, Options::default()).await.unwrap().close().await.unwrap() });
    assert!(std::fs::metadata(state.join("journal.db-wal")).map_or(0, |log| log.len()) == 0);
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn a_journal_that_is_no_journal_is_named_and_kept() {
    let (lab, run) = waiting();
    let path = lab.state().join("journal.db");
    let garbage = vec![0x5a; 8192];
    std::fs::write(&path, &garbage).unwrap();
    for name in ["journal.db-wal", "journal.db-shm"] {
        drop(std::fs::remove_file(lab.state().join(name)));
    }
    let said = lab.say(&["resume", &run, "--sandbox", "none"]);
    is_clear(&said);
    said.mentions("journal.db");
    assert_eq!(std::fs::read(&path).unwrap(), garbage, "what could still be examined was overwritten");
}

#[test]
fn content_that_was_lost_is_named_and_the_run_goes_on_when_it_is_back() {
    let lab = Lab::in_git();
    lab.blueprint(
        "large",
        r#"
[nodes.large]
run    = '''printf '{"text": "'; head -c 50000 /dev/zero | tr '\0' x; printf '"}' '''
shell  = "sh"
output = { text = "string" }
[nodes.review]
needs = ["large"]
gate  = {}
[nodes.use]
needs = ["review"]
run   = "wc -c"
stdin = "{{ nodes.large.text }}"
"#,
    );
    lab.say(&["run", "large", "--sandbox", "none"]).ends(75);
    let run = lab.run();
    let blobs = lab.state().join("blobs");
    let away = lab.beside("blobs");
    std::fs::rename(&blobs, &away).unwrap();
    let said = lab.say(&["approve", &run, "--resume", "--sandbox", "none"]);
    assert!(!matches!(said.status.code(), Some(0)), "{said}");
    assert!(!said.err.contains("panicked"), "{said}");
    drop(std::fs::remove_dir_all(&blobs));
    std::fs::rename(&away, &blobs).unwrap();
    let status = lab.status(&run)["status"].clone();
    match status.as_str().unwrap() {
        "waiting" => lab.say(&["approve", &run, "--resume", "--sandbox", "none"]).ends(0),
        "failed" => lab.say(&["retry", &run, "use", "--sandbox", "none"]).ends(0),
        _ => lab.say(&["resume", &run, "--sandbox", "none"]).ends(0),
    };
    lab.verify(&run);
}

#[test]
fn a_repository_that_is_gone_is_said_and_the_run_goes_on_when_it_is_back() {
    let (lab, run) = waiting();
    let (git, away) = (lab.project().join(".git"), lab.beside("git"));
    std::fs::rename(&git, &away).unwrap();
    let events = lab.events(&run);
    let said = lab.say(&["approve", &run, "--resume", "--sandbox", "none"]);
    assert!(matches!(said.status.code(), Some(1 | 3)), "{said}");
    assert!(!said.err.contains("panicked"), "{said}");
    std::fs::rename(&away, &git).unwrap();
    assert_eq!(lab.events(&run)[..events.len()], events);
    match lab.status(&run)["status"].as_str().unwrap() {
        "failed" => lab.say(&["retry", &run, "after", "--sandbox", "none"]).ends(0),
        "waiting" => lab.say(&["approve", &run, "--resume", "--sandbox", "none"]).ends(0),
        _ => lab.say(&["resume", &run, "--sandbox", "none"]).ends(0),
    };
    assert!(lab.diff(&run).contains("b/after"));
    lab.verify(&run);
}

#[test]
fn a_blueprint_that_is_changed_or_gone_does_not_change_a_run() {
    let (lab, run) = waiting();
    lab.write(
        "blueprints/gated/blueprint.toml",
        &format!("schema = 1\nname = \"gated\"\n{}", GATED.replace("cp before after", "touch evil")),
    );
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(75);
    std::fs::remove_dir_all(lab.project().join("blueprints")).unwrap();
    finish(&lab, &run);
    assert!(!lab.diff(&run).contains("evil"));
}

#[test]
fn a_project_that_was_moved_goes_on_in_its_new_place() {
    let (lab, run) = waiting();
    let moved = lab.beside("moved");
    std::fs::rename(lab.project(), &moved).unwrap();
    let folder = moved.display().to_string();
    let mut command =
        lab.command(["-C", folder.as_str(), "approve", run.as_str(), "--resume", "--sandbox", "none"]);
    command.current_dir(&moved);
    super::lab::Running::start(command).end().ends(0);
}

#[test]
fn a_project_folder_that_is_gone_is_said() {
    let (lab, _) = waiting();
    let mut command = lab.command(["status"]);
    let gone = lab.beside("gone");
    std::fs::create_dir(&gone).unwrap();
    // The shell stands in a folder that is removed before the program starts.
    let program = command.get_program().to_owned();
    command = std::process::Command::new("sh");
    command
        .args(["-c", "rmdir \"$PWD\"; exec \"$0\" status"])
        .arg(program)
        .current_dir(&gone)
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    let said = super::lab::Running::start(command).end();
    is_clear(&said);
    said.mentions("current folder");
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_a_run() {
    let lab = Lab::in_git();
    // Behind the gate there is a pause, which must not last until the clock has caught up.
    lab.blueprint(
        "gated",
        &GATED.replace("needs = [\"before\"]", "needs = [\"before\", \"pause\"]").replace(
            "[nodes.review]",
            "[nodes.pause]\nneeds = [\"before\"]\nwait = \"10ms\"\n\n[nodes.review]",
        ),
    );
    let run = start_two_days_ahead(&lab, "gated");
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(75);
    finish(&lab, &run);
    let times: Vec<u64> = lab.events(&run).iter().map(|event| event["at_ms"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

/// Starts a run as a machine would whose clock is wrong, and lets it be killed at its first event.
fn start_two_days_ahead(lab: &Lab, name: &str) -> String {
    use blueprint_runtime::drive::Patience;
    use blueprint_runtime::shared::{Settings, Toolchains, Unobserved};
    use blueprint_runtime::start::{Engine, NewRunOptions};
    use blueprint_runtime::store::{Options, Store};
    use std::sync::Arc;

    let id = "01a1fab6b90571f382b47c92dde9a0e2".to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = blueprint_runtime::clock::Clock::system();
        clock.not_before(clock.now_ms() + 2 * 86_400_000);
        let engine = Engine {
            store: Arc::new(Store::open(&lab.state(), Options::default()).await.unwrap()),
            project: lab.project(),
            state_dir: lab.state(),
            clock: Arc::new(clock),
            settings: Settings {
                isolation: blueprint_runtime::isolation::Isolation::same(blueprint_sandbox::Backend::None),
                launcher: blueprint_sandbox::Launcher::this_program(),
                machine: None,
                pool: blueprint_sandbox::PoolSettings::OFF,
                limits: blueprint_sandbox::Limits::default(),
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
            driver: "a test".to_owned(),
            environment: std::collections::BTreeMap::new(),
        };
        let sources = blueprint_runtime::load::load(&lab.project(), &lab.project(), name).unwrap();
        let program = blueprint_core::check::compile(&sources).program.unwrap();
        let new = NewRunOptions {
            id: id.clone(),
            sources,
            program,
            inputs: serde_json::json!({}),
            secrets: std::collections::BTreeMap::new(),
            dirty: blueprint_runtime::workspace::Dirty::Exclude,
            jobs: 1,
            by: "ada".to_owned(),
            options: serde_json::json!({ "sandbox": "none" }),
        };
        let (driver, _) = engine.start(new, Arc::new(Unobserved)).await.unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        stop.cancel();
        let (end, journal, _) = driver.drive(Patience::Leave, stop).await;
        end.unwrap();
        engine.store.release(journal.into_lease()).await.unwrap();
    });
    id
}

#[test]
fn a_driver_that_was_killed_is_replaced_at_once() {
    let lab = Lab::in_git();
    lab.blueprint(
        "lasting",
        "[inputs]\nflag = { type = \"string\" }\n[nodes.long]\nshell = \"sh\"\nenv = { FLAG = \"inputs.flag\" }\n\
         run = 'echo begun; until test -e \"$FLAG\"; do sleep 0.02; done'\n",
    );
    let flag = lab.beside("flag");
    let mut driver =
        lab.start(&["run", "lasting", "--sandbox", "none", "-i", &format!("flag={}", flag.display())]);
    driver.wait_for_err("| begun");
    let run = lab.run();
    driver.signal(rustix::process::Signal::KILL);
    driver.end();
    assert_eq!(lab.status(&run)["status"], "stopped");
    std::fs::write(&flag, "").unwrap();
    wait_for_orphans(&run);
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(0).mentions("was cut off when its process died");
}

#[test]
fn in_a_sandbox_nothing_outlives_a_driver_that_was_killed() {
    let lab = Lab::in_git();
    lab.blueprint(
        "lasting",
        "[nodes.long]\nshell = \"sh\"\nrun = 'trap \"\" TERM HUP; echo begun; sleep 600 & sleep 600; wait'\n",
    );
    let mut driver = lab.start(&["run", "lasting"]);
    driver.wait_for_err("| begun");
    let run = lab.run();
    driver.signal(rustix::process::Signal::KILL);
    driver.end();
    wait_for_orphans(&run);
    wait_until("the run can be ended", || lab.say(&["cancel", &run]).status.success().then_some(()));
}

#[test]
fn a_program_that_is_replaced_while_it_runs_goes_on() {
    let lab = Lab::in_git();
    lab.blueprint("two", "[nodes.first]\nrun = \"echo begun\"\n[nodes.pause]\nneeds = [\"first\"]\nwait = \"300ms\"\n[nodes.second]\nneeds = [\"pause\"]\nrun = \"true\"\n");
    let copy = lab.beside("program");
    std::fs::copy(env!("CARGO_BIN_EXE_blueprint"), &copy).unwrap();
    let mut command = std::process::Command::new(&copy);
    command
        .args(["run", "two"])
        .current_dir(lab.project())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", lab.beside("home"));
    let mut driver = super::lab::Running::start(command);
    driver.wait_for_err("| begun");
    std::fs::remove_file(&copy).unwrap();
    driver.end().ends(0);
}
