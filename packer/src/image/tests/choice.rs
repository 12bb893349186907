//! Which image is taken of what an index names, and what its parts may be called.

use crate::image::{
    ImageError, LoadOptions, Progress, load,
    oci::{load_document, spec::Descriptor},
    store::Store,
    testing::{OciLayout, Tar, content, elf, gzip, on_disk, pack_dir, paths, sha256, zstd},
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::Read,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MACHINES: [(&str, u16); 4] = [("riscv64", 243), ("amd64", 62), ("386", 3), ("arm64", 183)];

fn root(arch: &str) -> Vec<u8> {
    let machine = MACHINES.iter().find(|m| m.0 == arch).map_or(22, |m| m.1);
    Tar::new().program("bin/sh", &elf(machine)).file("arch", arch.as_bytes()).done()
}

fn options(arch: &str) -> LoadOptions {
    LoadOptions { arch: (!arch.is_empty()).then(|| arch.into()), ..LoadOptions::default() }
}

/// The architecture that the image's files tell, or the error.
fn taken(name: &str, arch: &str) -> Result<String, String> {
    let image = load(name, &options(arch), &mut ()).map_err(|e| e.to_string())?;
    Ok(String::from_utf8(content(&image.tree, "/arch")).unwrap())
}

/// A manifest that is named but not there.
fn absent(os: &str, arch: &str) -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": sha256(format!("{os}{arch}").as_bytes()), "size": 7,
        "platform": { "os": os, "architecture": arch },
    })
}

/// A layout with images for these architectures.
fn present(archs: &[&str]) -> (OciLayout, Vec<Value>) {
    let mut layout = OciLayout::new();
    let mut found = Vec::new();
    for arch in archs {
        let tar = root(arch);
        found.push(layout.image(arch, None, json!({}), &[(tar.clone(), gzip(&tar))]));
    }
    (layout, found)
}

