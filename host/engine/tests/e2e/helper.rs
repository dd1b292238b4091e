//! Helpers, made, run and removed: with the core, and with a shell in its place where a helper is to do what
//! the core never would.

use std::cell::RefCell;
use std::future::pending;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use snapshotter::report::{BackupReport, Event};
use snapshotter_engine::api::Engine;
use snapshotter_engine::helper::{
    BACKUP, Collected, Finished, Helpers, Mount, RESTORE, Spec, Streams, Told, sweep,
};
use snapshotter_engine::lease::State;
use snapshotter_engine::{Error, Result};

use crate::driver::with_engine;
use crate::sandbox::{Sandbox, docker, image, inspect, is_podman};

/// What the core says when all is done, as a shell says it.
pub(crate) const DONE: &str = r#"echo '{"event":"end","ok":true,"exit_code":0}' >&2"#;

/// A helper that is a shell with `script`.
pub(crate) fn shell(script: &str, mounts: Vec<Mount>) -> Spec {
    let mut spec = Spec::new(["sh", "-c", script], &[]);
    spec.mounts = mounts;
    spec
}

fn collected(input: Option<Box<dyn Read + Send>>) -> Streams<Collected> {
    Streams { input, output: Collected::default() }
}

/// Runs `spec` in the image of these tests, or with the core.
async fn run<W: Write + Send + 'static>(
    engine: &Engine,
    state: &Path,
    image: Option<&str>,
    spec: Spec,
    streams: Streams<W>,
    observer: &dyn Fn(&Told<'_>),
) -> Result<Finished<W>> {
    let helpers = Helpers::new(engine, &State::at(state), image).await?;
    let prepared = helpers.prepare(spec, observer).await?;
    prepared.run(streams, observer, pending()).await
}

/// Runs `script` and returns what comes of it; what it has made is gone again.
fn script(script: &str, mounts: Vec<Mount>) -> Result<Finished<Text>> {
    let state = tempfile::tempdir().unwrap();
    let streams = Streams { input: None, output: Text::default() };
    let name = RefCell::new(String::new());
    let observer = |told: &Told<'_>| {
        if let Told::Made(made) = told {
            (*made).clone_into(&mut name.borrow_mut());
        }
    };
    let run = |engine| async {
        let engine = engine;
        run(&engine, state.path(), Some(&image()), shell(script, mounts), streams, &observer).await
    };
    let result = with_engine(run);
    assert_eq!(containers(&name.borrow()), "");
    assert!(!owners(state.path()), "the owner is settled");
    result
}

/// What is written, as text.
#[derive(Debug, Default)]
struct Text(Vec<u8>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Text {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap()
    }
}

pub(crate) fn containers(name: &str) -> String {
    assert!(!name.is_empty());
    docker(&["ps", "--all", "--quiet", "--filter", &format!("name={name}")])
}

