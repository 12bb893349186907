//! Pulling from a registry: Debian's `docker-registry` on the loopback interface.

use forelift::image::{ImageError, LoadOptions, LoadedImage, load};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `testuser:testpassword`.
const BASIC: &str = "dGVzdHVzZXI6dGVzdHBhc3N3b3Jk";
/// Its htpasswd line (bcrypt, which is all that the registry takes).
const HTPASSWD: &str = "testuser:$2y$05$NwcsOVyS9S2vhMmLbxamI.2ZZaQY.1KUuG.LSnRk/TD62RuWx9E6C";

fn hex(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|b| format!("{b:02x}")).collect()
}

/// A registry with its storage; both end with the test.
struct Registry {
    dir: tempfile::TempDir,
    address: String,
    child: Child,
    auth: bool,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start(auth: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let passwords = dir.path().join("htpasswd");
        fs::write(&passwords, HTPASSWD).unwrap();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
            dir.path().join("storage").display()
        );
        if auth {
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", passwords.display());
        }
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry cannot be run: install it with `scripts/setup test`");
        let registry = Registry { dir, address, child, auth };
        let start = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "docker-registry does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }

    /// An HTTP request; gives status and head of the answer.
    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let auth = if self.auth { format!("Authorization: Basic {BASIC}\r\n") } else { String::new() };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{auth}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
    }

    fn push_blob(&self, kind: &str, data: &[u8]) -> serde_json::Value {
        let (status, answer) = self.request("POST", "/v2/team/app/blobs/uploads/", kind, b"");
        assert_eq!(status, 202, "{answer}");
        let location = answer.lines().find_map(|l| l.strip_prefix("Location: ")).unwrap().trim();
        let path = &location[location.find("/v2/").unwrap()..];
        let digest = format!("sha256:{}", hex(data));
        let separator = if path.contains('?') { '&' } else { '?' };
        let (status, answer) = self.request(
            "PUT",
            &format!("{path}{separator}digest={digest}"),
            "application/octet-stream",
            data,
        );
        assert_eq!(status, 201, "{answer}");
        serde_json::json!({ "mediaType": kind, "digest": digest, "size": data.len() })
    }

    fn push_manifest(&self, tag: &str, kind: &str, document: &serde_json::Value) -> serde_json::Value {
        let body = document.to_string();
        let (status, answer) =
            self.request("PUT", &format!("/v2/team/app/manifests/{tag}"), kind, body.as_bytes());
        assert_eq!(status, 201, "{answer}");
        serde_json::json!({ "mediaType": kind, "digest": format!("sha256:{}", hex(body.as_bytes())), "size": body.len() })
    }

    /// Pushes an image of one layer that holds `/t`.
    fn push_image(&self, tag: &str, arch: &str, text: &[u8]) -> serde_json::Value {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, "t", text).unwrap();
        let tar = builder.into_inner().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&tar).unwrap();
        let layer = self.push_blob("application/vnd.oci.image.layer.v1.tar+gzip", &encoder.finish().unwrap());
        let config = serde_json::json!({
            "architecture": arch, "os": "linux", "config": {"Cmd": ["/t"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&tar))]},
        });
        let config =
            self.push_blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let mut descriptor = self.push_manifest(tag, MANIFEST, &manifest);
        descriptor["platform"] = serde_json::json!({"os": "linux", "architecture": arch});
        descriptor
    }

    fn pull(&self, reference: &str, options: &LoadOptions) -> Result<LoadedImage, ImageError> {
        load(&format!("docker://{}/team/app{reference}", self.address), options, &mut ())
    }

    /// The registry's file of a blob.
    fn stored(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.dir.path().join(format!("storage/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

/// Options that do not look at the credentials of whoever runs the test.
fn options(dir: &tempfile::TempDir) -> LoadOptions {
    LoadOptions { docker_config: Some(dir.path().to_path_buf()), ..LoadOptions::default() }
}

fn text(image: &LoadedImage) -> Vec<u8> {
    let id = image.tree.lookup(b"/t").unwrap();
    let forelift::image::Kind::File { size, .. } = image.tree.inode(id).kind else { panic!() };
    let mut data = vec![0; size as usize];
    image.tree.read_at(id, 0, &mut data).unwrap();
    data
}

#[test]
fn pull_by_tag_digest_and_platform() {
    let registry = Registry::start(false);
    let none = tempfile::tempdir().unwrap();
    // Incompressible, and longer than one read.
    let long: Vec<u8> = (0..400_000u32).flat_map(|i| Sha256::digest(i.to_le_bytes())[..4].to_vec()).collect();
    let riscv = registry.push_image("plain", "riscv64", &long);
    let amd = registry.push_image("amd", "amd64", b"amd64");
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [amd, riscv]});
    registry.push_manifest("latest", INDEX, &index);

    let image = registry.pull(":plain", &options(&none)).unwrap();
    assert!(text(&image) == long);
    assert_eq!((image.config.cmd, image.arch.as_deref()), (vec!["/t".to_owned()], Some("riscv64")));
    assert!(text(&registry.pull("", &options(&none)).unwrap()) == long);
    let amd64 = LoadOptions { arch: Some("amd64".into()), ..options(&none) };
    assert_eq!(text(&registry.pull(":latest", &amd64).unwrap()), b"amd64");
    let by_digest = format!("@{}", amd["digest"].as_str().unwrap());
    assert_eq!(text(&registry.pull(&by_digest, &options(&none)).unwrap()), b"amd64");

    let s390x = LoadOptions { arch: Some("s390x".into()), ..options(&none) };
    let error = registry.pull("", &s390x).unwrap_err().to_string();
    assert!(error.contains("linux/amd64, linux/riscv64"), "{error}");
    let error = registry.pull(":missing", &options(&none)).unwrap_err().to_string();
    assert!(error.contains("check the name and the tag"), "{error}");
}

#[test]
fn credentials_of_docker() {
    let registry = Registry::start(true);
    registry.push_image("v1", "riscv64", b"secret");
    let dir = tempfile::tempdir().unwrap();
    let error = registry.pull(":v1", &options(&dir)).unwrap_err().to_string();
    assert!(error.contains("docker login"), "{error}");
    let config = |auth: &str| {
        let config = serde_json::json!({"auths": {registry.address.clone(): {"auth": auth}}});
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    };
    config("dGVzdHVzZXI6d3Jvbmc=");
    let error = registry.pull(":v1", &options(&dir)).unwrap_err().to_string();
    assert!(error.contains("docker login"), "{error}");
    config(BASIC);
    assert_eq!(text(&registry.pull(":v1", &options(&dir)).unwrap()), b"secret");
    fs::write(dir.path().join("config.json"), "{").unwrap();
    let error = registry.pull(":v1", &options(&dir)).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}

#[test]
fn damaged_content_is_noticed() {
    let registry = Registry::start(false);
    let none = tempfile::tempdir().unwrap();
    let descriptor = registry.push_image("v1", "riscv64", b"content");
    registry.pull(":v1", &options(&none)).unwrap();
    let manifest = registry.stored(descriptor["digest"].as_str().unwrap());
    let document: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let layer = registry.stored(document["layers"][0]["digest"].as_str().unwrap());
    let good = fs::read(&layer).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    fs::write(&layer, &bad).unwrap();
    let error = registry.pull(":v1", &options(&none)).unwrap_err().to_string();
    assert!(error.contains("digest is") && error.contains("layer 1/1"), "{error}");
    fs::write(&layer, &good[..last]).unwrap();
    let error = registry.pull(":v1", &options(&none)).unwrap_err().to_string();
    assert!(error.contains("sha256:"), "{error}");
    fs::remove_file(&layer).unwrap();
    let error = registry.pull(":v1", &options(&none)).unwrap_err().to_string();
    assert!(error.contains("sha256:"), "{error}");
}

#[test]
fn a_registry_that_is_not_there() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let none = tempfile::tempdir().unwrap();
    let error = load(&format!("docker://{address}/a"), &options(&none), &mut ()).unwrap_err().to_string();
    assert!(error.contains("after 5 attempts") && error.contains("network"), "{error}");
    let error = load("Not A Reference", &options(&none), &mut ()).unwrap_err().to_string();
    assert!(error.contains("not a registry reference"), "{error}");
}

