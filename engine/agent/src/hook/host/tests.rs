//! Real programs: what they see, what they may write, and that nothing of them is left.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;

use super::super::{Builtins, Event, Facts, HookConfig, HookEngine, HookTable, Verdict};
use super::*;

struct Place {
    folder: tempfile::TempDir,
    runner: HostRunner,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variables = |name: &str| match name {
            "PATH" => Some("/usr/local/bin:/usr/bin:/bin".to_owned()),
            "TOKEN" => Some("t0ken".to_owned()),
            _ => None,
        };
        let runner = HostRunner { folder: folder.path().to_owned(), variables: Arc::new(variables) };
        Self { folder, runner }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A pipe with a name. What has opened it is seen to end.
    fn fifo(&self) -> (String, BufReader<pipe::Receiver>) {
        let path = self.path("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let receiver = pipe::OpenOptions::new().open_receiver(Path::new(&path)).unwrap();
        (path, BufReader::new(receiver))
    }

    async fn run(&self, script: &str, env: &[&str]) -> Result<CommandRan, String> {
        let argv = ["sh", "-c", script].map(str::to_owned);
        let env = env.iter().map(|name| (*name).to_owned()).collect();
        self.runner.command(&argv, &env, b"{\"told\": 1}\n").await
    }
}

async fn verdict(place: &Place, script: &str, fifo: &str) -> Verdict {
    let hook: HookConfig = serde_json::from_value(json!({
        "name": "x",
        "event": "before_tool",
        "handler": { "command": ["sh", "-c", script, fifo] },
    }))
    .unwrap();
    let engine = HookEngine::new(HookTable::compile(&[hook], &Builtins::default()).unwrap());
    engine
        .dispatch(Event::BeforeTool, &Facts::default(), json!({"arguments": {}}), &place.runner)
        .await
        .verdict
}

fn failed(verdict: Verdict) -> String {
    match verdict {
        Verdict::Veto(veto) if veto.failed => veto.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_program_sees_the_envelope_and_no_variable_that_was_not_named() {
    let place = Place::new();
    let ran = place.run("cat; pwd -P; echo \"${HOME-unset} $TOKEN\" >&2; exit 7", &["TOKEN"]).await.unwrap();
    let folder = place.folder.path().canonicalize().unwrap();
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), format!("{{\"told\": 1}}\n{}\n", folder.display()));
    assert_eq!((ran.code, ran.stderr.as_slice()), (Some(7), &b"unset t0ken\n"[..]));
    let variables = place.run("exec env", &[]).await.unwrap().stdout;
    let variables = String::from_utf8(variables).unwrap();
    let names: Vec<&str> = variables.lines().filter_map(|line| line.split('=').next()).collect();
    let of_the_shell = ["PWD", "SHLVL", "_", "OLDPWD"];
    assert!(names.iter().all(|name| *name == "PATH" || of_the_shell.contains(name)), "{names:?}");
}

#[tokio::test]
async fn what_cannot_be_run_is_a_failure() {
    let place = Place::new();
    assert_eq!(place.run("true", &["MISSING"]).await.unwrap_err(), "the variable MISSING is not set");
    let argv = ["no-such-program".to_owned()];
    let error = place.runner.command(&argv, &BTreeSet::new(), b"").await.unwrap_err();
    assert!(error.starts_with("`no-such-program` cannot be started: "), "{error}");
    let question = Question { hook: "h", model: "default", prompt: "?", envelope: "{}" };
    assert_eq!(place.runner.prompt(question).await.unwrap_err(), "no budget pays for a model here");
    assert_eq!(place.run("kill -9 $$", &[]).await.unwrap().code, None);
}

#[tokio::test]
async fn who_does_not_listen_can_answer_all_the_same() {
    let place = Place::new();
    let argv = ["sh", "-c", "exec 0<&-; echo '{}'"].map(str::to_owned);
    let ran = place.runner.command(&argv, &BTreeSet::new(), &vec![b'x'; 4 << 20]).await.unwrap();
    assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), &b"{}\n"[..]));
}

#[tokio::test]
async fn who_writes_without_end_is_stopped() {
    let place = Place::new();
    for script in ["exec yes", "exec yes >&2"] {
        assert_eq!(place.run(script, &[]).await.unwrap_err(), "it wrote more than 1024 KiB", "{script}");
    }
    let all = place.run("head -c 1048576 /dev/zero", &[]).await.unwrap();
    assert_eq!(all.stdout.len(), 1 << 20);
}

/// The program has opened the pipe and says so. Once it and all it started are gone, the pipe ends.
async fn ends(script: &str, end: impl AsyncFnOnce(std::pin::Pin<&mut (dyn Future<Output = Verdict> + '_)>)) {
    let place = Place::new();
    let (fifo, mut started) = place.fifo();
    {
        let mut running = std::pin::pin!(verdict(&place, script, &fifo));
        let mut line = String::new();
        tokio::select! {
            early = &mut running => panic!("{early:?}"),
            read = started.read_line(&mut line) => assert_eq!((read.unwrap(), line.as_str()), (8, "started\n")),
        }
        end(running.as_mut()).await;
    }
    let mut rest = String::new();
    assert_eq!(started.read_line(&mut rest).await.unwrap(), 0, "{rest}");
}

#[tokio::test]
async fn who_takes_too_long_is_killed_with_all_it_started() {
    let hangs = "exec 3>\"$0\"; echo started >&3; sleep 1000 & sleep 1000";
    let leaves_a_child = "exec 3>\"$0\"; echo started >&3; sleep 1000 & exit 0";
    let ignores = "trap '' TERM INT HUP; exec 3>\"$0\"; echo started >&3; cat; while :; do sleep 1000; done";
    for script in [hangs, leaves_a_child, ignores] {
        ends(script, async |running| {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(6)).await;
            assert_eq!(failed(running.await), "it took longer than 5 seconds");
            tokio::time::resume();
        })
        .await;
    }
}

#[tokio::test]
async fn who_is_not_waited_for_any_more_is_killed_with_all_it_started() {
    let hangs = "exec 3>\"$0\"; echo started >&3; sleep 1000 & sleep 1000";
    ends(hangs, async |_| {}).await;
}

#[tokio::test]
async fn a_real_program_can_change_what_a_tool_is_called_with_and_say_no() {
    let place = Place::new();
    let patches = r#"read -r line; case "$line" in *'"event":"before_tool"'*) echo '{"patch":{"arguments":{"a":1}}}';; esac"#;
    let Verdict::Proceed { data, changed } = verdict(&place, patches, "").await else { panic!("a veto") };
    assert_eq!((data, changed), (json!({"arguments": {"a": 1}}), true));
    let Verdict::Veto(veto) = verdict(&place, "echo 'not on a friday' >&2; exit 2", "").await else {
        panic!("no veto")
    };
    assert_eq!((veto.reason.as_str(), veto.failed), ("not on a friday", false));
    assert!(failed(verdict(&place, "echo done", "").await).starts_with("its reply cannot be read"));
}
