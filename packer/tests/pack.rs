//! Images written and read back: the same bytes in memory, the same bytes every time, and no panic on damage.

mod common;

use std::path::Path;

use common::{config, image, ram, root, runtime};
use forelift::pack::{
    Manifest, PackError, Parts, compiled,
    module::Module,
    pack,
    reader::{self, OpenError},
    writer::Options,
};
use forelift_abi::header;

fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.wasm");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn open(bytes: &[u8]) -> Result<reader::PackedImage, OpenError> {
    let (_dir, path) = written(bytes);
    reader::open(&path)
}

#[test]
fn what_went_in_comes_out() {
    let template = runtime("nop");
    let (bytes, summary) = image(&template);
    assert_eq!(summary.size, bytes.len() as u64);
    let opened = open(&bytes).unwrap();
    assert_eq!(opened.config, config());
    assert_eq!(opened.header, summary.header);
    assert_eq!(opened.part(opened.header.state), b"machine state");
    let manifest = opened.manifest.as_ref().unwrap();
    assert_eq!(manifest.snapshot_pages, summary.ram_pages);
    assert_eq!(opened.ram_pages(), summary.ram_pages);
    assert!(opened.stored(opened.header.ram) - manifest.stored.ram < 8 * 4096, "more than filler");
    assert_eq!(manifest.root_bytes, root().len() as u64);
    assert_eq!(opened.module.memory(opened.wasm(), 2048, 22), b"the runtime's own data");

    let native = opened.native_memory().unwrap();
    assert_eq!(native.state.as_deref(), Some(&b"machine state"[..]));
    assert!(native.memory.ram() == ram());
    let mut expected = root();
    expected.resize(expected.len().next_multiple_of(2 << 20), 0);
    assert_eq!(native.memory.root_len(), expected.len());
    let got = native.memory.slice(forelift_abi::layout::ROOT_BASE, expected.len()).unwrap();
    assert!(got == expected);
}

#[test]
fn zeros_are_left_out_and_pages_can_be_mapped() {
    let (bytes, summary) = image(&runtime("nop"));
    assert!(bytes.len() < (6 << 20), "{} bytes for 11 MiB of mostly zeros", bytes.len());
    let opened = open(&bytes).unwrap();
    let parts = [summary.header.ram, summary.header.root];
    let mut large = 0;
    for s in
        opened.module.segments.iter().filter(|s| parts.iter().any(|p| s.addr >= p.addr && s.addr < p.end()))
    {
        assert_eq!(s.addr % 4096, s.offset as u64 % 4096, "segment at {:#x}", s.addr);
        large += 1;
    }
    assert!(large >= 5, "{large} segments");
}

#[test]
fn any_engine_takes_it() {
    let (bytes, _) = image(&runtime("nop"));
    wasmparser::Validator::new().validate_all(&bytes).unwrap();
}

#[test]
fn same_input_same_bytes() {
    let template = runtime("nop");
    assert!(image(&template).0 == image(&template).0);
}

#[test]
fn kernel_and_initrd_without_a_snapshot() {
    let (kernel, initrd) = (vec![7u8; 300_000], vec![9u8; 5000]);
    let config = postcard::to_allocvec(&config()).unwrap();
    let parts =
        Parts { config: &config, kernel: &kernel, initrd: &initrd, ram_len: 32 << 20, ..Parts::default() };
    let mut out = Vec::new();
    let summary =
        pack(&runtime("nop"), &parts, Manifest::default(), Options::default(), &mut out, |_, _| {}).unwrap();
    assert_eq!(summary.stored.ram, 0);
    let native = open(&out).unwrap().native_memory().unwrap();
    assert_eq!((native.state, &native.kernel, &native.initrd), (None, &kernel, &initrd));
    assert!(native.memory.ram().iter().all(|&b| b == 0));
}

