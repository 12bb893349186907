//! Image formats, compressions, choices.

use crate::image::{
    LoadOptions, load,
    testing::{OciLayout, Tar, content, elf, gzip, on_disk, pack_dir, paths, sha256, zstd},
};
use serde_json::json;

const RISCV: u16 = 243;
const AMD64: u16 = 62;
const I386: u16 = 3;
const ARM64: u16 = 183;
const S390: u16 = 22;

fn options(arch: &str) -> LoadOptions {
    LoadOptions { arch: Some(arch.into()), ..LoadOptions::default() }
}

fn root(machine: u16, text: &[u8]) -> Vec<u8> {
    Tar::new()
        .dir("./", 0o755)
        .program("./bin/busybox", &elf(machine))
        .symlink("./bin/sh", "busybox")
        .file("./t", text)
        .done()
}

#[test]
fn configuration_and_every_compression() {
    let tars = [root(RISCV, b"0"), Tar::new().file("t", b"1").done(), Tar::new().file("u", b"2").done()];
    let (first, second) = tars[2].split_at(300);
    // Several members make one stream.
    let members = [gzip(first), gzip(second)].concat();
    let stored =
        [(tars[0].clone(), gzip(&tars[0])), (tars[1].clone(), zstd(&tars[1])), (tars[2].clone(), members)];
    let mut layout = OciLayout::new();
    let settings = json!({
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": null, "Env": ["A=1"], "WorkingDir": "/w", "User": "1:2",
        "StopSignal": "SIGINT", "Volumes": {"/v": {}, "/a": {}}, "ExposedPorts": {"80/tcp": {}},
        "Labels": {"z": "1", "b": "2"}, "Healthcheck": {"Test": ["x"]}, "OnBuild": null
    });
    layout.image("riscv64", None, settings, &stored);
    let image = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap();
    assert_eq!(image.config.entrypoint, ["/bin/sh", "-c"]);
    assert_eq!(image.config.volumes, ["/a", "/v"]);
    assert_eq!(image.config.labels, [("b".into(), "2".into()), ("z".into(), "1".into())]);
    assert_eq!((&image.config.user[..], &image.config.stop_signal[..]), ("1:2", "SIGINT"));
    assert_eq!((image.arch.as_deref(), image.layers), (Some("riscv64"), 3));
    assert_eq!((content(&image.tree, "/t"), content(&image.tree, "/u")), (b"1".to_vec(), b"2".to_vec()));
    assert!(image.warnings.is_empty());
    let again = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap();
    assert_eq!((again.digest, again.tree.digest().unwrap()), (image.digest, image.tree.digest().unwrap()));
}

#[test]
fn platforms_and_tags() {
    let mut layout = OciLayout::new();
    for (arch, machine) in [("amd64", AMD64), ("riscv64", RISCV)] {
        let tar = root(machine, arch.as_bytes());
        layout.image(arch, None, json!({}), &[(tar.clone(), gzip(&tar))]);
    }
    let text = |o: &LoadOptions| content(&load(&layout.name(), o, &mut ()).unwrap().tree, "/t");
    assert_eq!(text(&LoadOptions::default()), b"riscv64");
    assert_eq!(text(&options("amd64")), b"amd64");
    let error = load(&layout.name(), &options("s390x"), &mut ()).unwrap_err().to_string();
    assert!(error.contains("no linux/s390x") && error.contains("linux/amd64, linux/riscv64"), "{error}");

    let mut layout = OciLayout::new();
    for tag in ["one", "two"] {
        let tar = root(RISCV, tag.as_bytes());
        layout.image("riscv64", Some(tag), json!({}), &[(tar.clone(), tar)]);
    }
    let image = load(&format!("{}:two", layout.name()), &LoadOptions::default(), &mut ()).unwrap();
    assert_eq!(content(&image.tree, "/t"), b"two");
    let error = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap_err().to_string();
    assert!(error.contains("append a tag") && error.contains("one, two"), "{error}");
}

#[test]
fn the_platform_that_runs_best_is_chosen() {
    let all = [("s390x", S390), ("arm64", ARM64), ("386", I386), ("amd64", AMD64), ("riscv64", RISCV)];
    for (count, best) in [(5, "riscv64"), (4, "amd64"), (3, "386"), (2, "arm64")] {
        let mut layout = OciLayout::new();
        for (arch, machine) in &all[..count] {
            let tar = root(*machine, arch.as_bytes());
            layout.image(arch, None, json!({}), &[(tar.clone(), tar)]);
        }
        let image = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap();
        assert_eq!(
            (image.arch.as_deref(), content(&image.tree, "/t")),
            (Some(best), best.as_bytes().to_vec())
        );
        let image = load(&layout.name(), &options("arm64"), &mut ()).unwrap();
        assert_eq!(content(&image.tree, "/t"), b"arm64");
    }
    let mut layout = OciLayout::new();
    for (arch, machine) in [("s390x", S390), ("ppc64le", 21)] {
        let tar = root(machine, b"");
        layout.image(arch, None, json!({}), &[(tar.clone(), tar)]);
    }
    let error = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap_err().to_string();
    assert!(error.contains("can be converted") && error.contains("linux/ppc64le, linux/s390x"), "{error}");
}

