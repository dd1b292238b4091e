//! What fuzzing starts from and has kept (fuzz/README.md), and changes to it, for some seconds.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use snapshotter_vault::encode::{Compression, Encryption, Seal, age as age_format};

#[path = "../../fuzz/src/decode.rs"]
mod decode;
#[path = "../../fuzz/src/mutate.rs"]
mod mutate;

use super::data::{encode, mixed};

const SOME_TIME: Duration = Duration::from_secs(5);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

fn seeds() -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn what_the_fuzzer_kept_does_no_harm() {
    let seeds = seeds();
    assert!(seeds.len() >= 15, "{}", seeds.len());
    for (path, seed) in seeds {
        let since = Instant::now();
        decode::both_ways(&seed);
        println!("{}: {:?}", path.display(), since.elapsed());
    }
}

#[test]
fn changes_to_it_do_none_either() {
    let seeds = seeds();
    let since = Instant::now();
    for number in 0.. {
        let mut random = mutate::Random(number);
        let (path, mut input) = seeds[random.below(seeds.len())].clone();
        mutate::change(&mut input, &mut random);
        mutate::repair(&mut input);
        if since.elapsed() > SOME_TIME {
            assert!(number > 10, "{number} in {SOME_TIME:?}");
            return;
        }
        println!("{number}: {}", path.display());
        decode::both_ways(&input);
    }
}

/// A table that says what it should not, and has the right checksum, is reached by changes.
#[test]
fn a_table_that_was_changed_gets_its_checksum_again() {
    let (mut file, _) = encode(&mixed(3, 9_000_000), Compression::ZSTD, &Seal::None);
    let before = file.clone();
    mutate::repair(&mut file);
    assert!(file == before, "what is right is left");
    let entry = file.len() - 9 - 24;
    file[entry] ^= 1;
    mutate::repair(&mut file);
    assert!(file[..entry] != before[..entry], "it has another checksum");
}

#[test]
#[ignore = "writes the seeds that fuzzing starts from"]
fn write_seeds() {
    let mut recipients = age_format::Recipients::new();
    let identity: age::x25519::Identity = decode::IDENTITY.parse().unwrap();
    recipients.add(&identity.to_public().to_string()).unwrap();
    let text = |count| "line of a text\n".repeat(count).into_bytes();
    let contents =
        [Vec::new(), text(1), mixed(1, 3000), vec![0; 9 << 20], [text(300_000), mixed(2, 2000)].concat()];
    for (first, encoding) in decode::ENCODINGS.iter().enumerate() {
        for (number, content) in contents.iter().enumerate() {
            let seal = match encoding.encryption {
                Encryption::Age => Seal::Age(recipients.clone()),
                _ => Seal::None,
            };
            if encoding.suffix() == ".tar" {
                continue;
            }
            let (mut file, _) = encode(content, encoding.compression, &seal);
            if encoding.encryption == Encryption::OpenPgp {
                file = gpg(&file);
            }
            if file.len() < 70_000 {
                let path = folder().join(format!("{first}-{number}"));
                fs::write(path, [&[u8::try_from(first).unwrap()], &file[..]].concat()).unwrap();
            }
        }
    }
    for (name, first, script) in [
        ("zstd", 0, "seq 20000 | zstd -c --no-check"),
        ("zstd-long", 0, "seq 90000 | zstd -c -19 --long=24; seq 9 | zstd -c"),
        ("gzip", 1, "seq 2000 | gzip -c; seq 9 | gzip -c -n"),
    ] {
        let made = Command::new("sh").args(["-c", script]).output().unwrap();
        fs::write(folder().join(name), [&[first], &made.stdout[..]].concat()).unwrap();
    }
}

/// Encrypted with a passphrase that costs little, since a fuzzer tries it each time.
fn gpg(file: &[u8]) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    fs::File::create(path("phrase")).unwrap().write_all(decode::PASSPHRASE.as_bytes()).unwrap();
    fs::write(path("in"), file).unwrap();
    let made = Command::new("gpg")
        .arg("--homedir")
        .arg(home.path())
        .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--s2k-mode", "1", "--passphrase-file"])
        .arg(path("phrase"))
        .args(["-o", "-", "-c"])
        .arg(path("in"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}
