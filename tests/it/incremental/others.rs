//! Other programs read such archives, and one snapshot of them can be had without this program.

use super::*;

/// The program that docs/format.md shows.
fn program() -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md")).unwrap();
    let (_, rest) = text.split_once("```python\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_program_in_the_documents_makes_a_tar_of_one_snapshot() {
    if !["python3", "tar"].into_iter().all(need) {
        return;
    }
    sandboxed(|s| {
        let tree = Tree::at(s.path("vol/a")).file("grows", "1").file("goes", "2").file("d/e/f", "x");
        let tree =
            tree.sparse("sparse", 1 << 20, &[(70_000, b"data")]).symlink("l", "d").hard_link("h", "goes");
        let mut nights = Nights::of(s, tree.file("n".repeat(250), pattern(70_000)).done());
        nights.backup();
        fs::write(nights.path("grows"), pattern(9000)).unwrap();
        fs::remove_file(nights.path("goes")).unwrap();
        nights.backup();
        fs::write(nights.path("d/new"), "new").unwrap();
        nights.backup();
        fs::write(s.path("one.py"), program()).unwrap();
        for (id, picture) in &nights.taken {
            let into = s.path("one");
            fs::create_dir(&into).unwrap();
            let script = format!(
                "set -e; python3 {} {} {id} > {}; tar -xpf {} -C {}",
                text(&s.path("one.py")),
                text(&s.archive()),
                text(&s.path("one.tar")),
                text(&s.path("one.tar")),
                text(&into),
            );
            tool("sh", ["-c", &script]).silent();
            picture.assert_same(into.join("web").join(text(&nights.volume).trim_start_matches('/')));
            fs::remove_dir_all(into).unwrap();
        }
    });
}

#[test]
fn others_read_it_silently_and_extract_the_newest_state() {
    sandboxed(|s| {
        let mut nights = Nights::of(s, many(s, 300));
        nights.backup();
        for n in (0..300).step_by(7) {
            fs::write(nights.path(&format!("{}/{n:05}", ["d", "e"][n % 2])), format!("changed {n}")).unwrap();
        }
        fs::remove_file(nights.path("d/00002")).unwrap();
        nights.backup();
        fs::write(nights.path("e/new"), "new").unwrap();
        nights.backup();
        let archive = s.archive();
        for (name, list, extract) in
            [("tar", "-tf", "-xpf"), ("bsdtar", "-tf", "-xpf"), ("busybox", "tar -tf", "tar -xpf")]
        {
            if !need(name) {
                continue;
            }
            let into = s.path(format!("by {name}"));
            fs::create_dir(&into).unwrap();
            let script = format!(
                "{name} {list} {} >/dev/null && {name} {extract} {} -C '{}'",
                text(&archive),
                text(&archive),
                text(&into)
            );
            tool("sh", ["-c", &script]).silent();
            let found = Picture::of(into.join("web").join(text(&nights.volume).trim_start_matches('/')));
            let newest = &nights.taken[2].1;
            // What was deleted is there, too; and directories have the time of what was put into them.
            let is_file = |picture: &Picture, name: &[u8]| picture.entries[name].kind == "file";
            let found = found.part(|name| is_file(&found, name) && newest.entries.contains_key(name));
            let newest = newest.part(|name| is_file(newest, name));
            assert!(found.entries.len() == newest.entries.len() && newest.entries.len() == 300);
            if name != "busybox" {
                assert_eq!(newest.differences(&found), [""; 0], "{name}");
            }
            assert!(into.join("web").join(text(&nights.path("d/00002")).trim_start_matches('/')).exists());
        }
    });
}
