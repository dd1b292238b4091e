//! The bytes that a `[…]` of a glob stands for, as git reads it.

/// All that a `?` stands for.
pub(super) const ANY: Class = Class([u64::MAX; 4]).without_slash();

const UNCLOSED: &str = "its `[` is not closed: for a bracket itself, write `\\[`";

/// A set of bytes, in which a slash never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class([u64; 4]);

impl Class {
    /// Whether `byte` belongs to the class.
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    /// Reads what follows a `[` of a glob, and its `]`.
    ///
    /// # Errors
    /// It is no class; the reason.
    pub(super) fn parse(rest: &mut &[u8]) -> Result<Class, &'static str> {
        let negated = matches!(rest.first(), Some(b'!' | b'^'));
        *rest = &rest[usize::from(negated)..];
        let mut class = Class([0; 4]);
        let mut low = None; // what a range could begin with
        let mut first = true;
        loop {
            let byte = take(rest)?;
            if byte == b']' && !first {
                break;
            }
            first = false;
            if let (b'-', Some(low_end)) = (byte, low)
                && rest.first().is_some_and(|next| *next != b']')
            {
                let high = take(rest)?;
                let high = if high == b'\\' { take(rest)? } else { high };
                class.insert(low_end..=high);
                low = None;
            } else if byte == b'['
                && let Some(name) = class_name(rest)?
            {
                class.insert((0..=u8::MAX).filter(named(name)?));
                *rest = &rest[name.len() + 3..];
                low = None;
            } else {
                let byte = if byte == b'\\' { take(rest)? } else { byte };
                class.insert([byte]);
                low = Some(byte);
            }
        }
        Ok(if negated { Class(class.0.map(|word| !word)) } else { class }.without_slash())
    }

    fn insert(&mut self, bytes: impl IntoIterator<Item = u8>) {
        for byte in bytes {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    const fn without_slash(mut self) -> Class {
        self.0[(b'/' >> 6) as usize] &= !(1 << (b'/' & 63));
        self
    }
}

fn take(rest: &mut &[u8]) -> Result<u8, &'static str> {
    let (&byte, tail) = rest.split_first().ok_or(UNCLOSED)?;
    *rest = tail;
    Ok(byte)
}

/// The name in a `:name:]` that `rest` begins with.
fn class_name(rest: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let Some(name) = rest.strip_prefix(b":") else {
        return Ok(None);
    };
    let end = name.iter().position(|byte| *byte == b']').ok_or(UNCLOSED)?;
    Ok(name[..end].strip_suffix(b":"))
}

/// What belongs to `[:name:]` in git, which knows ASCII only.
fn named(name: &[u8]) -> Result<fn(&u8) -> bool, &'static str> {
    Ok(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| b" \t".contains(byte),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| (b' '..=b'~').contains(byte),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| b" \t\r\n".contains(byte),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => {
            return Err(
                "it names an unknown `[:class:]`: there are alnum, alpha, blank, cntrl, digit, graph, \
                        lower, print, punct, space, upper and xdigit",
            );
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(class: &str) -> String {
        let mut rest = class.as_bytes();
        let class = Class::parse(&mut rest).unwrap();
        assert_eq!(rest, b"rest");
        (b' '..=b'~').filter(|byte| class.contains(*byte)).map(char::from).collect()
    }

    #[test]
    fn ranges_escapes_and_brackets() {
        assert_eq!(members("a-c]rest"), "abc");
        assert_eq!(members("]-]rest"), "-]");
        assert_eq!(members("]-a]rest"), "]^_`a");
        assert_eq!(members("a-c-e]rest"), "-abce");
        assert_eq!(members("\\]\\\\]rest"), "\\]");
        assert_eq!(members("\\a-\\c]rest"), "abc");
        assert_eq!(members("c-a]rest"), "c");
        assert_eq!(members("[:digit:]-a]rest"), "-0123456789a");
        assert_eq!(members("[:a]rest"), ":[a");
        assert_eq!(
            members("!-~]rest"),
            " !\"#$%&'()*+,.0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}"
        );
    }

    #[test]
    fn a_slash_belongs_to_no_class() {
        assert!(!ANY.contains(b'/') && ANY.contains(b'\xff'));
        assert_eq!(members(".-0]rest"), ".0");
    }
}
