//! `list` and `verify` of a part of an archive, and what has no meaning for a command.

use std::fs;

use serde_json::{Value, json};

use crate::support::sandbox::text;
use crate::support::{Sandbox, Tree, sandboxed};

/// Three snapshots: of `one` under `web`, of both volumes under `db`, and of both under `web`.
fn three(s: &Sandbox) -> Vec<String> {
    s.init();
    let one = Tree::at(s.path("one")).file("first", b"1").done();
    let two = Tree::at(s.path("two")).file("second", b"2").done();
    let ids =
        [("web", &[&one][..]), ("db", &[&one, &two]), ("web", &[&one, &two])].map(|(prefix, volumes)| {
            let volumes: Vec<_> = volumes.iter().map(|path| path.as_path()).collect();
            s.configure(prefix, &volumes);
            s.backup()["id"].as_str().unwrap().to_owned()
        });
    ids.to_vec()
}

#[track_caller]
fn ids(found: &Value) -> Vec<&str> {
    found["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap()).collect()
}

#[test]
fn snapshots_are_listed_and_verified_by_prefix_volume_and_id() {
    sandboxed(|s| {
        let all = three(s);
        let (one, two) = (s.path("one"), s.path("two"));
        let of = |args: &[&str]| s.run([&["--json"], args].concat()).ok().json();
        for command in ["list", "verify"] {
            assert_eq!(ids(&of(&[command])), all);
            assert_eq!(of(&[command]).get("others"), None);
            let web = of(&[command, "--prefix", "/web/"]);
            assert_eq!((ids(&web), &web["others"]), (vec![&*all[0], &*all[2]], &json!(1)));
            let with_two = of(&[command, "--volume", text(&two)]);
            assert_eq!(ids(&with_two), [&*all[1], &*all[2]]);
            let both = of(&[command, "--prefix", "web", "--volume", &format!("{}/", text(&two))]);
            assert_eq!(ids(&both), [&*all[2]]);
        }
        let line = s.run(["list", "--prefix", "web"]).ok().stdout();
        assert!(line.contains("\n2 of 3 snapshots in "), "{line}");
        assert_eq!(ids(&of(&["verify", &all[1]])), [&*all[1]]);
        let line = s.run(["verify", &all[1][..4]]).ok().stdout();
        assert!(line.contains(": 1 of 3 snapshots, 4 entries, "), "{line}");

        let members = of(&["list", &all[2], "--volume", text(&two)]);
        let names: Vec<_> =
            members["members"].as_array().unwrap().iter().map(|member| &member["name"]).collect();
        assert_eq!(names.len(), 2, "{members}");
        assert!(names.iter().all(|name| name.as_str().unwrap().contains("/two")), "{members}");
        // Nothing was verified, and so it is not well.
        s.run(["verify", "--prefix", "no"]).exits(1).says(&["no snapshot under the prefix \"no\""]);
        s.run(["verify", &all[0], "--volume", text(&two)]).exits(1).says(&[text(&two)]);
        s.run(["list", &all[0], "--volume", text(&two)]).exits(1).says(&[text(&two)]);
        s.run(["verify", "0000000"]).exits(1);
        s.run(["list", "--volume", "relative"]).exits(1).says(&["no absolute path"]);
        assert_eq!(ids(&of(&["list", "--prefix", "no"])), Vec::<&str>::new());
        assert_eq!(ids(&of(&["list", "--volume", text(&one)])), all);
    });
}

#[test]
fn damage_counts_where_it_is_asked_for() {
    sandboxed(|s| {
        let all = three(s);
        let listed = s.list();
        let at = listed["snapshots"][2]["offset"].as_u64().unwrap();
        let mut archive = fs::read(s.archive()).unwrap();
        // The content of `second`, in the last snapshot.
        let from = usize::try_from(at).unwrap();
        let name = archive[from..].windows(7).position(|window| window == b"/second").unwrap() + from;
        let data =
            archive[name..].iter().position(|&byte| byte == b'2').map(|_| name / 512 * 512 + 512).unwrap();
        assert_eq!(archive[data], b'2');
        archive[data] = b'3';
        fs::write(s.archive(), &archive).unwrap();
        s.run(["verify"]).exits(1);
        s.run(["verify", &all[2]]).exits(1).says(&["second"]);
        s.run(["verify", "--prefix", "web"]).exits(1).says(&["second"]);
        s.run(["verify", "--volume", text(&s.path("two"))]).exits(1).says(&["second"]);
        let sound = s.run(["verify", &all[2], "--volume", text(&s.path("one")), "--json"]).ok().json();
        assert_eq!(sound["snapshots"][0]["sound"], 2, "{sound}");
        assert_eq!(sound["snapshots"][0]["volumes"].as_array().unwrap().len(), 1);
        s.run(["verify", "--prefix", "db"]).ok();
        s.run(["verify", &all[0]]).ok();
    });
}

#[test]
fn what_has_no_meaning_for_a_command_is_refused() {
    sandboxed(|s| {
        let all = three(s);
        let config = s.config();
        for args in [
            &["init", "x.tar", "--prefix", "p"][..],
            &["--volume", "/v", "init", "x.tar"],
            &["init", "x.tar", "--config", text(&config)],
            &["init", "x.tar", "--archive", "y.tar"],
            &["list", "--config", text(&config)],
            &["--config", text(&config), "verify"],
            &["list", "--strict"],
            &["--strict", "list", &all[0]],
            &["list", &all[0], "--prefix", "web"],
            &["verify", "--prefix", "web", &all[0]],
            &["backup", "--volume", "/a=/b"],
            &["list", "--volume", "/a=/b"],
        ] {
            let run = s.run(args).exits(2);
            assert!(run.stderr().starts_with("error: ") && run.stdout().is_empty(), "{run}");
        }
        assert!(!s.path("x.tar").exists() && !s.path("y.tar").exists());
        // What stands in the environment is meant for any command.
        s.run(["list"]).ok();
    });
}
