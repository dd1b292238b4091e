//! What `mongodump` and `mongorestore` are told. There is no server to try them with.

use std::fs;
use std::path::Path;

use snapshotter_dump::place::Local;
use snapshotter_dump::{Database, Error, Kind, Restore, check, dump, restore};
use tempfile::TempDir;

use crate::failing::whole;
use crate::server::imposter;

/// One collection, empty, of a database `old`: `{db, collection, EOF: true, CRC: 0}` is its end.
fn archive() -> Vec<u8> {
    let bson = |fields: &[&[u8]]| {
        let fields = fields.concat();
        let length = u32::try_from(fields.len() + 5).unwrap();
        [&length.to_le_bytes(), &fields[..], &[0]].concat()
    };
    let name: [&[u8]; 2] = [b"\x02db\0\x04\0\0\0old\0", b"\x02collection\0\x02\0\0\0c\0"];
    let end = 0xffff_ffff_u32.to_le_bytes();
    let eof: &[u8] = b"\x08EOF\0\x01\x12CRC\0\0\0\0\0\0\0\0\0";
    let magic = 0x8199_e26d_u32.to_le_bytes();
    [&magic[..], &bson(&[]), &bson(&name), &end, &bson(&[name[0], name[1], eof]), &end].concat()
}

#[tokio::test]
async fn the_password_is_in_a_file_and_names_are_changed_by_patterns() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("archive"), archive()).unwrap();
    let script = format!(
        "case $1 in --version) echo 'mongodump version: 100.9.4'; exit; esac
         echo \"$@\" > {0}; for one; do case $one in --config=*) cat \"${{one#--config=}}\" > {1}; esac; done",
        at("arguments"),
        at("config")
    );
    let path = imposter(directory.path(), "mongodump", &format!("{script}; cat {}", at("archive")));
    imposter(directory.path(), "mongorestore", &format!("{script}; cat > {}", at("stdin")));
    let place = Local::in_directories(path);
    let database = Database::parse("mongodb://me:hunter2@db/app*").unwrap();
    let mut bytes = Vec::new();
    let dumped = dump(&database, &place, Path::new("/none"), &mut bytes).await.unwrap();
    assert_eq!(dumped.version, "mongodump 100.9.4");
    check(Kind::Mongo, &place, Path::new("/none"), &whole(&bytes)).await.unwrap();
    let arguments = fs::read_to_string(at("arguments")).unwrap();
    assert!(
        arguments.ends_with("--quiet --archive --db=app*\n") && !arguments.contains("hunter2"),
        "{arguments}"
    );
    assert_eq!(
        fs::read_to_string(at("config")).unwrap(),
        "uri: \"mongodb://me:hunter2@db/?authSource=app*\"\n"
    );

    restore(&database, &place, &whole(&bytes), &Restore::default()).await.unwrap();
    let arguments = fs::read_to_string(at("arguments")).unwrap();
    assert!(arguments.ends_with("--archive --stopOnError --nsFrom=old.* --nsTo=app\\*.*\n"), "{arguments}");
    assert_eq!(fs::read(at("stdin")).unwrap(), bytes);

    for length in 0..bytes.len() {
        let cut = restore(&database, &place, &whole(&bytes[..length]), &Restore::default()).await;
        assert!(matches!(cut, Err(Error::Damaged { .. })), "{length}: {cut:?}");
    }
}
