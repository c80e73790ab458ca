//! A run in other hands: tried again, forked, cancelled, and driven by one process at a time.

use super::lab::{Lab, node_of, wait_until};

/// Counts every start of a node in a file outside, and fails at `second` while `flag` is missing.
const CHAIN: &str = r#"
[inputs]
flag    = { type = "string" }
counter = { type = "string" }

[defaults]
shell = "sh"

[nodes.first]
run = 'echo first >> "$COUNTER"; echo first > first'
env = { COUNTER = "inputs.counter" }

[nodes.second]
needs = ["first"]
run   = 'echo second >> "$COUNTER"; test -e "$FLAG"; echo second > second'
env   = { COUNTER = "inputs.counter", FLAG = "inputs.flag" }

[nodes.third]
needs = ["second"]
run   = 'echo third >> "$COUNTER"; cat first second > third'
env   = { COUNTER = "inputs.counter" }
"#;

struct Chain {
    lab: Lab,
    inputs: [String; 2],
}

impl Chain {
    fn new() -> Self {
        let lab = Lab::in_git();
        lab.blueprint("chain", CHAIN);
        let inputs = [
            format!("flag={}", lab.beside("flag").display()),
            format!("counter={}", lab.beside("counter").display()),
        ];
        Self { lab, inputs }
    }

    fn run(&self) -> super::lab::Said {
        self.lab.say(&["run", "chain", "-i", &self.inputs[0], "-i", &self.inputs[1], "--sandbox", "none"])
    }

    fn flag(&self) {
        std::fs::write(self.lab.beside("flag"), "").unwrap();
    }

    fn worked(&self) -> String {
        std::fs::read_to_string(self.lab.beside("counter")).unwrap_or_default().replace('\n', " ")
    }
}

#[test]
fn a_failed_node_is_tried_again_without_what_came_before_it() {
    let chain = Chain::new();
    chain.run().ends(1).mentions("blueprint logs");
    let run = chain.lab.run();
    let status = chain.lab.status(&run);
    assert_eq!(status["status"], "failed");
    assert_eq!(node_of(&status, "third")["phase"], "skipped");
    // The cause is still there: it fails again, and can be tried again after that.
    chain.lab.say(&["retry", &run, "second", "--sandbox", "none"]).ends(1);
    chain.flag();
    chain.lab.say(&["retry", &run, "second", "--sandbox", "none"]).ends(0);
    assert_eq!(chain.worked(), "first second second second third ");
    assert_eq!(chain.lab.status(&run)["status"], "succeeded");
    chain.lab.verify(&run);
}

#[test]
fn a_node_that_is_not_there_or_not_over_is_not_tried_again() {
    let chain = Chain::new();
    chain.run().ends(1);
    let run = chain.lab.run();
    let events = chain.lab.events(&run);
    chain.lab.say(&["retry", &run, "secnd"]).ends(2).mentions("did you mean `second`?");
    chain.lab.say(&["retry", "0000", "second"]).ends(2).mentions("there is no run");
    chain.lab.say(&["resume", &run]).ends(2).mentions("has ended").mentions("blueprint retry");
    assert_eq!(chain.lab.events(&run), events);
}

#[test]
fn a_fork_takes_over_what_came_before_and_leaves_the_parent_alone() {
    let chain = Chain::new();
    chain.flag();
    chain.run().ends(0);
    let parent = chain.lab.run();
    let events = chain.lab.events(&parent);
    chain.lab.say(&["fork", &parent, "--from", "third", "--sandbox", "none"]).ends(0).mentions("taken over");
    assert_eq!(chain.worked(), "first second third third ");
    let child = chain.lab.run();
    assert_ne!(child, parent);
    assert_eq!(chain.lab.status(&child)["status"], "succeeded");
    assert_eq!(chain.lab.diff(&child), chain.lab.diff(&parent));
    assert_eq!(chain.lab.events(&parent), events);
    assert!(chain.lab.say(&["show", &child]).out.contains(&format!("forked from {parent}")));
    chain.lab.say(&["fork", &parent, "--from", "thrid"]).ends(2).mentions("did you mean `third`?");
    chain.lab.verify(&child);
}

#[test]
fn a_fork_of_a_failed_run_can_finish_it() {
    let chain = Chain::new();
    chain.run().ends(1);
    let parent = chain.lab.run();
    chain.flag();
    chain.lab.say(&["fork", &parent, "--from", "second", "--sandbox", "none"]).ends(0);
    assert_eq!(chain.worked(), "first second second third ");
    assert_eq!(chain.lab.status(&parent)["status"], "failed");
}

#[test]
fn a_run_is_cancelled_from_another_process() {
    let lab = Lab::in_git();
    lab.blueprint(
        "long",
        "[nodes.long]\nrun = 'echo begun; exec sleep 600'\nshell = \"sh\"\n[nodes.after]\nneeds = [\"long\"]\nrun = \"true\"\n",
    );
    let mut driver = lab.start(&["run", "long"]);
    driver.wait_for_err("| begun");
    let run = lab.run();
    lab.say(&["cancel", &run, "--reason", "changed my mind"])
        .ends(0)
        .mentions("by the process that drives it");
    driver.end().ends(1).mentions("was cancelled");
    let status = lab.status(&run);
    assert_eq!(status["status"], "cancelled");
    assert_eq!(node_of(&status, "after")["phase"], "cancelled");
    lab.say(&["cancel", &run]).ends(2).mentions("has ended");
    lab.verify(&run);
}

