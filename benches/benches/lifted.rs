//! Lifted code, compiled for this host by cranelift-jit, on the loops of `interpreter`; what lifted code
//! leaves (a TLB miss, a system call) is the runtime's and the interpreter's. Elements are instructions.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forelift_benches::{
    kernels::{Kernel, run},
    lifted::Lifted,
};

const INSTRUCTIONS: u64 = 300_000;

fn lifted(c: &mut Criterion) {
    let mut group = c.benchmark_group("lifted");
    group.throughput(Throughput::Elements(INSTRUCTIONS));
    for (name, kernel) in Kernel::ALL {
        let mut lifted = Lifted::kernel(kernel);
        run(&mut lifted.machine, INSTRUCTIONS);
        kernel.check(&lifted.machine);
        assert!(lifted.share() > 0.0, "{name}: nothing is lifted");
        group.bench_function(name, |b| b.iter(|| run(&mut lifted.machine, INSTRUCTIONS)));
    }
    group.finish();
}

criterion_group!(benches, lifted);
criterion_main!(benches);
