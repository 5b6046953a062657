//! Compiles the contract of the echo server that stands behind `clos-gateway` in its tests.

use std::path::{Path, PathBuf};

type AnyError = Box<dyn std::error::Error>;

#[expect(clippy::disallowed_methods, reason = "cargo hands OUT_DIR to build scripts by the environment")]
fn out_dir() -> Result<PathBuf, AnyError> {
    Ok(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?.into())
}

fn main() -> Result<(), AnyError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    println!("cargo:rerun-if-changed={}", here.join("gateway/echo.proto").display());
    let mut compiler = protox::Compiler::new([here.join("gateway"), here.join("../proto")])?;
    compiler.include_imports(true).open_file("echo.proto")?;
    std::fs::write(out_dir()?.join("echo.pb"), compiler.encode_file_descriptor_set())?;
    let mut generated = compiler.file_descriptor_set();
    // The rest of google is in options only; prost-types has the well-known types.
    generated.file.retain(|file| ["echo.v1", "google.protobuf"].contains(&file.package()));
    tonic_prost_build::compile_fds(generated)?;
    Ok(())
}
