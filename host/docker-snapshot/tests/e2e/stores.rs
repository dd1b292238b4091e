//! Snapshots that go to stores, encrypted, and come back from them.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::bucket::Bucket;
use crate::place::{Place, fill, helpers, key, state, tree, write};
use crate::sandbox::{Sandbox, inspect};

/// A store where nobody listens.
const DOWN: &str = "s3://backups/x?endpoint=http://127.0.0.1:9";

/// What a run that did not do all that it was to do has printed, and said.
fn half(place: &Place, arguments: &[&str]) -> (Value, String) {
    let output = place.run(&[&["--json"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}")), said)
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_is_encrypted_into_a_store_has_a_name_nowhere_else_and_age_reads_it() {
    let Some(bucket) = Bucket::start() else { return };
    let (sandbox, place) = (Sandbox::new(), Place::with(&Bucket::variables()));
    let (public, key) = key(&place);
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data")]);
    let arguments = ["create", &data, "-o", &bucket.address(), "--age-recipient", &public];
    let report = place.report(&[&arguments[..], &["--exclude", "hard"]].concat());
    assert_eq!((state(&app).as_str(), helpers(&sandbox).as_str()), ("running no", ""));
    let names = bucket.names();
    let [json, archive] = &names[..] else { panic!("{names:?}") };
    assert!(archive.ends_with(".tar.zst.age") && json.contains(".json"), "{names:?}");
    assert_eq!(report["snapshots"][0]["files"][0], format!("s3://backups/some/prefix/{archive}"));
    // Nothing that is called like a file in the volume, of which there is a warning about one.
    let described = String::from_utf8(bucket.get(json)).unwrap();
    assert!(!described.contains("pipe") && !described.contains("notes") && !described.contains("hard"));
    let files = place.all_files();
    assert!(!files.iter().any(|name| name.contains(".tar") || name == "encoded"), "{files:?}");

    let copy = place.path().join("copy.tar.zst.age");
    fs::write(&copy, bucket.get(archive)).unwrap();
    let plain = place.path().join("copy.tar.zst");
    let opened = Command::new("age").args(["-d", "-i", &key, "-o"]).arg(&plain).arg(&copy).status().unwrap();
    assert!(opened.success());
    let listed = Command::new("tar").args(["--zstd", "-tf"]).arg(&plain).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("/notes.txt\n") && !listed.contains("/hard\n"), "{listed}");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_store_that_is_down_keeps_nothing_from_the_others_and_alone_stops_nobody() {
    let Some(bucket) = Bucket::start() else { return };
    let (sandbox, place) = (Sandbox::new(), Place::with(&Bucket::variables()));
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data")]);
    let started = inspect(&app, "{{.State.StartedAt}}");
    for stores in [&[DOWN][..], &["s3://not-there?endpoint=http://127.0.0.1:9", DOWN]] {
        let outputs: Vec<_> = stores.iter().flat_map(|store| ["--output", store]).collect();
        let said = place.refused(&[&["create", &data][..], &outputs].concat());
        assert!(said.contains("s3://") || said.contains("none of the stores"), "{said}");
    }
    assert_eq!(inspect(&app, "{{.State.StartedAt}}"), started);

    let bucket_address = bucket.address();
    let outputs = ["-o", DOWN, "-o", &bucket_address, "-o", "here"];
    let (report, said) = half(&place, &[&["create", &data][..], &outputs].concat());
    assert_eq!(report["snapshots"][0]["files"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(report["failures"].as_array().unwrap().len(), 1, "{report}");
    assert!(said.contains("cannot list s3://backups/x"), "{said}");
    let here = fs::read_dir(place.path().join("here").join(&data)).unwrap().count();
    assert_eq!((bucket.names().len(), here), (2, 2));
    assert_eq!((state(&app).as_str(), helpers(&sandbox).as_str()), ("running no", ""));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_goes_into_stores_alone_is_there_as_it_is_described_whether_somebody_waits_or_not() {
    let Some(bucket) = Bucket::start() else { return };
    let (sandbox, place) = (Sandbox::new(), Place::with(&Bucket::variables()));
    let data = sandbox.volume("data", &[]);
    fill(&data);
    for waits in [false, true] {
        let app = waits.then(|| sandbox.run("app", &["-v", &format!("{data}:/data")]));
        for compression in ["zstd", "gzip", "none"] {
            let store = bucket.address();
            let report = place.report(&["create", &data, "-o", &store, "--compression", compression]);
            let snapshot = &report["snapshots"][0];
            assert_eq!(snapshot["rested_seconds"].is_number(), waits, "{snapshot}");
            let file = &snapshot["file"];
            let name = format!("{data}/{}", file["name"].as_str().unwrap());
            let stored = bucket.get(&name);
            assert_eq!(Some(stored.len() as u64), file["bytes"].as_u64());
            let path = place.path().join("stored");
            fs::write(&path, stored).unwrap();
            let sum = Command::new("sha256sum").arg(&path).output().unwrap();
            assert!(String::from_utf8_lossy(&sum.stdout).starts_with(file["sha256"].as_str().unwrap()));
            assert!(!place.all_files().iter().any(|name| name.contains(".tar") || name.contains(".partial")));
        }
        assert!(app.is_none_or(|app| state(&app) == "running no"));
    }
    assert_eq!(bucket.names().len(), 12);
    let flat = place.path().join("flat");
    let output = ["--output", flat.to_str().unwrap()];
    place.report(&[&["export", &data, "--from", &bucket.address()][..], &output].concat());
    let listed = Command::new("tar").arg("-tf").arg(&flat).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("./notes.txt\n"));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_lies_in_a_store_is_listed_comes_back_in_parts_and_whole_and_is_verified() {
    let Some(bucket) = Bucket::start() else { return };
    let (sandbox, place) = (Sandbox::new(), Place::with(&Bucket::variables()));
    let (public, key) = key(&place);
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data"), "--restart", "always"]);
    let store = bucket.address();
    let before = tree(&data);
    place.report(&["create", &data, "-o", &store, "--age-recipient", &public, "--note", "one"]);
    write(&data, "later");

    let listed = place.report(&["list", &store]);
    let snapshot = &listed["snapshots"][0];
    assert_eq!((&snapshot["note"], &snapshot["encrypted"]), (&"one".into(), &true.into()), "{listed}");
    assert_eq!((&snapshot["name"], &snapshot["grade"]), (&data.as_str().into(), &"stopped".into()));

    let (into, path) = (place.path().join("part"), format!("/{data}/notes.txt"));
    let from = ["--from", &store, "--age-identity", &key];
    let part = ["restore", &data, "--path", &path, "--into", into.to_str().unwrap()];
    place.report(&[&part[..], &from].concat());
    assert_eq!(fs::read_to_string(into.join(&data).join("notes.txt")).unwrap(), "note\n");
    assert_eq!(fs::read_dir(into.join(&data)).unwrap().count(), 1);

    // By the whole address; without a key, and with another's, nothing is touched.
    let name = bucket.names().into_iter().find(|name| name.contains(".tar")).unwrap();
    let (address, options) = store.split_once('?').unwrap();
    let file = format!("{address}/{name}?{options}");
    let again = ["--force", "--stop-containers"];
    let started = inspect(&app, "{{.State.StartedAt}}");
    assert!(place.refused(&[&["restore", &file][..], &again].concat()).contains("no identity is given"));
    let other = place.path().join("other.txt");
    assert!(Command::new("age-keygen").arg("-o").arg(&other).output().unwrap().status.success());
    let wrong = ["--age-identity", other.to_str().unwrap()];
    let said = place.refused(&[&["restore", &file][..], &again, &wrong].concat());
    assert!(said.contains("none of the given keys and passphrases fits"), "{said}");
    assert_eq!(inspect(&app, "{{.State.StartedAt}}"), started);
    assert!(tree(&data).contains("later"));
    place.report(&[&["restore", &file, "--age-identity", &key][..], &again].concat());
    assert_eq!((tree(&data), state(&app).as_str()), (before, "running always"));

    let verified = |quick: &[&str]| {
        place.run(&[&["--json", "verify", &store, "--age-identity", &key][..], quick].concat())
    };
    for quick in [&[][..], &["--quick"]] {
        let report: Value = serde_json::from_slice(&verified(quick).stdout).unwrap();
        assert_eq!(report["verified"][0]["ok"], true, "{report}");
        assert_eq!(report["verified"][0]["sha256"].as_bool(), quick.is_empty().then_some(true));
    }
    assert!(!place.all_files().iter().any(|name| name.contains(".tar")), "{:?}", place.all_files());

    place.report(&["create", &data, "-o", &store, "--age-recipient", &public, "--note", "two"]);
    let forgotten = place.report(&["forget", &store, "--keep-last", "1"]);
    assert_eq!(forgotten["forgotten"][0]["file"], format!("s3://backups/some/prefix/{name}"), "{forgotten}");
    let left = bucket.names();
    assert!(left.len() == 2 && !left.contains(&name), "{left:?}");
    assert_eq!(place.report(&["list", &store])["snapshots"][0]["note"], "two");
    assert_eq!(place.report(&["status", &store])["stores"][0]["sets"][0]["snapshots"], 1);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_flipped_byte_in_a_store_is_named_and_never_swapped_in() {
    let Some(bucket) = Bucket::start() else { return };
    let (sandbox, place) = (Sandbox::new(), Place::with(&Bucket::variables()));
    let passphrase = place.path().join("passphrase");
    fs::write(&passphrase, "correct horse\n").unwrap();
    let gpg = ["--gpg-passphrase-file", passphrase.to_str().unwrap()];
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let store = bucket.address();
    let (mut before, mut seen) = (tree(&data), Vec::new());
    for flags in [&["--compression", "gzip"][..], &["--compression", "none"], &[]] {
        for gpg in [&gpg[..], &[]] {
            place.report(&[&["create", &data, "-o", &store][..], flags, gpg].concat());
            let names = bucket.names();
            let name = names.iter().find(|name| name.contains(".tar") && !seen.contains(*name)).unwrap();
            seen.push(name.clone());
            place.report(&[&["restore", &data, "--from", &store, "--force"][..], gpg].concat());
            assert_eq!(tree(&data), before);
            write(&data, &format!("later{}", seen.len()));
            before = tree(&data);

            let sound = bucket.get(name);
            let mut bytes = sound.clone();
            // The end is kept back until all was found to be right.
            for at in [bytes.len() / 2, bytes.len() - 1] {
                bytes[at] ^= 1;
                bucket.put(name, &bytes);
                let verify = ["--json", "verify", &data, "--from", &store];
                let output = place.run(&[&verify[..], gpg].concat());
                assert_eq!(output.status.code(), Some(1));
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(said.contains("its SHA-256 is"), "{name}: {said}");
                place.refused(&[&["restore", &data, "--from", &store, "--force"][..], gpg].concat());
                assert_eq!(tree(&data), before, "{name}");
                bytes.clone_from(&sound);
            }
            bucket.put(name, &sound);
        }
    }
    assert_eq!(helpers(&sandbox), "");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_run_that_is_killed_while_it_ships_leaves_no_plain_text_and_no_half_of_an_archive() {
    let Some(bucket) = Bucket::start() else { return };
    let (sandbox, place) = (Sandbox::new(), Place::with(&Bucket::variables()));
    let (public, key) = key(&place);
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data")]);
    let store = bucket.address();
    let arguments = ["create", &data, "-o", &store, "--age-recipient", &public, "--bandwidth", "4K"];
    let volume_text = b"note\n";
    for (at, delay) in [400, 900, 1500, 2200, 3000, 4000].into_iter().enumerate() {
        let mut child = place.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        let signal = if at % 2 == 0 { "KILL" } else { "TERM" };
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        child.wait().unwrap();
        assert!(place.run(&["recover"]).status.success());
        assert_eq!((state(&app).as_str(), helpers(&sandbox).as_str()), ("running no", ""), "{delay}");
        for file in place.all_paths() {
            let text = fs::read(&file).unwrap();
            let found = text.windows(volume_text.len()).any(|window| window == volume_text);
            assert!(!found, "{delay}: {}", file.display());
        }
    }
    place.report(&arguments[..6]);
    let verified = place.report(&["verify", &store, "--age-identity", &key]);
    let verdicts = verified["verified"].as_array().unwrap();
    assert!(!verdicts.is_empty() && verdicts.iter().all(|verdict| verdict["ok"] == true), "{verified}");
    assert!(!place.all_files().iter().any(|name| name.contains(".partial")), "{:?}", place.all_files());
}
