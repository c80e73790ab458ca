//! Images that are made before a run, by the built program on a real container engine: what is built and what is not built
//! again, what is refused, and that nothing stays behind. Where no engine is, what needs one is skipped, unless it is required.

mod going_on;
mod refused;
mod registry;
mod stand;

use serde_json::Value;

use self::stand::Stand;
use super::lab::Said;

/// The steps that a build said it took.
fn steps(said: &Said) -> usize {
    said.err.lines().filter(|line| line.starts_with("image ") && line.contains(": step ")).count()
}

/// What the newest run says its node `a` found its programs in.
fn attested(stand: &Stand) -> String {
    let facts = &stand.lab.show(&stand.lab.run(), "a")["attestation"];
    facts["runtime"]["image"].as_str().unwrap_or_else(|| panic!("{facts:#}")).to_owned()
}

/// The images that the newest run says were built for it.
fn recorded(stand: &Stand) -> Vec<Value> {
    let events = stand.lab.events(&stand.lab.run());
    let begun = events.iter().find_map(|entry| entry["event"].get("driver_started")).unwrap();
    begun["images"].as_array().cloned().unwrap_or_default()
}

#[test]
fn packages_are_added_to_a_base_once() {
    let Some(mut stand) = Stand::new() else { return };
    let Some(base) = stand.debian() else { return };
    let blueprint = |packages: &str, run: &str| {
        format!(
            "[nodes.a]\ntier = \"untrusted\"\nworkspace = \"none\"\nrun = \"{run}\"\n\
             image = {{ packages = [{packages}], base = \"{base}\" }}\n"
        )
    };
    stand.lab.blueprint("x", &blueprint("\"greeter\"", "greeter"));
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert!(said.err.contains("this is greeter") && steps(&said) > 0, "{said}");
    let built = recorded(&stand);
    let id = built[0]["id"].as_str().unwrap();
    assert_eq!(attested(&stand), format!("packages greeter on {base} ({id})"));
    // The order of names is no change; another name is.
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert_eq!(steps(&said), 0, "{said}");
    assert_eq!(recorded(&stand), built);
    stand.lab.blueprint("x", &blueprint("\"greeter\", \"farewell=1.0\"", "farewell"));
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert!(said.err.contains("this is farewell") && steps(&said) > 0, "{said}");
    assert_ne!(recorded(&stand)[0]["digest"], built[0]["digest"]);
    let swapped = blueprint("\"farewell=1.0\", \"greeter\"", "farewell");
    stand.lab.blueprint("x", &swapped);
    assert_eq!(steps(&stand.lab.say(&["run", "x"]).ends(0)), 0);
    // A name that is none is no pattern either.
    let images = stand.built();
    stand.lab.blueprint("x", &blueprint("\"gree.er\"", "greeter"));
    let said = stand.lab.say(&["run", "x"]).ends(3);
    assert!(said.err.contains("E: Unable to locate package gree.er"), "{said}");
    assert_eq!(stand.built(), images, "nothing is left of it");
}

#[test]
fn packages_of_alpine_are_added_by_its_own_program() {
    let Some(mut stand) = Stand::new() else { return };
    // No Alpine is at hand: what stands where its program is says how it was called.
    let apk = "#!/bin/sh\n/bin/busybox echo \"$0 $*\" > /called\n";
    let base = stand.base(&[("sbin/apk", apk)], &[]);
    stand.lab.blueprint(
        "x",
        &format!(
            "[nodes.a]\ntier = \"untrusted\"\nworkspace = \"none\"\nrun = \"/bin/busybox cat /called\"\n\
             image = {{ packages = [\"jq\", \"git=2.4-r0\"], base = \"{base}\" }}\n"
        ),
    );
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert!(said.err.contains("/sbin/apk add --no-cache -- git=2.4-r0 jq"), "{said}");
    let neither = stand.base(&[("other", "")], &[]);
    stand.lab.blueprint(
        "x",
        &format!("[nodes.a]\nrun = \"true\"\nimage = {{ packages = [\"jq\"], base = \"{neither}\" }}\n"),
    );
    let said = stand.lab.say(&["run", "x"]).ends(3);
    assert!(said.err.contains("it has neither `apt-get` nor `apk`"), "{said}");
    assert_eq!(stand.containers(), "");
}

