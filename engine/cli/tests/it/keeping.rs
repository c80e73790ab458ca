//! What is kept and what goes: leftovers of dead processes, runs that are deleted, what of a secret reaches git, and
//! what one node finds of another in a checkout.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::lab::{Lab, wait_for_orphans, wait_until};

const SECRET: &str = "s3cr3t-Zx81-correct+horse/battery";

/// Makes files look as if they were written long ago.
fn age(folder: &Path, seconds: u64) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            age(&entry.path(), seconds);
        } else {
            let written = entry.metadata().unwrap().modified().unwrap();
            let past = written - std::time::Duration::from_secs(seconds);
            std::fs::File::open(entry.path()).unwrap().set_modified(past).unwrap();
        }
    }
}

/// The finished blobs of a lab.
fn blobs(lab: &Lab) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(lab.state().join("blobs")).into_iter().flatten().flatten();
    let folders = folders.filter(|folder| folder.file_name().len() == 2);
    folders
        .flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten())
        .map(|file| file.path())
        .collect()
}

fn refs(lab: &Lab) -> String {
    lab.git(&["for-each-ref", "--format=%(refname)", "refs/blueprint"])
}

/// An id that no process has any more.
fn dead_process() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// A program that is over only when these paths are gone, or when the time of its node is.
fn until_gone(paths: &[&Path]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| format!("-e '{}'", path.display())).collect();
    format!("while test {}; do sleep 0.01; done", paths.join(" -o "))
}

// Leftovers of dead processes.

#[test]
fn what_dead_processes_left_is_swept_while_the_next_run_goes_on() {
    let lab = Lab::in_git();
    lab.blueprint("quick", "[nodes.a]\nshell = \"sh\"\nrun = 'echo a; echo a > a'\n");
    lab.say(&["run", "quick"]).ends(0);
    let ended = lab.run();
    // As if the program had been killed between the last event and tidying up.
    let checkout = lab.state().join("work").join(&ended).join("0");
    std::fs::create_dir_all(checkout.join("target")).unwrap();
    std::fs::write(checkout.join("target/cache"), "left").unwrap();
    std::fs::write(lab.state().join("work").join(&ended).join("0.lock"), "").unwrap();
    let live = lab.state().join("live").join(&ended);
    std::fs::create_dir_all(&live).unwrap();
    std::os::unix::fs::symlink(lab.state().join("blobs/temp/gone"), live.join("a.1")).unwrap();
    // What is none of our runs is none of our business.
    let foreign = lab.state().join("work/somebody/0");
    std::fs::create_dir_all(&foreign).unwrap();
    let draft = lab.state().join("blobs/temp/1-1");
    std::fs::write(&draft, "half").unwrap();
    lab.blueprint(
        "waits",
        &format!(
            "[nodes.wait]\nshell = \"sh\"\nrun = \"\"\"{}\"\"\"\ntimeout = \"30s\"\n",
            until_gone(&[&checkout, &live, &draft])
        ),
    );
    lab.say(&["run", "waits", "--sandbox", "none"]).ends(0);
    assert!(!lab.state().join("work").join(&ended).exists());
    assert!(foreign.exists());
}

