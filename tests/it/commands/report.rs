//! Results as one JSON object, and as `tar -tv` would show them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use snapshotter::report::{BackupReport, InitReport, Listing, MemberList, RestoreReport, Tail, Verification};

use super::{has_keys, prepared};
use crate::support::sandbox::text;
use crate::support::{Run, Tree, sandboxed, tool};

#[test]
fn backup_and_restore_report_as_json() {
    sandboxed(|s| {
        let volume = prepared(s);
        let backup = s.run(["backup", "--json", "--note", "before \"v2\""]).silent().json();
        has_keys(
            &backup,
            "id prefix time volumes entries references size bytes unhashed note exclude warning_count warnings \
             seconds",
        );
        has_keys(&backup["volumes"][0], "path type entries size");
        assert_eq!(backup["volumes"][0]["path"], text(&volume));
        assert_eq!(backup["volumes"][0]["type"], "dir");
        // The root counts, and a second name does not count its bytes again.
        assert_eq!((&backup["entries"], &backup["size"]), (&json!(6), &json!(9)));
        // Its closing files may count or not.
        let appended = fs::metadata(s.archive()).unwrap().len() - 1024;
        let bytes = backup["bytes"].as_u64().unwrap();
        assert!(bytes <= appended && bytes > appended - 4096, "{bytes} of {appended}");
        assert_eq!(backup["note"], "before \"v2\"");
        assert_eq!(backup["warnings"], json!([]));
        let id = backup["id"].as_str().unwrap();
        assert!(id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");

        let restore = s.run(["restore", "--json"]).silent().json();
        has_keys(
            &restore,
            "id prefix time volumes entries size unhashed warning_count warnings dry_run changes skipped seconds",
        );
        has_keys(&restore["volumes"][0], "path target type");
        assert_eq!(restore["id"], id);
        assert_eq!(restore["volumes"][0]["target"], text(&volume));
        assert_eq!(restore["dry_run"], false);
        assert_eq!((&restore["entries"], &restore["size"]), (&json!(6), &json!(9)));
        let into = s.run(["restore", "--json", "--into", "into"]).silent().json();
        assert_eq!(into["volumes"][0]["path"], text(&volume));
        let target = into["volumes"][0]["target"].as_str().unwrap();
        assert!(Path::new(target).ends_with(Path::new("into").join(volume.strip_prefix("/").unwrap())));
    });
}

/// Reads what was written as a `T`, which writes the very same.
fn read_back<T: Serialize + DeserializeOwned>(run: &Run) -> T {
    let text = run.stdout();
    let read: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {run}"));
    assert_eq!(serde_json::to_string(&read).unwrap() + "\n", text);
    read
}

#[test]
fn the_library_reads_back_what_the_program_reports() {
    sandboxed(|s| {
        let volume = prepared(s);
        let odd: &[u8] = b"b\\x41\xff\n";
        tool("mkfifo", [text(&volume.join("fifo"))]);
        fs::write(volume.join(OsStr::from_bytes(odd)), "x").unwrap();
        let mount = s.tmpfs("vol/a/mo\\unt", "size=1m");
        let other = s.path("other.tar");
        let init: InitReport = read_back(&s.run(["init", "--json", text(&other)]));
        assert_eq!(init.archive, other);
        let backup: BackupReport = read_back(&s.run(["backup", "--json", "--note", "a\\b"]));
        assert_eq!(backup.warnings[0].path, mount.as_os_str().as_bytes());
        let listing: Listing = read_back(&s.run(["list", "--json"]));
        assert_eq!(listing.snapshots[0].warnings, backup.warnings);
        assert_eq!((listing.snapshots[0].created, listing.tail), (backup.created, Tail::Nothing));
        let members: MemberList = read_back(&s.run(["list", "--json", &backup.id]));
        assert!(members.members.iter().any(|member| member.name.ends_with(odd)), "{members:?}");
        let verified: Verification = read_back(&s.run(["verify", "--json"]));
        assert!(verified.ok && verified.bytes() > 0);
        fs::remove_file(volume.join(OsStr::from_bytes(odd))).unwrap();
        let dry: RestoreReport = read_back(&s.run(["restore", "--json", "--dry-run"]));
        assert!(dry.changes.iter().any(|change| change.path.ends_with(odd)), "{dry:?}");

        let mut bytes = fs::read(s.archive()).unwrap();
        let at = bytes.windows(7).position(|window| window == b"content").unwrap();
        bytes[at] = b'C';
        bytes.extend([0; 4096]);
        fs::write(s.archive(), &bytes).unwrap();
        let listing: Listing = read_back(&s.run(["list", "--json"]));
        assert_eq!(listing.tail, Tail::Zeros(4096));
        let verified: Verification = read_back(&s.run(["verify", "--json"]).exits(1));
        assert!(!verified.ok && verified.problems.len() == 1, "{verified:?}");
        let run = s.run(["restore", "--json", "--into", "into", "--skip-damaged"]).exits(3);
        let skipped = read_back::<RestoreReport>(&run).skipped.unwrap();
        assert_eq!((skipped.left_out.len(), skipped.missing), (2, Some(2)), "{skipped:?}");
    });
}

#[test]
fn list_and_verify_report_as_json() {
    sandboxed(|s| {
        let volume = prepared(s);
        let backup = s.run(["backup", "--json", "--note", "n"]).ok().json();
        let list = s.run(["list", "--json"]).silent().json();
        has_keys(&list, "archive snapshots foreign remains padding problems");
        assert_eq!(list["archive"], text(&s.archive()));
        let snapshot = &list["snapshots"][0];
        has_keys(
            snapshot,
            "id time prefix program volumes entries size unhashed note exclude warning_count warnings offset bytes",
        );
        has_keys(&snapshot["volumes"][0], "path type entries size");
        for key in ["id", "time", "prefix", "entries", "size", "unhashed", "note", "warnings", "bytes"] {
            assert_eq!(snapshot[key], backup[key], "{key}");
        }
        assert_eq!(snapshot["offset"], 0);
        assert_eq!(snapshot["program"], format!("snapshotter {}", env!("CARGO_PKG_VERSION")));

        let verify = s.run(["verify", "--json"]).silent().json();
        has_keys(&verify, "archive ok snapshots foreign remains problems seconds");
        has_keys(&verify["snapshots"][0], "id prefix ok offset entries sound volumes checked unhashed");
        assert_eq!(verify["ok"], true);
        assert_eq!(verify["snapshots"][0]["unhashed"], 0);

        let members = s.run(["list", "--json", backup["id"].as_str().unwrap()]).silent().json();
        has_keys(&members, "id members");
        let name = format!("web{}/", text(&volume));
        let of = |end: &str| {
            let all = members["members"].as_array().unwrap();
            all.iter().find(|member| member["name"] == format!("{name}{end}")).unwrap().clone()
        };
        has_keys(&of("file"), "name type mode uid gid size mtime link");
        assert_eq!((&of("file")["type"], &of("file")["size"]), (&json!("file"), &json!(7)));
        assert_eq!((&of("file")["mode"], &of("file")["uid"]), (&json!("0644"), &json!(0)));
        assert_eq!((&of("link")["type"], &of("link")["link"]), (&json!("symlink"), &json!("file")));
        assert_eq!(of("hard")["type"], "hardlink");
        assert_eq!(of("hard")["link"], format!("{name}file"));
        assert_eq!(of("dir")["type"], "dir");
    });
}

#[test]
fn list_shows_members_as_tar_does() {
    sandboxed(|s| {
        let volume = prepared(s);
        Tree::at(&volume)
            .fifo("fifo")
            .char_device("null", 1, 3)
            .file("suid", b"x")
            .owner(5, 6)
            .mode(0o4755)
            .done();
        let id = s.backup()["id"].as_str().unwrap().to_owned();
        let name = format!("web{}/", text(&volume));
        let fields = |text: String| -> Vec<String> {
            let lines = text.lines().filter(|line| line.contains(&name));
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        let tar = fields(tool("tar", ["--numeric-owner", "-tvf", "backup.tar"]).silent().stdout());
        assert_eq!(tar.len(), 9);
        for id in [&id[..], &id[..4]] {
            assert_eq!(fields(s.run(["list", id]).silent().stdout()), tar);
        }
    });
}

#[test]
fn a_volume_that_changes_while_it_is_read_is_a_warning() {
    sandboxed(|s| {
        s.init();
        let volume = s.tmpfs("vol", "size=300m");
        let mut tree = Tree::at(&volume);
        for n in 0..400 {
            tree = tree.file(format!("{n:03}"), vec![b'x'; 200_000]);
        }
        tree.done();
        s.configure("web", &[&volume]);
        let mut child = s.start(["backup", "--json"]);
        while child.try_wait().unwrap().is_none() {
            for n in (0..400).rev() {
                let _ = fs::write(volume.join(format!("{n:03}")), b"short");
                let _ = fs::remove_file(volume.join(format!("{:03}", n - n % 7)));
            }
        }
        let run = Run::ended("backup", child.wait_with_output().unwrap()).ok();
        let result = run.json();
        let warnings = result["warnings"].as_array().unwrap();
        assert!(!warnings.is_empty(), "{run}");
        for warning in warnings {
            assert!(run.stderr().contains(warning["path"].as_str().unwrap()), "{warning}");
        }
        assert_eq!(s.verify()["ok"], true);
        assert_eq!(s.list()["snapshots"][0]["warnings"], result["warnings"]);
        s.restore();
    });
}
