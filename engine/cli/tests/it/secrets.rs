//! Secrets: used where they are asked for, and found nowhere afterwards, however a node tries to print them.

use std::path::PathBuf;

use super::lab::{Lab, files_with};

const SECRET: &str = "s3cr3t-Zx81-correct+horse/battery";
/// The middle of its base64, free of what comes before and after.
fn base64_of(text: &str) -> Vec<String> {
    // Three shifts: a secret inside of a longer text starts at any of three places.
    let encode = |bytes: &[u8]| {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in bytes.chunks_exact(3) {
            let word = u32::from(chunk[0]) << 16 | u32::from(chunk[1]) << 8 | u32::from(chunk[2]);
            out.extend([18, 12, 6, 0].map(|shift| LETTERS[(word >> shift) as usize & 63] as char));
        }
        out
    };
    (0..3).map(|shift| encode(&text.as_bytes()[shift..])).collect()
}

fn assert_nowhere(lab: &Lab) {
    let nothing = Vec::<PathBuf>::new();
    let hex = SECRET.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    for form in base64_of(SECRET).into_iter().chain([SECRET.to_owned(), hex, SECRET.chars().rev().collect()])
    {
        assert_eq!(files_with(&lab.state(), form.as_bytes()), nothing, "as {form}");
        assert_eq!(files_with(&lab.project(), form.as_bytes()), nothing, "as {form}");
    }
}

const LEAKY: &str = r#"
[inputs]
token = { type = "secret", help = "A token" }

[defaults]
shell = "sh"

# Proves that it really has it: the length is right.
[nodes.use]
run = 'printf "%s" "$TOKEN" | wc -c'
env = { TOKEN = "inputs.token" }

[nodes.print]
run = 'echo "the token is $TOKEN."; echo "also $TOKEN" >&2; printf "%s" "$TOKEN"'
env = { TOKEN = "inputs.token" }

[nodes.encoded]
run = 'printf "%s" "$TOKEN" | base64 -w0; echo; printf "x%s" "$TOKEN" | base64 -w0; echo; printf "xy%s" "$TOKEN" | base64 -w0'
env = { TOKEN = "inputs.token" }

# In pieces, each a write of its own.
[nodes.pieces]
run = 'rest="$TOKEN"; while test -n "$rest"; do printf "%s" "${rest%"${rest#?}"}"; rest="${rest#?}"; done; echo'
env = { TOKEN = "inputs.token" }

[nodes.large]
run = 'head -c 65530 /dev/zero | tr "\0" x; printf "%s\n" "$TOKEN"'
env = { TOKEN = "inputs.token" }

[nodes.output]
run    = '''printf '{"said": "%s"}' "$TOKEN"'''
env    = { TOKEN = "inputs.token" }
output = { said = "string" }

[nodes.passed]
needs = ["output"]
run   = "echo"
args  = ["nodes.output.said"]
"#;

#[test]
fn a_secret_that_is_printed_is_found_nowhere() {
    let lab = Lab::in_git();
    lab.blueprint("leaky", LEAKY);
    let said = lab.say_with(&[("TOKEN", SECRET)], &["run", "leaky", "--secret", "token=env:TOKEN"]);
    let said = said.conceals(SECRET).ends(0).mentions(&format!("use      | {}", SECRET.len()));
    for form in base64_of(SECRET) {
        assert!(!said.err.contains(&form), "{said}");
    }
    assert_nowhere(&lab);
    let run = lab.run();
    for asked in [
        &["logs", &run][..],
        &["show", &run],
        &["show", &run, "output"],
        &["show", &run, "--format", "json"],
        &["logs", &run, "--format", "json"],
    ] {
        lab.say(asked).ends(0).conceals(SECRET);
    }
}

#[test]
fn a_secret_is_nowhere_in_the_stream_for_programs() {
    let lab = Lab::in_git();
    lab.blueprint("leaky", LEAKY);
    let said = lab.say_with(
        &[("TOKEN", SECRET)],
        &["run", "leaky", "--secret", "token=env:TOKEN", "--format", "json", "--sandbox", "none"],
    );
    let said = said.ends(0).conceals(SECRET);
    for form in base64_of(SECRET) {
        assert!(!said.out.contains(&form), "{said}");
    }
    assert_nowhere(&lab);
}

#[test]
fn a_secret_in_a_failure_and_its_escalation_is_found_nowhere() {
    let lab = Lab::in_git();
    lab.blueprint(
        "leaky",
        r#"
[inputs]
token = { type = "secret" }

[nodes.change]
run   = 'echo "$BLUEPRINT_ROUND" > round'
shell = "sh"

[nodes.verify]
needs  = ["change"]
run    = 'echo "wrong: $TOKEN $BLUEPRINT_ROUND"; exit 1'
shell  = "sh"
env    = { TOKEN = "inputs.token" }
repair = { from = "change", rounds = 2 }
"#,
    );
    lab.say_with(&[("TOKEN", SECRET)], &["run", "leaky", "--secret", "token=env:TOKEN"])
        .ends(4)
        .conceals(SECRET);
    assert_nowhere(&lab);
}

#[test]
fn a_secret_from_a_file_is_used_without_its_line_end() {
    let lab = Lab::in_git();
    lab.blueprint("leaky", LEAKY);
    let file = lab.beside("token");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let said = lab.say(&["run", "leaky", "--secret", &format!("token=file:{}", file.display())]);
    said.ends(0).mentions(&format!("use      | {}", SECRET.len())).conceals(SECRET);
    assert_nowhere(&lab);
}

