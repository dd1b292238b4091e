//! The sources as text, as far as the order of the layers can be seen in them: what is no code is blanked, and so is
//! what is compiled for tests alone.

use std::collections::BTreeMap;
use std::path::Path;

/// One file.
pub(super) struct Source {
    /// Below the repository.
    pub(super) path: String,
    /// Its module: `fs::handle`.
    pub(super) module: String,
    /// Its text, with blanks in place of comments, literals and tests.
    pub(super) code: String,
}

pub(super) struct Function {
    pub(super) name: String,
    pub(super) lines: usize,
}

/// All files below `src` but those for tests alone.
pub(super) fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut for_tests = Vec::new();
    for entry in walkdir::WalkDir::new(root.join("src")).sort_by_file_name() {
        let entry = entry.unwrap();
        let Some(inside) =
            entry.path().strip_prefix(root.join("src")).unwrap().to_str().unwrap().strip_suffix(".rs")
        else {
            continue;
        };
        let module = inside.replace('/', "::");
        let (source, test_modules) = Source::read(&module, &std::fs::read_to_string(entry.path()).unwrap());
        for_tests.extend(test_modules);
        sources.push(source);
    }
    let is_for_tests = |module: &str| {
        for_tests.iter().any(|test| {
            module == test || module.strip_prefix(test.as_str()).is_some_and(|rest| rest.starts_with("::"))
        })
    };
    sources.retain(|source| !is_for_tests(&source.module));
    assert!(sources.len() > 50, "these are not the sources");
    sources
}

impl Source {
    /// The file of a module; and those of its modules that are for tests alone.
    pub(super) fn read(module: &str, text: &str) -> (Source, Vec<String>) {
        let (code, tests) = without_tests(&without_text(text));
        let parent = if is_root(module) { String::new() } else { format!("{module}::") };
        let path = format!("src/{}.rs", module.replace("::", "/"));
        let tests = tests.into_iter().map(|name| format!("{parent}{name}")).collect();
        (Source { path, module: module.to_owned(), code }, tests)
    }

    /// The paths that it uses, in full from the crate's root. What it only hands on (`pub use`) is not used here.
    pub(super) fn needed_paths(&self) -> Vec<Vec<String>> {
        let used = |statement: &Statement| {
            let words = self.without_uses();
            statement
                .paths
                .iter()
                .filter(|path| !statement.is_public || has_word(&words, path.last().unwrap()))
                .cloned()
                .collect::<Vec<_>>()
        };
        let mut paths: Vec<Vec<String>> = self.uses().iter().flat_map(used).collect();
        let code = self.without_uses();
        for (at, _) in code.match_indices("crate::") {
            if at == 0 || !is_name(code.as_bytes()[at - 1]) {
                let end = code[at..]
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
                    .unwrap_or(code.len() - at);
                paths.push(self.full(&code[at..at + end]));
            }
        }
        paths
    }

    /// What this module hands on under its own name, and where that comes from.
    fn handed_on(&self, name: &str) -> Option<Vec<String>> {
        let public = self.uses().into_iter().filter(|statement| statement.is_public);
        public.flat_map(|statement| statement.paths).find(|path| path.last().is_some_and(|last| last == name))
    }

    pub(super) fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for (at, _) in self.code.match_indices("fn ") {
            let is_word = at == 0 || !is_name(self.code.as_bytes()[at - 1]);
            let name: String =
                self.code[at + 3..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let Some(open) = self.code[at..].find(['{', ';']).map(|open| at + open) else { continue };
            if is_word && !name.is_empty() && self.code.as_bytes()[open] == b'{' {
                let lines = self.code[at..end_of_block(&self.code, open)].lines().count();
                functions.push(Function { name, lines });
            }
        }
        functions
    }

    /// The names of its types. Those of a trait's implementation are the trait's.
    pub(super) fn types(&self) -> Vec<String> {
        let mut types = Vec::new();
        for keyword in ["struct ", "enum ", "trait ", "union ", "type "] {
            for (at, _) in self.code.match_indices(keyword) {
                let depth = self.code[..at].matches('{').count() - self.code[..at].matches('}').count();
                let name: String =
                    self.code[at + keyword.len()..].chars().take_while(char::is_ascii_alphanumeric).collect();
                let is_word = at == 0 || !is_name(self.code.as_bytes()[at - 1]);
                if is_word
                    && name.starts_with(|c: char| c.is_ascii_uppercase())
                    && (keyword != "type " || depth == 0)
                {
                    types.push(name);
                }
            }
        }
        types
    }

    fn uses(&self) -> Vec<Statement> {
        let mut uses = Vec::new();
        for (start, end) in self.use_statements() {
            let statement = &self.code[start..end];
            let (visibility, tree) = statement.split_once("use ").unwrap();
            let mut paths = Vec::new();
            expand("", &tree.split_whitespace().collect::<Vec<_>>().join(" "), &mut paths);
            let paths = paths.iter().map(|path| self.full(path)).collect();
            uses.push(Statement { is_public: visibility.trim_start().starts_with("pub"), paths });
        }
        uses
    }

