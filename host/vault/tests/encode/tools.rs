//! The real programs read what we write, and we read what they write.

use std::fs;
use std::path::Path;

use snapshotter_vault::encode::{
    Compression, Encoding, Encryption, KeySource, Keys, Seal, SeekableDecoder, age, openpgp,
};

use super::data::{COMPRESSIONS, decode, encode, mixed, passphrase};
use super::program::{end_gnupg, gnupg, have, succeeds};

const PROGRAMS: [&str; 8] = ["age", "age-keygen", "gpg", "zstd", "gzip", "tar", "bsdtar", "ssh-keygen"];
const PASSPHRASE: &str = "correct horse battery staple";

/// A directory with a tree, its tar, keys, and what they are for.
struct Scene {
    directory: tempfile::TempDir,
    tar: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        for n in 0..40 {
            fs::write(tree.join(format!("file {n}")), mixed(n, usize::try_from(n).unwrap() * 7_000)).unwrap();
        }
        gnupg(directory.path());
        succeeds(
            directory.path(),
            "tar -cf tree.tar tree
             age-keygen -o identity 2>/dev/null; age-keygen -y identity >recipients
             ssh-keygen -q -t ed25519 -N '' -f ed25519; ssh-keygen -q -t rsa -b 3072 -N '' -f rsa
             gpg --export >public; gpg --armor --export-secret-keys >secret
             gpg --armor --export rsa@example.org >rsa.asc",
        );
        fs::write(directory.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        let tar = fs::read(directory.path().join("tree.tar")).unwrap();
        Self { directory, tar }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn source(&self, name: &str) -> KeySource {
        KeySource::File(self.path().join(name))
    }

    fn keys(&self) -> Keys {
        let mut keys = Keys::new();
        for name in ["identity", "ed25519", "rsa"] {
            keys.add_age_identities(&self.source(name)).unwrap();
        }
        keys.add_openpgp_keys(&self.source("secret")).unwrap();
        keys.set_passphrase(passphrase(PASSPHRASE));
        keys
    }

    fn decoded(&self, name: &str) {
        let encoding = Encoding::from_name(name).unwrap();
        let encoded = fs::read(self.path().join(name)).unwrap();
        let out = decode(&encoded, encoding, &self.keys());
        let out = out.unwrap_or_else(|(_, error)| panic!("{name}: {error}"));
        assert!(out == self.tar, "{name}: other bytes");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        end_gnupg(self.path());
    }
}

/// Each kind of recipient, with what decrypts for it.
fn seals(scene: &Scene) -> Vec<(&'static str, Seal, &'static str)> {
    let age_for = |name: &str| {
        let mut recipients = age::Recipients::new();
        recipients.add_all(&scene.source(name)).unwrap();
        Seal::Age(recipients)
    };
    let mut all = age::Recipients::new();
    for name in ["rsa.pub", "ed25519.pub", "recipients"] {
        all.add_all(&scene.source(name)).unwrap();
    }
    let mut symmetric = openpgp::Recipients::new();
    symmetric.set_passphrase(scene.source("passphrase").passphrase().unwrap());
    let mut public = openpgp::Recipients::new();
    public.add_keys(&scene.source("public")).unwrap();
    let mut both = openpgp::Recipients::new();
    both.set_passphrase(scene.source("passphrase").passphrase().unwrap());
    both.add_keys(&scene.source("rsa.asc")).unwrap();
    let gpg = "gpg -q --batch --pinentry-mode loopback --passphrase-file passphrase -d";
    vec![
        ("none", Seal::None, "cat"),
        ("x25519", age_for("recipients"), "age -d -i identity"),
        ("ed25519", age_for("ed25519.pub"), "age -d -i ed25519"),
        ("rsa", age_for("rsa.pub"), "age -d -i rsa"),
        ("all", Seal::Age(all), "age -d -i identity"),
        ("symmetric", Seal::OpenPgp(symmetric), gpg),
        ("public", Seal::OpenPgp(public), "gpg -q --batch -d"),
        ("both", Seal::OpenPgp(both), gpg),
    ]
}

#[test]
fn other_programs_read_what_we_write_and_we_read_what_they_write() {
    if !have(&PROGRAMS) {
        return;
    }
    let scene = Scene::new();
    for (name, seal, decrypt) in seals(&scene) {
        // Each pair of compression and encryption, and each kind of key once.
        let each = ["none", "x25519", "symmetric"].contains(&name);
        for compression in
            COMPRESSIONS.into_iter().filter(|compression| each || *compression == Compression::ZSTD)
        {
            let encoding = seal.encoding(compression);
            let file = format!("{name}{}", encoding.suffix());
            fs::write(scene.path().join(&file), encode(&scene.tar, compression, &seal).0).unwrap();
            scene.decoded(&file);
            let (decompress, gnu) = match compression {
                Compression::None => ("cat", ""),
                Compression::Zstd { .. } => ("zstd -dcq", "--zstd"),
                Compression::Gzip { .. } => ("gunzip -c", "-z"),
            };
            let cat = if decrypt == "cat" { format!("cat {file}") } else { format!("{decrypt} {file}") };
            succeeds(
                scene.path(),
                &format!(
                    "{cat} >plain; {decompress} <plain | cmp - tree.tar
                     rm -rf out; mkdir out; tar -x {gnu} -f plain -C out; diff -r tree out/tree
                     rm -rf out; mkdir out; bsdtar -xf plain -C out; diff -r tree out/tree"
                ),
            );
        }
    }
    others_write(&scene);
}

fn others_write(scene: &Scene) {
    let loopback = "--pinentry-mode loopback --passphrase-file passphrase";
    for (compress, suffix) in [
        ("cat", ""),
        ("zstd -q", ".zst"),
        ("zstd -q -19 --no-check", ".zst"),
        ("zstd -q --ultra -22 -T0", ".zst"),
        ("zstd -q --long=27 --no-content-size", ".zst"),
        ("{ head -c 700000 | zstd -q; } <tree.tar; tail -c +700001 tree.tar | zstd -q; :", ".zst"),
        ("gzip", ".gz"),
        ("gzip -1", ".gz"),
        ("{ head -c 700000 | gzip; } <tree.tar; tail -c +700001 tree.tar | gzip; :", ".gz"),
    ] {
        for (n, (encrypt, end)) in [
            ("cat".to_owned(), ""),
            ("age -R recipients".to_owned(), ".age"),
            ("age -R ed25519.pub -R rsa.pub".to_owned(), ".age"),
            (format!("gpg -q {loopback} -c"), ".gpg"),
            (format!("gpg -q {loopback} -z 0 --cipher-algo AES128 -c"), ".gpg"),
            ("gpg -q --trust-model always -e -r rsa@example.org".to_owned(), ".gpg"),
            ("gpg -q --trust-model always -e -r ecc@example.org".to_owned(), ".gpg"),
        ]
        .into_iter()
        .enumerate()
        {
            // Each compression alone, and each encryption of one that is not compressed.
            if n > 0 && compress != "cat" {
                continue;
            }
            let name = format!("theirs.tar{suffix}{end}");
            succeeds(scene.path(), &format!("({compress}) <tree.tar >plain; {encrypt} <plain >{name}"));
            scene.decoded(&name);
        }
    }
}

/// What is decompressed on the way must not be believed before its end was seen.
#[test]
fn what_others_wrote_is_refused_when_it_is_cut_off() {
    if !have(&PROGRAMS) {
        return;
    }
    let scene = Scene::new();
    let gpg = "gpg -q --pinentry-mode loopback --passphrase-file passphrase -c";
    for (command, name) in [
        ("zstd -q", "t.tar.zst"),
        ("gzip", "t.tar.gz"),
        ("age -R recipients", "t.tar.age"),
        (gpg, "t.tar.gpg"),
    ] {
        succeeds(scene.path(), &format!("{command} <tree.tar >{name}"));
        let encoded = fs::read(scene.path().join(name)).unwrap();
        for cut in [1, 5, 30, 3000, encoded.len() / 2] {
            let Err((out, _)) =
                decode(&encoded[..encoded.len() - cut], Encoding::from_name(name).unwrap(), &scene.keys())
            else {
                panic!("{name} without its last {cut} bytes was read");
            };
            assert!(scene.tar.starts_with(&out));
            assert!(name != "t.tar.gpg" || out.is_empty(), "unchecked text was handed out");
        }
    }
}

#[test]
fn a_passphrase_of_age_is_read_by_age_at_any_offset() {
    if !have(&["age", "script", "zstd"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let data = mixed(31, 9_000_000);
    let seal = Seal::Age(age::Recipients::passphrase(passphrase(PASSPHRASE)));
    let (encoded, _) = encode(&data, Compression::ZSTD, &seal);
    fs::write(directory.path().join("data"), &data).unwrap();
    fs::write(directory.path().join("a.tar.zst.age"), &encoded).unwrap();
    // age asks for a passphrase on a terminal only.
    succeeds(
        directory.path(),
        &format!(
            "(sleep 1; echo {PASSPHRASE}; sleep 9) | timeout 60 script -qec 'age -d -o a.tar.zst a.tar.zst.age' /dev/null
             zstd -dcq a.tar.zst | cmp - data"
        ),
    );
    let mut keys = Keys::new();
    keys.set_passphrase(passphrase(PASSPHRASE));
    let encoding = Encoding { compression: Compression::ZSTD, encryption: Encryption::Age };
    let decoder = SeekableDecoder::open(encoded, encoding, &keys).unwrap();
    let mut out = [0; 1000];
    snapshotter_vault::encode::ReadAt::read_at(&decoder, &mut out, 5_000_000).unwrap();
    assert_eq!(out[..], data[5_000_000..5_001_000]);
}
