//! Broken and hostile input: one clear error each, never a panic.

use crate::image::{
    ImageError, Limits, LoadOptions, load,
    testing::{OciLayout, Tar, elf, gzip, on_disk, try_layers, zstd},
};
use std::{fs, fs::OpenOptions};

fn refused(tar: Vec<u8>, words: &str) {
    let error = try_layers(&[tar]).unwrap_err().to_string();
    assert!(error.contains(words) && error.contains("layer 1/1"), "`{error}` lacks `{words}`");
    assert!(!error.contains('\n'));
}

#[test]
fn names_that_leave_the_image() {
    refused(Tar::new().file("../x", b"").done(), "climbs out");
    refused(Tar::new().file("a/../../x", b"").done(), "climbs out");
    refused(Tar::new().hardlink("x", "../../etc/passwd").done(), "climbs out");
    refused(Tar::new().file("../.wh.x", b"").done(), "climbs out");
    refused(Tar::new().file("./", b"").typed("..", b'5', b"").done(), "climbs out");
    refused(Tar::new().symlink("/", "x").done(), "root can only be a directory");
}

#[test]
fn links_that_go_nowhere() {
    refused(Tar::new().hardlink("x", "missing").done(), "does not have");
    refused(Tar::new().hardlink("x", "no/such/dir").done(), "does not have");
    refused(Tar::new().dir("d", 0o755).hardlink("x", "d").done(), "directory");
    refused(Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", b"").done(), "cycle");
    refused(Tar::new().symlink("a", "a/a").file("a/x", b"").done(), "cycle");
    refused(Tar::new().file("f", b"").file("f/x", b"").done(), "no directory");
    refused(Tar::new().symlink("a", "").done(), "target");
    refused(Tar::new().file(".wh.", b"").done(), "names no file");
    refused(Tar::new().file("d/.wh...", b"").done(), "names no file");
}

#[test]
fn absurd_names_and_numbers() {
    let long = "x".repeat(256);
    refused(Tar::new().pax(&[("path", long.as_bytes())]).file("x", b"").done(), "255");
    let deep = "d/".repeat(2048);
    refused(Tar::new().pax(&[("path", deep.as_bytes())]).file("x", b"").done(), "4095");
    refused(Tar::new().pax(&[("uid", b"4294967296")]).file("x", b"").done(), "32 bits");
    refused(Tar::new().pax(&[("path", b"a\0b")]).file("x", b"").done(), "NUL");
    refused(Tar::new().typed("x", b'M', b"").done(), "entry type `M`");
    refused(Tar::new().typed("x", b'x', &vec![b'1'; 2 << 20]).done(), "extension header");
    refused(Tar::new().pax(&[("size", b"18446744073709551615")]).file("x", b"").done(), "more than the");
    let sparse = [
        ("GNU.sparse.major", &b"0"[..]),
        ("GNU.sparse.size", b"1099511627776"),
        ("GNU.sparse.map", b"1099511627775,1"),
    ];
    refused(Tar::new().pax(&sparse).file("x", b"1").done(), "more than the");
    refused(
        Tar::new().pax(&[("GNU.sparse.size", b"4"), ("GNU.sparse.map", b"2,1,0,1")]).file("x", b"12").done(),
        "overlaps",
    );
    refused(
        Tar::new().pax(&[("GNU.sparse.size", b"4"), ("GNU.sparse.map", b"0,4")]).file("x", b"1").done(),
        "its map needs 4",
    );
}

#[test]
fn deep_trees_do_not_overflow_the_stack() {
    // Each entry goes a thousand directories deeper through a link to the deepest one so far.
    let mut tar = Tar::new();
    let step = "d/".repeat(1000);
    let mut base = String::new();
    for i in 0..30 {
        let path = format!("{base}{step}");
        tar = tar.pax(&[("path", path.as_bytes())]).dir("x", 0o755);
        tar = tar.pax(&[("linkpath", format!("/{path}").as_bytes())]).symlink(&format!("l{i}"), "x");
        base = format!("l{i}/");
    }
    let image = try_layers(&[tar.done()]).unwrap();
    assert_eq!(image.tree.live_inodes(), 1 + 30_000 + 30);
    image.tree.digest().unwrap();
    let volume = crate::erofs::Volume::new(&image.tree, &crate::erofs::Options::default()).unwrap();
    volume.write_to(&mut std::io::sink(), &mut ()).unwrap();
    let image =
        try_layers(&[Tar::new().dir("d", 0o755).done(), Tar::new().file(".wh.d", b"").done()]).unwrap();
    assert_eq!(image.tree.live_inodes(), 1);
}

#[test]
fn truncation_at_every_block_is_noticed() {
    let whole =
        Tar::new().dir("d", 0o755).file("d/f", &[7; 3000]).pax(&[("mtime", b"1.5")]).file("g", b"x").done();
    for cut in (0..whole.len() - 1024).step_by(100) {
        let (_dir, name) = on_disk("x.tar", &whole[..cut]);
        let error = load(&format!("tar:{name}"), &LoadOptions::default(), &mut ()).unwrap_err().to_string();
        assert!(error.contains("truncated") && error.contains("x.tar"), "{cut}: {error}");
    }
    for pack in [gzip, zstd] {
        let packed = pack(&whole);
        for cut in [20, packed.len() / 2, packed.len() - 9] {
            let (_dir, name) = on_disk("x.tgz", &packed[..cut]);
            assert!(load(&format!("tar:{name}"), &LoadOptions::default(), &mut ()).is_err(), "{cut}");
        }
    }
}

#[test]
fn bombs_and_limits() {
    let limits = Limits { total_bytes: 1 << 20, entries: 50, metadata_bytes: 20_000 };
    let options = LoadOptions { limits, ..LoadOptions::default() };
    let load_tar = |data: &[u8]| {
        let (_dir, name) = on_disk("x", data);
        load(&format!("tar:{name}"), &options, &mut ()).unwrap_err()
    };
    let large = load_tar(&Tar::new().file("a", &[0; 900_000]).file("b", &[0; 200_000]).done());
    assert!(matches!(large, ImageError::TooLarge { bytes: 1_101_824, limit: 0x10_0000, .. }), "{large}");
    let mut many = Tar::new();
    for i in 0..51 {
        many = many.dir(&format!("d{i}"), 0o755);
    }
    assert!(matches!(load_tar(&many.done()), ImageError::TooMany { limit: 50, .. }));
    let value = vec![b'v'; 15_000];
    let fat = Tar::new()
        .pax(&[("SCHILY.xattr.user.a", &value)])
        .file("a", b"")
        .pax(&[("SCHILY.xattr.user.a", &value)])
        .file("b", b"");
    assert!(load_tar(&fat.done()).to_string().contains("extended attributes reach"));
    let implicit = Tar::new().pax(&[("path", "d/".repeat(120).as_bytes())]).dir("x", 0o755).done();
    assert!(matches!(load_tar(&implicit), ImageError::TooMany { .. }));
    // 68 MB of zeros after the end mark, in a few kB.
    let mut bomb = Tar::new().file("a", b"").done();
    bomb.resize(68 << 20, 0);
    assert!(matches!(load_tar(&zstd(&bomb)), ImageError::Bomb { .. }));
    // The same name over and over passes the limit on what is left, not the one on what was read.
    let mut again = Tar::new();
    for _ in 0..40 {
        again = again.file("a", &[1; 200_000]);
    }
    assert!(matches!(load_tar(&again.done()), ImageError::Bomb { .. } | ImageError::TooLarge { .. }));
}

/// `umoci insert` ends a layer with the last file's last byte.
#[test]
fn a_layer_may_end_without_padding() {
    let whole = Tar::new().file("a", b"1").file("b", b"23").done();
    let data = 3 * 512 + 2;
    assert_eq!(&whole[data - 2..data], b"23");
    for end in [data, data + 7, data + 510] {
        let image = try_layers(&[whole[..end].to_vec()]).unwrap();
        assert_eq!(crate::image::testing::content(&image.tree, "/b"), b"23");
        // Nothing else says that a bare archive is whole.
        let (_dir, name) = on_disk("x.tar", &whole[..end]);
        assert!(load_error(&format!("tar:{name}")).contains("truncated"));
    }
    refused(whole[..data - 1].to_vec(), "1 bytes of this entry are missing");
}

fn one_layer() -> (OciLayout, String) {
    let tar = Tar::new().program("bin/sh", &elf(243)).done();
    let stored = gzip(&tar);
    let digest = crate::image::testing::sha256(&stored);
    let mut layout = OciLayout::new();
    layout.image("riscv64", Some("v1"), serde_json::json!({}), &[(tar, stored)]);
    (layout, digest)
}

fn load_error(name: &str) -> String {
    load(name, &LoadOptions::default(), &mut ()).unwrap_err().to_string()
}

#[test]
fn wrong_digests_sizes_and_missing_blobs() {
    let (layout, digest) = one_layer();
    load(&layout.name(), &LoadOptions::default(), &mut ()).unwrap();
    let file = layout.blob_file(&digest);
    let good = fs::read(&file).unwrap();
    for at in [0, 12, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).unwrap();
        let error = load_error(&layout.name());
        assert!(error.contains("digest is sha256:") && error.contains(&digest), "byte {at}: {error}");
    }
    fs::write(&file, &good[..good.len() - 5]).unwrap();
    assert!(load_error(&layout.name()).contains("its descriptor says"));
    OpenOptions::new().write(true).open(&file).unwrap().set_len(good.len() as u64 + 100_000).unwrap();
    assert!(load_error(&layout.name()).contains("its descriptor says"));
    fs::remove_file(&file).unwrap();
    assert!(load_error(&layout.name()).contains("is missing: the image is incomplete"));
    assert!(load_error(&format!("{}:v2", layout.name())).contains("there are: v1"));
}

