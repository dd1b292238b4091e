//! A flipped bit: it is found, and nothing wrong is restored.

use std::fs;
use std::path::Path;

use snapshotter::config::{Config, Exclude, Need};
use snapshotter::report::ListedSnapshot;
use snapshotter::{Hint, RestoreOptions, backup, restore, verify};

use super::step::Part;
use super::world::{Behind, Taken, World, strict};
use crate::support::members::members;

impl World<'_> {
    /// Flips a bit, looks what comes of it, tries to back up if that is asked for, and flips it back.
    pub(super) fn damage(&mut self, part: Part, at: usize, bit: u8, try_backup: bool) {
        if self.behind == Behind::Overwritten {
            return;
        }
        let (at, end) = (self.place(part, at), self.end() as u64);
        let hit = self.list().snapshots.iter().position(|one| (one.offset..one.end()).contains(&at));
        let ends: Vec<u64> = self.list().snapshots.iter().map(ListedSnapshot::end).collect();
        let covered = hit.map_or((end..end + 1024).contains(&at), |hit| !self.taken[hit].original);
        self.count(if covered { "flips in what is covered" } else { "flips in what is not" });

        self.flip(at, bit);
        let verified = verify(&self.list_options(), &strict());
        let sound: Vec<String> = match &verified {
            Ok(verified) => {
                assert!(!covered || !verified.problems.is_empty(), "verify does not see it at {at}");
                let ok = verified.snapshots.iter().filter(|one| one.ok);
                ok.map(|one| one.id.clone()).collect()
            }
            Err(_) => Vec::new(),
        };
        for (number, taken) in self.taken.iter().enumerate() {
            let is_sound = sound.contains(&taken.id);
            assert!(is_sound || ends[number] > at, "{} is before {at}", taken.id);
            // The original program's data has no checksums.
            if !(taken.original && hit == Some(number)) {
                self.restore_damaged(taken, is_sound);
            }
        }
        self.restore_newest_damaged();
        let cut_off = try_backup && self.back_up_damaged() && at >= end;
        if !cut_off {
            self.flip(at, bit);
        }
        self.assert_listed();
    }

    /// A byte of the archive, the `number`th of these parts, around and around.
    fn place(&self, part: Part, number: usize) -> u64 {
        let bytes = fs::read(self.s.archive()).unwrap();
        let (all, end) = members(&bytes);
        let parts = all.iter().flat_map(|member| &member.parts).filter(|(what, _)| *what != "data");
        let parts = parts.map(|(_, range)| range.clone());
        let parts: Vec<_> = parts.chain(std::iter::once(end..bytes.len())).collect();
        let place = match part {
            Part::Any => number % bytes.len(),
            Part::AllButContent => {
                let range = &parts[number % parts.len()];
                range.start + number / parts.len() % range.len()
            }
        };
        place as u64
    }

    fn flip(&self, at: u64, bit: u8) {
        let mut bytes = fs::read(self.s.archive()).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
        fs::write(self.s.archive(), bytes).unwrap();
    }

    /// It is restored as it was, or refused.
    fn restore_damaged(&self, taken: &Taken, is_sound: bool) {
        let into = self.s.path("damaged");
        match self.restore_into(taken, &into) {
            Ok(()) => {
                assert_same_below(taken, &into);
                fs::remove_dir_all(&into).unwrap();
            }
            Err(error) => {
                assert!(!into.exists(), "{error}");
                // What is sound and follows damage is only found when it is looked for.
                if is_sound {
                    let hint = error.hint();
                    let found_so = matches!(hint, Some(Hint::SkipDamaged | Hint::SkipDamagedToFind));
                    assert!(found_so, "{} is sound: {error}: {hint:?}", taken.id);
                    self.restore_sound(taken, &into);
                }
            }
        }
    }

    fn restore_sound(&self, taken: &Taken, into: &Path) {
        let into_it = Some(into.to_owned());
        let options = RestoreOptions { into: into_it, skip_damaged: true, ..self.restore_options(taken) };
        let report = Self::restored(taken, &options).unwrap();
        assert!(report.skipped.unwrap().left_out.is_empty());
        assert_same_below(taken, into);
        fs::remove_dir_all(into).unwrap();
    }

    /// The newest is restored or nothing, and never an older one.
    fn restore_newest_damaged(&self) {
        let Some(newest) = self.newest(&self.config.prefix) else { return };
        let none: [&str; 0] = [];
        let config =
            Config::from_parts(&newest.prefix, none, Exclude::default(), Need::VolumesOrAll).unwrap();
        let into = self.s.path("damaged");
        let options = RestoreOptions {
            archive: self.s.archive().into(),
            into: Some(into.clone()),
            ..RestoreOptions::default()
        };
        if let Ok(report) = restore(&config, &options, &strict()) {
            assert_eq!(report.id, newest.id);
            assert_same_below(newest, &into);
            fs::remove_dir_all(&into).unwrap();
        }
    }

    /// It is refused and changes nothing, or it is as good as any; whether it was made.
    fn back_up_damaged(&mut self) -> bool {
        let before = fs::read(self.s.archive()).unwrap();
        let options = self.backup_options(true);
        if let Ok(report) = backup(&self.config, &options, &strict()) {
            self.take(report.id);
            return true;
        }
        assert!(fs::read(self.s.archive()).unwrap() == before);
        false
    }
}

fn assert_same_below(taken: &Taken, into: &Path) {
    for (path, picture) in &taken.volumes {
        picture.assert_same(into.join(path.strip_prefix("/").unwrap()));
    }
}
