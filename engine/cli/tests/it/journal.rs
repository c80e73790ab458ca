//! The journal is damaged, cut or altered behind the program's back, or can only be read: what is left is said, shown
//! and saved, and nothing is done on the word of a record that does not hold.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::lab::{Lab, Said, wait_until};
use super::trouble::Mount;

/// A gate between two nodes that leave a mark outside of everything the program controls.
const MARKED: &str = r#"
[inputs]
counter = { type = "string" }

[defaults]
shell = "sh"

[nodes.before]
env = { COUNTER = "inputs.counter" }
run = 'echo before >> "$COUNTER"; echo before > before'

[nodes.review]
needs = ["before"]
gate  = {}

[nodes.after]
needs = ["review"]
env   = { COUNTER = "inputs.counter" }
run   = 'echo after >> "$COUNTER"; cp before after'
"#;

const PAGE: usize = 4096;

struct Place {
    lab: Lab,
    counter: PathBuf,
}

impl Place {
    fn new() -> Self {
        let lab = Lab::in_git();
        lab.blueprint("marked", MARKED);
        let counter = lab.beside("counter");
        Self { lab, counter }
    }

    /// The arguments that start a run.
    fn start(&self) -> Vec<String> {
        let input = format!("counter={}", self.counter.display());
        ["run", "marked", "--sandbox", "none", "-i", &input].map(str::to_owned).to_vec()
    }

    /// Starts a run that waits at its gate.
    fn waiting(&self) -> String {
        let start = self.start();
        self.lab.say(&start.iter().map(String::as_str).collect::<Vec<_>>()).ends(75);
        self.lab.run()
    }

    fn marks(&self) -> String {
        std::fs::read_to_string(&self.counter).unwrap_or_default()
    }

    fn journal(&self) -> PathBuf {
        self.lab.state().join("journal.db")
    }

    fn log(&self) -> PathBuf {
        self.lab.state().join("journal.db-wal")
    }
}

/// Brings everything into the one file, as the last process to close it does.
fn settle(state: &Path) {
    use blueprint_runtime::store::{Options, Store};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Store::open(state, Options::default()).await.unwrap().close().await.unwrap() });
    assert_eq!(std::fs::metadata(state.join("journal.db-wal")).map_or(0, |log| log.len()), 0);
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// The environment is broken, and that is said without a panic.
#[track_caller]
fn refused(said: Said) -> Said {
    assert!(!said.err.contains("panicked"), "{said}");
    said.ends(3)
}

/// Many small nodes, so that the events of one run fill pages of their own.
fn long(lab: &Lab, name: &str) {
    let node = |number: u32| format!("[nodes.n{number}]\nwait = \"0s\"\n");
    let nodes = (0..60).map(node).collect::<Vec<_>>().concat();
    let needs: Vec<String> = (0..60).map(|number| format!("\"n{number}\"")).collect();
    let text = format!(
        "[defaults]\nworkspace = \"none\"\n{nodes}[nodes.review]\nneeds = [{}]\ngate = {{}}\n\
         [nodes.last]\nneeds = [\"review\"]\nshell = \"sh\"\nrun = \"echo at the end\"\n",
        needs.join(", ")
    );
    lab.blueprint(name, &text);
}

/// Overwrites a page that holds events of `run` and of no other, from the middle of them.
fn damage_a_page_of(journal: &Path, run: &str, others: &[&str]) {
    let mut bytes = std::fs::read(journal).unwrap();
    let pages: Vec<usize> = bytes
        .chunks(PAGE)
        .enumerate()
        .filter(|(number, page)| {
            *number > 0
                && find(page, run.as_bytes()).is_some()
                && !others.iter().any(|other| find(page, other.as_bytes()).is_some())
        })
        .map(|(number, _)| number)
        .collect();
    assert!(pages.len() > 4, "the events of {run} fill only the pages {pages:?}");
    let at = pages[pages.len() / 2] * PAGE;
    bytes[at..at + PAGE].fill(0xa5);
    std::fs::write(journal, bytes).unwrap();
}