#[test]
fn a_wrong_diff_id_is_noticed() {
    let tar = Tar::new().file("a", b"1").done();
    let other = Tar::new().file("a", b"2").done();
    let mut layout = OciLayout::new();
    layout.image("riscv64", None, serde_json::json!({}), &[(other, gzip(&tar))]);
    assert!(load_error(&layout.name()).contains("unpacked: digest"));
}

#[test]
fn bad_documents() {
    let index = |text: &str| {
        let layout = OciLayout::new();
        fs::write(layout.dir.path().join("index.json"), text).unwrap();
        load_error(&layout.name())
    };
    assert!(index("{").contains("not the JSON document"));
    assert!(index("{}").contains("neither an image index nor"));
    assert!(index(r#"{"manifests":[]}"#).contains("names no image"));
    assert!(index(&"[".repeat(100_000)).contains("not the JSON document"));
    let traversal = r#"{"manifests":[{"mediaType":"x","digest":"sha256:../../../etc/passwd","size":1}]}"#;
    assert!(index(traversal).contains("no digest that can be verified"));
    assert!(
        index(&format!(r#"{{"manifests":[{{"digest":"sha256:{}","size":1}}]}}"#, "a".repeat(64)))
            .contains("missing")
    );
    let layout = OciLayout::new();
    assert!(load_error(&layout.name()).contains("index.json is missing"));
}

#[test]
fn endless_indexes_end() {
    let layout = OciLayout::new();
    let mut inner = layout.blob("x", b"{\"manifests\":[]}");
    for _ in 0..20 {
        let index = serde_json::json!({ "manifests": [inner] });
        inner = layout.blob("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
    }
    let index = serde_json::json!({ "manifests": [inner] });
    fs::write(layout.dir.path().join("index.json"), index.to_string()).unwrap();
    assert!(load_error(&layout.name()).contains("image indexes within each other"));
}

#[test]
fn what_is_no_image() {
    let (_dir, name) = on_disk("x", b"#!/bin/sh\necho no tar here\n");
    assert!(load_error(&name).contains("neither an OCI layout"));
    let (_dir, name) = on_disk("x", &[b'x'; 2048]);
    assert!(load_error(&format!("tar:{name}")).contains("checksum"));
    assert!(load_error(&format!("oci-archive:{name}")).contains("checksum"));
    assert!(load_error("tar:/no/such/file").contains("/no/such/file"));
    assert!(load_error("docker-archive:/no/such/file").contains("/no/such/file"));
    let (_dir, name) = on_disk("x.tar", &Tar::new().file("a", b"").done());
    assert!(load_error(&format!("oci-archive:{name}")).contains("index.json is missing"));
    assert!(load_error(&format!("docker-archive:{name}")).contains("manifest.json"));
}

#[test]
fn compressions_that_are_not_read() {
    for (name, start) in [("xz", &b"\xfd7zXZ\0"[..]), ("bzip2", b"BZh91AY"), ("lz4", b"\x04\x22\x4d\x18d@")] {
        let words = format!("it is compressed by {name}, and only gzip and zstd are read");
        let (_dir, path) = on_disk("root.tar", &[start, &[0; 1000]].concat());
        for transport in ["", "tar:", "oci-archive:", "docker-archive:"] {
            let error = load_error(&format!("{transport}{path}"));
            assert!(error.contains(&words) && error.contains("root.tar"), "{error}");
        }
        let tar = Tar::new().file("a", b"1").done();
        let mut layout = OciLayout::new();
        layout.image("riscv64", None, serde_json::json!({}), &[(tar, start.to_vec())]);
        assert!(load_error(&layout.name()).contains(&words));
    }
}

#[test]
fn fuzz_entry_survives_mutations() {
    let seed = Tar::new()
        .dir("d", 0o755)
        .pax(&[
            ("SCHILY.xattr.user.x", b"1"),
            ("mtime", b"1.25"),
            ("GNU.sparse.size", b"9000"),
            ("GNU.sparse.map", b"0,3"),
        ])
        .file("d/f", b"abc")
        .hardlink("h", "d/f")
        .symlink("s", "d")
        .file("s/.wh.f", b"")
        .done();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..1000 {
        let mut data = seed.clone();
        for _ in 0..=round % 4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state >> 8) as usize % data.len();
            data[at] = state as u8;
            // A right checksum lets the change through to the code that follows.
            let block = at / 512 * 512;
            let sum: u32 =
                (0..512).map(|i| if (148..156).contains(&i) { 32 } else { u32::from(data[block + i]) }).sum();
            if state & 0x80 != 0 {
                data[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        crate::fuzz::layer(&data);
    }
}
