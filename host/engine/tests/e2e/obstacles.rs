//! Containers that are not stopped, and places where no lease can be kept: nothing is touched then.

use std::fs;
use std::path::Path;

use snapshotter_engine::lease::Manner;
use snapshotter_engine::{Error, obstacle::Obstacle};

use crate::driver::{hold_names, with_engine};
use crate::sandbox::{Sandbox, docker, inspect};

fn refused(state: &Path, names: &[String]) -> Error {
    with_engine(async |engine| {
        hold_names(&engine, state, names, Manner::Stop, &|event| panic!("{event:?}")).await.unwrap_err()
    })
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_would_be_lost_is_not_stopped_and_nothing_else_is() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let memory = sandbox.volume("memory", &["-o", "type=tmpfs", "-o", "device=tmpfs"]);
    let app = sandbox.run("app", &["--restart", "always"]);
    let removed = sandbox.run("removed", &["--rm", "-v", "/data"]);
    let in_memory = sandbox.run("in-memory", &["-v", &format!("{memory}:/data")]);
    let one_off = sandbox.service("one-off", "", &["--label", "com.docker.compose.oneoff=True"]);
    let migration = sandbox.service("migration", "", &[]);
    let web = sandbox.service("web", "migration:service_completed_successfully:false", &[]);
    for (name, expected) in [
        (&removed, Obstacle::AutoRemove),
        (&in_memory, Obstacle::Memory(memory.clone())),
        (&one_off, Obstacle::OneOff),
        (&migration, Obstacle::OneShot),
    ] {
        let error = refused(state.path(), &[app.clone(), web.clone(), name.clone()]);
        let Error::Obstacle { container, obstacle } = &error else { panic!("{error}") };
        assert_eq!((container, obstacle), (name, &expected));
        assert!(error.advice().is_some());
    }
    for name in [&app, &removed, &in_memory, &one_off, &migration, &web] {
        assert_eq!(inspect(name, "{{.State.Status}}"), "running");
    }
    assert_eq!(inspect(&app, "{{.HostConfig.RestartPolicy.Name}}"), "always");
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn without_a_lease_nothing_is_stopped() {
    let sandbox = Sandbox::new();
    let directory = tempfile::tempdir().unwrap();
    let app = sandbox.run("app", &["--restart", "always"]);
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refused(&file.join("below"), std::slice::from_ref(&app));
    assert!(matches!(error, Error::State { .. }), "{error}");
    assert_eq!(inspect(&app, "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}"), "running always");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn when_one_cannot_be_stopped_all_go_on() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let db = sandbox.service("db", "", &["--restart", "always"]);
    let web = sandbox.service("web", "db", &["--restart", "always"]);
    let names = vec![db.clone(), web.clone()];
    let error = with_engine(async |engine| {
        let plan = crate::driver::plan(&engine, &names, Manner::Stop).await.unwrap();
        docker(&["rm", "--force", &db]);
        let state = snapshotter_engine::lease::State::at(state.path());
        snapshotter_engine::hold::hold(&engine, &state, plan, &|_| {}).await.unwrap_err()
    });
    assert!(error.is_not_there(), "{error}");
    assert_eq!(inspect(&web, "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}"), "running always");
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "the directory's lock alone is left");
}
