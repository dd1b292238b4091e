//! As much of SQL as is needed to take what PostgreSQL's programs write apart, and to write names and texts.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A name as PostgreSQL takes it, whatever it has in it.
pub(crate) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as PostgreSQL takes it, with `standard_conforming_strings`, which is its default.
pub(crate) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Statements of a dump as one, which is done whole or not at all. Whatever they are, `psql` finds no order
/// of its own in them (`\! rm`), as it looks for none between dollars.
pub(crate) fn block(statements: &str) -> String {
    // Nobody who wrote a dump can have known it.
    let tag = format!("s{:016x}", RandomState::new().build_hasher().finish());
    format!("DO ${tag}$ BEGIN\n{statements}NULL; END ${tag}$;\n")
}

/// The statements of `script`, without comments and without what `psql` reads itself (`\connect`); `None` if
/// a quote does not end.
pub(crate) fn statements(script: &str) -> Option<Vec<String>> {
    let (mut all, mut one) = (Vec::new(), String::new());
    let mut rest = script;
    while let Some(first) = rest.chars().next() {
        let at_start = one.trim().is_empty();
        let taken = match first {
            '\'' | '"' => {
                // A doubled quote ends one and begins another, which comes to the same.
                let length = rest.get(1..)?.find(first)? + 2;
                one.push_str(rest.get(..length)?);
                length
            }
            '-' if rest.starts_with("--") => line(rest),
            '\\' if at_start => line(rest),
            ';' => {
                all.push(std::mem::take(&mut one).trim().to_owned());
                1
            }
            _ => {
                one.push(first);
                first.len_utf8()
            }
        };
        rest = rest.get(taken..)?;
    }
    one.trim().is_empty().then_some(all)
}

fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// `statement` after its first words, if it begins with them.
pub(crate) fn after<'a>(statement: &'a str, words: &str) -> Option<&'a str> {
    statement.strip_prefix(words)?.strip_prefix(' ')
}

/// The name that `text` begins with, as it is written, and what follows it.
pub(crate) fn first_name(text: &str) -> Option<(&str, &str)> {
    let length = if text.starts_with('"') {
        let mut at = 1;
        loop {
            at += text.get(at..)?.find('"')? + 1;
            if !text.get(at..)?.starts_with('"') {
                break at;
            }
            at += 1;
        }
    } else {
        text.find(|character: char| !(character.is_alphanumeric() || matches!(character, '_' | '$')))
            .unwrap_or(text.len())
    };
    text.split_at_checked(length).filter(|(name, _)| !name.is_empty())
}

/// A name without its quotes.
pub(crate) fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_where_statements_end() {
        let script =
            "-- it's a comment;\n\\connect x;y\nSET a = 'b;''c';\nCOMMENT ON x IS '\n\\q -- no';\n\n";
        assert_eq!(statements(script).unwrap(), ["SET a = 'b;''c'", "COMMENT ON x IS '\n\\q -- no'"]);
        assert_eq!(statements("SET a = 'b"), None);
        assert_eq!(statements("SET a"), None);
        assert_eq!(statements(""), Some(vec![]));
    }

    #[test]
    fn a_block_ends_with_a_tag_of_its_own() {
        assert_ne!(block("x;\n"), block("x;\n"));
        assert!(block("x;\n").contains("$ BEGIN\nx;\nNULL; END $"));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(first_name("app OWNER TO x"), Some(("app", " OWNER TO x")));
        assert_eq!(first_name("\"a\"\" b\" SET"), Some(("\"a\"\" b\"", " SET")));
        assert_eq!(first_name("\"a"), None);
        assert_eq!(unquoted(&name("a\" b")), "a\" b");
    }
}
