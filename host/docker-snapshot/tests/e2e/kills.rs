//! The program is killed at each order that it gives to the engine: just before the engine has it, and when the
//! engine has done it. What comes next puts everything right.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::place::{Place, fill, helpers, state, tree, write};
use crate::proxy::{Proxy, When};
use crate::sandbox::{Sandbox, is_podman};

/// Runs the program, and kills it at its order number `at`; which one that was, or nothing where it had ended
/// before.
fn killed(place: &Place, arguments: &[&str], at: usize, when: When) -> Option<String> {
    let pid = Arc::new(AtomicU32::new(0));
    let victim = Arc::clone(&pid);
    let proxy = Proxy::local(move |step| {
        if (step.number, step.when) != (at, when) {
            return true;
        }
        while victim.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(5));
        }
        let pid = victim.load(Ordering::Relaxed).to_string();
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        false
    });
    let mut command = place.command(arguments);
    command.env("DOCKER_HOST", &proxy.address).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    pid.store(child.id(), Ordering::Relaxed);
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{status}: {:?}", proxy.orders());
    (!status.success()).then(|| proxy.orders()[at].clone())
}

fn recovered(sandbox: &Sandbox, place: &Place, app: &str, after: &str) {
    let output = place.run(&["recover"]);
    assert!(output.status.success(), "{after}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(state(app), "running always", "{after}");
    assert_eq!((place.leases(), helpers(sandbox).as_str()), (0, ""), "{after}");
}

/// The orders of a run, of which an engine that keeps its restart policies gets fewer.
fn expected(orders: &[&'static str]) -> Vec<&'static str> {
    let podman = is_podman();
    orders.iter().copied().filter(|&order| !podman || order != "update").collect()
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn killed_at_each_step_of_create_and_restore_leaves_nothing_that_the_next_does_not_put_right() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let mount = format!("{data}:/data");
    let app = sandbox.run("app", &["-v", &mount, "--restart", "always", "--stop-timeout", "1"]);
    // The image of helpers is there from now on.
    place.create(&[&data, "--output", "others"]);

    for when in [When::Before, When::After] {
        let mut steps: Vec<String> = Vec::new();
        while let Some(step) = killed(&place, &["create", &data], steps.len(), when) {
            recovered(&sandbox, &place, &app, &format!("{when:?} {step}"));
            steps.push(step);
        }
        let orders = ["create", "update", "stop", "attach", "start", "wait", "update", "start", "remove"];
        assert_eq!(steps, expected(&orders));
    }
    let files = place.files();
    let archives: Vec<_> = files.iter().filter(|name| name.contains(".tar")).collect();
    assert_eq!(archives.len(), 2, "those of the runs that were not killed: {files:?}");
    assert!(!files.iter().any(|name| name.starts_with('.')), "{files:?}");

    let before = tree(&data);
    let arguments = ["restore", &data, "--force", "--stop-containers"];
    let mut steps: Vec<String> = Vec::new();
    loop {
        write(&data, "later");
        let changed = tree(&data);
        assert_ne!(changed, before);
        let Some(step) = killed(&place, &arguments, steps.len(), When::After) else { break };
        recovered(&sandbox, &place, &app, &format!("restore, after {step}"));
        let now = tree(&data);
        assert!(now == before || now == changed, "it is neither old nor new after {step}: {now}");
        steps.push(step);
    }
    let looks = ["create", "remove"];
    let orders = ["create", "update", "stop", "attach", "start", "wait", "remove", "update", "start"];
    assert_eq!(steps, expected(&[&looks[..], &orders].concat()));
    assert_eq!(tree(&data), before);
}
