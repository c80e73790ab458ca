//! How work flows through a graph: conditions, joins, maps, used blueprints, pauses, retries and budgets.

use super::lab::{Lab, node_of};

fn phases(lab: &Lab, run: &str, nodes: &[&str]) -> Vec<String> {
    let status = lab.status(run);
    nodes.iter().map(|node| node_of(&status, node)["phase"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_condition_that_is_false_skips_a_node_and_what_needs_it() {
    let lab = Lab::in_git();
    lab.blueprint(
        "branches",
        r#"
[inputs]
deploy = { type = "boolean", default = false }

[nodes.look]
run    = ["printf", "%s", '{"kind": "docs", "size": 3}']
output = { kind = "string", size = "integer" }

[nodes.docs]
needs = ["look"]
when  = "nodes.look.kind == 'docs' and nodes.look.size > 2"
run   = "true"

[nodes.code]
needs = ["look"]
when  = "nodes.look.kind == 'code'"
run   = "true"

[nodes.behind]
needs = ["code"]
run   = "true"

[nodes.either]
needs = ["docs", "code"]
join  = "any"
run   = "true"

[nodes.report]
needs = ["docs", "behind"]
join  = "settled"
run   = "echo"
args  = ["nodes.behind.status"]

[nodes.deploy]
needs = ["report"]
when  = "inputs.deploy"
run   = "true"
"#,
    );
    lab.say(&["run", "branches"]).ends(0).mentions("report  | skipped");
    let run = lab.run();
    let nodes = ["look", "docs", "code", "behind", "either", "report", "deploy"];
    assert_eq!(
        phases(&lab, &run, &nodes),
        ["succeeded", "succeeded", "skipped", "skipped", "succeeded", "succeeded", "skipped"]
    );
    lab.say(&["run", "branches", "-i", "deploy=true"]).ends(0);
    assert_eq!(phases(&lab, &lab.run(), &["deploy"]), ["succeeded"]);
}

#[test]
fn a_node_behind_a_failure_runs_only_if_it_waits_for_any_end() {
    let lab = Lab::in_git();
    lab.blueprint(
        "failing",
        r#"
[nodes.bad]
run = "false"
[nodes.good]
run = "true"
[nodes.all]
needs = ["bad", "good"]
run   = "true"
[nodes.cleanup]
needs = ["bad", "good"]
join  = "settled"
run   = "true"
"#,
    );
    lab.say(&["run", "failing"]).ends(1).mentions("✗ bad: `false` exited with 1");
    assert_eq!(
        phases(&lab, &lab.run(), &["bad", "good", "all", "cleanup"]),
        ["failed", "succeeded", "skipped", "succeeded"]
    );
}

#[test]
fn a_map_runs_once_for_each_item_and_no_more_at_a_time_than_it_may() {
    let lab = Lab::in_git();
    let busy = lab.beside("busy");
    std::fs::create_dir(&busy).unwrap();
    lab.blueprint(
        "mapped",
        r#"
[inputs]
items = { type = "list", default = ["a b", "$(id)", "'", "d"] }
busy  = { type = "string" }

# Each makes a folder while it works, counts how many there are, and takes it away again.
[nodes.map]
each         = "inputs.items"
max_parallel = 2
shell        = "sh"
run          = '''
mkdir "$BUSY/$INDEX"
seen=$(ls "$BUSY" | wc -l)
printf '%s' "$ITEM" > "item-$INDEX"
rmdir "$BUSY/$INDEX"
printf '{"item": "%s", "seen": %s}' "$(printf '%s' "$ITEM" | base64)" "$seen"
'''
env          = { ITEM = "item", INDEX = "index", BUSY = "inputs.busy" }
output       = { item = "string", seen = "integer" }

[nodes.after]
needs = ["map"]
run   = "printf '%s\\n'"
args  = ["nodes.map.seen | max", "nodes.map.item | length"]
"#,
    );
    lab.say(&[
        "run",
        "mapped",
        "--sandbox",
        "none",
        "--jobs",
        "8",
        "-i",
        &format!("busy={}", busy.display()),
    ])
    .ends(0);
    let run = lab.run();
    let log = lab.say(&["logs", &run, "after"]).ends(0).out;
    let most: u32 = log.lines().next().unwrap().trim_start_matches("after | ").parse().unwrap();
    assert!((1..=2).contains(&most), "{log}");
    assert!(log.contains("after | 4"), "{log}");
    let diff = lab.diff(&run);
    for (index, item) in ["a b", "$(id)", "'", "d"].iter().enumerate() {
        assert!(diff.contains(&format!("b/item-{index}\n@@ -0,0 +1 @@\n+{item}\n")), "{diff}");
    }
    assert_eq!(phases(&lab, &run, &["map", "map[0]", "map[3]"]), ["succeeded", "succeeded", "succeeded"]);
}

#[test]
fn a_map_of_nothing_succeeds() {
    let lab = Lab::in_git();
    lab.blueprint("mapped", "[inputs]\nitems = { type = \"list\", default = [] }\n[nodes.map]\neach = \"inputs.items\"\nrun = \"false\"\n[nodes.after]\nneeds = [\"map\"]\nrun = \"true\"\n");
    lab.say(&["run", "mapped"]).ends(0);
}

#[test]
fn a_used_blueprint_takes_inputs_and_gives_values_back() {
    let lab = Lab::in_git();
    lab.write(
        "blueprints/double/blueprint.toml",
        r#"
schema = 1
name   = "double"

[inputs]
number = { type = "integer", max = 100 }

[nodes.compute]
shell  = "sh"
run    = 'echo "twice=$((NUMBER * 2))"; echo "$NUMBER" > "computed-$NUMBER"'
env    = { NUMBER = "inputs.number" }
output = { twice = "integer" }
output_from = "lines"

[returns]
result = "nodes.compute.twice"
"#,
    );
    lab.blueprint(
        "outer",
        r#"
[nodes.once]
use  = "double"
with = { number = "21" }

[nodes.many]
needs = ["once"]
use   = "double"
each  = "[1, 2, 3]"
with  = { number = "item" }

[nodes.show]
needs = ["many"]
run   = "printf '%s;'"
args  = ["nodes.once.result", "nodes.many.result"]
"#,
    );
    lab.say(&["run", "outer"]).ends(0).mentions("42;[2,4,6];");
    let run = lab.run();
    assert_eq!(phases(&lab, &run, &["once/compute", "many[0]/compute", "many[2]/compute"]), ["succeeded"; 3]);
    let diff = lab.diff(&run);
    for number in [21, 1, 2, 3] {
        assert!(diff.contains(&format!("b/computed-{number}")), "{diff}");
    }
}

#[test]
fn a_failure_is_tried_again_only_if_it_may_be_and_with_a_pause() {
    let lab = Lab::in_git();
    lab.blueprint(
        "flaky",
        r#"
[inputs]
tries = { type = "string" }

[nodes.flaky]
shell   = "sh"
run     = 'echo x >> "$TRIES"; if test "$(wc -l < "$TRIES")" -lt 3; then sleep 600; fi'
env     = { TRIES = "inputs.tries" }
timeout = "200ms"
retry   = { attempts = 4, backoff = "20ms", on = ["timeout"] }

[nodes.wrong]
needs = ["flaky"]
run   = "false"
retry = { attempts = 4, backoff = "20ms", on = ["timeout"] }
"#,
    );
    let tries = lab.beside("tries");
    let said =
        lab.say(&["run", "flaky", "--sandbox", "none", "-i", &format!("tries={}", tries.display())]).ends(1);
    let said = said
        .mentions("took longer than 200 ms")
        .mentions("another try in 20 ms")
        .mentions("another try in 40 ms");
    assert_eq!(std::fs::read_to_string(&tries).unwrap().lines().count(), 3);
    let run = lab.run();
    let status = lab.status(&run);
    assert_eq!(node_of(&status, "flaky")["attempt"], 3, "{said}");
    assert_eq!(node_of(&status, "wrong")["attempt"], 1);
}

#[test]
fn a_time_limit_ends_a_whole_family_of_processes() {
    let lab = Lab::in_git();
    lab.blueprint("slow", "[nodes.slow]\nshell = \"sh\"\nrun = 'trap \"\" TERM; sleep 600 & sleep 600; wait'\ntimeout = \"300ms\"\n");
    lab.say(&["run", "slow"]).ends(1).mentions("failed (timeout)");
    super::lab::wait_for_orphans(&lab.run());
}

#[test]
fn the_time_budget_of_a_run_ends_it() {
    let lab = Lab::in_git();
    lab.blueprint("long", "[budget]\nwall = \"500ms\"\n[nodes.long]\nrun = \"sleep 600\"\n[nodes.after]\nneeds = [\"long\"]\nrun = \"true\"\n");
    lab.say(&["run", "long"]).ends(1).mentions("the time budget of the run is used up");
    assert_eq!(phases(&lab, &lab.run(), &["long", "after"]), ["cancelled", "cancelled"]);
}

#[test]
fn a_pause_that_is_far_away_lets_the_program_leave() {
    let lab = Lab::new();
    lab.blueprint("later", "[nodes.pause]\nwait = \"2h\"\n[nodes.short]\nwait = \"20ms\"\n");
    lab.say(&["run", "later"]).ends(75).mentions("goes on by itself when resumed after");
    let run = lab.run();
    assert_eq!(phases(&lab, &run, &["pause", "short"]), ["waiting", "succeeded"]);
    lab.say(&["resume"]).ends(75);
}

#[test]
fn parallel_changes_are_merged_and_a_conflict_is_a_failure_of_its_own_class() {
    let lab = Lab::in_git();
    let blueprint = |right: &str| {
        format!(
            "[defaults]\nshell = \"sh\"\n[nodes.left]\nrun = 'echo left > left'\n[nodes.right]\nrun = 'echo right > {right}'\n\
             [nodes.join]\nneeds = [\"left\", \"right\"]\nrun = 'cat left {right}'\nworkspace = \"read\"\n"
        )
    };
    lab.blueprint("merging", &blueprint("right"));
    lab.say(&["run", "merging"]).ends(0).mentions("join   | left").mentions("join   | right");
    lab.blueprint("merging", &blueprint("left"));
    lab.say(&["run", "merging"])
        .ends(1)
        .mentions("failed (conflict): parallel nodes changed the same places: left");
}

#[test]
fn a_run_of_many_nodes_without_commands_needs_no_sandbox() {
    let lab = Lab::new();
    let mut text = "[defaults]\nworkspace = \"none\"\n".to_owned();
    for number in 0..200 {
        let needs = if number < 10 {
            String::new()
        } else {
            format!("needs = [\"n{}\", \"n{}\"]\n", number - 10, number - 7)
        };
        text = format!("{text}[nodes.n{number}]\nwait = \"0s\"\n{needs}");
    }
    lab.blueprint("many", &text);
    lab.say(&["run", "many", "--quiet"]).ends(0).mentions("200 succeeded");
    lab.verify(&lab.run());
}