#[test]
fn one_processor_runs_amd64_and_386() {
    for (claimed, machine, good) in
        [("amd64", I386, true), ("386", AMD64, true), ("amd64", ARM64, false), ("arm64", AMD64, false)]
    {
        let tar = root(machine, b"");
        let mut layout = OciLayout::new();
        layout.image(claimed, None, json!({}), &[(tar.clone(), tar)]);
        let loaded = load(&layout.name(), &LoadOptions::default(), &mut ());
        assert_eq!(loaded.as_ref().ok().and_then(|i| i.arch.as_deref()), good.then_some(claimed));
        assert_eq!(loaded.is_err(), !good, "{claimed}");
    }
}

#[test]
fn programs_are_added_to_the_root_directory() {
    let mut layout = OciLayout::new();
    let tar = root(ARM64, b"t");
    layout.image("arm64", None, json!({}), &[(tar.clone(), tar)]);
    let mut image = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap();
    let (live, digest) = (image.tree.live_inodes(), image.tree.digest().unwrap());
    let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i / 7) as u8).collect();
    for name in ["tool", "t"] {
        image.tree.add_program(name, &bytes).unwrap();
        assert_eq!(content(&image.tree, &format!("/{name}")), bytes);
        let id = image.tree.lookup(name.as_bytes()).unwrap();
        assert_eq!((image.tree.inode(id).meta.mode, image.tree.inode(id).links), (0o755, 1));
    }
    // The second took the place of a file.
    assert_eq!(image.tree.live_inodes(), live + 1);
    assert_ne!(image.tree.digest().unwrap(), digest);
}

#[test]
fn wrong_architectures() {
    let tar = root(AMD64, b"");
    let mut layout = OciLayout::new();
    layout.image("riscv64", None, json!({}), &[(tar.clone(), tar.clone())]);
    let error = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap_err().to_string();
    assert!(error.contains("should be for riscv64, but `/bin/sh` in it is a program for amd64"), "{error}");
    let mut layout = OciLayout::new();
    layout.image("amd64", None, json!({}), &[(tar.clone(), tar.clone())]);
    let error = load(&layout.name(), &options("riscv64"), &mut ()).unwrap_err().to_string();
    assert!(error.contains("for amd64, not for riscv64"), "{error}");
    // A foreign program that is merely carried along is no reason to refuse.
    let carried = Tar::new().program("data/tool", &elf(AMD64)).done();
    let mut layout = OciLayout::new();
    layout.image("riscv64", None, json!({}), &[(carried.clone(), carried)]);
    let image = load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap();
    assert!(image.arch.as_deref() == Some("riscv64") && image.warnings[0].contains("/data/tool"));
}

#[test]
fn archives_of_layouts() {
    let tar = root(RISCV, b"layout");
    let mut layout = OciLayout::new();
    layout.image("riscv64", Some("v1"), json!({}), &[(tar.clone(), gzip(&tar))]);
    let packed = pack_dir(layout.dir.path());
    for data in [packed.clone(), gzip(&packed), zstd(&packed)] {
        let (_dir, name) = on_disk("x.tar", &data);
        for name in [format!("oci-archive:{name}"), format!("oci-archive:{name}:v1"), name.clone()] {
            let image = load(&name, &LoadOptions::default(), &mut ()).unwrap();
            assert_eq!(content(&image.tree, "/t"), b"layout");
            assert!(image.source.starts_with("oci-archive:"));
        }
        assert!(load(&format!("oci-archive:{name}:v2"), &LoadOptions::default(), &mut ()).is_err());
    }
    let bare = layout.dir.path().display().to_string();
    assert!(load(&bare, &LoadOptions::default(), &mut ()).unwrap().source.starts_with("oci:"));
}

