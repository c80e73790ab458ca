//! Builds the guest a second time: small, static and free of the host's half, so that it runs in any image.
//! Must not touch anything outside its own output folder.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Set for the inner build, which must not build a guest of its own.
const INNER: &str = "BLUEPRINT_GUEST_BUILD";

fn told(name: &str) -> Option<OsString> {
    env::var_os(name)
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={INNER}");
    if told("CARGO_FEATURE_HOST").is_none() || told(INNER).is_some() {
        return Ok(());
    }
    for source in ["src", "Cargo.toml", "../../Cargo.toml", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={source}");
    }
    let out = PathBuf::from(told("OUT_DIR").ok_or("there is no output folder")?);
    let target = told("TARGET").ok_or("there is no target")?;
    let folder = out.join("guest-build");
    let mut build = Command::new(told("CARGO").ok_or("there is no cargo")?);
    build
        .args(["build", "--locked", "--quiet", "--package", "blueprint-sandbox", "--bin", "blueprint-guest"])
        .args(["--no-default-features", "--profile", "guest", "--target"])
        .arg(&target)
        .arg("--manifest-path")
        .arg(Path::new(&told("CARGO_MANIFEST_DIR").ok_or("there is no manifest")?).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder)
        .env(INNER, "1")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static\u{1f}-Crelocation-model=static");
    // What the outer build wraps or instruments is no business of the guest.
    for variable in ["RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_RUSTC_WRAPPER"] {
        build.env_remove(variable);
    }
    let status = build.status()?;
    if !status.success() {
        return Err(format!("the static guest could not be built ({status})").into());
    }
    fs::copy(folder.join(&target).join("guest").join("blueprint-guest"), out.join("blueprint-guest"))?;
    Ok(())
}
