//! Puts the core's static programs into this one. `DOCKER_SNAPSHOT_CORE_AMD64` and
//! `DOCKER_SNAPSHOT_CORE_ARM64` name them; without any, helpers need an image or a program that is named at
//! run time.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha2::{Digest, Sha256};

#[path = "src/helper/elf.rs"]
mod elf;

const PROGRAMS: [(&str, &str); 2] =
    [("amd64", "DOCKER_SNAPSHOT_CORE_AMD64"), ("arm64", "DOCKER_SNAPSHOT_CORE_ARM64")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/helper/elf.rs");
    let out = env::var("OUT_DIR")?;
    let mut table = "static CORES: &[Packed] = &[\n".to_owned();
    for (architecture, variable) in PROGRAMS {
        println!("cargo::rerun-if-env-changed={variable}");
        let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) else { continue };
        let path = Path::new(&path);
        println!("cargo::rerun-if-changed={}", path.display());
        let bytes = fs::read(path).map_err(|error| format!("{variable}: {}: {error}", path.display()))?;
        match elf::architecture(&bytes) {
            Ok(of) if of == architecture => {}
            Ok(of) => return Err(format!("{variable}: {} is for {of}", path.display()).into()),
            Err(problem) => return Err(format!("{variable}: {}: {problem}", path.display()).into()),
        }
        let packed = Path::new(&out).join(architecture);
        let mut to = ZlibEncoder::new(File::create(&packed)?, Compression::best());
        to.write_all(&bytes)?;
        to.finish()?.sync_all()?;
        let packed = packed.to_str().ok_or("the path of the build is not UTF-8")?;
        let digest = hex::encode(Sha256::digest(&bytes));
        writeln!(
            table,
            "Packed {{ architecture: {architecture:?}, digest: {digest:?}, bytes: include_bytes!({packed:?}) }},"
        )?;
    }
    table.push_str("];\n");
    fs::write(Path::new(&out).join("cores.rs"), table)?;
    Ok(())
}