#[test]
fn truncated_anywhere_is_an_error() {
    let (bytes, _) = image(&runtime("nop"));
    let data = Module::parse(&bytes).unwrap().segments[0].offset;
    let mut cuts: Vec<usize> = (0..data + 300).collect();
    cuts.extend((data..bytes.len()).step_by(65_521));
    cuts.extend(bytes.len() - 20..bytes.len());
    for cut in cuts {
        // Between two sections it is a module, but no image.
        assert!(Module::parse(&bytes[..cut]).is_err() || open(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let text = open(&bytes[..bytes.len() - 1]).err().unwrap().to_string();
    assert!(text.contains("image.wasm") && text.contains("offset"), "{text}");
}

#[test]
fn damage_never_panics() {
    let (bytes, _) = image(&runtime("nop"));
    let module = Module::parse(&bytes).unwrap();
    let (_dir, path) = written(&bytes);
    let end = module.segments[3].offset + 20;
    let mut refused = 0;
    let mut bad = bytes;
    for at in 0..end {
        bad[at] ^= 0xff;
        std::fs::write(&path, &bad[..bad.len().min(end + 60_000)]).unwrap();
        assert!(reader::open(&path).is_err(), "short file, byte {at}");
        if at % 5 == 0 {
            std::fs::write(&path, &bad).unwrap();
            refused += u32::from(reader::open(&path).is_err());
        }
        bad[at] ^= 0xff;
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn a_damaged_header_is_named() {
    let (mut bytes, _) = image(&runtime("nop"));
    let block = Module::parse(&bytes).unwrap().segments.iter().find(|s| s.addr == 1024).unwrap().offset;
    assert_eq!(bytes[block..block + 8], header::MAGIC);
    bytes[block + 20] ^= 1;
    assert!(open(&bytes).err().unwrap().to_string().contains("checksum"));
    bytes[block + 8] = 99;
    assert!(open(&bytes).err().unwrap().to_string().contains("version 99"));
    bytes[block] = b'X';
    assert!(open(&bytes).err().unwrap().to_string().contains("magic"));
}

#[test]
fn other_files_are_refused_in_words() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"#!/bin/sh\n", "a script"),
        (b"\0asm\x0d\0\x01\0", "a WebAssembly component"),
        (&wat::parse_str("(module (memory 1))").unwrap(), "no Forelift image"),
        (&runtime("nop"), "holds no image"),
    ] {
        let text = open(bytes).err().unwrap().to_string();
        assert!(text.contains(word), "{text}");
    }
    assert!(matches!(reader::open(Path::new("/no/such")), Err(OpenError::Missing { .. })));
    assert!(matches!(reader::open(Path::new("/dev/null")), Err(OpenError::Foreign { .. })));
}

#[test]
fn a_runtime_that_is_none_is_refused() {
    let config = postcard::to_allocvec(&config()).unwrap();
    let parts = Parts { config: &config, ram_len: 1 << 20, ..Parts::default() };
    let refuse = |runtime: &[u8], parts: &Parts<'_>| {
        pack(runtime, parts, Manifest::default(), Options::default(), &mut Vec::new(), |_, _| {}).unwrap_err()
    };
    let plain = wat::parse_str("(module (memory 1))").unwrap();
    assert!(matches!(refuse(&plain, &parts), PackError::NoHeader));
    assert!(matches!(refuse(b"junk", &parts), PackError::Runtime(_)));
    let good = runtime("nop");
    assert!(matches!(refuse(&good, &Parts { ram_len: 4095, ..parts }), PackError::Part(_)));
    assert!(matches!(refuse(&good, &Parts { ram: b"x", ..parts }), PackError::Part(_)));
    assert!(matches!(refuse(&good, &Parts { ram_len: 4 << 30, ..parts }), PackError::TooLarge { .. }));
    let text = refuse(&good, &Parts { ram_len: (4 << 30) - (32 << 20), ..parts }).to_string();
    assert!(text.contains("4064 MiB") && text.contains("lower --memory"), "{text}");
}

#[test]
fn a_full_disk_is_an_error() {
    let config = postcard::to_allocvec(&config()).unwrap();
    let root = root();
    let parts = Parts { config: &config, ram_len: 1 << 20, root: &root, ..Parts::default() };
    let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let e = pack(&runtime("nop"), &parts, Manifest::default(), Options::default(), &mut full, |_, _| {});
    assert!(matches!(e, Err(PackError::Io(_))));
}

#[test]
fn precompiled_images_are_read_too() {
    let (bytes, _) = image(&runtime("nop"));
    let mut file = Vec::new();
    compiled::write(b"native", &bytes, &mut file).unwrap();
    let opened = open(&file).unwrap();
    assert_eq!(opened.code().unwrap(), Some(&b"native"[..]));
    assert!(opened.native_memory().unwrap().memory.ram() == ram());
    file[4096] ^= 1;
    assert!(open(&file).unwrap().code().is_err());
    file.truncate(file.len() - 1);
    assert!(matches!(open(&file), Err(OpenError::Compiled { .. })));
}
