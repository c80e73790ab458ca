//! `config show`: every setting, its value, and who set it.

use serde_json::json;

use crate::args::Format;
use crate::context::Context;
use crate::error::Exit;
use crate::terminal;

pub(crate) fn show(context: &Context) -> Exit {
    let rows = context.settings.explain();
    if context.format == Format::Json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, value, origin)| json!({ "key": key, "value": value, "from": origin.to_string() }))
            .collect();
        terminal::line(&serde_json::Value::from(rows).to_string());
        return Exit::Succeeded;
    }
    let width = rows.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    let values = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0).min(48);
    for (key, value, origin) in rows {
        terminal::line(&format!("{key:width$}  {value:values$}  {origin}"));
    }
    Exit::Succeeded
}
