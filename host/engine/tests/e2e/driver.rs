//! What drives the library in these tests: in this process, or in one of its own that can be killed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::future::Future;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, getpid, kill_process};
use snapshotter_engine::Result;
use snapshotter_engine::api::Engine;
use snapshotter_engine::connect::find::Choice;
use snapshotter_engine::discover::discover;
use snapshotter_engine::hold::{Event, Held, Plan, Way, hold};
use snapshotter_engine::lease::{Manner, State};

/// Does what `work` makes with the engine of this machine.
pub(crate) fn with_engine<T, F: Future<Output = T>>(work: impl FnOnce(Engine) -> F) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        work(Engine::connect(&Choice::from_environment(None).find().unwrap()).await.unwrap()).await
    })
}

/// The plan for the containers called `names`.
pub(crate) async fn plan(engine: &Engine, names: &[String], manner: Manner) -> Result<Plan> {
    let there = discover(engine, false).await?;
    let found = there.containers.iter().filter(|container| names.iter().any(|name| name == container.name()));
    let wanted: BTreeMap<_, _> = found.map(|container| (container.id.clone(), manner)).collect();
    assert_eq!(wanted.len(), names.len());
    Plan::new(&there.containers, &there.in_memory(), &wanted, &Way::of_this_process(engine.address()))
}

/// Brings the containers called `names` to rest.
pub(crate) async fn hold_names<'a>(
    engine: &'a Engine,
    state: &Path,
    names: &[String],
    manner: Manner,
    observer: &dyn Fn(&Event<'_>),
) -> Result<Held<'a>> {
    let plan = plan(engine, names, manner).await?;
    hold(engine, &State::at(state), plan, observer).await
}

/// Starts this very program again, to stop and start `names`, and to kill itself after event `kill_at`;
/// without one it waits at rest until its input ends.
pub(crate) fn driver(state: &Path, names: &[String], manner: Manner, kill_at: Option<usize>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "driver::is_started_by_other_tests", "--ignored", "--nocapture"])
        .env("DRIVER_STATE", state)
        .env("DRIVER_NAMES", names.join(","))
        .env("DRIVER_MANNER", if manner == Manner::Stop { "stop" } else { "pause" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(at) = kill_at {
        command.env("DRIVER_KILL_AT", at.to_string()).stdin(Stdio::null());
    }
    command.spawn().unwrap()
}

/// Waits until `child` has printed `word`.
pub(crate) fn wait_for(child: &mut Child, word: &str) {
    let stdout = child.stdout.as_mut().unwrap();
    let mut said = String::new();
    let mut byte = [0];
    while !said.contains(word) {
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{said}");
        said.push(char::from(byte[0]));
    }
}

#[test]
#[ignore = "started by other tests, in a process that can be killed"]
#[expect(clippy::print_stdout, reason = "the test that started it reads this")]
fn is_started_by_other_tests() {
    let Ok(names) = env::var("DRIVER_NAMES") else { return };
    let names: Vec<_> = names.split(',').map(str::to_owned).collect();
    let state = env::var("DRIVER_STATE").unwrap();
    let manner = if env::var("DRIVER_MANNER").unwrap() == "stop" { Manner::Stop } else { Manner::Pause };
    let kill_at: Option<usize> = env::var("DRIVER_KILL_AT").ok().map(|at| at.parse().unwrap());
    let events = Cell::new(0);
    let observer = |event: &Event<'_>| {
        println!("EVENT {event:?}");
        if kill_at == Some(events.get()) {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        events.set(events.get() + 1);
    };
    with_engine(async |engine| {
        let held = hold_names(&engine, Path::new(&state), &names, manner, &observer).await.unwrap();
        println!("AT REST");
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        held.release(&observer).await.unwrap();
    });
    println!("DONE");
}
