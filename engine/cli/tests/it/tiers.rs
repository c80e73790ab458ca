//! Tiers and what isolates them, on a real container engine: the same blueprint everywhere, and refusals where something
//! is missing or is not what it is called. Where no engine is, what needs one is skipped, unless it is required.

use std::process::Command;

use serde_json::Value;

use super::lab::{Lab, wait_until};

/// The engine of the tests. Those that name `container` in `BLUEPRINT_REQUIRE_BACKENDS` must have one.
#[expect(
    clippy::disallowed_methods,
    reason = "the engine of the tests is named the way every Docker client is told"
)]
pub(super) fn engine() -> Option<String> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let there = host.strip_prefix("unix://").is_some_and(|path| std::path::Path::new(path).exists());
    let required = std::env::var("BLUEPRINT_REQUIRE_BACKENDS").is_ok_and(|names| names.contains("container"));
    assert!(there || !required, "there is no container engine at {host}");
    if !there {
        super::trouble::skipped("there is no container engine");
    }
    there.then_some(host)
}

/// What virtual machines of the tests are made of, as settings. Those that name `microvm` must have it.
#[expect(clippy::disallowed_methods, reason = "what machines are made of is named to the tests this way")]
pub(super) fn machine() -> Option<String> {
    let named = |part: &str| std::env::var(format!("BLUEPRINT_MICROVM_{part}")).ok();
    let required = std::env::var("BLUEPRINT_REQUIRE_BACKENDS").is_ok_and(|names| names.contains("microvm"));
    let (Some(rootfs), Some(kernel), Some(modules)) = (named("ROOTFS"), named("KERNEL"), named("MODULES"))
    else {
        assert!(!required, "nothing says what machines are made of");
        super::trouble::skipped("nothing says what virtual machines are made of");
        return None;
    };
    Some(format!("[microvm]\nrootfs = \"{rootfs}\"\nkernel = \"{kernel}\"\nmodules = \"{modules}\"\n"))
}

pub(super) fn docker(host: &str, args: &[&str]) -> String {
    let done = Command::new("docker").arg("-H").arg(host).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// A project in which one tier has one backend.
fn mapped(host: &str, tier: &str, backend: &str) -> Lab {
    let lab = Lab::in_git();
    lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n[tiers]\n{tier} = \"{backend}\"\n"));
    lab
}

/// What a step of strangers runs, and a step that uses what it left.
const STEPS: &str = r#"
[nodes.first]
tier = "untrusted"
shell = "sh"
run = 'cat README; uname -r; echo made > made'
[nodes.second]
needs = ["first"]
run = ["cat", "made"]
[nodes.apart]
needs = ["second"]
workspace = "none"
run = ["true"]
"#;

#[test]
fn the_same_blueprint_runs_under_every_backend_by_the_map_alone() {
    let host = engine();
    let mut backends = vec!["process", "bubblewrap"];
    if host.is_some() {
        backends.extend(["container", "gvisor"]);
    }
    let machine = machine();
    if machine.is_some() {
        backends.push("microvm");
    }
    for backend in backends {
        let lab = Lab::in_git();
        let machine = machine.clone().unwrap_or_default();
        let docker = host.as_ref().map(|host| format!("[docker]\nhost = \"{host}\"\n")).unwrap_or_default();
        lab.exact_settings(&format!("{docker}{machine}[tiers]\nuntrusted = \"{backend}\"\n"));
        lab.blueprint("steps", STEPS);
        let said = lab.say(&["run", "steps"]).ends(0);
        assert!(said.err.contains("a project"), "{said}");
        let weaker = !["gvisor", "microvm"].contains(&backend);
        assert_eq!(said.err.contains("isolates less than its default"), weaker, "{backend}: {said}");
        let run = lab.run();
        let shown = lab.show(&run, "first");
        assert_eq!(shown["record"]["isolation"], backend);
        let facts = &shown["attestation"];
        assert_eq!(facts["backend"], backend, "{facts:#}");
        assert_eq!(facts["isolation"], "isolated");
        assert_eq!(facts["network"], "loopback_only");
        for limit in ["memory", "pids", "wall", "output"] {
            assert_ne!(facts["limits"][limit], "nothing", "{backend}: {limit}");
        }
        assert_eq!(facts["runtime"].is_object(), ["container", "gvisor"].contains(&backend));
        assert_eq!(facts["user_space_kernel"].is_string(), backend == "gvisor", "{facts:#}");
        let second = lab.show(&run, "second");
        assert_eq!(
            second["attestation"]["backend"], backend,
            "what it reads is of strangers, and so is its tier"
        );
        let apart = lab.show(&run, "apart");
        assert_eq!(apart["attestation"]["backend"], "process", "the trusted tier is not moved");
        let started = &lab.events(&run)[0];
        assert!(started.to_string().contains("run_started"), "{started}");
        let all = lab.say(&["show", &run]).ends(0).out;
        let expected = if backend == "process" {
            "isolation  process".to_owned()
        } else {
            format!("untrusted: {backend}")
        };
        assert!(all.contains(&expected), "{all}");
    }
}

