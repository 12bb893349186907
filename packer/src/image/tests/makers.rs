//! What tools write that no test machine has: names and orders as in their sources; and skopeo's `dir:`.

use crate::image::{
    LoadOptions, load,
    testing::{OciLayout, Tar, content, gzip, on_disk, pack_dir, sha256},
};
use serde_json::{Value, json};
use std::fs;

fn layer() -> Vec<u8> {
    Tar::new().dir("./", 0o755).file("t", b"made").done()
}

fn config() -> String {
    json!({
        "architecture": "riscv64", "os": "linux", "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&layer())]}
    })
    .to_string()
}

fn hex(data: &[u8]) -> String {
    sha256(data)[7..].to_owned()
}

fn manifest(config: &str, layer: &str) -> String {
    json!([{ "Config": config, "RepoTags": ["a:b"], "Layers": [layer] }]).to_string()
}

fn is_taken(archive: &[u8], transport: &str) {
    for data in [archive.to_vec(), gzip(archive)] {
        let (_dir, path) = on_disk("made.tar", &data);
        for name in [path.clone(), format!("{transport}:{path}")] {
            let image = load(&name, &LoadOptions::default(), &mut ()).unwrap();
            assert_eq!((content(&image.tree, "/t"), image.config.cmd), (b"made".to_vec(), vec!["x".into()]));
            assert_eq!(image.source, format!("{transport}:{path}"));
        }
    }
}

/// go-containerregistry, *pkg/v1/tarball/write.go*: crane, ko, kaniko, bazel's rules_oci.
#[test]
fn archives_of_crane_and_kaniko() {
    let (packed, config) = (gzip(&layer()), config());
    let (config_name, layer_name) = (sha256(config.as_bytes()), format!("{}.tar.gz", hex(&packed)));
    let tar = Tar::new()
        .file(&config_name, config.as_bytes())
        .file(&layer_name, &packed)
        .file("manifest.json", manifest(&config_name, &layer_name).as_bytes());
    is_taken(&tar.done(), "docker-archive");
}

/// Jib: layers, `config.json`, `manifest.json`.
#[test]
fn archives_of_jib() {
    let (packed, config) = (gzip(&layer()), config());
    let layer_name = format!("{}.tar.gz", hex(&layer()));
    let tar = Tar::new()
        .file(&layer_name, &packed)
        .file("config.json", config.as_bytes())
        .file("manifest.json", manifest("config.json", &layer_name).as_bytes());
    is_taken(&tar.done(), "docker-archive");
}

/// BuildKit's `type=docker` and docker's own `save` since 25: an OCI layout that is a docker archive, too.
#[test]
fn archives_of_buildkit() {
    let mut layout = OciLayout::new();
    let descriptor = layout.image("riscv64", None, json!({"Cmd": ["x"]}), &[(layer(), gzip(&layer()))]);
    let of_manifest = fs::read(layout.blob_file(descriptor["digest"].as_str().unwrap())).unwrap();
    let of_manifest: Value = serde_json::from_slice(&of_manifest).unwrap();
    let blob = |part: &str| {
        let digest = of_manifest.pointer(part).unwrap()["digest"].as_str().unwrap();
        format!("blobs/{}", digest.replace(':', "/"))
    };
    let text = manifest(&blob("/config"), &blob("/layers/0"));
    fs::write(layout.dir.path().join("manifest.json"), text).unwrap();
    let whole = pack_dir(layout.dir.path());
    is_taken(&whole, "oci-archive");
    let (_dir, path) = on_disk("x.tar", &whole);
    let image = load(&format!("docker-archive:{path}:a:b"), &LoadOptions::default(), &mut ()).unwrap();
    assert_eq!(content(&image.tree, "/t"), b"made");
    // Without the file that says so it is a layout all the same.
    fs::remove_file(layout.dir.path().join("manifest.json")).unwrap();
    fs::remove_file(layout.dir.path().join("oci-layout")).unwrap();
    is_taken(&pack_dir(layout.dir.path()), "oci-archive");
    let bare = layout.dir.path().display().to_string();
    assert_eq!(load(&bare, &LoadOptions::default(), &mut ()).unwrap().source, format!("oci:{bare}"));
}

/// A `dir:` of skopeo with this manifest; blobs are named by their digests' digits.
fn transport(manifest: &str, blobs: &[&[u8]]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("version"), "Directory Transport Version: 1.1\n").unwrap();
    fs::write(dir.path().join("manifest.json"), manifest).unwrap();
    for blob in blobs {
        fs::write(dir.path().join(hex(blob)), blob).unwrap();
    }
    dir
}

fn descriptor(kind: &str, data: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": sha256(data), "size": data.len() })
}

#[test]
fn directories_of_skopeo() {
    let (packed, config) = (gzip(&layer()), config());
    let of_image = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": descriptor("application/vnd.docker.container.image.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", &packed)],
    })
    .to_string();
    let check = |dir: &tempfile::TempDir| {
        let path = dir.path().display().to_string();
        for name in [path.clone(), format!("dir:{path}")] {
            let image = load(&name, &LoadOptions::default(), &mut ()).unwrap();
            assert_eq!((content(&image.tree, "/t"), image.config.cmd), (b"made".to_vec(), vec!["x".into()]));
            assert_eq!(image.source, format!("dir:{path}"));
            assert!(image.warnings[0].contains("skopeo's `dir:` format"), "{:?}", image.warnings);
        }
    };
    let dir = transport(&of_image, &[config.as_bytes(), &packed]);
    check(&dir);
    // With several platforms (`skopeo copy --all`), manifests have names of their own.
    let mut riscv = descriptor("application/vnd.docker.distribution.manifest.v2+json", of_image.as_bytes());
    riscv["platform"] = json!({ "os": "linux", "architecture": "riscv64" });
    let mut gone = descriptor("application/vnd.docker.distribution.manifest.v2+json", b"gone");
    gone["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [gone, riscv],
    });
    let dir = transport(&index.to_string(), &[config.as_bytes(), &packed]);
    fs::write(dir.path().join(format!("{}.manifest.json", hex(of_image.as_bytes()))), &of_image).unwrap();
    check(&dir);
    // What is not there, damaged, or leads elsewhere.
    let error = |dir: &tempfile::TempDir| {
        load(&dir.path().display().to_string(), &LoadOptions::default(), &mut ()).unwrap_err().to_string()
    };
    fs::write(dir.path().join(hex(&packed)), &packed[1..]).unwrap();
    assert!(error(&dir).contains("its descriptor says"), "{}", error(&dir));
    assert!(error(&transport(&of_image, &[config.as_bytes()])).contains("is missing"));
    let wrong = of_image.replace(&sha256(config.as_bytes()), "sha256:../../etc/passwd");
    assert!(error(&transport(&wrong, &[&packed])).contains("no digest that can be verified"));
    // A root file system may have files of these names.
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("manifest.json"), "{}").unwrap();
    fs::write(root.path().join("version"), "1.1\n").unwrap();
    let image = load(&root.path().display().to_string(), &LoadOptions::default(), &mut ()).unwrap();
    assert_eq!((content(&image.tree, "/manifest.json"), image.warnings.len()), (b"{}".to_vec(), 0));
}
