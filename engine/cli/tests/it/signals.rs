//! Ctrl-C: the first one stops a run so that it can go on later, the second one ends the program at once.

use rustix::process::Signal;

use super::lab::{Lab, wait_for_orphans, wait_until};

/// A node that works until a file appears, and says when it has begun.
fn lasting(lab: &Lab) {
    lab.blueprint(
        "lasting",
        r#"
[inputs]
flag = { type = "string" }

[nodes.before]
run   = "echo before > before"
shell = "sh"

[nodes.long]
needs = ["before"]
run   = 'echo begun; until test -e "$FLAG"; do sleep 0.02; done; echo done > long'
shell = "sh"
env   = { FLAG = "inputs.flag" }

[nodes.after]
needs = ["long"]
run   = "cp long after"
"#,
    );
}

fn stop_and_go_on(signal: Signal, sandbox: &str) {
    let lab = Lab::in_git();
    lasting(&lab);
    // In the sandbox the flag is looked for inside the workspace's own machine, so a retry without it never ends;
    // there the second run is given a flag that exists everywhere.
    let flag = lab.beside("flag");
    let input = format!("flag={}", flag.display());
    let mut driver = lab.start(&["run", "lasting", "-i", &input, "--sandbox", sandbox]);
    driver.wait_for_err("| begun");
    driver.signal(signal);
    driver.end().ends(75).mentions("stopping; the run can be resumed").mentions("go on: blueprint resume");
    let run = lab.run();
    wait_for_orphans(&run);
    let status = lab.status(&run);
    assert_eq!(status["status"], "stopped", "{status}");
    assert_eq!(status["driven_by"], serde_json::Value::Null);
    let before = lab.events(&run);
    std::fs::write(&flag, "").unwrap();
    if sandbox == "none" {
        lab.say(&["resume", &run, "--sandbox", sandbox]).ends(0);
        assert_eq!(lab.events(&run)[..before.len()], before);
        assert!(lab.diff(&run).contains("b/after"));
    } else {
        lab.say(&["cancel", &run]).ends(0);
        assert_eq!(lab.status(&run)["status"], "cancelled");
    }
    lab.verify(&run);
}

#[test]
fn an_interrupted_run_goes_on_when_resumed() {
    stop_and_go_on(Signal::INT, "none");
}

#[test]
fn a_terminated_run_goes_on_when_resumed() {
    stop_and_go_on(Signal::TERM, "none");
}

#[test]
fn an_interrupted_run_in_a_sandbox_leaves_nothing_running() {
    stop_and_go_on(Signal::INT, "auto");
}

#[test]
fn a_second_interrupt_ends_the_program_at_once() {
    let lab = Lab::in_git();
    // A node that does not stop when it is asked to.
    lab.blueprint(
        "deaf",
        r#"
[inputs]
flag = { type = "string" }

[nodes.deaf]
run   = 'trap "" TERM; echo begun; until test -e "$FLAG"; do sleep 0.02; done'
shell = "sh"
env   = { FLAG = "inputs.flag" }
"#,
    );
    let flag = lab.beside("flag");
    let input = format!("flag={}", flag.display());
    let mut driver = lab.start(&["run", "deaf", "-i", &input, "--sandbox", "none"]);
    driver.wait_for_err("| begun");
    driver.signal(Signal::INT);
    driver.wait_for_err("Ctrl-C again");
    driver.signal(Signal::INT);
    driver.end().ends(130);
    let run = lab.run();
    std::fs::write(&flag, "").unwrap();
    wait_for_orphans(&run);
    // Nothing is lost even so.
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(0);
    lab.verify(&run);
}

#[test]
fn a_reader_that_goes_away_leaves_a_run_that_can_be_resumed() {
    let lab = Lab::in_git();
    lasting(&lab);
    let flag = lab.beside("flag");
    let input = format!("flag={}", flag.display());
    let mut command = lab.command(["run", "lasting", "-i", &input, "--sandbox", "none", "--format", "json"]);
    // The pipe that nobody reads is closed at once.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stdout(writer).stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the program ends", || child.try_wait().unwrap());
    std::fs::write(&flag, "").unwrap();
    let run = lab.run();
    wait_for_orphans(&run);
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(0);
    lab.verify(&run);
}

#[test]
fn an_interrupt_while_a_run_waits_leaves_everything_as_it_was() {
    let lab = Lab::new();
    lab.blueprint("waits", "[nodes.review]\ngate = {}\n[nodes.pause]\nwait = \"1h\"\n[nodes.flaky]\nrun = \"false\"\nworkspace = \"none\"\nretry = { attempts = 3, backoff = \"4m\", on = [\"infra\"] }\n");
    let mut driver = lab.start(&["run", "waits", "--wait"]);
    driver.wait_for_err("asks for approval");
    driver.wait_for_err("✗ flaky");
    driver.signal(Signal::INT);
    driver.end().ends(75);
    let run = lab.run();
    let status = lab.status(&run);
    assert_eq!(status["status"], "waiting");
    for (node, phase) in [("review", "waiting"), ("pause", "waiting"), ("flaky", "failed")] {
        assert_eq!(super::lab::node_of(&status, node)["phase"], phase);
    }
}

#[test]
fn an_interrupted_map_goes_on_with_the_items_that_are_left() {
    let lab = Lab::in_git();
    lab.blueprint(
        "mapped",
        r#"
[inputs]
flag    = { type = "string" }
counter = { type = "string" }

[nodes.map]
each         = "['a', 'b', 'c']"
max_parallel = 1
shell        = "sh"
run          = 'echo "$ITEM" >> "$COUNTER"; if test "$ITEM" = b; then echo begun; until test -e "$FLAG"; do sleep 0.02; done; fi; echo "$ITEM" > "$ITEM"'
env          = { ITEM = "item", FLAG = "inputs.flag", COUNTER = "inputs.counter" }
"#,
    );
    let (flag, counter) = (lab.beside("flag"), lab.beside("counter"));
    let inputs = [format!("flag={}", flag.display()), format!("counter={}", counter.display())];
    let mut driver = lab.start(&["run", "mapped", "--sandbox", "none", "-i", &inputs[0], "-i", &inputs[1]]);
    driver.wait_for_err("| begun");
    driver.signal(Signal::INT);
    driver.end().ends(75);
    let run = lab.run();
    std::fs::write(&flag, "").unwrap();
    wait_for_orphans(&run);
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(0);
    assert_eq!(std::fs::read_to_string(counter).unwrap(), "a\nb\nb\nc\n");
    let diff = lab.diff(&run);
    assert!(["b/a", "b/b", "b/c"].iter().all(|file| diff.contains(file)), "{diff}");
}