#[test]
fn a_checkout_that_a_living_process_has_locked_and_one_of_a_run_that_can_go_on_are_not_swept() {
    let lab = Lab::in_git();
    lab.blueprint("quick", "[nodes.a]\nshell = \"sh\"\nrun = 'echo a > a'\n");
    lab.blueprint(
        "gated",
        "[nodes.a]\nshell = \"sh\"\nrun = 'echo a > a'\n[nodes.ask]\nneeds = [\"a\"]\ngate = {}\n",
    );
    lab.say(&["run", "gated"]).ends(75);
    let waiting = lab.run();
    let kept = lab.state().join("work").join(&waiting).join("0/a");
    assert!(kept.exists(), "a run that waits keeps its checkout");
    lab.say(&["run", "quick"]).ends(0);
    let ended = lab.run();
    let work = lab.state().join("work").join(&ended);
    for number in ["0", "1"] {
        std::fs::create_dir_all(work.join(number)).unwrap();
    }
    let lock = std::fs::File::create(work.join("0.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    lab.blueprint(
        "waits",
        &format!(
            "[nodes.wait]\nshell = \"sh\"\nrun = \"\"\"{}\"\"\"\ntimeout = \"30s\"\n",
            until_gone(&[&work.join("1.lock")])
        ),
    );
    lab.say(&["run", "waits", "--sandbox", "none"]).ends(0);
    assert!(work.join("0").exists() && !work.join("1").exists());
    assert!(kept.exists());
}

#[test]
fn control_groups_of_dead_processes_are_swept() {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let parent = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let controller = controllers.split(',').next().unwrap_or_default();
        let parent = Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/'));
        let probe = parent.join(format!("blueprint-it-{}", std::process::id()));
        // A folder that is no control group has no files of its own making.
        let made = std::fs::create_dir(&probe).is_ok();
        let is_group = made && probe.join("cgroup.procs").exists();
        (made && std::fs::remove_dir(&probe).is_ok() && is_group).then_some(parent)
    });
    let Some(parent) = parent else {
        eprintln!("skipped: control groups cannot be made here");
        return;
    };
    let dead = parent.join(format!("blueprint-{}-0", dead_process()));
    let alive = parent.join(format!("blueprint-{}-0", std::process::id()));
    for group in [&dead, &alive] {
        std::fs::create_dir(group).unwrap();
    }
    let lab = Lab::in_git();
    lab.blueprint(
        "waits",
        &format!(
            "[nodes.wait]\nshell = \"sh\"\nrun = \"\"\"{}\"\"\"\ntimeout = \"30s\"\n",
            until_gone(&[&dead])
        ),
    );
    let said = lab.say(&["run", "waits", "--sandbox", "none"]);
    let spared = alive.exists();
    for group in [&dead, &alive] {
        drop(std::fs::remove_dir(group));
    }
    said.ends(0);
    assert!(spared, "the group of a living process was removed");
}

#[test]
fn commands_that_only_read_sweep_nothing() {
    let lab = Lab::in_git();
    lab.blueprint("quick", "[nodes.a]\nshell = \"sh\"\nrun = 'echo a > a'\n");
    lab.say(&["run", "quick"]).ends(0);
    let run = lab.run();
    let left = lab.state().join("work").join(&run).join("0");
    std::fs::create_dir_all(&left).unwrap();
    for args in [&["status"][..], &["logs", &run], &["show", &run], &["diff", &run], &["graph", &run]] {
        lab.say(args).ends(0);
    }
    assert!(left.exists());
}

// Deleting runs.

const TALKS: &str = "[inputs]\nword = { type = \"string\" }\n[nodes.a]\nshell = \"sh\"\nrun = 'echo \"$WORD\"; echo the same; echo \"$WORD\" > a'\nenv = { WORD = \"inputs.word\" }\n\
     [nodes.same]\nshell = \"sh\"\nrun = 'echo every run says this'\nworkspace = \"none\"\n";

