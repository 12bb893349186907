//! What `cpuid` reports: an Intel processor of x86-64-v2 and a little more. All that is reported is
//! implemented.

use super::mmu::PHYSICAL_BITS;

/// Frequency of the crystal that the time-stamp counter is derived from, in Hz (leaf 0x15).
const CRYSTAL_HZ: u32 = 25_000_000;
/// Time-stamp counter ticks per crystal tick: the counter runs at 1 GHz.
const TSC_PER_CRYSTAL: u32 = 40;

/// Leaf 1, EDX.
const FEATURES_1_EDX: u32 = bits(&[
    0,  // FPU
    2,  // DE
    3,  // PSE
    4,  // TSC
    5,  // MSR
    6,  // PAE
    8,  // CX8
    9,  // APIC
    11, // SEP
    13, // PGE
    15, // CMOV
    16, // PAT
    17, // PSE36
    19, // CLFSH
    23, // MMX
    24, // FXSR
    25, // SSE
    26, // SSE2
]);
/// Leaf 1, ECX.
const FEATURES_1_ECX: u32 = bits(&[
    0,  // SSE3
    1,  // PCLMULQDQ
    9,  // SSSE3
    13, // CMPXCHG16B
    19, // SSE4.1
    20, // SSE4.2
    22, // MOVBE
    23, // POPCNT
    24, // TSC deadline
    25, // AES
    31, // hypervisor
]);
/// Leaf 7, EBX.
const FEATURES_7_EBX: u32 = bits(&[
    3,  // BMI1
    8,  // BMI2
    9,  // ERMS: rep movsb is the fastest copy here
    13, // the FPU keeps no selectors
    29, // SHA
]);
/// Leaf 7, EDX.
const FEATURES_7_EDX: u32 = bits(&[
    4, // FSRM
]);
/// Leaf 0x80000001, ECX.
const FEATURES_E1_ECX: u32 = bits(&[
    0, // LAHF in 64-bit mode
    5, // LZCNT
    8, // PREFETCHW
]);
/// Leaf 0x80000001, EDX.
const FEATURES_E1_EDX: u32 = bits(&[
    11, // SYSCALL
    20, // NX
    26, // pages of 1 GiB
    27, // RDTSCP
    29, // long mode
]);
/// Family 6, model 44 (Westmere, the first with AES), stepping 1.
const SIGNATURE: u32 = 0x0002_06c1;
const BRAND: &[u8; 48] = b"Forelift x86-64-v2 processor @ 1.00GHz\0\0\0\0\0\0\0\0\0\0";

const fn bits(numbers: &[u32]) -> u32 {
    let (mut n, mut all) = (0, 0);
    while n < numbers.len() {
        all |= 1 << numbers[n];
        n += 1;
    }
    all
}

fn word(text: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    for (to, from) in bytes.iter_mut().zip(text.iter().skip(at)) {
        *to = *from;
    }
    u32::from_le_bytes(bytes)
}

/// EAX, EBX, ECX and EDX of a leaf (SDM vol. 2, CPUID).
pub fn leaf(leaf: u32, subleaf: u32) -> [u32; 4] {
    /// Deterministic cache parameters: level and type, line, ways, sets.
    fn cache(kind: u32, level: u32, ways: u32, sets: u32) -> [u32; 4] {
        [kind | level << 5 | 1 << 8, (ways - 1) << 22 | 63, sets - 1, 0]
    }
    match leaf {
        0 => [0x16, word(b"Genu", 0), word(b"ntel", 0), word(b"ineI", 0)],
        // CLFLUSH's line is 8 times 8 bytes; one logical processor.
        1 => [SIGNATURE, 8 << 8 | 1 << 16, FEATURES_1_ECX, FEATURES_1_EDX],
        // 0xff: caches are described by leaf 4.
        2 => [0x00fe_ff01, 0, 0, 0],
        4 => match subleaf {
            0 => cache(1, 1, 8, 64),
            1 => cache(2, 1, 8, 64),
            2 => cache(3, 2, 8, 512),
            3 => cache(3, 3, 16, 8192),
            _ => [0; 4],
        },
        // The local APIC's timer runs always.
        6 => [4, 0, 0, 0],
        7 if subleaf == 0 => [0, FEATURES_7_EBX, 0, FEATURES_7_EDX],
        0x15 => [1, TSC_PER_CRYSTAL, CRYSTAL_HZ, 0],
        0x16 => [1000, 1000, 100, 0],
        0x4000_0000 => [leaf, word(b"Fore", 0), word(b"lift", 0), word(b"Fore", 0)],
        0x8000_0000 => [0x8000_0008, 0, 0, 0],
        0x8000_0001 => [0, 0, FEATURES_E1_ECX, FEATURES_E1_EDX],
        0x8000_0002..=0x8000_0004 => {
            let at = (leaf - 0x8000_0002) as usize * 16;
            [0, 4, 8, 12].map(|n| word(BRAND, at + n))
        }
        // L2: 256 KiB, 8 ways, lines of 64 bytes.
        0x8000_0006 => [0, 0, 256 << 16 | 6 << 12 | 64, 0],
        // The time-stamp counter is invariant.
        0x8000_0007 => [0, 0, 0, 1 << 8],
        0x8000_0008 => [PHYSICAL_BITS | 48 << 8, 0, 0, 0],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_brand_and_frequency() {
        let [_, b, c, d] = leaf(0, 0);
        let vendor: Vec<u8> = [b, d, c].iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(vendor, b"GenuineIntel");
        let brand: Vec<u8> =
            (0x8000_0002..=0x8000_0004).flat_map(|n| leaf(n, 0)).flat_map(u32::to_le_bytes).collect();
        assert_eq!(brand, BRAND);
        assert_eq!(u64::from(CRYSTAL_HZ) * u64::from(TSC_PER_CRYSTAL), 1_000_000_000);
        assert_eq!(leaf(0x4000_0001, 0), [0; 4]);
    }
}
