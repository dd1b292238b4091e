//! What is wrong with an archive, and what follows its end, in words.

use snapshotter::name::Shown;
use snapshotter::report::{Problem, Tail};

use crate::cli::units::bytes;

/// `/backup.tar: offset N: reason`.
pub(crate) fn line(archive: &Shown, problem: &Problem) -> String {
    format!("{archive}: offset {}: {}", problem.offset, problem.reason)
}

/// What to do about an archive with `problems`.
pub(crate) fn way_out(problems: &[Problem], tail: Tail, has_snapshots: bool) -> &'static str {
    match tail {
        Tail::Foreign(_) if problems.len() == 1 => {
            "all before it is whole; if `snapshotter verify` finds no snapshot in it, `snapshotter backup \
             --discard-tail` cuts it off"
        }
        _ if has_snapshots => {
            "keep it, since `snapshotter restore --snapshot ID` still restores what is whole, and with \
             `--skip-damaged --into DIR` what is sound of the rest, and make a new one with `snapshotter \
             init`"
        }
        _ => {
            "keep it, since `snapshotter restore --skip-damaged --into DIR` or `tar` may still bring back \
             parts of it, and make a new one with `snapshotter init`"
        }
    }
}

/// What to know of a snapshot that comes after one that was taken later.
pub(crate) fn out_of_order(later: &str) -> String {
    format!("older than {later}, which comes before it: what comes last counts as the newest")
}

/// What follows the end, where that is no problem.
pub(crate) fn tail_line(tail: Tail) -> Option<String> {
    match tail {
        Tail::Nothing | Tail::Foreign(_) => None,
        Tail::Zeros(length) => Some(format!("{} of zero padding behind the end", bytes(length))),
        Tail::Remains(length) => Some(format!(
            "{} left behind the end by a killed backup: the next backup cuts them",
            bytes(length)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_fits_what_was_found() {
        let problem = |offset| Problem { offset, reason: "r".to_owned() };
        assert!(way_out(&[problem(9)], Tail::Foreign(9), true).contains("--discard-tail"));
        assert!(way_out(&[problem(3), problem(9)], Tail::Foreign(9), true).contains("--snapshot ID"));
        assert!(!way_out(&[problem(3)], Tail::Nothing, false).contains("--snapshot"));
    }

    #[test]
    fn what_follows_the_end_is_named() {
        assert_eq!(tail_line(Tail::Nothing), None);
        assert_eq!(tail_line(Tail::Zeros(8192)).as_deref(), Some("8.0 KiB of zero padding behind the end"));
    }
}
