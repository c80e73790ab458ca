//! Sandboxes that are ready before their node begins: used where they fit, changing nothing, and gone with the run.

use std::process::Command;

use rustix::process::Signal;

use super::lab::{Lab, Running, wait_until};
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

/// The containers of a process: the id and state of each.
fn containers(host: &str, pid: i32) -> Vec<(String, String)> {
    let format = "{{.ID}} {{.State}} {{.Label \"dev.blueprint.owner\"}}";
    let listed = Command::new("docker")
        .args(["-H", host, "ps", "-a", "--no-trunc", "--format", format])
        .output()
        .unwrap();
    assert!(listed.status.success());
    let text = String::from_utf8(listed.stdout).unwrap();
    let ours = text.lines().filter(|line| line.contains(&format!(":{pid}:")));
    ours.map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    })
    .collect()
}

/// Processes of this machine that are there for a container: an engine forgets one before all of them have ended.
fn processes_for(id: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(id)).collect()
}

/// A run whose first node works until it is let go, while a spare waits for the second.
struct Held<'a> {
    lab: &'a Lab,
    running: Running,
    pid: i32,
    /// Its containers: the one that works, and the one that waits.
    containers: Vec<(String, String)>,
}

impl<'a> Held<'a> {
    fn begin(lab: &'a Lab, host: &str) -> Self {
        lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n"));
        lab.blueprint(
            "steps",
            "[nodes.first]\ntier = \"untrusted\"\nshell = \"sh\"\nrun = 'echo begun; until test -e go; do sleep 0.1; done; test ! -e fail'\n\
             [nodes.second]\nneeds = [\"first\"]\ntier = \"untrusted\"\nrun = [\"true\"]\n",
        );
        let mut running = lab.start(&["run", "steps"]);
        running.wait_for_err("begun");
        let pid = running.pid();
        let containers = wait_until("a spare waits", || {
            let all = containers(host, pid);
            let mut states: Vec<&str> = all.iter().map(|(_, state)| state.as_str()).collect();
            states.sort_unstable();
            (states == ["paused", "running"]).then_some(all)
        });
        Self { lab, running, pid, containers }
    }

    /// Lets the first node come to its end.
    fn let_go(&self, with: &[&str]) {
        let work = self.lab.state().join("work").join(self.lab.run());
        for checkout in std::fs::read_dir(work).unwrap().flatten() {
            for name in with.iter().chain(&["go"]) {
                drop(std::fs::write(checkout.path().join(name), ""));
            }
        }
    }
}

#[test]
fn a_spare_is_gone_with_its_run_however_that_ends() {
    let Some(host) = engine() else { return };
    for ends in [None, Some(Signal::INT), Some(Signal::KILL)] {
        let lab = Lab::in_git();
        let held = Held::begin(&lab, &host);
        match ends {
            Some(signal) => held.running.signal(signal),
            // It fails, so that what waits is never wanted.
            None => held.let_go(&["fail"]),
        }
        let said = held.running.end();
        if ends == Some(Signal::KILL) {
            assert!(said.was_killed());
            // Any run sweeps; what it does not get to is left to the next one.
            lab.blueprint("other", "[nodes.a]\nrun = [\"true\"]\n");
            wait_until("they are gone", || {
                lab.say(&["run", "other"]).ends(0);
                containers(&host, held.pid).is_empty().then_some(())
            });
        }
        assert_eq!(containers(&host, held.pid), [], "{ends:?}: {said}");
        for (id, state) in held.containers {
            // The engine lets go of a container a moment before the last process that served it is gone.
            wait_until(&format!("{ends:?}: nothing serves {id}, which was {state}"), || {
                processes_for(&id).is_empty().then_some(())
            });
        }
    }
}

#[test]
fn a_spare_that_is_lost_harms_no_run() {
    let Some(host) = engine() else { return };
    let lab = Lab::in_git();
    let held = Held::begin(&lab, &host);
    for (id, _) in held.containers.iter().filter(|(_, state)| state == "paused") {
        // What is paused under gVisor cannot be removed.
        for args in [&["unpause"][..], &["rm", "-f"]] {
            let done = Command::new("docker").args(["-H", &host]).args(args).arg(id).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    }
    held.let_go(&[]);
    held.running.end().ends(0);
    let run = lab.run();
    assert_eq!(lab.show(&run, "second")["record"]["sandbox"]["start"], "cold");
    lab.verify(&run);
}
