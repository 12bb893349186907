//! Small stand-ins for the emulator, and images made of them.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};

use forelift::pack::{Manifest, Parts, Summary, pack, writer::Options};
use forelift_abi::config::{Arch, ContainerConfig, ImageConfig};

/// Imports, memory and helpers of every stand-in. `$write` sends bytes to stdout and gives the error number;
/// `$word` reads a word of the image's header.
const PRELUDE: &str = r#"
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 2048) "the runtime's own data")
  (global (export "forelift_image_header") i32 (i32.const 1024))
  (func $write (param $fd i32) (param $at i32) (param $len i32) (result i32)
    (local $e i32)
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $len)))
        (i32.store (i32.const 16) (local.get $at))
        (i32.store (i32.const 20) (local.get $len))
        (local.set $e (call $fd_write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24)))
        (br_if $more (i32.eq (local.get $e) (i32.const 6)))
        (br_if $done (local.get $e))
        (local.set $at (i32.add (local.get $at) (i32.load (i32.const 24))))
        (local.set $len (i32.sub (local.get $len) (i32.load (i32.const 24))))
        (br $more)))
    (local.get $e))
  (func $read (param $fd i32) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $len))
    (i32.store (i32.const 24) (i32.const 0))
    (call $fd_read (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24)))
  (func $wait (param $fd i32)
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 48))
    (i32.store8 (i32.const 136) (i32.const 1))
    (i32.store (i32.const 144) (local.get $fd))
    (if (call $poll (i32.const 128) (i32.const 192) (i32.const 1) (i32.const 24)) (then (unreachable))))
  (func $word (param $part i32) (result i32)
    (i32.load (i32.add (i32.const 1040) (i32.mul (local.get $part) (i32.const 16)))))
"#;

/// A module with the prelude and this `_start`.
pub(crate) fn runtime(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {PRELUDE} (func (export \"_start\") {body}))")).expect("test module")
}

/// A configuration.
pub(crate) fn config() -> ImageConfig {
    ImageConfig {
        arch: Arch::Riscv64,
        name: "test:latest".into(),
        container: ContainerConfig { cmd: vec!["/bin/true".into()], ..ContainerConfig::default() },
        hostname: "host".into(),
        cmdline: "quiet".into(),
    }
}

/// A root file system stand-in: pages of zeros between pages that tell where they are.
pub(crate) fn root() -> Vec<u8> {
    let mut root = vec![0u8; 3 << 20];
    for (i, page) in root.chunks_mut(4096).enumerate() {
        if i % 100 < 60 {
            for (j, word) in page.chunks_mut(4).enumerate() {
                word.copy_from_slice(&((i * 1024 + j) as u32 | 1 << 31).to_le_bytes());
            }
        }
    }
    root
}

/// Guest RAM with a few pages in it.
pub(crate) fn ram() -> Vec<u8> {
    let mut ram = vec![0u8; 8 << 20];
    for page in (5..300).chain([700, 702, 2047]) {
        ram[page * 4096..][..4096].fill(page as u8 | 1);
    }
    ram
}

/// Packs a stand-in together with [`ram`] and [`root`].
pub(crate) fn image(runtime: &[u8]) -> (Vec<u8>, Summary) {
    let config = postcard::to_allocvec(&config()).unwrap();
    let (ram, root) = (ram(), root());
    let parts = Parts {
        config: &config,
        state: b"machine state",
        ram_len: ram.len() as u64,
        ram: &ram,
        root: &root,
        ..Parts::default()
    };
    let mut out = Vec::new();
    let summary =
        pack(runtime, &parts, Manifest::default(), Options::default(), &mut out, |_, _| {}).unwrap();
    (out, summary)
}

/// Writes an image of this `_start` to `dir`.
pub(crate) fn write_image(dir: &Path, name: &str, body: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, image(&runtime(body)).0).unwrap();
    path
}
