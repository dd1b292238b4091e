//! Archives that cost much more than they weigh, if they are let: each is given little memory and little time.

use std::fs;
use std::process::Command;

use super::confined;
use super::craft::{Body, Extension, Member, field, parse, put, snapshot, write};
use super::restore::{ARCHIVE, prepare};
use crate::support::Run;

/// Of a processor's time, which other work on the machine does not lengthen.
const SECONDS: u32 = 15;

fn root() -> Member {
    Member::ours(b'5', b"w/srv/v/", b"")
}

/// A header with so many attributes, which no filesystem takes.
fn attributes(mut member: Member, count: usize) -> Member {
    if let Body::Records(records) = &mut member.extensions[0].body {
        let many = (0..count).map(|n| (format!("SCHILY.xattr.{n}").into_bytes(), Vec::new()));
        records.splice(0..0, many);
    }
    member
}

/// A file whose path is long, which each warning would name.
fn file_of_many_attributes_far_down() -> Vec<u8> {
    let mut members = vec![root()];
    let mut path = b"w/srv/v".to_vec();
    for _ in 0..60 {
        path.push(b'/');
        path.extend([b'd'; 250]);
        members.push(Member::ours(b'5', b"x/", b"").record("path", &[&path[..], b"/"].concat()));
    }
    let file = Member::ours(b'0', b"x", b"hello").record("path", &[&path[..], b"/f"].concat());
    members.push(attributes(file, 9_000));
    snapshot("w", &[("/srv/v", true)], members)
}

fn directories_of_many_attributes() -> Vec<u8> {
    let mut members = vec![root()];
    let mut path = b"w/srv/v".to_vec();
    for _ in 0..40 {
        path.extend(b"/d");
        let directory = Member::ours(b'5', &[&path[..], b"/"].concat(), b"");
        // As long as a header may be.
        members.push(attributes(directory, 9_000).record("SCHILY.xattr.user.a", &vec![b'x'; 1_500_000]));
    }
    snapshot("w", &[("/srv/v", true)], members)
}

fn headers_of_many_megabytes() -> Vec<u8> {
    let mut file = Member::ours(b'0', b"w/srv/v/a", b"");
    for _ in 0..14 {
        file = file.before(Extension::long(b'L', &vec![b'n'; 4 << 20]));
    }
    snapshot("w", &[("/srv/v", true)], vec![root(), file])
}

fn volumes(count: usize) -> Vec<u8> {
    let paths: Vec<String> = (0..count).map(|n| format!("/{n:06}")).collect();
    let volumes: Vec<(&str, bool)> = paths.iter().map(|path| (path.as_str(), true)).collect();
    let members = paths.iter().map(|path| Member::ours(b'5', format!("w{path}/").as_bytes(), b"")).collect();
    snapshot("w", &volumes, members)
}

fn lists_in_a_manifest() -> Vec<u8> {
    let many = vec!["\"\""; 5_000_000].join(",");
    let archive = snapshot("w", &[("/srv/v", true)], vec![root()]);
    let (mut members, tail) = parse(&archive);
    let close = members.last_mut().unwrap();
    let text = String::from_utf8(close.data.clone()).unwrap();
    close.data = text.replacen("\"digest\"", &format!("\"exclude\": [{many}], \"digest\""), 1).into_bytes();
    let size = format!("{:011o}\0", close.data.len());
    put(&mut close.block[field::SIZE], size.as_bytes());
    write(&members, &tail)
}

/// Lists of volumes as the Go program wrote them, each with something that a parser may take long for.
fn lists() -> Vec<String> {
    let long = "a".repeat(64);
    vec![
        "- ".repeat(500_000),
        "? ".repeat(500_000),
        "&a [*a, ".repeat(900),
        "!".repeat(1_000_000),
        "- |\n".repeat(250_000),
        format!("- id: &a {long}\n{}", "  x: *a\n".repeat(100_000)),
        "a: ".repeat(300_000),
        "\"".repeat(1_000_000),
        "- \"\\x\n".repeat(150_000),
    ]
}

/// Runs the program on an archive: `verify`, and a restore below a directory. It must end by itself, with no more than
/// so many megabytes for all that it allocates, stacks of threads included.
fn little_is_enough(name: &str, megabytes: u64, archive: &[u8]) {
    confined(|scratch| {
        prepare(scratch, b"");
        fs::write(ARCHIVE, archive).unwrap();
        for args in [&["verify"][..], &["restore", "--prefix", "w", "--into", "/srv/into"]] {
            let mut command = Command::new("prlimit");
            command.args([format!("--data={}", megabytes << 20), format!("--cpu={SECONDS}")]);
            command.arg(assert_cmd::cargo::cargo_bin!("snapshotter"));
            command.args(args).args(["-q", "--archive", ARCHIVE]).current_dir("/");
            let run = Run::of(command);
            assert!(matches!(run.code(), Some(0 | 1)), "{name}: {run}");
        }
    });
}

#[test]
fn warnings_of_attributes_do_not_each_hold_a_long_path() {
    little_is_enough("a path of 15 KiB", 64, &file_of_many_attributes_far_down());
}

#[test]
fn attributes_of_directories_that_are_open_are_not_held() {
    little_is_enough("directories", 64, &directories_of_many_attributes());
}

#[test]
fn headers_are_held_up_to_a_limit() {
    little_is_enough("headers", 48, &headers_of_many_megabytes());
}

#[test]
fn many_volumes_of_many_members_do_not_multiply() {
    little_is_enough("volumes", 64, &volumes(20_000));
}

#[test]
fn lists_in_a_manifest_take_a_limited_multiple_of_their_length() {
    little_is_enough("lists", 320, &lists_in_a_manifest());
}

#[test]
fn a_hostile_list_of_volumes_is_given_up_soon() {
    for (at, list) in lists().iter().enumerate() {
        let list = Member::plain(b'0', b"w/volumes-data.yml", list.as_bytes());
        little_is_enough(&format!("list {at}"), 256, &write(&[list], &[0; 1024]));
    }
}
