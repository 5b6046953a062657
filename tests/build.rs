//! Compiles the contracts of the servers that stand behind `clos-gateway` in its tests.

use std::path::{Path, PathBuf};

type AnyError = Box<dyn std::error::Error>;

#[expect(clippy::disallowed_methods, reason = "cargo hands OUT_DIR to build scripts by the environment")]
fn out_dir() -> Result<PathBuf, AnyError> {
    Ok(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?.into())
}

fn main() -> Result<(), AnyError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join("gateway");
    println!("cargo:rerun-if-changed={}", folder.display());
    let out = out_dir()?;

    let mut compiler = protox::Compiler::new([folder.clone(), here.join("../proto")])?;
    compiler.include_imports(true).open_file("echo.proto")?;
    std::fs::write(out.join("echo.pb"), compiler.encode_file_descriptor_set())?;
    let mut generated = compiler.file_descriptor_set();
    // The rest of google is in options only; prost-types has the well-known types.
    generated.file.retain(|file| ["echo.v1", "google.protobuf"].contains(&file.package()));
    tonic_prost_build::compile_fds(generated)?;

    let google = folder.join("googleapis");
    let mut compiler = protox::Compiler::new([folder, google, here.join("../proto")])?;
    compiler.include_imports(true);
    compiler.open_files(["library.proto", "pubsub.proto", "google/cloud/location/locations.proto"])?;
    std::fs::write(out.join("google.pb"), compiler.encode_file_descriptor_set())?;
    let mut generated = compiler.file_descriptor_set();
    let packages = ["library.v1", "pubsub.v1", "google.longrunning", "google.rpc", "google.protobuf"];
    generated.file.retain(|file| packages.contains(&file.package()));
    tonic_prost_build::configure().include_file("google.rs").compile_fds(generated)?;
    Ok(())
}
