//! Images that are not made: what is refused before anything is asked of an engine, builds that fail, take too long or are
//! stopped, and files that are not for a build. Each time nothing is started and nothing is left.

use std::os::unix::fs::symlink;

use rustix::process::Signal;

use super::super::lab::{Said, wait_until};
use super::Stand;

/// Nothing was started, and nothing of the build is left.
fn nothing_is_left(stand: &Stand, said: &Said) {
    assert!(said.err.contains("nothing was started"), "{said}");
    assert!(stand.lab.runs().is_empty(), "{said}");
    assert_eq!(stand.built(), Vec::<String>::new(), "{said}");
    wait_until("the containers of the build are gone", || stand.containers().is_empty().then_some(()));
}

const BY_DOCKERFILE: &str = "[nodes.a]\nworkspace = \"none\"\nimage = { dockerfile = \"ci/Dockerfile\" }\n\
                             run = \"/bin/busybox true\"\n";

#[test]
fn a_base_without_a_digest_is_refused_where_strangers_are_run() {
    let lab = super::super::lab::Lab::in_git();
    // No engine is asked.
    lab.exact_settings("[docker]\nhost = \"unix:///nonexistent/docker.sock\"\n");
    lab.write("ci/Dockerfile", "FROM scratch AS a\nFROM a\nCOPY --from=debian:trixie /x /x\n");
    lab.write("ci/devcontainer.json", "{ \"image\": \"debian:trixie\" }");
    for image in [
        "{ packages = [\"git\"], base = \"debian:trixie\" }",
        "{ dockerfile = \"ci/Dockerfile\" }",
        "{ devcontainer = \"ci/devcontainer.json\" }",
    ] {
        for (tier, code) in [("untrusted", 2), ("generated", 2), ("internal", 0), ("trusted", 0)] {
            lab.blueprint("x", &format!("[nodes.a]\ntier = \"{tier}\"\nimage = {image}\nrun = \"true\"\n"));
            let said = lab.say(&["check", "x"]).ends(code);
            assert_eq!(
                said.err.contains("BP094") && said.err.contains("a tag may be moved"),
                code == 2,
                "{said}"
            );
            if code == 2 {
                lab.say(&["run", "x"]).ends(2).mentions("BP094");
            }
        }
    }
    assert!(lab.runs().is_empty());
}

#[test]
fn names_that_are_none_never_reach_an_engine() {
    let lab = super::super::lab::Lab::in_git();
    lab.exact_settings("[docker]\nhost = \"unix:///nonexistent/docker.sock\"\n");
    lab.write("ci/Dockerfile", "FROM scratch\n");
    for (image, code) in [
        ("{ packages = [\"git; rm -rf /\"], base = \"debian\" }", "BP095"),
        ("{ packages = [\"--root=/\"], base = \"debian\" }", "BP095"),
        ("{ packages = [\"git-\"], base = \"debian\" }", "BP095"),
        ("{ packages = [\"git\"], base = \"debian\\nRUN x\" }", "BP094"),
        ("{ dockerfile = \"../Dockerfile\" }", "BP008"),
        ("{ dockerfile = \"ci/Dockerfile\", context = \"/\" }", "BP008"),
        ("{ dockerfile = \"ci/Dockerfile\", context = \"../..\" }", "BP008"),
        ("{ dockerfile = \".git/config\" }", "BP008"),
        ("{ dockerfile = \"ci/Dockerfile\", args = { \"A B\" = \"x\" } }", "BP094"),
        ("{ dockerfile = \"ci/Dockerfile\", target = \"--x\" }", "BP096"),
    ] {
        lab.blueprint("x", &format!("[nodes.a]\nimage = {image}\nrun = \"true\"\n"));
        lab.say(&["run", "x"]).ends(2).mentions(code);
    }
    // A Dockerfile that is a link out of the project is not read.
    std::fs::remove_file(lab.project().join("ci/Dockerfile")).unwrap();
    std::fs::write(lab.beside("Dockerfile"), "FROM scratch\n").unwrap();
    symlink(lab.beside("Dockerfile"), lab.project().join("ci/Dockerfile")).unwrap();
    lab.blueprint("x", BY_DOCKERFILE);
    lab.say(&["run", "x"]).ends(2).mentions("it is a link out of the project");
}

#[test]
fn files_that_lead_out_of_their_context_are_not_sent() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    stand.lab.write("ci/Dockerfile", &format!("FROM {base}\nCOPY . /x\n"));
    stand.lab.write("secret", "of the project");
    stand.lab.blueprint("x", BY_DOCKERFILE);
    let link = stand.lab.project().join("ci/link");
    for target in ["/etc/passwd", "../secret"] {
        symlink(target, &link).unwrap();
        let said = stand.lab.say(&["run", "x"]).ends(3);
        assert!(
            said.err.contains("`link` is a link that leads out") && said.err.contains(".dockerignore"),
            "{said}"
        );
        nothing_is_left(&stand, &said);
        std::fs::remove_file(&link).unwrap();
    }
    // The folder itself is a link.
    stand
        .lab
        .blueprint("x", &BY_DOCKERFILE.replace("ci/Dockerfile\"", "ci/Dockerfile\", context = \"alias\""));
    symlink("/etc", stand.lab.project().join("alias")).unwrap();
    let said = stand.lab.say(&["run", "x"]).ends(3);
    assert!(said.err.contains("`alias` cannot be read"), "{said}");
    nothing_is_left(&stand, &said);
    stand.lab.write("ci/.dockerignore", "a**b\n");
    stand.lab.blueprint("x", BY_DOCKERFILE);
    let said = stand.lab.say(&["run", "x"]).ends(3);
    assert!(said.err.contains("a line of `.dockerignore` cannot be understood: `a**b`"), "{said}");
    nothing_is_left(&stand, &said);
}