    /// Where its `use` statements are.
    fn use_statements(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut at = 0;
        for line in self.code.split_inclusive('\n') {
            let rest = line.trim_start();
            let rest = rest
                .strip_prefix("pub(crate) ")
                .or(rest.strip_prefix("pub(super) "))
                .or(rest.strip_prefix("pub "))
                .unwrap_or(rest);
            if rest.starts_with("use ") {
                let end = self.code[at..].find(';').map_or(self.code.len(), |end| at + end);
                found.push((at, end));
            }
            at += line.len();
        }
        found
    }

    fn without_uses(&self) -> String {
        let mut code = self.code.clone().into_bytes();
        for (start, end) in self.use_statements() {
            code[start..end].fill(b' ');
        }
        String::from_utf8(code).unwrap()
    }

    /// A path as it is from the crate's root.
    fn full(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> =
            path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let mut here: Vec<String> = self.module.split("::").map(str::to_owned).collect();
        if is_root(&self.module) {
            here.clear();
        }
        match names.first().map(String::as_str) {
            Some("crate") => drop(names.remove(0)),
            Some("self") => drop(names.splice(..1, here)),
            Some("super") => {
                here.pop();
                names.splice(..1, here);
            }
            // A module beside it or below it, or another crate: the first is known by what is there.
            _ => drop(names.splice(..0, here)),
        }
        names
    }
}

struct Statement {
    is_public: bool,
    paths: Vec<Vec<String>>,
}

/// The module that a path leads to, whatever hands it on.
pub(super) fn defined_in<'a>(path: &[String], modules: &BTreeMap<&'a str, &'a Source>) -> Option<&'a str> {
    let (module, length) = (1..=path.len()).rev().find_map(|length| {
        let (name, _) = modules.get_key_value(path[..length].join("::").as_str())?;
        Some((*name, length))
    })?;
    let Some(name) = path.get(length) else { return Some(module) };
    match modules[module].handed_on(name) {
        Some(origin) if origin != path => defined_in(&origin, modules).or(Some(module)),
        _ => Some(module),
    }
}

fn is_root(module: &str) -> bool {
    module == "lib" || module == "main"
}

/// Whether the line has this path, and not one that ends like it.
pub(super) fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path)
        .any(|(at, _)| at == 0 || !(is_name(line.as_bytes()[at - 1]) || line[..at].ends_with("::")))
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).map(|before| code.as_bytes()[before]);
        let after = code.as_bytes().get(at + word.len());
        !before.is_some_and(is_name) && !after.copied().is_some_and(is_name)
    })
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The paths of a tree as it follows `use`.
fn expand(before: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        let path = path.strip_suffix("self").filter(|rest| rest.is_empty()).unwrap_or(path);
        paths.push(format!("{before}{path}"));
        return;
    };
    let before = format!("{before}{}", &tree[..open]);
    let inside = &tree[open + 1..tree.rfind('}').unwrap()];
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inside[start..at].trim().is_empty() {
                    expand(&before, &inside[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Blanks comments and literals; lines stay where they are.
fn without_text(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let raw = rest.strip_prefix(b"r").map(|rest| rest.iter().take_while(|byte| **byte == b'#').count());
        let length = match rest {
            [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            [b'r', ..]
                if (at == 0 || !is_name(bytes[at - 1]) || bytes[at - 1] == b'b')
                    && rest.get(1 + raw.unwrap_or(0)) == Some(&b'"') =>
            {
                let hashes = raw.unwrap_or(0);
                let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
                let inside = 2 + hashes;
                inside + rest[inside..].windows(end.len()).position(|part| part == end).unwrap() + end.len()
            }
            [b'"', ..] => 1 + end_of_literal(&rest[1..], b'"'),
            [b'\'', b'\\', ..] => 1 + end_of_literal(&rest[1..], b'\''),
            // A lifetime has no second quote.
            [b'\'', ..] => {
                let c = text[at + 1..].chars().next().map_or(0, char::len_utf8);
                if rest.get(1 + c) == Some(&b'\'') { 2 + c } else { 0 }
            }
            _ => 0,
        };
        code[at..at + length].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at += length.max(1);
    }
    String::from_utf8(code).unwrap()
}

/// How long a literal is with its closing quote.
fn end_of_literal(inside: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while inside[at] != quote {
        at += if inside[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Blanks what `#[cfg(test)]` stands before; returns the modules among that, too, that have files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut bytes = code.as_bytes().to_vec();
    let mut modules = Vec::new();
    let mut at = 0;
    while let Some(start) = code[at..].find(ATTRIBUTE).map(|start| at + start) {
        let item = start + ATTRIBUTE.len();
        let open = item + code[item..].find(['{', ';']).unwrap();
        let end = if code.as_bytes()[open] == b'{' { end_of_block(code, open) } else { open + 1 };
        if let Some((_, name)) = code[item..open].split_once("mod ")
            && code.as_bytes()[open] == b';'
        {
            modules.push(name.trim().to_owned());
        }
        bytes[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    (String::from_utf8(bytes).unwrap(), modules)
}

/// Where the block ends whose brace is at `open`.
fn end_of_block(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}
