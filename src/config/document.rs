//! The YAML of a configuration file. Types are checked here, and every value can be found again: the parser
//! gives lines only with errors, so to learn the line of a value is to read the document once more and to fail
//! there.

pub(super) mod read;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed as _, IgnoredAny};
use serde_yaml::Deserializer as Yaml;

use crate::config::document::read::{Document, DocumentPart, DocumentRoot};
use crate::name::abridged;
use crate::yaml::hostile;

/// Why a document cannot be used.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Where there is one.
    pub(super) line: Option<usize>,
    pub(super) reason: String,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Document, Refusal> {
        if let Some((line, reason)) = hostile(text) {
            return Err(Refusal { line: Some(line), reason: reason.to_owned() });
        }
        for document in Yaml::from_str(text).take(2) {
            IgnoredAny::deserialize(document).map_err(|error| {
                let Refusal { line, reason } = located(&error);
                let hint = "a value that begins with a special character needs quotes";
                Refusal { line, reason: format!("it is not YAML: {reason} ({hint})") }
            })?;
        }
        if let Some(second) = Yaml::from_str(text).nth(1) {
            let reason = "a second document begins: keep one".to_owned();
            return Err(Refusal { line: line_in(second, DocumentPart::Document), reason });
        }
        DocumentRoot { stop: None }.deserialize(Yaml::from_str(text)).map_err(|error| located(&error))
    }
}

pub(super) fn line_of(text: &str, part: DocumentPart) -> Option<usize> {
    line_in(Yaml::from_str(text), part)
}

fn line_in(document: Yaml<'_>, part: DocumentPart) -> Option<usize> {
    let error = DocumentRoot { stop: Some(part) }.deserialize(document).err()?;
    Some(error.location()?.line())
}

/// What the parser says, without the position that its message ends with.
fn located(error: &serde_yaml::Error) -> Refusal {
    let reason = error.to_string();
    let Some(location) = error.location() else { return Refusal { line: None, reason } };
    let position = format!(" at line {} column {}", location.line(), location.column());
    Refusal { line: Some(location.line()), reason: abridged(&reason.replacen(&position, "", 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, line: impl Into<Option<usize>>, reason: &str) {
        let Refusal { line: found, reason: found_reason } = Document::parse(text).unwrap_err();
        assert!(found_reason.contains(reason), "{text:?}: {found_reason}");
        assert_eq!(found, line.into(), "{text:?}: {found_reason}");
    }

    #[test]
    fn strings_are_read_however_they_are_written() {
        let text =
            "\u{feff}# a\nvolumes: ['/a', \"/b\\x41\", /c d]\nprefix: &p 007\nexclude:\n- *p\n- |-\n  x\n";
        let document = Document::parse(text).unwrap();
        assert_eq!(document.prefix.as_deref(), Some("007"));
        assert_eq!(document.volumes.unwrap(), ["/a", "/bA", "/c d"]);
        assert_eq!(document.exclude.unwrap(), ["007", "x"]);
    }

    #[test]
    fn the_line_of_every_value_is_known() {
        let text = "# c\n\nprefix: a\nvolumes:\n\n  - /a\n  - /b\nexclude: [x,\n  y]\n";
        let lines = [
            DocumentPart::Document,
            DocumentPart::Prefix,
            DocumentPart::Volumes,
            DocumentPart::Volume(1),
            DocumentPart::Exclude,
            DocumentPart::Pattern(1),
        ]
        .map(|part| line_of(text, part));
        assert_eq!(lines, [Some(3), Some(3), Some(6), Some(7), Some(8), Some(9)]);
        assert_eq!(line_of(text, DocumentPart::Volume(2)), None);
    }

    #[test]
    fn wrong_types_are_refused_with_their_line() {
        refused("prefix: 123\n", 1, "prefix: invalid type: integer `123`, expected a string: quote it");
        refused("a\n", 1, "invalid type: string \"a\", expected `prefix: …`");
        refused("volumes:\n  - /a\n  - 1.5\n", 3, "volumes[1]: invalid type: floating point `1.5`");
        refused("\nprefix: true\n", 2, "boolean `true`");
        refused("prefix: [a]\n", 1, "sequence");
        refused("prefix: {a: b}\n", 1, "map");
        refused("exclude:\n- !a\n", 2, "for a tag: quote it");
        refused("prefix:\n", 1, "no value: to have none, write `prefix: \"\"`");
        refused("prefix: ~\n", 1, "no value");
        refused("volumes:\n", 1, "no value: write a list");
        refused("volumes: /a\n", 1, "expected a list");
        refused("volumes: {a: b}\n", 1, "expected a list");
        refused("volumes:\n- [a]\n", 2, "expected a string");
        refused("volumes:\n- /a\n-\n", 3, "no value: write a string");
        refused("- a\n", 1, "expected `prefix");
    }

    #[test]
    fn keys_are_known_and_there_once() {
        refused("prefix: a\nprefixes: b\n", 2, "unknown key `prefixes`: there are");
        refused("prefix: a\nvolumes: []\nprefix: a\n", 3, "`prefix` is there twice");
        refused("1: a\n", 1, "expected a key");
        refused("[a]: a\n", 1, "expected a key");
        refused("<<: {prefix: a}\n", 1, "unknown key `<<`");
        refused("\"a\\nb\\e[2J\": a\n", 1, "unknown key `a\\x0ab\\x1b[2J`");
    }

    #[test]
    fn what_is_not_one_document_is_refused() {
        for empty in ["", "\n\n", "# a\n", "---\n", "---\n...\n", "~\n", "null\n"] {
            assert!(Document::parse(empty).unwrap_err().reason.contains("it is empty"), "{empty:?}");
        }
        refused("prefix: a\n---\nvolumes: []\n", 3, "a second document begins");
        refused("prefix: a\n---\n", 3, "a second document begins");
        refused("prefix: a\n--- b\n", 2, "a second document begins");
        refused("prefix: a\nvolumes: [a\n", 3, "did not find expected ',' or ']'");
        refused("prefix: a\n\tvolumes: b\n", 2, "found");
        refused("[],\n", 1, "it is not YAML: did not find expected <document start>");
        refused("prefix: *x\n", 1, "it is not YAML: unknown anchor (a value that");
        refused("exclude:\n- *.log\n", 2, "it is not YAML: did not find expected alphabetic");
        refused("exclude:\n- [ab]c\n", 2, "it is not YAML: did not find expected");
        refused("prefix: a\n\nvolumes: \x07\n", 3, "control character");
        refused("prefix: \"\0\"\n", 1, "control character");
    }

    #[test]
    fn hostile_documents_are_refused_at_once() {
        let start = std::time::Instant::now();
        refused(&"[".repeat(1 << 20), 1, "too many brackets");
        refused(&"{a: ".repeat(1 << 18), 1, "too many brackets");
        refused(&"- ".repeat(1 << 19), 1, "sequence");
        refused(&"%TAG !a! b\n".repeat(1 << 16), 1, "%TAG");
        let aliases =
            |i| [format!("- &a{i} ["), format!("*a{},", i - 1).repeat(9), "]\n".to_owned()].concat();
        let bomb: String = (1..20).map(aliases).collect();
        refused(&format!("volumes:\n- &a0 [x]\n{bomb}"), 2, "expected a string");
        refused("volumes: &a [*a]", 1, "");
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }
}