pub(crate) fn owners(state: &Path) -> bool {
    std::fs::read_dir(state)
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_str().unwrap().starts_with("helper-"))
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_helper_has_what_it_needs_and_nothing_else() {
    let sandbox = Sandbox::new();
    let (read, written) = (sandbox.volume("read", &[]), sandbox.volume("written", &[]));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    let shown = RefCell::new(String::new());
    let name = RefCell::new(String::new());
    let observer = |told: &Told<'_>| match told {
        Told::Made(made) => (*made).clone_into(&mut name.borrow_mut()),
        Told::Attached => {
            let fields = "{{json .HostConfig}}|{{json .Mounts}}|{{json .Config.Labels}}|{{.Config.User}}";
            *shown.borrow_mut() = inspect(&name.borrow(), fields);
        }
        _ => {}
    };
    let mut spec = shell(
        &format!(
            "grep -E '^(CapEff|CapBnd|NoNewPrivs|Uid)' /proc/self/status; ls /sys/class/net; \
             for place in / /volumes /volumes/0 /volumes/1 /destination; do \
             touch $place/x 2>/dev/null && echo wrote $place; done; {DONE}"
        ),
        vec![
            Mount::read(&read, "/volumes/0"),
            Mount::write(&written, "/volumes/1"),
            Mount::directory(&path, "/destination"),
        ],
    );
    spec.capabilities = BACKUP.iter().map(|&name| name.to_owned()).collect();
    let state = tempfile::tempdir().unwrap();
    let finished = with_engine(async |engine| {
        let streams = Streams { input: None, output: Text::default() };
        run(&engine, state.path(), Some(&image()), spec, streams, &observer).await.unwrap()
    });
    let shown = shown.into_inner();
    let parts: Vec<&str> = shown.split('|').collect();
    let host: serde_json::Value = serde_json::from_str(parts[0]).unwrap();
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["NetworkMode"], "none");
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["AutoRemove"], false);
    assert_eq!(host["LogConfig"]["Type"], "none");
    assert_eq!(host["Memory"], 0);
    let mounts: serde_json::Value = serde_json::from_str(parts[1]).unwrap();
    assert_eq!(mounts.as_array().unwrap().len(), 3, "{mounts}");
    for mount in mounts.as_array().unwrap() {
        assert_eq!(mount["RW"], mount["Destination"] != "/volumes/0", "{mount}");
    }
    assert!(parts[2].contains("snapshotter.helper"));
    let said = finished.output.text();
    let capability = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
    };
    // DAC_OVERRIDE is number 1.
    assert_eq!((capability("CapEff"), capability("CapBnd")), (2, 2));
    assert!(said.contains("NoNewPrivs:\t1"), "{said}");
    assert!(said.contains("\nlo\n") && !said.contains("eth0"), "{said}");
    let wrote: Vec<_> = said.lines().filter(|line| line.starts_with("wrote")).collect();
    assert_eq!(wrote, ["wrote /volumes/1", "wrote /destination"]);
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={read}")]), read);
    assert_eq!(containers(&name.borrow()), "");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn the_core_works_in_an_image_that_is_loaded_once() {
    let sandbox = Sandbox::new();
    // Every character that may be in a name.
    let data = sandbox.volume("Data_1.x-y", &[]);
    let copy = sandbox.volume("copy", &[]);
    let fill =
        format!("echo kept >/d/file; mknod /d/pipe p; chown 70:80 /d/file; ln -s file /d/link; {DONE}");
    script_with(&fill, vec![Mount::write(&data, "/d")], &["CHOWN"]);
    let state = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    // An archive without a snapshot.
    std::fs::write(directory.path().join("a.tar"), [0; 1024]).unwrap();
    let flags = ["--json", "--events", "json", "--archive", "/destination/a.tar", "--prefix", "p"];
    let task = |verb: &str, capabilities: &[&str], mount: Mount| {
        let mut spec = Spec::new([&[verb][..], &flags, &["--volume", "/volumes/0"]].concat(), capabilities);
        spec.mounts = vec![mount, Mount::directory(&path, "/destination")];
        spec
    };
    let events = RefCell::new(Vec::new());
    let observer = |told: &Told<'_>| {
        if let Told::Core(event) = told {
            events.borrow_mut().push((*event).clone());
        }
    };
    with_engine(async |engine| {
        let state = State::at(state.path());
        // Two that load at once do not hurt each other.
        let (one, two) = (Helpers::new(&engine, &state, None), Helpers::new(&engine, &state, None));
        let (one, two) = futures_util::future::join(one, two).await;
        let (one, two) = (one.unwrap(), two.unwrap());
        let backup = task("backup", BACKUP, Mount::read(&data, "/volumes/0"));
        let prepared = one.prepare(backup, &observer).await.unwrap();
        let finished = prepared.run(collected(None), &observer, pending()).await.unwrap();
        let report: BackupReport = finished.output.report().unwrap();
        assert_eq!((report.entries, report.prefix.as_str()), (4, "p"));

        let restore = task("restore", RESTORE, Mount::write(&copy, "/volumes/0"));
        let prepared = two.prepare(restore, &observer).await.unwrap();
        prepared.run(collected(None), &observer, pending()).await.unwrap();

        // What the core says names the volume.
        let mut missing = task("backup", BACKUP, Mount::read(&copy, "/volumes/0"));
        missing.arguments.extend(["--volume", "/volumes/0/nowhere"].map(str::to_owned));
        let prepared = two.prepare(missing, &observer).await.unwrap();
        let error = prepared.run(collected(None), &observer, pending()).await.unwrap_err();
        let Error::Helper { exit_code: 1, error } = &error else { panic!("{error}") };
        assert!(error.message.contains(&format!("{copy}:/nowhere")), "{}", error.message);

        let mut misused = Spec::new(["backup", "--nonsense"], &[]);
        misused.mounts = vec![Mount::read(&copy, "/volumes/0")];
        let prepared = two.prepare(misused, &observer).await.unwrap();
        let error = prepared.run(collected(None), &observer, pending()).await.unwrap_err();
        let words = "the helper ended with exit code 2: error: unexpected argument '--nonsense' found";
        assert_eq!(error.to_string(), words);
    });
    let events = events.into_inner();
    assert!(events.iter().any(|event| matches!(event, Event::Begin { .. })));
    assert!(matches!(events.last(), Some(Event::End(_))));
    let seen = script_with(
        &format!("cd /d; stat -c '%n %F %u %g' *; cat file; {DONE}"),
        vec![Mount::read(&copy, "/d")],
        &[],
    );
    assert_eq!(seen.text(), "file regular file 70 80\nlink symbolic link 0 0\npipe fifo 0 0\nkept\n");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_whole_archive_comes_out_and_goes_back_through_the_stream() {
    let sandbox = Sandbox::new();
    let (data, copy) = (sandbox.volume("data", &[]), sandbox.volume("copy", &[]));
    let fill =
        "head -c 9000000 /dev/urandom >/d/large; echo x >/d/small; chown 7:8 /d/small; ln -s small /d/link";
    script_with(&format!("{fill}; {DONE}"), vec![Mount::write(&data, "/d")], &["CHOWN"]);
    let state = tempfile::tempdir().unwrap();
    let task = |verb: &str, capabilities: &[&str], mount: Mount| {
        let flags =
            ["--json", "--events", "json", "--archive", "-", "--prefix", "p", "--volume", "/volumes/0"];
        let mut spec = Spec::new([&[verb][..], &flags].concat(), capabilities);
        spec.mounts = vec![mount];
        spec.reads_input = verb == "restore";
        spec
    };
    let report = RefCell::new(None);
    let observer = |told: &Told<'_>| {
        if let Told::Core(Event::Report(made)) = told {
            *report.borrow_mut() = Some(made.clone());
        }
    };
    with_engine(async |engine| {
        let run = async |spec: Spec, input: Option<Vec<u8>>| {
            let input = input.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn Read + Send>);
            let streams = Streams { input, output: Text::default() };
            run(&engine, state.path(), None, spec, streams, &observer).await
        };
        let archive = run(task("backup", BACKUP, Mount::read(&data, "/volumes/0")), None).await.unwrap();
        assert_eq!(report.borrow().as_ref().unwrap().entries, 4);
        let bytes = archive.output.0;
        assert_eq!(archive.bytes, bytes.len() as u64);
        let back = || task("restore", RESTORE, Mount::write(&copy, "/volumes/0"));
        let cut = run(back(), Some(bytes[..bytes.len() / 2].to_vec())).await.unwrap_err();
        assert!(matches!(cut, Error::Helper { exit_code: 1, .. }) || is_podman(), "{cut}");
        run(back(), Some(bytes)).await.unwrap();
    });
    let list = format!("cd /d; stat -c '%n %F %u %g %y' . *; sha256sum large small; {DONE}");
    let seen = |volume: &str| script_with(&list, vec![Mount::read(volume, "/d")], &[]).text().to_owned();
    assert_eq!(seen(&copy), seen(&data));
}

