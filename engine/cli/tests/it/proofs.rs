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

/// A model with a price and a window that nobody is asked for.
const PRICED: &str = r#"
[models.aliases]
coding = ["near/claude-test"]
[models.providers.near]
kind     = "anthropic"
base_url = "http://127.0.0.1:9/v1"
key_env  = "NEAR_KEY"
[models.known."near/claude-test"]
window = 100000
longest_answer = 1000
price = { input = 3.0, output = 15.0 }
"#;

#[test]
fn a_bill_is_worked_out_and_refuses_before_anything_is_spent() {
    let lab = Lab::in_git();
    lab.settings(PRICED);
    lab.blueprint(
        "dear",
        r#"
[nodes.fix]
agent = { prompt = "Mend it.", model = "coding", max_turns = 10 }
timeout = "10m"
[nodes.test]
needs = ["fix"]
run = "true"
timeout = "5m"
repair = { from = "fix", rounds = 3 }
[nodes.approve]
needs = ["test"]
gate = { min = 2 }
"#,
    );
    let plan = lab.say(&["plan", "dear", "--format", "json"]).ends(0).json();
    let most = &plan["bill"]["most"];
    // Three rounds of ten turns, each asked three times at most, of a full window and a full answer.
    assert_eq!(most["calls"], 90, "{plan:#}");
    assert_eq!(most["tokens"], 90 * 101_000);
    assert_eq!(most["cost_micros"], 90 * (100_000 * 3 + 1_000 * 15));
    assert_eq!(most["questions"], 2);
    assert_eq!(most["sandboxes"], 6);
    assert_eq!(plan["bill"]["longest"], serde_json::json!(["fix", "test"]));
    let said = lab.say(&["run", "dear", "--max-usd", "28.34"]).ends(2);
    said.mentions("this run may cost $28.35").mentions("nothing was started");
    assert!(lab.runs().is_empty());
    lab.say(&["plan", "dear", "--max-usd", "28.35", "--max-wall", "3h"]).ends(0);
    lab.say(&["run", "dear", "--max-wall", "10m"]).ends(2).mentions("this run may take");
    lab.say(&["run", "dear", "--max-usd", "-1"]).ends(2);
    // A budget of the blueprint is what it can cost at most.
    lab.blueprint(
        "bounded",
        "[budget]\ncost_usd = 2\n[nodes.fix]\nagent = { prompt = \"Mend it.\", model = \"coding\" }\n",
    );
    lab.say(&["plan", "bounded", "--max-usd", "2"]).ends(0);
    // What is not known counts as too much.
    lab.settings(&PRICED.replace("price = { input = 3.0, output = 15.0 }", ""));
    let said = lab.say(&["run", "dear", "--max-usd", "1000"]).ends(2);
    said.mentions("nothing bounds the money of this run")
        .mentions("the price of the model `coding` is not known");
    assert!(lab.runs().is_empty());
}

#[test]
fn findings_are_written_as_sarif() {
    let lab = Lab::new();
    lab.blueprint(
        "leaky",
        "[nodes.a]\nrun = \"true\"\ntier = \"trusted\"\n[nodes.b]\nneeds = [\"a\", \"ü\"]\nrun = \"b\"\n",
    );
    let log = lab.say(&["check", "leaky", "--format", "sarif"]).ends(2).json();
    assert_eq!(log["version"], "2.1.0");
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "BP012");
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "blueprints/leaky/blueprint.toml");
    assert_eq!(place["region"]["startLine"], 7);
    assert_eq!(
        place["region"]["endColumn"].as_u64().unwrap() - place["region"]["startColumn"].as_u64().unwrap(),
        3
    );
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][0]["id"], "BP012");
    lab.say(&["plan", "leaky", "--format", "sarif"]).ends(2).mentions("only `check` has findings");
}

#[test]
fn what_the_project_or_the_user_demands_holds_for_every_blueprint_and_what_it_uses() {
    let lab = Lab::in_git();
    lab.blueprint("inner", "[nodes.post]\nhttp = { url = \"https://example.org/x\", method = \"POST\" }\n");
    lab.blueprint(
        "outer",
        "[nodes.build]\nrun = \"true\"\n[nodes.deploy]\nneeds = [\"build\"]\nuse = \"inner\"\n",
    );
    lab.blueprint(
        "gated",
        "[nodes.ask]\ngate = { min = 1 }\n[nodes.deploy]\nneeds = [\"ask\"]\nuse = \"inner\"\n",
    );
    lab.say(&["check", "outer"]).ends(0);
    let demand = "[[prove]]\nbefore = \"effect:commit\"\ngated_by = \"human\"\n";
    // By the user, or by the project: neither can take it back.
    lab.settings(demand);
    let said = lab.say(&["run", "outer"]).ends(2);
    said.mentions("BP180")
        .mentions("`post` can start without a person having approved")
        .mentions("config.toml:1 demands");
    lab.say(&["check", "gated"]).ends(0);
    lab.settings("");
    lab.write("blueprint.toml", demand);
    lab.say(&["check", "outer"]).ends(2).mentions("BP180");
    lab.say(&["check", "gated"]).ends(0);
    assert!(lab.runs().is_empty());
    // One that makes no sense stops everything.
    lab.write("blueprint.toml", "[[prove]]\nbefore = \"deploy\"\npassed = \"kind:run\"\n");
    lab.say(&["check", "gated"]).ends(2).mentions("settings know no names");
}

#[test]
fn what_was_granted_and_never_used_is_shown_as_a_difference() {
    let lab = Lab::in_git();
    let script = "[[turn]]\n[[turn.call]]\ntool = \"fs.read\"\nargs = { path = \"README\" }\n[[turn]]\ntext = \"Done.\"\n";
    lab.write("blueprints/wide/model.toml", script);
    lab.blueprint(
        "wide",
        "[nodes.think]\nagent = { prompt = \"Look.\", model = \"scripted/model.toml\" }\ntools = [\"fs.*\", \"shell\"]\nnetwork = [\"example.org\"]\n",
    );
    assert!(lab.say(&["grants", "wide"]).ends(0).out.contains("0 runs with these grants are too few"));
    for _ in 0..2 {
        lab.say(&["run", "wide"]).ends(0);
    }
    let said = lab.say(&["grants", "wide", "--least", "2"]).ends(0).out;
    for line in
        ["# think: of 2 runs", "[nodes.think]", "- tools = [\"fs.*\", \"shell\"]", "+ tools = [\"fs.read\"]"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.contains("- network = [\"example.org:443\"]"), "{said}");
    let told = lab.say(&["grants", "wide", "--format", "json"]).ends(0).json();
    assert_eq!(told["nodes"][0]["runs"], 2, "{told:#}");
}