/// Writes the index of a layout: the manifests, or one index of them, or one of one.
fn write_index(layout: &OciLayout, mut manifests: Vec<Value>, depth: usize, annotations: Value) {
    for level in 0..depth {
        let inner = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let mut descriptor = layout.blob(INDEX, inner.to_string().as_bytes());
        if level + 1 == depth {
            descriptor["annotations"] = annotations.clone();
        }
        manifests = vec![descriptor];
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    fs::write(layout.dir.path().join("index.json"), index.to_string()).unwrap();
}

/// As a directory and as archives: bare, and by their transports.
fn everywhere(layout: &OciLayout, check: &dyn Fn(&str)) {
    check(&layout.name());
    check(&layout.dir.path().display().to_string());
    let packed = pack_dir(layout.dir.path());
    for data in [packed.clone(), zstd(&packed)] {
        let (_dir, name) = on_disk("saved.tar", &data);
        check(&format!("oci-archive:{name}"));
        check(&name);
    }
}

#[test]
fn the_platform_that_is_there_is_taken() {
    for depth in [0, 1, 2] {
        let (layout, mut here) = present(&["amd64"]);
        let mut manifests = vec![absent("linux", "riscv64"), absent("linux", "386")];
        manifests.push(absent("unknown", "unknown"));
        manifests.append(&mut here);
        write_index(
            &layout,
            manifests,
            depth,
            json!({ "io.containerd.image.name": "docker.io/library/a:b" }),
        );
        everywhere(&layout, &|name| {
            for arch in ["", "amd64"] {
                assert_eq!(taken(name, arch).as_deref(), Ok("amd64"), "{depth} {name}");
            }
            let error = taken(name, "riscv64").unwrap_err();
            for words in [
                "linux/riscv64 image is incomplete",
                "there are: linux/amd64 (",
                "not there: linux/386, linux/riscv64",
            ] {
                assert!(error.contains(words), "`{error}` lacks `{words}`");
            }
            let error = taken(name, "arm64").unwrap_err();
            assert!(error.contains("no linux/arm64 image; there are: linux/amd64 ("), "{error}");
        });
        if depth > 0 {
            for tag in ["b", "a:b", "docker.io/library/a:b"] {
                assert_eq!(taken(&format!("{}:{tag}", layout.name()), "").as_deref(), Ok("amd64"));
            }
        }
    }
}

#[test]
fn with_none_there_the_error_says_what_was_named() {
    for depth in [0, 1] {
        let layout = OciLayout::new();
        let manifests =
            vec![absent("linux", "riscv64"), absent("linux", "amd64"), absent("unknown", "unknown")];
        write_index(&layout, manifests, depth, json!(null));
        everywhere(&layout, &|name| {
            let error = taken(name, "").unwrap_err();
            assert!(error.contains("missing; none is there of: linux/amd64, linux/riscv64"), "{error}");
            let error = taken(name, "amd64").unwrap_err();
            assert!(error.contains("linux/amd64 image is incomplete: blob sha256:"), "{error}");
            assert!(error.contains("none is there of: linux/amd64, linux/riscv64"), "{error}");
        });
    }
    // Only what cannot be converted is there.
    let (layout, mut here) = present(&["s390x"]);
    here.push(absent("linux", "amd64"));
    write_index(&layout, here, 0, json!(null));
    let error = taken(&layout.name(), "").unwrap_err();
    assert!(
        error.contains("there are: linux/s390x (named by the index, but not there: linux/amd64)"),
        "{error}"
    );
}

/// containerd fetches manifests and configurations of all platforms when asked for all metadata.
#[test]
fn an_image_without_all_its_layers_is_not_there() {
    for part in ["/layers/0", "/config"] {
        let (layout, here) = present(&["riscv64", "386", "amd64"]);
        let manifest = fs::read(layout.blob_file(here[0]["digest"].as_str().unwrap())).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let digest = manifest.pointer(part).unwrap()["digest"].as_str().unwrap().to_owned();
        fs::remove_file(layout.blob_file(&digest)).unwrap();
        assert_eq!(taken(&layout.name(), "").as_deref(), Ok("amd64"));
        let error = taken(&layout.name(), "riscv64").unwrap_err();
        assert!(error.contains(&digest) && error.contains("there are: linux/386, linux/amd64 ("), "{error}");
        // Alone, it is what there is to complain of.
        write_index(&layout, vec![here[0].clone()], 1, json!(null));
        let error = taken(&layout.name(), "").unwrap_err();
        assert!(error.contains(&format!("{digest} is missing")), "{error}");
    }
}

#[test]
fn indexes_in_an_index_are_searched_in_order_of_preference() {
    let (layout, here) = present(&["arm64", "amd64", "riscv64"]);
    let inner = |manifests: &[&Value], kind: &str| {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        layout.blob(kind, index.to_string().as_bytes())
    };
    let gone = json!({ "mediaType": INDEX, "digest": sha256(b"gone"), "size": 1 });
    // By its type, without one, and with a wrong one; one is not there at all.
    for kind in [INDEX, "", "application/octet-stream"] {
        let first = inner(&[&here[0], &here[1]], kind);
        let second = inner(&[&gone, &here[2]], kind);
        write_index(&layout, vec![gone.clone(), first.clone(), second], 0, json!(null));
        for (arch, found) in [("", "riscv64"), ("amd64", "amd64"), ("arm64", "arm64"), ("riscv64", "riscv64")]
        {
            assert_eq!(taken(&layout.name(), arch).as_deref(), Ok(found));
        }
        write_index(&layout, vec![gone.clone(), first, gone.clone()], 0, json!(null));
        assert_eq!(taken(&layout.name(), "").as_deref(), Ok("amd64"));
    }
}

/// A registry in a layout: it cannot say what it has, and remembers what it was asked for.
struct Remote<'a>(&'a OciLayout, Vec<String>);

impl Store for Remote<'_> {
    fn blob(
        &mut self,
        descriptor: &Descriptor,
        _: bool,
        place: &str,
        _: &mut dyn Progress,
    ) -> Result<Box<dyn Read + '_>, ImageError> {
        self.1.push(descriptor.digest.clone());
        match File::open(self.0.blob_file(&descriptor.digest)) {
            Ok(file) => Ok(Box::new(file)),
            Err(e) => Err(ImageError::Missing { place: place.into(), problem: e.to_string() }),
        }
    }

    fn has(&self, _: &Descriptor, _: bool) -> Option<bool> {
        None
    }

    fn file(&mut self, _: &str) -> Result<Option<Box<dyn Read + '_>>, ImageError> {
        Ok(None)
    }
}

