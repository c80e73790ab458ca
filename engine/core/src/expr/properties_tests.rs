//! Properties that hold for every source and every value.

use std::collections::BTreeSet;

use minijinja::Environment;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{Expr, Text};

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_filter("JSON has no such number", |f| f.is_finite()).prop_map(Json::from),
        ".*".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((".*", inner), 0..6)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

/// Text made of pieces of the language, so that much of it parses.
fn language_soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            "{%-",
            "-}}",
            " ",
            "\n",
            "\r\n",
            "if",
            "elif",
            "else",
            "endif",
            "for",
            "in",
            "endfor",
            "set",
            "endset",
            "with",
            "endwith",
            "raw",
            "endraw",
            "filter",
            "endfilter",
            "loop",
            "self",
            "a",
            "b.c",
            "inputs.x",
            "1",
            "2.5",
            "1e9",
            "0x",
            "'s'",
            "\"",
            "'",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ":",
            ",",
            "|",
            "upper",
            "default",
            "is",
            "defined",
            "not",
            "and",
            "or",
            "~",
            "+",
            "-",
            "*",
            "**",
            "/",
            "//",
            "%",
            "==",
            "!=",
            "<",
            "=",
            ".",
            "range",
            "dict",
            "true",
            "none",
            "ä",
            "\u{1f600}",
            "\\",
            "\0",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.join(" ").replace("  ", ""))
}

fn exercise(source: &str) {
    let scope = json!({ "a": [1, "x", null], "b": { "c": 2 }, "inputs": { "x": "text" } });
    match Expr::parse(source) {
        Ok(expr) => {
            for found in expr.references() {
                assert!(source.get(found.range.clone()).is_some(), "{source:?} {found:?}");
            }
            let _outcome = expr.eval(&scope);
        }
        Err(error) => assert!(source.get(error.range.clone()).is_some(), "{source:?} {error:?}"),
    }
    match Text::parse(source) {
        Ok(text) => {
            for found in text.references() {
                let written = source.get(found.range.clone()).expect("on a boundary");
                assert!(written.starts_with(found.path[0].as_str()), "{source:?} {found:?}");
            }
            let _outcome = text.render(&scope);
        }
        Err(error) => assert!(source.get(error.range.clone()).is_some(), "{source:?} {error:?}"),
    }
}

/// Expressions over the names `p0`..`p3` with one or two attributes.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0..4u8, 0..3u8)
            .prop_map(|(name, attrs)| format!("p{name}{}", [".q", ".r"][..attrs.min(2) as usize].concat())),
        Just("'s'".to_owned()),
        Just("7".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(vec!["+", "~", "==", "and", "or", "<", "in"]),
                inner.clone()
            )
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("(not {a})")),
            inner.clone().prop_map(|a| format!("({a} | default(1))")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} | replace({b}, 'x'))")),
            inner.clone().prop_map(|a| format!("({a} is defined)")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} if {b} else {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{{'k': {a}, 'l': {b}}}")),
        ]
    })
}

/// Statements around [`expression`]s that also assign `v0`..`v2` and use them.
fn template() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        expression().prop_map(|e| format!("{{{{ {e} }}}}")),
        (0..3u8).prop_map(|v| format!("{{{{ v{v}.w }}}}")),
        (0..3u8, expression()).prop_map(|(v, e)| format!("{{% set v{v} = {e} %}}")),
        Just("plain ü\n".to_owned()),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a + &b),
            (0..3u8, expression(), inner.clone(), inner.clone()).prop_map(|(v, e, a, b)| format!(
                "{{% for v{v} in {e} %}}{a}{{{{ loop.index }}}}{{% else %}}{b}{{% endfor %}}"
            )),
            (0..3u8, expression(), inner.clone())
                .prop_map(|(v, e, a)| format!("{{% with v{v} = {e} %}}{a}{{% endwith %}}")),
            (expression(), inner.clone()).prop_map(|(e, a)| format!("{{% if {e} %}}{a}{{% endif %}}")),
        ]
    })
}

fn root_names<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    paths.map(|path| path.split('.').next().unwrap_or_default().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(source in ".{0,200}") {
        exercise(&source);
    }

    #[test]
    fn pieces_of_the_language_in_any_order_never_panic(source in language_soup()) {
        exercise(&source);
        exercise(&format!("{{{{ {source} }}}}"));
    }

    #[test]
    fn every_value_passes_through_unchanged(value in any_json()) {
        let scope = json!({ "x": value, "other": 1 });
        prop_assert_eq!(Expr::parse("x").unwrap().eval(&scope).unwrap(), value.clone());
        prop_assert_eq!(Expr::parse("[x]").unwrap().eval(&scope).unwrap(), json!([value.clone()]));
        let written = Text::parse("{{ x | tojson }}").unwrap().render(&scope).unwrap();
        prop_assert_eq!(written, value.to_string());
    }

    #[test]
    fn the_references_of_an_expression_are_its_undeclared_names(source in expression()) {
        let Ok(parsed) = Expr::parse(&source) else { return Ok(()) };
        let environment = Environment::new();
        let compiled = environment.compile_expression(&source).unwrap();
        let expected: BTreeSet<String> = compiled.undeclared_variables(true).into_iter().collect();
        let found: BTreeSet<String> = parsed.references().iter().map(|found| found.path.join(".")).collect();
        prop_assert_eq!(&found, &expected);
        for reference in parsed.references() {
            prop_assert_eq!(&source[reference.range.clone()], reference.dotted());
        }
    }

    #[test]
    fn the_references_of_a_template_are_its_undeclared_names(source in template()) {
        let Ok(parsed) = Text::parse(&source) else { return Ok(()) };
        let environment = Environment::new();
        let compiled = environment.template_from_str(&source).unwrap();
        let undeclared = compiled.undeclared_variables(true);
        let expected = root_names(undeclared.iter().map(String::as_str).filter(|name| name.starts_with('p')));
        let dotted: Vec<String> = parsed.references().iter().map(super::Reference::dotted).collect();
        let found = root_names(dotted.iter().map(String::as_str).filter(|name| name.starts_with('p')));
        prop_assert_eq!(found, expected);
        // The library gives every branch a scope; at run time a branch has none, so we may report fewer.
        for name in dotted.iter().filter(|name| name.starts_with('v')) {
            prop_assert!(undeclared.iter().any(|known| known.split('.').next() == name.split('.').next()), "{}", name);
        }
        for reference in parsed.references() {
            prop_assert_eq!(&source[reference.range.clone()], reference.dotted());
        }
    }

    #[test]
    fn an_expression_and_its_text_agree(source in expression()) {
        let scope = json!({ "p0": "a", "p1": { "q": 3, "r": 4 }, "p2": [1], "p3": { "q": { "r": "deep" } } });
        let (Ok(value), Ok(text)) = (Expr::parse(&source), Text::parse(&format!("{{{{ ({source}) | tojson }}}}"))) else { return Ok(()) };
        if let (Ok(value), Ok(text)) = (value.eval(&scope), text.render(&scope)) {
            prop_assert_eq!(value.to_string(), text);
        }
    }
}
