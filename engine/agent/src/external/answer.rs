//! The outputs in the answer of an external agent: its last line, or its last fenced block. One JSON object or none;
//! nothing is guessed.

use serde_json::Value;

/// The object an answer ends with.
pub(super) fn outputs(answer: &str) -> Option<Value> {
    let text = answer.trim_end();
    let last = text.lines().next_back()?;
    object(last).or_else(|| object(fenced(text)?))
}

fn object(text: &str) -> Option<Value> {
    serde_json::from_str(text.trim()).ok().filter(Value::is_object)
}

/// What stands in the block that ends the text.
fn fenced(text: &str) -> Option<&str> {
    let body = text.strip_suffix("```")?;
    let (_, block) = body.rsplit_once("```")?;
    block.split_once('\n').map(|(_, body)| body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::outputs;

    #[test]
    fn only_an_object_at_the_end_counts() {
        let found = Some(json!({ "ok": true }));
        assert_eq!(outputs("done\n{\"ok\": true}\n\n"), found);
        assert_eq!(outputs("done\n```json\n{\n \"ok\": true\n}\n```\n"), found);
        assert_eq!(outputs("{\"ok\": false}\n```\n{\"ok\": true}\n```"), found);
        assert_eq!(outputs("{\"ok\": true}\nnot the end"), None);
        assert_eq!(outputs("[1]"), None);
        assert_eq!(outputs("```json\n{\n\"ok\": true\n}\n"), None, "never closed");
        assert_eq!(outputs(""), None);
        assert_eq!(outputs("{\"ok\": true} {\"ok\": false}"), None);
    }
}
