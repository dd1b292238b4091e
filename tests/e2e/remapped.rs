//! An engine with `userns-remap`: what docs/security.md says of user namespaces. Ids are those that containers see, so
//! that an archive goes from one kind of engine to the other.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::chown;

use crate::support::{Engine, Picture, Tree, with_remapped_engine};

/// Root of the remapped engine (scripts/remapped-engine.sh).
const ROOT: u32 = 200_000;

/// What an application makes, as busybox can: everything but devices, owners at both ends of what is mapped.
const FILL: &str = "
    cd /data
    echo root > root; echo user > user; chown 1000:2000 user; chmod 600 user
    mkdir nobody; echo nobody > nobody/file; ln -s file nobody/link; mkfifo nobody/fifo
    chown -hR 65534:65534 nobody; chmod 2750 nobody; chmod 4711 nobody/file
    echo last > last; chown 65535:65535 last
    ln user user-again
    touch -d '2001-02-03 04:05:06' root";

/// What the application sees: kind, mode, owner, links, time and content.
const LOOK: &str = "cd /data; find . | sort | while read -r f; do \
    stat -c '%n %F %a %u:%g %h %Y %N' \"$f\"; test -L \"$f\" || test ! -f \"$f\" || cat \"$f\"; done";

/// An archive that the remapped root may write to.
fn give_archive(e: &Engine) {
    chown(&e.archive(), Some(ROOT.into()), Some(ROOT.into())).unwrap();
}

/// A container with an empty named volume at /data, and where that is on the host.
fn container(e: &Engine, name: &str) -> (String, std::path::PathBuf) {
    let (volume, path) = e.volume(name, &[]);
    (e.application(name, &["-v", &format!("{volume}:/data")]), path)
}

