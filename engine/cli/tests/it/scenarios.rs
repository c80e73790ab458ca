//! Scenarios: tests of blueprints. What they stand in for, what they refuse, what they say when a blueprint is broken,
//! and that they leave nothing behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::lab::{Lab, Said};

/// A scenario of a blueprint.
fn scenario(lab: &Lab, blueprint: &str, name: &str, text: &str) {
    lab.write(&format!("blueprints/{blueprint}/tests/{name}.toml"), text);
}

/// Runs scenarios, with a folder for temporary files of their own.
fn test(lab: &Lab, args: &[&str]) -> Said {
    let place = lab.beside("tmp");
    std::fs::create_dir_all(&place).unwrap();
    lab.say_with(&[("TMPDIR", place.to_str().unwrap())], &[&["test"][..], args].concat())
}

fn left_behind(lab: &Lab) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(lab.beside("tmp")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// What was said without what is different each time.
fn steady(said: &Said) -> String {
    let line = |line: &str| match line.split_once("  ") {
        Some((name, rest)) if name.starts_with("ok ") || name.starts_with("FAILED") => {
            let told = if rest.ends_with("scripted model") { "  scripted model" } else { "" };
            format!("{name}{told}")
        }
        _ if line.contains("kept in ") => "  kept in PLACE".to_owned(),
        _ if line.contains("its log: ") => "  its log: COMMAND".to_owned(),
        _ => line.to_owned(),
    };
    said.out.lines().map(|text| line(&text.replacen("ok     ", "ok ", 1)) + "\n").collect()
}

/// Every file of a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(content(&entry.path()));
        } else {
            found.insert(entry.path(), std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_shipped_blueprints_pass_and_nothing_of_the_project_changes() {
    let lab = Lab::in_git();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../blueprints"), &lab.project().join("blueprints"));
    // The worst place for temporary projects: inside of the user's repository.
    let place = lab.project().join("tmp");
    std::fs::create_dir_all(&place).unwrap();
    let before = content(&lab.project());
    let said = lab.say_with(&[("TMPDIR", place.to_str().unwrap())], &["test"]).ends(0);
    assert_eq!(content(&lab.project()), before, "a test changed the project");
    assert!(!lab.state().exists(), "a test made a state folder");
    let out = &said.out;
    for line in out.lines().filter(|line| line.contains("hello/")) {
        assert!(line.starts_with("ok ") && line.ends_with("scripted model"), "{line}");
    }
    assert!(out.contains("hello/happy") && out.contains("rust-check/clippy-red"), "{out}");
    assert!(
        out.lines().filter(|line| line.contains("rust-check/")).all(|line| !line.contains("model")),
        "{out}"
    );
    assert!(std::fs::read_dir(&place).unwrap().next().is_none(), "a scenario that passed was kept");
}

const LOOP: &str = r#"
[nodes.write]
run = "false"
[nodes.format]
needs = ["write"]
run   = "false"
[nodes.verify]
needs  = ["format"]
run    = "false"
repair = { from = "write", rounds = 3 }
[nodes.publish]
needs = ["verify"]
run   = "false"
"#;

const LOOPED: &str = r#"
summary = "a red verify goes one round"
[stubs]
write   = { ends = "succeeded" }
format  = { ends = "succeeded" }
publish = { ends = "succeeded" }
verify  = [{ ends = "failed", message = "red" }, { ends = "failed", message = "amber" }, { ends = "succeeded" }]
[expect]
outcome = "succeeded"
route   = ["write", "format", "verify", "write#2", "format#2", "verify#2", "write#3", "format#3", "verify#3", "publish"]
nodes   = { verify = { phase = "succeeded", rounds = 3, attempts = 3, failure = "command" } }
"#;

#[test]
fn a_broken_blueprint_fails_with_both_routes() {
    let lab = Lab::in_git();
    lab.blueprint("loop", LOOP);
    scenario(&lab, "loop", "red", LOOPED);
    test(&lab, &["loop"]).ends(0);
    assert_eq!(left_behind(&lab), Vec::<PathBuf>::new());

    lab.blueprint("loop", &LOOP.replace("rounds = 3", "rounds = 2"));
    let said = test(&lab, &["loop"]).ends(1);
    let expected = "\
FAILED loop/red
  a red verify goes one round
  outcome: expected succeeded, got escalated
  route:
      expected  got
      write     write
      format    format
      verify    verify  failed (command)
      write#2   write#2
      format#2  format#2
      verify#2  verify#2  failed (command)
   -> write#3   -   the first difference
   !  format#3  -
   !  verify#3  -
   !  publish   -
  phase of `verify`: expected succeeded, got failed
  rounds of `verify`: expected 3, got 2
  attempts of `verify`: expected 3, got 2
  verify failed (command): red
  verify#2 failed (command): amber
  kept in PLACE
  its log: COMMAND
0 ok, 1 failed
";
    assert_eq!(steady(&said), expected, "{said}");

    // The command that is named shows the log.
    let log = said.out.lines().find_map(|line| line.trim().strip_prefix("its log: blueprint ")).unwrap();
    lab.say(&log.split(' ').collect::<Vec<_>>()).ends(0);

    // An edge that is gone, and steps in the wrong order.
    lab.blueprint("loop", &LOOP.replace("needs = [\"verify\"]\n", ""));
    let said = test(&lab, &["loop"]).ends(1);
    assert!(said.out.contains("   -> -         publish   the first difference"), "{said}");
    lab.blueprint("loop", &LOOP.replace("[\"format\"]", "[\"f\"]").replace("nodes.format", "nodes.f"));
    test(&lab, &["loop"]).ends(2).mentions("red.toml:5:1: unknown node `format`");
    let swapped = LOOP
        .replace("[nodes.write]\n", "[nodes.write]\nneeds = [\"format\"]\n")
        .replace("needs = [\"write\"]\n", "")
        .replace("needs  = [\"format\"]", "needs  = [\"write\"]")
        .replace("from = \"write\"", "from = \"format\"");
    lab.blueprint("loop", &swapped);
    let said = test(&lab, &["loop"]).ends(1);
    assert!(
        said.out.contains(
            "   -> write     -   the first difference\n      format    format\n   !  -         write\n"
        ),
        "{said}"
    );
}

#[test]
fn files_that_are_wrong_are_refused_with_their_line() {
    let lab = Lab::in_git();
    let think = "[nodes.think]\nagent = { prompt = \"Think.\", model = \"scripted/m.model.toml\" }\noutput = { cause = \"string\" }\n";
    lab.write("blueprints/b/m.model.toml", "[[turn]]\ntext = \"Done.\"\n");
    lab.blueprint("b", &format!("[inputs]\nwhom = {{ type = \"string\" }}\n[nodes.use]\nrun = \"true\"\nworkspace = \"read\"\n{think}[nodes.ask]\ngate = {{ min = 2 }}\n"));
    let good = "inputs = { whom = \"x\" }\n[expect]\noutcome = \"succeeded\"\n";
    let cases = [
        ("", "1:1: missing field `expect`"),
        ("[expect]\n", "1:1: missing field `outcome`"),
        ("[expect]\noutcome = \"succeeded\"\n", "1:1: the input `whom`, a text, is missing"),
        ("[expect]\noutcom = \"succeeded\"\n", "2:1: unknown key `outcom`; did you mean `outcome`?"),
        ("[expect]\noutcome = \"succeded\"\n", "2:11: unknown outcome `succeded`; did you mean `succeeded`?"),
        ("inputs = { whom = 3 }\n[expect]\noutcome = \"failed\"\n", "1:12: the input `whom` does not fit"),
        (
            "inputs = { who = \"x\" }\n[expect]\noutcome = \"failed\"\n",
            "1:12: unknown input `who`; did you mean `whom`?",
        ),
        ("[stubs.uze]\nends = \"succeeded\"\n", "5:8: unknown node `uze`; did you mean `use`?"),
        ("[stubs.use]\nends = \"maybe\"\n", "6:8: unknown value `maybe`"),
        (
            "[stubs.use]\nends = \"succeeded\"\nmesage = \"x\"\n",
            "7:1: unknown key `mesage`; did you mean `message`?",
        ),
        (
            "[stubs.use]\nends = \"succeeded\"\nmessage = \"x\"\n",
            "7:11: only a node that `ends = \"failed\"`",
        ),
        ("[stubs.use]\nends = \"succeeded\"\nwrites = { \"a\" = \"b\" }\n", "7:12: `use` cannot write"),
        (
            "[stubs.use]\nends = \"succeeded\"\nwrites = { \"../a\" = \"b\" }\n",
            "`../a` is not a path of the workspace",
        ),
        ("[stubs.think]\nends = \"succeeded\"\n", "5:8: the stub of `think` lacks the output `cause`"),
        (
            "[stubs.think]\nends = \"succeeded\"\noutputs = { cause = 3 }\n",
            "7:13: the output `cause` is not of type string",
        ),
        (
            "[stubs.think]\nends = \"succeeded\"\noutputs = { cuse = \"x\", cause = \"y\" }\n",
            "did you mean `cause`?",
        ),
        (
            "[stubs.ask]\nends = \"succeeded\"\n",
            "5:8: `ask` is a gate node and takes no stub; a gate is decided by `[gates.NAME]`",
        ),
        ("[stubs]\nuse = []\n", "6:1: `use` has an empty list"),
        (
            "[gates.ask]\ndecision = \"approved\"\nby = \"ann\"\n",
            "7:6: `ask` wants 2 approvals: name so many people",
        ),
        (
            "[gates.ask]\ndecision = \"aproved\"\nby = \"ann\"\n",
            "6:12: unknown value `aproved`; did you mean `approved`?",
        ),
        ("[http.use]\nstatus = 200\n", "5:7: `use` is a run node and takes no answer"),
        (
            "[models.thing]\nscript = \"x.toml\"\n",
            "5:9: unknown agent or model `thing`; did you mean `think`?",
        ),
        ("[models.think]\nscript = \"x.toml\"\n", "6:10: there is no file `x.toml` beside this one"),
        (
            "[models.think]\nscript = \"../../../../etc/passwd\"\n",
            "there is no file `../../../../etc/passwd`",
        ),
        ("[models.think]\n", "5:9: `think` says nothing"),
        (
            "[models.think]
cassette = \"x\"
",
            "6:12: there is no file `x` beside this one",
        ),
        (
            "[models.think]
cassette = \"case.toml\"
",
            "6:12: line 1 of the cassette means nothing",
        ),
        (
            "[models.think]\n[[models.think.turn]]\ntxt = \"x\"\n",
            "7:1: unknown key `txt`; did you mean `text`?",
        ),
        (
            "[[faults]]\nat = \"think\"\nwhat = \"model_timout\"\n",
            "7:8: unknown value `model_timout`; did you mean `model_timeout`?",
        ),
        ("[[faults]]\nat = \"thnk\"\nwhat = \"infra\"\n", "6:6: unknown node `thnk`; did you mean `think`?"),
        (
            "[[faults]]\nat = \"use\"\nwhat = \"overloaded\"\n",
            "6:6: `use` is a run node and takes no fault `overloaded`",
        ),
        ("[[faults]]\nat = \"think\"\nwhat = \"sandbox_memory\"\n", "takes no fault `sandbox_memory`"),
        ("[[faults]]\nat = \"use\"\nwhat = \"ci_red\"\n", "7:8: `ci_red` cannot happen in this release"),
        ("[[faults]]\nat = \"use\"\nwhat = \"infra\"\nturn = 1\n", "8:8: `turn` is the turn of an agent"),
        ("[[faults]]\nat = \"use\"\nwhat = \"infra\"\ntimes = 0\n", "8:9: `times` is 1 to 1000"),
        ("[expect.nodes.thnk]\nphase = \"failed\"\n", "5:15: unknown node `thnk`; did you mean `think`?"),
        ("[expect.nodes.think]\nphase = \"faled\"\n", "6:9: unknown phase `faled`; did you mean `failed`?"),
    ];
    for (text, message) in cases {
        let text = if text.contains("[expect]\n") || text.is_empty() {
            text.to_owned()
        } else {
            format!("{good}\n{text}")
        };
        scenario(&lab, "b", "case", &text);
        let said = test(&lab, &["b"]).ends(2);
        let said = said.mentions(message).mentions("blueprints/b/tests/case.toml:");
        assert_eq!(said.out, "", "{message}");
    }
    for (line, message) in [
        ("route = [\"use\", \"thnk\"]", "4:17: unknown node `thnk`"),
        ("route = [\"use#1\"]", "4:10: `#1` is no attempt"),
        ("effects = [{ kind = \"comment\" }]", "4:11: no effect can be expected"),
        ("files = { \".git/config\" = \"x\" }", "4:11: `.git/config` is not a path"),
        ("spent = { tokens = 3 }", "4:11: unknown key `tokens`"),
    ] {
        scenario(&lab, "b", "case", &format!("{good}{line}\n"));
        test(&lab, &["b"]).ends(2).mentions(message);
    }
    scenario(&lab, "b", "case", &format!("jobs = 0\ntimeout = \"2h\"\nfixture = \"none\"\n{good}"));
    test(&lab, &["b"])
        .ends(2)
        .mentions("1:8: `jobs`")
        .mentions("2:11: `timeout`")
        .mentions("3:11: there is no folder");
}

#[test]
fn what_would_reach_out_is_refused_before_anything_runs() {
    let lab = Lab::in_git();
    let nodes = [
        ("get", "http = { url = \"https://example.org/\" }", "`get` would make a request"),
        (
            "think",
            "agent = { prompt = \"Think.\", model = \"coding\" }",
            "`think` would ask the model `coding`",
        ),
        (
            "far",
            "agent = { prompt = \"Think.\", model = \"coding\", mcp = { t = { url = \"https://example.org/mcp\", tools = [\"*\"] } } }",
            "`far` would speak to a server of tools",
        ),
        ("other", "agent = { command = [\"claude\"] }", "`other` would start an agent of somebody else"),
    ];
    for (name, node, message) in nodes {
        lab.blueprint("out", &format!("[nodes.{name}]\n{node}\n"));
        scenario(&lab, "out", "bare", "[expect]\noutcome = \"succeeded\"\n");
        let said = test(&lab, &["out"]).ends(2);
        said.mentions(&format!("blueprints/out/tests/bare.toml:1:1: {message}, and a test asks nobody"));
        scenario(
            &lab,
            "out",
            "bare",
            &format!("[stubs]\n{name} = {{ ends = \"succeeded\" }}\n[expect]\noutcome = \"succeeded\"\n"),
        );
        test(&lab, &["out"]).ends(0);
    }
    assert!(!lab.state().exists());
}

#[test]
fn without_scenarios_there_is_nothing_to_say_and_it_is_said() {
    let lab = Lab::in_git();
    test(&lab, &[]).ends(2).mentions("no blueprint of this project has a scenario");
    lab.blueprint("bare", "[nodes.a]\nwait = \"0s\"\n");
    test(&lab, &[]).ends(2).mentions("no blueprint of this project has a scenario");
    test(&lab, &["bare"])
        .ends(2)
        .mentions("`bare` has no scenarios")
        .mentions("blueprints/bare/tests/happy.toml");
    test(&lab, &["bara"]).ends(2).mentions("did you mean `bare`?");
    // A blueprint that is one file has them beside it, in a folder of its name.
    lab.write("blueprints/one.toml", "schema = 1\nname = \"one\"\n[nodes.a]\nwait = \"0s\"\n");
    scenario(&lab, "one", "ok", "[expect]\noutcome = \"succeeded\"\nroute = [\"a\"]\n");
    let said = test(&lab, &[]).ends(0);
    assert!(said.out.contains("ok     one/ok"), "{said}");
}

/// Everything a scenario can stand in for, in one run.
#[test]
fn stubs_answers_decisions_and_files_are_what_the_run_sees() {
    let lab = Lab::in_git();
    lab.blueprint(
        "all",
        r#"
[inputs]
token = { type = "secret" }
[nodes.build]
run    = "make"
output = { size = "integer" }
[nodes.read]
needs = ["build"]
run   = "cat made.txt given.txt"
workspace = "read"
[nodes.get]
needs  = ["read"]
http   = { url = "https://example.org/{{ nodes.build.size }}", headers = { Authorization = "inputs.token" } }
output = { title = { type = "string", from = "body.title" }, kind = { type = "string", from = "headers.kind" } }
retry  = { attempts = 2, backoff = "1ms", on = ["infra"] }
[nodes.review]
needs  = ["get"]
gate   = {}
repair = { from = "get", rounds = 2 }
[nodes.end]
needs = ["review"]
run   = "test -n \"$T\" -a \"$TITLE\" = Yes"
shell = "sh"
env   = { T = "inputs.token", TITLE = "nodes.get.title" }
"#,
    );
    scenario(
        &lab,
        "all",
        "everything",
        r#"
inputs  = { token = "hunter2-hunter2" }
files   = { "given.txt" = "given\n", "deep/er.txt" = "x\n" }
[stubs.build]
ends    = "succeeded"
outputs = { size = 7 }
writes  = { "made.txt" = "made\n", "more/of it.txt" = "y\n" }
[http]
get = [{ status = 503 }, { body = { title = "No" }, headers = { Kind = "a" } }, { body = { title = "Yes" }, headers = { kind = "b" } }]
[gates]
review = [{ decision = "rejected", by = "ann", reason = "not yet" }, { decision = "approved", by = "bob" }]
[expect]
outcome = "succeeded"
route   = ["build", "read", "get", "get#2", "review", "get#3", "review#2", "end"]
diff    = ["+made", "+y"]
files   = { "given.txt" = "given\n", "made.txt" = "made\n" }
[expect.nodes]
build  = { outputs = { size = 7 }, attempts = 1 }
get    = { outputs = { title = "Yes", kind = "b" }, rounds = 2, attempts = 3 }
review = { phase = "succeeded", failure = "review", message = "not yet" }
"#,
    );
    let said = test(&lab, &["all", "--sandbox", "none"]);
    said.clone().ends(0);
    said.conceals("hunter2");
    // A list that is too short, a gate that nobody decides.
    let short = "inputs = { token = \"hunter2-hunter2\" }\n[stubs]\nbuild = { ends = \"succeeded\", outputs = { size = 7 } }\nread = { ends = \"succeeded\" }\nend = { ends = \"succeeded\" }\n";
    std::fs::remove_file(lab.project().join("blueprints/all/tests/everything.toml")).unwrap();
    scenario(
        &lab,
        "all",
        "short",
        &format!(
            "{short}[http]\nget = [{{ status = 503 }}]\n[expect]\noutcome = \"failed\"\nnodes = {{ get = {{ failure = \"policy\", message = \"no answer for attempt 2 of `get`\" }} }}\n"
        ),
    );
    scenario(
        &lab,
        "all",
        "undecided",
        &format!(
            "{short}[http]\nget = {{ body = {{ title = \"Yes\" }}, headers = {{ kind = \"a\" }} }}\n[expect]\noutcome = \"waiting\"\nnodes = {{ review = {{ phase = \"waiting\" }} }}\n"
        ),
    );
    test(&lab, &["all"]).ends(0);
}

const AGENT: &str = r#"
[nodes.think]
agent = { prompt = "Think.", model = "coding", max_turns = 6 }
tools = ["fs.*", "shell"]
[nodes.make]
needs = ["think"]
run   = "make"
retry = { attempts = 2, backoff = "1ms", on = ["infra", "command"] }
"#;

const SCRIPT: &str = r#"
[models.coding]
price = { input = 100.0, output = 100.0 }
[[models.coding.turn]]
usage = { input = 100, output = 10 }
[[models.coding.turn.call]]
tool = "fs.write"
args = { path = "a.txt", content = "a\n" }
[[models.coding.turn]]
usage = { input = 100, output = 10 }
text = "Done."
[stubs.make]
ends = "succeeded"
"#;

#[test]
fn faults_happen_where_they_are_asked_for_and_real_aliases_are_tried_again() {
    let lab = Lab::in_git();
    lab.blueprint("faults", AGENT);
    let fault =
        |at: &str, what: &str, more: &str| format!("[[faults]]\nat = \"{at}\"\nwhat = \"{what}\"\n{more}");
    let survived = "[expect]\noutcome = \"succeeded\"\nspent = { model_calls = 2 }\n";
    let cases = [
        // As with a real model: three tries in all, so two faults are survived and three are not.
        ("rate", fault("think", "rate_limited", "turn = 2\ntimes = 2\n"), survived.to_owned()),
        ("cut", fault("think", "truncated", ""), survived.to_owned()),
        (
            "overloaded",
            fault("think", "overloaded", "turn = 2\ntimes = 3\n"),
            "[expect]\noutcome = \"failed\"\nnodes = { think = { failure = \"llm\", message = \"529\" }, make = { phase = \"skipped\" } }\nspent = { model_calls = 1 }\n".to_owned(),
        ),
        (
            "crash",
            fault("think", "tool_crash", "turn = 1\n"),
            "[expect]\noutcome = \"succeeded\"\ndiff = []\nspent = { tool_calls = 1, max_cost_usd = 0.03, max_tokens = 300 }\n".to_owned(),
        ),
        (
            "memory",
            fault("make", "sandbox_memory", "") + &fault("make", "infra", ""),
            "[expect]\noutcome = \"failed\"\nroute_contains = [\"make\", \"make#2\"]\nnodes = { make = { failure = \"infra\", attempts = 2 } }\n".to_owned(),
        ),
        (
            "infra",
            fault("make", "infra", ""),
            "[expect]\noutcome = \"succeeded\"\nroute = [\"think\", \"make\", \"make#2\"]\n".to_owned(),
        ),
    ];
    for (name, faults, expect) in &cases {
        scenario(&lab, "faults", name, &format!("{faults}{SCRIPT}{expect}"));
    }
    let said = test(&lab, &["faults"]).ends(0);
    assert_eq!(said.out.matches("scripted model").count(), cases.len(), "{said}");
    // A fault that never happens is not one that was survived.
    let idle = fault("think", "model_timeout", "turn = 5\n");
    scenario(&lab, "faults", "idle", &format!("{idle}{SCRIPT}{survived}"));
    let said = test(&lab, &["faults"]).ends(1);
    assert!(said.out.contains("fault `model_timeout` at `think` (line 2): expected to happen"), "{said}");
}

#[test]
fn expectations_that_are_not_met_are_all_said_and_the_place_is_kept() {
    let lab = Lab::in_git();
    lab.blueprint("faults", AGENT);
    let expect = r#"
[expect]
outcome = "failed"
route_contains = ["make", "think"]
nodes   = { make = { failure = "command" }, think = { outputs = { x = 1 } } }
spent   = { model_calls = 3, max_cost_usd = 0.01, max_tokens = 5 }
diff    = ["+b"]
files   = { "a.txt" = "a\nb\n", "c.txt" = "" }
"#;
    scenario(&lab, "faults", "wrong", &format!("{SCRIPT}{expect}"));
    let said = test(&lab, &["faults"]).ends(1);
    for part in [
        "outcome: expected failed, got succeeded",
        "route: this part of it was expected, in this order",
        "failure of `make`: expected command, got none",
        "output `x` of `think`: expected 1, got none",
        "model calls: expected 3, got 2",
        "cost: expected at most $0.01, got $0.022",
        "tokens: expected at most 5, got 220",
        "diff: expected (-) and got (+)\n    - +b",
        "file `a.txt`: expected (-) and got (+)\n      a\n    - b",
        "file `c.txt`: expected to be there, got there is no such file",
    ] {
        assert!(said.out.contains(part), "nothing about `{part}`\n{said}");
    }
    let kept = left_behind(&lab);
    assert_eq!(kept.len(), 1);
    let log = lab.say(&["logs", "-C", kept[0].to_str().unwrap()]).ends(0);
    assert!(log.out.contains("fs.write"), "{log}");
    let lines = test(&lab, &["faults", "--format", "json"]).ends(1).json_lines();
    assert_eq!(lines[0]["models"], serde_json::json!(["scripted"]), "{lines:?}");
    assert_eq!(lines[0]["route"][1]["step"], "make");
    assert_eq!(lines[0]["problems"][0]["what"], "outcome");
    assert_eq!(lines[1], serde_json::json!({ "type": "end", "ok": 0, "failed": 1 }));
}

#[test]
fn a_scenario_that_does_not_end_is_stopped() {
    let lab = Lab::in_git();
    lab.blueprint("slow", "[nodes.a]\nrun = \"sleep 600\"\nworkspace = \"none\"\n");
    scenario(&lab, "slow", "a", "timeout = \"300ms\"\n[expect]\noutcome = \"succeeded\"\n");
    let said = test(&lab, &["slow"]).ends(1);
    assert!(said.out.contains("it had not come to an end after 300 ms"), "{said}");
    assert!(said.out.contains("outcome: expected succeeded, got interrupted"), "{said}");
}

#[test]
fn a_fixture_is_a_folder_beside_the_scenario() {
    let lab = Lab::in_git();
    lab.blueprint("fix", "[nodes.a]\nrun = \"grep -q deep in/er.txt\"\nworkspace = \"read\"\n[nodes.b]\nneeds = [\"a\"]\nrun = \"test -x run.sh\"\n");
    lab.write("blueprints/fix/tests/small/in/er.txt", "deep\n");
    lab.write("blueprints/fix/tests/small/run.sh", "true\n");
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(lab.project().join("blueprints/fix/tests/small/run.sh"))
        .status()
        .unwrap();
    scenario(&lab, "fix", "a", "fixture = \"small\"\n[expect]\noutcome = \"succeeded\"\n");
    test(&lab, &["fix"]).ends(0);
    std::os::unix::fs::symlink("/etc", lab.project().join("blueprints/fix/tests/small/etc")).unwrap();
    test(&lab, &["fix"]).ends(3).mentions("neither a file nor a folder");
}

#[test]
fn the_hooks_of_whoever_runs_a_test_are_not_asked() {
    let lab = Lab::in_git();
    lab.blueprint("b", "[nodes.a]\nrun = \"true\"\n");
    scenario(&lab, "b", "a", "[stubs.a]\nends = \"succeeded\"\n[expect]\noutcome = \"succeeded\"\n");
    let seen = lab.beside("seen");
    let hook = |event: &str| {
        format!(
            "[[hooks]]\nname = \"{event}\"\nevent = \"{event}\"\nhandler = {{ command = [\"/bin/sh\", \"-c\", \"echo {event} >> {}\"] }}\n",
            seen.display()
        )
    };
    let folder = lab.beside("home").join(".config/blueprint");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), hook("before_run") + &hook("before_node")).unwrap();
    test(&lab, &["b"]).ends(0);
    assert!(!seen.exists(), "a hook was asked");
    // The same hooks are asked by a run.
    lab.say(&["run", "b"]);
    assert!(seen.exists(), "the hooks of this test do nothing");
}