#[test]
fn a_run_that_waits_is_cancelled_without_a_driver() {
    let lab = Lab::new();
    lab.blueprint("gated", "[nodes.review]\ngate = {}\n");
    lab.say(&["run", "gated"]).ends(75);
    let run = lab.run();
    lab.say(&["cancel"]).ends(0);
    assert_eq!(lab.status(&run)["status"], "cancelled");
    lab.say(&["approve", &run]).ends(2);
}

#[test]
fn of_two_processes_one_drives_and_the_other_says_who_does() {
    let lab = Lab::in_git();
    lab.blueprint(
        "gated",
        "[nodes.review]\ngate = {}\n[nodes.after]\nneeds = [\"review\"]\nrun = \"true\"\n",
    );
    let mut first = lab.start(&["run", "gated", "--wait"]);
    first.wait_for_err("asks for approval");
    let run = lab.run();
    let events = lab.events(&run);
    let pid = first.pid().to_string();
    for asked in [&["resume", &run][..], &["retry", &run, "review"], &["resume", &run, "--wait"]] {
        let said = lab.say(asked);
        if asked[0] == "retry" {
            said.ends(2).mentions("has not come to an end");
        } else {
            said.ends(3).mentions(&format!("is driven by process {pid} on")).mentions("nothing was changed");
        }
    }
    assert_eq!(lab.status(&run)["driven_by"]["pid"], first.pid());
    assert_eq!(lab.events(&run), events);
    lab.say(&["approve", &run]).ends(0);
    first.end().ends(0);
}

#[test]
fn of_many_that_resume_at_once_exactly_one_drives() {
    let lab = Lab::new();
    lab.blueprint(
        "gated",
        "[nodes.pause]\nwait = \"300ms\"\n[nodes.review]\nneeds = [\"pause\"]\ngate = {}\n",
    );
    let mut starter = lab.start(&["run", "gated", "--wait"]);
    starter.wait_for_err("asks for approval");
    let run = lab.run();
    starter.signal(rustix::process::Signal::KILL);
    assert!(starter.end().was_killed());
    let drivers: Vec<_> = (0..4).map(|_| lab.start(&["resume", &run, "--wait"])).collect();
    let mut drivers = drivers;
    // The others give up; the one that is left goes on.
    wait_until("one is left", || {
        (drivers.iter_mut().filter_map(|driver| (!driver.is_over()).then_some(())).count() == 1).then_some(())
    });
    lab.say(&["approve", &run]).ends(0);
    let codes: Vec<_> = drivers.into_iter().map(|driver| driver.end().status.code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(3)).count(), 3, "{codes:?}");
    assert_eq!(lab.status(&run)["status"], "succeeded");
    lab.verify(&run);
}

#[test]
fn many_runs_start_at_once_in_a_project_that_has_had_none() {
    many_at_once(&Lab::in_git());
}

#[test]
fn many_runs_start_at_once_outside_of_git() {
    many_at_once(&Lab::new());
}

fn many_at_once(lab: &Lab) {
    lab.blueprint(
        "small",
        "[nodes.write]\nshell = \"sh\"\nrun = 'echo \"$BLUEPRINT_RUN\" > id'\n[nodes.read]\nneeds = [\"write\"]\nrun = \"cat id\"\nworkspace = \"read\"\n",
    );
    let runs: Vec<_> = (0..6).map(|_| lab.start(&["run", "small"])).collect();
    for run in runs {
        run.end().ends(0);
    }
    assert_eq!(lab.runs().len(), 6);
    for run in lab.runs() {
        let id = run["id"].as_str().unwrap();
        assert_eq!(lab.say(&["logs", id, "read"]).ends(0).out, format!("read | {id}\n"));
    }
    lab.say(&["audit", "verify"]).ends(0);
}

#[test]
fn a_cancel_that_comes_while_a_map_and_a_repair_work_ends_them_all() {
    let lab = Lab::in_git();
    lab.blueprint(
        "busy",
        r#"
[defaults]
shell = "sh"

[nodes.map]
each         = "[1, 2, 3, 4]"
max_parallel = 2
run          = 'echo mapping; exec sleep 600'

[nodes.fix]
run = "true"

[nodes.verify]
needs  = ["fix"]
run    = 'if test "$BLUEPRINT_ROUND" = 2; then echo second; exec sleep 600; fi; exit 1'
repair = { from = "fix", rounds = 3 }
"#,
    );
    let mut driver = lab.start(&["run", "busy"]);
    driver.wait_for_err("| second");
    driver.wait_for_err("| mapping");
    let run = lab.run();
    lab.say(&["cancel", &run]).ends(0);
    driver.end().ends(1).mentions("was cancelled");
    super::lab::wait_for_orphans(&run);
    let status = lab.status(&run);
    for node in status["nodes"].as_array().unwrap() {
        assert!(["succeeded", "cancelled"].contains(&node["phase"].as_str().unwrap()), "{node}");
    }
}
