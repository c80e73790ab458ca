//! No source and no value may exhaust the stack, the memory or the patience of the caller.

use serde_json::{Value as Json, json};

use super::limits;
use super::{EvalError, Expr, SyntaxErrorKind, Text};

/// Runs `body` on the smallest stack the product promises to work with.
fn on_a_small_stack(body: impl FnOnce() + Send + 'static) {
    on_a_stack_of(2 * 1024 * 1024, body);
}

fn on_a_stack_of(bytes: usize, body: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(bytes).spawn(body).unwrap().join().unwrap();
}

fn rendering(source: &str) -> Result<String, EvalError> {
    Text::parse(source)
        .unwrap_or_else(|e| panic!("{e:?}"))
        .render(&json!({ "x": "x".repeat(1000), "l": [1, 2, 3], "n": 100_000_000 }))
}

#[test]
fn two_thousand_terms_are_refused_before_anything_recurses() {
    on_a_small_stack(|| {
        for (unit, times) in [
            ("1+", 2000),
            ("(", 2000),
            ("[", 2000),
            ("not ", 2000),
            ("-", 2000),
            ("x.y|upper|", 2000),
            ("a.", 2000),
            ("a if b else ", 2000),
            ("{1:", 2000),
            ("f(", 2000),
            ("x[", 2000),
            ("-", 500),
            ("(", 500),
            ("not ", 256),
        ] {
            let source = unit.repeat(times) + "1";
            assert_eq!(Expr::parse(&source).unwrap_err().kind, SyntaxErrorKind::TooLarge, "{unit}");
            let source = format!("{{{{ {source} }}}}");
            assert_eq!(Text::parse(&source).unwrap_err().kind, SyntaxErrorKind::TooLarge, "{unit}");
        }
    });
}

#[test]
fn the_largest_accepted_shapes_fit_half_of_a_small_stack() {
    const BRACKETS: usize = limits::BRACKETS;
    const TOKENS: usize = limits::TOKENS - 2;
    let brackets = |open: &str, close: &str| format!("{}a{}", open.repeat(BRACKETS), close.repeat(BRACKETS));
    let all_levels = "(a or b and not a == a ~ a * -";
    let rest = TOKENS - BRACKETS * 15;
    let shapes = [
        format!("a{}", "+a".repeat(TOKENS / 2)),
        format!("{}a", "-".repeat(TOKENS)),
        format!("{}b", "not ".repeat(TOKENS)),
        format!("a{}", " if b else a".repeat(TOKENS / 4)),
        format!("a{}", " if b".repeat(TOKENS / 2)),
        format!("a{}", "|abs".repeat(TOKENS / 2)),
        format!("a{}", "==a".repeat(TOKENS / 2)),
        format!("a{}", "[0]".repeat(TOKENS / 3)),
        format!("a{}", ".a".repeat(TOKENS / 2)),
        format!("b{}", " and b".repeat(TOKENS / 2)),
        brackets("(", ")"),
        brackets("[", "]"),
        brackets("{'k':", "}"),
        brackets("range(", ")"),
        brackets("a[", "]"),
        brackets("a|map(", ")"),
        brackets("(not -", ")"),
        format!("{}{}a{}", all_levels.repeat(BRACKETS), "-".repeat(rest), ")".repeat(BRACKETS)),
    ];
    on_a_stack_of(1024 * 1024, move || {
        let scope = json!({ "a": 1, "b": true });
        for shape in &shapes {
            if shape.len() <= limits::EXPR_BYTES {
                let parsed = Expr::parse(shape).unwrap_or_else(|e| panic!("{shape}: {e:?}"));
                let _outcome = parsed.eval(&scope);
            }
            let blocks = limits::BLOCKS;
            let nested = format!(
                "{}{{{{ {shape} }}}}{}",
                "{% for x in [a] %}".repeat(blocks),
                "{% endfor %}".repeat(blocks)
            );
            let parsed = Text::parse(&nested).unwrap_or_else(|e| panic!("{shape}: {e:?}"));
            let _outcome = parsed.render(&scope);
        }
        let branches = format!(
            "{{% if not b %}}{}{{% endif %}}",
            "{% elif not b %}".repeat(limits::BRANCHES - 1) + "{% elif b %}"
        );
        let nested = (0..limits::BLOCKS).fold("x".to_owned(), |inner, _| {
            branches.replace("{% endif %}", &format!("{inner}{{% endif %}}"))
        });
        assert_eq!(Text::parse(&nested).unwrap().render(&scope).unwrap(), "x");
    });
}

#[test]
fn blocks_and_branches_are_bounded() {
    for source in [
        "{% if a %}".repeat(limits::BLOCKS + 1) + &"{% endif %}".repeat(limits::BLOCKS + 1),
        "{% set a %}".repeat(limits::BLOCKS + 1) + &"{% endset %}".repeat(limits::BLOCKS + 1),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(limits::BRANCHES + 1)),
        "{{ x }}".repeat(40_000),
    ] {
        assert_eq!(Text::parse(&source).unwrap_err().kind, SyntaxErrorKind::TooLarge);
    }
    Text::parse(&"{% set a = 1 %}{% if a %}{{ a }}{% endif %}".repeat(5000)).unwrap();
}

