//! Right blueprints: they compile, together they use the whole format, and some show what they compile to.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use blueprint_core::check::compile;
use blueprint_core::finding::Findings;
use blueprint_core::finding::{Code, Severity};
use blueprint_core::format::{json_schema, read, references};
use blueprint_core::graph::{Action, Edge, NodeIx, Program, Value};
use serde_json::Value as Json;

use super::corpus::{cases, folder, line_of};

/// Codes of warnings that say what this release does not do yet.
const LATER: &[Code] = &[Code::LaterRelease, Code::NotTriggered];

#[test]
fn right_blueprints_have_no_findings_but_what_comes_later() {
    let mut problems = Vec::new();
    let cases = cases("right");
    assert!(cases.len() >= 15, "the corpus shrank to {}", cases.len());
    for case in cases {
        let checked = compile(&case.sources());
        for finding in checked.findings.iter().filter(|finding| !LATER.contains(&finding.code)) {
            let line = finding.span.as_ref().map_or(0, |span| line_of(&case.text, span.start));
            problems.push(format!("{}:{line}: {} {}", case.name, finding.code, finding.message));
        }
        if checked.program.is_none() {
            problems.push(format!("{} does not compile", case.name));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_example_of_the_format_warns_of_everything_that_comes_later() {
    let cases = cases("right");
    let case = cases.iter().find(|case| case.name == "example_of_the_format").unwrap();
    let checked = compile(&case.sources());
    let count = |code| checked.findings.iter().filter(|finding| finding.code == code).count();
    assert!(checked.findings.iter().all(|finding| finding.severity == Severity::Warning));
    assert_eq!(count(Code::LaterRelease), 3, "pr, ci and merge");
    assert_eq!(count(Code::NotTriggered), 2);
    assert_eq!(checked.findings.len(), 5);
}

#[test]
fn every_file_that_is_named_is_a_reference() {
    let cases = cases("right");
    let case = cases.iter().find(|case| case.name == "example_of_the_format").unwrap();
    let mut findings = Findings::default();
    let document = read(&"blueprint.toml".into(), &case.text, &mut findings).document.unwrap();
    let named: Vec<String> =
        references("blueprint.toml", &document).into_iter().flat_map(|file| file.candidates).collect();
    assert_eq!(named, ["prompts/fix.md", "prompts/pr.md"]);
}

#[test]
fn together_they_use_every_key_of_the_format() {
    let schema = json_schema();
    let mut used = BTreeSet::new();
    for case in cases("right") {
        let table: toml::Table = case.text.trim_start_matches('\u{feff}').parse().unwrap();
        let value = serde_json::to_value(table).unwrap();
        keys(&schema, &schema, &value, "", &mut used);
    }
    let mut all = BTreeSet::new();
    known(&schema, &schema, "", &mut all, 0);
    let missing: Vec<&String> = all.difference(&used).collect();
    assert!(missing.is_empty(), "no right blueprint uses {missing:#?}");
    assert!(all.len() > 90, "the schema has only {} keys", all.len());
}

fn resolve<'s>(root: &'s Json, schema: &'s Json) -> &'s Json {
    match schema.get("$ref").and_then(Json::as_str) {
        Some(name) => resolve(root, root.pointer(name.trim_start_matches('#')).unwrap()),
        None => schema,
    }
}

/// A schema and the alternatives it is made of.
fn alternatives<'s>(root: &'s Json, schema: &'s Json) -> Vec<&'s Json> {
    let schema = resolve(root, schema);
    let inner =
        ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    std::iter::once(schema).chain(inner.flat_map(|other| alternatives(root, other))).collect()
}

fn keys(root: &Json, schema: &Json, value: &Json, path: &str, used: &mut BTreeSet<String>) {
    for schema in alternatives(root, schema) {
        match value {
            Json::Object(table) => {
                for (key, inner) in table {
                    if let Some(property) = schema.pointer(&format!("/properties/{key}")) {
                        let path = format!("{path}.{key}");
                        keys(root, property, inner, &path, used);
                        used.insert(path);
                    } else if let Some(property) =
                        schema.get("additionalProperties").filter(|other| other.is_object())
                    {
                        keys(root, property, inner, &format!("{path}.*"), used);
                    }
                }
            }
            Json::Array(items) => {
                for item in items {
                    keys(root, schema.get("items").unwrap_or(&Json::Null), item, path, used);
                }
            }
            _ => {}
        }
    }
}

fn known(root: &Json, schema: &Json, path: &str, all: &mut BTreeSet<String>, depth: usize) {
    assert!(depth < 20, "the schema has a circle at {path}");
    for schema in alternatives(root, schema) {
        for (key, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let path = format!("{path}.{key}");
            known(root, property, &path, all, depth + 1);
            all.insert(path);
        }
        if let Some(inner) = schema.get("additionalProperties").filter(|other| other.is_object()) {
            known(root, inner, &format!("{path}.*"), all, depth + 1);
        }
        if let Some(inner) = schema.get("items") {
            known(root, inner, path, all, depth + 1);
        }
    }
}

#[test]
fn some_show_what_they_compile_to() {
    let shown = [
        "example_of_the_format",
        "joins_and_missing_outputs",
        "each_over_lists",
        "used_blueprints_and_returns",
        "repairs_inside_each_other",
    ];
    for case in cases("right").into_iter().filter(|case| shown.contains(&case.name.as_str())) {
        let program = compile(&case.sources()).program.unwrap();
        insta::with_settings!({
            snapshot_path => folder("right"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(case.name, outline(&program));
        });
    }
}

fn outline(program: &Program) -> String {
    let mut text = format!("program {} wall {:?}\n", program.name, program.wall);
    for (number, graph) in program.graphs.iter().enumerate() {
        let name = |ix: NodeIx| graph.node(ix).name.to_string();
        let names = |ixs: &[NodeIx]| ixs.iter().map(|ix| name(*ix)).collect::<Vec<_>>().join(" ");
        writeln!(text, "\ngraph {number} {} {:?} of {}", graph.name, graph.kind, graph.file).unwrap();
        for input in &graph.inputs {
            let default = input.default.as_ref().map_or("required".to_owned(), ToString::to_string);
            writeln!(text, "  input {} {:?} {default}", input.name, input.ty).unwrap();
        }
        for (at, node) in graph.nodes.iter().enumerate() {
            let ix = NodeIx(at as u32);
            let mut order: Vec<String> = graph
                .before(ix)
                .filter(|(_, edge)| *edge == Edge::Order)
                .map(|(other, _)| name(other))
                .collect();
            order.sort();
            write!(text, "  {} {} {} {}", node.name, node.action.kind(), node.workspace, node.tier).unwrap();
            write!(text, " height {} join {}", graph.heights[at], node.join).unwrap();
            if !node.needs.is_empty() {
                write!(text, " needs [{}]", names(&node.needs)).unwrap();
            }
            if !order.is_empty() {
                write!(text, " waits for [{}]", order.join(" ")).unwrap();
            }
            if let Some(region) = node.repair {
                write!(text, " closes region {}", region.0).unwrap();
            }
            for output in &node.outputs {
                write!(text, " -> {}: {}", output.name, output.ty).unwrap();
            }
            if let Action::Use(uses) = &node.action {
                let with: Vec<&str> = uses.with.iter().map(|(name, _)| &**name).collect();
                write!(text, " graph {} with [{}]", uses.graph.0, with.join(" ")).unwrap();
                if let Some(each) = &uses.each {
                    write!(text, " each {} at most {}", each.list.source(), each.max_parallel).unwrap();
                }
            }
            text.push('\n');
        }
        for (at, region) in graph.regions.iter().enumerate() {
            let inner: Vec<u32> = region.inner.iter().map(|inner| inner.0).collect();
            writeln!(
                text,
                "  region {at} from {} to {} rounds {} members [{}] inner {inner:?}",
                name(region.from),
                name(region.closer),
                region.rounds,
                names(&region.members)
            )
            .unwrap();
        }
        for (name, value, _) in &graph.returns {
            match value {
                Value::Literal(value) => writeln!(text, "  returns {name} {value}").unwrap(),
                Value::Expr(expr) => writeln!(text, "  returns {name} from {}", expr.source()).unwrap(),
            }
        }
    }
    text
}
