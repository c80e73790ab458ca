//! Hooks that deny, patch, crash, hang, talk nonsense and are replaced while they run.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::{Builtin, Builtins, EventKind, HookConfig, HookConfigError};
use super::*;

/// Replies to commands by the name of the program, and remembers what it was told.
#[derive(Debug, Default)]
struct Runner {
    told: Mutex<Vec<Value>>,
    prompts: Mutex<Vec<(String, String)>>,
}

impl Runner {
    fn told(&self) -> Vec<Value> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

#[async_trait]
impl HookRunner for Runner {
    async fn command(
        &self,
        argv: &[String],
        _env: &BTreeSet<String>,
        stdin: &[u8],
    ) -> Result<CommandRan, String> {
        self.told.lock().unwrap().push(serde_json::from_slice(stdin).unwrap());
        let (code, stdout, stderr) = match argv[0].as_str() {
            "proceeds" => (Some(0), "", "ignored"),
            "exits-2" => (Some(2), "{}", "because\u{7} of\nthis"),
            "exits-2-silently" => (Some(2), "", ""),
            "exits-1" => (Some(1), "{}", "trouble"),
            "is-killed" => (None, "{}", ""),
            "cannot-start" => return Err("cannot be started".to_owned()),
            "hangs" => std::future::pending().await,
            "says" => (Some(0), argv[1].as_str(), ""),
            "says-latin-1" => {
                return Ok(CommandRan { code: Some(0), stdout: vec![0x7b, 0xe9, 0x7d], stderr: vec![] });
            }
            other => panic!("{other}"),
        };
        Ok(CommandRan { code, stdout: stdout.into(), stderr: stderr.into() })
    }

    async fn prompt(&self, question: Question<'_>) -> Result<String, String> {
        let Question { prompt, envelope, .. } = question;
        self.prompts.lock().unwrap().push((prompt.to_owned(), envelope.to_owned()));
        Ok(prompt.strip_prefix("reply ").unwrap_or_default().to_owned())
    }
}

#[derive(Debug)]
struct Panics;

#[async_trait]
impl Builtin for Panics {
    async fn call(&self, _envelope: &Value) -> Result<Reply, String> {
        panic!("a bug")
    }
}

/// Says it was reached, and then waits until it may go on.
#[derive(Debug, Default)]
struct Waits {
    reached: Notify,
    on: Notify,
}

#[async_trait]
impl Builtin for Arc<Waits> {
    async fn call(&self, _envelope: &Value) -> Result<Reply, String> {
        self.reached.notify_one();
        self.on.notified().await;
        Ok(Reply::Veto("the old table".to_owned()))
    }
}

fn compile(text: &str, builtins: &Builtins) -> Result<HookTable, Vec<HookConfigError>> {
    #[derive(Deserialize)]
    struct File {
        hooks: Vec<HookConfig>,
    }
    HookTable::compile(&toml::from_str::<File>(text).unwrap().hooks, builtins)
}

/// Hooks of `before_tool` with these handlers, named `h0`, `h1` and so on.
fn table(handlers: &[&str]) -> HookTable {
    let hook = |(at, handler): (usize, &&str)| {
        format!("[[hooks]]\nname = \"h{at}\"\nevent = \"before_tool\"\nhandler = {handler}\n")
    };
    let text: String = handlers.iter().enumerate().map(hook).collect();
    compile(&text, &Builtins::default().with("panics", |_| Ok(Arc::new(Panics)))).unwrap()
}

fn says(reply: &str) -> String {
    format!("{{ command = [\"says\", '{reply}'] }}")
}

const FACTS: Facts<'_> = Facts {
    run: "r1",
    node: Some("fix"),
    attempt: Some(2),
    tool: Some("fs.write"),
    effect: Some(Effect::Write),
};

fn data() -> Value {
    json!({ "arguments": { "path": "a" }, "limits": { "tokens": 10 } })
}

async fn dispatch(engine: &HookEngine, runner: &Runner) -> Dispatched {
    engine.dispatch(Event::BeforeTool, &FACTS, data(), runner).await
}

async fn of(handlers: &[&str]) -> Dispatched {
    dispatch(&HookEngine::new(table(handlers)), &Runner::default()).await
}

