//! A server that speaks `WebDAV`: rclone's, which keeps half of a PUT that breaks off.

use snapshotter_vault::store::{Cause, Content, Settings};

use crate::servers::{Server, open, program};
use crate::suite::{self, name};

pub(crate) fn rclone(program: &std::path::Path) -> Server {
    Server::start(program, |port, scratch| {
        let data = scratch.join("data").display().to_string();
        [
            "serve",
            "webdav",
            &data,
            "--user",
            "me",
            "--pass",
            "hunter2",
            "--addr",
            &format!("127.0.0.1:{port}"),
        ]
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect()
    })
}

#[tokio::test]
async fn webdav_is_a_store() {
    let Some(program) = program("rclone") else { return };
    let server = rclone(&program);
    let address = format!("webdav://me@127.0.0.1:{}/made/as needed", server.port);
    let store = open(&address, &Settings::table([("WEBDAV_PASSWORD", "hunter2")]));
    suite::run(store.clone(), (20 << 20) + 12_345).await;
    let drafts = std::process::Command::new("find")
        .arg(server.scratch.path())
        .args(["-name", ".snap*"])
        .output()
        .unwrap();
    // rclone may finish a PUT that broke off after it was told to remove it: that is a leftover.
    let drafts = String::from_utf8_lossy(&drafts.stdout).into_owned();
    assert!(drafts.lines().all(|draft| draft.contains("/broken/")), "{drafts}");

    let wrong = open(&address, &Settings::table([("WEBDAV_PASSWORD", "other-secret")]));
    let error = wrong.put(&name("a"), Content::bytes(&b"x"[..])).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Denied), "{error}");
    assert!(!format!("{error:?} {wrong:?}").contains("other-secret"));
}
