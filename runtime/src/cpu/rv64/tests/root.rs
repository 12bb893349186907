//! The root file system's window: read and executed, never written.

use super::{code, hart, run};
use crate::memory::GuestMemory;
use forelift_abi::layout::{RAM_BASE, ROOT_BASE};
use forelift_isa::rv64::{Fields, Op};

const F: Fields = Fields { rd: 0, rs1: 0, rs2: 0, rs3: 0, rm: 0, imm: 0, aq: false, rl: false };

fn memory() -> GuestMemory {
    let mut root = memmap2::MmapOptions::new().len(8192).map_anon().unwrap();
    let program = code(&[(Op::Addi, Fields { rd: 10, rs1: 10, imm: 5, ..F }), (Op::Ebreak, F)]);
    root[..program.len()].copy_from_slice(&program);
    root[4096..4104].copy_from_slice(&0x1122_3344_5566_7788u64.to_le_bytes());
    GuestMemory::new(1 << 20, Some(root.make_read_only().unwrap())).unwrap()
}

#[test]
fn it_is_executed_where_it_is() {
    let mut mem = memory();
    let mut cpu = hart(&mem);
    for round in 1..=3 {
        assert_eq!(run(&mut cpu, &mut mem, ROOT_BASE), (3, ROOT_BASE + 4));
        assert_eq!(cpu.hart.x[10], 5 * round);
    }
    // Behind its end is nothing.
    assert_eq!(run(&mut cpu, &mut mem, ROOT_BASE + 8192), (1, ROOT_BASE + 8192));
}

#[test]
fn it_is_read_and_not_written() {
    let data = ROOT_BASE + 4096;
    let accesses = [
        (Op::Ld, None),
        (Op::Lbu, None),
        (Op::Fld, None),
        (Op::LrD, None),
        (Op::Sb, Some(7)),
        (Op::Sd, Some(7)),
        (Op::Fsd, Some(7)),
        (Op::ScD, Some(7)),
        (Op::AmoaddW, Some(7)),
    ];
    for (op, fault) in accesses {
        // After a read, which fills the TLB, and before one.
        for read_first in [false, true] {
            let mut mem = memory();
            let mut cpu = hart(&mem);
            let read = if read_first { (Op::Ld, Fields { rd: 12, rs1: 11, ..F }) } else { (Op::Fence, F) };
            let program = code(&[read, (op, Fields { rd: 10, rs1: 11, rs2: 13, ..F }), (Op::Ebreak, F)]);
            assert!(mem.write(RAM_BASE, &program));
            cpu.hart.x[11] = data;
            cpu.hart.x[13] = 0xff;
            cpu.hart.reservation = data;
            let expected = fault.map_or((3, RAM_BASE + 8), |cause| (cause, data));
            assert_eq!(run(&mut cpu, &mut mem, RAM_BASE), expected, "{op:?}");
            assert_eq!(mem.read_array(data).map(u64::from_le_bytes), Some(0x1122_3344_5566_7788), "{op:?}");
        }
    }
    // Across its end, and from RAM's end into nothing.
    for (va, boundary) in
        [(ROOT_BASE + 8188, ROOT_BASE + 8192), (RAM_BASE + (1 << 20) - 4, RAM_BASE + (1 << 20))]
    {
        let mut mem = memory();
        let mut cpu = hart(&mem);
        assert!(mem.write(RAM_BASE, &code(&[(Op::Ld, Fields { rs1: 11, ..F })])));
        cpu.hart.x[11] = va;
        assert_eq!(run(&mut cpu, &mut mem, RAM_BASE), (5, boundary));
    }
}
