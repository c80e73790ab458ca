//! Killed at every position of its journal, a run ends as if nothing had happened, and no node that has an outcome
//! works again: proved by a file outside of everything the program controls.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::lab::{Lab, Said, wait_for_orphans, wait_until};

/// A chain, a fan-out with its join, a map, a repair of three rounds, a gate, and something behind the gate.
/// Each node that works adds a line to the file that `counter` names.
const EVERYTHING: &str = r#"
[inputs]
counter = { type = "string" }

[defaults]
shell = "sh"

[nodes.first]
run = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; echo one > one'
env = { COUNTER = "inputs.counter" }

[nodes.left]
needs = ["first"]
run   = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; echo left > left'
env   = { COUNTER = "inputs.counter" }

[nodes.right]
needs = ["first"]
run   = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; echo right > right'
env   = { COUNTER = "inputs.counter" }

[nodes.join]
needs  = ["left", "right"]
run    = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; cat one left right > joined; echo "{\"items\": [\"a\", \"b\", \"c\"]}"'
env    = { COUNTER = "inputs.counter" }
output = { items = "list" }

[nodes.map]
needs        = ["join"]
each         = "nodes.join.items"
max_parallel = 2
run          = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; echo "$ITEM" > "item-$ITEM"'
env          = { COUNTER = "inputs.counter", ITEM = "item" }

[nodes.fix]
needs = ["map"]
run   = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; echo again >> tries'
env   = { COUNTER = "inputs.counter" }

[nodes.verify]
needs     = ["fix"]
run       = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; test "$(wc -l < tries)" -ge 3'
env       = { COUNTER = "inputs.counter" }
workspace = "read"
repair    = { from = "fix", rounds = 5 }

[nodes.review]
needs = ["verify"]
gate  = { ask = "Go on?" }

[nodes.last]
needs     = ["review"]
run       = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; cat joined item-a item-b item-c tries > all'
env       = { COUNTER = "inputs.counter" }
"#;

/// What the first one has not: used blueprints in a map, a repair and a gate inside of one, pauses, tries after
/// failures, conditions, and all kinds of joins.
const NESTED: &str = r#"
[inputs]
counter = { type = "string" }

[nodes.part]
each = "['x', 'y']"
use  = "part"
with = { name = "item", counter = "inputs.counter" }

[nodes.flaky]
shell   = "sh"
run     = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND $BLUEPRINT_ATTEMPT" >> "$SEEN"; test "$BLUEPRINT_ATTEMPT" -ge 2 || sleep 0.4'
env     = { SEEN = "'/dev/null'" }
timeout = "50ms"
retry   = { attempts = 9, backoff = "5ms", on = ["timeout"] }

[nodes.never]
when = "inputs.counter == ''"
wait = "1h"

[nodes.pause]
needs = ["never", "flaky"]
join  = "any"
wait  = "20ms"

[nodes.review]
needs = ["part", "pause", "never"]
join  = "settled"
gate  = { ask = "{{ nodes.part.result | default([]) | join(' and ') }}?" }

[nodes.last]
needs = ["review"]
shell = "sh"
run   = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; cat made-x made-y > all'
env   = { COUNTER = "inputs.counter" }
"#;

const PART: &str = r#"
schema = 1
name   = "part"

[inputs]
name    = { type = "string" }
counter = { type = "string" }

[nodes.make]
shell = "sh"
run   = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; echo "$NAME" >> "made-$NAME"'
env   = { COUNTER = "inputs.counter", NAME = "inputs.name" }

[nodes.verify]
needs       = ["make"]
shell       = "sh"
run         = 'printf "%s\n" "$BLUEPRINT_NODE $BLUEPRINT_ROUND" >> "$COUNTER"; test "$(wc -l < "made-$NAME")" -ge 2; echo "result=$NAME"'
env         = { COUNTER = "inputs.counter", NAME = "inputs.name" }
output      = { result = "string" }
output_from = "lines"
repair      = { from = "make", rounds = 4 }

[returns]
result = "nodes.verify.result"
"#;

/// How often each node worked in each round, by its own account.
type Counts = BTreeMap<String, u32>;

