//! What people copy: every recipe of docs/usage.md, from top to bottom, and the files in examples/, as they stand.
//! Only the names that all of the machine shares are replaced, and labels are added.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Engine, Run, with_engine};

const USAGE: &str = include_str!("../../docs/usage.md");
const COMPOSE: &str = include_str!("../../examples/compose.yaml");
const CONFIG: &str = include_str!("../../examples/config.yml");
const SERVICE: &str = include_str!("../../examples/systemd/snapshotter@.service");

/// A shell in which `docker` labels what it makes, and knows the images of the tests by their usual names.
fn script(e: &Engine, text: &str) -> Run {
    let labels = e.labels().join(" ");
    let docker = format!(
        r#"docker() {{
  local word words=()
  for word in "$@"; do
    case $word in busybox) word={} ;; snapshotter) word={} ;; esac
    words+=("$word")
  done
  case $1 in
    run | create) command docker "${{words[0]}}" {labels} "${{words[@]:1}}" ;;
    volume) if [ "$2" = create ]; then command docker volume create {labels} "${{words[@]:2}}"; else command docker "${{words[@]}}"; fi ;;
    stop) command docker stop -t 0 "${{words[@]:1}}" ;;
    *) command docker "${{words[@]}}" ;;
  esac
}}
"#,
        e.app(),
        e.image()
    );
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &format!("{docker}{text}")]);
    shell.current_dir(e.path("")).stdin(Stdio::null());
    Run::of(shell)
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn the_recipes_work_as_they_stand() {
    with_engine(|e| {
        let blocks = USAGE.split("\n```").skip(1).step_by(2);
        let run: Vec<_> = blocks.filter_map(|block| block.strip_prefix("bash\n")).collect();
        assert!(run.len() > 8, "docs/usage.md has only {} recipes that are run", run.len());
        // Names of containers and volumes, and files that are named after a container.
        let text = run.join("\n").replace("myapp", &e.name("myapp"));
        fs::remove_file(e.archive()).unwrap();
        let found = script(e, &text).ok();
        let notes = found.stdout().lines().filter(|line| *line == "a note").count();
        assert_eq!(notes, 4, "restored four times:\n{}", found.stdout());
        assert_eq!(e.verified(), 6);
        assert!(found.stdout().contains("note: first one"), "{found}");
    });
}

/// compose as a plugin of docker's, or as a program of its own.
fn compose() -> Option<Vec<&'static str>> {
    let ways = [vec!["docker", "compose"], vec!["docker-compose"]];
    ways.into_iter().find(|way| {
        let mut version = Command::new(way[0]);
        version.args(&way[1..]).arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    })
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn the_compose_project_is_backed_up_and_restored() {
    with_engine(|e| {
        let Some(compose) = compose() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "compose is not installed, and in CI nothing is skipped"
            );
            let _ = writeln!(std::io::stderr(), "skipped: compose is not installed");
            return;
        };
        let project = COMPOSE
            .replace("image: busybox\n", &format!("image: {}\n", e.app()))
            .replace("image: snapshotter\n", &format!("image: {}\n", e.image()));
        assert!(project.contains(e.app()) && project.contains(e.image()));
        fs::write(e.path("compose.yaml"), project).unwrap();
        fs::write(e.path("config.yml"), CONFIG).unwrap();
        let run = |args: &[&str]| {
            let mut command = Command::new(compose[0]);
            command.args(&compose[1..]).args(["-f", "compose.yaml", "-p", &e.name("compose")]).args(args);
            command.current_dir(e.path("")).stdin(Stdio::null());
            Run::of(command)
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&["up", "-d"]).ok();
            run(&[
                "exec",
                "-T",
                "app",
                "sh",
                "-c",
                "echo kept > /var/lib/app/file; echo c > /var/cache/app/c",
            ])
            .ok();
            run(&["stop", "-t", "0", "app"]).ok();
            run(&["run", "--rm", "--no-deps", "backup"]).ok();
            run(&["start", "app"]).ok();
            run(&["exec", "-T", "app", "sh", "-c", "rm -r /var/lib/app/* /var/cache/app/*"]).ok();
            run(&["stop", "-t", "0", "app"]).ok();
            run(&["run", "--rm", "--no-deps", "restore"]).ok();
            run(&["start", "app"]).ok();
            let found = run(&["exec", "-T", "app", "cat", "/var/lib/app/file", "/var/cache/app/c"]).ok();
            assert_eq!(found.stdout(), "kept\nc\n");
            assert_eq!(e.verified(), 1);
        }));
        // Compose does not put our labels on what it makes.
        run(&["down", "--volumes", "--timeout", "0"]).ok();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn the_systemd_service_backs_up_and_starts_the_container_again() {
    with_engine(|e| {
        let container = e.application("unit", &["-v", "/data"]);
        e.shell(&container, "echo x > /data/file");
        e.configure("unit", &["/data"]);
        let service = SERVICE.replace("\\\n", " ");
        let lines = |kind: &str| -> Vec<String> {
            let found = service.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix('='));
            let lines: Vec<_> = found
                .map(|line| {
                    line.replace("/usr/bin/docker", "docker")
                        .replace("/etc/snapshotter/%i.yml", e.path("config.yml").to_str().unwrap())
                        .replace("/var/backups/snapshotter.tar", e.archive().to_str().unwrap())
                        .replace("%i", &container)
                })
                .collect();
            assert_eq!(lines.len(), 1, "{kind}");
            lines
        };
        script(e, &lines("ExecStartPre")[0]).ok();
        script(e, &lines("ExecStart")[0]).ok();
        script(e, &lines("ExecStopPost")[0]).ok();
        assert_eq!(e.verified(), 1);
        assert_eq!(e.shell(&container, "cat /data/file"), "x");
    });
}
