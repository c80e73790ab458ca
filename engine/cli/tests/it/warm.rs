//! Sandboxes that are ready before their node begins: used where they fit, changing nothing, and gone with the run.

use std::process::Command;

use rustix::process::Signal;

use super::lab::{Lab, wait_until};
use super::tiers::engine;

/// A chain of strangers' steps, of which each sees what those before it left, and nothing else of them.
const CHAIN: &str = r#"
[nodes.first]
tier = "untrusted"
shell = "sh"
run = 'echo made > made; echo left > /tmp/left; echo left > $HOME/left'
[nodes.second]
needs = ["first"]
tier = "untrusted"
shell = "sh"
run = 'cat made; echo more >> made; ls -A /tmp $HOME; echo left > /tmp/left'
[nodes.third]
needs = ["second"]
tier = "untrusted"
timeout = "90s"
workspace = "read"
shell = "sh"
run = 'cat made; ls -A /tmp $HOME; if echo no > made; then exit 9; fi 2>/dev/null'
[nodes.alone]
needs = ["second"]
tier = "untrusted"
workspace = "none"
run = ["true"]
"#;

#[test]
fn a_node_is_given_a_sandbox_that_waited_for_it_and_nothing_else_changes() {
    let Some(host) = engine() else { return };
    for (pool, second) in [("", "warm"), ("[pool]\nsize = 0\n", "cold")] {
        let lab = Lab::in_git();
        lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n{pool}"));
        lab.blueprint("steps", CHAIN);
        let said = lab.say(&["run", "steps"]).ends(0);
        let run = lab.run();
        let start = |node: &str| lab.show(&run, node)["record"]["sandbox"].clone();
        assert_eq!(start("first")["start"], "cold", "{said}");
        for node in ["second", "third", "alone"] {
            assert_eq!(start(node)["start"], second, "{node}: {said}");
            assert!(start(node)["start_ms"].is_u64());
        }
        let logs = lab.say(&["logs", &run]).out;
        assert!(!logs.contains("left"), "{logs}");
        assert_eq!(logs.matches("more").count(), 1, "{logs}");
        let (first, second) = (lab.show(&run, "first"), lab.show(&run, "second"));
        assert_eq!(first["attestation"], second["attestation"], "it is what it would have been");
        lab.verify(&run);
    }
}

/// The states of the containers of a process.
fn containers(host: &str, pid: i32) -> Vec<String> {
    let format = "{{.State}} {{.Label \"dev.blueprint.owner\"}}";
    let listed = Command::new("docker").args(["-H", host, "ps", "-a", "--format", format]).output().unwrap();
    assert!(listed.status.success());
    let text = String::from_utf8(listed.stdout).unwrap();
    let mut states: Vec<String> = text
        .lines()
        .filter(|line| line.contains(&format!(":{pid}:")))
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    states.sort();
    states
}

#[test]
fn a_spare_is_gone_with_its_run_however_that_ends() {
    let Some(host) = engine() else { return };
    for ends in [None, Some(Signal::INT), Some(Signal::KILL)] {
        let lab = Lab::in_git();
        lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n"));
        lab.blueprint(
            "steps",
            "[nodes.first]\ntier = \"untrusted\"\nshell = \"sh\"\nrun = 'echo begun; until test -e /work-is-over || test -e go; do sleep 0.1; done; exit 1'\n\
             [nodes.second]\nneeds = [\"first\"]\ntier = \"untrusted\"\nrun = [\"true\"]\n",
        );
        let mut running = lab.start(&["run", "steps"]);
        running.wait_for_err("begun");
        let pid = running.pid();
        wait_until("a spare waits", || (containers(&host, pid) == ["paused", "running"]).then_some(()));
        match ends {
            Some(signal) => running.signal(signal),
            None => {
                // It fails, so that what waits is never wanted.
                let work = lab.state().join("work").join(lab.run());
                for checkout in std::fs::read_dir(work).unwrap().flatten() {
                    drop(std::fs::write(checkout.path().join("go"), ""));
                }
            }
        }
        let said = running.end();
        if ends == Some(Signal::KILL) {
            assert!(said.was_killed());
            // Any run sweeps; what it does not get to is left to the next one.
            lab.blueprint("other", "[nodes.a]\nrun = [\"true\"]\n");
            wait_until("they are gone", || {
                lab.say(&["run", "other"]).ends(0);
                containers(&host, pid).is_empty().then_some(())
            });
        }
        assert_eq!(containers(&host, pid), Vec::<String>::new(), "{ends:?}: {said}");
    }
}

#[test]
fn a_spare_that_is_lost_harms_no_run() {
    let Some(host) = engine() else { return };
    let lab = Lab::in_git();
    lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n"));
    lab.blueprint(
        "steps",
        "[nodes.first]\ntier = \"untrusted\"\nshell = \"sh\"\nrun = 'echo begun; until test -e go; do sleep 0.1; done'\n\
         [nodes.second]\nneeds = [\"first\"]\ntier = \"untrusted\"\nrun = [\"true\"]\n",
    );
    let mut running = lab.start(&["run", "steps"]);
    running.wait_for_err("begun");
    let pid = running.pid();
    wait_until("a spare waits", || (containers(&host, pid) == ["paused", "running"]).then_some(()));
    let format = "{{.ID}} {{.State}} {{.Label \"dev.blueprint.owner\"}}";
    let listed = Command::new("docker").args(["-H", &host, "ps", "-a", "--format", format]).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    for line in text.lines().filter(|line| line.contains(&format!(":{pid}:")) && line.contains(" paused ")) {
        let id = line.split(' ').next().unwrap_or_default();
        // What is paused under gVisor cannot be removed.
        for args in [&["unpause"][..], &["rm", "-f"]] {
            let done = Command::new("docker").args(["-H", &host]).args(args).arg(id).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    }
    let work = lab.state().join("work").join(lab.run());
    for checkout in std::fs::read_dir(work).unwrap().flatten() {
        drop(std::fs::write(checkout.path().join("go"), ""));
    }
    running.end().ends(0);
    let run = lab.run();
    assert_eq!(lab.show(&run, "second")["record"]["sandbox"]["start"], "cold");
    lab.verify(&run);
}
