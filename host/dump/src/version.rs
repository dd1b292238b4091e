//! Versions, as programs and servers tell them.

/// The first `N.N…` of `text`, as far as it has numbers: `10.11.19` of `Distrib 10.11.19-MariaDB`.
pub(crate) fn numbers(text: &str) -> Vec<u32> {
    text.split(|character: char| !(character.is_ascii_digit() || character == '.'))
        .find(|word| word.starts_with(|character: char| character.is_ascii_digit()))
        .map(|word| word.split('.').map_while(|number| number.parse().ok()).collect())
        .unwrap_or_default()
}

/// The numbers as they are written.
pub(crate) fn dotted(numbers: &[u32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_of_a_line_is_found() {
        assert_eq!(numbers("pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"), [15, 20]);
        assert_eq!(numbers("pg_dump (PostgreSQL) 18beta1"), [18]);
        assert_eq!(numbers("8.0.36"), [8, 0, 36]);
        assert_eq!(numbers("none"), [0; 0]);
        assert_eq!(dotted(&[8, 0]), "8.0");
    }
}
