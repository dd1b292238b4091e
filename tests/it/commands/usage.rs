//! How the program is called, and what it says to whom.

use std::fs;

use super::prepared;
use crate::bad_input::assert_refused;
use crate::support::sandbox::text;
use crate::support::{Run, sandboxed};

const COMMANDS: [&str; 5] = ["init", "backup", "restore", "list", "verify"];

#[test]
fn the_help_has_an_example_for_each_command() {
    sandboxed(|s| {
        let help = s.run(["--help"]).silent().stdout();
        assert!(help.contains("docker run"), "{help}");
        for command in COMMANDS {
            assert!(help.contains(&format!("snapshotter {command}")), "{command}: {help}");
            let own = s.run([command, "--help"]).silent().stdout();
            let example =
                own.lines().any(|line| line.trim_start().starts_with(&format!("snapshotter {command}")));
            assert!(example, "{own}");
        }
        let version = s.run(["--version"]).silent().stdout();
        assert_eq!(version, format!("snapshotter {}\n", env!("CARGO_PKG_VERSION")));
    });
}

#[test]
fn no_command_or_a_wrong_one_is_a_usage_error() {
    sandboxed(|s| {
        let none: [&str; 0] = [];
        let run = s.run(none).exits(2);
        assert!(COMMANDS.iter().all(|command| run.stderr().contains(command)), "{run}");
        assert_eq!(run.stdout(), "");
        for wrong in [&["frobnicate"][..], &["backup", "--no-such-flag"], &["restore", "--path", "x"]] {
            let run = s.run(wrong).exits(2);
            assert_eq!(run.stdout(), "", "{run}");
        }
        for wrong in [&["backup", "--checksum", "sometimes"][..], &["backup", "--lock-timeout", "soon"]] {
            s.run(wrong).exits(2).says(&[wrong[2]]);
        }
    });
}

#[test]
fn flags_stand_before_or_after_the_command_and_variables_stand_in() {
    sandboxed(|s| {
        let volume = prepared(s);
        let (archive, config) = (s.path("other.tar"), s.path("other.yml"));
        fs::rename(s.archive(), &archive).unwrap();
        fs::rename(s.config(), &config).unwrap();
        let flags = ["--archive", text(&archive), "--config", text(&config)];
        s.run([&flags[..], &["backup"]].concat()).ok();
        s.run([&["backup"], &flags[..]].concat()).ok();
        s.run([&flags[..2], &["backup"], &flags[2..]].concat()).ok();
        let mut command = s.command(["backup"]);
        command.env("SNAPSHOTTER_ARCHIVE", &archive).env("SNAPSHOTTER_CONFIG", &config);
        Run::of(command).ok();
        // A flag wins over the variable that the sandbox sets; --prefix and --volume replace the file.
        let both = ["--prefix", "two", "--volume", text(&volume), "--volume", text(&config)];
        let all = [&["backup", "--archive", text(&archive)], &both[..]].concat();
        let mut command = s.command(&all);
        command.env_remove("SNAPSHOTTER_CONFIG");
        Run::of(command).ok();
        // A file that is named must be there: it may hold `exclude`.
        s.run([&all[..], &["--config", "/no/such"]].concat()).exits(1).says(&["/no/such"]);
        let listed = s.run(["list", "--json", "--archive", text(&archive)]).ok().json();
        let snapshots = listed["snapshots"].as_array().unwrap();
        assert_eq!(snapshots.len(), 5);
        assert_eq!(snapshots[4]["prefix"], "two");
        assert_eq!(snapshots[4]["volumes"].as_array().unwrap().len(), 2);
        assert!(!s.archive().exists());
    });
}

#[test]
fn quiet_says_nothing_but_warnings_and_results() {
    sandboxed(|s| {
        let volume = prepared(s);
        for command in ["init", "backup", "restore", "verify"] {
            let run = s.run([command, "-q"]).silent();
            assert_eq!(run.stdout(), "", "{command}");
        }
        assert!(s.run(["list", "-q"]).silent().stdout().contains("web"));
        s.run(["backup", "-q", "--json"]).silent().json();
        fs::remove_dir_all(volume).unwrap();
        s.run(["backup", "-q"]).exits(1).says(&["No such file or directory"]);
    });
}

#[test]
fn a_result_goes_to_stdout_and_a_closed_one_is_no_error() {
    sandboxed(|s| {
        prepared(s);
        for _ in 0..3 {
            s.backup();
        }
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "\"$0\" list --json | true; \"$0\" list | head -n 1"]);
        command.arg(assert_cmd::cargo::cargo_bin!("snapshotter"));
        let run = s.run_as(command).silent();
        assert_eq!(run.stdout().lines().count(), 1, "{run}");
    });
}

#[test]
fn people_are_told_what_was_done() {
    sandboxed(|s| {
        let volume = prepared(s);
        let run = s.run(["backup", "--note", "before the move"]).ok();
        let said = run.stdout() + &run.stderr();
        assert_eq!(said.lines().count(), 1, "{run}");
        let id = s.list()["snapshots"][0]["id"].as_str().unwrap().to_owned();
        assert!(said.contains(&id) && said.contains("web"), "{run}");
        let list = s.run(["list"]).silent().stdout();
        for word in [&id, "web", "before the move", text(&volume)] {
            assert!(list.contains(word), "{word}: {list}");
        }
        let run = s.run(["restore"]).ok();
        let said = run.stdout() + &run.stderr();
        assert!(said.lines().count() == 1 && said.contains(&id), "{run}");
        let run = s.run(["verify"]).ok();
        assert!((run.stdout() + &run.stderr()).contains(&id), "{run}");
    });
}

#[test]
fn each_run_in_json_is_one_object_and_errors_stay_on_stderr() {
    sandboxed(|s| {
        prepared(s);
        for command in COMMANDS {
            let run = s.run([command, "--json", "--archive", "/no/such/archive.tar"]);
            assert_refused(&run, &["/no/such/archive.tar", "No such file or directory"]);
        }
        assert!(s.run(["init", "--json"]).ok().json().is_object());
    });
}