#[test]
fn damaged_pages_are_named_and_the_runs_on_intact_pages_come_back() {
    let lab = Lab::in_git();
    long(&lab, "long");
    let runs: Vec<String> = (0..3)
        .map(|_| {
            lab.say(&["run", "long", "--sandbox", "none"]).ends(75);
            lab.run()
        })
        .collect();
    let [first, damaged, last] = [&runs[0], &runs[1], &runs[2]];
    let events = lab.events(first);
    let before = lab.events(damaged).len();
    settle(&lab.state());
    let journal = lab.state().join("journal.db");
    damage_a_page_of(&journal, damaged, &[first, last]);
    let bytes = std::fs::read(&journal).unwrap();

    // Whoever meets the damage is told the file, the damage, what is left of it, and what to type.
    let said = refused(lab.say(&["resume", damaged, "--sandbox", "none"]));
    said.clone().mentions("journal.db").mentions("blueprint audit salvage --to FOLDER");
    assert!(said.err.contains("of 3 runs 2 can be saved whole and 1 in part"), "{said}");
    assert!(said.err.contains("page"), "the damage is not named: {said}");

    let listed = lab.say(&["audit", "salvage", "--format", "json"]).ends(0).json_lines();
    assert_eq!(listed.len(), 3);
    let of = |run: &str| listed.iter().find(|line| line["run"] == run).unwrap();
    assert_eq!((of(first)["whole"].clone(), of(last)["whole"].clone()), (true.into(), true.into()));
    let kept = of(damaged)["events"].as_u64().unwrap();
    assert_eq!(of(damaged)["whole"], false);
    assert_eq!(of(damaged)["expected"], before);
    assert!((1..before as u64).contains(&kept), "{kept} of {before}");

    let to = lab.beside("saved");
    let folder = to.display().to_string();
    let said = lab.say(&["audit", "salvage", "--to", &folder]).ends(0).mentions("wrote 3 runs");
    assert!(said.out.contains(&format!("{kept} of {before} events are intact")), "{said}");
    assert_eq!(std::fs::read(&journal).unwrap(), bytes, "the damaged file was changed");
    lab.say(&["audit", "salvage", "--to", &folder]).ends(2).mentions("already a journal");

    // Every command reads the new journal.
    let state = ["--state", folder.as_str()];
    let shown = |args: &[&str]| lab.say(&[args, &state[..]].concat()).ends(0);
    let again = shown(&["show", first, "--format", "json"]).json()["events"].as_array().unwrap().clone();
    assert_eq!(again, events);
    assert_eq!(
        shown(&["show", damaged, "--format", "json"]).json()["events"].as_array().unwrap().len() as u64,
        kept
    );
    shown(&["status", damaged]).conceals("warning");
    shown(&["audit", "verify"]);
    // A whole run goes on from there.
    shown(&["approve", last, "--resume", "--sandbox", "none"]);
    assert_eq!(shown(&["status", last, "--format", "json"]).json()["status"], "succeeded");
    let logs = shown(&["logs", last]);
    assert!(logs.out.contains("at the end"), "{logs}");
}

#[test]
fn a_journal_without_its_first_page_is_said_to_be_beyond_help() {
    let place = Place::new();
    let run = place.waiting();
    settle(&place.lab.state());
    let mut bytes = std::fs::read(place.journal()).unwrap();
    bytes[..PAGE].fill(0xa5);
    std::fs::write(place.journal(), &bytes).unwrap();
    for args in [&["resume", &run][..], &["status"], &["audit", "verify"], &["audit", "salvage"]] {
        refused(place.lab.say(args))
            .mentions("journal.db")
            .mentions("first page")
            .mentions("bring back a copy");
    }
    assert_eq!(std::fs::read(place.journal()).unwrap(), bytes);
}

#[test]
fn nothing_is_done_on_the_word_of_an_altered_event() {
    let place = Place::new();
    let run = place.waiting();
    let lab = &place.lab;
    settle(&lab.state());
    // The state folder as it was, for the end.
    let subject = lab.show(&run, "review")["subject"].as_str().unwrap().to_owned();
    let whole = std::fs::read(place.journal()).unwrap();
    settle(&lab.state());
    let mut bytes = whole.clone();
    while let Some(at) = find(&bytes, subject.as_bytes()) {
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    }
    assert_ne!(bytes, whole);
    std::fs::write(place.journal(), &bytes).unwrap();
    for args in [
        &["resume", &run][..],
        &["approve", &run, "--resume"],
        &["reject", &run, "--resume"],
        &["retry", &run, "before"],
        &["fork", &run, "--from", "before"],
    ] {
        refused(lab.say(&[args, &["--sandbox", "none"]].concat()))
            .mentions("breaks at event")
            .mentions(&format!("blueprint audit verify {run}"))
            .mentions("nothing was started");
    }
    refused(lab.say(&["cancel", &run])).mentions("breaks at event");
    assert_eq!(place.marks(), "before\n");
    assert_eq!(lab.runs().len(), 1, "a run was forked from a record that does not hold");
    // It can still be looked at, with a word of warning.
    for args in [&["status", &run][..], &["show", &run], &["logs", &run], &["diff", &run], &["graph", &run]] {
        lab.say(args).ends(0).mentions("warning: the journal of run").mentions("does not match its hash");
    }
    lab.say(&["audit", "verify", &run]).ends(1);

    settle(&lab.state());
    std::fs::write(place.journal(), &whole).unwrap();
    lab.say(&["approve", &run, "--resume", "--sandbox", "none"]).ends(0).conceals("warning: the journal");
    assert_eq!(place.marks(), "before\nafter\n");
    lab.verify(&run);
}

