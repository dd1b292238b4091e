//! Damage to what a snapshot refers to is damage to it, and is said of it; the rest comes back.

use super::*;

/// Three nights with a file that stays, in a directory that stays, and one that changes.
fn nights(s: &Sandbox) -> Nights<'_> {
    let tree = Tree::at(s.path("vol/a")).file("d/stays", pattern(5000)).file("d/too", "too").file("x", "0");
    let mut nights = Nights::of(s, tree.done());
    nights.backup();
    for night in 1..3 {
        fs::write(nights.path("x"), night.to_string()).unwrap();
        nights.backup();
    }
    nights
}

/// Where a part of a member lies, of the first of this name.
fn place_of(archive: &[u8], name: &str, part: &str) -> usize {
    let (all, _) = crate::support::members::members(archive);
    all.iter().find(|member| member.name.ends_with(name)).unwrap().part(part).start
}

#[test]
fn verify_names_it_in_each_snapshot_and_the_rest_is_restored() {
    sandboxed(|s| {
        let nights = nights(s);
        let sound = fs::read(s.archive()).unwrap();
        let [header, data] = ["header", "data"].map(|part| place_of(&sound, "a/d/stays", part));
        for at in [data + 700, header + 110] {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(s.archive(), damaged).unwrap();
            let verified = verify(&nights.list_options(), &Watch::default()).unwrap();
            assert!(verified.snapshots.iter().all(|snapshot| !snapshot.ok), "{:?}", verified.problems);
            let named = verified.problems.iter().filter(|problem| problem.reason.contains("d/stays")).count();
            assert_eq!(named, 3, "{:?}", verified.problems);
            // Also where one alone is looked at.
            let mut one = nights.list_options();
            one.filter.id = Some(nights.taken[2].0.clone());
            let verified = verify(&one, &Watch::default()).unwrap();
            assert!(
                verified.problems.iter().any(|problem| problem.reason.contains("d/stays")),
                "{verified:?}"
            );
            for number in 0..3 {
                let options = nights.restore_options(number);
                nights.refused(options.clone());
                let options = RestoreOptions { skip_damaged: true, into: Some(nights.target()), ..options };
                let report = restore(&nights.config, &options, &Watch::default()).unwrap();
                let skipped = report.skipped.unwrap();
                let is_named = |left: &snapshotter::report::LeftOut| {
                    left.name.as_ref().is_some_and(|name| name.ends_with(b"d/stays"))
                };
                assert!(skipped.left_out.iter().any(is_named), "{:?}", skipped.left_out);
                let found = Picture::of(nights.target().join(text(&nights.volume).trim_start_matches('/')));
                let expected = nights.taken[number].1.part(|name| name != b"d/stays");
                assert_eq!(expected.differences(&found), [""; 0], "{number}, at {at}");
                fs::remove_dir_all(nights.target()).unwrap();
            }
        }
    });
}

#[test]
fn a_directory_that_is_lost_leaves_what_is_in_it() {
    sandboxed(|s| {
        let nights = nights(s);
        let mut archive = fs::read(s.archive()).unwrap();
        let header = place_of(&archive, "a/d/", "header");
        archive[header + 110] ^= 1;
        fs::write(s.archive(), archive).unwrap();
        let options =
            RestoreOptions { skip_damaged: true, into: Some(nights.target()), ..nights.restore_options(2) };
        let report = restore(&nights.config, &options, &Watch::default()).unwrap();
        assert_eq!(report.skipped.unwrap().made.len(), 1);
        let into = nights.target().join(text(&nights.path("d/stays")).trim_start_matches('/'));
        assert_eq!(fs::read(into).unwrap(), pattern(5000));
    });
}

#[test]
fn a_snapshot_that_is_needed_and_not_there_is_named() {
    sandboxed(|s| {
        let nights = nights(s);
        let sound = fs::read(s.archive()).unwrap();
        // Its beginning is lost, so that it is none.
        let mut archive = sound.clone();
        archive[3] ^= 1;
        fs::write(s.archive(), archive).unwrap();
        let first = &nights.taken[0].0;
        let verified = verify(&nights.list_options(), &Watch::default()).unwrap();
        let needs = format!("it needs snapshot {first}, which is missing or damaged");
        let said = verified.problems.iter().filter(|problem| problem.reason == needs).count();
        assert_eq!(said, 2, "{:?}", verified.problems);
        nights.refused(nights.restore_options(2));
        // What is left of it is still found.
        let options = RestoreOptions { skip_damaged: true, ..nights.restore_options(2) };
        let found = nights.restored(options).unwrap();
        assert_eq!(nights.taken[2].1.differences(&found), [""; 0]);
        // A backup is refused by that damage, as ever, or stores all.
        if let Ok(report) = backup(&nights.config, &nights.options, &Watch::default()) {
            assert_eq!(report.references, 0);
        }
    });
}

#[test]
fn any_flipped_bit_is_found_or_does_no_harm() {
    sandboxed(|s| {
        let nights = nights(s);
        let sound = fs::read(s.archive()).unwrap();
        let (mut same, mut refused, mut partly) = (0, 0, 0);
        for at in (0..sound.len()).step_by(311) {
            let mut damaged = sound.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(s.archive(), damaged).unwrap();
            let verified = verify(&nights.list_options(), &Watch::default());
            let is_sound = |id: &String| {
                verified.as_ref().is_ok_and(|all| all.snapshots.iter().any(|one| one.id == *id && one.ok))
            };
            for number in [0, 2] {
                let (id, picture) = &nights.taken[number];
                match nights.restored(nights.restore_options(number)) {
                    Ok(found) => {
                        assert_eq!(picture.differences(&found), [""; 0], "snapshot {number}, at {at}");
                        same += 1;
                    }
                    Err(_) => refused += 1,
                }
                let options = RestoreOptions { skip_damaged: true, ..nights.restore_options(number) };
                if let Ok(found) = nights.restored(options) {
                    // What is there is right, but for directories whose members are lost.
                    let names: Vec<_> =
                        found.entries.keys().filter(|name| found.entries[*name].kind == "file").collect();
                    let part = |of: &Picture| of.part(|name| names.iter().any(|one| one.as_slice() == name));
                    assert_eq!(part(picture).differences(&part(&found)), [""; 0], "at {at}");
                    assert!(!is_sound(id) || picture.differences(&found).is_empty(), "sound, at {at}");
                    partly += 1;
                }
            }
        }
        assert!(same > 20 && refused > 20 && partly > 50, "{same}, {refused}, {partly}");
    });
}
