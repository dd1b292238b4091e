//! The order of the layers (docs/design.md, "Layers"), held against the sources themselves: no file needs one of a layer
//! above its own, no two files need each other, only `src/fs` makes system calls, no function is too long to be seen at
//! once, and no type name has two meanings. What is compiled for tests alone does not count.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use self::source::Source;

/// From the bottom to the top. A file uses those of its own layer and of the layers before it; those of the binary have
/// the library's public interface below them, and nothing else.
const LAYERS: [&[&str]; 9] = [
    // What all speak in.
    &["defaults", "error", "hint", "name", "observer", "time", "volume", "warning", "yaml"],
    &["fs"],
    &["archive"],
    &["snapshot"],
    &["config", "report", "staging"],
    &["backup", "restore", "verify"],
    &["lib"],
    &["cli"],
    &["main"],
];

/// What makes system calls. Of `nix`, the numbers of errors are no calls.
const CALLING: [&str; 8] =
    ["std::fs", "std::os::unix::fs", "nix::", "rustix::", "libc::", "xattr::", "filetime::", "walkdir::"];

/// Of a function, from its name to its last brace.
const MAX_LINES: usize = 60;

#[test]
fn no_file_needs_one_of_a_layer_above_its_own() {
    let layer = |file: &str| {
        let top = file.split("::").next().unwrap();
        LAYERS.iter().position(|layer| layer.contains(&top)).unwrap_or_else(|| panic!("no layer has {file}"))
    };
    let upward: Vec<String> = arrows(&source::all())
        .iter()
        .flat_map(|(from, to)| to.iter().map(move |to| (from, to)))
        .filter(|(from, to)| layer(from) < layer(to))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect();
    assert!(upward.is_empty(), "arrows that go up:\n{}", upward.join("\n"));
}

#[test]
fn no_files_need_each_other() {
    let sources = source::all();
    let arrows = arrows(&sources);
    let circles: BTreeSet<Vec<&str>> = arrows.keys().filter_map(|from| circle(&arrows, from)).collect();
    let shown: Vec<String> = circles.iter().map(|circle| circle.join(" -> ")).collect();
    assert!(circles.is_empty(), "circles:\n{}", shown.join("\n"));
}

#[test]
fn only_fs_makes_system_calls() {
    let sources = source::all();
    let elsewhere =
        sources.iter().filter(|source| source.module != "fs" && !source.module.starts_with("fs::"));
    let calls: Vec<String> = elsewhere
        .flat_map(|source| source.code.lines().enumerate().map(move |line| (source, line)))
        .filter(|(_, (_, line))| {
            let rest = line.replace("nix::errno", "").replace("std::os::unix::ffi", "");
            CALLING.iter().any(|calling| source::has_path(&rest, calling))
        })
        .map(|(source, (number, line))| format!("{}, line {}: {}", source.path, number + 1, line.trim()))
        .collect();
    assert!(calls.is_empty(), "system calls outside of src/fs:\n{}", calls.join("\n"));
}

#[test]
fn no_function_is_too_long_to_be_seen_at_once() {
    let long: Vec<String> = source::all()
        .iter()
        .flat_map(|source| source.functions().into_iter().map(move |function| (source, function)))
        .filter(|(_, function)| function.lines > MAX_LINES)
        .map(|(source, function)| format!("{}: {} has {} lines", source.path, function.name, function.lines))
        .collect();
    assert!(long.is_empty(), "functions of more than {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn no_type_name_has_two_meanings() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in source::all() {
        for name in source.types() {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    places.retain(|_, places| places.len() > 1);
    let shown: Vec<String> =
        places.iter().map(|(name, places)| format!("{name}: {}", places.join(", "))).collect();
    assert!(places.is_empty(), "types that are defined more than once:\n{}", shown.join("\n"));
}

#[test]
fn what_is_wrong_in_a_source_is_seen() {
    let read = |module: &str, text: &str| Source::read(module, text).0;
    let sources = [
        read("fs", "mod handle;\npub(crate) use handle::Handle;\n#[cfg(test)]\nuse crate::cli::Main;\n"),
        read(
            "fs::handle",
            "use crate::{name, fs::{self, listing::Names as N}};\npub(crate) struct Handle;\n",
        ),
        read(
            "fs::listing",
            "fn f(h: crate::fs::Handle) { let _ = '\"'; g(r#\"crate::cli\"#) } // crate::cli\n",
        ),
        read("name", "/// `crate::fs`\ntype Name = ();\nimpl I for () {\n type Other = ();\n}\n"),
        read(
            "cli",
            "fn f<'a>(x: &'a str) {\n std::fs::read(x);\n}\n#[cfg(test)]\nmod tests {\n struct T;\n}\n",
        ),
    ];
    let arrows = arrows(&sources);
    assert_eq!(arrows["fs"], BTreeSet::new());
    assert_eq!(arrows["fs::handle"], BTreeSet::from(["name", "fs", "fs::listing"]));
    // Through what `fs` hands on.
    assert_eq!(arrows["fs::listing"], BTreeSet::from(["fs::handle"]));
    assert_eq!(arrows["name"], BTreeSet::new());
    assert_eq!(circle(&arrows, "fs::listing").unwrap(), ["fs::handle", "fs::listing", "fs::handle"]);
    assert_eq!(circle(&arrows, "name"), None);
    assert_eq!(sources[3].types(), ["Name"]);
    assert_eq!(sources[4].types(), [""; 0]);
    let functions = sources[4].functions();
    assert_eq!((functions[0].name.as_str(), functions[0].lines, functions.len()), ("f", 3, 1));
    assert!(source::has_path(&sources[4].code, "std::fs") && !source::has_path(&sources[4].code, "fs::read"));
}

/// Which files each file needs, by the names of their modules.
fn arrows(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let by_module: BTreeMap<&str, &Source> =
        sources.iter().map(|source| (source.module.as_str(), source)).collect();
    let needed = |source: &Source| -> BTreeSet<&str> {
        let paths = source.needed_paths();
        let found = paths.iter().filter_map(|path| source::defined_in(path, &by_module));
        found.filter(|module| *module != source.module).collect()
    };
    sources.iter().map(|source| (source.module.as_str(), needed(source))).collect()
}

/// The shortest way from a file back to itself, begun at its first name in the alphabet, so that each is found once.
fn circle<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &'a str) -> Option<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut pending = std::collections::VecDeque::from([from]);
    while let Some(here) = pending.pop_front() {
        for &next in &arrows[here] {
            if next == from {
                let mut way = vec![here];
                while let Some(&last) = before.get(way[way.len() - 1]) {
                    way.push(last);
                }
                way.reverse();
                let first = way.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(at, _)| at);
                way.rotate_left(first);
                way.push(way[0]);
                return Some(way);
            }
            if !before.contains_key(next) {
                before.insert(next, here);
                pending.push_back(next);
            }
        }
    }
    None
}
