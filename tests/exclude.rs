//! `exclude` against git itself: the same patterns, the same tree, the same paths left out.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "tests")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use snapshotter::config::Exclude;
use tempfile::TempDir;

/// A tree, its paths sorted so that parents come first, and whether each is a directory.
struct Tree {
    root: TempDir,
    paths: Vec<(Vec<u8>, bool)>,
}

impl Tree {
    /// Directories three deep, and files with every byte that a name can have.
    fn new() -> Tree {
        let mut paths = vec![];
        let mut parents = vec![String::new()];
        for _depth in 0..3 {
            let mut next = vec![];
            for parent in parents {
                let names = ["foo", "bar", "a"].map(|name| format!("{parent}{name}"));
                paths.extend(names.iter().map(|dir| (dir.clone().into_bytes(), true)));
                next.extend(names.map(|dir| dir + "/"));
                let files = ["b", "ab", "foo.o", "foobar", ".x"].map(|name| format!("{parent}{name}"));
                paths.extend(files.map(|file| (file.into_bytes(), false)));
            }
            parents = next;
        }
        // A leading colon has a meaning of its own on the command line of git.
        let taken = |byte: &u8| b"/.ab:".contains(byte);
        paths.extend((1..=255).filter(|byte| !taken(byte)).map(|byte| (vec![byte], false)));
        let odd: [&[u8]; 19] = [
            b"x y",
            b"x ",
            b"x  ",
            b"#x",
            b"!x",
            b"x\\",
            b"\\x",
            b"{foo,bar}",
            b"[a]",
            b"[a",
            b"a**b",
            b"x]",
            b"x-y",
            b"x:y",
            b"x\xff",
            b"\xff\xfe",
            "é".as_bytes(),
            "éa".as_bytes(),
            b"x\ny",
        ];
        paths.extend(odd.map(|name| (name.to_vec(), false)));
        paths.sort();

        let root = TempDir::new().unwrap();
        for (path, is_dir) in &paths {
            let path = root.path().join(OsStr::from_bytes(path));
            if *is_dir { fs::create_dir(path).unwrap() } else { fs::write(path, "").unwrap() }
        }
        let tree = Tree { root, paths };
        assert!(tree.git(&["init", "-q"], b"").status.success());
        tree
    }

    fn git(&self, arguments: &[&str], input: &[u8]) -> std::process::Output {
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(self.root.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input).unwrap());
            child.wait_with_output().unwrap()
        })
    }

    fn excluded_by_git(&self, patterns: &[&str]) -> BTreeSet<Vec<u8>> {
        let file = self.root.path().join(".git/patterns");
        fs::write(&file, patterns.join("\n") + "\n").unwrap();
        let setting = format!("core.excludesFile={}", file.display());
        let input = self.paths.iter().flat_map(|(path, _)| [path.as_slice(), b"\0"].concat());
        let output = self.git(
            &["-c", &setting, "check-ignore", "--no-index", "--stdin", "-z"],
            &input.collect::<Vec<_>>(),
        );
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        paths.map(<[u8]>::to_vec).collect()
    }

    fn excluded_by_us(&self, exclude: &Exclude) -> BTreeSet<Vec<u8>> {
        let mut excluded = BTreeSet::new();
        for (path, is_dir) in &self.paths {
            let parent = path.iter().rposition(|byte| *byte == b'/').map(|slash| &path[..slash]);
            if parent.is_some_and(|parent| excluded.contains(parent)) || exclude.excludes(path, *is_dir) {
                excluded.insert(path.clone());
            }
        }
        excluded
    }

    /// Patterns that are refused must match nothing in git; the others the same.
    fn differences(&self, patterns: &[&str]) -> Vec<String> {
        let (taken, refused): (Vec<&str>, Vec<&str>) =
            patterns.iter().partition(|pattern| Exclude::parse([**pattern]).is_ok());
        let git = self.excluded_by_git(&taken);
        let ours = self.excluded_by_us(&Exclude::parse(taken).unwrap());
        let refused = if refused.is_empty() { BTreeSet::new() } else { self.excluded_by_git(&refused) };
        let show = |path: &Vec<u8>, who| {
            format!("{patterns:?}: only {who} excludes {:?}", path.escape_ascii().to_string())
        };
        let mut differences: Vec<_> =
            git.difference(&ours).chain(&refused).map(|path| show(path, "git")).collect();
        differences.extend(ours.difference(&git).map(|path| show(path, "this program")));
        differences
    }
}

