//! Words to instructions: the decoder alone, on random programs that use all of the table.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forelift_isa::rv64::{
    decode, length,
    random::{Options, Program},
};
use std::hint::black_box;

/// The instructions of a random program, in their order.
fn words() -> Vec<u32> {
    let program = Program::random(&Options { seed: 1, ..Options::default() });
    let image = &program.image;
    let mut words = Vec::new();
    let mut at = (program.entry - program.base) as usize;
    while let Some(bytes) = image.get(at..at + 4) {
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if decode(word).is_some() {
            words.push(word);
        }
        at += length(word as u16);
    }
    words
}

fn decoder(c: &mut Criterion) {
    let words = words();
    assert!(words.len() > 10_000, "only {} instructions", words.len());
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(words.len() as u64));
    group.bench_function("random program", |b| {
        b.iter(|| {
            words
                .iter()
                .filter_map(|word| decode(black_box(*word)))
                .map(|insn| insn.imm)
                .fold(0, i32::wrapping_add)
        });
    });
    group.finish();
}

criterion_group!(benches, decoder);
criterion_main!(benches);
