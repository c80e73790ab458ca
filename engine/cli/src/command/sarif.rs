//! Findings as SARIF 2.1.0, the format that code hosts and editors show beside the lines. Words nothing itself.

use std::collections::BTreeSet;

use blueprint_core::finding::{Code, Finding, Findings, Severity};
use blueprint_core::source::{SourceSet, Span, line_column};
use serde_json::{Value, json};

/// The log of one check.
pub(super) fn of(findings: &Findings, sources: &SourceSet) -> Value {
    let codes: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| {
            json!({ "id": code, "name": code.title(), "shortDescription": { "text": code.title() },
                "fullDescription": { "text": code.explanation() },
                "defaultConfiguration": { "level": level(code.severity()) } })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, sources)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "blueprint", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn result(finding: &Finding, sources: &SourceSet) -> Value {
    let parts = [Some(finding.message.as_str()), finding.reason.as_deref(), finding.fix.as_deref()];
    let text: Vec<&str> = parts.into_iter().flatten().collect();
    let mut result = json!({ "ruleId": finding.code, "level": level(finding.severity),
        "message": { "text": text.join("\n") } });
    if let Some(place) = finding.span.as_ref().and_then(|span| place(span, sources)) {
        result["locations"] = json!([place]);
    }
    let notes: Vec<Value> = finding
        .notes
        .iter()
        .filter_map(|note| {
            let mut place = place(&note.span, sources)?;
            place["message"] = json!({ "text": note.text });
            Some(place)
        })
        .collect();
    if !notes.is_empty() {
        result["relatedLocations"] = json!(notes);
    }
    result
}

fn place(span: &Span, sources: &SourceSet) -> Option<Value> {
    let text = sources.get(&span.file)?;
    let (line, column) = line_column(text, span.start);
    let (end_line, end_column) = line_column(text, span.end);
    Some(json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&span.file) },
        "region": { "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column } } }))
}

/// A path as a relative URI.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
