//! When all is stored although what changed would do: the snapshot before cannot be relied on, or is not one.

use super::*;

#[test]
fn after_a_snapshot_that_cannot_be_referred_to_all_is_stored_and_that_is_said() {
    sandboxed(|s| {
        let mut nights = Nights::of(s, many(s, 50));
        nights.options.incremental = false;
        assert_eq!(nights.noted().1, [""; 0]);
        nights.options.incremental = true;
        let (report, notes) = nights.noted();
        assert_eq!(report.references, 0);
        let id = nights.taken[0].0.clone();
        let why = format!("all is stored, and nothing by reference to snapshot {id}: it has no index");
        assert_eq!(notes, [why]);
        let (report, notes) = nights.noted();
        assert_eq!((report.references + 1, notes.len()), (report.entries, 0));
        // A prefix of its own, and then the first one again, with another in between.
        let mine = std::mem::replace(&mut nights.config, config("other", &[&nights.volume]));
        let (report, notes) = nights.noted();
        assert_eq!((report.references, notes.len()), (0, 0));
        nights.config = mine;
        assert_eq!(nights.noted().0.references + 1, report.entries);
    });
}

#[test]
fn of_so_many_one_stores_all() {
    sandboxed(|s| {
        let mut nights = Nights::of(s, many(s, 20));
        nights.options.full_every = 3;
        let is_full: Vec<bool> = (0..8).map(|_| nights.backup().references == 0).collect();
        assert_eq!(is_full, [true, false, false, true, false, false, true, false]);
        nights.assert_all();
        nights.options.full_every = 1;
        assert!((0..2).all(|_| nights.backup().references == 0));
    });
}

#[test]
fn the_program_takes_the_configuration_and_flags() {
    sandboxed(|s| {
        let volume = many(s, 20);
        s.init();
        let text =
            format!("prefix: web\nvolumes: [\"{}\"]\nincremental: true\nfull_every: 2\n", text(&volume));
        fs::write(s.config(), &text).unwrap();
        let references = |args: &[&str]| {
            let run = s.run([&["backup", "--json"], args].concat()).ok();
            run.json()["references"].as_u64().unwrap()
        };
        // Its margin is two seconds.
        sleep(Duration::from_millis(2100));
        let found: Vec<u64> = [&[][..], &[], &[], &["--full"], &[]].map(references).to_vec();
        assert_eq!(found, [0, 22, 0, 0, 22]);
        s.run(["backup", "--full", "--incremental"]).exits(2);
        s.run(["backup"]).ok().prints(&["backed up 1 volume", "23 entries, "]);
        s.run(["backup"]).ok().prints(&["23 entries (22 entries as before), "]);
        let listed = s.list();
        let last = listed["snapshots"].as_array().unwrap();
        let needs = &last[last.len() - 1]["bases"];
        assert_eq!(needs.as_array().unwrap(), &[last[last.len() - 2]["id"].clone()]);
        s.run(["list"]).ok().prints(&["needs snapshot ", ", where the rest of it is stored"]);
        for (wrong, why) in [
            ("incremental: 3", "expected `true` or `false`"),
            ("full_every: 0", "0 is not a number of at least 1"),
            ("full_every: often", "expected a number of at least 1"),
            ("full_every: 3\nfull_every: 3", "`full_every` is there twice"),
        ] {
            fs::write(s.config(), format!("{}{wrong}\n", text.split("incremental").next().unwrap())).unwrap();
            s.run(["backup"]).exits(1).says(&[why]);
        }
    });
}

#[test]
fn after_the_clock_was_set_back_all_is_stored() {
    sandboxed(|s| {
        let mut nights = Nights::of(s, many(s, 20));
        nights.backup();
        let (mut members, tail) = crate::hostile::craft::parse(&fs::read(s.archive()).unwrap());
        let json = members.iter_mut().rfind(|member| member.data.starts_with(b"{\n")).unwrap();
        let text = String::from_utf8(json.data.clone()).unwrap();
        json.data = text.replace("\"created\": \"20", "\"created\": \"29").into_bytes();
        fs::write(s.archive(), crate::hostile::craft::write(&members, &tail)).unwrap();
        let (report, notes) = nights.noted();
        assert_eq!(report.references, 0);
        assert!(notes.len() == 1 && notes[0].ends_with("the clock was set back"), "{notes:?}");
    });
}

#[test]
fn where_the_index_is_damaged_what_it_lists_is_stored_again() {
    sandboxed(|s| {
        let mut nights = Nights::of(s, many(s, 4000));
        nights.backup();
        let sound = fs::read(s.archive()).unwrap();
        let parts: Vec<usize> =
            (0..sound.len()).filter(|&at| sound[at..].starts_with(b"SNAPIDX\x01")).collect();
        assert!(parts.len() > 2, "{} parts", parts.len());
        for (number, &part) in parts.iter().enumerate() {
            let mut damaged = sound.clone();
            damaged[part + 40] ^= 1;
            fs::write(s.archive(), damaged).unwrap();
            nights.taken.truncate(1);
            let (report, notes) = nights.noted();
            let is_table = number + 1 == parts.len();
            assert!(notes.len() == 1 && notes[0].contains("damaged at offset"), "{notes:?}");
            assert_eq!(report.references == 0, is_table, "{} of {}", report.references, report.entries);
            assert!(report.references + 500 < report.entries);
            let found = nights.restored(nights.restore_options(1)).unwrap();
            assert_eq!(nights.taken[1].1.differences(&found), [""; 0]);
        }
    });
}

#[test]
fn what_there_was_a_warning_for_is_read_again() {
    sandboxed(|s| {
        let volume = Tree::at(s.path("vol/a")).file("a", "a").file("m", "under").file("z", "z").done();
        // What is mounted is stored empty, with a warning; its own time and inode say nothing of that.
        fs::write(s.path("other"), "mounted").unwrap();
        let mut nights = Nights::of(s, volume);
        s.bind(&s.path("other"), &nights.path("m"));
        assert_eq!(nights.backup().warning_count, 1);
        let report = nights.backup();
        assert_eq!((report.warning_count, report.references), (1, 2));
    });
}