#[test]
fn a_build_that_fails_says_where_and_leaves_nothing() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    stand.lab.write(
        "ci/Dockerfile",
        &format!(
            "FROM {base}\nRUN [\"/bin/busybox\", \"echo\", \"of the first step\"]\n\
             RUN [\"/bin/sh\", \"-c\", \"/bin/busybox printf 'red \\\\033[31m\\\\342\\\\200\\\\256\\\\nthe last line\\\\n'; exit 7\"]\n"
        ),
    );
    stand.lab.blueprint("x", BY_DOCKERFILE);
    let said = stand.lab.say(&["run", "x"]).ends(3);
    for text in ["  | red ", "  | the last line", "step 4 of 5", "non-zero code: 7", "`a` needs it"] {
        assert!(said.err.contains(text), "{text}: {said}");
    }
    assert!(!said.err.contains("  | of the first step"), "{said}");
    // Sequences would be taken out on the way to what is no terminal in any case; what turns the direction would not.
    assert!(!said.err.contains('\u{1b}') && !said.err.contains('\u{202e}'), "{said}");
    nothing_is_left(&stand, &said);
    // Neither is anything left of what declares volumes, although the engine built it.
    stand.lab.write("ci/Dockerfile", &format!("FROM {base}\nVOLUME /data\n"));
    let said = stand.lab.say(&["run", "x", "--include-dirty"]).ends(3);
    assert!(said.err.contains("it declares volumes"), "{said}");
    nothing_is_left(&stand, &said);
    // What a step says of itself is nobody's order: an image that it names as its own layer stays.
    let other = stand.base(&[], &["LABEL dev.blueprint.layer=1"]);
    let short = other.strip_prefix("sha256:").unwrap().get(..12).unwrap();
    stand.lab.write(
        "ci/Dockerfile",
        &format!("FROM {base}\nRUN [\"/bin/sh\", \"-c\", \"/bin/busybox echo ' ---> {short}'; exit 1\"]\n"),
    );
    stand.lab.say(&["run", "x", "--include-dirty"]).ends(3);
    assert!(stand.docker(&["images", "--all", "--quiet", "--no-trunc"]).contains(&other));
}

#[test]
fn a_build_that_is_stopped_or_too_slow_leaves_nothing() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    stand.lab.write(
        "ci/Dockerfile",
        &format!("FROM {base}\nENV A=b\nRUN [\"/bin/busybox\", \"sleep\", \"86400\"]\n"),
    );
    stand.lab.blueprint("x", BY_DOCKERFILE);
    for signal in [Signal::INT, Signal::TERM] {
        let running = stand.lab.start(&["run", "x"]);
        wait_until("the build is at its last step", || {
            (running.err().contains("step 4 of 5") && stand.containers().contains("sleep")).then_some(())
        });
        running.signal(signal);
        let said = running.end().ends(3);
        assert!(said.err.contains("the build of the image `ci/Dockerfile` was stopped"), "{said}");
        nothing_is_left(&stand, &said);
    }
    // A program that is killed takes its build with it, if not the layers.
    let running = stand.lab.start(&["run", "x"]);
    wait_until("the build is at its last step", || stand.containers().contains("sleep").then_some(()));
    running.signal(Signal::KILL);
    running.end();
    wait_until("the containers of the build are gone", || stand.containers().is_empty().then_some(()));
    let host = &stand.host;
    stand.lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\nbuild_seconds = 2\n"));
    let left = stand.built();
    let said = stand.lab.say(&["run", "x"]).ends(3);
    assert!(said.err.contains("was not built within 2 seconds: it was at step 4 of 5"), "{said}");
    assert!(said.err.contains("build_seconds"), "{said}");
    assert_eq!(stand.built(), left);
    wait_until("the containers of the build are gone", || stand.containers().is_empty().then_some(()));
}

#[test]
fn what_cannot_show_an_image_makes_none() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    stand.lab.write("ci/Dockerfile", &format!("FROM {base}\n"));
    stand.lab.blueprint("x", BY_DOCKERFILE);
    for sandbox in ["process", "bubblewrap", "none"] {
        let said = stand.lab.say(&["run", "x", "--sandbox", sandbox]).ends(3);
        assert!(said.err.contains("only containers can show one"), "{said}");
    }
    assert_eq!(stand.built(), Vec::<String>::new());
    assert!(stand.lab.runs().is_empty());
}
