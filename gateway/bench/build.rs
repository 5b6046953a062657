//! Compiles the proto of the benchmark's own server in process, for both of its faces: tonic and serde.

use std::path::{Path, PathBuf};

type AnyError = Box<dyn std::error::Error>;

#[expect(clippy::disallowed_methods, reason = "cargo hands OUT_DIR to build scripts by the environment")]
fn out_dir() -> Result<PathBuf, AnyError> {
    Ok(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?.into())
}

fn main() -> Result<(), AnyError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (own, shared) = (here.join("proto"), here.join("../../proto"));
    println!("cargo:rerun-if-changed={}", own.display());
    let mut compiler = protox::Compiler::new([&own, &shared])?;
    compiler.include_imports(true).open_file("shelf.proto")?;
    std::fs::write(out_dir()?.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let mut generated = compiler.file_descriptor_set();
    generated.file.retain(|file| file.package() == "bench.v1");
    let print = |how: &str| format!("#[serde(serialize_with = \"crate::shelf::json::{how}\")]");
    let mut builder = tonic_prost_build::configure().btree_map(".");
    for message in ["Item", "Port", "ListItemsResponse"] {
        builder = builder.type_attribute(format!("bench.v1.{message}"), "#[derive(serde::Serialize)]");
    }
    for (field, how) in
        [("state", "state"), ("memory_bytes", "int64"), ("created_at", "time"), ("updated_at", "time")]
    {
        builder = builder.field_attribute(format!("bench.v1.Item.{field}"), print(how));
    }
    builder.compile_fds(generated)?;
    Ok(())
}
