//! The commands of docs/vault.md bring back what was encoded.

use std::fs;
use std::path::Path;
use std::process::Command;

use snapshotter_vault::encode::{Encoding, Encryption, KeySource, Seal, age, openpgp};

use super::data::{encode, mixed};
use super::program::{end_gnupg, gnupg, have, succeeds};

const DOCUMENT: &str = include_str!("../../../../docs/vault.md");

/// The blocks of code, with the heading that they stand under.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let mut heading = "";
    let mut blocks = Vec::new();
    for (n, part) in DOCUMENT.split("```").enumerate() {
        match part.strip_prefix("bash\n") {
            Some(block) if n % 2 == 1 => blocks.push((heading, block)),
            _ => heading = part.lines().rfind(|line| line.starts_with("##")).unwrap_or(heading),
        }
    }
    blocks
}

fn seal(directory: &Path, encryption: Encryption, compressed: &str) -> Seal {
    let source = |name: &str| KeySource::File(directory.join(name));
    match encryption {
        Encryption::None => Seal::None,
        Encryption::Age => {
            let mut recipients = age::Recipients::new();
            recipients.add_all(&source("recipients.txt")).unwrap();
            Seal::Age(recipients)
        }
        // The document has one of each.
        Encryption::OpenPgp => {
            let mut recipients = openpgp::Recipients::new();
            if compressed.contains(".gz") {
                recipients.set_passphrase(source("passphrase.txt").passphrase().unwrap());
            } else {
                recipients.add_keys(&source("public")).unwrap();
            }
            Seal::OpenPgp(recipients)
        }
    }
}

#[test]
fn each_command_of_the_document_brings_back_what_was_encoded() {
    if !have(&["age", "age-keygen", "gpg", "zstd", "gunzip", "tar", "bsdtar", "bash"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("volume")).unwrap();
    fs::write(path.join("volume/data"), mixed(41, 9_000_000)).unwrap();
    fs::write(path.join("passphrase.txt"), "correct horse battery staple\n").unwrap();
    gnupg(path);
    succeeds(
        path,
        "tar -cf volume.tar volume; gpg --export >public
         age-keygen -o key.txt 2>/dev/null; age-keygen -y key.txt >recipients.txt",
    );
    let tar = fs::read(path.join("volume.tar")).unwrap();
    let blocks = blocks();
    assert!(blocks.len() >= 8, "{blocks:?}");
    for (heading, block) in blocks {
        let files = block.split_whitespace().filter(|word| word.starts_with("backup.tar."));
        let name =
            files.max_by_key(|name| name.len()).unwrap_or_else(|| panic!("{heading}: no file in {block}"));
        let encoding = Encoding::from_name(name).unwrap();
        let (encoded, _) = encode(&tar, encoding.compression, &seal(path, encoding.encryption, name));
        succeeds(path, "rm -rf restored backup.*; mkdir restored");
        fs::write(path.join(name), encoded).unwrap();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", block])
            .current_dir(path)
            .env("HOME", path)
            .env("GNUPGHOME", path.join("gnupg"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{heading}:\n{block}\n{}", String::from_utf8_lossy(&output.stderr));
        succeeds(path, "diff -r volume restored/volume");
    }
    end_gnupg(path);
}
