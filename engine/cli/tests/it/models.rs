//! Agents on models of providers, over the real wire: settings, keys, prices, failover, budgets. The servers are those
//! that the providers' own clients were held against.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::lab::{Lab, Said, files_with};
use super::server::Server;

const KEY: &str = "sk-ant-test-0123456789abcdef0123456789";

/// A server that speaks the wire of every provider; see its head.
struct Wire {
    child: Child,
    port: u16,
}

impl Wire {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/tests/wire/server.py");
        let mut child = Command::new("python3")
            .args(["-B", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }

    fn log(&self) -> Vec<Value> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        std::io::Write::write_all(&mut stream, b"GET /log HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A project with one agent and the settings of its user.
fn lab(prompt: &str, budget: &str, settings: &str) -> Lab {
    let lab = Lab::in_git();
    lab.blueprint(
        "think",
        &format!("{budget}\n[nodes.think]\nagent = {{ prompt = \"{prompt}\", model = \"coding\", max_turns = 4 }}\n"),
    );
    lab.settings(settings);
    lab
}

fn anthropic(port: u16) -> String {
    format!(
        r#"
[models.aliases]
coding = ["near/claude-test"]

[models.providers.near]
kind     = "anthropic"
base_url = "http://127.0.0.1:{port}/v1"
key_env  = "NEAR_KEY"

[models.known."near/claude-test"]
window = 100000
longest_answer = 1000
price = {{ input = 3.0, output = 15.0 }}
"#
    )
}

fn run(lab: &Lab) -> Said {
    lab.say_with(&[("NEAR_KEY", KEY)], &["run", "think"])
}

#[test]
fn a_model_of_a_provider_answers_and_is_paid_for() {
    let wire = Wire::start();
    let lab = lab("scenario text", "[budget]\ncost_usd = 1.0", &anthropic(wire.port));
    let said = run(&lab).ends(0);
    assert!(!said.err.contains("scripted"), "{said}");
    let show = lab.show(&lab.run(), "think");
    assert!(show.to_string().contains("near/claude-test"), "{show}");
    // 120 tokens in at 3 dollars a million, 17 out at 15.
    assert!(said.err.contains("$0.000615"), "{said}");
    assert_eq!(files_with(&lab.state(), KEY.as_bytes()), Vec::<std::path::PathBuf>::new());
    assert_eq!(wire.log().len(), 1);
}

#[test]
fn a_price_that_is_not_known_refuses_a_limit_of_money() {
    let wire = Wire::start();
    let settings = anthropic(wire.port).replace("price = { input = 3.0, output = 15.0 }", "");
    let limited = lab("scenario text", "[budget]\ncost_usd = 1.0", &settings);
    run(&limited).ends(1).mentions("the price of").mentions("is not known");
    assert_eq!(wire.log().len(), 0, "nothing was asked");
    let free = lab("scenario text", "", &settings);
    run(&free).ends(0).mentions("whose price is not known");
}

#[test]
fn a_missing_key_is_named_before_anything_is_asked() {
    let wire = Wire::start();
    let lab = lab("scenario text", "", &anthropic(wire.port));
    lab.say(&["run", "think"]).ends(3).mentions("NEAR_KEY is not set").mentions("nothing was started");
    assert_eq!(wire.log().len(), 0);
}

#[test]
fn an_overloaded_provider_is_left_for_the_next_one() {
    let wire = Wire::start();
    let broken = Server::answering(vec![(
        "401 Unauthorized",
        "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"no\"}}",
    )]);
    let settings = anthropic(wire.port)
        .replace("coding = [\"near/claude-test\"]", "coding = [\"far/claude-test\", \"near/claude-test\"]")
        + &format!(
            "[models.providers.far]\nkind = \"anthropic\"\nbase_url = \"http://{}/v1\"\nkey_env = \"NEAR_KEY\"\n[models.known.\"far/claude-test\"]\nwindow = 100000\nprice = {{ input = 1.0, output = 1.0 }}\n",
            broken.address
        );
    let lab = lab("scenario text", "", &settings);
    run(&lab).ends(0);
    assert!(lab.show(&lab.run(), "think").to_string().contains("near/claude-test"));
}

#[test]
fn a_project_cannot_say_where_keys_are_sent() {
    let wire = Wire::start();
    let lab = lab("scenario text", "", "");
    lab.write("blueprint.toml", &anthropic(wire.port));
    lab.commit();
    run(&lab).ends(2).mentions("may only hold `aliases` in a project");
    assert_eq!(wire.log().len(), 0);
}

#[test]
fn a_conversation_that_fits_no_model_ends_the_node() {
    let wire = Wire::start();
    let lab = lab("scenario overflow", "", &anthropic(wire.port));
    run(&lab).ends(1).mentions("does not fit the model any more");
    assert_eq!(lab.show(&lab.run(), "think")["failure"]["class"], "agent");
}

#[test]
fn a_refused_and_a_cut_off_answer_end_the_node_with_their_reason() {
    let wire = Wire::start();
    let refused = lab("scenario refusal", "", &anthropic(wire.port));
    run(&refused).ends(1).mentions("refused");
    let auth = lab("scenario auth", "", &anthropic(wire.port));
    let said = run(&auth).ends(1);
    said.mentions("no model answered").conceals(KEY);
    assert_eq!(auth.show(&auth.run(), "think")["failure"]["class"], "llm");
}

/// A gateway that gives up may have been answered behind it: each such try is reserved before it is made and settled
/// after, so that a budget ends the call in the middle of its tries.
#[test]
fn every_try_that_may_have_been_billed_counts_and_a_budget_stops_the_next_one() {
    let wire = Wire::start();
    let reserve = |lab: &Lab| {
        let events = lab.events(&lab.run());
        let calls = events.iter().map(|event| &event["event"]["session_advanced"]["step"]["call_model"]);
        let calls: Vec<u64> = calls.filter_map(|call| call["reserve"]["tokens"].as_u64()).collect();
        assert!(calls.windows(2).all(|pair| pair[0] == pair[1]), "{calls:?}");
        (calls.len(), calls[0])
    };
    let spent = |lab: &Lab| lab.status(&lab.run())["spent"]["tokens"].as_u64();
    let all = lab("scenario gateway", "", &anthropic(wire.port));
    run(&all).ends(1).mentions("no model answered");
    let (calls, one) = reserve(&all);
    assert_eq!((calls, wire.log().len(), spent(&all)), (3, 3, Some(3 * one)));

    let limit = 2 * one + one / 2;
    let limited = lab("scenario gateway", &format!("[budget]\ntokens = {limit}"), &anthropic(wire.port));
    run(&limited).ends(1).mentions("the tokens of the run are used up");
    assert_eq!((reserve(&limited), spent(&limited)), ((2, one), Some(2 * one)));
    assert_eq!(wire.log().len(), 3 + 2, "the third try was made");
    let said = limited.say(&["replay", &limited.run()]).ends(0);
    assert!(said.out.contains("identical: route and diff"), "{said}");
    assert_eq!(spent(&limited), Some(2 * one));

    let node = lab("scenario gateway", "", &anthropic(wire.port));
    let text = std::fs::read_to_string(node.project().join("blueprints/think/blueprint.toml")).unwrap();
    let tokens = format!("max_turns = 4, max_tokens = {limit}");
    node.write("blueprints/think/blueprint.toml", &text.replace("max_turns = 4", &tokens));
    run(&node).ends(1).mentions("too many for another answer");
    assert_eq!(reserve(&node).0, 2);
}

/// What a run may ask per minute holds for all of its models and tools together: a call that comes too early waits, and
/// the time of the node goes on.
#[test]
fn models_and_tools_are_asked_no_faster_than_the_user_allows() {
    let wire = Wire::start();
    let settings = anthropic(wire.port) + "[models.limits]\nrequests_per_minute = 1\n";
    let two = "[nodes.more]\nneeds = [\"think\"]\nagent = { prompt = \"scenario text\", model = \"coding\" }\ntimeout = \"1s\"\n";
    let slow = lab("scenario text", "", &settings);
    let file = slow.project().join("blueprints/think/blueprint.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{two}")).unwrap();
    run(&slow).ends(1).mentions("the agent took longer than 1.0 s");
    assert_eq!(wire.log().len(), 1);

    let script = "[[turn]]\n[[turn.call]]\ntool = \"fs.list\"\n[[turn.call]]\ntool = \"fs.search\"\nargs = { pattern = \"x\" }\n[[turn]]\ntext = \"Done.\"\n";
    for (limits, time, code) in [
        ("[tools.limits]\n\"fs.*\" = { calls_per_minute = 1 }\n", "2s", 1),
        ("[tools.limits]\nshell = { calls_per_minute = 1 }\n", "1m", 0),
    ] {
        let lab = lab("Look.", "", limits);
        lab.write("blueprints/think/model.toml", script);
        lab.blueprint(
            "think",
            &format!("[nodes.think]\nagent = {{ prompt = \"Look.\", model = \"scripted/model.toml\" }}\ntimeout = \"{time}\"\n"),
        );
        lab.say(&["run", "think"]).ends(code);
        let calls = lab.status(&lab.run())["spent"]["tool_calls"].as_u64().unwrap();
        assert_eq!(calls == 2, code == 0, "{limits}: {calls} calls");
    }
    for (limits, said) in [
        ("[tools.limits]\n\"fs.*\" = { calls_per_minute = 0 }\n", "cannot be read"),
        ("[tools.limits]\n\"[\" = { calls_per_minute = 1 }\n", "is not a pattern of tool names"),
        ("[tool.limits]\n", "tools"),
    ] {
        lab("Look.", "", limits).say(&["check", "think"]).ends(2).mentions(said);
    }
    let project = lab("Look.", "", "");
    project.write("blueprint.toml", "[tools.limits]\n\"fs.*\" = { calls_per_minute = 1 }\n");
    project.say(&["check", "think"]).ends(2).mentions("the user's to limit");
}

/// A hook whose model does not answer in its time has failed, and what was asked counts as spent: once for a model that
/// says nothing, once for each try that may have been billed.
#[test]
fn a_hook_that_runs_out_of_time_pays_for_what_it_asked() {
    for (scenario, time, calls) in [("silent key=hook", 1, 1), ("gateway", 2, 2)] {
        let wire = Wire::start();
        let settings = anthropic(wire.port)
            + &format!(
                "[[hooks]]\nname = \"judge\"\nevent = \"before_tool\"\ntimeout_seconds = {time}\nhandler = {{ prompt = \"scenario {scenario}\", model = \"coding\" }}\n"
            );
        let lab = lab("Look.", "", &settings);
        lab.write(
            "blueprints/think/model.toml",
            "[[turn]]\n[[turn.call]]\ntool = \"fs.list\"\n[[turn]]\ntext = \"Done.\"\n",
        );
        lab.blueprint(
            "think",
            "[nodes.think]\nagent = { prompt = \"Look.\", model = \"scripted/model.toml\" }\n",
        );
        run(&lab)
            .ends(0)
            .mentions(&format!("hook judge at before_tool: failed: it took longer than {time} seconds"));
        let events = lab.events(&lab.run());
        let of = |what: &str| -> Vec<u64> {
            let steps = events.iter().map(|event| &event["event"]["session_advanced"]["step"][what]);
            let tokens = |step: &Value| {
                step["reserve"]["tokens"].as_u64().or_else(|| step["spent"]["tokens"].as_u64())
            };
            steps.filter_map(tokens).collect()
        };
        let (asked, heard) = (of("call_hook"), of("hear_hook"));
        assert_eq!(asked, heard, "{scenario}: every question is settled at its most");
        assert_eq!((asked.len(), wire.log().len()), (calls, calls), "{scenario}");
        let own: u64 = of("hear_model").iter().sum();
        let spent = lab.status(&lab.run())["spent"]["tokens"].as_u64().unwrap();
        assert_eq!(spent, own + asked.iter().sum::<u64>(), "{scenario}");
        // The record of the node counts the same.
        assert_eq!(lab.show(&lab.run(), "think")["record"]["tokens"], spent, "{scenario}");
    }
}
