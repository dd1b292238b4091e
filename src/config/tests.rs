//! Whole configurations, from files and from flags.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::error::{Hint, chain};

/// A directory with a configuration file in it.
struct Written(TempDir);

impl Written {
    fn new(text: impl AsRef<[u8]>) -> Written {
        let written = Written(tempfile::tempdir().unwrap());
        fs::write(written.path(), text).unwrap();
        written
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("config.yml")
    }

    fn load(&self) -> Result<Config> {
        Config::load(&self.path(), false, &Overrides::default(), Need::Volumes)
    }
}

fn flags(prefix: Option<&str>, volumes: &[&str]) -> Overrides {
    Overrides {
        prefix: prefix.map(str::to_owned),
        volumes: volumes.iter().map(|path| (*path).to_owned()).collect(),
        moved: false,
        named: Named { prefix: "--prefix", volumes: "--volume", exclude: "--exclude" },
        exclude: Vec::new(),
    }
}

fn paths(config: &Config) -> Vec<&str> {
    config.volumes.iter().map(Volume::path).collect()
}

/// Checks that the error names the file and `line`, says `reason`, and is one line.
#[track_caller]
fn refused(text: impl AsRef<[u8]>, line: usize, reason: &str) {
    let written = Written::new(text);
    let error = chain(&written.load().unwrap_err());
    assert!(error.starts_with(&format!("{}, line {line}: ", written.path().display())), "{error}");
    assert!(error.contains(reason), "{error}");
    assert!(!error.contains('\n') && error.len() < 2000, "{error}");
}

#[test]
fn a_file_is_read_and_normalised() {
    let config = Written::new("prefix: /volumes//x/\nvolumes:\n- //home/./a/\n- /b\nexclude: ['*.o']\n")
        .load()
        .unwrap();
    assert_eq!(config.prefix, "volumes/x");
    assert_eq!(paths(&config), ["/home/a", "/b"]);
    assert!(config.exclude.excludes(b"x/y.o", false));
    assert_eq!(Written::new("{prefix: '', volumes: [/a]}").load().unwrap().prefix, "");
}

#[test]
fn what_is_refused_is_named_with_its_line() {
    refused("volumes: [/a]\n", 1, "`prefix` is missing");
    refused("\nprefix: a\n", 2, "there are no volumes: list");
    refused("prefix: a\nvolumes: []\n", 2, "there are no volumes: list");
    refused("volumes: [/a]\nprefix: 123\n", 2, "quote it");
    refused("volumes: [/a]\nprefix: ../a\n", 2, "`../a` has a `..`");
    refused("volumes: [/a]\nprefix: .snapshot-begin\n", 2, "reserved");
    refused("prefix: a\nvolumes:\n- /a\n- b\n", 4, "`b` is no absolute path");
    refused("prefix: a\nvolumes:\n- /a\n- /b\n- /a/.\n", 5, "`/a/.` is there twice");
    refused("prefix: a\nvolumes:\n- \"/a\\n\\e[2J/..\"\n", 3, "`/a\\x0a\\x1b[2J/..` has a `..`");
    refused("prefix: a\nvolumes:\n- \"/a\\0\"\n", 3, "NUL");
    refused("prefix: ''\nvolumes:\n- /.snapshot-begin\n", 3, "give a prefix");
    refused(
        "prefix: a\nvolumes: [/a]\nexclude:\n- x\n- '[a'\n",
        5,
        "`[a` matches nothing: its `[` is not closed",
    );
    refused("prefix: a\nvolumes: [/a]\nexclude:\n- \"\\0\"\n", 4, "NUL");
    refused(b"prefix: a\nvolumes: [/\xff]\n", 2, "it is not UTF-8");
    refused("", 1, "it is empty");
    refused("x".repeat(1 << 20), 1, "invalid type: string");
    refused(format!("prefix: a\nvolumes: [/{}/..]", "x".repeat(1 << 19)), 2, "x…xxx");
}

#[test]
fn a_file_over_the_limit_is_refused_without_a_line() {
    let written = Written::new(" ".repeat((1 << 20) + 1));
    assert!(
        chain(&written.load().unwrap_err())
            .ends_with("/config.yml: it is larger than 1 MiB: is this the configuration?")
    );
}

#[test]
fn volumes_can_be_left_out_where_all_are_meant() {
    for text in ["prefix: a\n", "prefix: a\nvolumes: []\n"] {
        let written = Written::new(text);
        let config = Config::load(&written.path(), false, &Overrides::default(), Need::VolumesOrAll).unwrap();
        assert!(config.volumes.is_empty());
    }
}

#[test]
fn flags_replace_what_the_file_says_and_its_exclude_holds() {
    let written = Written::new("exclude: [x]\n");
    let config = Config::load(&written.path(), false, &flags(Some("/b/"), &["/c/"]), Need::Volumes).unwrap();
    assert_eq!((config.prefix.as_str(), paths(&config)), ("b", vec!["/c"]));
    assert_eq!(config.exclude.patterns(), ["x"]);

    let written = Written::new("prefix: a\nvolumes: [/a]\n");
    let config = Config::load(&written.path(), false, &flags(None, &["/c"]), Need::Volumes).unwrap();
    assert_eq!((config.prefix.as_str(), paths(&config)), ("a", vec!["/c"]));
    let config = Config::load(&written.path(), false, &flags(Some(""), &[]), Need::Volumes).unwrap();
    assert_eq!((config.prefix.as_str(), paths(&config)), ("", vec!["/a"]));
}

