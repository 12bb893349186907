//! From a root file system archive to an EROFS image: reading the archive, planning the image, writing it.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use forelift::{
    erofs::{Options, Volume},
    image::{LoadOptions, load},
};
use std::{fs::File, io, path::Path};

const DIRECTORIES: u32 = 100;
const FILES: u32 = 50;

/// An archive of 5000 files in 100 directories, up to 30 KB each, as in a distribution's root file system.
fn archive(path: &Path) {
    let mut tar = tar::Builder::new(File::create(path).expect("the archive is made"));
    let mut header = tar::Header::new_gnu();
    let content: Vec<u8> = (0..30_000_u32).map(|n| ((n * n) >> 7) as u8).collect();
    for directory in 0..DIRECTORIES {
        for file in 0..FILES {
            let size = (directory * 7919 + file * 104_729) % 30_000;
            header.set_size(u64::from(size));
            header.set_mode(0o644);
            header.set_mtime(u64::from(1_700_000_000 + file));
            let name = format!("usr/share/package-{directory}/file-with-a-name-{file}.txt");
            tar.append_data(&mut header, name, &content[..size as usize]).expect("the archive is written");
        }
    }
    tar.finish().expect("the archive is written");
}

fn rootfs(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("rootfs.tar");
    archive(&path);
    let reference = format!("tar:{}", path.display());
    let options = LoadOptions { arch: Some("riscv64".into()), ..LoadOptions::default() };
    let image = load(&reference, &options, &mut ()).expect("the archive is read");
    assert!(image.tree.live_inodes() >= (DIRECTORIES * FILES) as usize);

    let mut group = c.benchmark_group("rootfs");
    group.throughput(Throughput::Bytes(path.metadata().expect("the archive").len()));
    group.sample_size(20);
    group.bench_function("load", |b| {
        b.iter_batched(
            || (),
            |()| load(&reference, &options, &mut ()).expect("the archive is read"),
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(image.tree.live_inodes() as u64));
    let volume =
        || Volume::new(&image.tree, &Options { seed: image.digest.clone() }).expect("the image is planned");
    group.bench_function("plan", |b| b.iter(volume));
    let volume = volume();
    group.throughput(Throughput::Bytes(volume.size()));
    group.bench_function("write", |b| {
        b.iter(|| volume.write_to(&mut io::sink(), &mut ()).expect("the image is written"));
    });
    group.finish();
}

criterion_group!(benches, rootfs);
criterion_main!(benches);
