//! `doctor`: what this machine can do, found by trying it; and the choice of isolation for runs, which rests on
//! the same trial and is remembered until the machine or the program changes.

use std::os::unix::fs::MetadataExt as _;

use blueprint_sandbox::{Backend, ProbeReport, Verdict, probe};
use serde_json::{Value, json};

use crate::args::Format;
use crate::config::Sandbox;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::terminal;

const MEMORY: &str = "sandbox.json";

/// The isolation for the runs of this project. Refuses if there is none that holds.
pub(crate) async fn backend(context: &Context) -> Result<Backend, CliError> {
    choose(context, true).await
}

/// The same for tests, which leave nothing in the state folder of the project: what is found out is not remembered.
pub(crate) async fn backend_of_a_test(context: &Context) -> Result<Backend, CliError> {
    choose(context, false).await
}

async fn choose(context: &Context, remember: bool) -> Result<Backend, CliError> {
    let candidates: &[Backend] = match context.wanted() {
        Sandbox::Auto => &[Backend::Process, Backend::Bubblewrap],
        Sandbox::Process => &[Backend::Process],
        Sandbox::Bubblewrap => &[Backend::Bubblewrap],
        Sandbox::None => {
            terminal::error_line(
                "warning: `--sandbox none`: commands run without any isolation; the run records it",
            );
            return Ok(Backend::None);
        }
    };
    let key = identity();
    let path = context.state_dir().join(MEMORY);
    let remembered: Value =
        std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let known = |backend: Backend| remembered["key"] == key && remembered["works"][backend.name()] == true;
    if let Some(backend) = candidates.iter().copied().find(|backend| known(*backend)) {
        return Ok(backend);
    }
    let mut failures = Vec::new();
    for backend in candidates {
        let report = probe(*backend).await;
        if works(&report) {
            let mut works = if remembered["key"] == key { remembered["works"].clone() } else { json!({}) };
            works[backend.name()] = json!(true);
            // Only a memory: without it, the next run tries again.
            if remember {
                drop(private_folder(&context.state_dir()));
                drop(std::fs::write(&path, json!({ "key": key, "works": works }).to_string()));
            }
            return Ok(*backend);
        }
        failures.push(report);
    }
    let mut error = CliError::environment("this machine cannot isolate commands, so nothing was started");
    for report in &failures {
        error = error.hint(format!("{}: {}", report.backend.name(), terminal::clean(&described(report))));
    }
    Err(error.hint("`blueprint doctor` says more; `--sandbox none` runs without isolation, at your own risk"))
}

/// Runs hold what nodes wrote, so their folder is its owner's alone from the start.
fn private_folder(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What a trial depends on: the boot, and this very program.
fn identity() -> Value {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let program =
        std::fs::metadata("/proc/self/exe").map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec())).ok();
    json!({ "boot": boot.trim(), "program": program, "uid": rustix::process::getuid().as_raw() })
}

fn described(report: &ProbeReport) -> String {
    match &report.verdict {
        Verdict::Works(attestation) => {
            format!("works (kernel {}, uid {})", attestation.kernel, attestation.host_uid)
        }
        Verdict::Broken { reason } => format!("does not work here: {reason}"),
    }
}

fn works(report: &ProbeReport) -> bool {
    matches!(report.verdict, Verdict::Works(_))
}

pub(crate) async fn doctor(context: &Context) -> Result<Exit, CliError> {
    let mut reports = Vec::new();
    for backend in [Backend::Process, Backend::Bubblewrap] {
        reports.push(probe(backend).await);
    }
    let git = std::process::Command::new("git").arg("--version").output();
    let git =
        git.ok().filter(|output| output.status.success()).map(|output| terminal::clean_bytes(&output.stdout));
    let store = context.store().await;
    let usable = reports.iter().any(works);
    if context.format == Format::Json {
        let sandboxes: Vec<Value> = reports
            .iter()
            .map(|report| json!({ "backend": report.backend.name(), "works": works(report), "report": described(report) }))
            .collect();
        let state = match &store {
            Ok(_) => json!("usable"),
            Err(error) => json!(format!("{error:?}")),
        };
        terminal::line(
            &json!({ "sandboxes": sandboxes, "git": git, "state": state, "project": context.project })
                .to_string(),
        );
    } else {
        terminal::line(&format!("project    {}", context.project.display()));
        terminal::line(&format!(
            "state      {} ({})",
            context.state_dir().display(),
            if store.is_ok() { "usable" } else { "not usable" }
        ));
        terminal::line(&format!(
            "git        {}",
            git.as_deref().map_or("not found; install git 2.40 or newer", str::trim)
        ));
        for report in &reports {
            terminal::line(&format!("{:10} {}", report.backend.name(), terminal::clean(&described(report))));
        }
    }
    let store = store?;
    drop(store.close().await);
    Ok(if usable && git.is_some() { Exit::Succeeded } else { Exit::Environment })
}
