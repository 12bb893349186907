//! The interpreter, natively, on loops that each do one thing. Elements are instructions: elements per second over a
//! million are MIPS. The time of a TLB miss is that of `pages, missing` over that of `pages, hitting`, times three.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forelift_benches::kernels::{Kernel, run};

const INSTRUCTIONS: u64 = 300_000;

fn interpreter(c: &mut Criterion) {
    let kernels = [
        ("arithmetic", Kernel::Arithmetic),
        ("float", Kernel::Float),
        ("memory", Kernel::Memory),
        ("pages, hitting", Kernel::Pages(256)),
        ("pages, missing", Kernel::Pages(1024)),
        ("jumps between pages", Kernel::Jumps(64)),
        ("calls", Kernel::Calls),
    ];
    let mut group = c.benchmark_group("interpreter");
    group.throughput(Throughput::Elements(INSTRUCTIONS));
    for (name, kernel) in kernels {
        let mut machine = kernel.machine();
        group.bench_function(name, |b| b.iter(|| run(&mut machine, INSTRUCTIONS)));
    }
    group.finish();
}

criterion_group!(benches, interpreter);
criterion_main!(benches);