/// Nothing was started: no run is on record, and no command ran.
fn refused(lab: &Lab, mentions: &[&str]) {
    let said = lab.say(&["run", "steps"]).ends(3);
    for text in mentions {
        assert!(said.err.contains(text), "{text}: {said}");
    }
    assert!(said.err.contains("nothing was started"), "{said}");
    assert!(lab.runs().is_empty());
}

#[test]
fn a_tier_without_its_sandbox_is_refused_before_anything_runs() {
    let lab = Lab::in_git();
    lab.blueprint("steps", STEPS);
    lab.exact_settings("[docker]\nhost = \"unix:///nonexistent/docker.sock\"\n");
    refused(&lab, &["`untrusted`", "unix:///nonexistent/docker.sock", "[tiers] untrusted"]);
    lab.exact_settings("[docker]\nhost = \"tcp://127.0.0.1:2375\"\n");
    refused(&lab, &["only sockets of this machine"]);
    // A socket that nobody answers on, and one that somebody else answers on.
    let socket = lab.beside("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    lab.exact_settings(&format!("[docker]\nhost = \"unix://{}\"\n", socket.display()));
    refused(&lab, &["cannot be used"]);
}

#[test]
fn a_runtime_that_is_missing_or_only_called_so_is_refused() {
    let Some(host) = engine() else { return };
    let lab = Lab::in_git();
    lab.blueprint("steps", STEPS);
    for (runtime, why) in [
        ("no-such-runtime", "has no runtime `no-such-runtime`"),
        ("runc", "no gVisor answers in it"),
        ("not-runsc", "no gVisor answers in it"),
        ("runsc-direct", "a file that is shown read-only could be emptied"),
    ] {
        let known = docker(&host, &["info", "--format", "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}"]);
        if runtime != "no-such-runtime" && !known.split(' ').any(|name| name == runtime) {
            super::trouble::skipped(&format!("the engine has no runtime `{runtime}` to be refused"));
            continue;
        }
        lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\ngvisor = \"{runtime}\"\n"));
        refused(&lab, &[why]);
    }
    assert_eq!(ours(&host), "", "what was refused is gone");
}

