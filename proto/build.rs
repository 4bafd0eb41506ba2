//! Compiles the `.proto` files with a compiler written in Rust, so that no `protoc` is needed.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 3] =
    ["handfast/v1/types.proto", "handfast/v1/handfast.proto", "handfast/v1/admin.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=handfast");
    println!("cargo:rerun-if-changed=google");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("handfast.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".handfast.v1")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors)?;
    // Apart, so that reflection does not offer it to clients.
    for package in ["peer", "region"] {
        let file = format!("handfast/{package}/v1/{package}.proto");
        tonic_prost_build::configure()
            .bytes(format!(".handfast.{package}.v1"))
            .compile_fds(protox::compile([file], ["."])?)?;
    }
    Ok(())
}