#[test]
fn a_deleted_run_is_gone_with_everything_that_only_it_had() {
    let lab = Lab::in_git();
    lab.blueprint("talks", TALKS);
    // Without a sandbox, since what a sandbox attests is kept too, and may differ from run to run.
    lab.say(&["run", "talks", "-i", "word=first", "--sandbox", "none"]).ends(0);
    let first = lab.run();
    lab.say(&["run", "talks", "-i", "word=second", "--sandbox", "none"]).ends(0);
    let second = lab.run();
    let before = blobs(&lab).len();
    age(&lab.state().join("blobs"), 7200);
    let dry = lab.say(&["prune", &first, "--dry-run", "--format", "json"]).ends(0).json();
    assert_eq!((&dry["refs"], &dry["blobs"]), (&1.into(), &1.into()), "{dry}");
    assert!(refs(&lab).contains(&first) && blobs(&lab).len() == before && lab.runs().len() == 2);

    let said = lab.say(&["prune", &first]).ends(0);
    assert!(said.out.contains("freed 1 run, 1 ref, 1 file with "), "{said}");
    assert!(!refs(&lab).contains(&first) && refs(&lab).contains(&second));
    // Its own log went; the one that says the same as that of the other run, and the other's own, stay.
    assert_eq!(blobs(&lab).len(), before - 1);
    let said = lab.say(&["logs", &second]).ends(0);
    assert!(said.out.contains("second") && said.out.contains("every run says this"), "{said}");
    lab.say(&["audit", "verify"]).ends(0);
    lab.say(&["status", &first]).ends(2).mentions("there is no run");
    assert_eq!(lab.run(), second);
    lab.diff(&second);
    lab.say(&["fork", &second, "--from", "a", "--sandbox", "none"]).ends(0);
}

#[test]
fn what_was_written_less_than_an_hour_ago_stays_even_if_nobody_names_it() {
    let lab = Lab::in_git();
    lab.blueprint("talks", TALKS);
    lab.say(&["run", "talks", "-i", "word=first"]).ends(0);
    let before = blobs(&lab).len();
    assert!(before >= 2);
    let freed = lab.say(&["prune", "--keep", "0", "--format", "json"]).ends(0).json();
    assert_eq!((freed["runs"].as_array().unwrap().len(), &freed["blobs"]), (1, &0.into()), "{freed}");
    assert_eq!(blobs(&lab).len(), before);
    // A run that says the same again needs its logs, however old the files are by then.
    age(&lab.state().join("blobs"), 7200);
    lab.say(&["run", "talks", "-i", "word=first"]).ends(0);
    lab.say(&["prune", "--keep", "1"]).ends(0);
    let said = lab.say(&["logs", &lab.run()]).ends(0);
    assert!(said.out.contains("first") && said.out.contains("every run says this"), "{said}");
    age(&lab.state().join("blobs"), 7200);
    lab.say(&["prune", "--keep", "0"]).ends(0);
    assert_eq!(blobs(&lab), Vec::<PathBuf>::new());
}

#[test]
fn only_runs_that_have_ended_are_deleted() {
    let lab = Lab::in_git();
    lab.blueprint("gated", "[nodes.ask]\ngate = {}\n");
    lab.say(&["run", "gated"]).ends(75);
    let waiting = lab.run();
    let go = lab.beside("go");
    lab.blueprint(
        "slow",
        &format!("[nodes.a]\nshell = \"sh\"\nrun = \"while test ! -e '{}'; do sleep 0.01; done\"\ntimeout = \"60s\"\n", go.display()),
    );
    let running = lab.start(&["run", "slow", "--sandbox", "none"]);
    let driven = wait_until("the second run begins", || {
        let run = lab.runs().first()?.clone();
        (run["id"] != waiting.as_str() && run["events"].as_u64()? > 0)
            .then(|| run["id"].as_str().unwrap().to_owned())
    });
    lab.say(&["prune", &waiting])
        .ends(2)
        .mentions("it has not ended")
        .mentions(&format!("blueprint cancel {waiting}"));
    lab.say(&["prune", &driven]).ends(2).mentions("it is driven by process").mentions("nothing was deleted");
    lab.say(&["prune", "--keep", "0"]).ends(0).mentions("2 runs have not ended");
    assert_eq!(lab.runs().len(), 2);
    std::fs::write(go, "").unwrap();
    running.end().ends(0);
    // If one that is named stays, so do all.
    lab.say(&["prune", &driven, &waiting]).ends(2);
    assert_eq!(lab.runs().len(), 2);
    lab.say(&["cancel", &waiting]).ends(0);
    lab.say(&["prune", &driven, &waiting]).ends(0);
    assert!(lab.runs().is_empty());
}

