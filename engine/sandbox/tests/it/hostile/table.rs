//! The table of the documentation that says what every backend contains: held against what was just measured.
//! With `BLUEPRINT_UPDATE_TABLE` in the environment it is written instead, one backend at a time.

use std::{fs, path::PathBuf};

use blueprint_sandbox::Backend;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// The columns, in the order of the page.
const COLUMNS: [Backend; 5] =
    [Backend::Process, Backend::Bubblewrap, Backend::Container, Backend::Gvisor, Backend::Microvm];

fn page() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sandboxes.md"))
}

/// Fails if the page says anything else about this backend than what was found.
pub(super) fn compare(backend: Backend, found: &[(&str, String)]) {
    let column = COLUMNS.iter().position(|known| *known == backend).unwrap();
    let text = fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let said = |name: &str| -> Vec<String> {
        let row = table.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let cells =
            row.map(|row| row.split('|').skip(2).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
        let mut cells = cells.unwrap_or_default();
        cells.resize(COLUMNS.len(), "not measured".to_owned());
        cells
    };
    if std::env::var_os("BLUEPRINT_UPDATE_TABLE").is_some() {
        let names: Vec<&str> = COLUMNS.iter().map(|backend| backend.name()).collect();
        let mut lines = vec![
            format!("| attempt | {} |", names.join(" | ")),
            format!("|---|{}", "---|".repeat(names.len())),
        ];
        for (name, verdict) in found {
            let mut cells = said(name);
            cells[column].clone_from(verdict);
            lines.push(format!("| {name} | {} |", cells.join(" | ")));
        }
        fs::write(page(), format!("{before}{BEGIN}\n{}\n{END}{after}", lines.join("\n"))).unwrap();
        return;
    }
    let wrong: Vec<String> = found
        .iter()
        .filter(|(name, verdict)| said(name)[column] != *verdict)
        .map(|(name, verdict)| format!("{name}: measured {verdict}, the page says {}", said(name)[column]))
        .collect();
    assert!(wrong.is_empty(), "{} in docs/sandboxes.md:\n{}", backend.name(), wrong.join("\n"));
}
