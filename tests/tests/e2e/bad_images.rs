//! Broken and hostile images: one clear line, a status that is not 0, nothing left behind.

use crate::bad_input::refused;
use crate::testing::dir;
use forelift_tests::{
    images::{Entry, Image, tar_of},
    random::Random,
    table::{Check, Group},
    workspace::{last_line, script, tool},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsStr,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tar::EntryType;

pub(crate) const CASES: Group = &[
    ("missing", Check::Once(missing)),
    ("no_image_at_all", Check::Once(no_image_at_all)),
    ("truncated_tar", Check::Once(truncated_tar)),
    ("truncated_archives", Check::Once(truncated_archives)),
    ("truncated_compression", Check::Once(truncated_compression)),
    ("damaged_compression", Check::Once(damaged_compression)),
    ("wrong_digest", Check::Once(wrong_digest)),
    ("wrong_size", Check::Once(wrong_size)),
    ("missing_blob", Check::Once(missing_blob)),
    ("broken_json", Check::Once(broken_json)),
    ("absurd_manifests", Check::Once(absurd_manifests)),
    ("path_traversal", Check::Once(path_traversal)),
    ("links_that_lead_out", Check::Once(links_that_lead_out)),
    ("cycles_of_links", Check::Once(cycles_of_links)),
    ("hard_link_to_nothing", Check::Once(hard_link_to_nothing)),
    ("bad_headers", Check::Once(bad_headers)),
    ("file_larger_than_memory", Check::Once(file_larger_than_memory)),
    ("bomb", Check::Once(bomb)),
    ("other_architecture", Check::Once(other_architecture)),
    ("lying_architecture", Check::Once(lying_architecture)),
    ("other_system", Check::Once(other_system)),
];

/// Converts something that must be refused, with these words in the message.
fn refuse(reference: &str, words: &[&str]) {
    refused(&["--snapshot", "none"], reference, words);
}

fn refuse_file(transport: &str, bytes: &[u8], words: &[&str]) {
    let dir = dir();
    let path = dir.path().join("input.bin");
    fs::write(&path, bytes).expect("writing");
    let mut all = vec!["input.bin"];
    all.extend_from_slice(words);
    refuse(&format!("{transport}{}", path.display()), &all);
}

fn small_tar() -> Vec<u8> {
    tar_of(&[
        Entry::dir("etc/", 0o755),
        Entry::file("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\n"),
        Entry::file("data", 0o644, &Random::new(9).bytes(50_000)),
    ])
}

/// An OCI layout around a layer's tar.
fn layout(dir: &Path, tar: &[u8], options: &[&str]) -> PathBuf {
    let layer = dir.join("layer.tar");
    fs::write(&layer, tar).expect("writing");
    let out = dir.join("layout");
    let mut args: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    args.extend([layer.as_os_str(), out.as_os_str()]);
    last_line(script("mkimage"), &args);
    out
}

fn manifest_path(layout: &Path) -> PathBuf {
    let index = fs::read(layout.join("index.json")).expect("index.json");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    blob_path(layout, &index["manifests"][0])
}

fn blob_path(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().and_then(|d| d.strip_prefix("sha256:")).expect("a digest");
    layout.join("blobs/sha256").join(digest)
}

fn manifest(layout: &Path) -> Value {
    serde_json::from_slice(&fs::read(manifest_path(layout)).expect("the manifest")).expect("JSON")
}

/// Replaces the manifest, and makes the index name it.
fn put_manifest(layout: &Path, manifest: &Value) {
    let bytes = manifest.to_string();
    let digest = format!("{:x}", Sha256::digest(&bytes));
    fs::write(layout.join("blobs/sha256").join(&digest), &bytes).expect("writing");
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{digest}"),
        "size": bytes.len(),
    });
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
    fs::write(layout.join("index.json"), index.to_string()).expect("writing");
}

fn refuse_layout(layout: &Path, words: &[&str]) {
    refuse(&format!("oci:{}", layout.display()), words);
}

fn missing() {
    refuse("oci:/no/such/layout", &["/no/such/layout"]);
    refuse("oci-archive:/no/such/file", &["/no/such/file", "No such file"]);
    refuse("docker-archive:/no/such/file", &["/no/such/file"]);
    refuse("tar:/no/such/file", &["/no/such/file"]);
    refuse("dir:/no/such/dir", &["/no/such/dir"]);
    refuse("/no/such/path", &["/no/such/path"]);
    refuse("", &["name"]);
}