fn ours(host: &str) -> String {
    // Other tests of this process have theirs; those of the lab's own children are told apart by their number.
    let listed = docker(
        host,
        &[
            "ps",
            "-aq",
            "--filter",
            "label=dev.blueprint.owner",
            "--format",
            "{{.ID}} {{.Label \"dev.blueprint.owner\"}}",
        ],
    );
    listed
        .lines()
        .filter(|line| {
            let mut parts = line.rsplit(':');
            let pid = parts.nth(1).unwrap_or_default();
            !std::path::Path::new("/proc").join(pid).exists()
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_project_cannot_map_tiers_or_name_an_engine() {
    let lab = Lab::in_git();
    lab.blueprint("steps", STEPS);
    for text in
        ["[tiers]\nuntrusted = \"process\"\n", "[docker]\nhost = \"unix:///tmp/x\"\n", "[pool]\nsize = 9\n"]
    {
        lab.write("blueprint.toml", text);
        lab.say(&["run", "steps"]).ends(2).mentions("only the user's own settings file");
    }
    lab.write("blueprint.toml", "");
    assert!(lab.runs().is_empty());
}

#[test]
fn commands_find_the_programs_of_their_image() {
    let Some(host) = engine() else { return };
    let lab = Lab::in_git();
    // An image of one static program, made here.
    let root = lab.beside("image");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
    std::fs::write(root.join("mark"), "of the image").unwrap();
    let archive = lab.beside("image.tar");
    let packed = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".").status().unwrap();
    assert!(packed.success());
    let id = docker(&host, &["import", &archive.display().to_string()]);
    assert!(id.starts_with("sha256:"), "{id}");
    lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n"));
    for tier in ["trusted", "internal", "untrusted"] {
        lab.blueprint(
            "steps",
            &format!(
                "[nodes.first]\ntier = \"{tier}\"\nimage = \"{id}\"\nshell = \"sh\"\n\
                 run = '/bin/busybox cat /mark README; test ! -e /usr; echo made > made'\n\
                 [nodes.second]\nneeds = [\"first\"]\nrun = [\"cat\", \"made\"]\n"
            ),
        );
        let said = lab.say(&["run", "steps"]).ends(0);
        assert!(said.err.contains("of the image"), "{said}");
        let facts = &lab.show(&lab.run(), "first")["attestation"];
        assert_eq!(facts["runtime"]["image"], *id, "{tier}");
    }
    let change = ["import", "--change", "VOLUME /data", &archive.display().to_string()];
    let declares = docker(&host, &change);
    lab.blueprint(
        "steps",
        &format!("[nodes.a]\nimage = \"{declares}\"\nrun = [\"/bin/busybox\", \"true\"]\n"),
    );
    let said = lab.say(&["run", "steps"]);
    assert!(said.err.contains("it declares volumes"), "{said}");
    docker(&host, &["image", "rm", &declares]);
    lab.blueprint("steps", &format!("[nodes.first]\nimage = \"{id}\"\nrun = [\"true\"]\n"));
    docker(&host, &["image", "rm", &id]);
    let runs = lab.runs().len();
    let said = lab.say(&["run", "steps"]).ends(3);
    assert!(said.err.contains("the engine has nothing with this id"), "{said}");
    lab.blueprint("steps", &format!("[nodes.a]\nimage = \"127.0.0.1:1/none@{id}\"\nrun = \"true\"\n"));
    let said = lab.say(&["run", "steps"]).ends(3);
    assert!(said.err.contains("cannot be used") && said.err.contains("`a` needs it"), "{said}");
    let said = lab.say(&["run", "steps", "--sandbox", "process"]).ends(3);
    assert!(said.err.contains("only containers can show one"), "{said}");
    assert_eq!(lab.runs().len(), runs, "nothing was started");
}

#[test]
fn agents_their_servers_and_other_peoples_agents_work_in_containers() {
    let Some(host) = engine() else { return };
    for backend in ["container", "gvisor"] {
        agents_work(&mapped(&host, "generated", backend), backend);
    }
}

#[test]
fn agents_their_servers_and_other_peoples_agents_work_in_virtual_machines() {
    let Some(machine) = machine() else { return };
    let lab = Lab::in_git();
    lab.settings(&format!("{machine}[tiers]\ngenerated = \"microvm\"\n"));
    agents_work(&lab, "microvm");
}

fn agents_work(lab: &Lab, backend: &str) {
    lab.write("src/main.txt", "one\ntwo\nthree\n");
    lab.write("server.py", SERVER);
    lab.write("blueprints/think/model.toml", SCRIPT);
    lab.blueprint("think", AGENTS);
    let said = lab.say(&["run", "think"]).ends(0);
    let run = lab.run();
    let diff = lab.diff(&run);
    assert!(diff.contains("+zwei") && diff.contains("+by another"), "{diff} {said}");
    let transcript = lab.say(&["logs", &run, "think", "--transcript"]);
    assert!(transcript.out.contains("heard: a word"), "{transcript}");
    for node in ["think", "other"] {
        let shown = lab.show(&run, node);
        assert_eq!(shown["attestation"]["backend"], backend, "{node}");
    }
    lab.verify(&run);
}

const AGENTS: &str = r#"
[nodes.think]
tier = "generated"
agent = { prompt = "Think.", model = "scripted/model.toml", max_turns = 8, mcp = { box = { command = ["/usr/bin/python3", "server.py"], tools = ["*"] } } }
tools = ["fs.*", "shell"]
[nodes.other]
needs = ["think"]
tier = "generated"
agent = { command = ["sh", "-c", "cat >/dev/null; echo by another > other.txt; echo done"], prompt = "Go on." }
"#;

const SCRIPT: &str = r#"
[[turn]]
[[turn.call]]
tool = "fs.edit"
args = { path = "src/main.txt", old = "two", new = "zwei" }
[[turn.call]]
tool = "mcp.box.hear"
args = { word = "a word" }
[[turn]]
[[turn.call]]
tool = "shell"
args = { command = "grep zwei src/main.txt" }
[[turn]]
text = "Done."
"#;

/// A server of one tool, on its standard input and output.
const SERVER: &str = r#"
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    method = asked["method"]
    if method == "initialize":
        result = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "box", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": "hear", "description": "Hears.", "inputSchema": {"type": "object", "properties": {"word": {"type": "string"}}}}]}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": "heard: " + asked["params"]["arguments"]["word"]}]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"#;

