//! What this program asks of YAML: strings as it writes them, and documents that a parser may be handed.

use std::fmt::Write as _;

/// Deeper than any document of ours; the parser takes seconds for a million brackets.
const MAX_BRACKETS: usize = 1000;

/// `text` in double quotes. All that YAML parsers do not take as it is, or take for a line break, is escaped;
/// no more is, since some fail on pairs of surrogates.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What the parser would take too long for, or has no line for: the line, and the reason.
pub(crate) fn hostile(text: &str) -> Option<(usize, &'static str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut open = 0_usize;
    for (line, text) in (1..).zip(text.lines()) {
        if !text.chars().all(is_printable) {
            let reason = "it has a control character: in double quotes, YAML has escapes such as \"\\x07\"";
            return Some((line, reason));
        }
        if text.starts_with("%TAG") {
            return Some((line, "there is nothing to %TAG here: remove the line"));
        }
        for byte in text.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > MAX_BRACKETS {
                return Some((line, "too many brackets are open: close them"));
            }
        }
    }
    None
}

/// Whether YAML has it as it is (<https://yaml.org/spec/1.1/#c-printable>).
fn is_printable(c: char) -> bool {
    let wide = matches!(c, '\u{85}' | '\u{a0}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..);
    matches!(c, '\t' | ' '..='~') || wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn little_is_escaped() {
        assert_eq!(quoted("é \"\\\n\u{85}\u{2028}😀"), "\"é \\\"\\\\\\u000A\\u0085\\u2028😀\"");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(text: String, odd in "[\u{0}-\u{20}\u{7f}-\u{a0}\u{2028}\u{2029}\u{feff}\u{fff0}-\u{10010}\"\\\\]{0,8}") {
            let text = text + &odd;
            prop_assert_eq!(serde_yaml::from_str::<String>(&quoted(&text)).unwrap(), text);
        }
    }
}
