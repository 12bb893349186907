//! A container registry on loopback: Debian's docker-registry, filled with an image through its HTTP
//! interface.

use crate::{random::Random, workspace::tool};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A running registry; it ends with the value.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let program = tool("docker-registry");
        let dir = tempfile::tempdir().expect("a temporary directory");
        // The port is free now; should another process take it before the registry does, the registry ends
        // and another is tried.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
            let config = dir.path().join("config.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{free}'}}\n",
                dir.path().join("data").display()
            );
            fs::write(&config, text).expect("writing the registry's configuration");
            let log = fs::File::create(dir.path().join("log")).expect("the registry's log");
            let mut child = Command::new(&program)
                .arg("serve")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("duplicating a descriptor"))
                .stderr(log)
                .spawn()
                .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
            let deadline = Instant::now() + Duration::from_secs(30);
            while Instant::now() < deadline {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    break;
                }
                if TcpStream::connect(free).is_ok() {
                    return Registry { child, port: free.port(), _dir: dir };
                }
                sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        panic!("docker-registry does not start:\n{log}");
    }

    /// Reference of an image in it.
    pub fn reference(&self, name: &str) -> String {
        format!("docker://127.0.0.1:{}/{name}", self.port)
    }

    /// Puts the first image of an OCI layout into it.
    pub fn push(&self, layout: &Path, repository: &str, tag: &str) {
        let index: Value = json(&fs::read(layout.join("index.json")).expect("index.json"));
        let manifest = self.push_blob_file(layout, text(&index["manifests"][0]["digest"]), None);
        let parsed = json(&manifest);
        let layers = parsed["layers"].as_array().expect("layers").iter();
        for blob in layers.chain([&parsed["config"]]) {
            self.push_blob_file(layout, text(&blob["digest"]), Some(repository));
        }
        self.put_manifest(repository, tag, text(&parsed["mediaType"]), &manifest);
    }

    /// Puts a manifest, or an index, under a tag.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, body: &[u8]) {
        let reply = self.request("PUT", &format!("/v2/{repository}/manifests/{tag}"), media_type, body);
        assert!(reply.starts_with("HTTP/1.1 201"), "the registry does not take the manifest: {reply}");
    }

    /// Puts a file of a layout, named by its digest, into a repository; gives its content.
    fn push_blob_file(&self, layout: &Path, digest: &str, repository: Option<&str>) -> Vec<u8> {
        let hex = digest.strip_prefix("sha256:").expect("a sha256 digest");
        let path = layout.join("blobs/sha256").join(hex);
        let body = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let Some(repository) = repository else { return body };
        let reply =
            self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "application/json", b"");
        let location = reply
            .lines()
            .find_map(|l| l.strip_prefix("Location: "))
            .unwrap_or_else(|| panic!("the registry gives no place for the upload: {reply}"));
        let path =
            location.trim().split_once("/v2/").map(|(_, rest)| format!("/v2/{rest}")).expect("a location");
        let separator = if path.contains('?') { '&' } else { '?' };
        let reply = self.request(
            "PUT",
            &format!("{path}{separator}digest={digest}"),
            "application/octet-stream",
            &body,
        );
        assert!(reply.starts_with("HTTP/1.1 201"), "the registry does not take the blob: {reply}");
        body
    }

    fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connecting to the registry");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        sent.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// A repository name that no other test uses.
    pub fn fresh_name(&self) -> String {
        format!("test/n{:x}", Random::new(u64::from(self.port)).next_u64())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("a JSON document")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}
