//! User namespaces, as engines with `userns-remap` and rootless ones use them: ids that are not mapped.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use crate::support::{Picture, Run, Sandbox, Tree, need, sandboxed, tool};

/// Root is root and 1 to 65535 are others, as the engine does it.
const REMAPPED: &str = "0 0 1\n1 200001 65535\n";
/// Too few for 65534.
const FEW: &str = "0 0 1\n1 200001 2000\n";

const UNMAPPED: &str = "that this user namespace does not map";

/// Writes maps of processes, which must be done outside of the sandbox: in it `/proc` is read-only.
type Maps = Sender<(u32, &'static str, Sender<()>)>;

/// A sandbox, and who gives maps to processes in it.
fn namespaced(test: impl FnOnce(&Sandbox, &Maps) + Send) {
    if !need("unshare") || !need("setpriv") || !need("root") {
        return;
    }
    let (maps, asked) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (process, map, done) in asked {
                for file in ["uid_map", "gid_map"] {
                    fs::write(format!("/proc/{process}/{file}"), map).unwrap();
                }
                Sender::send(&done, ()).unwrap();
            }
        });
        sandboxed(move |s| test(s, &maps));
    });
}

/// Runs the program in a user namespace with this map, below `with`, which may be a tool that takes privileges away.
fn run_in((s, maps): (&Sandbox, &Maps), map: &'static str, with: &[&str], args: &[&str]) -> Run {
    let mut command = Command::new("unshare");
    // It waits for its map: what it starts is root only in there.
    command.args(["--user", "sh", "-c", "read -r _ && exec \"$@\"", "sh"]).args(with);
    command.arg(assert_cmd::cargo::cargo_bin!("snapshotter")).args(args).current_dir(s.root());
    command.env("SNAPSHOTTER_ARCHIVE", s.archive()).env("SNAPSHOTTER_CONFIG", s.config());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let ours = fs::read_link("/proc/self/ns/user").unwrap();
    let mut child = command.spawn().unwrap();
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    while fs::read_link(process.join("ns/user")).unwrap() == ours {
        std::thread::yield_now();
    }
    let (done, is_done) = channel();
    maps.send((child.id(), map, done)).unwrap();
    is_done.recv().unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    Run::ended(&shown, child.wait_with_output().unwrap())
}

/// A volume of what is mapped: root's, others', and the one whose number unmapped ids are shown as.
fn mapped(s: &Sandbox) -> PathBuf {
    let shifted = |id: u32| 200_000 + id;
    Tree::at(s.path("vol"))
        .file("root's", b"x")
        .file("other's", b"x")
        .owner(shifted(1000), shifted(2000))
        .dir("nobody's")
        .owner(shifted(65534), shifted(65534))
        .file("nobody's/file", b"x")
        .owner(shifted(65534), shifted(65534))
        .mode(0o600)
        .done()
}

