//! `config show`: every setting, its value, and who set it.

use serde_json::json;

use crate::args::Format;
use crate::context::Context;
use crate::error::Exit;
use crate::terminal;

pub(crate) fn show(context: &Context) -> Exit {
    let mut rows = context.settings.explain();
    // Which socket is the usual one depends on this machine, which the settings do not look at.
    if let Some((_, host, _)) =
        rows.iter_mut().find(|(key, host, _)| *key == "docker.host" && host.is_empty())
    {
        *host = terminal::clean(&context.docker().host);
    }
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