fn no_image_at_all() {
    refuse_file("", b"", &[]);
    refuse_file("", b"#!/bin/sh\necho not an image\n", &[]);
    refuse_file("", &Random::new(7).bytes(100_000), &[]);
    for transport in ["tar:", "oci-archive:", "docker-archive:"] {
        refuse_file(transport, &Random::new(8).bytes(5000), &[]);
    }
    refuse_file("oci-archive:", &small_tar(), &[]);
    refuse_file("docker-archive:", &small_tar(), &["manifest.json"]);
    refuse("dir:/etc/passwd", &["/etc/passwd"]);
    refuse("oci:/etc", &["/etc"]);
}

fn truncated_tar() {
    let tar = small_tar();
    // In a header, in content, and between the two.
    for len in [300, 512 + 100, 3 * 512 + 20_000] {
        refuse_file("tar:", &tar[..len], &["byte"]);
    }
}

fn truncated_archives() {
    let dir = dir();
    let layer = dir.path().join("layer.tar");
    fs::write(&layer, small_tar()).expect("writing");
    for format in ["oci-archive", "docker-archive"] {
        let out = dir.path().join(format);
        last_line(
            script("mkimage"),
            &["--format".as_ref(), format.as_ref(), layer.as_os_str(), out.as_os_str()],
        );
        let whole = fs::read(&out).expect("the archive");
        // Zeros at the end may be missing, the last byte of the last file not.
        let end = whole.iter().rposition(|b| *b != 0).expect("an archive is not all zeros");
        for len in [end / 10, end / 2, end] {
            refuse_file(&format!("{format}:"), &whole[..len], &[]);
        }
    }
}

fn compressed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool(program))
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let owned = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&owned));
    let output = child.wait_with_output().expect("compressing");
    writer.join().expect("the writer").expect("writing");
    output.stdout
}

fn truncated_compression() {
    for program in ["gzip", "zstd"] {
        let whole = compressed(program, &small_tar());
        for len in [8, whole.len() / 2, whole.len() - 3] {
            refuse_file("tar:", &whole[..len], &[]);
        }
    }
}

fn damaged_compression() {
    for program in ["gzip", "zstd"] {
        let mut bytes = compressed(program, &small_tar());
        let middle = bytes.len() / 2;
        for byte in &mut bytes[middle..middle + 40] {
            *byte ^= 0x5a;
        }
        refuse_file("tar:", &bytes, &[]);
    }
}

fn wrong_digest() {
    let dir = dir();
    let layout = layout(dir.path(), &small_tar(), &["--compression", "none"]);
    let blob = blob_path(&layout, &manifest(&layout)["layers"][0]);
    let mut bytes = fs::read(&blob).expect("the layer");
    // In a file's content: the archive is sound, only its digest is wrong.
    let at = bytes.len() - 10_000;
    bytes[at] ^= 1;
    fs::write(&blob, &bytes).expect("writing");
    refuse_layout(&layout, &["digest", "sha256:"]);
    // The manifest, and the configuration.
    let manifest_file = manifest_path(&layout);
    let mut text = fs::read(&manifest_file).expect("the manifest");
    text.push(b' ');
    fs::write(&manifest_file, text).expect("writing");
    refuse_layout(&layout, &[]);
}

fn wrong_size() {
    for wrong in [1, u64::MAX / 2] {
        let dir = dir();
        let layout = layout(dir.path(), &small_tar(), &[]);
        let mut changed = manifest(&layout);
        changed["layers"][0]["size"] = json!(wrong);
        put_manifest(&layout, &changed);
        refuse_layout(&layout, &[]);
    }
}

fn missing_blob() {
    for part in ["/layers/0", "/config"] {
        let dir = dir();
        let layout = layout(dir.path(), &small_tar(), &[]);
        let blob = blob_path(&layout, manifest(&layout).pointer(part).expect("a part"));
        fs::remove_file(&blob).expect("removing");
        refuse_layout(&layout, &[&blob.file_name().and_then(|n| n.to_str()).expect("a name")[..12]]);
    }
}