#[test]
fn a_dockerfile_is_built_again_when_what_it_may_copy_changes_and_not_otherwise() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    let lab = &stand.lab;
    lab.write(
        "ci/Dockerfile",
        &format!(
            "FROM {base} AS one\nARG WHO\nRUN [\"/bin/sh\", \"-c\", \"/bin/busybox echo $WHO > /who\"]\nFROM one AS two\n\
             COPY . /copied\nRUN [\"/bin/sh\", \"-c\", \"/bin/busybox ls -A /copied > /list\"]\nFROM {base}\n"
        ),
    );
    lab.write("ci/mark", "first");
    lab.write("ci/.dockerignore", "secret\n*.log\n");
    lab.write("ci/secret", "a secret");
    lab.write("outside", "not for it");
    lab.write("ci/.git/config", "no history of anything");
    let blueprint = "[nodes.a]\ntier = \"generated\"\n\
                     run = \"/bin/busybox cat /who /list /copied/mark\"\n\
                     image = { dockerfile = \"ci/Dockerfile\", target = \"two\", args = { WHO = \"ada\" } }\n";
    lab.blueprint("x", blueprint);
    let said = lab.say(&["run", "x"]).ends(0);
    let told: Vec<&str> = said.err.lines().filter_map(|line| line.strip_prefix("  a | ")).collect();
    assert_eq!(told, ["ada", "Dockerfile", "mark", "first"], "{said}");
    let built = recorded(&stand);
    assert_eq!(attested(&stand), format!("ci/Dockerfile, target two ({})", built[0]["id"].as_str().unwrap()));
    let again = |change: &dyn Fn()| {
        change();
        steps(&stand.lab.say(&["run", "x", "--include-dirty"]).ends(0)) > 0
    };
    assert!(!again(&|| {}));
    assert!(!again(&|| lab.write("ci/secret", "another secret")));
    assert!(!again(&|| lab.write("ci/new.log", "what is ignored")));
    assert!(!again(&|| lab.write("outside", "changed")));
    assert!(again(&|| lab.write("ci/mark", "second")));
    assert!(!again(&|| {}));
    assert!(again(&|| lab.blueprint("x", &blueprint.replace("ada", "grace"))));
    assert!(again(&|| lab.write("ci/new", "one more")));
    // What was there once is still there.
    assert!(!again(&|| std::fs::remove_file(lab.project().join("ci/new")).unwrap()));
}

#[test]
fn what_an_editor_uses_is_what_commands_find() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    let lab = &stand.lab;
    lab.write("tools", "of the project");
    lab.write(
        ".devcontainer/Dockerfile",
        &format!("FROM {base}\nARG FLAVOUR\nCOPY tools /tools\nENV X=$FLAVOUR\n"),
    );
    lab.write(
        ".devcontainer/devcontainer.json",
        r#"{ // For editors.
            "name": "x", "forwardPorts": [1], "remoteUser": "me",
            "build": { "dockerfile": "Dockerfile", "context": "..", "args": { "FLAVOUR": "sweet" } }, }"#,
    );
    lab.blueprint(
        "x",
        "[nodes.a]\nimage = { devcontainer = \".devcontainer/devcontainer.json\" }\nworkspace = \"none\"\n\
         run = \"/bin/busybox cat /tools\"\n",
    );
    let said = lab.say(&["run", "x"]).ends(0);
    assert!(said.err.contains("of the project"), "{said}");
    lab.write(".devcontainer/devcontainer.json", &format!("{{ \"image\": \"{base}\" }}"));
    lab.blueprint(
        "x",
        "[nodes.a]\nimage = { devcontainer = \".devcontainer/devcontainer.json\" }\nworkspace = \"none\"\n\
         tier = \"untrusted\"\nrun = \"/bin/busybox cat /mark\"\n",
    );
    lab.say(&["run", "x"]).ends(0);
    assert_eq!(attested(&stand), base);
}

#[test]
fn a_build_has_limits_and_never_the_network_of_the_machine() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    stand.lab.write(
        "Dockerfile",
        &format!(
            "FROM {base}\nRUN [\"/bin/sh\", \"-c\", \"for f in memory/memory.limit_in_bytes memory.max; do \
             /bin/busybox cat /sys/fs/cgroup/$f; done > /limit 2>&1; /bin/busybox ls /sys/class/net > /net\"]\n"
        ),
    );
    stand.lab.write(".dockerignore", "*\n");
    let blueprint = "[nodes.a]\nimage = { dockerfile = \"Dockerfile\" }\nworkspace = \"none\"\n\
                     run = \"/bin/busybox cat /limit /net\"\n";
    stand.lab.blueprint("x", blueprint);
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert!(said.err.contains("2147479552"), "{said}");
    // The machine has more interfaces, or they have other names.
    let ours: Vec<String> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let theirs: Vec<&str> = said.err.lines().filter_map(|line| line.strip_prefix("  a | ")).collect();
    assert!(theirs.contains(&"lo"), "{said}");
    for name in ours.iter().filter(|name| !["lo", "eth0"].contains(&name.as_str())) {
        assert!(!theirs.contains(&name.as_str()), "{name}: {said}");
    }
}

