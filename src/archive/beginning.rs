//! What a file is that is taken for an archive and is none, by how it begins.

use crate::archive::ustar::Block;

/// How other files begin that are taken for archives.
const MAGIC: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"LZIP", "lzip"),
    (b"\x1f\x9d", "compress"),
    (b"age-encryption.org/", "age"),
];

/// Of a file that begins so, the format, where it is no tar but may hold one.
pub(crate) fn packed_as(beginning: &[u8]) -> Option<&'static str> {
    // Where a tar says that it is one.
    let is_tar = beginning.get(257..262) == Some(b"ustar");
    let format = MAGIC.iter().find(|(magic, _)| beginning.starts_with(magic));
    format.filter(|_| !is_tar).map(|(_, format)| *format)
}

/// What unpacks a format, as a command that reads standard input or a file.
pub(crate) fn unpacker(format: &str) -> Option<&'static str> {
    Some(match format {
        "gzip" | "compress" => "zcat",
        "zstd" => "zstdcat",
        "xz" => "xzcat",
        "bzip2" => "bzcat",
        "lz4" => "lz4cat",
        "lzip" => "lzip -dc",
        _ => return None,
    })
}

/// What a block at `at` that is no header may be.
pub(crate) fn describe(at: u64, block: &Block) -> String {
    if at > 0 || block[257..262] == *b"ustar" {
        return "neither a member's header nor the end of the archive".to_owned();
    }
    match packed_as(block) {
        Some(format) => format!("this is a {format} file and not a tar: unpack it first"),
        None => {
            "this is not a tar: name the right file, or make a new archive with `snapshotter init`".to_owned()
        }
    }
}
