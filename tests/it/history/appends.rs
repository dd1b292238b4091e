//! Other programs append, and backups that are killed leave remains.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use snapshotter::backup;

use super::step::Tool;
use super::world::{Behind, Taken, World, strict};
use crate::support::members::members;
use crate::support::{Picture, Tree, tool};

/// The original program's snapshot, see testdata/README.md.
const ORIGINAL: &[u8] = include_bytes!("../../../testdata/go-busy-lewin.tar");
const ORIGINAL_PREFIX: &str = "volumes/busy_lewin";
const ORIGINAL_VOLUMES: [&str; 3] = ["/home/volume1", "/home/volume2.txt", "/home/volume3"];

const BLOCK: usize = 512;
const END: usize = 2 * BLOCK;

impl World<'_> {
    /// Offset of the archive's end.
    pub(super) fn end(&self) -> usize {
        usize::try_from(self.list().end.unwrap()).unwrap()
    }

    pub(super) fn append(&mut self, by: Tool) {
        // It takes the first member that it complains of for the end (docs/format.md).
        if by == Tool::BsdTar && !tool("bsdtar", ["-tf", "backup.tar"]).stderr().is_empty() {
            return;
        }
        self.count(&format!("appends by {by:?}"));
        match by {
            Tool::Original => self.append_original(),
            Tool::Rust => {
                let mut builder = tar::Builder::new(Vec::new());
                self.foreign += self.add_like_ours(&mut builder);
                self.write_at_end(&builder.into_inner().unwrap());
            }
            Tool::GnuTar => self.append_by("tar", &["-rf", "backup.tar", "-C", "theirs", "t"]),
            Tool::BsdTar => self.append_by("bsdtar", &["-rf", "backup.tar", "-C", "theirs", "t"]),
            Tool::Python => self.append_by("python3", &["-c", PYTHON]),
        }
        self.assert_listed();
    }

    fn append_by(&mut self, program: &str, args: &[&str]) {
        self.foreign += theirs(&self.s.path("theirs"));
        tool(program, args).ok();
        if self.behind == Behind::Remains {
            self.behind = Behind::Overwritten;
        }
    }

    /// Adds members that have names as ours have, and says how many.
    fn add_like_ours(&self, builder: &mut tar::Builder<Vec<u8>>) -> usize {
        let below = |name: &str| Path::new(&self.config.prefix).join(name);
        let volume = self.config.volumes[0].path().trim_start_matches('/');
        let names = ["volumes-data.yml", "snapshot.json", volume, &format!("{volume}/a")].map(below);
        for name in names.iter().chain([&PathBuf::from(".snapshot-begin")]) {
            let mut header = tar::Header::new_gnu();
            header.set_size(600);
            header.set_mode(0o600);
            builder.append_data(&mut header, name, [b'-'; 600].as_slice()).unwrap();
        }
        names.len() + 1
    }

    /// Writes what is an archive of its own, with or without an end, over the end of this one.
    fn write_at_end(&mut self, archive: &[u8]) {
        let mut file = OpenOptions::new().write(true).open(self.s.archive()).unwrap();
        let end = file.seek(SeekFrom::Start(self.end() as u64)).unwrap();
        file.write_all(archive).unwrap();
        file.set_len(end + archive.len() as u64).unwrap();
        self.behind = Behind::Nothing;
    }

    fn append_original(&mut self) {
        let tree = Tree::at(self.s.path("original"));
        if !self.s.path("original/x").exists() {
            self.extract_original();
        }
        let original = tree.done();
        self.write_at_end(ORIGINAL);
        let id = self.list().snapshots.last().unwrap().id.clone();
        let picture = |path: &str| (PathBuf::from(path), Picture::of(original.join("x").join(hash(path))));
        let volumes = ORIGINAL_VOLUMES.map(picture).to_vec();
        self.taken.push(Taken { id, prefix: ORIGINAL_PREFIX.to_owned(), original: true, volumes });
    }

    /// Puts the original program's volumes, by their hashes, below `original/x`.
    fn extract_original(&self) {
        fs::create_dir_all(self.s.path("original/x")).unwrap();
        fs::write(self.s.path("original.tar"), ORIGINAL).unwrap();
        let args = ["-xpf", "original.tar", "-C", "original/x", "--strip-components=2"];
        tool("tar", args).silent();
    }

    /// Leaves what a backup leaves that is killed before its commit.
    pub(super) fn killed_backup(&mut self, written: u64, gap: bool, incremental: bool) {
        self.count("backups killed");
        let (before, end) = (fs::read(self.s.archive()).unwrap(), self.end());
        let options = self.backup_options(incremental);
        backup(&self.config, &options, &strict()).unwrap();
        let mut after = fs::read(self.s.archive()).unwrap();
        after[..end + END].copy_from_slice(&before[..end + END]);
        let first = end + END + BLOCK;
        // The first block comes first, the rest in any order, and what is written is whole blocks: GNU tar would damage an
        // archive of another length.
        let rest = (after.len() - first) / BLOCK;
        let kept = first + usize::try_from((rest as u64 * written) >> 16).unwrap() * BLOCK;
        after.truncate(kept);
        if gap {
            after[first..usize::midpoint(first, kept)].fill(0);
        }
        fs::write(self.s.archive(), after).unwrap();
        self.behind = Behind::Remains;
        self.assert_listed();
    }
}

const PYTHON: &str = "import tarfile\nwith tarfile.open('backup.tar', 'a') as t: t.add('theirs/t', 't')";

/// Files of another program's, and how many members they make.
fn theirs(root: &Path) -> usize {
    if !root.exists() {
        let tree = Tree::at(root).file("t/a", b"a").file("t/b", [0; 5000]).symlink("t/l", "a");
        tree.hard_link("t/h", "t/a").dir("t/d").file(format!("t/{}", "n".repeat(90)), b"long").done();
    }
    7
}

/// The name that the original program gave a volume.
fn hash(path: &str) -> String {
    let (all, _) = members(ORIGINAL);
    let mut names: Vec<_> = all.iter().filter_map(|member| member.name.split('/').nth(2)).collect();
    names.dedup();
    names[ORIGINAL_VOLUMES.iter().position(|volume| *volume == path).unwrap()].to_owned()
}
