//! Measures what starting, running `/bin/true` and stopping costs on each backend, beside a bare child process.
//! Prints medians and 90th percentiles; it judges nothing.

use std::{
    future,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use blueprint_sandbox::{Backend, Exec, Sandbox, Spec, WorkspaceMode, WorkspaceMount, launcher_main};
use tokio::sync::mpsc;

const ROUNDS: usize = 60;

fn main() -> ExitCode {
    if let Some(code) = launcher_main(std::env::args_os()) {
        return code;
    }
    bare();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    for backend in Backend::ALL {
        runtime.block_on(measure(backend));
    }
    ExitCode::SUCCESS
}

fn bare() {
    let minimal = ["--unshare-all", "--ro-bind", "/", "/", "/bin/true"];
    for (name, program, args) in
        [("bare child", "/bin/true", &[][..]), ("bare bwrap --unshare-all", "/usr/bin/bwrap", &minimal[..])]
    {
        let times = (0..ROUNDS).filter_map(|_| {
            let started = Instant::now();
            Command::new(program).args(args).status().ok()?;
            Some(started.elapsed())
        });
        show(name, times.collect());
    }
}

async fn measure(backend: Backend) {
    let here = std::env::temp_dir();
    let workspace = WorkspaceMount { host: here, inside: "/work".into(), mode: WorkspaceMode::ReadWrite };
    let spec = Spec { workspace: Some(workspace), ..Spec::default() };
    let (mut whole, mut start, mut exec) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (sender, _receiver) = mpsc::channel(4);
        let command = Exec::new(["/bin/true"], "/work", Path::new("/tmp"));
        let begun = Instant::now();
        let mut sandbox = match Sandbox::start(backend, &spec).await {
            Ok(sandbox) => sandbox,
            Err(error) => return show(&format!("{}: {error}", backend.name()), Vec::new()),
        };
        start.push(begun.elapsed());
        let running = Instant::now();
        if let Err(error) = sandbox.exec(command, &sender, future::pending()).await {
            return show(&format!("{}: {error}", backend.name()), Vec::new());
        }
        exec.push(running.elapsed());
        sandbox.stop().await;
        whole.push(begun.elapsed());
    }
    show(&format!("{} start+exec+stop", backend.name()), whole);
    show(&format!("{} start", backend.name()), start);
    show(&format!("{} exec", backend.name()), exec);
}

#[expect(clippy::print_stdout, reason = "printing is all this program is for")]
fn show(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 10).copied().unwrap_or_default();
    println!("{name:32} median {:>9.3?}  p90 {:>9.3?}  n={}", at(5), at(9), times.len());
}
