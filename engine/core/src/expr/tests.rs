//! What expressions and templates mean, and what is said about wrong ones.

use serde_json::{Value as Json, json};

use super::{EvalError, Expr, Reference, SyntaxError, SyntaxErrorKind, Text, ValueType, contains_template};

fn scope() -> Json {
    json!({
        "inputs": { "test": "suite::all", "repeat": 3, "big": u64::MAX, "ratio": 0.5, "none": null },
        "nodes": { "fix": { "confidence": 0.9, "files": ["b.rs", "a.rs"] }, "fix-it": { "ok": true } },
        "event": { "labels": [{ "name": "flaky" }], "z": 1, "a": 2 },
    })
}

fn eval(source: &str) -> Json {
    Expr::parse(source)
        .unwrap_or_else(|e| panic!("{source}: {e:?}"))
        .eval(&scope())
        .unwrap_or_else(|e| panic!("{source}: {e:?}"))
}

fn eval_error(source: &str) -> EvalError {
    Expr::parse(source).unwrap_or_else(|e| panic!("{source}: {e:?}")).eval(&scope()).expect_err(source)
}

fn render(source: &str) -> String {
    Text::parse(source)
        .unwrap_or_else(|e| panic!("{source}: {e:?}"))
        .render(&scope())
        .unwrap_or_else(|e| panic!("{source}: {e:?}"))
}

fn refused(source: &str) -> SyntaxError {
    Expr::parse(source).expect_err(source)
}

fn refused_text(source: &str) -> SyntaxError {
    Text::parse(source).expect_err(source)
}

/// The references of `source`, each as its text with a `?` if it is guarded.
fn mentions(source: &str, references: &[Reference]) -> Vec<String> {
    references
        .iter()
        .map(|found| format!("{}{}", &source[found.range.clone()], if found.guarded { "?" } else { "" }))
        .collect()
}

fn in_expr(source: &str) -> Vec<String> {
    mentions(source, Expr::parse(source).unwrap_or_else(|e| panic!("{source}: {e:?}")).references())
}

fn in_text(source: &str) -> Vec<String> {
    mentions(source, Text::parse(source).unwrap_or_else(|e| panic!("{source}: {e:?}")).references())
}

#[test]
fn values_keep_their_types() {
    assert_eq!(eval("inputs.test"), json!("suite::all"));
    assert_eq!(eval("inputs.repeat"), json!(3));
    assert_eq!(eval("inputs.big"), json!(u64::MAX));
    assert_eq!(eval("inputs.ratio"), json!(0.5));
    assert_eq!(eval("inputs.none"), json!(null));
    assert_eq!(eval("nodes.fix"), json!({ "confidence": 0.9, "files": ["b.rs", "a.rs"] }));
    assert_eq!(eval("'literal'"), json!("literal"));
    assert_eq!(eval("1.0"), json!(1.0));
    assert_eq!(eval("inputs.repeat * 2 + 1"), json!(7));
    assert_eq!(eval("inputs.repeat * 0.5"), json!(1.5));
    assert_eq!(
        eval("[inputs.repeat, (1, 'x'), {'k': inputs.test}]"),
        json!([3, [1, "x"], { "k": "suite::all" }])
    );
    assert_eq!(eval("range(inputs.repeat)"), json!([0, 1, 2]));
    assert_eq!(eval("range(5, 0, -2)"), json!([5, 3, 1]));
    assert_eq!(eval("range(0, 5, -1)"), json!([]));
    assert_eq!(eval("dict(a=inputs.repeat)"), json!({ "a": 3 }));
    assert_eq!(eval("'a' ~ (inputs.repeat + 1)"), json!("a4"));
}

#[test]
fn conditions_are_booleans() {
    assert_eq!(eval("nodes.fix.confidence > 0.8 and inputs.repeat < 10"), json!(true));
    assert_eq!(eval("not nodes['fix-it'].ok"), json!(false));
    assert_eq!(eval("'flaky' in event.labels | map(attribute='name') | list"), json!(true));
    assert_eq!(eval("event.labels[0].name == 'flaky'"), json!(true));
    assert_eq!(eval("inputs.missing is defined"), json!(false));
    assert_eq!(eval("inputs.missing | default('x')"), json!("x"));
    assert_eq!(eval("'yes' if inputs.repeat == 3 else inputs.missing"), json!("yes"));
    assert_eq!(eval("1 < inputs.repeat <= 3"), json!(true));
}

#[test]
fn objects_keep_their_order() {
    assert_eq!(
        serde_json::to_string(&eval("event")).unwrap(),
        r#"{"labels":[{"name":"flaky"}],"z":1,"a":2}"#
    );
    assert_eq!(render("{% for key in event %}{{ key }} {% endfor %}"), "labels z a ");
}

