//! What the image is: small, one binary, and content with nothing but what it is given.

use std::process::Command;

use crate::support::{Run, with_engine};

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn the_image_holds_one_static_binary_and_says_what_it_is() {
    with_engine(|e| {
        let size: u64 = e.told(["image", "inspect", "--format", "{{.Size}}", e.image()]).parse().unwrap();
        assert!(size <= 3_000_000, "{size} bytes");
        let entry = e.told(["image", "inspect", "--format", "{{json .Config.Entrypoint}}", e.image()]);
        assert_eq!(entry, r#"["/snapshotter"]"#);
        let format = "{{index .Config.Labels \"org.opencontainers.image.version\"}}";
        assert_eq!(e.told(["image", "inspect", "--format", format, e.image()]), env!("CARGO_PKG_VERSION"));

        let container = e.name("image");
        e.told(["create", "--label", &e.name("x"), "--name", &container, e.image()]);
        let mut export = Command::new("sh");
        export.args(["-ec", &format!("docker export {container} | tar -tf -")]);
        let listed = Run::of(export).ok().stdout();
        e.told(["rm", &container]);
        // The engine puts mount points of its own into every container.
        let own = ["dev/", "etc/", "proc/", "sys/", ".dockerenv"];
        let ours: Vec<_> =
            listed.lines().filter(|name| !own.iter().any(|own| name.starts_with(own))).collect();
        assert_eq!(ours, ["snapshotter"]);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn it_says_how_it_is_used_without_any_privilege() {
    with_engine(|e| {
        let confined =
            ["run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL", "--user", "65534"];
        let help = e.told([&confined[..], &[e.image(), "--help"]].concat());
        assert!(help.contains("docker run --rm --volumes-from"), "{help}");
        let version = e.told([&confined[..], &[e.image(), "--version"]].concat());
        assert_eq!(version, format!("snapshotter {}", env!("CARGO_PKG_VERSION")));
        e.docker([&confined[..], &[e.image()]].concat()).exits(2);
    });
}