fn counts(counter: &Path) -> Counts {
    let mut counts = Counts::new();
    for line in std::fs::read_to_string(counter).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// What a run came to, without what is different each time.
#[derive(Debug, PartialEq)]
struct End {
    status: String,
    nodes: Vec<(String, String, u64)>,
    diff: String,
}

fn end_of(lab: &Lab, run: &str) -> End {
    let status = lab.status(run);
    let nodes = status["nodes"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut nodes: Vec<_> = nodes
        .map(|node| (text(&node["node"]), text(&node["phase"]), node["round"].as_u64().unwrap()))
        .collect();
    nodes.sort();
    End { status: text(&status["status"]), nodes, diff: lab.diff(run) }
}

/// What of the journal says that a node of a round has an outcome, and which ones were under way.
#[derive(Debug, Default)]
struct OnRecord {
    ended: Vec<String>,
    under_way: Vec<String>,
}

fn on_record(events: &[Value]) -> OnRecord {
    let mut started: BTreeMap<(String, u64), String> = BTreeMap::new();
    let mut record = OnRecord::default();
    for event in events {
        let event = &event["event"];
        let start = &event["issued"]["start_node"];
        if let Some(node) = start["node"].as_str() {
            started.insert(
                (node.to_owned(), start["attempt"].as_u64().unwrap()),
                format!("{node} {}", start["round"]),
            );
        }
        for kind in ["node_succeeded", "node_failed", "command_lost"] {
            let end = &event[kind];
            if let (Some(node), Some(attempt)) = (end["node"].as_str(), end["attempt"].as_u64())
                && let Some(work) = started.remove(&(node.to_owned(), attempt))
                && kind != "command_lost"
            {
                record.ended.push(work);
            }
        }
    }
    record.under_way = started.into_values().collect();
    record
}

/// A project for many runs, each with a counter of its own.
struct Place {
    lab: Lab,
    sandbox_free: bool,
    runs: usize,
}

impl Place {
    fn new(text: &str, sandbox_free: bool) -> Self {
        let lab = Lab::in_git();
        lab.write("blueprints/part/blueprint.toml", PART);
        lab.blueprint("everything", text);
        Self { lab, sandbox_free, runs: 0 }
    }

    /// The counter of the next run. In a sandbox nothing outside can be written, so there the journal alone is
    /// the witness.
    fn next(&mut self) -> std::path::PathBuf {
        self.runs += 1;
        if self.sandbox_free {
            self.lab.beside(&format!("counter-{}", self.runs))
        } else {
            "/dev/null".into()
        }
    }
}

const FREE: &[&str] = &["--sandbox", "none", "--sync", "normal", "--quiet"];
const BOXED: &[&str] = &["--sandbox", "process", "--sync", "normal", "--quiet"];

fn run(lab: &Lab, counter: &Path, settings: &[&str], env: &[(&str, &str)]) -> Said {
    let input = format!("counter={}", counter.display());
    lab.say_with(env, &[&["run", "everything", "-i", &input], settings].concat())
}

/// Goes on with a run until it has ended, approving when it is asked to.
fn to_the_end(lab: &Lab, run: &str, settings: &[&str]) {
    let mut approved = false;
    for _ in 0..4 {
        let status = lab.status(run);
        if status["status"] == "succeeded" {
            return;
        }
        if status["status"] == "waiting" && !approved {
            let said = lab.say(&[&["approve", run], settings, &["--resume"]].concat());
            // A decision that was left before the kill may be taken in first; the run goes on either way.
            if said.status.code() == Some(0) {
                approved = true;
                continue;
            }
            said.ends(75);
            continue;
        }
        let said = lab.say(&[&["resume", run], settings].concat());
        assert!(matches!(said.status.code(), Some(0 | 75)), "{said}");
    }
    assert_eq!(lab.status(run)["status"], "succeeded");
}

/// An undisturbed run.
fn undisturbed(place: &mut Place, settings: &[&str]) -> (End, Counts, usize) {
    let counter = place.next();
    run(&place.lab, &counter, settings, &[]).ends(75);
    let id = place.lab.run();
    place.lab.say(&[&["approve", &id], settings, &["--resume"]].concat()).ends(0);
    let end = end_of(&place.lab, &id);
    assert_eq!(end.status, "succeeded");
    (end, counts(&counter), place.lab.events(&id).len())
}

/// Kills a run once at an event and lets it go on. Says how far the journal was.
fn kill_and_go_on(
    place: &mut Place,
    variable: &str,
    event: u64,
    settings: &[&str],
    expected: &(End, Counts, usize),
) -> Option<u64> {
    let counter = place.next();
    let (lab, free) = (&place.lab, place.sandbox_free);
    let at = event.to_string();
    let crash = [(variable, at.as_str())];
    let mut killed = run(lab, &counter, settings, &crash);
    let runs = lab.runs();
    assert_eq!(runs.len(), place.runs);
    let id = runs[0]["id"].as_str().unwrap().to_owned();
    if killed.status.code() == Some(75) {
        killed = lab.say_with(&crash, &[&["approve", &id], settings, &["--resume"]].concat());
    }
    if !killed.was_killed() {
        killed.ends(0);
        return None;
    }
    wait_for_orphans(&id);
    if runs[0]["events"] == 0 {
        // It never began: there is nothing to go on with, and it says so.
        lab.say(&["resume", &id]).ends(3).mentions("start it again");
        lab.verify(&id);
        return Some(0);
    }
    let at_the_kill = lab.events(&id);
    let reached = at_the_kill.len() as u64;
    let record = on_record(&at_the_kill);
    let before = counts(&counter);
    to_the_end(lab, &id, settings);
    let what = format!("{variable}={event}, killed at {reached}");
    assert_eq!(end_of(lab, &id), expected.0, "{what}");
    lab.verify(&id);
    let after = lab.events(&id);
    assert_eq!(after[..at_the_kill.len()], at_the_kill, "{what}: the past changed");
    let mut ended = on_record(&after).ended;
    ended.sort();
    let each: Vec<&String> = expected.1.keys().collect();
    if free {
        let counts = counts(&counter);
        assert_eq!(counts.keys().collect::<Vec<_>>(), each, "{what}");
        for (work, count) in &counts {
            if record.ended.contains(work) {
                assert_eq!(
                    (*count, before.get(work)),
                    (1, Some(&1)),
                    "{what}: {work} has an outcome and ran again"
                );
            } else if record.under_way.contains(work) {
                assert!((1..=2).contains(count), "{what}: {work} ran {count} times");
            } else {
                assert_eq!(*count, 1, "{what}: {work} ran {count} times");
            }
        }
    }
    // By the journal, everything has exactly one outcome in each round, but for what is tried again in it.
    ended.retain(|work| work != "flaky 1");
    let mut once = ended.clone();
    once.dedup();
    assert_eq!(once, ended, "{what}: two outcomes");
    Some(reached)
}

/// At every position that the journal can stop at, because events are written in whole transactions.
fn kill_everywhere(text: &str, variable: &str, settings: &[&str], free: bool, step: u64) {
    let mut place = Place::new(text, free);
    let expected = undisturbed(&mut place, settings);
    let mut event = 1;
    let mut positions = Vec::new();
    while let Some(reached) = kill_and_go_on(&mut place, variable, event, settings, &expected) {
        positions.push(reached);
        let next = if variable.contains("AFTER") { reached + 1 } else { event + 1 };
        event = next.max(event + step);
    }
    assert!(event as usize > expected.2, "the run was not killed at {event}, but has {} events", expected.2);
    assert!(positions.len() as u64 > 10 / step, "{positions:?}");
}

#[cfg(debug_assertions)]
#[test]
fn killed_right_after_any_event_is_durable_a_run_ends_the_same() {
    kill_everywhere(EVERYTHING, "BLUEPRINT_CRASH_AFTER_EVENT", FREE, true, 1);
}

#[cfg(debug_assertions)]
#[test]
fn killed_right_before_any_event_is_durable_a_run_ends_the_same() {
    kill_everywhere(EVERYTHING, "BLUEPRINT_CRASH_BEFORE_EVENT", FREE, true, 2);
}

#[cfg(debug_assertions)]
#[test]
fn killed_in_used_blueprints_pauses_and_tries_a_run_ends_the_same() {
    kill_everywhere(NESTED, "BLUEPRINT_CRASH_AFTER_EVENT", FREE, true, 2);
}

#[cfg(debug_assertions)]
#[test]
fn killed_in_the_sandbox_a_run_ends_the_same() {
    kill_everywhere(EVERYTHING, "BLUEPRINT_CRASH_AFTER_EVENT", BOXED, false, 6);
}

#[test]
fn killed_from_outside_at_any_time_a_run_ends_the_same() {
    let mut place = Place::new(EVERYTHING, true);
    let expected = undisturbed(&mut place, FREE);
    let total = expected.2 as u64;
    let mut deaths = 0;
    for round in 0..30_u64 {
        // Spread over the journal; the moment within the event is whatever the machine makes of it.
        let target = 1 + round * (total - 1) / 30;
        let counter = place.next();
        let lab = &place.lab;
        let input = format!("counter={}", counter.display());
        let mut driver =
            lab.start(&[&["run", "everything", "-i", &input, "--format", "json"], FREE].concat());
        let reached = |driver: &super::lab::Running| {
            driver.out().matches("\"type\":\"event\"").count() as u64 >= target
        };
        wait_until("the event is durable or the run is over", || {
            (reached(&driver) || driver.is_over()).then_some(())
        });
        if driver.is_over() {
            // It came to the gate first: what is behind the gate is killed in its place.
            driver.end().ends(75);
            let id = lab.run();
            driver = lab.start(&[&["approve", &id, "--format", "json"], FREE, &["--resume"]].concat());
            wait_until("anything is said or it is over", || {
                (!driver.out().is_empty() || driver.is_over()).then_some(())
            });
        }
        driver.signal(rustix::process::Signal::KILL);
        deaths += u32::from(driver.end().was_killed());
        let id = lab.run();
        wait_for_orphans(&id);
        let record = on_record(&lab.events(&id));
        to_the_end(lab, &id, FREE);
        assert_eq!(end_of(lab, &id), expected.0, "round {round}");
        lab.verify(&id);
        let counts = counts(&counter);
        for (work, count) in &counts {
            let most = if record.under_way.contains(work) { 2 } else { 1 };
            assert!(*count <= most, "round {round}: {work} ran {count} times");
        }
        assert_eq!(counts.keys().collect::<Vec<_>>(), expected.1.keys().collect::<Vec<_>>());
    }
    assert!(deaths > 15, "only {deaths} of 30 were killed in time");
}