#[test]
fn loops_run_out_of_fuel() {
    let loops = "{% for a in range(9999) %}".repeat(3) + "." + &"{% endfor %}".repeat(3);
    assert_eq!(rendering(&loops), Err(EvalError::OutOfFuel));
}

#[test]
fn output_is_bounded_also_when_it_is_captured() {
    for source in [
        "{% for a in range(9999) %}{{ x }}{% endfor %}",
        &format!("{{% for a in range(9999) %}}{}{{% endfor %}}", "y".repeat(1000)),
        &format!("{{% set c %}}{{% for a in range(9999) %}}{}{{% endfor %}}{{% endset %}}", "y".repeat(1000)),
        "{% for a in range(9999) %}{{ [x] }}{% endfor %}",
    ] {
        assert_eq!(rendering(source), Err(EvalError::OutputTooLarge { limit: 1024 * 1024 }), "{source}");
    }
}

#[test]
fn values_cannot_be_grown_by_doubling() {
    let doubling = |step: &str| format!("{{% set a = [1, 'x'] %}}{{% set s = x %}}{}", step.repeat(200));
    for step in [
        "{% set s = s ~ s %}",
        "{% set s = s + s %}",
        "{% set a = a + a %}",
        "{% set a = [a, a] %}",
        "{% set a = (a, a) %}",
        "{% set a = {'l': a, 'r': a} %}",
        "{% set a = dict(l=a, r=a) %}",
        "{% set s = s | replace('x', 'xx') %}",
        "{% set s = s | replace('', s) %}",
        "{% set s = [s, s] | join(s) %}",
        "{% set s = range(9999) | join(s) %}",
        "{% set s = (s ~ '\\n\\n') | indent(64, true, true) ~ s %}",
        "{% set s = [s, s] | tojson %}",
        "{% set s = ('%' ~ s) | urlencode ~ s %}",
        "{% set s = [s, s] | string %}",
    ] {
        assert_eq!(
            rendering(&doubling(step)),
            Err(EvalError::TooMuchWork { limit: 8 * 1024 * 1024 }),
            "{step}"
        );
    }
    let nesting = rendering(&doubling("{% set a = [a] %}")).unwrap_err();
    assert!(matches!(&nesting, EvalError::Value { message } if message.contains("nested")), "{nesting:?}");
}

#[test]
fn text_is_never_multiplied() {
    for source in [
        "{{ 'x' * 100000000 }}",
        "{{ (1 or 'x') * n }}",
        "{{ ('x' + 'y') * 9 }}",
        "{{ [1] * 9 }}",
        "{{ 9 * ('x' ~ 1) }}",
    ] {
        assert!(matches!(Text::parse(source).unwrap_err().kind, SyntaxErrorKind::Unsupported(_)), "{source}");
    }
    assert!(matches!(rendering("{{ x * n }}"), Err(EvalError::Type { .. })));
    assert!(matches!(rendering("{{ l * n }}"), Err(EvalError::Type { .. })));
    assert!(matches!(rendering("{{ 'x' | indent(n) }}"), Err(EvalError::Type { .. })));
    assert!(matches!(rendering("{{ 'x' | indent(width=n) }}"), Err(EvalError::Type { .. })));
    assert!(matches!(rendering("{{ l | tojson(indent=n) }}"), Err(EvalError::Type { .. })));
}

#[test]
fn deep_values_are_refused_on_the_way_in() {
    on_a_small_stack(|| {
        let deep = (0..129).fold(json!(1), |inner, _| Json::Array(vec![inner]));
        let expr = Expr::parse("x").unwrap();
        assert!(matches!(expr.eval(&json!({ "x": deep })), Err(EvalError::Value { .. })));
        let fits = (0..120).fold(json!(1), |inner, _| Json::Array(vec![inner]));
        assert_eq!(expr.eval(&json!({ "x": fits })).unwrap(), fits);
        assert_eq!(
            Text::parse("{{ x | tojson }}").unwrap().render(&json!({ "x": fits })).unwrap(),
            fits.to_string()
        );
    });
}

#[test]
fn a_scope_is_only_read_where_the_source_looks() {
    let deep = (0..500).fold(json!(1), |inner, _| Json::Array(vec![inner]));
    let scope = json!({ "nodes": { "a": { "out": 1 }, "b": deep }, "inputs": { "x": 2 } });
    assert_eq!(Expr::parse("nodes.a.out + inputs.x").unwrap().eval(&scope), Ok(json!(3)));
    assert!(Expr::parse("x").unwrap().eval(&json!([1])).is_err());
}