#[test]
fn a_registry_is_asked_for_one_manifest() {
    let (layout, mut manifests) = present(&["amd64", "arm64"]);
    manifests.insert(0, absent("linux", "s390x"));
    manifests.push(absent("linux", "386"));
    for depth in [0, 1, 2] {
        write_index(&layout, manifests.clone(), depth, json!(null));
        let index = fs::read(layout.dir.path().join("index.json")).unwrap();
        let ask = |arch: &str| {
            let mut remote = Remote(&layout, Vec::new());
            let loaded = load_document("r".into(), &mut remote, &index, None, &options(arch), &mut ());
            let arch = loaded.ok().map(|image| String::from_utf8(content(&image.tree, "/arch")).unwrap());
            (arch, remote.1)
        };
        for (arch, taken) in [("", 1), ("amd64", 1), ("arm64", 2)] {
            let (found, asked) = ask(arch);
            assert_eq!(found.as_deref(), Some(["", "amd64", "arm64"][taken]));
            // The indexes within the index, the manifest, its configuration, its layer.
            assert_eq!(asked.len(), depth + 3, "{asked:?}");
            assert_eq!(manifests[taken]["digest"], *asked[depth]);
        }
        // What is named and not given is an error of the registry's, not another choice.
        let (found, asked) = ask("386");
        assert_eq!((found, asked.len()), (None, depth + 1));
    }
}

#[test]
fn an_index_that_repeats_itself_is_read_in_bounds() {
    let layout = OciLayout::new();
    let mut inner = vec![absent("linux", "s390x")];
    for _ in 0..6 {
        let index = json!({ "schemaVersion": 2, "manifests": inner });
        inner = vec![layout.blob(INDEX, index.to_string().as_bytes()); 30];
    }
    write_index(&layout, inner, 0, json!(null));
    let error = taken(&layout.name(), "").unwrap_err();
    assert!(error.contains("more than 1000 image indexes"), "{error}");
}

/// One more image for riscv64 in a layout.
fn layout_image(layout: &OciLayout) -> Value {
    let tar = Tar::new().file("arch", b"another").done();
    let config = json!({
        "architecture": "riscv64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [sha256(&tar)] }
    });
    let config = layout.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", &tar);
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())
}

#[test]
fn tags_and_names() {
    let (layout, mut here) = present(&["riscv64", "amd64"]);
    let name = layout.name();
    let error = |tag: &str| taken(&format!("{name}:{tag}"), "").unwrap_err();
    assert!(
        error("x").contains("no image has the tag `x`, nor any other: leave the tag away"),
        "{}",
        error("x")
    );
    for descriptor in &mut here {
        descriptor.as_object_mut().unwrap().remove("platform");
    }
    here[0]["annotations"] = json!({ "org.opencontainers.image.ref.name": "localhost/app:v1" });
    here[1]["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/app:v2" });
    write_index(&layout, here.clone(), 0, json!(null));
    for (tag, arch) in
        [("v1", "riscv64"), ("localhost/app:v1", "riscv64"), ("v2", "amd64"), ("app:v2", "amd64")]
    {
        assert_eq!(taken(&format!("{name}:{tag}"), "").as_deref(), Ok(arch));
    }
    let text = error("v3");
    assert!(text.contains("there are: docker.io/library/app:v2, localhost/app:v1"), "{text}");
    // Without names, digests tell images apart.
    let mut nameless = vec![here[0].clone(), layout_image(&layout)];
    nameless.iter_mut().for_each(|d| drop(d.as_object_mut().unwrap().remove("annotations")));
    write_index(&layout, nameless.clone(), 0, json!(null));
    let text = taken(&name, "").unwrap_err();
    let digest = nameless[1]["digest"].as_str().unwrap();
    assert!(text.contains("append a tag") && text.contains(digest), "{text}");
    assert_eq!(taken(&format!("{name}:{digest}"), "").as_deref(), Ok("another"));
    // Two names of one image are no choice.
    here[1] = here[0].clone();
    here[1]["annotations"] = json!({ "org.opencontainers.image.ref.name": "other" });
    write_index(&layout, here, 0, json!(null));
    assert_eq!(taken(&name, "").as_deref(), Ok("riscv64"));
}

type Pack = fn(&[u8]) -> Vec<u8>;

