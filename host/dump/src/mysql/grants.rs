//! What a user may see. `mariadb-dump` and `mysqldump` leave out triggers and routines that their user may
//! not see, and succeed; so their user's rights are looked at, as `SHOW GRANTS` lists them. Views and
//! events need no look: without the right to see them the programs fail.

/// Rights that make triggers be seen, in the database or everywhere.
const TRIGGERS: [&str; 2] = ["ALL PRIVILEGES", "TRIGGER"];
/// Rights that make routines be seen, or make the programs fail since they see that there are some.
const ROUTINES: [&str; 6] =
    ["ALL PRIVILEGES", "SHOW CREATE ROUTINE", "SHOW_ROUTINE", "EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE"];

/// What of `database` a user with these grants may have that the user does not see.
pub(super) fn unseen(grants: &str, database: &str) -> Vec<&'static str> {
    let grants: Vec<_> = grants.lines().filter_map(parsed).collect();
    let has = |rights: &[&str], scope: &dyn Fn(&str) -> bool| {
        grants.iter().any(|(given, place)| scope(place) && given.iter().any(|right| rights.contains(right)))
    };
    let here =
        |place: &str| place == "*.*" || place.strip_suffix(".*").is_some_and(|name| means(name, database));
    let routines = has(&ROUTINES, &here)
        || has(&["SELECT"], &|place| ["*.*", "`mysql`.*", "`mysql`.`proc`"].contains(&place));
    let seen = [("triggers", has(&TRIGGERS, &here)), ("procedures and functions", routines)];
    seen.into_iter().filter(|(_, seen)| !seen).map(|(what, _)| what).collect()
}

/// The rights of a line, and where they are given.
fn parsed(line: &str) -> Option<(Vec<&str>, &str)> {
    let (rights, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (place, _) = rest.split_once(" TO ")?;
    Some((rights.split(", ").map(str::trim).collect(), place))
}

/// Whether a name in backticks, where `_` is any letter, `%` any text, and `\` makes them plain, is this one.
fn means(pattern: &str, database: &str) -> bool {
    let Some(pattern) = pattern.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
        return false;
    };
    let pattern = pattern.replace("``", "`");
    let (mut letters, mut rest) = (pattern.chars(), database.chars());
    loop {
        match (letters.next(), rest.clone().next()) {
            (None, None) | (Some('%'), _) => return true,
            (Some('\\'), found) if letters.next() == found && found.is_some() => (),
            (Some('_'), Some(_)) => (),
            (wanted, found) if wanted == found => (),
            _ => return false,
        }
        rest.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_does_not_see_is_known_by_its_grants() {
        let unseen = |grants: &[&str]| unseen(&grants.join("\n"), "my_app");
        let all = ["triggers", "procedures and functions"];
        assert_eq!(unseen(&["GRANT ALL PRIVILEGES ON *.* TO `r`@`%` WITH GRANT OPTION"]), [""; 0]);
        assert_eq!(
            unseen(&["GRANT USAGE ON *.* TO `r`@`%`", "GRANT ALL PRIVILEGES ON `my\\_app`.* TO `r`@`%`"]),
            [""; 0]
        );
        assert_eq!(unseen(&["GRANT ALL PRIVILEGES ON `my%`.* TO `r`@`%`"]), [""; 0]);
        assert_eq!(unseen(&["GRANT ALL PRIVILEGES ON `other`.* TO `r`@`%`"]), all);
        assert_eq!(unseen(&["GRANT SELECT, LOCK TABLES, SHOW VIEW ON `my_app`.* TO `r`@`%`"]), all);
        assert_eq!(unseen(&["GRANT SELECT, TRIGGER ON *.* TO `r`@`%`"]), [""; 0]);
        let proc =
            ["GRANT SELECT, TRIGGER ON `my_app`.* TO `r`@`%`", "GRANT SELECT ON `mysql`.`proc` TO `r`@`%`"];
        assert_eq!(unseen(&proc[..1]), all[1..]);
        assert_eq!(unseen(&proc), [""; 0]);
    }
}