/// The lengths of the log behind each of its transactions.
fn commits(log: &[u8]) -> Vec<usize> {
    let frames = (32..log.len()).step_by(24 + PAGE);
    frames
        .filter(|at| log[at + 4..at + 8] != [0; 4] && at + 24 + PAGE <= log.len())
        .map(|at| at + 24 + PAGE)
        .collect()
}

#[test]
fn a_log_that_lost_its_end_is_found_and_not_built_upon() {
    let place = Place::new();
    let start = place.start();
    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    // Killed when the first node has its outcome: events that told of it are in the last transaction.
    let killed = place.lab.say_with(&[("BLUEPRINT_CRASH_AFTER_EVENT", "5")], &start);
    assert!(killed.was_killed(), "{killed}");
    assert_eq!(place.marks(), "before\n");
    let whole = std::fs::read(place.log()).unwrap();
    let ends = commits(&whole);
    assert!(ends.len() >= 3, "{ends:?}");
    let before_last = ends[ends.len() - 2];
    let mut flipped = whole.clone();
    flipped[before_last + 24 + 100] ^= 1;
    for cut in [whole[..before_last].to_vec(), whole[..whole.len() - 7].to_vec(), flipped] {
        std::fs::write(place.log(), &cut).unwrap();
        let run = place.lab.run();
        let said = place.lab.say(&["audit", "verify", &run]).ends(1);
        assert!(said.out.contains("was written to the disk, and the journal ends at"), "{said}");
        place.lab.say(&["audit", "verify"]).ends(1);
        refused(place.lab.say(&["resume", &run, "--sandbox", "none"])).mentions("was written to the disk");
        place.lab.say(&["status", &run]).ends(0).mentions("was written to the disk");
        let said = place.lab.say(&["audit", "salvage"]).ends(0);
        assert!(said.out.contains("was written to the disk"), "{said}");
        assert_eq!(place.marks(), "before\n", "a node that has an outcome worked again");
        // The log again, as it was before anything else was written.
        for file in ["journal.db-shm", "journal.db-wal", "journal.db"] {
            drop(std::fs::remove_file(place.lab.state().join(file)));
        }
        restore(&place, &whole);
    }
    let run = place.lab.run();
    place.lab.verify(&run);
    place.lab.say(&["resume", &run, "--sandbox", "none"]).ends(75);
    assert_eq!(place.marks(), "before\n");
    place.lab.verify(&run);
}

/// A journal whose content is in its log: the file alone is that of a fresh state folder.
fn restore(place: &Place, log: &[u8]) {
    let fresh = place.lab.beside("fresh");
    drop(std::fs::remove_dir_all(&fresh));
    settle(&fresh);
    std::fs::copy(fresh.join("journal.db"), place.journal()).unwrap();
    std::fs::write(place.log(), log).unwrap();
}

#[test]
fn a_run_that_the_journal_lost_altogether_is_named() {
    let place = Place::new();
    let start = place.start();
    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    let killed = place.lab.say_with(&[("BLUEPRINT_CRASH_AFTER_EVENT", "5")], &start);
    assert!(killed.was_killed(), "{killed}");
    let whole = std::fs::read(place.log()).unwrap();
    let copy = place.lab.beside("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in ["journal.db", "journal.db-wal"] {
        std::fs::copy(place.lab.state().join(file), copy.join(file)).unwrap();
    }
    let listed =
        place.lab.say(&["status", "--format", "json", "--state", &copy.display().to_string()]).ends(0);
    let run = listed.json()[0]["id"].as_str().unwrap().to_owned();
    for file in ["journal.db-wal", "journal.db-shm"] {
        std::fs::remove_file(place.lab.state().join(file)).unwrap();
    }
    let said = place.lab.say(&["audit", "verify"]).ends(1);
    assert!(said.out.contains(&run) && said.out.contains("lost: it had"), "{said}");
    refused(place.lab.say(&["resume", &run, "--sandbox", "none"])).mentions("the journal has lost it");
    restore(&place, &whole);
    place.lab.verify(&run);
}

