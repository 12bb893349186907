//! What training counts.

use super::super::cache::MAX_PAGES;
use super::{Cpu, code, hart, run};
use crate::cpu::Lifting;
use crate::memory::GuestMemory;
use forelift_abi::layout::{PAGE_SIZE, RAM_BASE};
use forelift_abi::lift::Mode;
use forelift_isa::rv64::{Fields, Op};

const TIMES: u32 = 50;

/// A loop that runs [`TIMES`] times.
fn looping(ram_len: usize) -> (GuestMemory, Cpu) {
    let mut mem = GuestMemory::new(ram_len, None).unwrap();
    let mut cpu = hart(&mem);
    let none = Fields::default();
    let program = code(&[
        (Op::Addi, Fields { rd: 5, imm: TIMES as i32, ..none }),
        (Op::Addi, Fields { rd: 5, rs1: 5, imm: -1, ..none }),
        (Op::Bne, Fields { rs1: 5, imm: -4, ..none }),
        (Op::Ebreak, none),
    ]);
    mem.write(RAM_BASE, &program);
    cpu.start_profile(&mut mem);
    run(&mut cpu, &mut mem, RAM_BASE);
    (mem, cpu)
}

#[test]
fn a_loop_is_hot() {
    let (mem, cpu) = looping(1 << 20);
    let pages = cpu.profile(&mem);
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0].counts.iter().step_by(4).take(4).copied().collect::<Vec<_>>(), [1, TIMES, TIMES, 1]);
    assert_eq!((pages[0].bytes.len(), pages[0].mode, pages[0].next), (4096, Mode::Kernel, None));
    // Only the loop's head is arrived at that often, and by the branch alone.
    assert_eq!((cpu.hot(TIMES - 1), cpu.hot(TIMES)), (1, 0));
    assert!(cpu.hot(1) > 1);
    assert_eq!(hart(&mem).hot(0), 0);
}

#[test]
fn counts_of_dropped_code_are_nobody_elses() {
    let (mut mem, mut cpu) = looping(32 << 20);
    let end = code(&[(Op::Ebreak, Fields::default())]);
    for n in 1..=MAX_PAGES as u64 {
        mem.write(RAM_BASE + n * PAGE_SIZE, &end);
        run(&mut cpu, &mut mem, RAM_BASE + n * PAGE_SIZE);
    }
    // There was room for all pages but one, so all were dropped.
    assert_eq!(cpu.hot(2), 0);
    let pages = cpu.profile(&mem);
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0].counts.iter().sum::<u32>(), 1);
}
