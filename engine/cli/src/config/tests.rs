//! Who wins, what is refused, and what is said about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrors, Notice};
use super::origin::Origin;
use super::quantity::Bytes;
use super::{Color, Durability, Flags, Resolved, Sandbox, Sources, resolve};

const PROJECT: &str = "/work/repo/blueprint.toml";
const USER: &str = "/home/ada/.config/blueprint/config.toml";

fn sources(env: &[(&str, &str)], project: &str, user: &str) -> Sources {
    let mut env: BTreeMap<String, String> =
        env.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
    env.entry("HOME".to_owned()).or_insert_with(|| "/home/ada".to_owned());
    let file = |path: &str, text: &str| (!text.is_empty()).then(|| (PathBuf::from(path), text.to_owned()));
    Sources {
        flags: Flags::default(),
        folder: PathBuf::from("/work/repo"),
        env,
        project: file(PROJECT, project),
        user: file(USER, user),
    }
}

fn good(env: &[(&str, &str)], project: &str, user: &str) -> Resolved {
    resolve(&sources(env, project, user)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn bad(env: &[(&str, &str)], project: &str, user: &str) -> ConfigErrors {
    resolve(&sources(env, project, user)).expect_err("the settings are wrong")
}

fn row(resolved: &Resolved, key: &str) -> (String, String) {
    let rows = resolved.explain();
    let (_, value, origin) = rows.into_iter().find(|(name, _, _)| *name == key).expect("a setting");
    (value, origin.to_string())
}

#[test]
fn without_anything_the_built_in_settings_hold() {
    let settings = good(&[], "", "");
    let rows: Vec<(&str, String, Origin)> = settings.explain();
    assert!(rows.iter().all(|(_, _, origin)| *origin == Origin::Default));
    let shown: Vec<String> = rows.into_iter().map(|(name, value, _)| format!("{name}={value}")).collect();
    assert_eq!(
        shown,
        [
            "jobs=5",
            "sandbox=auto",
            "state=/work/repo/.blueprint",
            "sync=full",
            "color=auto",
            "limits.memory=4GiB",
            "limits.pids=512",
            "limits.cpus=2",
            "limits.output=64MiB",
            "limits.wall=30m",
            "toolchains.read_only=",
            "tiers.internal=container",
            "tiers.generated=gvisor",
            "tiers.untrusted=gvisor",
            "docker.host=",
            "docker.runc=runc",
            "docker.gvisor=runsc",
            "microvm.rootfs=",
            "pool.size=2",
            "pool.ttl=600",
        ]
    );
    let limits = settings.limits();
    assert_eq!((limits.memory.get(), limits.pids.get(), limits.output.get()), (4 << 30, 512, 64 << 20));
    assert_eq!((limits.cpus.get().to_bits(), limits.wall.get().as_secs()), (2.0_f64.to_bits(), 1800));
}

#[test]
fn every_row_about_sandboxes_says_who_set_it() {
    let user = "[tiers]\ngenerated = \"microvm\"\n[docker]\ngvisor = \"sentry\"\n[microvm]\nrootfs = \"/srv/root\"\n\
        acceleration = \"kvm\"\n[pool]\nsize = 3";
    let settings = good(&[("DOCKER_HOST", "unix:///run/mine.sock")], "", user);
    let shown = |key, value: &str, from: &str| assert_eq!(row(&settings, key), (value.into(), from.into()));
    shown("tiers.internal", "container", "default");
    shown("tiers.generated", "microvm", &format!("user {USER}:2:13"));
    shown("docker.host", "unix:///run/mine.sock", "environment DOCKER_HOST");
    shown("docker.gvisor", "sentry", &format!("user {USER}:4:10"));
    shown("microvm.rootfs", "/srv/root", &format!("user {USER}:6:10"));
    shown("microvm.acceleration", "kvm", &format!("user {USER}:7:16"));
    shown("microvm.boot_seconds", "20", "default");
    shown("pool.size", "3", &format!("user {USER}:9:8"));
    let settings =
        good(&[("DOCKER_HOST", "unix:///run/mine.sock")], "", "[docker]\nhost = \"unix:///run/own.sock\"");
    assert_eq!(row(&settings, "docker.host"), ("unix:///run/own.sock".into(), format!("user {USER}:2:8")));
}

#[test]
fn options_win_over_the_environment_over_the_project_over_the_user() {
    let mut all = sources(&[("BLUEPRINT_JOBS", "3")], "jobs = 2", "jobs = 4");
    all.flags.jobs = Some("7".parse().unwrap());
    assert_eq!(row(&resolve(&all).unwrap(), "jobs"), ("7".into(), "option --jobs".into()));
    all.flags.jobs = None;
    assert_eq!(row(&resolve(&all).unwrap(), "jobs"), ("3".into(), "environment BLUEPRINT_JOBS".into()));
    all.env.remove("BLUEPRINT_JOBS");
    assert_eq!(row(&resolve(&all).unwrap(), "jobs"), ("2".into(), format!("project {PROJECT}:1:8")));
    all.project = None;
    assert_eq!(row(&resolve(&all).unwrap(), "jobs"), ("4".into(), format!("user {USER}:1:8")));
    all.user = None;
    assert_eq!(row(&resolve(&all).unwrap(), "jobs"), ("5".into(), "default".into()));
}

#[test]
fn every_setting_can_be_written_in_a_file_and_in_the_environment() {
    let text = "jobs = 9\nsandbox = \"process\"\nsync = \"normal\"\ncolor = \"never\"\nstate = \"runs\"\n\
        [limits]\nmemory = \"2GiB\"\npids = 64\ncpus = 1.5\noutput = \"1.5 MiB\"\nwall = \"1h30m\"\n";
    let env = [
        ("BLUEPRINT_JOBS", "9"),
        ("BLUEPRINT_SANDBOX", "process"),
        ("BLUEPRINT_SYNC", "normal"),
        ("BLUEPRINT_COLOR", "never"),
        ("BLUEPRINT_STATE", "~/runs"),
        ("BLUEPRINT_LIMITS_MEMORY", "2GiB"),
        ("BLUEPRINT_LIMITS_PIDS", "64"),
        ("BLUEPRINT_LIMITS_CPUS", "1.5"),
        ("BLUEPRINT_LIMITS_OUTPUT", "1536KiB"),
        ("BLUEPRINT_LIMITS_WALL", "90m"),
    ];
    let all = [good(&[], text, ""), good(&[], "", text), good(&env, "", "")];
    for settings in &all {
        assert_eq!((settings.jobs().get(), settings.sandbox()), (9, Sandbox::Process));
        assert_eq!((settings.sync(), settings.color()), (Durability::Normal, Color::Never));
        let limits = settings.limits();
        assert_eq!((limits.memory.get(), limits.pids.get(), limits.output.get()), (2 << 30, 64, 3 << 19));
        assert_eq!((limits.cpus.get().to_bits(), limits.wall.get().as_secs()), (1.5_f64.to_bits(), 5400));
    }
    let states: Vec<&Path> = all.iter().filter_map(Resolved::state).collect();
    assert_eq!(
        states,
        ["/work/repo/runs", "/home/ada/.config/blueprint/runs", "/home/ada/runs"].map(Path::new)
    );
}

#[test]
fn no_lasting_setting_turns_the_sandbox_off() {
    for (env, project, user) in [
        (&[("BLUEPRINT_SANDBOX", "none")][..], "", ""),
        (&[][..], "sandbox = \"none\"", ""),
        (&[][..], "", "sandbox = \"none\""),
    ] {
        let errors = bad(env, project, user);
        assert!(errors.iter().all(|error| matches!(error, ConfigError::NotHere { .. })), "{errors}");
        assert!(errors.to_string().contains("type `--sandbox none` for each run"), "{errors}");
    }
    let mut typed = sources(&[], "", "sandbox = \"bubblewrap\"");
    typed.flags.sandbox = Some("none".parse().unwrap());
    assert_eq!(resolve(&typed).unwrap().sandbox(), Sandbox::None);
}

#[test]
fn a_project_can_tighten_and_not_loosen_what_the_user_set() {
    let user = "jobs = 4\nsandbox = \"bubblewrap\"\nsync = \"full\"\n[limits]\nmemory = \"2GiB\"\npids = 100\ncpus = 2\noutput = \"1MiB\"\nwall = \"10m\"";
    let loose = "jobs = 8\nsandbox = \"process\"\nsync = \"normal\"\n[limits]\nmemory = \"3GiB\"\npids = 200\ncpus = 4\noutput = \"2MiB\"\nwall = \"11m\"";
    let settings = good(&[], loose, user);
    assert_eq!(settings.notices().len(), 8);
    assert!(settings.notices().iter().all(|notice| matches!(notice, Notice::Tightened { .. })));
    assert_eq!(
        settings.notices()[0].to_string(),
        format!("`jobs` stays 4 (user {USER}:1:8): a project cannot loosen it to 8 (project {PROJECT}:1:8)")
    );
    assert_eq!(
        (settings.jobs().get(), settings.sandbox(), settings.sync()),
        (4, Sandbox::Bubblewrap, Durability::Full)
    );
    assert_eq!(settings.limits().memory.get(), 2 << 30);

    let strict = "jobs = 2\nsandbox = \"bubblewrap\"\ncolor = \"always\"\n[limits]\nmemory = \"1GiB\"\npids = 50\ncpus = 0.5\noutput = \"1MiB\"\nwall = \"1m\"";
    let settings = good(&[], strict, user);
    assert_eq!(settings.notices(), []);
    assert_eq!(
        (settings.jobs().get(), settings.limits().pids.get(), settings.color()),
        (2, 50, Color::Always)
    );

    // What nobody limited, a project may ask for.
    assert_eq!(good(&[], "limits.memory = \"16GiB\"", "jobs = 1").limits().memory.get(), 16 << 30);
    // The user can loosen for one run.
    assert_eq!(good(&[("BLUEPRINT_JOBS", "50")], strict, user).jobs().get(), 50);
}

#[test]
fn a_project_cannot_reach_outside_itself() {
    let errors = bad(&[], "[toolchains]\nread_only = [\"~/.cargo\"]", "");
    let text = errors.to_string();
    assert!(
        text.starts_with(&format!(
            "project {PROJECT}:2:13: `toolchains.read_only` opens folders of this machine"
        )),
        "{text}"
    );
    for state in ["/var/runs", "../runs", "a/../../b", "~/runs", "", "a\\\\b"] {
        let errors = bad(&[], &format!("state = \"{state}\""), "");
        assert!(errors.to_string().contains("must lie inside the project"), "{state}: {errors}");
    }
    assert_eq!(good(&[], "state = \"./.runs/x\"", "").state(), Some(Path::new("/work/repo/./.runs/x")));
}

#[test]
fn the_user_names_folders_that_sandboxes_may_read() {
    let settings = good(&[], "jobs = 1", "[toolchains]\nread_only = [\"~/.cargo\", \"/opt/go\"]");
    assert_eq!(settings.read_only(), ["/home/ada/.cargo", "/opt/go"].map(PathBuf::from));
    assert_eq!(
        row(&settings, "toolchains.read_only"),
        ("/home/ada/.cargo, /opt/go".into(), format!("user {USER}:2:13"))
    );
    for (path, complaint) in [
        ("relative", "must be absolute"),
        ("/opt/../etc", "must not contain `..`"),
        ("/", "whole home folder"),
        ("/home", "whole home folder"),
        ("~", "whole home folder"),
        ("~/", "whole home folder"),
        ("~root/x", "another user"),
        ("", "must be a path"),
    ] {
        let errors = bad(&[], "", &format!("toolchains.read_only = [\"{path}\"]"));
        assert!(errors.to_string().contains(complaint), "{path}: {errors}");
    }
    assert!(
        bad(&[("HOME", "")], "", "toolchains.read_only = [\"~/x\"]").to_string().contains("HOME is not set")
    );
    assert!(bad(&[], "", "toolchains.read_only = \"~/x\"").to_string().contains("must be a list"));
}

#[test]
fn all_errors_are_reported_at_once_with_their_places() {
    let project =
        "jbos = 3\njobs = 0\ncolor = \"allways\"\nmemory = \"1GiB\"\n[limit]\n[toolchains]\nreadonly = []\n";
    let user = "jobs = \"4\"\nsync = 1\nlimits = 3\nsandbox = \"docker\"\n  state = true\n";
    let errors = bad(&[("BLUEPRINT_JOBS", "many"), ("BLUEPRINT_LIMITS_WALL", "0s")], project, user);
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let expected = [
        "environment BLUEPRINT_JOBS: `jobs` must be a whole number from 1 to 1024".to_owned(),
        "environment BLUEPRINT_LIMITS_WALL: `limits.wall` must be more than nothing".to_owned(),
        format!("{PROJECT}:1:1: unknown setting `jbos`; did you mean `jobs`?"),
        format!("project {PROJECT}:2:8: `jobs` must be a whole number from 1 to 1024"),
        format!(
            "project {PROJECT}:3:9: `color` must be one of \"auto\", \"always\", \"never\"; did you mean \"always\"?"
        ),
        format!("{PROJECT}:4:1: unknown setting `memory`; did you mean `limits.memory`?"),
        format!("{PROJECT}:5:2: unknown setting `limit`; did you mean `limits`?"),
        format!("{PROJECT}:7:1: unknown setting `readonly`; did you mean `read_only`?"),
        format!("user {USER}:1:8: `jobs` must be a whole number, not text"),
        format!("user {USER}:2:8: `sync` must be text in quotes, not a whole number"),
        format!("{USER}:3:10: `limits` is a table: write `[limits]` above its settings"),
        format!(
            "user {USER}:4:11: `sandbox` must be one of \"auto\", \"process\", \"bubblewrap\", \"container\", \"gvisor\", \"microvm\""
        ),
        format!("user {USER}:5:11: `state` must be text in quotes, not true or false"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_file_that_is_not_toml_is_pointed_at() {
    let errors = bad(&[], "jobs = 3\njobs = [\n", "");
    assert!(errors.iter().all(|error| matches!(error, ConfigError::Syntax { .. })), "{errors}");
    assert!(errors.to_string().starts_with(&format!("{PROJECT}:")), "{errors}");
    let places: Vec<bool> = errors
        .iter()
        .map(|error| matches!(error, ConfigError::Syntax { place, .. } if place.line >= 2))
        .collect();
    assert!(places.contains(&true), "{errors}");
    let large = format!("#{}", "x".repeat(1 << 20));
    assert!(bad(&[], &large, "").to_string().contains("larger than 1 MiB"));
}

#[test]
fn columns_count_characters() {
    let errors = bad(&[], "color = \"auto\" # ü\n\"ü\" = 1", "");
    assert_eq!(errors.to_string(), format!("{PROJECT}:2:1: unknown setting `ü`"));
    let errors = bad(&[], "limits = { pids = 1, \"wäll\" = 2, x = 3 }", "");
    let starts: Vec<bool> = errors
        .iter()
        .zip([22, 34])
        .map(|(error, column)| error.to_string().starts_with(&format!("{PROJECT}:1:{column}: unknown")))
        .collect();
    assert_eq!(starts, [true, true], "{errors}");
}

#[test]
fn what_strangers_wrote_cannot_drive_a_terminal() {
    let errors =
        bad(&[], "\"a\\u001b[31m\\u202e\" = 1\ncolor = \"\\u001b]0;x\\u0007\"\nstate = \"../\\u001b\"", "");
    assert!(!errors.to_string().contains(['\u{1b}', '\u{7}', '\u{202e}']), "{errors:?}");
}

#[test]
fn empty_variables_are_absent_and_misspelt_ones_are_mentioned() {
    let settings = good(
        &[("BLUEPRINT_JOBS", ""), ("BLUEPRINT_JOB", "3"), ("BLUEPRINT_RUN_ID", "x"), ("JOBS", "9")],
        "",
        "",
    );
    assert_eq!(settings.jobs().get(), 5);
    let said: Vec<String> = settings.notices().iter().map(ToString::to_string).collect();
    assert_eq!(said, ["environment variable `BLUEPRINT_JOB` sets nothing; did you mean `BLUEPRINT_JOBS`?"]);
}

#[test]
fn no_color_is_respected_below_our_own_variable() {
    assert_eq!(
        row(&good(&[("NO_COLOR", "1")], "", "color = \"always\""), "color"),
        ("never".into(), "environment NO_COLOR".into())
    );
    assert_eq!(good(&[("NO_COLOR", "1"), ("BLUEPRINT_COLOR", "always")], "", "").color(), Color::Always);
    assert_eq!(good(&[("NO_COLOR", "")], "", "color = \"always\"").color(), Color::Always);
}

#[test]
fn runs_are_kept_in_the_project() {
    assert_eq!(
        good(&[("XDG_STATE_HOME", "/state")], "", "").state(),
        Some(Path::new("/work/repo/.blueprint"))
    );
    assert_eq!(good(&[("HOME", "")], "", "").state(), Some(Path::new("/work/repo/.blueprint")));
}

#[test]
fn sizes_and_numbers_have_one_meaning() {
    let sizes = [
        ("1B", 1),
        ("4096b", 4096),
        ("1KiB", 1024),
        ("1kb", 1000),
        ("0.5 MiB", 1 << 19),
        ("2gib", 2 << 30),
        ("1TB", 1_000_000_000_000),
    ];
    for (text, bytes) in sizes {
        assert_eq!(text.parse::<Bytes>().map(Bytes::get), Ok(bytes), "{text}");
    }
    for text in [
        "",
        "5",
        "GiB",
        "1.",
        ".5GiB",
        "1.5.5GiB",
        "-1B",
        "1 G B",
        "0B",
        "0.0001B",
        "99999999999TiB",
        "1PiB",
        "1.0000000GiB",
        "١B",
    ] {
        assert!(text.parse::<Bytes>().is_err(), "{text}");
    }
    for text in ["1B", "1KiB", "1536KiB", "4GiB", "1TiB", "1000B"] {
        assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
    }
    for number in ["0", "1025", "-1", "1.0", "1e3", "0x10", "1_0_"] {
        let errors = bad(&[], &format!("jobs = {number}"), "");
        assert_eq!(errors.iter().count(), 1, "{number}: {errors}");
    }
    for number in ["0", "nan", "inf", "-1", "4097", "0.001"] {
        let errors = bad(&[], &format!("limits.cpus = {number}"), "");
        assert_eq!(errors.iter().count(), 1, "{number}: {errors}");
    }
    assert_eq!(good(&[], "jobs = 1_0", "").jobs().get(), 10);
    assert_eq!(good(&[], "jobs = +7", "").jobs().get(), 7);
}

#[test]
fn only_the_user_says_whom_secrets_are_shown() {
    let client =
        |url: &str| format!("[mcp.credentials.\"{url}\"]\nclient_id = \"me\"\nclient_secret_env = \"S\"\n");
    let settings = good(&[], "", &client("https://e.com"));
    assert_eq!(settings.mcp().credentials["https://e.com"].client_id, "me");
    let refused = bad(&[], &client("https://e.com"), "").to_string();
    assert_eq!(
        refused,
        format!(
            "{PROJECT}:1:2: `[mcp]` says whom secrets are shown: only the user's own settings file can do that"
        )
    );
    let unsafe_one = bad(&[], "", &client("http://e.com")).to_string();
    assert!(
        unsafe_one.contains("`[mcp]` cannot be used: `http://e.com` is not safe for keys"),
        "{unsafe_one}"
    );
    let unread = bad(&[], "", "[mcp]\ncredential = {}\n").to_string();
    assert!(unread.contains("`[mcp]` cannot be read: unknown field `credential`"), "{unread}");
    assert!(bad(&[], "", "mcp = 1\n").to_string().contains("`[mcp]` cannot be read"));
}