#[test]
fn progress_is_lines_for_people_and_objects_for_programs() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    let lab = &stand.lab;
    lab.write(".dockerignore", "*\n");
    lab.write(
        "Dockerfile",
        &format!("FROM {base}\nLABEL a=\"\u{202e}b\"\nRUN [\"/bin/busybox\", \"printf\", \"\\u001b[2J\"]\n"),
    );
    let blueprint = "[nodes.a]\nimage = { dockerfile = \"Dockerfile\" }\nworkspace = \"none\"\n\
                     run = \"/bin/busybox true\"\n";
    lab.blueprint("x", blueprint);
    let said = lab.say(&["run", "x", "--format", "json"]).ends(0);
    let images: Vec<Value> = said.json_lines().into_iter().filter(|line| line["type"] == "image").collect();
    assert!(images.iter().any(|line| line["doing"] == "building" && line["step"] == 1), "{said}");
    assert!(!said.err.contains('\u{1b}') && !said.err.contains('\u{202e}'), "{said}");
    lab.write(
        "Dockerfile",
        &format!("FROM {base}\nLABEL a=\"\u{202e}c\"\nRUN [\"/bin/busybox\", \"printf\", \"\\u001b[2J\"]\n"),
    );
    let said = lab.say(&["run", "x", "--include-dirty"]).ends(0);
    assert!(said.err.contains("image Dockerfile: step 3 of 5, LABEL a=\"c\""), "{said}");
    assert!(!said.err.contains('\u{1b}') && !said.err.contains('\u{202e}'), "{said}");
    lab.write("Dockerfile", &format!("FROM {base}\nLABEL a=d\n"));
    let said = lab.say(&["run", "x", "--include-dirty", "--quiet"]).ends(0);
    assert_eq!(steps(&said), 0, "{said}");
    // What is planned says where commands will find their programs, and asks no engine.
    lab.exact_settings("[docker]\nhost = \"unix:///nonexistent/docker.sock\"\n");
    lab.say(&["check", "x"]).ends(0);
    assert!(lab.say(&["plan", "x"]).ends(0).out.contains("in Dockerfile"));
    let planned = lab.say(&["plan", "x", "--format", "json"]).ends(0).json();
    assert_eq!(planned["graphs"][0]["nodes"][0]["image"]["bases"][0], *base);
    let said = lab.say(&["run", "x"]).ends(3);
    assert!(said.err.contains("unix:///nonexistent/docker.sock"), "{said}");
}

#[test]
fn an_image_is_fetched_by_its_digest_in_sight_of_who_waits() {
    let Some(mut stand) = Stand::new() else { return };
    let layers =
        [stand.archive(&[("mark", "of the registry")]), stand.archive(&[("bin/busybox", ""), ("more", "x")])];
    let registry = registry::Registry::serve(&layers);
    let name = format!("{}/tools@{}", registry.host, registry.digest);
    stand.take(&name);
    stand.lab.blueprint(
        "x",
        &format!(
            "[nodes.a]\ntier = \"untrusted\"\nworkspace = \"none\"\nrun = \"/bin/busybox cat /mark\"\nimage = \"{name}\"\n"
        ),
    );
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert!(said.err.contains("of the registry") && said.err.contains("2 of 2 layers"), "{said}");
    assert!(said.err.lines().any(|line| line.starts_with("image 127.0.0.1:")), "{said}");
    assert_eq!(attested(&stand), name);
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert!(!said.err.contains(" layers"), "what is there is not fetched: {said}");
}

#[test]
fn scenarios_run_in_images_that_are_made() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    stand.lab.write("ci/Dockerfile", &format!("FROM {base}\nCOPY mark /made\n"));
    stand.lab.write("ci/mark", "made");
    stand.lab.write("blueprints/x/tests/happy.toml", "[expect]\noutcome = \"succeeded\"\n");
    stand.lab.blueprint(
        "x",
        "[nodes.a]\nimage = { dockerfile = \"ci/Dockerfile\" }\nworkspace = \"none\"\n\
         run = \"/bin/busybox grep made /made\"\n",
    );
    stand.lab.say(&["test", "x"]).ends(0);
    assert!(!stand.lab.state().join("images.json").exists(), "tests leave nothing");
}