#[test]
fn archives_of_docker_save() {
    let tar = root(RISCV, b"saved");
    let top = Tar::new().file("t2", b"top").done();
    let config = json!({
        "architecture": "riscv64", "os": "linux", "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&tar), sha256(&top), sha256(&top)]}
    })
    .to_string();
    let hex = sha256(config.as_bytes())[7..].to_owned();
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let manifest = json!([
        {"Config": format!("{hex}.json"), "RepoTags": ["debian:12"],
         "Layers": [format!("{a}/layer.tar"), format!("{b}.tar"), format!("{hex}/layer.tar")]},
        {"Config": format!("{hex}.json"), "RepoTags": null, "Layers": ["missing.tar", "x", "y"]}
    ]);
    let save = |layer: &[u8]| {
        Tar::new()
            .dir(&a, 0o755)
            .file(&format!("{a}/layer.tar"), layer)
            .file(&format!("{b}.tar"), &top)
            .symlink(&format!("{hex}/layer.tar"), &format!("../{b}.tar"))
            .file(&format!("{hex}.json"), config.as_bytes())
            .file("manifest.json", manifest.to_string().as_bytes())
            .done()
    };
    let (_dir, name) = on_disk("x.tar", &save(&tar));
    for reference in ["debian:12", "docker.io/library/debian:12"] {
        let image =
            load(&format!("docker-archive:{name}:{reference}"), &LoadOptions::default(), &mut ()).unwrap();
        assert_eq!((content(&image.tree, "/t2"), image.layers), (b"top".to_vec(), 3));
        assert_eq!(image.digest, format!("sha256:{hex}"));
    }
    let error = |name: &str| load(name, &LoadOptions::default(), &mut ()).unwrap_err().to_string();
    // A bare path is recognised; here it names two images.
    assert!(error(&name).contains("there are several images"));
    assert!(error(&format!("docker-archive:{name}:alpine")).contains("there are: debian:12"));
    assert!(load(&format!("docker-archive:{name}:@0"), &LoadOptions::default(), &mut ()).is_ok());
    assert!(error(&format!("docker-archive:{name}:@1")).contains("`missing.tar` is missing"));
    assert!(error(&format!("docker-archive:{name}:@2")).contains("no image number 2: there are 2"));
    let (_dir, name) = on_disk("x.tar", &save(&root(RISCV, b"other")));
    assert!(error(&format!("docker-archive:{name}:debian:12")).contains("digest is"));
}

/// `zstd:chunked` of skopeo 1.9 is without the padding that the layer's digest includes.
#[test]
fn padding_behind_the_end_mark_may_be_missing() {
    let mut padded = root(RISCV, b"padded");
    let end = padded.len();
    padded.resize(end.next_multiple_of(10240), 0);
    assert!(padded.len() > end);
    let loads = |stored: &[u8]| {
        let mut layout = OciLayout::new();
        layout.image("riscv64", None, json!({}), &[(padded.clone(), zstd(stored))]);
        load(&layout.name(), &LoadOptions::default(), &mut ()).map_err(|e| e.to_string())
    };
    let image = loads(&padded[..end]).unwrap();
    assert_eq!(content(&image.tree, "/t"), b"padded");
    // Nothing else may: neither other bytes, nor part of a block.
    let mut other = padded[..end].to_vec();
    other[end - 1] = 1;
    for stored in [&padded[..end + 100], &[&padded[..], &[0; 512]].concat(), &other] {
        assert!(loads(stored).unwrap_err().contains("unpacked: digest is"));
    }
}

#[test]
fn plain_root_file_systems() {
    let tar = root(RISCV, b"plain");
    for data in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let (_dir, name) = on_disk("root.tar", &data);
        for name in [format!("tar:{name}"), name] {
            let image = load(&name, &LoadOptions::default(), &mut ()).unwrap();
            assert_eq!(
                (image.config.cmd, image.arch.as_deref()),
                (vec!["/bin/sh".to_owned()], Some("riscv64"))
            );
            assert_eq!(image.digest, sha256(&tar));
        }
        let (_dir, name) = on_disk("root.tar", &data);
        let error = load(&name, &options("amd64"), &mut ()).unwrap_err().to_string();
        assert!(error.contains("`/bin/sh` in it is a program for riscv64"), "{error}");
    }
    // In a plain root file system `.wh.x` is a file like any other.
    let (_dir, name) = on_disk("root.tar", &Tar::new().file("x", b"").file(".wh.x", b"").done());
    let image = load(&name, &LoadOptions::default(), &mut ()).unwrap();
    assert_eq!((paths(&image.tree), image.arch), (vec!["/.wh.x".into(), "/x".into()], None));
}

#[test]
fn docker_archives_without_names() {
    let tar = root(RISCV, b"saved");
    let config = json!({
        "architecture": "riscv64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]}
    })
    .to_string();
    let one = json!({ "Config": "config.json", "RepoTags": null, "Layers": ["layer.tar"] });
    let error = |images: &[&serde_json::Value], suffix: &str| {
        let archive = Tar::new()
            .file("config.json", config.as_bytes())
            .file("layer.tar", &tar)
            .file("manifest.json", json!(images).to_string().as_bytes());
        let (_dir, name) = on_disk("x.tar", &archive.done());
        load(&format!("docker-archive:{name}{suffix}"), &LoadOptions::default(), &mut ())
            .map_or_else(|e| e.to_string(), |image| String::from_utf8(content(&image.tree, "/t")).unwrap())
    };
    assert_eq!(error(&[&one], ""), "saved");
    assert_eq!(error(&[&one, &one], ":@1"), "saved");
    let text = error(&[&one], ":a:b");
    assert!(
        text.contains("no image is named `a:b`, nor has any other a name: leave the name away"),
        "{text}"
    );
    assert!(error(&[&one, &one], "").contains("2 images without a name: append a number (`:@0`)"));
    assert!(error(&[], "").contains("names no image"));
}