#[test]
fn a_nobody_that_is_mapped_is_no_cause_for_a_warning() {
    namespaced(|s, maps| {
        let volume = mapped(s);
        s.configure("p", &[&volume]);
        s.init();
        run_in((s, maps), REMAPPED, &[], &["backup", "--strict"]).ok().says_not(&[UNMAPPED, "65534"]);
        let listed = s.list();
        let id = listed["snapshots"][0]["id"].as_str().unwrap();
        let members = s.run(["list", id, "--json"]).ok().json();
        let owners: Vec<_> = members["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| (member["uid"].as_u64().unwrap(), member["gid"].as_u64().unwrap()))
            .collect();
        let nobody = (65534, 65534);
        assert_eq!(owners[1..6], [(0, 0), nobody, nobody, (1000, 2000), (0, 0)], "{members}");
        let before = Picture::of(&volume);
        fs::remove_dir_all(volume.join("nobody's")).unwrap();
        run_in((s, maps), REMAPPED, &[], &["restore", "--strict"]).ok();
        before.assert_same(&volume);
    });
}

#[test]
fn owners_that_are_not_mapped_are_said_once_a_volume() {
    namespaced(|s, maps| {
        let volume = mapped(s);
        Tree::at(&volume)
            .file("zz1", b"x")
            .owner(5000, 200_001)
            .file("zz2", b"x")
            .owner(200_001, 5000)
            .done();
        let second = Tree::at(s.path("second")).file("file", b"x").owner(7, 7).done();
        s.configure("p", &[&volume, &second]);
        s.init();
        let run = run_in((s, maps), REMAPPED, &[], &["backup", "--json"]).ok();
        let warnings = run.json()["warnings"].as_array().unwrap().clone();
        let has = |n: usize, words: &[&str]| {
            let warning = warnings[n].to_string();
            assert!(words.iter().all(|word| warning.contains(word)), "{warning}");
        };
        assert_eq!(warnings.len(), 2, "{run}");
        has(
            0,
            &[
                "/vol/zz1",
                "it and another file of this volume have",
                UNMAPPED,
                "in the host's user namespace",
            ],
        );
        has(1, &["/second/file", "it has", UNMAPPED]);
        let snapshot = s.list()["snapshots"][0].clone();
        assert_eq!(snapshot["warning_count"], 2, "{snapshot}");
        // Also where the volume can only be read, and where it is an error.
        s.read_only(&volume);
        run_in((s, maps), REMAPPED, &[], &["backup"]).ok().says(&["/vol/zz1: it and another"]);
        run_in((s, maps), REMAPPED, &[], &["backup", "--strict"]).exits(1).says(&["/vol/zz1", UNMAPPED]);
        // Without a map that has it, 65534 is nobody's for certain.
        run_in(
            (s, maps),
            FEW,
            &["setpriv", "--bounding-set=-dac_override"],
            &["backup", "--volume", text(&second)],
        )
        .ok()
        .says(&["/second/file: it has", UNMAPPED])
        .says_not(&["may stand for"]);
        // And outside of user namespaces nothing is asked.
        s.run(["backup", "--strict"]).ok().says_not(&["namespace"]);
    });
}

#[test]
fn what_cannot_be_told_is_a_note_or_asks_for_the_privilege() {
    namespaced(|s, maps| {
        let volume = Tree::at(s.path("vol")).symlink("link", "x").owner(265_534, 265_534).done();
        s.configure("p", &[&volume]);
        s.init();
        // Everyone may write to it, the owner as well as others: a link's mode says nothing.
        let run = run_in((s, maps), REMAPPED, &[], &["backup", "--strict"]).ok();
        run.says(&["/vol/link: it is stored with an owner or group that may stand for"])
            .says_not(&["warning"]);
        let without = ["setpriv", "--bounding-set=-dac_override"];
        let run = run_in((s, maps), REMAPPED, &without, &["backup"]).ok();
        run.says(&["warning: ", "/vol/link: it is stored", "grant CAP_DAC_OVERRIDE"]);
    });
}

#[test]
fn an_acl_for_someone_who_is_not_mapped_is_said() {
    namespaced(|s, maps| {
        if !need("setfacl") {
            return;
        }
        let volume = Tree::at(s.path("vol")).file("file", b"x").dir("dir").done();
        tool("setfacl", ["-m", "u:200007:rw", text(&volume.join("file"))]).ok();
        s.configure("p", &[&volume]);
        s.init();
        run_in((s, maps), REMAPPED, &[], &["backup", "--strict"]).ok().says_not(&[UNMAPPED]);
        tool("setfacl", ["-d", "-m", "g:5000:rw", text(&volume.join("dir"))]).ok();
        run_in((s, maps), REMAPPED, &[], &["backup"]).ok().says(&["/vol/dir: it has", UNMAPPED]);
    });
}

#[test]
fn a_restore_says_what_to_do_about_an_owner_that_is_not_mapped() {
    namespaced(|s, maps| {
        let volume = Tree::at(s.path("vol")).file("file", b"x").owner(70000, 1).done();
        s.configure("p", &[&volume]);
        s.init();
        s.backup();
        let before = Picture::of(&volume);
        let run = run_in((s, maps), REMAPPED, &[], &["restore"]).exits(1);
        run.says(&[
            "cannot set the owner of",
            "/vol/file: Invalid argument: 70000:1 is not mapped in this user namespace",
        ])
        .says(&["--userns=host", "--no-owner"]);
        before.assert_same(&volume);
    });
}

#[test]
fn an_owner_that_is_not_mapped_is_counted_with_no_owner_and_can_be_mapped_to_another() {
    namespaced(|s, maps| {
        let mut tree = Tree::at(s.path("vol"));
        for (name, uid, gid) in
            [("uid", 70000, 1), ("gid", 1, 70000), ("both", 70000, 70000), ("mapped", 1, 1)]
        {
            tree = tree.file(name, "x").owner(uid, gid).mode(0o6755);
        }
        let volume = tree.done();
        s.configure("p", &[&volume]);
        s.init();
        s.backup();
        let run = run_in((s, maps), REMAPPED, &[], &["restore", "--no-owner"]).ok();
        run.says(&["/vol/both: it and 2 other files did not get"]).prints(&["1 warning"]);
        let found = Picture::of(&volume);
        // As the host sees them.
        for (name, uid, gid, mode) in [
            ("uid", 0, 200_001, 0o2755),
            ("gid", 200_001, 0, 0o4755),
            ("both", 0, 0, 0o755),
            ("mapped", 200_001, 200_001, 0o6755),
        ] {
            let entry = found.entry(name);
            assert_eq!((entry.uid, entry.gid, entry.mode & 0o7777), (uid, gid, mode), "{name}");
        }
        run_in((s, maps), REMAPPED, &[], &["restore", "--map-owner", "70000:1"]).ok().prints(&["0 warnings"]);
        let found = Picture::of(&volume);
        for name in ["uid", "gid", "both", "mapped"] {
            let entry = found.entry(name);
            assert_eq!((entry.uid, entry.gid, entry.mode & 0o7777), (200_001, 200_001, 0o6755), "{name}");
        }
    });
}

#[test]
fn what_is_closed_to_the_namespace_s_root_is_said_to_be_so() {
    namespaced(|s, maps| {
        let volume = Tree::at(s.path("vol")).file("file", b"x").owner(5000, 5000).mode(0o600).done();
        s.configure("p", &[&volume]);
        s.init();
        let words = ["/vol/file: Permission denied: root of this user namespace is another", "--userns=host"];
        run_in((s, maps), REMAPPED, &[], &["backup"]).exits(1).says(&words);
        // Where it is for want of the privilege, or outside of a namespace, it is not put on the namespace.
        let without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
        for run in [
            run_in((s, maps), REMAPPED, &without, &["backup"]),
            s.run_without("-dac_override,-dac_read_search", ["backup"]),
        ] {
            run.exits(1).says(&["/vol/file: Permission denied: run as a user that may, or as root"]);
        }
        assert_eq!(fs::metadata(s.archive()).unwrap().len(), 1024);
    });
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}
