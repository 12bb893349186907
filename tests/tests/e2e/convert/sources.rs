//! Where an image comes from: every transport and compression, paths, registries, tags.

use crate::testing::{busybox_tar, dir, mkimage, run_file};
use forelift_tests::{
    images::{Entry, Image, convert, tar_of},
    process::program,
    registry::Registry,
    workspace::{forelift, tool},
};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// Converts, runs `echo` in it, and removes the result.
fn works(reference: &str) {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    convert(reference, &out, &[]);
    assert_eq!(
        run_file(&out).args(["sh", "-c", "echo works; uname -m"]).ok(),
        "works\nriscv64\n",
        "{reference}"
    );
}

pub(super) fn every_transport() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    let tar = busybox_tar();
    mkimage(&["--format", "oci-archive"], &tar, &at("oci.tar"));
    mkimage(&["--format", "docker-archive"], &tar, &at("docker.tar"));
    fs::create_dir(at("root")).expect("a directory");
    let status = Command::new(tool("tar")).args(["-xf", &tar, "-C"]).arg(at("root")).status().expect("tar");
    assert!(status.success());
    works(&Image::Busybox.reference());
    for (transport, name) in [("oci-archive", "oci.tar"), ("docker-archive", "docker.tar"), ("dir", "root")] {
        works(&format!("{transport}:{}", at(name).display()));
    }
    works(&format!("tar:{tar}"));
}

pub(super) fn every_compression() {
    let dir = dir();
    for compression in ["none", "gzip", "zstd"] {
        let out = dir.path().join(compression);
        mkimage(&["--compression", compression], &busybox_tar(), &out);
        works(&format!("oci:{}", out.display()));
    }
    let tar = dir.path().join("root.tar");
    for (program, suffix) in [("gzip", "gz"), ("zstd", "zst")] {
        fs::copy(busybox_tar(), &tar).expect("copying");
        let status = Command::new(tool(program)).args(["-q", "-f"]).arg(&tar).status().expect("compressing");
        assert!(status.success());
        works(&format!("tar:{}.{suffix}", tar.display()));
    }
}

pub(super) fn bare_paths() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    mkimage(&["--format", "oci-archive"], &busybox_tar(), &at("a"));
    mkimage(&["--format", "docker-archive"], &busybox_tar(), &at("b"));
    let layout = Image::Busybox.reference();
    works(layout.strip_prefix("oci:").expect("an OCI layout"));
    works(&at("a").display().to_string());
    works(&at("b").display().to_string());
    works(&busybox_tar());
}

pub(super) fn registry() {
    let registry = Registry::start();
    let layout = Image::Service.reference();
    registry.push(Path::new(layout.strip_prefix("oci:").expect("an OCI layout")), "test/service", "v1");
    let dir = dir();
    let out = dir.path().join("out.wasm");
    convert(&registry.reference("test/service:v1"), &out, &[]);
    let text = run_file(&out).ok();
    assert!(text.contains("arguments: default command\nuser: 1000:1001 app\n"), "{text}");
    // Without the transport's name, and by digest.
    let reference = registry.reference("test/service:v1");
    convert(reference.trim_start_matches("docker://"), &dir.path().join("again.wasm"), &[]);
    let index =
        fs::read(Path::new(layout.trim_start_matches("oci:")).join("index.json")).expect("index.json");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest");
    convert(&registry.reference(&format!("test/service@{digest}")), &dir.path().join("digest.wasm"), &[]);
}

/// An index of two architectures: ours is taken.
pub(super) fn registry_platforms() {
    let registry = Registry::start();
    let dir = dir();
    let foreign = dir.path().join("foreign");
    let tar = dir.path().join("foreign.tar");
    fs::write(&tar, tar_of(&[Entry::file("file", 0o644, b"x")])).expect("writing");
    mkimage(&["--arch", "amd64"], &tar.display().to_string(), &foreign);
    let own = Image::Busybox.reference();
    let own = Path::new(own.trim_start_matches("oci:"));
    let mut manifests = Vec::new();
    for (layout, arch) in [(foreign.as_path(), "amd64"), (own, "riscv64")] {
        registry.push(layout, "test/multi", arch);
        let index: Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).expect("index.json")).expect("JSON");
        manifests.push(index["manifests"][0].clone());
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
    registry.put_manifest("test/multi", "latest", media_type, index.to_string().as_bytes());
    works(&registry.reference("test/multi"));
}

pub(super) fn registry_refusals() {
    let registry = Registry::start();
    for (reference, word) in [
        (registry.reference("no/such:tag"), "no/such"),
        ("docker://127.0.0.1:1/refused:x".to_owned(), "127.0.0.1:1"),
        ("docker://127.0.0.1:1/UPPER CASE".to_owned(), "UPPER"),
    ] {
        let dir = dir();
        let out = dir.path().join("out.wasm");
        let done = program(forelift(), |c| {
            c.args(["convert", "-q", &reference]).arg(&out);
        });
        done.one_error(&[word]).expect_status(1);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }
}

pub(super) fn tags() {
    let dir = dir();
    let out = dir.path().join("image");
    mkimage(&["--tag", "example/app:v7", "--cmd", "echo tagged"], &busybox_tar(), &out);
    let wasm = dir.path().join("out.wasm");
    convert(&format!("oci:{}:example/app:v7", out.display()), &wasm, &[]);
    assert_eq!(run_file(&wasm).ok(), "tagged\n");
    let done = program(forelift(), |c| {
        c.args(["convert", "-q", &format!("oci:{}:other", out.display())]).arg(dir.path().join("none.wasm"));
    });
    done.expect_status(1).one_error(&["other"]);
}
