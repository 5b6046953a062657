//! Compiles `proto/` in process: no `protoc`, no network.

use std::path::{Path, PathBuf};

type AnyError = Box<dyn std::error::Error>;

#[expect(clippy::disallowed_methods, reason = "cargo hands OUT_DIR to build scripts by the environment")]
fn out_dir() -> Result<PathBuf, AnyError> {
    Ok(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?.into())
}

fn main() -> Result<(), AnyError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());

    // The error details are not imported by our files, but those who read the
    // descriptors (reflection, JSON of an `Any`) need them beside ours.
    let mut files = vec!["google/rpc/error_details.proto".to_owned(), "google/rpc/status.proto".to_owned()];
    let mut ours: Vec<String> = std::fs::read_dir(root.join("clos/v2"))?
        .map(|entry| Ok(format!("clos/v2/{}", entry?.file_name().display())))
        .collect::<Result<_, std::io::Error>>()?;
    ours.sort();
    files.extend(ours);

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;

    // These bytes and not a re-encoding of the typed set, which would drop the
    // options that prost-types does not know: google.api.http and clos.v2.authz.
    std::fs::write(out_dir()?.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let mut generated = compiler.file_descriptor_set();
    // The rest of google is in options only; prost-types has the well-known types.
    generated.file.retain(|file| ["clos.v2", "google.protobuf"].contains(&file.package()));
    let with_our_codec = || tonic_prost_build::configure().codec_path("crate::codec::Codec");
    with_our_codec().build_server(false).btree_map(".").compile_fds(generated.clone())?;

    // What is told to many watchers is encoded once for all of them, so the servers of these methods
    // answer with bytes; their requests and everything else are the messages from above.
    let servers = out_dir()?.join("servers");
    std::fs::create_dir_all(&servers)?;
    with_our_codec()
        .build_client(false)
        .extern_path(".clos.v2", "crate::v2")
        .extern_path(".clos.v2.Event", "crate::codec::EncodedEvent")
        .out_dir(servers)
        .compile_fds(generated)?;
    Ok(())
}