/// A set of patterns a line.
const TABLE: &str = r"foo
foo/
/foo
foo/bar
/foo/bar
foo/bar/
*.o
*.*
.*
*
*/
/*
/*/
*/*
*/foo
foo/*
foo/*/
**
**/
/**
/**/
**/foo
**/foo/
/**/foo
**/foo/bar
**/foo.o
foo/**
foo/**/
foo/**/b
foo/**/bar/
foo/**/bar/**
foo/**/**/b
**/**/b
**/**
**/*
**/*.o
*/**
*/**/b
***
***/b
foo/***/b
foo/***
**foo
foo**
foo**/b
f**/b
*oo**/b
fo?**/b
a**b
a\*\*b
**a**
**a**/b
a/**b
a/b**
**\/b
foo/**\/b
foo\/bar
\foo
\f\o\o/b
foo/\b
?
??
???
foo?o
foo/?
?/?
*?
?*
*b
*b*
*o*o*
*o*b*r
*/*/b
*/*/*
*/*/*/*
*a*/*b
f*/b*/a*
[ab]
[a-z]
[!a]
[^a]
[!a-z]
[^a-z]
[a-]
[-a]
[a-c-e]
[]]
[]-]
[]-a]
[!]]
[!]-]
[^]]
[[]
[[-a]
[\]]
[\\]
[\\-a]
[!\\]
[a\-z]
[\a-\c]
[a-\z]
[z-a]
[*]
[?]
[!*]
[#]
[^^]
[!!]
[!^]
[^!]
[.]x
[/]
foo[/]bar
[^//.]
foo[!x]bar
foo[.-0]bar
[[:alpha:]]
[[:alnum:]]
[[:blank:]]
[[:cntrl:]]
[[:digit:]]
[[:graph:]]
[[:lower:]]
[[:print:]]
[[:punct:]]
[[:space:]]
[[:upper:]]
[[:xdigit:]]
[![:alpha:]]
[^[:punct:]]
[[:digit:][:upper:]_]
[[:alpha:]-z]
[a-[:alpha:]]
[[:digit:]a-c]
[[:alpha]
[[:]
[[:a]
[[::]]
[[:nope:]]
[:alpha:]
[[:alpha:]
x[[:space:]]
[a
[a]
\[a\]
\[a]
[[]a]
[]
[!]
[^]
a[
a]
x]
{foo,bar}
\{foo,bar\}
f{oo,x}
{
}
!
\!
!x
\!x
#x
\#x
#
\#
x\
x\\
\\x
\\
\
\ 
x y
x\ y
x\ 
x\ \ 
x\  
x 
foo  
foo\  
foo/ 
/
//
foo//
//foo
foo//bar
./foo
foo/.
foo/..
é
?a
??a
é?
\é
[é]
[à-ÿ]
x?
*é*
foobar
foo*bar
foo.o
foo\.o
*foo
fo*
*.o !foo.o
* !foo
* !foo/
* !*/
/* !/foo
/* !/foo foo/* !foo/bar
foo !foo/bar
foo/* !foo/bar
foo/** !foo/**/ !foo/**/b
!foo foo
foo !foo foo
*/ !a/
**/b !/foo/b
a/ !**/a
!* foo
foo # !foo
foo \! b";

#[test]
fn every_pattern_of_the_table_does_what_it_does_in_git() {
    let tree = Tree::new();
    // Several patterns stand in one line, apart from those that are about spaces.
    let sets =
        TABLE.lines().map(|line| if line.contains(" !") { line.split(' ').collect() } else { vec![line] });
    let differences: Vec<_> = sets.flat_map(|patterns: Vec<&str>| tree.differences(&patterns)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn random_patterns_do_what_they_do_in_git() {
    let tree = Tree::new();
    let piece = prop::sample::select(vec![
        "*",
        "*",
        "**",
        "**/",
        "/**",
        "/",
        "/",
        "?",
        "a",
        "b",
        "foo",
        "bar",
        "o",
        ".",
        "\\",
        "[",
        "]",
        "[a-f]",
        "[!a]",
        "[^",
        "-",
        "!",
        "#",
        " ",
        "{",
        ",",
        "}",
        "[[:lower:]]",
        "[:",
        ":]",
        "é",
        "x",
    ]);
    let pattern = (any::<bool>(), prop::collection::vec(piece, 1..7))
        .prop_map(|(keeps, pieces)| if keeps { "!" } else { "" }.to_owned() + &pieces.concat());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&prop::collection::vec(pattern, 1..4), |patterns| {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        prop_assert_eq!(tree.differences(&patterns), Vec::<String>::new());
        Ok(())
    });
    outcome.unwrap();
}