#[test]
fn an_undefined_name_is_an_error_that_names_it_and_its_place() {
    let cases = [
        ("inputs.missing", "inputs.missing", "inputs.missing"),
        ("missing", "missing", "missing"),
        ("missing.deep.er", "missing", "missing.deep.er"),
        ("1 + inputs.missing", "inputs.missing", "inputs.missing"),
        ("inputs.repeat * inputs.nope", "inputs.nope", "inputs.nope"),
        ("inputs.nope == 1", "inputs.nope", "inputs.nope"),
        ("'a' ~ inputs.nope", "inputs.nope", "inputs.nope"),
        ("inputs.nope | upper", "inputs.nope", "inputs.nope"),
        ("[inputs.nope]", "inputs.nope", "inputs.nope"),
        ("{'a': inputs.nope}", "inputs.nope", "inputs.nope"),
        ("inputs.nope and true", "inputs.nope", "inputs.nope"),
        ("1 in inputs.nope", "inputs.nope", "inputs.nope"),
        ("event.labels[3].name == 'x'", "event.labels[3]", "event.labels"),
    ];
    for (source, path, place) in cases {
        match eval_error(source) {
            EvalError::Undefined { path: found, range } => {
                assert_eq!(found, path, "{source}");
                assert_eq!(&source[range.expect(source)], place, "{source}");
            }
            other => panic!("{source}: {other:?}"),
        }
    }
}

#[test]
fn an_if_without_else_has_no_value_in_an_expression_and_is_empty_in_a_text() {
    assert!(matches!(eval_error("1 if inputs.repeat == 0"), EvalError::Undefined { .. }));
    assert_eq!(render("<{{ 'x' if inputs.repeat == 0 }}>"), "<>");
}

#[test]
fn operations_that_do_not_fit_are_errors() {
    for source in [
        "inputs.test + 1",
        "inputs.test * 3",
        "inputs.repeat / 0",
        "[1] * 3 if false else inputs.test * 2",
        "{1: inputs.repeat}",
        "inputs.big * inputs.big * 4",
        "inputs.ratio / 0.0",
        "range(100000)",
        "range(1, 2, 0)",
        "range",
        "event.labels | map('nope' ~ 'x')",
    ] {
        let outcome = Expr::parse(source).map(|expr| expr.eval(&scope()));
        assert!(!matches!(outcome, Ok(Ok(_))), "{source}: {outcome:?}");
    }
}

