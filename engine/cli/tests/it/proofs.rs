//! What is proved before a run holds in it: tiers that follow from what flows, secrets and effects kept from the work of
//! models, and gates that pass on what they showed and nothing else.

use serde_json::Value;

use super::lab::Lab;

fn started(lab: &Lab, run: &str, node: &str) -> Value {
    let events = lab.events(run);
    let started = events.iter().rev().find_map(|event| {
        let start = &event["event"]["issued"]["start_node"];
        (start["node"] == node).then(|| start.clone())
    });
    started.unwrap_or_else(|| panic!("{node} did not start: {events:#?}"))
}

/// The tier of a node as `plan` says it.
fn planned(lab: &Lab, blueprint: &str, node: &str) -> String {
    let plan = lab.say(&["plan", blueprint, "--format", "json"]).ends(0).json();
    let nodes = plan["graphs"][0]["nodes"].as_array().unwrap();
    let found = nodes.iter().find(|found| found["node"] == node).unwrap();
    found["tier"].as_str().unwrap().to_owned()
}

#[test]
fn tiers_follow_from_what_flows_and_the_run_finds_the_same() {
    let lab = Lab::in_git();
    lab.blueprint(
        "flow",
        r#"
[inputs]
title = { type = "string", default = "x", tier = "untrusted" }
[nodes.plain]
run = "true"
[nodes.reads]
needs = ["plain"]
shell = "sh"
run = 'echo "$T" > t; echo "{\"word\": \"$T\"}"'
env = { T = "inputs.title" }
output = { word = "string" }
[nodes.behind]
needs = ["reads"]
run = "cat t"
[nodes.apart]
needs = ["reads"]
run = "true"
workspace = "none"
[nodes.named]
needs = ["reads"]
run = "echo"
args = ["nodes.reads.word"]
workspace = "none"
[nodes.approve]
needs = ["behind", "reads"]
gate = { min = 1 }
[nodes.after]
needs = ["approve"]
run = "echo"
args = ["nodes.reads.word"]
"#,
    );
    lab.say(&["run", "flow"]).ends(75);
    let run = lab.run();
    lab.say(&["approve", &run, "approve", "--resume"]).ends(0);
    let expected = [
        ("plain", "trusted"),
        ("reads", "untrusted"),
        ("behind", "untrusted"),
        ("apart", "trusted"),
        ("named", "untrusted"),
        ("after", "trusted"),
    ];
    for (node, tier) in expected {
        assert_eq!(planned(&lab, "flow", node), tier, "{node}");
        assert_eq!(started(&lab, &run, node)["taint"], tier, "{node}");
    }
    let why = lab.say(&["explain", "behind", "--blueprint", "flow"]).ends(0);
    assert!(why.out.contains("Its tier is untrusted: `inputs.title` is untrusted"), "{why}");
    assert!(why.out.contains("`behind` starts from the workspace that `reads` leaves"), "{why}");
}

#[test]
fn a_secret_behind_the_work_of_a_model_starts_nothing() {
    let lab = Lab::in_git();
    lab.blueprint(
        "leak",
        r#"
[inputs]
title = { type = "string", default = "x", tier = "untrusted" }
token = { type = "secret" }
[nodes.fix]
agent  = { prompt = "{{ inputs.title }}", model = "coding" }
tools  = ["fs.*"]
output = { word = "string" }
[nodes.publish]
needs = ["fix"]
run = "true"
env = { TOKEN = "inputs.token" }
"#,
    );
    let said = lab.say(&["run", "leak", "--secret", "token=env:HOME"]).ends(2);
    said.mentions("BP171").mentions("`publish` holds a secret and works with what is untrusted");
    assert!(lab.runs().is_empty());
}

#[test]
fn a_gate_passes_on_what_it_showed_and_not_what_came_later() {
    let lab = Lab::in_git();
    lab.blueprint(
        "late",
        r#"
[nodes.early]
shell = "sh"
run = "echo early > early"
[nodes.slow]
needs = ["early"]
wait = "100ms"
[nodes.later]
needs = ["slow"]
shell = "sh"
run = "echo later > later"
[nodes.approve]
needs = ["early", "later"]
join = "any"
gate = { min = 1 }
[nodes.after]
needs = ["approve"]
run = "ls"
"#,
    );
    // The gate opens when `early` is done; the run waits at it when `later` is done as well.
    lab.say(&["run", "late"]).ends(75);
    let run = lab.run();
    assert_eq!(lab.phase(&run, "later"), "succeeded");
    let said = lab.say(&["approve", &run, "approve", "--resume"]).ends(0);
    let listed = lab.say(&["logs", &run, "after"]).ends(0).out;
    assert!(listed.contains("early"), "{listed} {said}");
    assert!(!listed.contains("later"), "nobody has approved it: {listed}");
}

#[test]
fn an_invariant_that_does_not_hold_is_shown_with_the_way() {
    let lab = Lab::new();
    lab.blueprint(
        "claims",
        r#"
[nodes.build]
run = "true"
[nodes.test]
needs = ["build"]
run = "true"
[nodes.deploy]
needs = ["build"]
run = "true"
[[prove]]
before = "deploy"
passed = "test"
"#,
    );
    let said = lab.say(&["run", "claims"]).ends(2);
    said.mentions("BP180").mentions("this way leads there: `build` → `deploy`");
    assert!(lab.runs().is_empty());
}
