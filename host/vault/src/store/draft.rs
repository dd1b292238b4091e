//! Names that something has while it is stored, and not yet its own: beside it, since only within a folder can
//! it be renamed in one step; with a dot in front, which no [`Name`](super::Name) has; and with a number that
//! nobody else chooses.

use super::limits::token;

const BEFORE: &str = ".snapshotter-";
const AFTER: &str = ".part";

/// A name for a draft.
pub(crate) fn draft() -> String {
    format!("{BEFORE}{}{AFTER}", token())
}

/// Whether `path` ends in the name of a draft.
pub(crate) fn is_draft(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    let token = last.strip_prefix(BEFORE).and_then(|last| last.strip_suffix(AFTER));
    token.is_some_and(|token| token.len() == 16 && token.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_known_and_is_no_name() {
        let draft = draft();
        assert!(is_draft(&draft) && is_draft(&format!("a/b/{draft}")));
        assert!(draft.parse::<crate::store::Name>().is_err());
        for other in [
            "",
            ".snapshotter-.part",
            ".snapshotter-0123456789abcdeg.part",
            "snapshotter-0123456789abcdef.part",
        ] {
            assert!(!is_draft(other), "{other}");
        }
    }
}
