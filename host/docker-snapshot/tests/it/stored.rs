//! Snapshots that lie in a directory, compressed and encrypted: verified, restored in parts, forgotten, counted.
//! No engine is needed for any of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snapshotter::config::{Config, Exclude, Need};
use snapshotter::{BackupOptions, backup_to};
use snapshotter_vault::encode::{Compression, Encoder, KeySource, Seal, age, openpgp};

use crate::run::{failure, program, success};

const RECIPIENT: &str = "age17shpm4l6qp85ptj2g5t3k33v5rxsmrn0k55mwwcrhl5hc3rugc2smhk43a";
const IDENTITY: &str = "AGE-SECRET-KEY-1E7M4E6WS9S8TT4NMWPWPR0Z9L3TDL5SUKD0EKEZ7ECXHZSAGN9CQMAGKF0";

/// A home with a volume in it, and keys.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Home(tempfile::tempdir().unwrap());
        fs::create_dir_all(home.path("volume/sub")).unwrap();
        fs::write(home.path("volume/a.txt"), "first\n").unwrap();
        // What cannot be compressed, so that there are several frames.
        let mut much = vec![0; 9 << 20];
        let mut state = 1_u64;
        for byte in &mut much {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 33).to_le_bytes()[0];
        }
        fs::write(home.path("volume/much"), much).unwrap();
        fs::write(home.path("volume/sub/z.txt"), "last\n").unwrap();
        fs::write(home.path("key.txt"), IDENTITY).unwrap();
        fs::write(home.path("passphrase"), "correct horse\n").unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What `create` would make of the volume as data of the set `set`, at that time.
    fn snapshot(&self, set: &str, time: &str, compression: Compression, seal: &Seal) -> PathBuf {
        let volume = self.path("volume").to_str().unwrap().to_owned();
        let config = Config::from_parts(set, [&volume], Exclude::default(), Need::Volumes).unwrap();
        let mut plain = Vec::new();
        let run = snapshotter::observer::Run::default();
        let report = backup_to(&mut plain, "a stream", &config, &BackupOptions::default(), &run).unwrap();
        let mut encoder = Encoder::new(Vec::new(), compression, seal).unwrap();
        encoder.write_all(&plain).unwrap();
        let (stored, summary) = encoder.finish().unwrap();
        let stem = format!("{}__spec-0123abcd", time.replace(':', "-"));
        let name = format!("{stem}{}", seal.encoding(compression).suffix());
        let directory = self.path("snapshots").join(set);
        fs::create_dir_all(&directory).unwrap();
        let description = json!({
            "created_at": time, "volume_name": "data", "driver": "local", "uncompressed_bytes": report.size,
            "file_count": report.entries, "checksum": {"algo": "sha256", "tar_zst": summary.sha256_hex()},
            "snapshotter": {
                "version": 1, "set": set, "kind": "volume", "id": report.id, "prefix": set, "engine": "20.10",
                "file": {"name": name, "bytes": stored.len(), "sha256": summary.sha256_hex()},
                "volumes": [{
                    "name": "data", "path": volume, "spec_hash": "0123abcd", "driver": "local",
                    "entries": report.entries, "bytes": report.size, "grade": "stopped",
                }],
            },
        });
        fs::write(directory.join(format!("{stem}.json")), description.to_string()).unwrap();
        fs::write(directory.join(&name), stored).unwrap();
        directory.join(name)
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        program(self.0.path()).args(arguments).output().unwrap()
    }

    fn report(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&success(&self.run(&[&["--json"], arguments].concat()))).unwrap()
    }

    /// What a run printed that found something wrong.
    fn found_wrong(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn files(&self, set: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("snapshots").join(set)).unwrap();
        let mut files: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files
    }
}

fn with_age() -> Seal {
    let mut recipients = age::Recipients::new();
    recipients.add(RECIPIENT).unwrap();
    Seal::Age(recipients)
}

fn with_passphrase(home: &Home) -> Seal {
    let mut recipients = openpgp::Recipients::new();
    recipients.set_passphrase(KeySource::File(home.path("passphrase")).passphrase().unwrap());
    Seal::OpenPgp(recipients)
}

/// Turns a byte of the file at `path` over.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

const KEYS: [&str; 4] = ["--age-identity", "key.txt", "--gpg-passphrase-file", "passphrase"];

