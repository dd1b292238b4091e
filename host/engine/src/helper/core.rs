//! The core's programs that this one carries: one for each processor that it was built with, see build.rs.

use std::borrow::Cow;
use std::env;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::helper::elf;

/// The variable that names a program to use in place of those that are carried.
pub const CORE_VARIABLE: &str = "DOCKER_SNAPSHOT_CORE";

/// A program that is carried.
#[derive(Debug)]
struct Packed {
    architecture: &'static str,
    /// Its SHA-256 when it is unpacked, in hexadecimal digits.
    digest: &'static str,
    /// It, by zlib.
    bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/cores.rs"));

/// The core's program for one processor.
#[derive(Debug)]
pub(crate) struct Core {
    /// The processor, in Docker's words.
    pub(crate) architecture: String,
    /// Its SHA-256, in hexadecimal digits.
    pub(crate) digest: Cow<'static, str>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Packed(&'static [u8]),
    Plain(Vec<u8>),
}

impl Core {
    /// The one for an engine on `architecture`: that which the variable names, else one that is carried.
    ///
    /// # Errors
    /// When there is none, or the one that is named cannot be used.
    pub(crate) fn new(architecture: &str) -> Result<Self> {
        if let Some(path) = env::var_os(CORE_VARIABLE).filter(|path| !path.is_empty()) {
            return Core::read(Path::new(&path), architecture);
        }
        let carried = CORES.iter().find(|packed| packed.architecture == architecture);
        let Some(packed) = carried else {
            let carried = CORES.iter().map(|packed| packed.architecture.to_owned()).collect();
            return Err(Error::NoCore { architecture: architecture.to_owned(), carried });
        };
        Ok(Core {
            architecture: architecture.to_owned(),
            digest: packed.digest.into(),
            content: Content::Packed(packed.bytes),
        })
    }

    fn read(path: &Path, architecture: &str) -> Result<Self> {
        let bad = |problem: String| Error::Core { path: path.to_owned(), problem };
        let bytes = fs::read(path).map_err(|error| bad(error.to_string()))?;
        match elf::architecture(&bytes) {
            Ok(of) if of == architecture => {}
            Ok(of) => return Err(bad(format!("it is for {of}, and the engine runs on {architecture}"))),
            Err(problem) => return Err(bad(problem.to_owned())),
        }
        let digest = hex::encode(Sha256::digest(&bytes)).into();
        Ok(Core { architecture: architecture.to_owned(), digest, content: Content::Plain(bytes) })
    }

    /// The program itself.
    ///
    /// # Errors
    /// When this very program is damaged.
    pub(crate) fn unpack(self) -> Result<Vec<u8>> {
        let packed = match self.content {
            Content::Plain(bytes) => return Ok(bytes),
            Content::Packed(packed) => packed,
        };
        let mut bytes = Vec::new();
        let read = ZlibDecoder::new(packed).read_to_end(&mut bytes);
        if read.is_ok() && hex::encode(Sha256::digest(&bytes)) == self.digest {
            return Ok(bytes);
        }
        let path = env::current_exe().unwrap_or_default();
        Err(Error::Core {
            path,
            problem: "the program that it carries is damaged: install it again".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_is_what_was_built_in() {
        for packed in CORES {
            let core = Core {
                architecture: packed.architecture.to_owned(),
                digest: packed.digest.into(),
                content: Content::Packed(packed.bytes),
            };
            let bytes = core.unpack().unwrap();
            assert_eq!(elf::architecture(&bytes), Ok(packed.architecture));
        }
    }

    #[test]
    fn a_processor_that_nothing_is_carried_for_is_named() {
        let error = Core::new("pdp11").unwrap_err();
        assert!(matches!(&error, Error::NoCore { architecture, .. } if architecture == "pdp11"), "{error}");
        assert!(error.advice().unwrap().contains("--helper-image"));
    }

    #[test]
    fn a_program_for_another_processor_or_none_is_refused() {
        let refused = |path: &str, architecture: &str| match Core::read(Path::new(&path), architecture) {
            Err(Error::Core { problem, .. }) => problem,
            other => panic!("{other:?}"),
        };
        assert!(refused("/proc/self/exe", "pdp11").contains("it is "));
        assert_eq!(refused("/proc/self/status", "amd64"), "it is no program for Linux");
        assert!(refused("/nowhere", "amd64").contains("No such file"));
    }
}
