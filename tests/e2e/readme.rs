//! The README's example as it stands there: its commands are taken from it and run in a shell. Only the names
//! that all of the machine shares are replaced, and labels are added, so that all can be removed again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::support::{Engine, Picture, Run, with_engine};

const README: &str = include_str!("../../README.md");

/// The fenced block with a line that starts so.
fn block(line: &str) -> String {
    let mut blocks = README.split("\n```").skip(1).step_by(2);
    let found = blocks.find(|block| block.lines().any(|each| each.starts_with(line)));
    found
        .unwrap_or_else(|| panic!("README.md has no block with {line:?}"))
        .split_once('\n')
        .unwrap()
        .1
        .to_owned()
}

/// A block of `$ command` and what it prints.
fn command_and_output(line: &str) -> (String, String) {
    let text = block(line);
    let lines: Vec<_> = text.strip_prefix("$ ").unwrap().lines().collect();
    let end = lines.iter().position(|line| !line.ends_with('\\')).unwrap() + 1;
    (lines[..end].join("\n"), lines[end..].join("\n"))
}

fn run(e: &Engine, command: &str) -> Run {
    let labels = format!("docker run {} --network none", e.labels().join(" "));
    let image = |text: &str, name: &str, image: &str| {
        // An image's name stands alone between blanks, or between a blank and the line's end.
        text.replace(&format!(" {name} "), &format!(" {image} "))
            .replace(&format!(" {name}\n"), &format!(" {image}\n"))
    };
    let command = format!("{command}\n")
        .replace("docker run", &labels)
        .replace("busy_lewin\n", &format!("{}\n", e.name("busy")));
    let command = command
        .replace("busy_lewin \\", &format!("{} \\", e.name("busy")))
        .replace("from busy_lewin", &format!("from {}", e.name("busy")));
    let command = image(&image(&command, "busybox", e.app()), "snapshotter", e.image());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &command]).current_dir(e.path("")).stdin(Stdio::null());
    Run::of(shell)
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn the_example_works_as_it_stands() {
    with_engine(|e| {
        fs::create_dir_all(e.path("test-volumes/volume1")).unwrap();
        fs::create_dir_all(e.path("test-volumes/volume3")).unwrap();
        fs::write(e.path("test-volumes/volume1/file.txt"), "one").unwrap();
        fs::write(e.path("test-volumes/volume2.txt"), "two").unwrap();
        fs::write(e.path("test-volumes/volume3/file.txt"), "three").unwrap();

        let (command, shown) = command_and_output("$ docker run --name busy_lewin");
        // Debian's busybox has no tree.
        let found = run(e, &command.replace("tree /home", "find /home -type f")).ok().stdout();
        let mut found: Vec<_> = found.lines().collect();
        found.sort_unstable();
        assert_eq!(found, ["/home/volume1/file.txt", "/home/volume2.txt", "/home/volume3/file.txt"]);
        assert!(["volume1", "volume2.txt", "volume3", "3 files"].iter().all(|name| shown.contains(name)));
        let (command, shown) = command_and_output("$ docker inspect");
        let mut mounts: Vec<_> = run(e, &command)
            .ok()
            .stdout()
            .trim()
            .lines()
            .map(|line| line.split_once(':').unwrap().1.to_owned())
            .collect();
        let mut expected: Vec<_> =
            shown.lines().map(|line| line.split_once(':').unwrap().1.to_owned()).collect();
        mounts.sort();
        expected.sort();
        assert_eq!(mounts, expected);

        fs::write(e.path("config.yml"), block("prefix: \"volumes/busy_lewin\"")).unwrap();
        fs::remove_file(e.archive()).unwrap();
        let init = block("docker run --rm -v \"$PWD:/host\" snapshotter init");
        let with_image = init.lines().find(|line| line.starts_with("docker run")).unwrap();
        run(e, with_image.split('#').next().unwrap()).ok();
        assert_eq!(fs::read(e.archive()).unwrap(), [0; 1024]);
        assert_eq!(fs::metadata(e.archive()).unwrap().mode() & 0o777, 0o600);
        let without = init.lines().find(|line| line.starts_with("dd ")).unwrap();
        fs::remove_file(e.archive()).unwrap();
        run(e, without.split('#').next().unwrap()).ok();
        assert_eq!(fs::read(e.archive()).unwrap(), [0; 1024]);

        let picture = Picture::of(e.path("test-volumes"));
        run(e, &block("  snapshotter backup")).ok();
        let seen = run(e, &block("docker run --rm -v \"$PWD/backup.tar:/backup.tar\" snapshotter list")).ok();
        assert!(seen.stdout().contains("volumes/busy_lewin"), "{seen}");

        fs::remove_file(e.path("test-volumes/volume1/file.txt")).unwrap();
        fs::write(e.path("test-volumes/volume2.txt"), "changed").unwrap();
        fs::write(e.path("test-volumes/volume3/new"), "made later").unwrap();
        run(e, &block("  snapshotter restore")).ok();
        // The file was overwritten in place, and the directory around the volumes is none of them.
        let mut found = Picture::of(e.path("test-volumes"));
        found.entries.insert(Vec::new(), picture.entry("").clone());
        picture.assert_same_picture(&found);

        run(e, &block("  snapshotter restore --prefix")).ok();
        assert_eq!(fs::read_to_string(e.path("restored/home/volume1/file.txt")).unwrap(), "one");
    });
}
