//! Saving and restoring the machine's state, without RAM, which a start maps instead of reading. What is left
//! is paid at every start.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use forelift_abi::config::Arch;
use forelift_abi::layout::KERNEL_OFFSET;
use forelift_isa::rv64::{Fields, Op, encode};
use forelift_runtime::{
    host::NoHost,
    machine::{BootSource, Machine},
    memory::GuestMemory,
    session::ConsoleLog,
    snapshot::MachineState,
};

const RAM: usize = 128 << 20;

/// The smallest thing that passes for a kernel: a header (*Documentation/arch/riscv/boot-image-header.rst*)
/// and a `wfi`.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 4096];
    image[0..4].copy_from_slice(&encode(Op::Wfi, &Fields::default()).to_le_bytes());
    image[8..16].copy_from_slice(&KERNEL_OFFSET.to_le_bytes());
    image[16..24].copy_from_slice(&4096_u64.to_le_bytes());
    image[0x38..0x3c].copy_from_slice(b"RSC\x05");
    image
}

fn memory() -> GuestMemory {
    GuestMemory::new(RAM, None).expect("128 MiB of memory")
}

fn snapshot(c: &mut Criterion) {
    let kernel = kernel();
    let source = BootSource { arch: Arch::Riscv64, kernel: &kernel, initrd: &[], cmdline: "", rng_seed: &[] };
    let machine = Machine::boot(memory(), source, ConsoleLog::Keep).expect("the machine is made");
    let state = machine.save(&mut NoHost::default());

    let mut group = c.benchmark_group("snapshot");
    group.bench_function("save", |b| b.iter(|| machine.save(&mut NoHost::default())));
    group.bench_function("decode", |b| b.iter(|| MachineState::decode(&state).expect("a good snapshot")));
    group.bench_function("restore", |b| {
        let restore = |memory| {
            Machine::restore(memory, &state, &mut NoHost::default(), ConsoleLog::Keep)
                .expect("a good snapshot")
        };
        b.iter_batched(memory, restore, BatchSize::PerIteration);
    });
    group.finish();
    let again = Machine::restore(memory(), &state, &mut NoHost::default(), ConsoleLog::Keep)
        .expect("a good snapshot");
    assert_eq!(again.save(&mut NoHost::default()), state, "a restored machine saves the same bytes");
}

criterion_group!(benches, snapshot);
criterion_main!(benches);
