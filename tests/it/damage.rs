//! Damage as a matrix: what happens (a bit flips, a block is zeroed, cut out, there twice, or another's) × where (each part
//! of each kind of member, and the end) × what is then asked for. A command either says what is wrong and where, and changes
//! nothing, or does exactly what it would have done without the damage; and `restore --skip-damaged` brings back
//! everything that was not touched, as it was, and lists the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::members::members;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Run, Sandbox, Tree, sandboxed};

mod nested;
mod told;
mod unchecked;

const BLOCK: usize = 512;

/// Every so many cells of the matrix are played, all whats and all wheres among them. `SNAPSHOTTER_DAMAGE=all` plays all.
fn stride() -> usize {
    if std::env::var_os("SNAPSHOTTER_DAMAGE").is_some_and(|how| how == "all") { 1 } else { 5 }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Flip,
    Zero,
    Cut,
    Duplicate,
    /// With the block before it.
    Swap,
    /// With a block of another snapshot.
    SwapFar,
}

const WHATS: [What; 6] = [What::Flip, What::Zero, What::Cut, What::Duplicate, What::Swap, What::SwapFar];

/// A block of an archive, and what it is of which member.
#[derive(Debug, Clone)]
struct Where {
    part: &'static str,
    member: String,
    block: usize,
    /// A byte of it that means something.
    byte: usize,
}

/// One member of one snapshot, and where it lies.
struct Lies {
    name: String,
    range: Range<usize>,
}

/// A sound archive with three snapshots, of which the last is to be damaged, and all that is known of it.
struct Archive {
    bytes: Vec<u8>,
    /// Offset of its end, and of the last snapshot; where the others lie.
    end: usize,
    last: usize,
    earlier: [Range<usize>; 2],
    /// The members of the last snapshot, in order.
    members: Vec<Lies>,
    parts: Vec<(&'static str, String, Range<usize>)>,
    ids: Vec<String>,
    dir: PathBuf,
    file: PathBuf,
    dir_picture: Picture,
    file_picture: Picture,
}

impl Archive {
    fn make(s: &Sandbox) -> Archive {
        s.init();
        let long = "long ".repeat(30);
        let dir = Tree::at(s.path("vol/a"))
            .file("empty", b"")
            .file("file", b"content of a file")
            .xattr("trusted.x", b"y")
            .mtime(1_000_000_000, 5)
            .hard_link("hard", "file")
            .file("large", pattern(3000))
            .owner(7, 8)
            .symlink("link", "file")
            .file(&long, b"its name needs a record")
            .sparse("sparse", 1 << 20, &[(8192, &[b's'; 4096])])
            .dir("sub")
            .mode(0o1750)
            .file("sub/deep/er", pattern(700))
            .file("sub/x", b"x")
            .fifo("tube")
            .done();
        let file = s.path("vol/f");
        fs::write(&file, pattern(1500)).unwrap();
        let other = Tree::at(s.path("other")).file("o", pattern(2000)).done();
        let mut ids = Vec::new();
        for (prefix, volumes) in
            [("web", vec![&dir, &file]), ("db", vec![&other]), ("web", vec![&dir, &file])]
        {
            let volumes: Vec<&Path> = volumes.into_iter().map(PathBuf::as_path).collect();
            s.configure(prefix, &volumes);
            ids.push(s.backup()["id"].as_str().unwrap().to_owned());
            // What came since the first snapshot is in the last alone.
            if prefix == "db" {
                Tree::at(&dir).file("since", b"since the first snapshot").done();
            }
        }
        let bytes = fs::read(s.archive()).unwrap();
        let (all, end) = members(&bytes);
        let last = all.iter().rposition(|member| member.name == ".snapshot-begin").unwrap();
        let listed = s.run(["list", "--json", &ids[2]]).ok().json();
        let names =
            listed["members"].as_array().unwrap().iter().map(|member| member["name"].as_str().unwrap());
        let (mut lies, mut parts) = (Vec::new(), Vec::new());
        for (member, name) in all[last..].iter().zip(names) {
            let range = member.parts[0].1.start..member.parts.last().unwrap().1.end;
            lies.push(Lies { name: name.to_owned(), range });
            parts.extend(member.parts.iter().map(|(part, range)| (*part, name.to_owned(), range.clone())));
        }
        assert_eq!(lies.len(), all.len() - last);
        parts.push(("end", "the end".to_owned(), end..end + 2 * BLOCK));
        let last = lies[0].range.start;
        let second =
            all.iter().filter(|member| member.name == ".snapshot-begin").nth(1).unwrap().parts[0].1.start;
        let earlier = [0..second, second..last];
        let (dir_picture, file_picture) = (Picture::of(&dir), Picture::of(&file));
        Archive { bytes, end, last, earlier, members: lies, parts, ids, dir, file, dir_picture, file_picture }
    }