#[test]
fn a_secret_that_a_node_puts_into_its_workspace_is_not_kept() {
    let lab = Lab::in_git();
    lab.blueprint(
        "leaky",
        r#"
[inputs]
token = { type = "secret" }
[nodes.artifact]
run       = 'printf "%s" "$TOKEN" > token.txt'
shell     = "sh"
env       = { TOKEN = "inputs.token" }
artifacts = ["token.txt"]
"#,
    );
    lab.say_with(&[("TOKEN", SECRET)], &["run", "leaky", "--secret", "token=env:TOKEN"])
        .ends(1)
        .mentions("holds a secret of this run");
    assert_nowhere(&lab);
}

#[test]
fn a_secret_in_a_tree_is_never_committed() {
    let cases = [
        ("printf 'key=%s' \"$TOKEN\" > token.txt", "`token.txt` holds a secret"),
        ("mkdir -p deep/er; printf '%s' \"$TOKEN\" | base64 -w0 > deep/er/b", "`deep/er/b` holds a secret"),
        ("ln -s \"$TOKEN\" link", "a secret"),
    ];
    let lab = Lab::in_git();
    for (command, message) in cases {
        lab.blueprint(
            "leaky",
            &format!("[inputs]\ntoken = {{ type = \"secret\" }}\n[nodes.write]\nshell = \"bash\"\nrun = {command:?}\nenv = {{ TOKEN = \"inputs.token\" }}\n"),
        );
        let said = lab.say_with(&[("TOKEN", SECRET)], &["run", "leaky", "--secret", "token=env:TOKEN"]);
        said.ends(1).mentions("failed (policy)").mentions(message).conceals(SECRET);
        let run = lab.run();
        assert_eq!(lab.diff(&run), "");
        assert_nowhere(&lab);
    }
    // Outside of the tree it may be written as needed.
    lab.blueprint(
        "careful",
        "[inputs]\ntoken = { type = \"secret\" }\n[nodes.write]\nshell = \"sh\"\nrun = 'printf \"%s\" \"$TOKEN\" > token.txt; wc -c token.txt'\n\
         env = { TOKEN = \"inputs.token\" }\nworkspace = \"scratch\"\n",
    );
    lab.say_with(&[("TOKEN", SECRET)], &["run", "careful", "--secret", "token=env:TOKEN"])
        .ends(0)
        .mentions("33 token.txt");
    assert_nowhere(&lab);
}

#[test]
fn a_resumed_run_reads_its_secrets_again_and_says_which_one_is_missing() {
    let lab = Lab::in_git();
    lab.blueprint(
        "later",
        r#"
[inputs]
token = { type = "secret" }
[nodes.review]
gate = {}
[nodes.use]
needs = ["review"]
run   = 'printf "%s" "$TOKEN" | wc -c'
shell = "sh"
env   = { TOKEN = "inputs.token" }
"#,
    );
    lab.say_with(&[("TOKEN", SECRET)], &["run", "later", "--secret", "token=env:TOKEN"]).ends(75);
    let run = lab.run();
    let events = lab.events(&run);
    lab.say(&["approve", &run]).ends(0);
    lab.say(&["resume", &run])
        .ends(2)
        .mentions("the secret `token` could not be read from the environment variable `TOKEN`");
    assert_eq!(lab.events(&run), events);
    lab.say_with(&[("TOKEN", SECRET)], &["resume", &run]).ends(0).mentions(&SECRET.len().to_string());
    assert_nowhere(&lab);
}

#[test]
fn a_secret_on_the_command_line_is_refused_without_being_repeated() {
    let lab = Lab::in_git();
    lab.blueprint("leaky", LEAKY);
    lab.say(&["run", "leaky", "-i", &format!("token={SECRET}")])
        .ends(2)
        .mentions("--secret token=env:VARIABLE")
        .conceals(SECRET);
    lab.say(&["run", "leaky", "--secret", &format!("token={SECRET}")]).ends(2).conceals(SECRET);
    lab.say(&["run", "leaky", "--secret", SECRET]).ends(2).conceals(SECRET);
    lab.say(&["run", "leaky", "--secret", "token=env:NOT_SET"]).ends(2).mentions("NOT_SET");
    lab.say(&["run", "leaky", "--secret", "token=file:/nowhere/token"]).ends(2).mentions("/nowhere/token");
    lab.say(&["run", "leaky"]).ends(2).mentions("(A token)").mentions("--secret token=env:VARIABLE");
    // What is too short cannot be told from other text.
    lab.say_with(&[("TOKEN", "ab")], &["run", "leaky", "--secret", "token=env:TOKEN"])
        .ends(2)
        .mentions("`token`");
    assert!(lab.runs().is_empty());
}

/// A token that nobody declared as a secret of the run is known by its shape.
#[test]
fn what_has_the_shape_of_a_token_is_not_in_a_log() {
    let token = ["ghp", "_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"].concat();
    let lab = Lab::in_git();
    lab.blueprint("chatty", &format!("[nodes.say]\nrun = \"echo before {token} behind\"\n"));
    let said = lab.say(&["run", "chatty"]).ends(0);
    said.conceals(&token).mentions("before").mentions("behind");
    let logs = lab.say(&["logs", &lab.run(), "say"]).ends(0).out;
    assert!(!logs.contains(&token) && logs.contains("github"), "{logs}");
}
