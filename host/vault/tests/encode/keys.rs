//! Files with keys, as people have them; and that no key is ever shown.

use age::secrecy::ExposeSecret as _;
use snapshotter_vault::encode::{Error, KeySource, Keys, Seal, age as age_format, openpgp};

use super::data::{file, passphrase};
use super::program::{end_gnupg, gnupg, have, succeeds};

fn identity() -> (String, String) {
    let identity = age::x25519::Identity::generate();
    (identity.to_string().expose_secret().to_owned(), identity.to_public().to_string())
}

#[test]
fn ends_of_lines_do_not_matter_in_files_of_keys() {
    let ((secret, public), (_, other)) = (identity(), identity());
    for end in ["", "\n", "\r\n", "\n\n"] {
        let (_directory, source) = file(format!("# made by a test\n\n{public}\r\n{other}{end}"));
        age_format::Recipients::new().add_all(&source).unwrap();
        let (_directory, source) = file(format!("# created: today\r\n# public key: x\r\n{secret}{end}"));
        Keys::new().add_age_identities(&source).unwrap();
    }
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_refused_and_not_shown() {
    let (secret, public) = identity();
    let shortened = &secret[..secret.len() - 1];
    for content in
        ["", "# nothing\n", &format!(" {secret}\n"), shortened, &format!("{secret} \n"), "\u{0}", &public]
    {
        let (_directory, source) = file(content);
        let error = Keys::new().add_age_identities(&source).unwrap_err();
        assert!(matches!(error, Error::KeyUnfit { .. }), "{content:?}: {error:?}");
        assert!(!format!("{error} {error:?}").contains(&secret[20..40]), "{error}");
    }
    for content in
        ["", "# nothing\n", &format!(" {public}\n"), &public[..40], &secret, "age1pq1xyz", "ssh-dss AAAA"]
    {
        let (_directory, source) = file(content);
        let error = age_format::Recipients::new().add_all(&source).unwrap_err();
        assert!(matches!(error, Error::KeyUnfit { .. }), "{content:?}: {error:?}");
        assert!(!format!("{error} {error:?}").contains(&secret[20..40]), "{error}");
    }
    for content in ["", "hidden hidden", "-----BEGIN PGP PUBLIC KEY BLOCK-----\nhidden"] {
        let (_directory, source) = file(content);
        let public = openpgp::Recipients::new().add_keys(&source).unwrap_err();
        let secret = Keys::new().add_openpgp_keys(&source).unwrap_err();
        assert!(!format!("{public} {public:?} {secret} {secret:?}").contains("hidden"));
    }
    let missing = KeySource::File("/nonexistent/key".into());
    assert!(matches!(Keys::new().add_age_identities(&missing), Err(Error::KeyUnread { .. })));
}

#[test]
fn nothing_that_is_printed_has_a_key() {
    let (secret, _) = identity();
    let (_directory, source) = file(&secret);
    let mut keys = Keys::new();
    keys.add_age_identities(&source).unwrap();
    keys.set_passphrase(passphrase("hidden"));
    keys.set_key_passphrase(passphrase("hidden"));
    let mut recipients = openpgp::Recipients::new();
    recipients.set_passphrase(passphrase("hidden"));
    let seals =
        [Seal::OpenPgp(recipients), Seal::Age(age_format::Recipients::passphrase(passphrase("hidden")))];
    let printed = format!("{keys:?} {seals:?}");
    assert!(!printed.contains("hidden") && !printed.contains(&secret[20..40]), "{printed}");
}

#[test]
fn a_key_on_the_command_line_may_only_be_a_public_one() {
    let (secret, public) = identity();
    age_format::Recipients::new().add(&public).unwrap();
    let error = age_format::Recipients::new().add(&secret).unwrap_err();
    assert!(!error.to_string().contains(&secret[20..40]), "{error}");
}

/// As gpg itself, which refuses them.
#[test]
fn a_key_that_has_expired_or_been_revoked_is_refused() {
    if !have(&["gpg"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    gnupg(path);
    succeeds(
        path,
        "fingerprint() { gpg --with-colons -k $1 | awk -F: '/^fpr/ { print $10; exit }'; }
             old='gpg -q --faked-system-time 20200101T000000'
             $old --passphrase '' --quick-generate-key old@example.org ed25519 cert 1y
             $old --passphrase '' --quick-add-key $(fingerprint old@example.org) cv25519 encrypt never
             gpg --export old@example.org >expired
             gpg --export rsa@example.org >good
             rsa=$(fingerprint rsa@example.org)
             printf 'key 1\\nrevkey\\ny\\n0\\n\\ny\\nsave\\n' | gpg -q --command-fd 0 --edit-key $rsa >edited 2>&1
             gpg --export rsa@example.org >revoked-subkey
             sed 's/^:---/---/' gnupg/openpgp-revocs.d/$rsa.rev | gpg -q --import 2>>edited
             gpg --export rsa@example.org >revoked",
    );
    end_gnupg(path);
    let add = |name: &str| openpgp::Recipients::new().add_keys(&KeySource::File(path.join(name)));
    add("good").unwrap();
    for (name, problem) in
        [("expired", "expired"), ("revoked-subkey", "no subkey"), ("revoked", "been revoked")]
    {
        let error = add(name).unwrap_err().to_string();
        assert!(error.contains(problem), "{name}: {error}");
    }
}
