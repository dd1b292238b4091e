//! The helper's image as `docker save` would write it: one layer with one program. It is the same byte for
//! byte whenever and wherever it is made, so that all who load it load one image. It is an OCI layout with
//! Docker's own list beside it: older engines read the list, newer ones the layout.
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::io;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// No time of its own: an image must not differ by when it was made.
const CREATED: &str = "1970-01-01T00:00:00Z";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What an image is called, and says of itself.
#[derive(Debug)]
pub(super) struct Title<'a> {
    pub(super) repository: &'a str,
    pub(super) tag: &'a str,
    pub(super) architecture: &'a str,
    pub(super) labels: Value,
}

/// The image with `program` as `/snapshotter`.
///
/// # Errors
/// None: memory is written to.
pub(super) fn image(program: &[u8], title: &Title<'_>) -> io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    file(&mut layer, "snapshotter", 0o755, program)?;
    let layer = layer.into_inner()?;
    let diff = format!("sha256:{}", digest(&layer));
    let config = serde_json::to_vec(&json!({
        "architecture": title.architecture, "os": "linux", "created": CREATED,
        "config": {"Entrypoint": ["/snapshotter"], "WorkingDir": "/", "Labels": title.labels},
        "rootfs": {"type": "layers", "diff_ids": [diff]},
        "history": [{"created": CREATED, "created_by": "docker-snapshot"}],
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": described(CONFIG, &config), "layers": [described(LAYER, &layer)],
    }))?;
    let full = format!("docker.io/library/{}:{}", title.repository, title.tag);
    let mut listed = described(MANIFEST, &manifest);
    listed["annotations"] =
        json!({"io.containerd.image.name": full, "org.opencontainers.image.ref.name": title.tag});
    listed["platform"] = json!({"architecture": title.architecture, "os": "linux"});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]});
    let blob = |content: &[u8]| format!("blobs/sha256/{}", digest(content));
    let list = json!([{"Config": blob(&config), "RepoTags": [format!("{}:{}", title.repository, title.tag)],
        "Layers": [blob(&layer)]}]);

    let mut tar = Builder::new(Vec::with_capacity(layer.len() + (64 << 10)));
    directory(&mut tar, "blobs/")?;
    directory(&mut tar, "blobs/sha256/")?;
    for content in [&config, &manifest, &layer] {
        file(&mut tar, &blob(content), 0o644, content)?;
    }
    file(&mut tar, "index.json", 0o644, &serde_json::to_vec(&index)?)?;
    file(&mut tar, "manifest.json", 0o644, &serde_json::to_vec(&list)?)?;
    file(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.into_inner()
}

fn described(kind: &str, content: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": format!("sha256:{}", digest(content)), "size": content.len()})
}

fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn file(tar: &mut Builder<Vec<u8>>, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = header(EntryType::Regular, mode);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content)
}

fn directory(tar: &mut Builder<Vec<u8>>, name: &str) -> io::Result<()> {
    tar.append_data(&mut header(EntryType::Directory, 0o755), name, io::empty())
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<u8> {
        let title =
            Title { repository: "helper", tag: "1", architecture: "amd64", labels: json!({"a": "b"}) };
        image(b"program", &title).unwrap()
    }

    #[test]
    fn it_is_the_same_each_time() {
        // A change of it is a change of what engines have loaded: then the tag must change as well.
        assert_eq!(digest(&made()), "79044df97334b10116db801e2509df4bd91ca55114c8eebde3c2550b9ef9245b");
    }

    #[test]
    fn what_it_lists_is_in_it() {
        let tar = made();
        let mut archive = tar::Archive::new(&tar[..]);
        let mut files = std::collections::BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            io::Read::read_to_end(&mut entry, &mut content).unwrap();
            files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), content);
        }
        let read = |name: &str| serde_json::from_slice::<Value>(&files[name]).unwrap();
        let blob = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
        let list = read("manifest.json");
        let config = list[0]["Config"].as_str().unwrap();
        let layer = list[0]["Layers"][0].as_str().unwrap();
        let manifest = blob(&read("index.json")["manifests"][0]["digest"]);
        assert_eq!(blob(&read(&manifest)["config"]["digest"]), config);
        assert_eq!(blob(&read(&manifest)["layers"][0]["digest"]), layer);
        assert_eq!(blob(&read(config)["rootfs"]["diff_ids"][0]), layer);
        for (name, content) in
            files.iter().filter(|(name, _)| name.starts_with("blobs/") && !name.ends_with('/'))
        {
            assert_eq!(*name, format!("blobs/sha256/{}", digest(content)));
        }
        let mut layer = tar::Archive::new(&files[layer][..]);
        let entry = layer.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(
            (entry.path().unwrap().to_str(), entry.header().mode().unwrap()),
            (Some("snapshotter"), 0o755)
        );
    }
}
