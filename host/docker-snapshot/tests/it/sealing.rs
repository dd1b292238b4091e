//! Who archives are encrypted for, and where they go: what is wrong with that is said before any engine is
//! asked, and no key is shown.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::fake;
use crate::run::{failure, program};

const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// What `create` says with these flags, where no engine can be reached.
fn create(home: &Path, flags: &[&str]) -> Output {
    let mut program = program(home);
    program.args(["--host", "unix:///nowhere.sock", "create", "data"]).args(flags);
    program.env("UNSET_BUT_ONE", "correct horse").output().unwrap()
}

fn refused(home: &Path, flags: &[&str], reason: &str) {
    let said = failure(&create(home, flags));
    assert!(said.contains(reason), "{flags:?}: {said}");
    assert!(!said.contains("nowhere.sock"), "an engine was asked: {said}");
}

#[test]
fn without_a_key_that_fits_nothing_is_begun() {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in
        [("empty", ""), ("comment", "# nobody\n"), ("wrong", "age1hidden\n"), ("two", "a\nb\n")]
    {
        fs::write(home.path().join(name), text).unwrap();
    }
    let refused = |flags: &[&str], reason| refused(home.path(), flags, reason);
    refused(&["--age-recipients-file", "missing"], "cannot read recipients from missing");
    refused(&["--age-recipients-file", "empty"], "it has no public key");
    refused(&["--age-recipients-file", "comment"], "it has no public key");
    refused(&["--age-recipients-file", "wrong"], "line 1");
    refused(&["--age-recipients-file", "env:NOT_SET"], "the variable NOT_SET");
    refused(&["--age-recipients-file", "secret:none"], "/run/secrets/none");
    refused(&["--age-recipient", ""], "cannot use what was given as a recipient");
    refused(&["--gpg-recipient", "wrong"], "a public key of OpenPGP");
    refused(&["--gpg-passphrase-file", "empty"], "it is empty");
    refused(&["--gpg-passphrase-file", "two"], "more than one line");
    refused(&["--gpg-passphrase-file", "env:UNSET_BUT_ONE", "--age-recipient", RECIPIENT], "age and OpenPGP");
    let with_a_key = failure(&create(home.path(), &["--age-recipient", RECIPIENT]));
    assert!(with_a_key.contains("nowhere.sock"), "{with_a_key}");
}

#[test]
fn a_key_is_never_shown() {
    let home = tempfile::tempdir().unwrap();
    let secret = "AGE-SECRET-KEY-1HIDDENHIDDENHIDDENHIDDENHIDDENHIDDENHIDDENHIDDENHIDDENHIDD";
    fs::write(home.path().join("key"), secret).unwrap();
    for flags in [["--age-recipient", secret], ["--age-recipients-file", "key"], ["--gpg-recipient", "key"]] {
        let said = failure(&create(home.path(), &flags));
        assert!(!said.contains("HIDDEN"), "{said}");
    }
}

#[test]
fn what_is_no_store_is_refused_in_words() {
    let home = tempfile::tempdir().unwrap();
    let refused = |store: &str, reason| refused(home.path(), &["--output", store], reason);
    refused("ftp://host/x", "nothing here speaks that");
    refused("s3:https://host/bucket", "write s3://bucket?endpoint=https://host");
    refused("s3://key:hidden@bucket", "it has a password in it");
    refused("s3://bucket?colour=blue", "colour");
    refused("/dev/null", "it is no directory");
    let twice = failure(&create(home.path(), &["-o", "here", "-o", "./here"]));
    assert!(twice.contains("give each --output once"), "{twice}");
}

#[test]
fn levels_that_a_compression_has_not_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("engine.sock");
    fake::on_socket(&socket, fake::empty());
    for (flags, reason) in [
        (&["--level", "20"][..], "zstd has 1 to 19"),
        (&["--compression", "gzip", "--level", "13"], "gzip has 1 to 12"),
        (&["--compression", "none", "--level", "3"], "leave --level out"),
    ] {
        let address = format!("unix://{}", socket.display());
        let mut program = program(home.path());
        let output = program.args(["--host", &address, "create", "data"]).args(flags).output().unwrap();
        let said = failure(&output);
        assert!(said.contains(reason), "{said}");
    }
}
