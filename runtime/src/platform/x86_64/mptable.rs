//! The MP configuration table (Intel MultiProcessor Specification 1.4, chapter 4): how a kernel without ACPI
//! learns of the APICs, and that the virtio devices' interrupts are levels.

use super::ioapic::{ID, PINS};
use forelift_abi::layout::VIRTIO_SLOTS;
use forelift_abi::layout::pc::{IOAPIC_BASE, LAPIC_BASE, VIRTIO_IRQ_BASE};

/// Where the floating pointer structure is: in the last kilobyte of base memory, where it is looked for.
pub const ADDRESS: u64 = 0x9_fc00;
/// Room there in bytes.
pub const ROOM: u64 = 0x400;

const BUS_ISA: u8 = 0;
/// The virtio devices are on no bus that the specification knows: PCI's interrupts behave the same.
const BUS_PCI: u8 = 1;
/// Polarity and trigger mode as usual for the bus; active high and level.
const CONFORMS: u16 = 0;
const LEVEL_HIGH: u16 = 0b1101;
/// Interrupt types.
const INT: u8 = 0;
const NMI: u8 = 1;
const EXTINT: u8 = 3;
/// Every local APIC.
const ALL: u8 = 0xff;

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)).wrapping_neg()
}

/// An entry on an interrupt's way: `kind` 3 to the I/O APIC, 4 to local APICs.
fn interrupt(kind: u8, ty: u8, flags: u16, bus: u8, irq: u8, apic: u8, pin: u8) -> [u8; 8] {
    let [low, high] = flags.to_le_bytes();
    [kind, ty, low, high, bus, irq, apic, pin]
}

/// The floating pointer structure and the table that follows it, for [`ADDRESS`]. `signature` and `features`
/// of the processor are those of `cpuid` leaf 1, EAX and EDX.
pub fn build(signature: u32, features: u32) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count = 0u16;
    let mut add = |entry: &[u8]| {
        entries.extend_from_slice(entry);
        count += 1;
    };
    // The processor: local APIC 0, version 0x14, enabled, the bootstrap processor.
    let mut processor = [0; 20];
    processor[..4].copy_from_slice(&[0, 0, 0x14, 3]);
    processor[4..8].copy_from_slice(&signature.to_le_bytes());
    processor[8..12].copy_from_slice(&features.to_le_bytes());
    add(&processor);
    add(&[1, BUS_ISA, b'I', b'S', b'A', b' ', b' ', b' ']);
    add(&[1, BUS_PCI, b'P', b'C', b'I', b' ', b' ', b' ']);
    let [a, b, c, d] = (IOAPIC_BASE as u32).to_le_bytes();
    add(&[2, ID, 0x20, 1, a, b, c, d]);
    for irq in (0..16).filter(|irq| *irq != 2) {
        // The interval timer is at pin 2; the cascade of the 8259s is nothing to an I/O APIC.
        let pin = if irq == 0 { 2 } else { irq };
        add(&interrupt(3, INT, CONFORMS, BUS_ISA, irq, ID, pin));
    }
    for slot in 0..VIRTIO_SLOTS as u8 {
        let pin = VIRTIO_IRQ_BASE as u8 + slot;
        // Of a PCI bus: the device's number and, in the low bits, its pin INTA.
        add(&interrupt(3, INT, LEVEL_HIGH, BUS_PCI, slot << 2, ID, pin));
    }
    add(&interrupt(4, EXTINT, CONFORMS, BUS_ISA, 0, ALL, 0));
    add(&interrupt(4, NMI, CONFORMS, BUS_ISA, 0, ALL, 1));

    let mut table = Vec::new();
    table.extend_from_slice(b"PCMP");
    table.extend_from_slice(&(44 + entries.len() as u16).to_le_bytes());
    table.extend_from_slice(&[4, 0]);
    table.extend_from_slice(b"FORELIFTMACHINE     ");
    table.extend_from_slice(&[0; 6]);
    table.extend_from_slice(&count.to_le_bytes());
    table.extend_from_slice(&(LAPIC_BASE as u32).to_le_bytes());
    table.extend_from_slice(&[0; 4]);
    table.extend_from_slice(&entries);
    table[7] = checksum(&table);

    let mut pointer = *b"_MP_\0\0\0\0\x01\x04\0\0\0\0\0\0";
    pointer[4..8].copy_from_slice(&(ADDRESS as u32 + 16).to_le_bytes());
    pointer[10] = checksum(&pointer);
    let mut all = pointer.to_vec();
    all.extend_from_slice(&table);
    all
}

const _: () = assert!(16 + 44 + 20 + 8 * (3 + 15 + VIRTIO_SLOTS + 2) <= ROOM as usize);
const _: () = assert!(PINS == VIRTIO_IRQ_BASE as usize + VIRTIO_SLOTS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_lengths_and_entries_agree() {
        let bytes = build(0x306a9, 0x0789_abcd);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b));
        let (pointer, table) = bytes.split_at(16);
        assert_eq!((&pointer[..4], sum(pointer), pointer[9]), (&b"_MP_"[..], 0, 4));
        assert_eq!(u32::from_le_bytes(pointer[4..8].try_into().unwrap()), 0x9_fc10);
        assert_eq!((&table[..4], sum(table)), (&b"PCMP"[..], 0));
        assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
        assert!(bytes.len() as u64 <= ROOM);
        let (mut at, mut kinds, mut pins) = (44, [0; 5], 0u64);
        while at < table.len() {
            let kind = usize::from(table[at]);
            kinds[kind] += 1;
            if kind == 3 {
                let entry = &table[at..at + 8];
                assert_eq!(pins >> entry[7] & 1, 0, "two sources at one pin");
                pins |= 1 << entry[7];
                assert_eq!(entry[2] == 0b1101, entry[7] >= 16, "virtio's are levels");
            }
            at += if kind == 0 { 20 } else { 8 };
        }
        assert_eq!(kinds, [1, 2, 1, 31, 2]);
        assert_eq!(kinds.iter().sum::<u16>(), u16::from_le_bytes([table[34], table[35]]));
        assert_eq!(pins, 0xffff_fffe);
        assert_eq!(u32::from_le_bytes(table[36..40].try_into().unwrap()), 0xfee0_0000);
    }
}
