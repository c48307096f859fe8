//! Compiles `proto/` without a protoc install: protox parses, prost and tonic generate.
//!
//! The whole descriptor set, with comments and imports, is written beside the code for reflection and for the JSON mapping.

use std::{env, error::Error, fs, path::PathBuf};

const PROTO_ROOT: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_ROOT}");
    let mut files: Vec<PathBuf> = fs::read_dir(format!("{PROTO_ROOT}/filmgate/v1"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();

    let mut compiler = protox::Compiler::new([PROTO_ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;

    #[expect(clippy::disallowed_methods, reason = "cargo hands the folder over in the environment")]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("filmgate_descriptor.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
