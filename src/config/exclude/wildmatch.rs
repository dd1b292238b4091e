//! Matches one glob against one name, byte by byte, as git does. The crates for globs each differ from git:
//! in what counts as `**`, in classes such as `[[:alpha:]]`, in escapes and braces. A pattern copied out of a
//! `.gitignore` must not mean something else here.

use crate::config::exclude::class::{self, Class};

/// A glob, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    /// The bytes before the first special one. As in git, what follows them is a pattern of its own, so that
    /// the `**` of `a**/b` stands at the start of one.
    literal: Vec<u8>,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// One byte out of a class, in which a slash never is.
    One(Class),
    /// `*`: any bytes but slashes.
    Star,
    /// `**/`: nothing, or anything up to and including a slash.
    Directories,
    /// `**` at the end: anything.
    Rest,
}

impl Glob {
    /// Reads a glob.
    ///
    /// # Errors
    /// It can match nothing; the reason.
    pub(super) fn parse(glob: &[u8]) -> Result<Glob, &'static str> {
        let special = glob.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(glob.len());
        let (literal, mut rest) = glob.split_at(special);
        let mut tokens = Vec::new();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            let token = match byte {
                b'?' => Token::One(class::ANY),
                b'[' => Token::One(Class::parse(&mut rest)?),
                b'*' => star(
                    &mut rest,
                    matches!(tokens.last(), None | Some(Token::Byte(b'/') | Token::Directories)),
                ),
                b'\\' => {
                    let (&escaped, tail) =
                        rest.split_first().ok_or("nothing follows its last `\\`: write `\\\\`")?;
                    rest = tail;
                    Token::Byte(escaped)
                }
                _ => Token::Byte(byte),
            };
            tokens.push(token);
        }
        Ok(Glob { literal: literal.to_vec(), tokens })
    }

    /// Whether the glob matches the whole of `name`.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.literal.as_slice()).is_some_and(|rest| wildmatch(&self.tokens, rest))
    }
}

/// Reads what follows a `*`. Only between slashes, two or more of them cross directories.
fn star(rest: &mut &[u8], after_slash: bool) -> Token {
    let more = rest.iter().take_while(|byte| **byte == b'*').count();
    *rest = &rest[more..];
    match rest {
        [b'/', tail @ ..] if more > 0 && after_slash => {
            *rest = tail;
            Token::Directories
        }
        [] | [b'\\', b'/', ..] if more > 0 && after_slash => Token::Rest,
        _ => Token::Star,
    }
}

/// Only the last `*`, and where that is not enough the last `**`, ever need to take more: what an earlier one
/// could still take, the later one can reach as well. So this neither recurses nor blows up.
fn wildmatch(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let (mut star, mut deep) = (None, None);
    loop {
        match tokens.get(token) {
            None if at == name.len() => return true,
            Some(Token::Star) => star = Some((token, at)),
            Some(Token::Directories | Token::Rest) => (star, deep) = (None, Some((token, at))),
            Some(Token::Byte(byte)) if name.get(at) == Some(byte) => at += 1,
            Some(Token::One(class)) if name.get(at).is_some_and(|byte| class.contains(*byte)) => at += 1,
            _ => {
                let longer = star.filter(|(_, end)| name.get(*end).is_some_and(|byte| *byte != b'/'));
                if let Some((of, end)) = longer {
                    (token, at) = (of, end + 1);
                    star = Some((token, at));
                } else if let Some((of, taken)) = deep {
                    let more = match tokens[of] {
                        Token::Rest => (taken < name.len()).then_some(1),
                        _ => name[taken..].iter().position(|byte| *byte == b'/').map(|slash| slash + 1),
                    };
                    let Some(more) = more else { return false };
                    (token, at) = (of, taken + more);
                    (star, deep) = (None, Some((token, at)));
                } else {
                    return false;
                }
            }
        }
        token += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, name: &str) -> bool {
        Glob::parse(glob.as_bytes()).unwrap().matches(name.as_bytes())
    }

    #[test]
    fn the_whole_name_must_match() {
        assert!(matches("a*c", "abbc") && matches("a*c", "ac"));
        assert!(!matches("a*c", "abbcd") && !matches("a*c", "ab/c"));
        assert!(matches("**/c", "c") && matches("**/c", "a/b/c") && !matches("**/c", "a/bc"));
        assert!(matches("a/**", "a/b/c") && !matches("a/**", "a") && !matches("a/**", "ab"));
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        for glob in
            ["a\\", "[", "[]", "[a", "[!]", "[^]", "[a-", "[a\\]", "[[:alpha:]", "[[:x:]]", "[[::]]", "*["]
        {
            assert!(Glob::parse(glob.as_bytes()).is_err(), "{glob}");
        }
    }

    #[test]
    fn a_hostile_glob_takes_no_longer_than_it_should() {
        let name = "a".repeat(2000);
        assert!(matches(&"a*".repeat(1000), &name));
        assert!(!matches(&("*a".repeat(1000) + "b"), &name));
        let path = "a/".repeat(2000) + "a";
        assert!(!matches(&("**/a/".repeat(500) + "b"), &path));
        assert!(!matches(&("**/*a*/".repeat(500) + "b"), &path));
    }
}
