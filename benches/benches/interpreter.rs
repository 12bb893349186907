//! The interpreter, natively, on loops that each do one thing. Elements are instructions: elements per second
//! over a million are MIPS. The time of a TLB miss is four times that of an element of `TLB misses`, less
//! that of `TLB hits`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forelift_benches::kernels::{Kernel, run};

const INSTRUCTIONS: u64 = 300_000;

fn interpreter(c: &mut Criterion) {
    let mut group = c.benchmark_group("interpreter");
    group.throughput(Throughput::Elements(INSTRUCTIONS));
    for (name, kernel) in Kernel::ALL {
        let mut machine = kernel.machine();
        run(&mut machine, INSTRUCTIONS);
        kernel.check(&machine);
        group.bench_function(name, |b| b.iter(|| run(&mut machine, INSTRUCTIONS)));
    }
    group.finish();
}

criterion_group!(benches, interpreter);
criterion_main!(benches);