/// The same picture, with owners as the remapped root sees them.
fn as_seen_inside(path: &Path) -> Picture {
    let mut picture = Picture::of(path);
    for entry in picture.entries.values_mut() {
        entry.uid -= ROOT;
        entry.gid -= ROOT;
    }
    picture
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_remapped_engine_brings_back_what_the_application_saw() {
    with_remapped_engine(|_, e| {
        let (app, path) = container(e, "app");
        e.shell(&app, FILL);
        let file = fs::metadata(path.join("user")).unwrap();
        assert_eq!((file.uid(), file.gid()), (ROOT + 1000, ROOT + 2000), "the engine is not remapped");
        let seen = e.shell(&app, LOOK);
        let picture = Picture::of(&path);
        e.configure("remapped", &["/data"]);
        give_archive(e);
        e.snapshotter(&app, &["backup", "--strict"]).ok().says_not(&["65534"]);
        e.shell(&app, "rm -r /data/*; echo new > /data/new; chown 7 /data");
        e.snapshotter(&app, &["restore", "--strict"]).ok();
        picture.assert_same(&path);
        assert_eq!(e.shell(&app, LOOK), seen);
        assert_eq!(e.verified(), 1);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn archives_go_from_a_remapped_engine_to_an_ordinary_one_and_back() {
    with_remapped_engine(|ordinary, remapped| {
        let (inside, inside_path) = container(remapped, "inside");
        remapped.shell(&inside, FILL);
        Tree::at(&inside_path)
            .file("attributes", b"x")
            .owner(ROOT + 5, ROOT + 6)
            .xattr("user.x", b"y")
            .done();
        let seen = remapped.shell(&inside, LOOK);
        remapped.configure("moving", &["/data"]);
        give_archive(remapped);
        remapped.snapshotter(&inside, &["backup", "--strict"]).ok();

        let (outside, outside_path) = container(ordinary, "outside");
        ordinary.snapshotter(&outside, &["restore", "--strict"]).ok();
        as_seen_inside(&inside_path).assert_same(&outside_path);
        assert_eq!(ordinary.shell(&outside, LOOK), seen);

        // And back, with something of the ordinary engine's own.
        ordinary.shell(&outside, "echo more > /data/more; chown 1000:65534 /data/more; rm /data/root");
        let seen = ordinary.shell(&outside, LOOK);
        ordinary.snapshotter(&outside, &["backup", "--strict"]).ok();
        remapped.snapshotter(&inside, &["restore", "--strict"]).ok();
        assert_eq!(remapped.shell(&inside, LOOK), seen);
        as_seen_inside(&inside_path).assert_same(&outside_path);
        assert_eq!(remapped.verified(), 2);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn an_archive_that_is_closed_to_the_remapped_root_is_said_to_be_so() {
    with_remapped_engine(|_, e| {
        let (app, path) = container(e, "app");
        e.shell(&app, "echo x > /data/file");
        e.configure("closed", &["/data"]);
        let words =
            ["/backup.tar: Permission denied", "root of this user namespace is another user", "chown"];
        e.snapshotter(&app, &["backup"]).exits(1).says(&words);
        assert_eq!(fs::read(e.archive()).unwrap(), [0; 1024]);
        e.snapshotter_with(&["--rm", "--userns", "host", "--volumes-from", &app], &["backup", "--strict"])
            .ok();
        give_archive(e);
        e.snapshotter(&app, &["backup", "--strict"]).ok();
        let picture = Picture::of(&path);
        // The first has the host's ids, and comes back as it was taken.
        let list = e.told([
            "run",
            "--rm",
            "-v",
            &format!("{}:/backup.tar:ro", e.archive().display()),
            e.image(),
            "list",
            "--json",
        ]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let first = list["snapshots"][0]["id"].as_str().unwrap();
        let run = e.snapshotter(&app, &["restore", "--snapshot", first]).exits(1);
        run.says(&["200000:200000 is not mapped in this user namespace", "--userns=host"]);
        picture.assert_same(&path);
        fs::remove_file(path.join("file")).unwrap();
        let host = ["--rm", "--userns", "host", "--volumes-from", &app];
        e.snapshotter_with(&host, &["restore", "--strict", "--snapshot", first]).ok();
        picture.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn owners_of_the_host_s_are_warned_of_in_a_remapped_engine() {
    with_remapped_engine(|_, e| {
        let bind = Tree::at(e.path("bind"))
            .owner(ROOT, ROOT)
            .file("a-nobody's", b"x")
            .owner(ROOT + 65534, ROOT + 65534)
            .file("host's", b"x")
            .owner(5000, 5000)
            .file("host's-too", b"x")
            .owner(ROOT + 1, ROOT + 65536)
            .done();
        let app = e.application("app", &["-v", &format!("{}:/data", bind.display())]);
        assert_eq!(e.shell(&app, "stat -c %u:%g \"/data/host's\""), "65534:65534");
        e.configure("bind", &["/data"]);
        give_archive(e);
        let done = e.backup(&app);
        let warnings = done["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{done}");
        let words = [
            "/data/host's",
            "it and another file of this volume have",
            "does not map",
            "in the host's user namespace",
        ];
        let warning = warnings[0].to_string();
        assert!(words.iter().all(|word| warning.contains(word)), "{warning}");
        e.snapshotter(&app, &["backup", "--strict"]).exits(1).says(&words);

        // With the host's ids all is kept.
        let host = ["--rm", "--userns", "host", "--volumes-from", &app];
        let picture = Picture::of(&bind);
        e.snapshotter_with(&host, &["backup", "--strict"]).ok();
        fs::remove_file(bind.join("host's")).unwrap();
        e.snapshotter_with(&host, &["restore", "--strict"]).ok();
        picture.assert_same(&bind);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn devices_and_the_administrator_s_attributes_are_lost_in_a_remapped_engine() {
    /// Effective and permitted `CAP_NET_BIND_SERVICE`.
    const CAPABLE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    with_remapped_engine(|ordinary, remapped| {
        let (outside, outside_path) = container(ordinary, "outside");
        Tree::at(&outside_path)
            .file("capable", b"x")
            .xattr("security.capability", CAPABLE)
            .char_device("null", 1, 3)
            .file("trusted", b"x")
            .xattr("trusted.t", b"t")
            .xattr("user.u", b"u")
            .done();
        ordinary.configure("lost", &["/data"]);
        give_archive(ordinary);
        let administrator = |container| ["--rm", "--cap-add", "SYS_ADMIN", "--volumes-from", container];
        ordinary.snapshotter_with(&administrator(&outside), &["backup", "--strict"]).ok();

        let (inside, inside_path) = container(remapped, "inside");
        let run = remapped.snapshotter(&inside, &["restore"]).ok();
        let run = run.says(&["/data/null", "/data/trusted", "trusted.t", "Operation not permitted"]);
        assert_eq!(run.stderr().matches("warning: ").count(), 2, "{run}");
        remapped.snapshotter(&inside, &["restore", "--strict"]).exits(1).says(&["/data/null"]);
        let lost = Picture::of(&outside_path).differences(&as_seen_inside(&inside_path));
        let expected =
            ["capable: xattr security.capability", "null: missing", "trusted: xattr trusted.t: missing"];
        assert_eq!(lost.len(), expected.len(), "{lost:#?}");
        for (lost, expected) in lost.iter().zip(expected) {
            assert!(lost.starts_with(expected), "{lost}");
        }

        // What cannot be seen is not in a snapshot. A file capability is, in the form for every engine.
        Tree::at(&inside_path).at_entry("trusted").xattr("trusted.t", b"t").done();
        remapped.snapshotter_with(&administrator(&inside), &["backup", "--strict"]).ok();
        ordinary.snapshotter_with(&administrator(&outside), &["restore", "--strict"]).ok();
        let again = Picture::of(&outside_path);
        assert!(!again.has("null"));
        assert_eq!(xattrs(&outside_path.join("trusted")), ["user.u"]);
        assert_eq!(
            xattr::get(outside_path.join("capable"), "security.capability").unwrap().unwrap(),
            CAPABLE
        );
    });
}

fn xattrs(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = xattr::list(path).unwrap().map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}
