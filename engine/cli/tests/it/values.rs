//! What goes into a node and what comes out: arguments, environment, standard input, typed outputs, artifacts, and
//! which end counts as success.

use super::lab::Lab;

fn ran(nodes: &str) -> (Lab, super::lab::Said) {
    let lab = Lab::in_git();
    lab.blueprint("values", nodes);
    let said = lab.say(&["run", "values"]);
    (lab, said)
}

#[test]
fn outputs_are_read_from_json_lines_and_files() {
    let (lab, said) = ran(r#"
[defaults]
shell = "sh"

[nodes.json]
run    = '''echo '{"text": "a", "number": 1.5, "whole": 7, "yes": true, "list": [1, "b"], "object": {"k": null}, "more": 1}' '''
output = { text = "string", number = "number", whole = "integer", yes = "boolean", list = "list", object = "object" }

[nodes.lines]
run         = 'echo noise; echo text=a=b; echo whole=7; echo "list=[1, 2]"; echo yes=true'
output      = { text = "string", whole = "integer", list = "list", yes = "boolean" }
output_from = "lines"

[nodes.file]
run         = '''mkdir out; echo '{"text": "from a file"}' > out/values.json; echo whole=3 > out/values.env'''
output      = { text = "string" }
output_from = { file = "out/values.json" }

[nodes.show]
needs = ["json", "lines", "file"]
run   = '''printf '%s\n' "$@"'''
args  = ["nodes.json.text ~ nodes.lines.text", "nodes.json.whole + nodes.lines.whole", "nodes.json.list", "nodes.json.object", "nodes.lines.list", "nodes.file.text", "nodes.json.yes"]
"#);
    said.ends(0);
    let run = lab.run();
    let log = lab.say(&["logs", &run, "show"]).ends(0).out;
    let lines: Vec<&str> = log.lines().map(|line| line.trim_start_matches("show | ")).collect();
    assert_eq!(lines, ["aa=b", "14", "[1,\"b\"]", "{\"k\":null}", "[1,2]", "from a file", "true"]);
    assert_eq!(
        lab.show(&run, "lines")["outputs"],
        serde_json::json!({ "text": "a=b", "whole": 7, "list": [1, 2], "yes": true })
    );
}

#[test]
fn an_output_that_is_missing_or_of_another_type_fails_its_node() {
    let cases = [
        ("echo '{\"a\": \"1\"}'", "json", "the output `a` is not of type integer"),
        ("echo '{\"a\": 1.5}'", "json", "the output `a` is not of type integer"),
        ("echo '{}'", "json", "the output `a` is missing"),
        ("echo '[1]'", "json", "the outputs are not one JSON object"),
        ("echo nothing", "json", "the outputs are not JSON"),
        ("true", "json", "the outputs are not JSON"),
        ("echo a=one", "lines", "the output `a` is not of type integer"),
        ("echo b=1", "lines", "the output `a` is missing"),
    ];
    let lab = Lab::in_git();
    for (command, from, message) in cases {
        lab.blueprint("wrong", &format!("[nodes.wrong]\nshell = \"sh\"\nrun = {command:?}\noutput = {{ a = \"integer\" }}\noutput_from = \"{from}\"\n"));
        lab.say(&["run", "wrong"]).ends(1).mentions(message);
    }
}

#[test]
fn outputs_are_not_read_through_links_or_from_outside() {
    let lab = Lab::in_git();
    std::fs::write(lab.beside("secret.json"), "{\"a\": 1}").unwrap();
    let secret = lab.beside("secret.json");
    for command in [
        format!("ln -s {} values.json", secret.display()),
        "mkfifo values.json".to_owned(),
        "mkdir values.json".to_owned(),
    ] {
        lab.blueprint(
            "links",
            &format!("[nodes.link]\nshell = \"sh\"\nrun = {command:?}\noutput = {{ a = \"integer\" }}\noutput_from = {{ file = \"values.json\" }}\n"),
        );
        lab.say(&["run", "links", "--sandbox", "none"]).ends(1).mentions("`values.json` cannot be read");
    }
}

#[test]
fn large_outputs_and_logs_are_kept_whole() {
    let (lab, said) = ran(r#"
[defaults]
shell = "sh"

[nodes.large]
run    = '''printf '{"text": "'; head -c 200000 /dev/zero | tr '\0' x; printf '"}' '''
output = { text = "string" }

[nodes.count]
needs  = ["large"]
run    = "wc -c"
stdin  = "{{ nodes.large.text }}"

[nodes.many]
run = "seq 1 20000"
"#);
    said.ends(0).mentions("count  | 200000");
    let run = lab.run();
    assert_eq!(lab.show(&run, "large")["outputs"]["text"].as_str().unwrap().len(), 200_000);
    let log = lab.say(&["logs", &run, "many"]).ends(0).out;
    assert_eq!(log.lines().count(), 20_000);
    assert!(log.ends_with("many | 20000\n"));
}

#[test]
fn values_arrive_as_they_are_and_never_as_code() {
    let (lab, said) = ran(r#"
[inputs]
text = { type = "string", default = "$(touch pwned) `id` '; rm -rf / #\" \\ {{ 1 }}" }

[nodes.args]
run  = "printf '%s\\n' --"
args = ["inputs.text"]

[nodes.env]
shell = "sh"
run   = 'printf "%s\n" "$TEXT"'
env   = { TEXT = "inputs.text" }

[nodes.stdin]
run   = "cat"
stdin = "<{{ inputs.text }}>"
"#);
    said.ends(0);
    let run = lab.run();
    let text = "$(touch pwned) `id` '; rm -rf / #\" \\ {{ 1 }}";
    for (node, expected) in [
        ("args", format!("args | {text}\n")),
        ("env", format!("env | {text}\n")),
        ("stdin", format!("stdin | <{text}>\n")),
    ] {
        let log = lab.say(&["logs", &run, node]).ends(0).out;
        assert!(log.ends_with(&expected), "{log}");
    }
    assert_eq!(lab.diff(&run), "");
}

#[test]
fn an_expected_end_is_a_success_and_any_other_a_failure() {
    let cases = [
        ("exit 0", "\"success\"", 0),
        ("exit 3", "\"success\"", 1),
        ("exit 3", "\"failure\"", 0),
        ("exit 0", "\"failure\"", 1),
        ("exit 9", "\"any\"", 0),
        ("exit 3", "3", 0),
        ("exit 2", "[0, 2]", 0),
        ("exit 1", "[0, 2]", 1),
        // A signal is no exit code.
        ("kill -9 $$", "\"failure\"", 1),
        ("kill -9 $$", "\"any\"", 1),
    ];
    let lab = Lab::new();
    for (command, expect, code) in cases {
        lab.blueprint(
            "ends",
            &format!(
                "[nodes.end]\nshell = \"sh\"\nrun = \"{command}\"\nexpect = {expect}\nworkspace = \"none\"\n"
            ),
        );
        let said = lab.say(&["run", "ends"]);
        assert_eq!(said.status.code(), Some(code), "{command} with expect = {expect}:\n{said}");
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let (_, said) = ran("[nodes.gone]\nrun = \"no-such-program --flag\"\n");
    said.ends(1).mentions("the program `no-such-program` was not found");
}

#[test]
fn artifacts_are_kept_with_the_run() {
    let (lab, said) = ran(r#"
[nodes.build]
shell     = "sh"
run       = 'mkdir -p out/deep; echo one > out/one.txt; echo two > out/deep/two.txt; echo no > other'
artifacts = ["out/**/*.txt"]
workspace = "scratch"
"#);
    said.ends(0);
    let run = lab.run();
    let record = &lab.show(&run, "build")["record"]["artifacts"];
    let paths: Vec<&str> =
        record.as_array().unwrap().iter().map(|kept| kept["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["out/deep/two.txt", "out/one.txt"]);
    // What was written to a scratch workspace is not part of what the run changed.
    assert_eq!(lab.diff(&run), "");
}

#[test]
fn an_artifact_that_is_not_there_fails_its_node() {
    let (_, said) = ran("[nodes.build]\nrun = \"true\"\nartifacts = [\"missing/*.txt\"]\n");
    said.ends(1).mentions("no file is named by `missing/*.txt`");
}

#[test]
fn a_node_sees_of_the_workspace_what_it_may() {
    let (lab, said) = ran(r#"
[defaults]
shell = "sh"

[nodes.write]
run = 'echo kept > kept'

[nodes.read]
needs     = ["write"]
run       = 'cat kept; if touch tried 2>/dev/null; then echo "could write"; fi'
workspace = "read"

[nodes.scratch]
needs     = ["write"]
run       = 'echo lost > lost; cat lost'
workspace = "scratch"

[nodes.none]
needs     = ["write"]
run       = 'ls kept 2>/dev/null || echo "sees nothing"'
workspace = "none"

[nodes.last]
needs     = ["read", "scratch", "none"]
run       = 'ls'
"#);
    said.ends(0).mentions("sees nothing").mentions("scratch  | lost").conceals("could write");
    let run = lab.run();
    let log = lab.say(&["logs", &run, "last"]).ends(0).out;
    assert!(log.contains("kept") && !log.contains("lost") && !log.contains("tried"), "{log}");
}