    /// Every block of the last snapshot, with the part that most of it is.
    fn everywhere(&self) -> Vec<Where> {
        let mut all = Vec::new();
        for (part, member, range) in &self.parts {
            let first = range.start.next_multiple_of(BLOCK);
            for block in (first..range.end).step_by(BLOCK) {
                let byte = usize::midpoint(block, range.end.min(block + BLOCK));
                all.push(Where { part, member: member.clone(), block, byte });
            }
            // Padding shares its block with what it fills up.
            if first >= range.end {
                let block = range.start / BLOCK * BLOCK;
                all.push(Where {
                    part,
                    member: member.clone(),
                    block,
                    byte: usize::midpoint(range.start, range.end),
                });
            }
        }
        all
    }

    /// The cells of the matrix that have these places.
    fn cells(places: Vec<Where>) -> impl Iterator<Item = (What, Where)> {
        let cells = places.into_iter().flat_map(|at| WHATS.map(|what| (what, at.clone())));
        cells.step_by(stride())
    }

    /// The archive after that, and the bytes of the original that are not as they were. `None` if nothing changes.
    fn damaged(&self, what: What, at: &Where) -> Option<(Vec<u8>, Vec<Range<usize>>)> {
        let mut bytes = self.bytes.clone();
        let block = at.block..at.block + BLOCK;
        let mut touched = vec![block.clone()];
        let mut swap = |with: usize| {
            let (low, high) = (with.min(at.block), with.max(at.block));
            let (head, tail) = bytes.split_at_mut(high);
            head[low..low + BLOCK].swap_with_slice(&mut tail[..BLOCK]);
            with..with + BLOCK
        };
        match what {
            What::Flip => bytes[at.byte] ^= 0x10,
            What::Zero => bytes[block.clone()].fill(0),
            What::Cut => drop(bytes.drain(block.clone())),
            What::Duplicate => {
                let copy = bytes[block.clone()].to_vec();
                bytes.splice(block.end..block.end, copy);
            }
            What::Swap => touched.push(swap(at.block - BLOCK)),
            // The data of the other prefix's file.
            What::SwapFar => {
                let (start, pattern) = (self.last, pattern(2000));
                let far =
                    self.bytes[..start].windows(64).rposition(|window| window == &pattern[..64]).unwrap();
                touched.push(swap(far));
            }
        }
        (bytes != self.bytes).then_some((bytes, touched))
    }

    /// The members of the last snapshot that were hit.
    fn hit(&self, touched: &[Range<usize>]) -> BTreeSet<&str> {
        let is_hit =
            |lies: &&Lies| touched.iter().any(|hit| lies.range.start < hit.end && hit.start < lies.range.end);
        self.members.iter().filter(is_hit).map(|lies| lies.name.as_str()).collect()
    }

