//! Inputs for the targets without a fuzzer: bytes of a seed, and good inputs with damage.

use crate::{
    images::{Entry, service_layers, tar_of},
    random::Random,
};
use forelift_abi::config::Arch;
use forelift_runtime::{
    cpu::{CpuState, rv64, x86},
    dev::Devices,
    snapshot::MachineState,
};

/// Good inputs of a target, where its bytes have a form worth starting from.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "layer" => {
            let mut all = service_layers();
            all.push(tar_of(&[Entry::file("a", 0o644, b"content"), Entry::dir("d/", 0o755)]));
            all
        }
        "snapshot" => {
            let Ok(memory) = forelift_runtime::memory::GuestMemory::new(1 << 20, None) else {
                return Vec::new();
            };
            let harts = [
                (Arch::Riscv64, CpuState::Riscv64(Box::new(rv64::Cpu::new(&memory).hart.save()))),
                (Arch::X86_64, CpuState::X86_64(Box::new(x86::Cpu::new(&memory).vcpu.save()))),
            ];
            let state = |(arch, hart)| {
                let devices = Devices::new(arch, 0).ok()?.save();
                let state = MachineState { hart, devices, ticks: 12345, ram_len: 1 << 20, root_len: 0 };
                // The target puts the envelope around it.
                Some(state.encode().split_off(24))
            };
            harts.into_iter().filter_map(state).collect()
        }
        "image_header" => {
            let header = forelift_abi::header::ImageHeader::default().encode();
            vec![header.to_vec(), header[12..].to_vec()]
        }
        "virtqueues" => vec![
            // Bring the console up, describe two chains, offer them, and take the output.
            [
                [0u8, 0, 1, 0, 0, 0, 0, 0],
                [1, 0, 32, 2, 130, 4, 1, 0],
                [1, 0, 33, 2, 131, 4, 2, 0],
                [3, 0, 2, 0, 1, 0, 0, 0],
                [3, 0, 3, 1, 1, 0, 0, 0],
                [5, 0, 0, 64, 0, 0, 0, 0],
                [5, 0, 5, 64, 0, 0, 0, 0],
            ]
            .concat(),
        ],
        // A session that reaches far: files are looked up, opened, written, read, listed, linked, moved,
        // removed.
        "fuse" => vec![include_bytes!("../../fuzz/corpus/fuse/look_up_open_read").to_vec()],
        "frames" => vec![include_bytes!("../../fuzz/corpus/frames/a_large_segment").to_vec()],
        _ => Vec::new(),
    }
}

/// `count` inputs for a target, the same for the same seed: a third of them bytes without form, the rest
/// damaged seeds.
pub fn inputs(target: &str, seed: u64, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let seeds = seeds(target);
    let mut random = Random::new(seed);
    (0..count).map(move |n| {
        if seeds.is_empty() || n % 3 == 0 {
            let len = random.below(600);
            return random.bytes(len);
        }
        let which = random.below(seeds.len());
        damaged(&seeds[which], &mut random)
    })
}

/// A copy with a few bytes changed, a piece doubled or lost, or the end cut off.
fn damaged(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + random.below(6) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let len = (1 + random.below(64)).min(bytes.len() - at);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + len)),
            2 => {
                let piece = bytes[at..at + len].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => bytes[at] = [0, 0x7f, 0x80, 0xff, b'/', b'.'][random.below(6)],
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::TARGETS;

    #[test]
    fn inputs_are_the_same_each_time_and_differ() {
        for (target, _) in TARGETS {
            let one: Vec<_> = inputs(target, 1, 30).collect();
            assert_eq!(one, inputs(target, 1, 30).collect::<Vec<_>>());
            assert_ne!(one, inputs(target, 2, 30).collect::<Vec<_>>());
        }
    }

    /// A seed that is refused at once would teach a fuzzer nothing.
    #[test]
    fn seeds_are_good() {
        let state = seeds("snapshot").remove(0);
        assert!(forelift_runtime::snapshot::MachineState::decode(&crate::fuzz::sealed(&state)).is_ok());
        for layer in seeds("layer") {
            assert!(
                tar::Archive::new(&layer[..]).entries().is_ok_and(|mut entries| entries.all(|e| e.is_ok()))
            );
        }
    }
}
