//! What of a volume is not backed up. A pattern means what it would in a `.gitignore` at the volume's root
//! (<https://git-scm.com/docs/gitignore#_pattern_format>), so that nobody has to learn another language of
//! globs.

mod class;
mod wildmatch;

use crate::config::exclude::wildmatch::Glob;
use crate::error::{Error, Result};
use crate::name::{Shown, quote};

/// Patterns of paths inside a volume; the last that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclude {
    patterns: Vec<String>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    glob: Glob,
    /// `!`: what matches is kept.
    keeps: bool,
    /// A trailing `/`.
    directories_only: bool,
    /// A `/` elsewhere: the whole path is matched, otherwise only the last component.
    whole_path: bool,
}

/// A pattern that can match nothing.
#[derive(Debug)]
pub(super) struct BadPattern {
    pub(super) index: usize,
    pub(super) reason: String,
}

impl Exclude {
    /// Reads patterns, in their order.
    ///
    /// # Errors
    /// [`Error::Config`]: one of them can match nothing.
    pub fn parse<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Result<Exclude> {
        let patterns = patterns.into_iter().map(Into::into).collect();
        Exclude::compile(patterns).map_err(|bad| Error::Config {
            origin: Shown::from("exclude"),
            line: None,
            reason: bad.reason,
        })
    }

    pub(super) fn compile(patterns: Vec<String>) -> Result<Exclude, BadPattern> {
        let rules = patterns.iter().enumerate().filter_map(|(index, pattern)| {
            let rule = Rule::parse(pattern).transpose()?;
            Some(rule.map_err(|reason| {
                let reason = format!("the pattern {} matches nothing: {reason}", quote(pattern));
                BadPattern { index, reason }
            }))
        });
        Ok(Exclude { rules: rules.collect::<Result<_, _>>()?, patterns })
    }

    /// Whether `path`, relative to the volume's root and without a trailing `/`, is excluded.
    ///
    /// Walk a volume from its root and do not enter what is excluded: as in git, nothing below it is asked
    /// for.
    pub fn excludes(&self, path: &[u8], is_dir: bool) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let mut rules = self.rules.iter().rev().filter(|rule| is_dir || !rule.directories_only);
        rules
            .find(|rule| rule.glob.matches(if rule.whole_path { path } else { name }))
            .is_some_and(|rule| !rule.keeps)
    }

    /// Whether nothing is excluded, whatever there is.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

impl Rule {
    /// Reads a line of a `.gitignore`; `None` for a blank one and a comment.
    fn parse(line: &str) -> Result<Option<Rule>, &'static str> {
        if line.contains(['\0', '\n']) {
            return Err("a pattern is one line, without NUL characters: write an item for each");
        }
        let line = trim_trailing_spaces(line);
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (keeps, glob) = line.strip_prefix('!').map_or((false, line), |glob| (true, glob));
        let (directories_only, glob) = glob.strip_suffix('/').map_or((false, glob), |glob| (true, glob));
        let whole_path = glob.contains('/');
        let glob = glob.strip_prefix('/').unwrap_or(glob);
        if names_no_path(glob) {
            return Err("it has an empty component, a `.` or a `..`: write the path from the volume's root");
        }
        Ok(Some(Rule { glob: Glob::parse(glob.as_bytes())?, keeps, directories_only, whole_path }))
    }
}

/// Whether a component is one that no path has. Between brackets a slash separates nothing, and a `**` can be
/// nothing, together with the slash after it.
fn names_no_path(glob: &str) -> bool {
    let plain = !glob.contains('[') && !glob.contains("**");
    plain && glob.split('/').any(|component| matches!(component, "" | "." | ".."))
}

/// Spaces at the end do not count, unless there is a backslash before them.
fn trim_trailing_spaces(line: &str) -> &str {
    let kept = line.trim_end_matches(' ');
    let backslashes = kept.len() - kept.trim_end_matches('\\').len();
    if backslashes % 2 == 1 { &line[..line.len().min(kept.len() + 1)] } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_match_decides() {
        let exclude = Exclude::parse(["*.log", "!keep.log", "/cache/"]).unwrap();
        assert!(exclude.excludes(b"a/b.log", false));
        assert!(!exclude.excludes(b"a/keep.log", false));
        assert!(exclude.excludes(b"cache", true));
        assert!(!exclude.excludes(b"cache", false));
        assert!(!exclude.excludes(b"a/cache", true));
        assert_eq!(exclude.patterns(), ["*.log", "!keep.log", "/cache/"]);
    }

    #[test]
    fn blank_lines_and_comments_match_nothing() {
        let exclude = Exclude::parse(["", "   ", "# a", "\\#b", "c\\ ", "d  "]).unwrap();
        assert!(!exclude.excludes(b"# a", false) && !exclude.excludes(b"", true));
        assert!(
            exclude.excludes(b"#b", false) && exclude.excludes(b"c ", false) && exclude.excludes(b"d", false)
        );
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        for pattern in
            ["/", "!", "//", "!/", "a//b", "./a", "../a", "a/..", "a\nb", "a\0", "[a", "a\\", "a\\/"]
        {
            let error = Exclude::parse(["ok", pattern]).unwrap_err().to_string();
            assert!(error.starts_with("exclude: the pattern `"), "{error}");
            assert!(!error.contains(['\n', '\0']), "{error}");
        }
    }
}