/// A layout of one image with these types; the configuration's bytes are given.
fn typed(config_type: Option<&str>, config: Option<Value>, layer_types: &[Option<&str>]) -> OciLayout {
    let layout = OciLayout::new();
    let tars: Vec<Vec<u8>> =
        (0..layer_types.len()).map(|n| Tar::new().file(&format!("f{n}"), b"").done()).collect();
    let diff_ids: Vec<String> = tars.iter().map(|tar| sha256(tar)).collect();
    let config = config.unwrap_or_else(|| {
        json!({ "architecture": "riscv64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } })
    });
    let part = |kind: Option<&str>, data: &[u8]| {
        let mut descriptor = layout.blob("", data);
        match kind {
            Some(kind) => descriptor["mediaType"] = json!(kind),
            None => drop(descriptor.as_object_mut().unwrap().remove("mediaType")),
        }
        descriptor
    };
    let pack: [Pack; 3] = [gzip, zstd, <[u8]>::to_vec];
    let layers: Vec<Value> = tars
        .iter()
        .zip(layer_types)
        .enumerate()
        .map(|(n, (tar, kind))| part(*kind, &pack[n % 3](tar)))
        .collect();
    let config = part(config_type, config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let descriptor = part(None, manifest.to_string().as_bytes());
    write_index(&layout, vec![descriptor], 0, json!(null));
    layout
}

#[test]
fn the_bytes_of_a_configuration_decide() {
    for kind in [
        Some("application/octet-stream"),
        Some("application/vnd.docker.container.image.v1+json"),
        Some("application/vnd.oci.image.config.v1+json"),
        Some("application/json"),
        Some("text/plain; charset=utf-8"),
        Some(""),
        None,
    ] {
        let layout = typed(kind, None, &[Some("application/vnd.oci.image.layer.v1.tar")]);
        let image = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap();
        assert_eq!((paths(&image.tree), image.arch.as_deref()), (vec!["/f0".into()], Some("riscv64")));
    }
    let error = |kind, config| {
        let layout = typed(Some(kind), Some(config), &[Some("application/vnd.oci.image.layer.v1.tar")]);
        load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap_err().to_string()
    };
    let chart = json!({ "name": "chart", "version": "1.0.0", "apiVersion": "v2" });
    for (kind, config) in [
        ("application/vnd.oci.empty.v1+json", json!({})),
        ("application/vnd.cncf.helm.config.v1+json", chart.clone()),
        ("application/octet-stream", json!({})),
        ("application/octet-stream", json!("text")),
        ("application/vnd.wasm.config.v0+json", json!({ "architecture": "wasm", "os": "wasip1" })),
    ] {
        let error = error(kind, config);
        assert!(error.contains(&format!("an artifact of type `{kind}`")), "{error}");
    }
    // What says that it is an image's is told what is wrong with it.
    let error = error("application/vnd.docker.container.image.v1+json", chart);
    assert!(error.contains("digests for 0 layers, the image has 1"), "{error}");
}

#[test]
fn layers_by_any_name() {
    let kinds = [
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.container.image.rootfs.diff+x-gtar",
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "Application/vnd.OCI.image.layer.v1.tar+GZIP",
        "application/octet-stream",
        "application/x-tar; charset=binary",
        "application/gzip",
        "application/x-gzip",
        "",
    ];
    let mut kinds: Vec<Option<&str>> = kinds.into_iter().map(Some).collect();
    kinds.push(None);
    let layout = typed(None, None, &kinds);
    let image = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap();
    assert_eq!((image.layers, paths(&image.tree).len()), (kinds.len(), kinds.len()));
    for (kind, words) in [
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "is encrypted: decrypt"),
        ("application/vnd.in-toto+json", "`application/vnd.in-toto+json` is the type of sha256:"),
        ("application/x-unknown", "no part of a container image"),
    ] {
        let layout = typed(None, None, &[Some(kind)]);
        let error = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// Artifacts stand beside images in a layout: signatures, bills of material.
#[test]
fn artifacts_beside_an_image_are_no_choice() {
    let (layout, here) = present(&["amd64"]);
    let config = layout.blob("application/vnd.oci.empty.v1+json", b"{}");
    let layer = layout.blob("application/spdx+json", b"{\"spdx\": 1}");
    let manifest = json!({ "schemaVersion": 2, "artifactType": "application/spdx+json", "config": config, "layers": [layer] });
    let mut artifact =
        layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    artifact["annotations"] = json!({ "org.opencontainers.image.ref.name": "sha256-1.sbom" });
    write_index(&layout, vec![artifact.clone(), here[0].clone()], 0, json!(null));
    assert_eq!(taken(&layout.name(), "").as_deref(), Ok("amd64"));
    write_index(&layout, vec![artifact], 0, json!(null));
    let error = taken(&layout.name(), "").unwrap_err();
    assert!(error.contains("an artifact of type `application/spdx+json`"), "{error}");
}