fn broken_json() {
    let texts: [&[u8]; 6] = [b"", b"{", b"null", b"[]", b"\xff\xfe", b"{\"manifests\":[{\"digest\":\"sha256:../../etc/passwd\",\"size\":1,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\"}]}"];
    for text in texts {
        let dir = dir();
        let layout = layout(dir.path(), &small_tar(), &[]);
        fs::write(layout.join("index.json"), text).expect("writing");
        refuse_layout(&layout, &[]);
    }
    // Deep nesting must not exhaust a stack.
    let dir = dir();
    let layout = layout(dir.path(), &small_tar(), &[]);
    fs::write(layout.join("index.json"), "[".repeat(200_000)).expect("writing");
    refuse_layout(&layout, &[]);
}

fn absurd_manifests() {
    let changes: [fn(&mut Value); 6] = [
        |m| m["layers"] = json!([]),
        |m| m["layers"][0]["mediaType"] = json!("application/x-unknown"),
        |m| m["layers"][0]["digest"] = json!("md5:abc"),
        |m| m["config"] = json!(null),
        |m| m["layers"] = json!({}),
        |m| {
            let layer = m["layers"][0].clone();
            m["layers"] = json!([layer, layer]);
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let dir = dir();
        let layout = layout(dir.path(), &small_tar(), &[]);
        let mut changed = manifest(&layout);
        change(&mut changed);
        put_manifest(&layout, &changed);
        // Which of them it was shows in the failure.
        println!("change {number}");
        refuse_layout(&layout, &[]);
    }
}

fn path_traversal() {
    let outside = dir();
    let victim = outside.path().join("victim");
    let climb = "../".repeat(30);
    let long = format!("{climb}{}", victim.strip_prefix("/").expect("absolute").display());
    if long.len() <= 100 {
        refuse_file("tar:", &tar_of(&[Entry::file(&long, 0o644, b"x")]), &[".."]);
    }
    for name in ["../x", "a/../../x", "./../x", "/../x", ".."] {
        refuse_file("tar:", &tar_of(&[Entry::file(name, 0o644, b"x")]), &[".."]);
    }
    assert!(!victim.exists());
}

/// Links out of the image are harmless data; writing *through* one must not leave the image. Either is
/// acceptable: to refuse, or to resolve inside.
fn links_that_lead_out() {
    let outside = dir();
    let target = outside.path().to_str().expect("a name");
    let tar = tar_of(&[
        Entry::link("out", EntryType::Symlink, target),
        Entry::file("out/written", 0o644, b"through the link"),
        Entry::link("up", EntryType::Symlink, "../../../../../../tmp"),
        Entry::file("up/forelift-written-through-a-link", 0o644, b"x"),
    ]);
    let work = dir();
    let path = work.path().join("t.tar");
    fs::write(&path, tar).expect("writing");
    let out = work.path().join("o.wasm");
    let done = forelift_tests::process::program(forelift_tests::workspace::forelift(), |c| {
        c.args(["convert", "-q", "--snapshot", "none"]).arg(format!("tar:{}", path.display())).arg(&out);
    });
    if done.status() != 0 {
        done.one_error(&[]);
    }
    assert_eq!(fs::read_dir(outside.path()).expect("a directory").count(), 0);
    assert!(!Path::new("/tmp/forelift-written-through-a-link").exists());
}

fn cycles_of_links() {
    let tar = tar_of(&[
        Entry::link("a", EntryType::Symlink, "b"),
        Entry::link("b", EntryType::Symlink, "a"),
        Entry::file("a/file", 0o644, b"x"),
    ]);
    refuse_file("tar:", &tar, &["a/file"]);
}

fn hard_link_to_nothing() {
    refuse_file("tar:", &tar_of(&[Entry::link("a", EntryType::Link, "nowhere")]), &["nowhere"]);
    let cycle = tar_of(&[Entry::link("a", EntryType::Link, "b"), Entry::link("b", EntryType::Link, "a")]);
    refuse_file("tar:", &cycle, &[]);
    refuse_file("tar:", &tar_of(&[Entry::link("a", EntryType::Link, "../../etc/passwd")]), &[]);
    let to_dir = tar_of(&[Entry::dir("d/", 0o755), Entry::link("a", EntryType::Link, "d")]);
    refuse_file("tar:", &to_dir, &[]);
}

fn bad_headers() {
    let good = small_tar();
    // The second header: checksum, size, and a size in base 256 that overflows.
    let header = 512;
    let mut sum = good.clone();
    sum[header + 148] ^= 1;
    refuse_file("tar:", &sum, &["byte 512"]);
    let resum = |mut tar: Vec<u8>| {
        tar[header + 148..header + 156].fill(b' ');
        let total: u32 = tar[header..header + 512].iter().map(|&b| u32::from(b)).sum();
        tar[header + 148..header + 156].copy_from_slice(format!("{total:06o}\0 ").as_bytes());
        tar
    };
    let mut letters = good.clone();
    letters[header + 124..header + 135].copy_from_slice(b"zzzzzzzzzzz");
    refuse_file("tar:", &resum(letters), &["byte 512"]);
    let mut huge = good;
    huge[header + 124..header + 136].fill(0x7f);
    huge[header + 124] = 0xff;
    refuse_file("tar:", &resum(huge), &[]);
    let pax = |record: &[u8]| {
        let header = Entry { kind: EntryType::XHeader, ..Entry::file("PaxHeaders/x", 0o644, record) };
        tar_of(&[header, Entry::file("x", 0o644, b"")])
    };
    for record in [&b"99 path=short\n"[..], b"path=no length\n", b"18446744073709551616 a=b\n", b"5 a=b"] {
        refuse_file("tar:", &pax(record), &[]);
    }
}

/// A header alone, that promises more than can be.
fn file_larger_than_memory() {
    let mut tar = tar_of(&[Entry::file("huge", 0o644, b"")]);
    tar[124..136].copy_from_slice(b"77777777777\0");
    tar[148..156].fill(b' ');
    let total: u32 = tar[..512].iter().map(|&b| u32::from(b)).sum();
    tar[148..156].copy_from_slice(format!("{total:06o}\0 ").as_bytes());
    refuse_file("tar:", &tar, &["huge", "4 GiB"]);
}

/// Zeros that unpack to far more than an image may hold, as one endless run of empty entries.
fn bomb() {
    let entry = tar_of(&[Entry::file("e", 0o644, b"")])[..512].to_vec();
    let mut child = Command::new(tool("zstd"))
        .args(["-q", "-c", "-1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("zstd");
    let mut stdin = child.stdin.take().expect("a pipe");
    let block = entry.repeat(2048);
    let writer = std::thread::spawn(move || {
        for _ in 0..1024 {
            if stdin.write_all(&block).is_err() {
                return;
            }
        }
    });
    let output = child.wait_with_output().expect("zstd");
    writer.join().expect("the writer");
    assert!(output.stdout.len() < 2 << 20, "the bomb has {} bytes", output.stdout.len());
    refuse_file("tar:", &output.stdout, &["1000000 entries"]);
}

fn other_architecture() {
    for arch in ["ppc64le", "arm"] {
        let dir = dir();
        let layout = layout(dir.path(), &small_tar(), &["--arch", arch]);
        refuse_layout(&layout, &[arch, "riscv64"]);
    }
    refused(&["--platform", "linux/s390x"], &Image::Busybox.reference(), &["s390x"]);
    refused(&["--platform", "linux/amd64"], &Image::Busybox.reference(), &["riscv64", "amd64"]);
}

/// The configuration says riscv64, the programs are the host's.
fn lying_architecture() {
    let program = fs::read("/bin/true").expect("/bin/true");
    let tar = tar_of(&[Entry::file("bin/sh", 0o755, &program), Entry::file("bin/true", 0o755, &program)]);
    let dir = dir();
    let layout = layout(dir.path(), &tar, &["--arch", "riscv64", "--cmd", "/bin/sh"]);
    refuse_layout(&layout, &["riscv64", "bin/"]);
    let file = dir.path().join("root.tar");
    fs::write(&file, &tar).expect("writing");
    refused(&["--platform", "linux/riscv64"], &format!("tar:{}", file.display()), &["riscv64"]);
}

fn other_system() {
    let dir = dir();
    let layout = layout(dir.path(), &small_tar(), &[]);
    let mut changed = manifest(&layout);
    let config_file = blob_path(&layout, &changed["config"]);
    let mut config: Value =
        serde_json::from_slice(&fs::read(config_file).expect("the configuration")).expect("JSON");
    config["os"] = json!("windows");
    let bytes = config.to_string();
    let digest = format!("{:x}", Sha256::digest(&bytes));
    fs::write(layout.join("blobs/sha256").join(&digest), &bytes).expect("writing");
    changed["config"]["digest"] = json!(format!("sha256:{digest}"));
    changed["config"]["size"] = json!(bytes.len());
    put_manifest(&layout, &changed);
    refuse_layout(&layout, &["windows"]);
}
