//! What other programs make of many archives at once.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::Run;
use super::support::tools::{go_reader, need, tool_command};

const NEEDED: [&str; 5] = ["tar", "bsdtar", "busybox", "python3", "go"];

/// Names, contents and complaints in the order in which each tool comes upon them, and how it ended: the
/// first of that, and a checksum of the rest.
const SHELL: &str = r#"
said() {
    { "$@" 2>&1; echo "exit $?"; } | { head -c 3000; sha256sum; }
}
for archive; do
    said tar -xvvOf "$archive" > "$archive.gnu"
    said bsdtar -xvOf "$archive" > "$archive.bsd"
    said busybox tar -xvOf "$archive" > "$archive.busybox"
done"#;

const PYTHON: &str = "
import hashlib, sys, tarfile
for archive in sys.argv[1:]:
    digest, complaint = hashlib.sha256(), None
    try:
        with tarfile.open(archive) as members:
            for m in members:
                seen = m.name, m.type, m.mode, m.uid, m.gid, m.size, m.mtime, m.linkname, sorted(m.pax_headers.items())
                digest.update(repr(seen).encode())
                if m.isreg(): digest.update(members.extractfile(m).read())
    except Exception as error:
        complaint = error
    print(digest.hexdigest(), complaint)
";

/// Whether all of them are there. To be asked outside of a sandbox, where one is compiled.
pub(super) fn there_are() -> bool {
    let all = NEEDED.iter().all(|tool| need(tool));
    if all {
        go_reader();
    }
    all
}

/// What all tools say of each archive, which two archives with the same members have in common.
pub(super) fn read(archives: &[impl AsRef<Path>]) -> Vec<Vec<String>> {
    let paths = || archives.iter().map(|path| path.as_ref().as_os_str());
    let lines = |mut command: Command| {
        command.args(paths());
        let shown = format!("{command:?}");
        let said = Run::ended(&shown, command.output().unwrap()).silent().stdout();
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    lines(tool_command("sh", ["-c", SHELL, "sh"]));
    let python = lines(tool_command("python3", ["-c", PYTHON]));
    let go = lines(tool_command(go_reader().to_str().unwrap(), ["digest"]));
    let all = archives.iter().enumerate().map(|(index, archive)| {
        let by_shell = ["gnu", "bsd", "busybox"].map(|name| {
            let said = archive.as_ref().with_added_extension(name);
            let text = String::from_utf8_lossy(&fs::read(&said).unwrap()).into_owned();
            fs::remove_file(said).unwrap();
            format!("{name}: {text}")
        });
        let others = [format!("Python: {}", python[index]), format!("Go: {}", go[index])];
        by_shell.into_iter().chain(others).collect()
    });
    all.collect()
}