#[test]
fn references_stand_where_the_source_says_them() {
    assert_eq!(in_expr("inputs.test"), ["inputs.test"]);
    assert_eq!(
        in_expr(" nodes.fix.confidence > 0.8 and (inputs . repeat) < x"),
        ["nodes.fix.confidence", "inputs . repeat", "x"]
    );
    assert_eq!(in_expr("nodes['fix-it'].ok"), ["nodes['fix-it'].ok"]);
    assert_eq!(Expr::parse("nodes['fix-it'].ok").unwrap().references()[0].path, ["nodes", "fix-it", "ok"]);
    assert_eq!(in_expr("event.labels[0].name"), ["event.labels"]);
    assert_eq!(in_expr("inputs[inputs.key][a:b]"), ["inputs", "inputs.key", "a", "b"]);
    assert_eq!(in_expr("x | replace(y, z.w) | map(attribute=k)"), ["x", "y", "z.w", "k"]);
    assert_eq!(in_expr("range(a, b) if c else {d: [e, -f]}"), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(in_expr("'inputs.test' ~ \"é{{\" ~ inputs.o"), ["inputs.o"]);
}

#[test]
fn guarded_references_are_marked() {
    assert_eq!(in_expr("inputs.a | default('x')"), ["inputs.a?"]);
    assert_eq!(in_expr("inputs.a | d(inputs.b)"), ["inputs.a?", "inputs.b"]);
    assert_eq!(in_expr("inputs.a | upper | default('x')"), ["inputs.a"]);
    assert_eq!(
        in_expr("inputs.a is defined and inputs.a > inputs.b"),
        ["inputs.a?", "inputs.a?", "inputs.b"]
    );
    assert_eq!(in_expr("inputs.a is undefined or inputs.a"), ["inputs.a?", "inputs.a?"]);
    assert_eq!(
        in_expr("inputs.a if inputs.a is defined else inputs.a"),
        ["inputs.a?", "inputs.a?", "inputs.a"]
    );
    assert_eq!(in_expr("(inputs.a is defined or true) and inputs.a"), ["inputs.a?", "inputs.a"]);
    assert_eq!(in_expr("not (x is defined) or x"), ["x?", "x?"]);
    assert_eq!(in_expr("x.y is defined and x and x.y.z"), ["x.y?", "x?", "x.y.z"]);
    assert_eq!(
        in_text("{% if x is defined %}{{ x }}{% else %}{{ x }}{% endif %}{{ x }}"),
        ["x?", "x?", "x", "x"]
    );
}

#[test]
fn names_a_template_sets_itself_are_not_references() {
    assert_eq!(
        in_text(
            "{% for f in inputs.files %}{{ f.name }}{{ loop.index }}{{ g }}{% else %}{{ f }}{% endfor %}"
        ),
        ["inputs.files", "g", "f"]
    );
    assert_eq!(in_text("{% for k, v in x | items if v > limit %}{{ k }}{% endfor %}"), ["x", "limit"]);
    assert_eq!(
        in_text("{{ a }}{% set a = b.c %}{{ a.b }}{% set d %}{{ e }}{% endset %}{{ d }}"),
        ["a", "b.c", "e"]
    );
    assert_eq!(in_text("{% with a = a, b = a %}{{ b }}{% endwith %}{{ b }}"), ["a", "b"]);
    assert_eq!(in_text("{% raw %}{{ x }}{% endraw %}{# {{ y }} #}{{ z }}"), ["z"]);
    assert_eq!(in_text("{% set x | replace(p, q) %}{% endset %}"), ["p", "q"]);
    assert_eq!(in_text("äöü {{ inputs.a }}\r\n{{- inputs.b -}}\n"), ["inputs.a", "inputs.b"]);
}

#[test]
fn an_expression_knows_whether_it_is_one_name_or_a_literal() {
    let whole = Expr::parse(" inputs.test ").unwrap();
    assert_eq!(whole.as_reference().unwrap().path, ["inputs", "test"]);
    assert_eq!(Expr::parse("inputs.test | upper").unwrap().as_reference(), None);
    assert_eq!(Expr::parse("inputs.list[0]").unwrap().as_reference(), None);
    assert_eq!(Expr::parse("'main'").unwrap().literal(), Some(&json!("main")));
    assert_eq!(Expr::parse("[1, 2.5, none]").unwrap().literal(), Some(&json!([1, 2.5, null])));
    assert_eq!(Expr::parse("inputs.test").unwrap().literal(), None);
    let types = [
        ("'a'", ValueType::String),
        ("3", ValueType::Integer),
        ("3.0", ValueType::Number),
        ("x > 1 or not y", ValueType::Boolean),
        ("x ~ y", ValueType::String),
        ("[x]", ValueType::List),
        ("{'a': x}", ValueType::Object),
    ];
    for (source, expected) in types {
        assert_eq!(Expr::parse(source).unwrap().known_type(), Some(expected), "{source}");
    }
    assert_eq!(Expr::parse("x and 1").unwrap().known_type(), None);
}

#[test]
fn texts_render_without_escaping_and_keep_their_newlines() {
    assert_eq!(render("Stabilise {{ inputs.test }}\n"), "Stabilise suite::all\n");
    assert_eq!(render("{{ '<&>' ~ inputs.repeat }}\n"), "<&>3\n");
    assert_eq!(render("{{ nodes.fix | tojson }}"), r#"{"confidence":0.9,"files":["b.rs","a.rs"]}"#);
    assert_eq!(render("{{ nodes.fix.files | tojson(indent=2) }}"), "[\n  \"b.rs\",\n  \"a.rs\"\n]");
    assert_eq!(render("{{ nodes.fix.files | sort | join(', ') }}"), "a.rs, b.rs");
    assert_eq!(
        render("{% for f in nodes.fix.files if f > 'a.rs' %}{{ loop.index }}{{ f }};{% endfor %}"),
        "1b.rs;"
    );
    assert_eq!(render("{% set x = 1 %}{% if x == 1 %}a{% elif x == 2 %}b{% else %}c{% endif %}"), "a");
    assert_eq!(render("{% for i in range(3) %}{{ loop.cycle('x', 'y') }}{% endfor %}"), "xyx");
    assert_eq!(render("{% filter upper %}a{{ inputs.test }}{% endfilter %}"), "ASUITE::ALL");
    assert_eq!(render("{% set c %}[{{ inputs.repeat }}]{% endset %}{{ c }}{{ c }}"), "[3][3]");
    assert_eq!(render("{{ 'a\nb' | indent(2) }}"), "a\n  b");
    assert_eq!(render("{{ inputs.test | replace('::', '/') }}"), "suite/all");
    assert_eq!(render("{{ 'a b/c' | urlencode }}"), "a%20b/c");
    let literal = Text::parse("no { template } here\n").unwrap();
    assert!(literal.is_literal());
    assert_eq!(literal.render(&json!({})).unwrap(), "no { template } here\n");
    assert!(!Text::parse("{# c #}").unwrap().is_literal());
}

#[test]
fn a_text_with_an_undefined_name_says_which_and_where() {
    let source = "one {{ inputs.test }}\ntwo {{ inputs.nope }}\n";
    let error = Text::parse(source).unwrap().render(&scope()).unwrap_err();
    let EvalError::Undefined { path, range } = error else { panic!("{error:?}") };
    assert_eq!(path, "inputs.nope");
    assert_eq!(&source[range.unwrap()], "inputs.nope");
}

#[test]
fn unknown_filters_tests_and_functions_are_found_before_anything_runs() {
    let cases = [
        ("x | uper", "uper", SyntaxErrorKind::UnknownFilter("uper".into())),
        ("x is defned", "defned", SyntaxErrorKind::UnknownTest("defned".into())),
        ("ranje(3)", "ranje", SyntaxErrorKind::UnknownFunction("ranje".into())),
        ("debug()", "debug", SyntaxErrorKind::UnknownFunction("debug".into())),
        ("namespace()", "namespace", SyntaxErrorKind::UnknownFunction("namespace".into())),
        ("x.upper()", "x.upper", SyntaxErrorKind::UnknownFunction("upper".into())),
        ("loop.cycle(1)", "loop.cycle", SyntaxErrorKind::UnknownFunction("cycle".into())),
        ("x | map('uper')", "'uper'", SyntaxErrorKind::UnknownFilter("uper".into())),
        ("x | selectattr('a', 'eqq', 1)", "'eqq'", SyntaxErrorKind::UnknownTest("eqq".into())),
    ];
    for (source, place, kind) in cases {
        let error = refused(source);
        assert_eq!(error.kind, kind, "{source}");
        assert_eq!(&source[error.range.clone()], place, "{source}");
    }
}

#[test]
fn every_documented_name_exists() {
    let filters = super::FILTERS.iter().map(|name| format!("inputs.test | {name}"));
    let tests = super::TESTS.iter().map(|name| format!("inputs.test is {name}"));
    for source in filters.chain(tests) {
        if let Err(EvalError::Type { message, .. }) = Expr::parse(&source).unwrap().eval(&scope()) {
            assert!(!message.contains("unknown"), "{source}: {message}");
        }
    }
    for names in [super::FILTERS, super::TESTS, super::FUNCTIONS] {
        assert!(names.is_sorted());
    }
}

#[test]
fn wrong_grammar_is_pointed_at() {
    assert_eq!(refused("a && b").message, "write `and` instead of `&&`");
    assert_eq!(refused("a && b").range, 2..4);
    assert_eq!(refused("a || b").message, "write `or` instead of `||`");
    assert_eq!(refused("a || b").range, 2..4);
    assert_eq!(refused("!a").message, "write `not` instead of `!`");
    for source in ["", "1 +", "a b", "a }} b", "'open", "x |", "(1", "a.", "{{ a }}"] {
        let error = refused(source);
        assert!(
            !error.message.is_empty() && error.message.starts_with(|c: char| !c.is_uppercase()),
            "{error:?}"
        );
        assert!(source.get(error.range.clone()).is_some(), "{error:?}");
    }
    for source in ["{{ a", "{% if a %}", "{% endif %}", "{{ }}", "{% for %}", "{{ 'ä' ö }}"] {
        assert!(source.get(refused_text(source).range).is_some(), "{source}");
    }
}

#[test]
fn parts_of_the_template_language_that_reach_out_do_not_exist() {
    for source in [
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block a %}{% endblock %}",
        "{% macro m() %}{% endmacro %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% do x.y() %}",
        "{% for a in b recursive %}{% endfor %}",
        "{% set a.b = 1 %}",
        "{{ x | map(*y) }}",
    ] {
        let error = refused_text(source);
        assert!(matches!(error.kind, SyntaxErrorKind::Unsupported(_)), "{source}: {error:?}");
    }
}

#[test]
fn template_syntax_is_found_in_plain_strings() {
    assert_eq!(contains_template("echo {{ x }}"), Some(5..7));
    assert_eq!(contains_template("a {% if %}"), Some(2..4));
    assert_eq!(contains_template("ä{# c #}"), Some(2..4));
    assert_eq!(contains_template("${x} { { } {"), None);
    assert_eq!(contains_template("awk '{print}'"), None);
}