fn veto(dispatched: &Dispatched) -> &Veto {
    match &dispatched.verdict {
        Verdict::Veto(veto) => veto,
        Verdict::Proceed { .. } => panic!("{dispatched:?}"),
    }
}

#[tokio::test]
async fn without_a_hook_nothing_changes() {
    let engine = HookEngine::default();
    assert!(Event::ALL.iter().all(|event| !engine.wants(*event)));
    let dispatched = dispatch(&engine, &Runner::default()).await;
    assert_eq!(dispatched.verdict, Verdict::Proceed { data: data(), changed: false });
    assert_eq!(dispatched.ran.capacity(), 0);
}

#[tokio::test]
async fn each_sees_what_those_before_it_changed() {
    let patch = |path: &str| says(&format!("{{\"patch\": {{\"arguments\": {{\"path\": \"{path}\"}}}}}}"));
    let handlers = [patch("b"), "{ command = [\"proceeds\"] }".to_owned(), patch("c")];
    let handlers: Vec<&str> = handlers.iter().map(String::as_str).collect();
    let (engine, runner) = (HookEngine::new(table(&handlers)), Runner::default());
    let dispatched = dispatch(&engine, &runner).await;
    let mut expected = data();
    expected["arguments"]["path"] = json!("c");
    assert_eq!(dispatched.verdict, Verdict::Proceed { data: expected, changed: true });
    let paths: Vec<Value> =
        runner.told().iter().map(|told| told["data"]["arguments"]["path"].clone()).collect();
    assert_eq!(paths, ["a", "b", "b"]);
    let ends: Vec<HookEnd> = dispatched.ran.into_iter().map(|ran| ran.end).collect();
    let patched = HookEnd::Patched(vec!["arguments".to_owned()]);
    assert_eq!(ends, [patched.clone(), HookEnd::Proceeded, patched]);
}