/// What every command that only reads must be able to do.
fn everything_is_shown(lab: &Lab, run: &str) {
    let listed = lab.say(&["status"]).ends(0);
    assert!(listed.out.contains(run), "{listed}");
    for args in [
        &["status", run][..],
        &["show", run],
        &["show", run, "before"],
        &["logs", run],
        &["diff", run],
        &["graph", run],
        &["audit", "verify"],
        &["audit", "verify", run],
        &["audit", "salvage"],
    ] {
        lab.say(args).ends(0).conceals("warning");
    }
}

#[test]
fn a_state_folder_on_a_medium_that_cannot_be_written_can_be_read() {
    let place = Place::new();
    let lab = &place.lab;
    std::fs::create_dir_all(lab.state()).unwrap();
    let Some(mount) = Mount::of(&lab.state(), &["-t", "tmpfs", "-o", "size=64m", "none"]) else { return };
    let run = place.waiting();
    settle(&lab.state());
    mount.again("remount,ro");
    everything_is_shown(lab, &run);
    mount.again("remount,rw");

    // With the last events still in the log.
    let killed = lab.say_with(
        &[("BLUEPRINT_CRASH_AFTER_EVENT", "9")],
        &["approve", &run, "--resume", "--sandbox", "none"],
    );
    assert!(killed.was_killed(), "{killed}");
    let events = std::fs::metadata(place.log()).unwrap().len();
    assert!(events > 0);
    mount.again("remount,ro");
    everything_is_shown(lab, &run);
    let told = lab.events(&run);
    assert!(told.len() >= 9, "the events in the log are not shown: {told:?}");
    mount.again("remount,rw");

    // Without the shared memory beside the log, its events cannot be read; that is said, and nothing older is shown.
    std::fs::remove_file(lab.state().join("journal.db-shm")).unwrap();
    mount.again("remount,ro");
    for args in [&["status"][..], &["status", &run], &["audit", "verify"]] {
        refused(lab.say(args)).mentions("journal.db-wal").mentions("holds the last events");
    }
    refused(lab.say(&["resume", &run, "--sandbox", "none"]));
    mount.again("remount,rw");
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(0);
    lab.verify(&run);
}

#[test]
fn a_state_folder_of_somebody_else_can_be_read() {
    let place = Place::new();
    let lab = &place.lab;
    let run = place.waiting();
    settle(&lab.state());
    let done = Command::new("chmod").args(["-R", "a+rX"]).arg(lab.beside("")).status().unwrap();
    assert!(done.success());
    for args in [&["status"][..], &["status", &run], &["show", &run], &["logs", &run], &["audit", "verify"]] {
        let command = lab.command(args);
        let mut other = Command::new("setpriv");
        other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        other.arg(command.get_program()).args(command.get_args()).current_dir(lab.project());
        other.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent");
        let said = super::lab::Running::start(other).end();
        if said.err.contains("setpriv:") {
            super::trouble::skipped(&format!("this machine does not let us become somebody else: {said}"));
            return;
        }
        said.ends(0);
    }
    for left in ["journal.db-wal", "journal.db-shm"] {
        assert!(!lab.state().join(left).exists(), "{left} was made by somebody who only read");
    }
}

#[test]
fn a_driver_that_was_killed_and_not_reaped_is_not_said_to_drive() {
    let lab = Lab::in_git();
    lab.blueprint("lasting", "[nodes.long]\nshell = \"sh\"\nrun = 'echo begun; sleep 600'\n");
    let driver = lab.start(&["run", "lasting", "--sandbox", "none"]);
    let run = lab.wait_for_run();
    wait_until("it drives", || (lab.status(&run)["status"] == "running").then_some(()));
    driver.signal(rustix::process::Signal::KILL);
    let stat = format!("/proc/{}/stat", driver.pid());
    // Its parent, which is this process, has not asked for its end: its id is still taken.
    wait_until("the driver is dead", || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        stat.rsplit_once(')').unwrap().1.starts_with(" Z").then_some(())
    });
    let status = lab.status(&run);
    assert_eq!((status["status"].as_str(), status["driven_by"].is_null()), (Some("stopped"), true));
    lab.say(&["cancel", &run]).ends(0);
}