/// Serves a blob in pieces: each connection breaks after some bytes; a request for the rest gets the rest.
#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    let text_wanted = vec![b'x'; 200_000];
    header.set_size(text_wanted.len() as u64);
    builder.append_data(&mut header, "t", &text_wanted[..]).unwrap();
    let layer = builder.into_inner().unwrap();
    let digest = format!("sha256:{}", hex(&layer));
    let config =
        serde_json::json!({"architecture": "riscv64", "os": "linux", "rootfs": {"diff_ids": [digest]}})
            .to_string();
    let config_digest = format!("sha256:{}", hex(config.as_bytes()));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": layer.len()}],
    })
    .to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut breaks = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
                // A TLS greeting: this server has none.
                if head.len() > 4 && head[0] == 0x16 {
                    break;
                }
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let body: &[u8] = if head.contains("/manifests/") {
                manifest.as_bytes()
            } else if head.contains(&config_digest) {
                config.as_bytes()
            } else if head.contains(&digest) {
                &layer
            } else if head.contains("get /v2/ ") {
                b"{}"
            } else {
                continue;
            };
            let range =
                head.lines().find_map(|l| l.strip_prefix("range: bytes=")?.split('-').next()?.parse().ok());
            let from: usize = range.unwrap_or(0);
            let rest = &body[from..];
            let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                rest.len()
            );
            let cut = if body.len() > 100_000 { rest.len().min(90_000) } else { rest.len() };
            breaks += usize::from(cut < rest.len());
            let _ = stream.write_all(&rest[..cut]);
            if body.len() > 100_000 && cut == rest.len() {
                return breaks;
            }
        }
        0
    });
    let none = tempfile::tempdir().unwrap();
    let image = load(&format!("docker://{address}/a"), &options(&none), &mut ()).unwrap();
    assert!(text(&image) == text_wanted);
    assert_eq!(server.join().unwrap(), 2);
}