#[tokio::test]
async fn the_first_no_ends_it_and_who_only_looks_sees_it() {
    let text = r#"
        [[hooks]]
        name = "no"
        event = "before_tool"
        handler = { command = ["exits-2"] }
        [[hooks]]
        name = "late"
        event = "before_tool"
        handler = { command = ["proceeds"] }
        [[hooks]]
        name = "looks"
        event = "before_tool"
        handler = { command = ["proceeds"] }
        observe = true
        [[hooks]]
        name = "looks-badly"
        event = "before_tool"
        handler = { command = ["exits-1"] }
        observe = true
    "#;
    let engine = HookEngine::new(compile(text, &Builtins::default()).unwrap());
    let runner = Runner::default();
    let dispatched = dispatch(&engine, &runner).await;
    let expected = Veto { hook: "no".to_owned(), reason: "because of this".to_owned(), failed: false };
    assert_eq!(*veto(&dispatched), expected);
    assert!(!veto(&dispatched).for_model().contains("because"));
    let told = runner.told();
    let names: Vec<&str> = told.iter().map(|told| told["hook"].as_str().unwrap()).collect();
    assert_eq!(names, ["no", "looks", "looks-badly"]);
    assert_eq!(told[0].get("vetoed"), None);
    assert_eq!(told[1]["vetoed"]["hook"], "no");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_may_say_no_fails_closed() {
    let cases = [
        ("{ command = [\"exits-1\"] }", "it ended with code 1: trouble"),
        ("{ command = [\"is-killed\"] }", "a signal ended it:"),
        ("{ command = [\"cannot-start\"] }", "cannot be started"),
        ("{ command = [\"hangs\"] }", "it took longer than 5 seconds"),
        ("{ command = [\"says\", \"ok\"] }", "its reply cannot be read: expected value at line 1 column 1"),
        ("{ command = [\"says-latin-1\"] }", "its reply is not UTF-8"),
        ("{ builtin = \"panics\" }", "it panicked: a bug"),
        (
            "{ prompt = \"reply ``` {} ``` and {}\" }",
            "its reply cannot be read: expected value at line 1 column 1",
        ),
        (
            "{ prompt = \"nothing\" }",
            "its reply cannot be read: EOF while parsing a value at line 1 column 0",
        ),
    ];
    for (handler, why) in cases {
        let dispatched = of(&[handler, "{ command = [\"proceeds\"] }"]).await;
        let expected = Veto { hook: "h0".to_owned(), reason: why.to_owned(), failed: true };
        assert_eq!(*veto(&dispatched), expected, "{handler}");
        assert_eq!(dispatched.ran.len(), 1, "{handler}");
    }
    assert_eq!(veto(&of(&["{ command = [\"exits-2-silently\"] }"]).await).reason, "no reason given");
}

#[tokio::test(start_paused = true)]
async fn one_that_only_looks_fails_alone() {
    let bad = says(r#"{"veto": "no"}"#);
    let patches = says(r#"{"patch": {"arguments": {}}}"#);
    let handlers = [
        "{ command = [\"exits-1\"] }",
        "{ command = [\"exits-2\"] }",
        "{ command = [\"hangs\"] }",
        "{ command = [\"says\", \"ok\"] }",
        "{ builtin = \"panics\" }",
        &bad,
        &patches,
    ];
    let mut table = table(&handlers);
    table.hooks.iter_mut().for_each(|hook| hook.observes = true);
    let start = Instant::now();
    let dispatched = dispatch(&HookEngine::new(table), &Runner::default()).await;
    assert_eq!(dispatched.verdict, Verdict::Proceed { data: data(), changed: false });
    assert_eq!(dispatched.ran.len(), handlers.len());
    assert!(dispatched.ran.iter().all(|ran| matches!(ran.end, HookEnd::Failed(_))), "{dispatched:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(5), "one of them hung");
}

#[tokio::test]
async fn at_an_event_for_looking_every_hook_only_looks() {
    for event in Event::ALL.into_iter().filter(|event| event.kind() == EventKind::Observer) {
        let text =
            format!("[[hooks]]\nname = \"x\"\nevent = \"{event}\"\nhandler = {{ command = [\"exits-2\"] }}");
        let engine = HookEngine::new(compile(&text, &Builtins::default()).unwrap());
        let dispatched = engine.dispatch(event, &FACTS, data(), &Runner::default()).await;
        assert!(matches!(dispatched.verdict, Verdict::Proceed { changed: false, .. }), "{event}");
    }
}

#[tokio::test]
async fn a_hook_that_panicked_says_no_from_then_on_without_being_called() {
    let engine = HookEngine::new(table(&["{ builtin = \"panics\" }"]));
    let runner = Runner::default();
    assert_eq!(veto(&dispatch(&engine, &runner).await).reason, "it panicked: a bug");
    assert_eq!(veto(&dispatch(&engine, &runner).await).reason, "it panicked before, and is not called again");
    engine.replace(table(&["{ command = [\"proceeds\"] }"]));
    assert!(matches!(dispatch(&engine, &runner).await.verdict, Verdict::Proceed { .. }));
}

#[tokio::test]
async fn budgets_facts_and_what_is_not_there_cannot_be_changed() {
    let patches = [
        r#"{"patch": {"limits": {"tokens": 1000}}}"#,
        r#"{"patch": {"arguments": {"path": "b"}, "limits": {"tokens": 1000}}}"#,
        r#"{"patch": {"run": "r2"}}"#,
        r#"{"patch": {"event": "after_run"}}"#,
        r#"{"patch": {"tool": "fs.read"}}"#,
        r#"{"patch": {"arguments": null}}"#,
    ];
    for patch in patches {
        let dispatched = of(&[&says(patch)]).await;
        assert!(veto(&dispatched).failed, "{patch}");
    }
    let gate = "[[hooks]]\nname = \"x\"\nevent = \"before_node\"\nhandler = { command = [\"says\", '{\"patch\": {\"budget\": {}}}'] }";
    let engine = HookEngine::new(compile(gate, &Builtins::default()).unwrap());
    let dispatched = engine
        .dispatch(Event::BeforeNode, &FACTS, json!({"budget": {"tokens": 1}}), &Runner::default())
        .await;
    assert_eq!(veto(&dispatched).reason, "nothing can be changed at `before_node`");
}

#[tokio::test]
async fn what_the_data_calls_itself_is_not_what_the_engine_knows() {
    let engine = HookEngine::new(table(&["{ command = [\"proceeds\"] }"]));
    let runner = Runner::default();
    let spoof = json!({ "run": "r2", "event": "after_run", "effect": "read", "tool": "x", "arguments": {} });
    engine.dispatch(Event::BeforeTool, &Facts { effect: None, ..FACTS }, spoof.clone(), &runner).await;
    let expected = json!({
        "hook": "h0", "event": "before_tool", "run": "r1", "node": "fix", "attempt": 2, "tool": "fs.write",
        "effect": "destructive", "data": spoof,
    });
    assert_eq!(runner.told(), [expected]);
}

#[tokio::test]
async fn what_is_under_way_ends_with_the_hooks_it_began_with() {
    let waits = Arc::new(Waits::default());
    let builtin = Arc::new(waits.clone());
    let builtins = Builtins::default().with("waits", move |_| Ok(builtin.clone()));
    let text = "[[hooks]]\nname = \"x\"\nevent = \"before_tool\"\nhandler = { builtin = \"waits\" }";
    let engine = Arc::new(HookEngine::new(compile(text, &builtins).unwrap()));
    let old = tokio::spawn({
        let engine = engine.clone();
        async move { dispatch(&engine, &Runner::default()).await }
    });
    waits.reached.notified().await;
    engine.replace(HookTable::default());
    assert!(matches!(dispatch(&engine, &Runner::default()).await.verdict, Verdict::Proceed { .. }));
    waits.on.notify_one();
    assert_eq!(veto(&old.await.unwrap()).reason, "the old table");
}

#[tokio::test]
async fn hooks_are_for_what_they_match() {
    let matching = |matches: &str| {
        let text = format!(
            "[[hooks]]\nname = \"x\"\nevent = \"before_tool\"\nmatch = {matches}\nhandler = {{ builtin = \"deny\" }}"
        );
        HookEngine::new(compile(&text, &Builtins::default()).unwrap())
    };
    let nested =
        Facts { node: Some("release/build"), tool: Some("mcp.git.log"), effect: Some(Effect::Read), ..FACTS };
    let unknown = Facts { effect: None, ..FACTS };
    let cases: &[(&str, Facts<'_>, bool)] = &[
        ("{}", FACTS, true),
        ("{ node = \"f*\" }", FACTS, true),
        ("{ node = \"*\" }", nested, false),
        ("{ node = \"release/*\" }", nested, true),
        ("{ node = \"fix\" }", Facts { node: None, ..FACTS }, false),
        ("{ tool = \"fs.write\" }", FACTS, true),
        ("{ tool = \"fs.writ\" }", FACTS, false),
        ("{ tool_glob = \"mcp.*\" }", nested, true),
        ("{ tool_glob = \"mcp.*\" }", FACTS, false),
        ("{ effect = [\"write\", \"network\"] }", FACTS, true),
        ("{ effect = [\"destructive\"] }", FACTS, false),
        ("{ effect = [\"destructive\"] }", unknown, true),
        ("{ node = \"fix\", tool = \"fs.write\", effect = [\"read\"] }", FACTS, false),
    ];
    for (matches, facts, fits) in cases {
        let dispatched =
            matching(matches).dispatch(Event::BeforeTool, facts, data(), &Runner::default()).await;
        assert_eq!(matches!(dispatched.verdict, Verdict::Veto(_)), *fits, "{matches} {facts:?}");
    }
}

#[test]
fn what_makes_no_sense_is_an_error_with_what_was_meant() {
    let cases = [
        ("event = \"before_tol\"\nhandler = { builtin = \"deny\" }", "did you mean `before_tool`?"),
        ("event = \"PreToolUse\"\nhandler = { builtin = \"deny\" }", "there are before_run, after_run,"),
        ("event = \"before_tool\"\nhandler = { builtin = \"den\" }", "did you mean `deny`?"),
        ("event = \"before_tool\"\nhandler = { builtin = \"redact\" }", "there are deny, log"),
        (
            "event = \"before_tool\"\nhandler = { builtin = \"deny\", with = { why = \"x\" } }",
            "only `reason`",
        ),
        ("event = \"before_tool\"\nhandler = { builtin = \"log\" }", "where to write"),
        ("event = \"before_tool\"\nhandler = { builtin = \"log\", with = { file = \"x\" } }", "absolute"),
        ("event = \"before_tool\"\nhandler = {}", "one of `command`, `builtin` and `prompt`"),
        ("event = \"before_tool\"\nhandler = { command = [\"x\"], prompt = \"y\" }", "one of"),
        ("event = \"before_tool\"\nhandler = { command = [] }", "no program"),
        ("event = \"before_tool\"\nhandler = { command = [\"./hook.sh\"] }", "depends on the folder"),
        ("event = \"before_tool\"\nhandler = { command = [\"x\"], env = [\"A=b\"] }", "names of variables"),
        ("event = \"before_tool\"\nhandler = { prompt = \" \" }", "asks nothing"),
        (
            "event = \"before_tool\"\ntimeout_seconds = 0\nhandler = { builtin = \"deny\" }",
            "between 1 and 600",
        ),
        (
            "event = \"before_tool\"\nmatch = { tool_glob = \"[\" }\nhandler = { builtin = \"deny\" }",
            "tool_glob",
        ),
        (
            "event = \"before_tool\"\nmatch = { node = \"\" }\nhandler = { builtin = \"deny\" }",
            "`match.node` is empty",
        ),
        (
            "event = \"before_tool\"\nmatch = { effect = [\"wrte\"] }\nhandler = { builtin = \"deny\" }",
            "did you mean `write`?",
        ),
        (
            "event = \"before_node\"\nmatch = { tool = \"x\" }\nhandler = { builtin = \"deny\" }",
            "never match",
        ),
        ("event = \"before_run\"\nmatch = { node = \"x\" }\nhandler = { builtin = \"deny\" }", "never match"),
    ];
    for (hook, why) in cases {
        let wrong = compile(&format!("[[hooks]]\nname = \"x\"\n{hook}"), &Builtins::default()).unwrap_err();
        assert!(wrong.len() == 1 && wrong[0].to_string().contains(why), "{hook}: {wrong:?}");
    }
    let twice =
        "[[hooks]]\nname = \"x\"\nevent = \"before_run\"\nhandler = { builtin = \"deny\" }\n".repeat(2);
    assert!(compile(&twice, &Builtins::default()).unwrap_err()[0].why.contains("two of this name"));
    let all_at_once = "[[hooks]]\nname = \"X\"\nevent = \"before_run\"\nhandler = {}\n[[hooks]]\nname = \"y\"\nevent = \"?\"\nhandler = {}";
    assert_eq!(compile(all_at_once, &Builtins::default()).unwrap_err().len(), 2);
    assert!(
        toml::from_str::<HookConfig>(
            "name = \"x\"\nevent = \"before_run\"\nhandler = {}\non_error = \"allow\""
        )
        .is_err()
    );
}

#[tokio::test]
async fn a_prompt_is_asked_with_the_envelope_and_answers_in_json() {
    for fenced in ["reply ```{}```", "reply ```json\\n{}\\n```\\n"] {
        let dispatched = of(&[&format!("{{ prompt = \"{fenced}\" }}")]).await;
        assert!(matches!(dispatched.verdict, Verdict::Proceed { changed: false, .. }), "{fenced}");
    }
    let engine = HookEngine::new(table(&["{ prompt = 'reply {\"veto\": \"the model says no\"}' }"]));
    let runner = Runner::default();
    assert_eq!(veto(&dispatch(&engine, &runner).await).reason, "the model says no");
    let asked = runner.prompts.lock().unwrap();
    let envelope: Value = serde_json::from_str(&asked[0].1).unwrap();
    assert_eq!(envelope["data"], data());
}

#[tokio::test]
async fn the_log_gets_a_line_for_each_event_and_no_say() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let deny = "{ builtin = \"deny\", with = { reason = \"no\" } }";
    let log = format!("{{ builtin = \"log\", with = {{ file = \"{}\" }} }}", file.display());
    let engine = HookEngine::new(table(&[deny, &log]));
    for _ in 0..2 {
        assert_eq!(veto(&dispatch(&engine, &Runner::default()).await).reason, "no");
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["vetoed"]["hook"], &lines[0]["run"]), (&json!("h0"), &json!("r1")));

    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let alone = HookEngine::new(table(&[&log]));
    assert!(matches!(dispatch(&alone, &Runner::default()).await.verdict, Verdict::Proceed { .. }));
}
