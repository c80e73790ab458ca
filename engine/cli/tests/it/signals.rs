//! Ctrl-C: the first one stops a run so that it can go on later, the second one ends the program at once.

use rustix::process::Signal;

use super::lab::{Lab, wait_for_orphans, wait_until};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

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

/// An emulator that starts no machine once a file is there, under a name of its own.
fn hanging(lab: &Lab) -> Option<PathBuf> {
    let machine = super::tiers::machine()?;
    let folder = lab.beside("emulator");
    std::fs::create_dir(&folder).unwrap();
    for open in [folder.as_path(), folder.parent().unwrap()] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (program, hang) = (folder.join("qemu"), folder.join("hang"));
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] && [ -e {} ] && exec tail -f {}\nexec /usr/bin/qemu-system-x86_64 \"$@\"\n",
        hang.display(),
        hang.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    lab.settings(&format!(
        "{machine}qemu = \"{}\"\nboot_seconds = 3600\n[tiers]\nuntrusted = \"microvm\"\n",
        program.display()
    ));
    // Machines work here, which is remembered.
    lab.blueprint("fine", "[nodes.a]\ntier = \"untrusted\"\nrun = [\"true\"]\n");
    lab.say(&["run", "fine"]).ends(0);
    std::fs::write(&hang, "").unwrap();
    Some(hang)
}

/// Whether an emulator waits that starts nothing.
fn waits(hang: &Path) -> bool {
    let name = hang.to_str().unwrap().as_bytes();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line.starts_with(b"tail\0") && line.windows(name.len()).any(|part| part == name))
}

#[test]
fn a_sandbox_that_is_starting_is_given_up_with_its_run() {
    let lab = Lab::in_git();
    let Some(hang) = hanging(&lab) else { return };
    lab.write(
        "blueprints/think/model.toml",
        "[[turn]]\n[[turn.call]]\ntool = \"shell\"\nargs = { command = \"true\" }\n[[turn]]\ntext = \"Done.\"\n",
    );
    for does in [
        "run = [\"true\"]",
        "agent = { command = [\"true\"], prompt = \"Go.\" }",
        "agent = { command = [\"true\"], prompt = \"Go.\", protocol = \"acp\" }",
        "agent = { prompt = \"Go.\", model = \"scripted/model.toml\" }\ntools = [\"shell\"]",
    ] {
        lab.blueprint("think", &format!("[nodes.a]\ntier = \"untrusted\"\n{does}\n"));
        for cancels in [false, true] {
            let driver = lab.start(&["run", "think"]);
            wait_until("an emulator was started", || waits(&hang).then_some(()));
            if cancels {
                lab.say(&["cancel", &lab.run()]).ends(0);
                driver.end().ends(1).mentions("cancelled by");
            } else {
                driver.signal(Signal::INT);
                driver.end().ends(75).mentions("stopping");
            }
            wait_until("the emulator is gone", || (!waits(&hang)).then_some(()));
            lab.verify(&lab.run());
        }
    }
}

#[test]
fn a_sandbox_that_is_starting_has_the_time_of_its_node() {
    let lab = Lab::in_git();
    let Some(hang) = hanging(&lab) else { return };
    for (does, says) in [
        ("run = [\"true\"]", "its sandbox was not ready within"),
        (
            "agent = { command = [\"true\"], prompt = \"Go.\", protocol = \"acp\" }",
            "was not ready in the time",
        ),
    ] {
        lab.blueprint("late", &format!("[nodes.a]\ntier = \"untrusted\"\ntimeout = \"1s\"\n{does}\n"));
        lab.say(&["run", "late"]).ends(1).mentions(says);
        wait_until("the emulator is gone", || (!waits(&hang)).then_some(()));
    }
}
