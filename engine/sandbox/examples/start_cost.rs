//! Measures what starting, running `/bin/true` and stopping costs on each backend, beside a bare child process and
//! a bare bubblewrap. All take turns in every round. Prints the least and the median of the rounds, and the medians of
//! the ratios to bubblewrap in the same round; it judges nothing.

use std::{
    collections::BTreeMap,
    future,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use blueprint_sandbox::{Backend, Exec, Sandbox, Spec, WorkspaceMode, WorkspaceMount, launcher_main};
use tokio::sync::mpsc;

const ROUNDS: usize = 100;
const BARE: &str = "1 bare bwrap --unshare-all";

type Times = BTreeMap<String, Vec<Duration>>;

fn main() -> ExitCode {
    if let Some(code) = launcher_main(std::env::args_os()) {
        return code;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let mut times = Times::new();
    for round in 0..=ROUNDS {
        if round == 1 {
            // The first round warms up.
            times.clear();
        }
        bare(&mut times);
        for backend in Backend::ALL.into_iter().filter(|backend| !backend.is_container()) {
            if let Err(error) = runtime.block_on(measure(backend, &mut times)) {
                times.entry(format!("{}: {error}", backend.name())).or_default().push(Duration::ZERO);
            }
        }
    }
    show(&times);
    ExitCode::SUCCESS
}

fn bare(times: &mut Times) {
    let minimal = ["--unshare-all", "--ro-bind", "/", "/", "/bin/true"];
    for (name, program, args) in
        [("0 bare child", "/bin/true", &[][..]), (BARE, "/usr/bin/bwrap", &minimal[..])]
    {
        let started = Instant::now();
        if Command::new(program).args(args).status().is_ok_and(|status| status.success()) {
            times.entry(name.to_owned()).or_default().push(started.elapsed());
        }
    }
}

async fn measure(backend: Backend, times: &mut Times) -> Result<(), Box<dyn std::error::Error>> {
    let here = std::env::temp_dir();
    let workspace = WorkspaceMount { host: here, inside: "/work".into(), mode: WorkspaceMode::ReadWrite };
    let spec = Spec { workspace: Some(workspace), ..Spec::default() };
    let (sender, _receiver) = mpsc::channel(4);
    let command = Exec::new(["/bin/true"], "/work", Path::new("/tmp"));
    let begun = Instant::now();
    let mut sandbox = Sandbox::start(backend, &spec).await?;
    let ready = Instant::now();
    sandbox.exec(command, &sender, future::pending()).await?;
    let ended = Instant::now();
    sandbox.stop().await;
    for (part, time) in [
        ("start+exec+stop", begun.elapsed()),
        ("start", ready - begun),
        ("exec", ended - ready),
        ("stop", ended.elapsed()),
    ] {
        times.entry(format!("{} {part}", backend.name())).or_default().push(time);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "printing is all this program is for")]
fn show(times: &Times) {
    let none = Vec::new();
    let bare = times.get(BARE).unwrap_or(&none);
    for (name, taken) in times {
        let mut ratios: Vec<f64> =
            taken.iter().zip(bare).map(|(time, bare)| time.as_secs_f64() / bare.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let mut sorted = taken.clone();
        sorted.sort();
        println!(
            "{name:28} least {:>9.3?}  median {:>9.3?}  to bwrap {:>5.2}  n={}",
            sorted.first().copied().unwrap_or_default(),
            sorted.get(sorted.len() / 2).copied().unwrap_or_default(),
            ratios.get(ratios.len() / 2).copied().unwrap_or_default(),
            taken.len()
        );
    }
}