#[test]
fn a_killed_engine_leaves_nothing_in_containers_after_the_next_start() {
    let Some(host) = engine() else { return };
    for backend in ["container", "gvisor"] {
        let lab = mapped(&host, "untrusted", backend);
        lab.blueprint(
            "steps",
            "[nodes.first]\ntier = \"untrusted\"\nshell = \"sh\"\nrun = 'echo begun; trap \"\" TERM HUP; while :; do sleep 1; done'\n",
        );
        let mut running = lab.start(&["run", "steps"]);
        running.wait_for_err("begun");
        let pid = running.pid();
        let mine = |all: &str| {
            all.lines()
                .filter(|line| line.contains(&format!(":{pid}:")))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let labels = || {
            docker(&host, &["ps", "-a", "--format", "{{.ID}} {{.Status}} {{.Label \"dev.blueprint.owner\"}}"])
        };
        assert_eq!(mine(&labels()).len(), 1, "one container, of this engine");
        running.signal(rustix::process::Signal::KILL);
        assert!(running.end().was_killed());
        // Its end of the channel is closed, so the guest ends, and the container with it.
        wait_until("nothing runs any more", || {
            mine(&labels()).iter().all(|line| !line.contains(" Up ")).then_some(())
        });
        // Any run sweeps, this one needs no container itself; what it does not get to is left to the next one.
        lab.blueprint("other", "[nodes.a]\nrun = [\"true\"]\n");
        let views = lab.beside("home/.cache/blueprint/containers/views");
        wait_until("it is gone", || {
            lab.say(&["run", "other"]).ends(0);
            let left = std::fs::read_dir(&views).map_or(0, Iterator::count);
            (mine(&labels()).is_empty() && left == 0).then_some(())
        });
    }
}

#[test]
fn doctor_says_what_each_tier_gets() {
    let lab = Lab::in_git();
    lab.exact_settings(
        "[docker]\nhost = \"unix:///nonexistent/docker.sock\"\n[tiers]\ninternal = \"process\"\n",
    );
    let told = lab.say(&["doctor", "--format", "json"]).json();
    let tier = |name: &str| {
        told["tiers"].as_array().unwrap().iter().find(|row| row["tier"] == name).unwrap().clone()
    };
    assert_eq!(
        (&tier("internal")["sandbox"], &tier("internal")["weaker"]),
        (&Value::from("process"), &Value::Bool(true))
    );
    assert_eq!(
        (&tier("untrusted")["sandbox"], &tier("untrusted")["usable"]),
        (&Value::from("gvisor"), &Value::Bool(false))
    );
    let said = lab.say(&["doctor"]);
    assert!(said.out.contains("nodes of this tier are refused here"), "{said}");
}

#[test]
fn a_container_that_is_killed_under_its_command_fails_the_node_and_says_so() {
    let Some(host) = engine() else { return };
    for backend in ["container", "gvisor"] {
        let lab = mapped(&host, "untrusted", backend);
        lab.blueprint(
            "steps",
            "[nodes.first]\ntier = \"untrusted\"\nshell = \"sh\"\nrun = 'echo begun; while :; do sleep 1; done'\n",
        );
        let mut running = lab.start(&["run", "steps"]);
        running.wait_for_err("begun");
        let label = format!(":{}:", running.pid());
        let all = docker(&host, &["ps", "--format", "{{.ID}} {{.Label \"dev.blueprint.owner\"}}"]);
        let id =
            all.lines().find(|line| line.contains(&label)).and_then(|line| line.split(' ').next()).unwrap();
        docker(&host, &["kill", id]);
        let said = running.end().ends(1);
        assert!(said.err.contains("the sandbox ended while the command was running"), "{backend}: {said}");
        assert_eq!(lab.phase(&lab.run(), "first"), "failed");
    }
}

/// The guest's file has no room: refused, and not run without it.
#[test]
fn a_full_disk_refuses_a_container() {
    let Some(host) = engine() else { return };
    if !rustix::process::geteuid().is_root() {
        return super::trouble::skipped("only root can make a disk that is full");
    }
    let lab = Lab::in_git();
    lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n"));
    lab.blueprint("steps", STEPS);
    let cache = lab.beside("cache");
    std::fs::create_dir(&cache).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&cache).status().unwrap();
    assert!(mounted.success());
    let said = lab.say_with(&[("XDG_CACHE_HOME", &cache.display().to_string())], &["run", "steps"]);
    assert!(Command::new("umount").arg(&cache).status().unwrap().success());
    let said = said.ends(3);
    assert!(
        said.err.contains("No space left on device") && said.err.contains("nothing was started"),
        "{said}"
    );
    assert!(lab.runs().is_empty());
}