#[test]
fn a_cassette_stands_in_for_a_model() {
    let lab = Lab::in_git();
    let script = "[[turn]]\n[[turn.call]]\ntool = \"fs.write\"\nargs = { path = \"a.txt\", content = \"a\\n\" }\n[[turn]]\ntext = \"Done.\"\n";
    lab.write("blueprints/rec/m.model.toml", script);
    lab.blueprint("rec", "[nodes.think]\nagent = { prompt = \"Think.\", model = \"scripted/m.model.toml\" }\ntools = [\"fs.*\"]\n");
    lab.write("blueprints/rec/tests/README", "recordings\n");
    lab.say(&["run", "rec", "--record", "blueprints/rec/tests/rec.cassette", "--quiet"]).ends(0);
    // What the script says by now is not what was recorded.
    lab.write("blueprints/rec/m.model.toml", "[[turn]]\ntext = \"Nothing.\"\n");
    scenario(
        &lab,
        "rec",
        "played",
        "[models.think]\ncassette = \"rec.cassette\"\n[expect]\noutcome = \"succeeded\"\nspent = { model_calls = 2 }\nfiles = { \"a.txt\" = \"a\\n\" }\n",
    );
    let said = test(&lab, &["rec"]).ends(0);
    assert!(said.out.contains("recorded model"), "{said}");
}

/// A gate that wants several people is decided by as many.
#[test]
fn several_people_decide_at_a_gate() {
    let lab = Lab::in_git();
    lab.blueprint("b", "[nodes.ask]\ngate = { min = 2 }\n");
    let scenario = |by: &str, decision: &str, outcome: &str| {
        format!("[gates.ask]\ndecision = \"{decision}\"\nby = {by}\n[expect]\noutcome = \"{outcome}\"\n")
    };
    for (by, decision, outcome, code) in [
        ("[\"ada\", \"ben\"]", "approved", "succeeded", 0),
        ("[\"ada\", \"ada\"]", "approved", "waiting", 0),
        ("\"ada\"", "rejected", "rejected", 0),
        ("[\"ada\", \"ben\"]", "rejected", "rejected", 0),
        ("[\"ada\", \"ben\"]", "approved", "waiting", 1),
    ] {
        lab.write("blueprints/b/tests/gate.toml", &scenario(by, decision, outcome));
        lab.say(&["test", "b"]).ends(code);
    }
}
