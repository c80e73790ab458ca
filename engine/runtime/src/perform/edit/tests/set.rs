//! Keys of TOML, JSON and YAML: what is not set stays byte for byte.

use serde_json::{Value, json};

use super::super::set::{Format, SetError, set, spelled};

type Case = (&'static str, &'static [&'static str], Value, &'static str);
type Misfit = (&'static str, &'static [&'static str], Value, &'static str);

fn tried(format: Format, text: &str, key: &[&str], value: &Value) -> Result<String, SetError> {
    let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
    set(format, text, &key, value)
}

fn all(format: Format, cases: &[Case]) {
    for (text, key, value, expected) in cases {
        let got = tried(format, text, key, value);
        assert_eq!(got.as_deref(), Ok(*expected), "{text:?} {key:?} {value}");
        assert_eq!(
            tried(format, expected, key, value).as_deref(),
            Ok(*expected),
            "set twice: {text:?} {key:?}"
        );
    }
}

fn none(format: Format, cases: &[Misfit]) {
    for (text, key, value, expected) in cases {
        let got = tried(format, text, key, value).map_err(|error| error.to_string());
        let said = got.expect_err(&format!("{text:?} {key:?} {value}"));
        assert!(said.contains(expected), "{text:?} {key:?}: {said}");
    }
}

#[test]
fn toml_values_are_replaced_and_added() {
    all(
        Format::Toml,
        &[
            ("a = 1 # one\nb = 2\n", &["a"], json!(3), "a = 3 # one\nb = 2\n"),
            (
                "# top\n[package] # p\nversion   = '1.0'  # v\n",
                &["package", "version"],
                json!("1.1"),
                "# top\n[package] # p\nversion   = \"1.1\"  # v\n",
            ),
            (
                "[a]\r\nx = 1\r\n\r\n[b] # b\r\ny = \"\"\"\r\nm\r\n\"\"\"\r\n",
                &["a", "x"],
                json!(true),
                "[a]\r\nx = true\r\n\r\n[b] # b\r\ny = \"\"\"\r\nm\r\n\"\"\"\r\n",
            ),
            (
                "[a]\r\nx = 1\r\n\r\n# of b\r\n[b]\r\ny = 2",
                &["a", "z"],
                json!(3),
                "[a]\r\nx = 1\r\nz = 3\r\n\r\n# of b\r\n[b]\r\ny = 2\r\n",
            ),
            ("", &["a"], json!("x"), "a = \"x\"\n"),
            ("", &["a", "b", "c"], json!(1.5), "[a.b]\nc = 1.5\n"),
            ("# only\n", &["a"], json!([1, "x"]), "a = [1, \"x\"]\n# only\n"),
            ("a = { b = 1 } # i\n", &["a", "c"], json!({"d": 2}), "a = { b = 1 , c = { d = 2 } } # i\n"),
            ("a = { b = 1 }\n", &["a", "c", "d"], json!(2), "a = { b = 1 , c = { d = 2 } }\n"),
            ("a.b = 1 # x\n", &["a", "c"], json!(2), "a.b = 1 # x\na.c = 2\n"),
            ("a.b = 1 # x\n", &["a", "b"], json!(2), "a.b = 2 # x\n"),
            ("[a.b]\nx = 1\n", &["a", "y"], json!(2), "[a]\ny = 2\n[a.b]\nx = 1\n"),
            ("\"a.b\" = 1\n", &["a.b"], json!(2), "\"a.b\" = 2\n"),
            ("k = [1, # one\n 2]\n", &["k"], json!([3]), "k = [3]\n"),
            ("'ü' = 'ß' # 漢\n", &["ü"], json!("🦀"), "'ü' = \"🦀\" # 漢\n"),
            ("\u{feff}a = 1\n", &["a"], json!(2), "\u{feff}a = 2\n"),
            ("a = 0x10 # hex\n", &["a"], json!(16), "a = 0x10 # hex\n"),
        ],
    );
}

#[test]
fn toml_that_does_not_fit_is_refused() {
    none(
        Format::Toml,
        &[
            ("a = 1\n", &["a", "b"], json!(1), "`a` is a number, which has no keys"),
            ("[[a]]\nb = 1\n", &["a", "b"], json!(1), "`a` is a list, which has no keys"),
            ("[a]\nb = 1\n", &["a"], json!(1), "`a` is a table; set the keys in it"),
            ("a.b = 1\n", &["a"], json!(1), "`a` is a table"),
            ("[[a]]\nb = 1\n", &["a"], json!(1), "a list of tables"),
            ("a = \n", &["a"], json!(1), "it is not TOML"),
            ("a = 1\n", &["a"], Value::Null, "TOML has no value for `none`"),
            ("a = 1\n", &["a"], json!(u64::MAX), "so large a number"),
        ],
    );
}

#[test]
fn json_values_are_replaced_and_added() {
    all(
        Format::Json,
        &[
            (
                "{\n  // one\n  \"a\": 1, // x\n  \"b\": 2\n}\n",
                &["a"],
                json!("y"),
                "{\n  // one\n  \"a\": \"y\", // x\n  \"b\": 2\n}\n",
            ),
            ("{\n  \"a\": 1 // x\n}\n", &["b"], json!(2), "{\n  \"a\": 1, // x\n  \"b\": 2\n}\n"),
            ("{\r\n\t\"a\": 1\r\n}", &["b"], json!(true), "{\r\n\t\"a\": 1,\r\n\t\"b\": true\r\n}"),
            ("{\"a\":1}", &["b"], json!(null), "{\"a\":1, \"b\": null}"),
            ("{}", &["a"], json!(1), "{\n  \"a\": 1\n}"),
            (
                "{\n  \"a\": {}\n}\n",
                &["a", "b", "c"],
                json!(1),
                "{\n  \"a\": {\n    \"b\": {\n      \"c\": 1\n    }\n  }\n}\n",
            ),
            (
                "{\n  \"a\": { \"b\": 1 } /* z */\n}\n",
                &["a", "c"],
                json!("d"),
                "{\n  \"a\": { \"b\": 1, \"c\": \"d\" } /* z */\n}\n",
            ),
            ("{\n  \"a\": 1,\n}\n", &["b"], json!(2), "{\n  \"a\": 1,\n  \"b\": 2,\n}\n"),
            ("{\"é\": \"x\"}\n", &["é"], json!("\"🦀\"\n"), "{\"é\": \"\\\"🦀\\\"\\n\"}\n"),
            ("{\"a.b\": 1}", &["a.b"], json!(2), "{\"a.b\": 2}"),
            ("{\"a\": 1.0}", &["a"], json!(1.0), "{\"a\": 1.0}"),
            ("\u{feff}{\"a\": 1}", &["a"], json!(2), "\u{feff}{\"a\": 2}"),
            ("{\"a\": [1, 2]}", &["a"], json!("x"), "{\"a\": \"x\"}"),
        ],
    );
}

#[test]
fn json_that_does_not_fit_is_refused() {
    none(
        Format::Json,
        &[
            ("{\"a\": 1}", &["a", "b"], json!(1), "`a` is a number, which has no keys"),
            ("[1]", &["a"], json!(1), "the file itself is a list, which has no keys"),
            ("{\"a\": [{}]}", &["a", "b", "c"], json!(1), "`a` is a list, which has no keys"),
            ("", &["a"], json!(1), "it is not JSON: it is empty"),
            ("{\"a\": }", &["a"], json!(1), "it is not JSON"),
            ("{a: 1}", &["a"], json!(1), "it is not JSON"),
            ("{\"a\": 1, \"a\": 2}", &["a"], json!(3), "would change something else"),
        ],
    );
    let deep = "[".repeat(100_000);
    assert!(tried(Format::Json, &deep, &["a"], &json!(1)).is_err());
}

#[test]
fn yaml_values_are_replaced_and_added() {
    all(
        Format::Yaml,
        &[
            ("# top\na: 1 # one\nb: 2\n", &["a"], json!(3), "# top\na: 3 # one\nb: 2\n"),
            ("a: 1\nb: 2", &["b"], json!(3), "a: 1\nb: 3"),
            (
                "a:\n  b: x # c\n  # end of a\nd: e\n",
                &["a", "b"],
                json!("y z"),
                "a:\n  b: \"y z\" # c\n  # end of a\nd: e\n",
            ),
            (
                "a:\n  b: x # c\n  # end of a\nd: e\n",
                &["a", "m"],
                json!("new"),
                "a:\n  b: x # c\n  m: new\n  # end of a\nd: e\n",
            ),
            (
                "a:\r\n    b: 1\r\nc: 2\r\n",
                &["a", "m"],
                json!(false),
                "a:\r\n    b: 1\r\n    m: false\r\nc: 2\r\n",
            ),
            ("a: 1", &["b"], json!(2), "a: 1\nb: 2"),
            ("a: 'it''s' # q\n", &["a"], json!("it's not"), "a: 'it''s not' # q\n"),
            ("a: \"x\"\n", &["a"], json!("y"), "a: \"y\"\n"),
            ("a: x\n", &["a"], json!("yes"), "a: \"yes\"\n"),
            ("a: x\n", &["a"], json!("1.20"), "a: \"1.20\"\n"),
            ("a: 1.2.3\n", &["a"], json!("1.2.4"), "a: 1.2.4\n"),
            ("a: 1\n", &["a"], json!("1"), "a: \"1\"\n"),
            ("a: 1\n", &["a"], json!(1e300), "a: 1.0e+300\n"),
            ("a: |\n  one\n  two\n\nb: 1\n", &["a"], json!("x"), "a: x\n\nb: 1\n"),
            (
                "a: |\n  one\n  two\nb: 1\n",
                &["b"],
                json!("l1\nl2\n"),
                "a: |\n  one\n  two\nb: \"l1\\nl2\\n\"\n",
            ),
            ("a: 1\nb: |\n  text\n", &["c"], json!(2), "a: 1\nb: |\n  text\nc: 2\n"),
            ("a:\n  - 1\n  - 2 # two\nb: 1\n", &["a"], json!("x"), "a: x # two\nb: 1\n"),
            ("a: [1, 2] # l\n", &["a"], json!([3, "x"]), "a: [3, x] # l\n"),
            ("a: {b: 1} # f\n", &["a", "c"], json!(2), "a: {b: 1, c: 2} # f\n"),
            ("a: {} # f\n", &["a", "c"], json!(2), "a: {c: 2} # f\n"),
            ("a: {b: 1}\n", &["a", "b"], json!(2), "a: {b: 2}\n"),
            ("a: # none\nb: 1\n", &["a"], json!("x"), "a: x # none\nb: 1\n"),
            ("a:\nb: 1\n", &["a", "c"], json!("x"), "a: {c: x}\nb: 1\n"),
            ("a:\n", &["b"], json!(1), "a:\nb: 1\n"),
            ("", &["a"], json!(1), "a: 1\n"),
            ("# only\n", &["on"], json!(1), "# only\n\"on\": 1\n"),
            ("---\na: 1\n...\n", &["a"], json!(2), "---\na: 2\n...\n"),
            ("on: push\n", &["on"], json!("pull_request"), "on: pull_request\n"),
            ("\"a.b\": 1\n", &["a.b"], json!(2), "\"a.b\": 2\n"),
            ("é: ü # 漢字\nß: 1\n", &["ß"], json!("🦀"), "é: ü # 漢字\nß: \"🦀\"\n"),
            ("é: ü # 漢字\n", &["m"], json!(1), "é: ü # 漢字\nm: 1\n"),
            ("x: &d {a: 1}\ny: *d\nz: 1\n", &["z"], json!(2), "x: &d {a: 1}\ny: *d\nz: 2\n"),
            ("x: &d {a: 1}\ny: *d\n", &["y"], json!(2), "x: &d {a: 1}\ny: 2\n"),
            ("a: one\n  two\nb: 1\n", &["a"], json!("x"), "a: x\nb: 1\n"),
            (
                "a:\n  b:\n    c: 1\n\n# of d\nd: 1\n",
                &["a", "b", "m"],
                json!(null),
                "a:\n  b:\n    c: 1\n    m: null\n\n# of d\nd: 1\n",
            ),
            ("\u{feff}a: 1\n", &["a"], json!(2), "\u{feff}a: 2\n"),
            ("a: [\n  1, # one\n  'x', # two\n] # end\n", &["a"], json!([]), "a: [] # end\n"),
            ("a: {b: \"x\\\"}\", c: } # f\n", &["a", "d"], json!(2), "a: {b: \"x\\\"}\", c:, d: 2 } # f\n"),
            ("a: {b, c} # f\n", &["a", "d"], json!(2), "a: {b, c, d: 2} # f\n"),
            ("a: \"\" # c\n", &["a"], json!(true), "a: true # c\n"),
            ("{\"a\": 1,\n \"b\": 2}\n", &["c"], json!(3), "{\"a\": 1,\n \"b\": 2, c: 3}\n"),
        ],
    );
}

#[test]
fn yaml_that_does_not_fit_is_refused() {
    none(
        Format::Yaml,
        &[
            ("a: 1\n", &["a", "b"], json!(1), "`a` is a scalar, which has no keys"),
            ("a:\n  - b: 1\n", &["a", "b"], json!(1), "`a` is a list, which has no keys"),
            ("- 1\n", &["a"], json!(1), "the file itself is a list, which has no keys"),
            ("a: {}\n", &["a", "b", "c"], json!(1), "`a.b` does not exist"),
            ("x: &d\n  a: 1\ny: *d\n", &["y", "a"], json!(1), "`y` is an alias"),
            ("x: &d 1\ny: *d\n", &["x"], json!(1), "`x` has an anchor or a tag"),
            ("x: !secret k\n", &["x"], json!(1), "`x` has an anchor or a tag"),
            ("a: 1\na: 2\n", &["a"], json!(1), "is there twice"),
            ("a: 1\n---\na: 2\n", &["a"], json!(1), "several documents"),
            ("a: [1\n", &["a"], json!(1), "it is not YAML"),
            ("a: |+\n  x\n\n\n", &["b"], json!(1), "would change something else"),
            ("", &["a", "b"], json!(1), "`a` does not exist"),
        ],
    );
    let deep = "[".repeat(100_000);
    assert!(tried(Format::Yaml, &deep, &["a"], &json!(1)).is_err());
}

#[test]
fn the_name_of_a_file_tells_its_format() {
    for (name, format) in [
        ("Cargo.toml", Some(Format::Toml)),
        ("a/b.JSON", Some(Format::Json)),
        (".github/w.yml", Some(Format::Yaml)),
        ("a.yaml", Some(Format::Yaml)),
        ("a.yaml/b", None),
        ("Makefile", None),
    ] {
        assert_eq!(Format::of(name), format, "{name}");
    }
    assert_eq!(spelled(&["a".to_owned(), "b.c".to_owned()]), "a.\"b.c\"");
}
