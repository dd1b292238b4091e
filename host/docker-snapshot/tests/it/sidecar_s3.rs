//! The third scenario of the sidecar's documents: a bucket, and a directory beside it.

#[path = "../../../vault/tests/it/servers.rs"]
#[allow(dead_code, clippy::print_stdout, reason = "what other stores need, and what is left out is said")]
mod servers;

use std::fs;

use servers::{Server, program, request};

use crate::sidecar::Sidecar;

#[test]
fn a_backup_goes_into_a_bucket_and_a_directory_and_comes_back_from_either() {
    let Some(moto) = program("moto_server") else { return };
    let server =
        Server::start(&moto, |port, _| vec!["-H".into(), "127.0.0.1".into(), "-p".into(), port.to_string()]);
    assert_eq!(request(server.port, "PUT", "/my-company-backups", b"").0, 200);
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_S3_BUCKET", "my-company-backups");
    sidecar.set("BACKUP_S3_ENDPOINT", &format!("http://127.0.0.1:{}", server.port));
    sidecar.set("BACKUP_S3_REGION", "us-east-1");
    sidecar.set("BACKUP_S3_ACCESS_KEY", "key");
    sidecar.set("BACKUP_S3_SECRET_KEY", "secret");
    sidecar.set("BACKUP_KEEP_LAST", "2");
    for _ in 0..3 {
        sidecar.good(&["run"]);
        // A second has one name.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let listed = sidecar.good(&["list-backups"]);
    let of = |place: &str| listed.lines().filter(|line| line.contains(place)).count();
    assert_eq!((of(" s3://my-company-backups/shop/shop-"), of("/backups/shop/shop-")), (2, 2), "{listed}");
    // The directory is lost, and the bucket is all there is.
    fs::remove_dir_all(sidecar.path("backups")).unwrap();
    fs::remove_dir_all(sidecar.path("data/deep")).unwrap();
    sidecar.good(&["restore-backup", "latest", "--yes"]);
    assert_eq!(fs::read_to_string(sidecar.path("data/deep/file")).unwrap(), "content");
}