#[test]
fn every_encoding_is_verified_and_comes_back_whole_and_in_parts() {
    let home = Home::new();
    let seals = [Seal::None, with_age(), with_passphrase(&home)];
    let compressions = [Compression::None, Compression::ZSTD, Compression::GZIP];
    for (number, compression) in compressions.into_iter().enumerate() {
        for (other, seal) in seals.iter().enumerate() {
            let set = format!("set{number}{other}");
            let file = home.snapshot(&set, "2026-01-31T03:00:00Z", compression, seal);
            let verified = home.report(&[&["verify", &set], &KEYS[..]].concat());
            assert_eq!(verified["verified"][0]["ok"], true, "{verified}");
            assert_eq!(verified["verified"][0]["entries"], 5, "{verified}");
            let (into, part) = (format!("into-{set}"), format!("part-{set}"));
            home.report(&[&["restore", file.to_str().unwrap(), "--into", &into], &KEYS[..]].concat());
            let data = home.path(&into).join("data");
            assert!(fs::read(data.join("much")).unwrap() == fs::read(home.path("volume/much")).unwrap());
            let path = ["restore", &set, "--path", "/data/sub/z.txt", "--into", &part];
            home.run(&[&path[..], &KEYS].concat());
            assert_eq!(fs::read_to_string(home.path(&part).join("data/sub/z.txt")).unwrap(), "last\n");
            assert_eq!(fs::read_dir(home.path(&part).join("data")).unwrap().count(), 1);
        }
    }
    let all = home.report(&[&["verify", "snapshots"], &KEYS[..]].concat());
    assert_eq!(all["verified"].as_array().unwrap().len(), 9);
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_known_to_be_sound() {
    let home = Home::new();
    let file = home.snapshot("shop", "2026-01-31T03:00:00Z", Compression::ZSTD, &with_age());
    let sound = fs::read(&file).unwrap();
    let verify = [&["verify", "shop"], &KEYS[..]].concat();
    flip(&file, sound.len() / 2);
    let verdict = home.found_wrong(&verify)["verified"][0].clone();
    assert_eq!((&verdict["ok"], &verdict["sha256"]), (&json!(false), &json!(false)));
    let problems = verdict["problems"].to_string();
    assert!(problems.contains("its SHA-256 is") && problems.contains("much"), "{problems}");
    assert!(!problems.contains("a.txt") && !problems.contains("z.txt"), "{problems}");
    assert_eq!((&verdict["entries"], &verdict["sound"]), (&json!(5), &json!(4)));
    // It is found to be so by nobody who looks at other places, and never restored.
    let into = ["restore", "shop", "--into", "into"];
    let said = failure(&home.run(&[&into[..], &KEYS].concat()).tap());
    assert!(said.contains("damaged"), "{said}");
    assert!(!home.path("into").exists());

    let rest = home.found_wrong(&[&into[..], &["--skip-damaged"], &KEYS].concat());
    assert_eq!(rest["skipped"]["left_out"].as_array().unwrap().len(), 1, "{rest}");
    assert_eq!(fs::read_to_string(home.path("into/data/sub/z.txt")).unwrap(), "last\n");
    assert!(!home.path("into/data/much").exists());

    for length in [0, 100, sound.len() / 2, sound.len() - 1] {
        fs::write(&file, &sound[..length]).unwrap();
        let verdict = home.found_wrong(&verify)["verified"][0].clone();
        assert!(verdict["problems"].to_string().contains("and had"), "{length}: {verdict}");
        home.run(&[&verify[..], &["--quick"]].concat());
    }
    fs::write(&file, &sound).unwrap();
    let quick = home.report(&[&verify[..], &["--quick"]].concat());
    assert_eq!(quick["verified"][0]["entries"], 5);

    let missing = failure(&home.run(&["verify", "shop"]).tap());
    assert!(missing.contains("no identity is given: --age-identity FILE"), "{missing}");
}

#[test]
fn what_no_rule_keeps_is_forgotten_and_nothing_else() {
    let home = Home::new();
    let seal = Seal::None;
    for day in ["01", "02", "03", "04"] {
        home.snapshot("shop", &format!("2026-01-{day}T03:00:00Z"), Compression::ZSTD, &seal);
    }
    home.snapshot("other", "2020-01-01T03:00:00Z", Compression::ZSTD, &seal);
    let said = failure(&home.run(&["forget"]));
    assert!(said.contains("--keep-last"), "{said}");
    let dry = home.report(&["forget", "--keep-last", "2", "--dry-run"]);
    assert_eq!((dry["forgotten"].as_array().unwrap().len(), home.files("shop").len()), (2, 8), "{dry}");
    let done = home.report(&["forget", "--keep-last", "2"]);
    assert_eq!(done["forgotten"], dry["forgotten"]);
    let left = home.files("shop");
    assert!(left.len() == 4 && left.iter().all(|name| name > &"2026-01-03".to_owned()), "{left:?}");
    assert_eq!(home.files("other").len(), 2, "the newest of each stays, however old");
    // What cannot be read is kept, and does not stand in for what can.
    let newest = home.path("snapshots/shop").join(&left[2]);
    fs::write(&newest, "no JSON").unwrap();
    let kept = home.report(&["forget", "--only", "shop", "--keep-last", "1"]);
    assert_eq!((kept["forgotten"].as_array().unwrap().len(), home.files("shop").len()), (0, 4), "{kept}");
}

#[test]
fn status_counts_what_there_is() {
    let home = Home::new();
    let sizes: Vec<_> = ["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"]
        .iter()
        .map(|time| fs::metadata(home.snapshot("shop", time, Compression::ZSTD, &Seal::None)).unwrap().len())
        .collect();
    let status = home.report(&["status", "snapshots", "--price", "2"]);
    let store = &status["stores"][0];
    assert_eq!(store["bytes"].as_u64(), Some(sizes.iter().sum()));
    let set = &store["sets"][0];
    assert_eq!((&set["name"], &set["snapshots"]), (&json!("shop"), &json!(2)));
    assert_eq!(
        (&set["newest"], set["newest_bytes"].as_u64()),
        (&json!("2026-01-02T03:00:00Z"), Some(sizes[1]))
    );
    let cost = store["cost"].as_f64().unwrap() * f64::from(1 << 29);
    assert!((cost - f64::from(u32::try_from(sizes.iter().sum::<u64>()).unwrap())).abs() < 1.0, "{cost}");
    assert!(success(&home.run(&["status"])).contains("shop"));
    assert!(failure(&home.run(&["status", "none"])).contains("no directory that is there"));
}

/// The last line that was said alone: what is taken is said before.
trait Tap {
    fn tap(self) -> Self;
}

impl Tap for std::process::Output {
    fn tap(mut self) -> Self {
        let said = String::from_utf8(self.stderr).unwrap();
        self.stderr = said.lines().last().unwrap_or_default().as_bytes().to_vec();
        self
    }
}