#[test]
fn patterns_of_flags_follow_those_of_the_file() {
    let written = Written::new("prefix: a\nvolumes: [/a]\nexclude: ['*.o']\n");
    let load = |pattern: &str| {
        let overrides = Overrides { exclude: vec![pattern.to_owned()], ..flags(None, &[]) };
        Config::load(&written.path(), false, &overrides, Need::Volumes)
    };
    let config = load("!a.o").unwrap();
    assert!(config.exclude.excludes(b"b.o", false) && !config.exclude.excludes(b"a.o", false));
    assert!(chain(&load("[a").unwrap_err()).starts_with("--exclude: the pattern `[a` matches nothing"));
    let broken = Written::new("prefix: a\nvolumes: [/a]\nexclude: ['[a']\n");
    let overrides = Overrides { exclude: vec!["b".to_owned()], ..flags(None, &[]) };
    let error = chain(&Config::load(&broken.path(), false, &overrides, Need::Volumes).unwrap_err());
    assert!(error.contains("line 3: "), "{error}");
}

#[test]
fn a_refused_flag_is_named() {
    let written = Written::new("prefix: a\nvolumes: [/a]\n");
    let load = |prefix, volumes: &[&str]| {
        chain(&Config::load(&written.path(), false, &flags(prefix, volumes), Need::Volumes).unwrap_err())
    };
    assert!(load(Some("a/.."), &[]).starts_with("--prefix: `a/..` has"));
    assert!(load(None, &["/b", "/b/"]).starts_with("--volume: `/b/` is there twice"));
    assert!(load(None, &[""]).starts_with("--volume: `` is no absolute path"));
}

#[test]
fn no_file_is_needed_when_flags_say_it_all() {
    let missing = tempfile::tempdir().unwrap().path().join("config.yml");
    let load = |explicit, overrides: &Overrides| Config::load(&missing, explicit, overrides, Need::Volumes);
    assert_eq!(paths(&load(false, &flags(Some("a"), &["/b"])).unwrap()), ["/b"]);
    assert!(Config::load(&missing, false, &flags(Some("a"), &[]), Need::VolumesOrAll).is_ok());
    for result in [
        load(true, &flags(Some("a"), &["/b"])),
        load(false, &flags(Some("a"), &[])),
        load(false, &flags(None, &["/b"])),
    ] {
        let error = result.unwrap_err();
        let path = missing.display().to_string();
        assert_eq!(chain(&error), format!("cannot open {path}: No such file or directory"));
        assert_eq!(error.hint(), Some(Hint::WriteConfig { path }));
    }
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| Config::load(path, true, &Overrides::default(), Need::Volumes).unwrap_err();
    let load = |path: &Path| chain(&refused(path));
    assert!(load(dir.path()).ends_with(": Is a directory"));
    let path = dir.path().display().to_string();
    assert_eq!(refused(dir.path()).hint(), Some(Hint::ConfigIsDirectory { path }));
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(load(&fifo).contains("it is not a regular file"));
    assert!(load(Path::new("/dev/zero")).contains("it is not a regular file"));
    assert!(load(&dir.path().join("x\ny")).contains("x\\x0ay: No such file"));
}

#[test]
fn parts_are_checked_like_a_file() {
    let make = |prefix, volumes: &[&str]| {
        Config::from_parts(prefix, volumes.iter().copied(), Exclude::default(), Need::Volumes)
    };
    assert_eq!(make("/a/", &["/b/"]).unwrap().prefix, "a");
    assert!(chain(&make("..", &["/b"]).unwrap_err()).starts_with("prefix: `..` has"));
    assert!(chain(&make("a", &["b"]).unwrap_err()).starts_with("volumes: `b` is no absolute path"));
    assert!(chain(&make("a", &[]).unwrap_err()).starts_with("volumes: there are no volumes"));
}

#[test]
fn what_is_written_reads_the_same() {
    let exclude = Exclude::parse(["*.log", "!é\\ ", "# a"]).unwrap();
    let config = Config::from_parts("", ["/a \"b\"\n", "/\u{85}: -"], exclude, Need::Volumes).unwrap();
    let text = config.to_yaml();
    assert!(text.starts_with("prefix: \"\"\nvolumes:\n  - \"/a \\\"b\\\"\\u000A\"\n"), "{text}");
    let read = Written::new(&text).load().unwrap();
    assert_eq!(
        (&read.prefix, &read.volumes, &read.exclude),
        (&config.prefix, &config.volumes, &config.exclude)
    );
    let all = Config::from_parts("p", [""; 0], Exclude::default(), Need::VolumesOrAll).unwrap();
    assert_eq!(all.to_yaml(), "prefix: \"p\"\n");
}