/// A chain of a tier whose code is the project's own shares a container, and nothing but the workspace goes on. What models
/// and strangers wrote never shares one.
#[test]
fn a_chain_shares_a_container_that_is_empty_for_each_of_its_nodes() {
    let Some(host) = engine() else { return };
    for (tier, backend, shares) in
        [("internal", "container", true), ("untrusted", "container", false), ("untrusted", "gvisor", false)]
    {
        let lab = mapped(&host, tier, backend);
        lab.blueprint(
            "chain",
            &format!(
                r#"
[defaults]
tier = "{tier}"
shell = "sh"
[nodes.a]
run = 'stat -c made:%z /.dockerenv; echo one > made; mkdir -p /tmp/d/e $HOME/h; echo x > /tmp/d/x; echo y > $HOME/.hidden; echo z > /dev/shm/z; ln -s /etc /tmp/link'
[nodes.b]
needs = ["a"]
run = 'stat -c made:%z /.dockerenv; cat made; test -z "$(ls -A /tmp $HOME /dev/shm | grep -v :)"; ls /etc/passwd; echo two >> made'
[nodes.c]
needs = ["b"]
run = 'stat -c made:%z /.dockerenv; test "$(cat made)" = "$(printf "one\ntwo")"'
"#
            ),
        );
        lab.say(&["run", "chain"]).ends(0);
        let run = lab.run();
        let seen: Vec<String> = ["a", "b", "c"]
            .iter()
            .map(|node| {
                let said = lab.say(&["logs", &run, node]).ends(0).out;
                let line = said.lines().find(|line| line.contains("made:")).unwrap();
                // When the container was made, to the nanosecond.
                line[line.find("made:").unwrap()..].to_owned()
            })
            .collect();
        if shares {
            assert_eq!((&seen[0], &seen[1]), (&seen[1], &seen[2]), "{tier} {backend}");
        } else {
            assert!(seen[0] != seen[1] && seen[1] != seen[2], "{tier} {backend} {seen:?}");
        }
        assert_eq!(ours(&host), "", "none outlives its run");
    }
}

/// What a command leaves that no folder holds, or does to the guest, which is its own user: the next one gets another
/// container.
#[test]
fn a_container_that_cannot_be_made_as_it_was_is_not_shared() {
    let Some(host) = engine() else { return };
    for (does, shares) in [
        ("true", true),
        ("ipcmk -M 64 >/dev/null", false),
        ("ipcmk -Q >/dev/null", false),
        ("prlimit --pid 1 --nofile=512:512", false),
        ("renice -n 5 -p 1 >/dev/null", false),
        ("taskset -p 1 1 >/dev/null", false),
    ] {
        let lab = Lab::in_git();
        lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n"));
        lab.blueprint(
            "chain",
            &format!(
                "[defaults]\ntier = \"internal\"\nshell = \"sh\"\n\
                 [nodes.a]\nrun = 'stat -c made:%z /.dockerenv; {does} || echo made:nothing'\n\
                 [nodes.b]\nneeds = [\"a\"]\nrun = 'stat -c made:%z /.dockerenv'\n"
            ),
        );
        let said = lab.say(&["run", "chain"]).ends(0);
        assert!(!said.err.contains("made:nothing"), "{does}: {said}");
        let made: Vec<&str> =
            said.err.lines().filter_map(|line| line.find("made:").map(|at| &line[at..])).collect();
        assert_eq!(made.len(), 2, "{said}");
        assert_eq!(made[0] == made[1], shares, "{does}: {said}");
    }
}

#[test]
fn a_virtual_machine_that_nobody_described_is_refused_before_anything_is_spent() {
    let lab = Lab::in_git();
    lab.exact_settings("[tiers]\nuntrusted = \"microvm\"\n");
    lab.write("blueprints/think/model.toml", SCRIPT);
    lab.blueprint(
        "think",
        "[nodes.think]\ntier = \"untrusted\"\nagent = { prompt = \"Think.\", model = \"scripted/model.toml\" }\n",
    );
    lab.say(&["run", "think"]).ends(3).mentions("no virtual machine is described");
    lab.blueprint("steps", STEPS);
    lab.say(&["run", "steps"]).ends(3).mentions("no virtual machine is described");
    assert!(lab.runs().is_empty());
}