fn script_with(script: &str, mounts: Vec<Mount>, capabilities: &[&str]) -> Text {
    let state = tempfile::tempdir().unwrap();
    let mut spec = shell(script, mounts);
    spec.capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
    with_engine(async |engine| {
        let streams = Streams { input: None, output: Text::default() };
        run(&engine, state.path(), Some(&image()), spec, streams, &|_| {}).await.unwrap().output
    })
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_fails_says_how_and_leaves_nothing() {
    let done = script(&format!("echo said; {DONE}"), Vec::new()).unwrap();
    assert_eq!((done.output.text(), done.bytes), ("said\n", 5));
    for (line, words) in [
        ("echo some words >&2; exit 3", "the helper ended with exit code 3: some words"),
        ("exit 1", "the helper ended with exit code 1 and without a word"),
        ("kill -9 $$", "the helper ended with exit code 137"),
        ("echo all is well", "the connection to the helper was cut off"),
        (
            r#"echo '{"event":"end","ok":false,"exit_code":1,"error":{"message":"m","hint":null,"advice":"a"}}' >&2"#,
            "m",
        ),
    ] {
        // A shell that is the first process does not hear itself.
        let error =
            script(&format!("sh -c '{}'; exit $?", line.replace('\'', r"'\''")), Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with(words), "{line}: {error}");
    }
    let state = tempfile::tempdir().unwrap();
    let error = with_engine(async |engine| {
        let spec = Spec::new(["/no-such-program"], &[]);
        run(&engine, state.path(), Some(&image()), spec, collected(None), &|_| {}).await.unwrap_err()
    });
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(!owners(state.path()));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_is_not_there_is_not_made() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let missing = sandbox.name("missing");
    let nowhere = state.path().join("nowhere").to_str().unwrap().to_owned();
    with_engine(async |engine| {
        let attempt = async |mount: Mount| {
            let spec = shell(DONE, vec![mount]);
            run(&engine, state.path(), Some(&image()), spec, collected(None), &|_| {}).await.unwrap_err()
        };
        let error = attempt(Mount::read(&missing, "/volumes/0")).await;
        assert_eq!(
            error.to_string(),
            format!("cannot use the volume {missing}: the engine has none of that name")
        );
        // Podman makes a directory that is not there.
        if !is_podman() {
            let error = attempt(Mount::directory(&nowhere, "/destination")).await;
            assert!(error.to_string().contains(&nowhere), "{error}");
            assert!(!Path::new(&nowhere).exists());
        }
        let image = Helpers::new(&engine, &State::at(state.path()), Some("snapshotter/none:1")).await;
        assert!(matches!(image, Err(Error::NoImage { .. })), "{image:?}");
    });
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={missing}")]), "");
    assert!(!owners(state.path()));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_helper_that_is_asked_to_stop_ends_in_order() {
    let state = tempfile::tempdir().unwrap();
    let trap = r#"trap 'echo "{\"event\":\"end\",\"ok\":false,\"exit_code\":1,\"error\":{\"message\":\"all is as it was\",\"hint\":null,\"advice\":null}}" >&2; exit 1' TERM; echo up; while :; do sleep 100000 & wait $!; done"#;
    let error = with_engine(async |engine| {
        let helpers = Helpers::new(&engine, &State::at(state.path()), Some(&image())).await.unwrap();
        let prepared = helpers.prepare(shell(trap, Vec::new()), &|_| {}).await.unwrap();
        let stop = tokio::time::sleep(Duration::from_secs(2));
        prepared.run(collected(None), &|_| {}, stop).await.unwrap_err()
    });
    let Error::Stopped { source } = &error else { panic!("{error}") };
    assert_eq!(source.to_string(), "all is as it was");
    assert!(!owners(state.path()));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn one_that_takes_all_memory_is_told_from_one_that_is_killed() {
    if is_podman() {
        return; // It cannot give a container that runs another limit.
    }
    let state = tempfile::tempdir().unwrap();
    let name = RefCell::new(String::new());
    let observer = |told: &Told<'_>| match told {
        Told::Made(made) => (*made).clone_into(&mut name.borrow_mut()),
        Told::Attached => {
            docker(&["update", "--memory", "8m", "--memory-swap", "8m", &name.borrow()]);
        }
        _ => {}
    };
    let error = with_engine(async |engine| {
        // tail keeps a line until it is whole.
        let spec = Spec::new(["tail", "/dev/zero"], &[]);
        run(&engine, state.path(), Some(&image()), spec, collected(None), &observer).await.unwrap_err()
    });
    assert!(matches!(error, Error::OutOfMemory), "{error}");
    assert!(!owners(state.path()));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_live_helper_is_left_alone_and_so_is_another_machines() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_engine(async |engine| {
        let (here, there) = (State::at(here.path()), State::at(there.path()));
        let helpers = Helpers::new(&engine, &here, Some(&image())).await.unwrap();
        let others = Helpers::new(&engine, &there, Some(&image())).await.unwrap();
        let spec = shell(DONE, Vec::new());
        let ours = helpers.prepare(spec.clone(), &|_| {}).await.unwrap();
        let theirs = others.prepare(spec, &|_| {}).await.unwrap();
        let swept = sweep(&engine, &here).await.unwrap();
        assert!(swept.removed.is_empty() && swept.failed.is_empty(), "{swept:?}");
        assert!(swept.held.iter().any(|name| name == ours.name()));
        assert!(swept.elsewhere.iter().any(|name| name == theirs.name()));
        ours.discard(&|_| {}).await;
        theirs.discard(&|_| {}).await;
    });
}
