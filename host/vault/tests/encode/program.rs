//! Other programs, which the tests run.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Whether all of `programs` are there. With CI=true they must be.
pub(crate) fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|name| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            !std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
        })
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing:?} are not installed");
    eprintln!("skipped: {missing:?} are not installed");
    false
}

/// Runs a script of `sh` in `directory`, which is also the home of whatever it starts.
pub(crate) fn shell(directory: &Path, script: &str) -> Output {
    Command::new("sh")
        .args(["-euc", script])
        .current_dir(directory)
        .env("HOME", directory)
        .env("GNUPGHOME", directory.join("gnupg"))
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a script that must succeed, and says what it printed.
pub(crate) fn succeeds(directory: &Path, script: &str) -> Vec<u8> {
    let output = shell(directory, script);
    assert!(
        output.status.success(),
        "{script}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A home for gpg, with a key of each kind that has no passphrase.
pub(crate) fn gnupg(directory: &Path) {
    let home = directory.join("gnupg");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::File::create(home.join("gpg.conf")).unwrap().write_all(b"batch\nno-tty\n").unwrap();
    succeeds(
        directory,
        "gpg -q --passphrase '' --quick-generate-key rsa@example.org rsa2048 cert never
         fingerprint=$(gpg --with-colons -k rsa@example.org | awk -F: '/^fpr/ { print $10; exit }')
         gpg -q --passphrase '' --quick-add-key $fingerprint rsa2048 encrypt never
         gpg -q --passphrase '' --quick-generate-key ecc@example.org ed25519 cert never
         fingerprint=$(gpg --with-colons -k ecc@example.org | awk -F: '/^fpr/ { print $10; exit }')
         gpg -q --passphrase '' --quick-add-key $fingerprint cv25519 encrypt never",
    );
}

/// Ends what gpg started in the background.
pub(crate) fn end_gnupg(directory: &Path) {
    shell(directory, "gpgconf --kill all");
}
