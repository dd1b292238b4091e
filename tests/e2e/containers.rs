//! Several containers, one archive.

use std::fs;

use crate::support::engine::HARDENED;
use crate::support::torture::{Torture, pattern};
use crate::support::{Picture, Tree, with_engine};

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn three_containers_share_an_archive_and_each_is_restored_alone() {
    with_engine(|e| {
        let containers: Vec<_> = ["web", "web2", "db"]
            .into_iter()
            .map(|name| {
                let (data, data_path) = e.volume(&format!("{name}-data"), &[]);
                let (state, state_path) = e.volume(&format!("{name}-state"), &[]);
                Tree::at(&data_path)
                    .file("whose", name)
                    .file("sub/file", pattern(100_000))
                    .mtime(5, 6)
                    .done();
                Tree::at(&state_path).file("state", name).owner(1000, 1000).mode(0o600).dir("empty").done();
                let options = ["-v", &format!("{data}:/data"), "-v", &format!("{state}:/var/state")];
                (name, e.application(name, &options), data_path, state_path)
            })
            .collect();
        let mut pictures = Vec::new();
        for (name, container, data, state) in &containers {
            e.configure(&format!("volumes/{name}"), &["/data", "/var/state"]);
            assert_eq!(e.backup(container)["warnings"].as_array().unwrap().len(), 0);
            pictures.push((Picture::of(data), Picture::of(state)));
        }
        assert_eq!(e.verified(), 3);
        for (n, (name, container, data, state)) in containers.iter().enumerate() {
            for (_, container, ..) in &containers {
                e.shell(
                    container,
                    "rm -rf /data/* /var/state/*; echo changed > /data/changed; chmod 700 /data",
                );
            }
            let untouched: Vec<_> =
                containers.iter().map(|(.., data, state)| (Picture::of(data), Picture::of(state))).collect();
            e.configure(&format!("volumes/{name}"), &["/data", "/var/state"]);
            e.restore(container);
            pictures[n].0.assert_same(data);
            pictures[n].1.assert_same(state);
            for (other, (.., data, state)) in containers.iter().enumerate().filter(|(other, _)| *other != n) {
                untouched[other].0.assert_same(data);
                untouched[other].1.assert_same(state);
            }
        }
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn all_that_is_kept_comes_back_in_a_container() {
    with_engine(|e| {
        let (volume, path) = e.volume("torture", &[]);
        Torture::default().make(&path);
        let container = e.application("app", &["-v", &format!("{volume}:/data")]);
        e.configure("torture", &["/data"]);
        // trusted.* attributes are the one thing that SYS_ADMIN is for.
        let trusted = ["--rm", "--volumes-from", &container, "--cap-add", "SYS_ADMIN"];
        let options = [&HARDENED[..], &trusted].concat();
        let picture = Picture::of(&path);
        e.snapshotter_with(&options, &["backup", "--strict"]).ok();
        e.shell(&container, "cd /data; rm -rf hard sizes names times; echo x > new; chmod 777 .");
        e.snapshotter_with(&options, &["restore", "--strict"]).ok();
        picture.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_volume_moves_to_a_new_container_of_another_name() {
    with_engine(|e| {
        let (old, old_path) = e.volume("old", &[]);
        let picture = {
            let container = e.application("before", &["-v", &format!("{old}:/data")]);
            e.shell(&container, "echo hello > /data/file; mkdir /data/dir; chown 7:8 /data/dir");
            e.configure("app", &["/data"]);
            e.backup(&container);
            let picture = Picture::of(&old_path);
            e.told(["rm", "--force", &container]);
            e.told(["volume", "rm", &old]);
            picture
        };
        assert!(!fs::exists(&old_path).unwrap());
        let (new, new_path) = e.volume("new", &[]);
        let container = e.application("after", &["-v", &format!("{new}:/data")]);
        e.restore(&container);
        picture.assert_same(&new_path);
        assert_eq!(e.shell(&container, "cat /data/file"), "hello");
    });
}
