//! The door of the hidden sub-command: reads what to build and reports why it could not.
//! It must never read past its own frame, because the bytes behind it belong to the guest.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    os::fd::AsFd,
    process::ExitCode,
};

use nix::sys::stat::{self, Mode};

use crate::{
    guest,
    launcher::{bubblewrap, fault, fault::During, process, translate},
    machine,
    wire::{self, Boot, BootBackend, Decoder, Failure, Frame, HEADER_BYTES, Kind, MAX_PAYLOAD_BYTES, Stage},
};

/// The first argument that makes the program a launcher.
pub const HIDDEN_ARGUMENT: &str = "__sandbox";

/// The second argument of a guest that is carried into a sandbox of somebody else's making.
pub(crate) const CARRIED: &str = "carried";

/// The second argument of the program that shows a folder at another place.
pub(crate) const TRANSLATE: &str = "translate";

/// Serves the hidden sub-command, or returns `None` if the arguments are not ours.
///
/// Call it first thing in `main`, before any thread or runtime exists. It speaks the guest protocol on
/// standard input and output, so nothing may be printed before or after it.
pub fn launcher_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != HIDDEN_ARGUMENT {
        return None;
    }
    // The caller's own mask must not decide what commands see.
    stat::umask(Mode::from_bits_truncate(0o022));
    let outcome = match args.next() {
        None => launch(),
        Some(word) if word == CARRIED => carried(),
        Some(word) if word == TRANSLATE => translate::run(),
        // The kernel of a virtual machine started us in it.
        Some(word) if word == machine::ENTRY => machine::first_process(),
        #[cfg(feature = "host")]
        Some(word) if word == machine::HYPERVISOR => return Some(machine::supervise()),
        // Somebody else built the sandbox and started us in it.
        Some(inside) => guest::serve_inside(&inside),
    };
    Some(match outcome {
        Ok(code) => code,
        Err(failure) => {
            report(&failure);
            ExitCode::FAILURE
        }
    })
}

/// The part of a guest that was carried into a sandbox of somebody else's making.
fn carried() -> Result<ExitCode, Failure> {
    let what = "what is known about this sandbox cannot be read";
    let frame = read_frame(&mut input(what)?).during(Stage::Boot, what)?;
    let settings = serde_json::from_slice(&frame.payload)
        .map_err(|error| fault(Stage::Boot, format!("{what}: {error}")))?;
    guest::serve_carried(settings)
}

fn launch() -> Result<ExitCode, Failure> {
    let what = "the description of the sandbox cannot be read";
    let frame = read_frame(&mut input(what)?).during(Stage::Boot, what)?;
    if frame.kind != Kind::Boot {
        return Err(fault(Stage::Boot, "the first frame does not describe a sandbox"));
    }
    let boot: Boot = serde_json::from_slice(&frame.payload).map_err(|error| {
        fault(Stage::Boot, format!("the description of the sandbox is malformed: {error}"))
    })?;
    match boot.backend {
        BootBackend::Process => process::run(&boot),
        BootBackend::Bubblewrap => bubblewrap::supervise(&boot),
    }
}

/// Standard input without a buffer of our own: what comes behind the first frame is somebody else's.
pub(super) fn input(what: &str) -> Result<std::fs::File, Failure> {
    io::stdin().as_fd().try_clone_to_owned().during(Stage::Boot, what).map(std::fs::File::from)
}

/// Reads exactly one frame.
pub(crate) fn read_frame(input: &mut impl Read) -> io::Result<Frame> {
    let mut bytes = vec![0; HEADER_BYTES];
    input.read_exact(&mut bytes)?;
    let mut decoder = Decoder::new();
    decoder.push(&bytes);
    if let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
        return Ok(frame);
    }
    let length = bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let mut payload = vec![0; length.min(MAX_PAYLOAD_BYTES)];
    input.read_exact(&mut payload)?;
    decoder.push(&payload);
    decoder.next_frame().map_err(io::Error::other)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Tells the host. If even that fails, the closed channel tells it that something did.
pub(crate) fn report(failure: &Failure) {
    let mut bytes = Vec::new();
    let payload = serde_json::to_vec(failure).unwrap_or_default();
    if wire::encode(Kind::Error, 0, &payload, &mut bytes).is_ok() {
        let mut out = io::stdout().lock();
        drop(out.write_all(&bytes).and_then(|()| out.flush()));
    }
}