    fn name_of(volume: &Path, path: &str) -> String {
        let name = format!("web{}/{path}", text(volume));
        name.trim_end_matches('/').to_owned()
    }
}

/// A cell's title.
fn title(what: What, at: &Where) -> String {
    format!("{what:?} of the block at {}, {} of {}", at.block, at.part, at.member)
}

/// A header block of zeros with a block of zeros behind it is what an append leaves that did not get to its commit.
fn is_uncommitted(archive: &Archive, what: What, at: &Where) -> bool {
    at.block == archive.last && what == What::Zero
}

/// Zeros behind the end mean nothing.
fn means_nothing(what: What, at: &Where) -> bool {
    at.part == "end" && what == What::Duplicate
}

#[test]
fn whatever_is_damaged_is_found_and_located_and_nothing_else_is_called_damaged() {
    sandboxed(|s| {
        let archive = Archive::make(s);
        let mut cells = 0;
        for (what, at) in Archive::cells(archive.everywhere()) {
            let Some((bytes, touched)) = archive.damaged(what, &at) else { continue };
            cells += 1;
            fs::write(s.archive(), &bytes).unwrap();
            let title = title(what, &at);
            let run = s.run(["verify", "--json"]);
            let found = run.json();
            let snapshot = |id: &str| find(&found["snapshots"], "id", id).cloned();
            for (id, range) in archive.ids.iter().zip(&archive.earlier) {
                let is_hit = touched.iter().any(|hit| range.contains(&hit.start));
                assert!(is_hit || snapshot(id).is_some_and(|found| found["ok"] == true), "{title}: {run}");
            }
            if means_nothing(what, &at) || is_uncommitted(&archive, what, &at) {
                assert_eq!((run.code(), &found["ok"]), (Some(0), &Value::Bool(true)), "{title}: {run}");
                assert_eq!(snapshot(&archive.ids[2]).is_some(), means_nothing(what, &at), "{title}: {run}");
                continue;
            }
            assert_eq!((run.code(), &found["ok"]), (Some(1), &Value::Bool(false)), "{title}: {run}");
            let near = |offset: usize| {
                touched.iter().any(|hit| {
                    let member = archive.members.iter().find(|lies| lies.range.contains(&hit.start));
                    let (from, to) = member.map_or((hit.start.min(archive.end), hit.end), |lies| {
                        (lies.range.start, lies.range.end)
                    });
                    (from..=to).contains(&offset)
                })
            };
            let offsets = found["problems"].as_array().unwrap().iter();
            let offsets: Vec<usize> = offsets.map(|problem| usize_of(&problem["offset"])).collect();
            assert!(offsets.iter().any(|&offset| near(offset)), "{title}: not located: {run}");
            // What is still sound of it, if it is only its end that is not.
            let last = found["snapshots"].as_array().unwrap().last().unwrap();
            if at.part != "end" {
                // Nothing is lost with a `.snapshot-begin`, and nothing by a block behind the last member's.
                let loses_nothing = at.member == ".snapshot-begin"
                    || at.member == "web/snapshot.json" && what == What::Duplicate;
                let is_whole = last["ok"] == true && loses_nothing;
                assert!(is_whole || last["ok"] == false, "{title}: {run}");
                // Its prefix is told by its closing files.
                let hit = archive.hit(&touched);
                let closing = ["web/volumes-data.yml", "web/snapshot.json"];
                let prefix = if closing.iter().all(|name| hit.contains(name)) { "" } else { "web" };
                assert_eq!(last["prefix"], prefix, "{title}: {run}");
                let entries = archive.members.len() - 3;
                assert!(usize_of(&last["sound"]) + hit.len() >= entries, "{title}: {run}");
            }
        }
        assert!(cells * stride() > 500, "{cells}");
    });
}

#[test]
fn what_was_not_hit_is_restored_as_it_was_and_the_rest_is_listed() {
    sandboxed(|s| {
        let archive = Archive::make(s);
        // In memory, as all of it is synced each time.
        let out = s.tmpfs("memory", "size=64m").join("out");
        let mut codes = BTreeMap::new();
        for (what, at) in Archive::cells(archive.everywhere()) {
            let Some((bytes, touched)) = archive.damaged(what, &at) else { continue };
            if is_uncommitted(&archive, what, &at) {
                continue;
            }
            fs::write(s.archive(), &bytes).unwrap();
            let title = title(what, &at);
            let run = s.run(["restore", "--skip-damaged", "--into", text(&out), "--json"]);
            assert!(matches!(run.code(), Some(0 | 3)), "{title}: {run}");
            *codes.entry(run.code()).or_insert(0) += 1;
            let report = run.json();
            let missing = [(&archive.dir, &archive.dir_picture), (&archive.file, &archive.file_picture)]
                .map(|(volume, picture)| missing(&out, volume, picture, &report, &title));
            let missing: Vec<String> = missing.concat();
            check_listing(&archive, &missing, &touched, &run, &title);
            fs::remove_dir_all(&out).unwrap();
        }
        assert!(codes[&Some(3)] * stride() > 500, "{codes:?}");
    });
}

/// The names of members that were not restored. All that was must be as it was.
fn missing(out: &Path, volume: &Path, picture: &Picture, report: &Value, title: &str) -> Vec<String> {
    let target = out.join(volume.strip_prefix("/").unwrap());
    if fs::symlink_metadata(&target).is_err() {
        return picture
            .entries
            .keys()
            .map(|path| Archive::name_of(volume, std::str::from_utf8(path).unwrap()))
            .collect();
    }
    let made: Vec<&str> =
        report["skipped"]["made"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let mut missing = BTreeSet::new();
    for difference in picture.differences(&Picture::of(&target)) {
        let (path, what) = difference.split_once(": ").unwrap();
        let full = format!("{}/{path}", text(volume));
        let is_made = made.contains(&full.trim_end_matches('/'));
        if what == "missing" || is_made {
            missing.insert(Archive::name_of(volume, path));
        } else {
            panic!("{title}: {difference}");
        }
    }
    missing.into_iter().collect()
}

/// Nothing is missing but what was hit, and what cannot be without that; and all of it is listed.
fn check_listing(archive: &Archive, missing: &[String], touched: &[Range<usize>], run: &Run, title: &str) {
    let report = run.json();
    let left_out = report["skipped"]["left_out"].as_array().unwrap();
    let mut lost = archive.hit(touched);
    let (file, hard) = (Archive::name_of(&archive.dir, "file"), Archive::name_of(&archive.dir, "hard"));
    if lost.contains(file.as_str()) {
        lost.insert(&hard);
    }
    for name in missing {
        assert!(lost.contains(name.as_str()), "{title}: {name} was not hit: {run}");
        let lies = archive.members.iter().find(|lies| lies.name == *name).unwrap();
        let names_it = |item: &Value| {
            let offset = usize_of(&item["offset"]);
            item["name"] == **name || (lies.range.start..=lies.range.end + BLOCK).contains(&(offset + BLOCK))
        };
        assert!(left_out.iter().any(names_it), "{title}: {name} is not listed: {run}");
    }
    assert_eq!(run.code(), Some(if left_out.is_empty() { 0 } else { 3 }), "{title}: {run}");
    assert!(missing.is_empty() || run.code() == Some(3), "{title}: {run}");
    match report["skipped"]["missing"].as_u64() {
        Some(count) => assert_eq!(count, missing.len() as u64, "{title}: {run}"),
        None => assert!(lost.iter().any(|name| name.ends_with("snapshot.json")), "{title}: {run}"),
    }
}

/// The commands, what of their output tells what they did, and whether they read the data of all members.
const COMMANDS: [&[&str]; 7] = [
    &["list", "--json"],
    &["backup"],
    &["restore"],
    &["restore", "--into", "out"],
    &["restore", "--in-place"],
    &["restore", "--into", "out", "--path", "vol/a/sub"],
    &["restore", "--dry-run"],
];

#[test]
fn every_command_says_what_is_wrong_and_changes_nothing_or_does_what_it_would_have_done() {
    sandboxed(|s| {
        let archive = Archive::make(s);
        let changed = || fs::write(archive.dir.join("file"), b"changed since").unwrap();
        changed();
        for args in COMMANDS {
            let args: Vec<String> =
                args.iter().map(|arg| arg.replace("vol/", &format!("{}/", text(&s.path("vol"))))).collect();
            for (what, at) in Archive::cells(chosen(&archive)) {
                let Some((bytes, _)) = archive.damaged(what, &at) else { continue };
                fs::write(s.archive(), &bytes).unwrap();
                changed();
                let title = format!("{args:?}, {}", title(what, &at));
                check_command(s, &archive, &args, &bytes, is_uncommitted(&archive, what, &at), &title);
                let _ = fs::remove_dir_all(s.path("out"));
            }
        }
    });
}

/// One block of each part of some members.
fn chosen(archive: &Archive) -> Vec<Where> {
    let mut seen = BTreeSet::new();
    let kinds = [
        "large",
        "sparse",
        "hard",
        "long ",
        "volumes-data.yml",
        "snapshot.json",
        "snapshot-begin",
        "the end",
    ];
    let mut all = archive.everywhere();
    all.retain(|at| {
        let kind = kinds.iter().position(|kind| at.member.rsplit('/').next().unwrap().contains(kind));
        kind.is_some_and(|kind| seen.insert((kind, at.part)))
    });
    let parts: BTreeSet<_> = all.iter().map(|at| at.part).collect();
    let expected = ["data", "end", "header", "padding", "pax data", "pax header", "pax padding"];
    assert!(expected.iter().all(|part| parts.contains(part)), "{parts:?}");
    all
}

fn check_command(
    s: &Sandbox,
    archive: &Archive,
    args: &[String],
    bytes: &[u8],
    uncommitted: bool,
    title: &str,
) {
    let before = Picture::of(s.root());
    let run = s.run(args);
    if run.code() == Some(1) {
        before.assert_same(s.root());
        let said = run.complaints().join("\n");
        assert!(said.contains(text(&s.archive())) && said.contains("offset "), "{title}: {run}");
        return;
    }
    assert_eq!(run.code(), Some(0), "{title}: {run}");
    match args[0].as_str() {
        "list" => {
            let count = if uncommitted { 2 } else { 3 };
            let listed = run.json();
            let ids: Vec<_> = listed["snapshots"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["id"].as_str().unwrap())
                .collect();
            assert_eq!(ids, archive.ids[..count], "{title}: {run}");
        }
        "backup" => {
            // Nothing that was there is changed, but what was no part of the archive.
            let now = fs::read(s.archive()).unwrap();
            let kept = if uncommitted { archive.last } else { archive.end };
            assert_eq!(now[..kept], bytes[..kept], "{title}");
        }
        _ if uncommitted => {}
        _ if args.iter().any(|arg| arg == "--dry-run") => before.assert_same(s.root()),
        _ if args.iter().any(|arg| arg == "--path") => {
            let sub = s.path("out").join(archive.dir.strip_prefix("/").unwrap()).join("sub");
            let mut expected = archive.dir_picture.clone();
            expected.entries.retain(|name, _| name.starts_with(b"sub/"));
            let mut found = Picture::of(sub.parent().unwrap());
            found.entries.retain(|name, _| name.starts_with(b"sub/"));
            expected.assert_same_picture(&found);
        }
        _ => {
            let root =
                if args.iter().any(|arg| arg == "--into") { s.path("out") } else { PathBuf::from("/") };
            archive.dir_picture.assert_same(root.join(archive.dir.strip_prefix("/").unwrap()));
            archive.file_picture.assert_same(root.join(archive.file.strip_prefix("/").unwrap()));
        }
    }
}

fn find<'a>(list: &'a Value, key: &str, value: &str) -> Option<&'a Value> {
    list.as_array().unwrap().iter().find(|item| item[key] == value)
}

fn usize_of(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}