#[test]
fn runs_are_chosen_by_age_and_number() {
    let lab = Lab::in_git();
    lab.blueprint("talks", TALKS);
    for word in ["one", "two", "three"] {
        lab.say(&["run", "talks", "-i", &format!("word={word}")]).ends(0);
    }
    let ids: Vec<String> = lab.runs().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    let freed = |args: &[&str]| -> Vec<String> {
        let said = lab.say(&[&["prune", "--format", "json"], args].concat()).ends(0).json();
        said["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
    };
    assert!(freed(&["--older-than", "30d"]).is_empty());
    assert_eq!(freed(&["--older-than", "0s", "--keep", "2", "--dry-run"]), ids[2..]);
    assert_eq!(freed(&["--keep", "1"]), ids[1..]);
    assert_eq!(freed(&["--older-than", "0s"]), ids[..1]);
    for (args, told) in [
        (&["prune"][..], "`blueprint prune --older-than 30d`"),
        (&["prune", "--dry-run"], "`blueprint prune --older-than 30d`"),
        (&["prune", "--older-than", "soon"], "write for example 30d"),
        (&["prune", "--older-than", "-3d"], ""),
        (&["prune", "nothing"], "there is no run"),
        (&["prune", "x", "--keep", "1"], "cannot be used with"),
    ] {
        lab.say(args).ends(2).mentions(told);
    }
}

#[test]
fn a_fork_keeps_what_it_took_over_from_a_run_that_is_deleted() {
    let lab = Lab::in_git();
    lab.blueprint(
        "chain",
        "[nodes.a]\nshell = \"sh\"\nrun = 'echo made > made; seq 20000'\noutput = {}\n[nodes.b]\nneeds = [\"a\"]\nshell = \"sh\"\nrun = 'cat made'\n",
    );
    lab.say(&["run", "chain"]).ends(0);
    let parent = lab.run();
    lab.say(&["fork", &parent, "--from", "b"]).ends(0);
    let fork = lab.run();
    age(&lab.state().join("blobs"), 7200);
    let freed = lab.say(&["prune", &parent, "--format", "json"]).ends(0).json();
    assert_eq!(freed["refs_handed_on"], 1, "{freed}");
    // Everything that no ref leads to is gone, as after a long time.
    lab.git(&["reflog", "expire", "--all", "--expire=now"]);
    lab.git(&["gc", "-q", "--prune=now"]);
    assert!(lab.diff(&fork).contains("+made"));
    lab.say(&["fork", &fork, "--from", "b"]).ends(0).mentions("| made");
    // With its heir goes what was handed on.
    lab.say(&["prune", "--keep", "0"]).ends(0);
    assert_eq!(refs(&lab), "");
}

// Secrets.

/// Every object of the repository that holds a text.
fn objects_with(git_dir: &Path, objects: &Path, needle: &[u8]) -> usize {
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(git_dir).args(args).env("GIT_OBJECT_DIRECTORY", objects);
        git.stdin(Stdio::piped()).stdout(Stdio::piped());
        git
    };
    let listed = git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]).output().unwrap();
    assert!(listed.status.success());
    let ids = String::from_utf8(listed.stdout).unwrap();
    assert!(!ids.is_empty(), "there are objects in {}", objects.display());
    let mut child = git(&["cat-file", "--batch"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let list = ids.clone();
    let writer = std::thread::spawn(move || input.write_all(list.as_bytes()).unwrap());
    let content = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    content.windows(needle.len()).filter(|window| *window == needle).count()
}

#[test]
fn a_file_with_a_secret_never_becomes_an_object() {
    let lab = Lab::in_git();
    let base64 = "czNjcjN0LVp4ODEtY29ycmVjdCtob3JzZS9iYXR0ZXJ5";
    for (command, told) in [
        ("printf 'key=%s' \"$TOKEN\" > token.txt", "`token.txt` holds a secret"),
        (
            "mkdir deep; head -c 200000 /dev/zero | tr '\\0' x > deep/x; printf '%s' \"$TOKEN\" >> deep/x",
            "`deep/x` holds a secret",
        ),
        ("printf '%s' \"$TOKEN\" | base64 -w0 > coded; rm README", "`coded` holds a secret"),
        ("ln -s \"$TOKEN\" link", "holds a secret"),
        ("mkdir -p \"d/$TOKEN\"; echo x > \"d/$TOKEN/x\"", "holds a secret"),
        ("printf '%s' \"$TOKEN\" >> README; echo much > other", "`README` holds a secret"),
    ] {
        lab.blueprint(
            "leaky",
            &format!("[inputs]\ntoken = {{ type = \"secret\" }}\n[nodes.write]\nshell = \"bash\"\nrun = {command:?}\nenv = {{ TOKEN = \"inputs.token\" }}\n"),
        );
        lab.say_with(&[("TOKEN", SECRET)], &["run", "leaky", "--secret", "token=env:TOKEN"])
            .ends(1)
            .mentions("failed (policy)")
            .mentions(told)
            .conceals(SECRET);
        let git = lab.project().join(".git");
        for text in [SECRET, base64, &SECRET[..26]] {
            assert_eq!(
                objects_with(&git, &git.join("objects"), text.as_bytes()),
                0,
                "{text} after {command}"
            );
        }
    }
    // The search sees what is there.
    lab.write("seen", SECRET);
    lab.commit();
    let git = lab.project().join(".git");
    assert_eq!(objects_with(&git, &git.join("objects"), SECRET.as_bytes()), 1);
}

#[test]
fn an_edit_that_puts_a_secret_into_a_file_makes_no_object_before_a_later_patch_either() {
    let lab = Lab::in_git();
    lab.write(
        "blueprints/leaky/readme.patch",
        "--- a/README\n+++ b/README\n@@ -1 +1 @@\n-a project\n+a patched project\n",
    );
    lab.blueprint(
        "leaky",
        "[inputs]\ntoken = { type = \"secret\" }\n[nodes.write]\nshell = \"sh\"\nrun = 'printf %s \"$TOKEN\" > x'\nenv = { TOKEN = \"inputs.token\" }\n\
         [nodes.large]\nshell = \"sh\"\nrun = 'truncate -s 300M large'\n[nodes.plain]\nedit = { patch = \"readme.patch\" }\n",
    );
    let said = lab.say_with(&[("TOKEN", SECRET)], &["run", "leaky", "--secret", "token=env:TOKEN"]);
    said.ends(1)
        .mentions("`x` holds a secret")
        .mentions("`large` has 314572800 bytes, and a run with secrets keeps no new or changed file of more than 268435456");
    assert_eq!(lab.phase(&lab.run(), "plain"), "succeeded");
}

// Edits of files with CRLF, and budgets that are not applied, as far as a run shows it.

#[test]
fn the_end_of_a_line_is_found_in_files_with_crlf() {
    let lab = Lab::in_git();
    lab.write("dos.txt", "one\r\ntwo = 2\r\nthree\r\n");
    lab.write("unix.txt", "one\ntwo = 2\nthree\n");
    let edit = |file: &str| format!("{{ file = \"{file}\", regex = '^two = (.*)$', with = \"two = $1.5\" }}");
    lab.blueprint("edits", &format!("[nodes.a]\nedit = [{}, {}]\n", edit("dos.txt"), edit("unix.txt")));
    lab.say(&["run", "edits"]).ends(0);
    let tree = lab.show(&lab.run(), "a")["tree"].as_str().unwrap().to_owned();
    assert_eq!(lab.git(&["show", &format!("{tree}:dos.txt")]), "one\r\ntwo = 2.5\r\nthree\r\n");
    assert_eq!(lab.git(&["show", &format!("{tree}:unix.txt")]), "one\ntwo = 2.5\nthree\n");
}

#[test]
fn an_edit_without_a_workspace_to_write_does_not_start() {
    let lab = Lab::in_git();
    lab.blueprint(
        "edits",
        "[nodes.a]\nedit = { file = \"README\", replace = \"a\", with = \"b\" }\nworkspace = \"read\"\n",
    );
    lab.say(&["run", "edits"])
        .ends(2)
        .mentions("BP081")
        .mentions("an edit cannot be made in a workspace that is \"read\"");
    assert!(!lab.state().exists() || lab.runs().is_empty());
}

// What a node finds in a checkout.

#[test]
fn ignored_files_stay_for_those_downstream_and_for_nobody_else() {
    for sandbox in ["auto", "none"] {
        let lab = Lab::in_git();
        lab.settings("[tiers]\ngenerated = \"process\"\n");
        lab.write(".gitignore", "/target/\n");
        // One at a time, so that each takes over the checkout of the one before.
        lab.blueprint(
            "caches",
            r#"
[defaults]
shell = "sh"
[nodes.build]
run = 'mkdir target; echo built > target/cache'
[nodes.test]
needs = ["build"]
run = 'cat target/cache; echo tested > target/tested'
[nodes.side]
needs = ["build"]
run = 'ls target 2>/dev/null | sed "s/^/side sees /"; test ! -e target/tested; mkdir -p target; echo side > target/side'
[nodes.alone]
run = 'test ! -e target; mkdir target; echo alone > target/alone'
[nodes.after]
needs = ["test"]
run = 'test ! -e target/side; test ! -e target/alone'
[nodes.ask]
needs = ["after"]
run = 'true'
[nodes.lower]
needs = ["after"]
tier = "generated"
run = 'test ! -e target'
"#,
        );
        let said = lab.say(&["run", "caches", "--jobs", "1", "--sandbox", sandbox]).ends(0);
        assert!(said.err.contains("built"), "a chain keeps its cache: {said}");
    }
}

#[test]
fn nothing_that_a_gate_did_not_show_is_left_behind_it() {
    let lab = Lab::in_git();
    lab.write(".gitignore", "/target/\n");
    lab.blueprint(
        "gated",
        "[defaults]\nshell = \"sh\"\n[nodes.build]\nrun = 'mkdir target; echo x > target/planted; echo x > shown'\n\
         [nodes.ask]\nneeds = [\"build\"]\ngate = {}\n[nodes.release]\nneeds = [\"ask\"]\nrun = 'cat shown; test ! -e target'\n",
    );
    lab.say(&["run", "gated"]).ends(75);
    let run = lab.run();
    assert!(lab.state().join("work").join(&run).join("0/target/planted").exists());
    lab.say(&["approve", &run]).ends(0);
    lab.say(&["resume", &run]).ends(0);
}

#[test]
fn a_chain_keeps_its_ignored_files_when_another_process_goes_on_with_it() {
    let lab = Lab::in_git();
    lab.write(".gitignore", "/target/\n");
    let (begun, go) = (lab.beside("begun"), lab.beside("go"));
    lab.blueprint(
        "killed",
        &format!(
            "[defaults]\nshell = \"sh\"\n[nodes.build]\nrun = 'mkdir target; echo x > target/cache'\n\
             [nodes.test]\nneeds = [\"build\"]\ntimeout = \"60s\"\n\
             run = \"test -e target/cache; touch '{}'; while test ! -e '{}'; do sleep 0.01; done\"\n",
            begun.display(),
            go.display()
        ),
    );
    let running = lab.start(&["run", "killed", "--sandbox", "none"]);
    wait_until("the second node begins", || begun.exists().then_some(()));
    running.signal(rustix::process::Signal::KILL);
    assert!(running.end().was_killed());
    std::fs::write(go, "").unwrap();
    let run = lab.run();
    wait_for_orphans(&run);
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(0);
}
