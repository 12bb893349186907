//! Programs for the tests of this module.

use cranelift_codegen::ir;
use forelift_abi::{
    lift::{Layout, Mode, VERSION, rv64::State},
    profile::Page,
};
use forelift_translator::{
    isa::rv64::Rv64,
    lift::{self, Options},
    opt,
    program::Program,
    region::Region,
};

use super::{Code, cached::Made, name_of};

/// A layout with an address for everything, as in WebAssembly.
pub(crate) const LAYOUT: Layout = Layout {
    version: VERSION as u64,
    machine: 243,
    cpu: 0x1000,
    pc: 0x1200,
    left: 0x1208,
    itlb: 0x2000,
    itlb_entries: 256,
    itlb_entry_size: 32,
    itlb_tag: 0,
    itlb_content: 8,
    itlb_lifted: 16,
    dtlb_user: 0x40_0000,
    dtlb_kernel: 0x1220,
    dtlb_entries: 1 << 15,
    ram: 0x10_0000,
    ram_len: 64 << 20,
    ram_base: 0x8000_0000,
    pass_cpu: 0,
    pointer: 4,
    state: State {
        x: 0x1000,
        f: 0x1100,
        fflags: 0x1210,
        fs: 0x1212,
        reservation: 0x1218,
        sscratch: 0x1230,
        sepc: 0x1238,
        scause: 0x1240,
        stval: 0x1248,
        sie_enabled: 0x1250,
    }
    .to_words(),
};

/// The program of pages.
pub(crate) fn program(pages: Vec<Page>) -> Program {
    Program::new(&Rv64, pages)
}

fn i(imm: i32, rs1: u32, f3: u32, rd: u32, opcode: u32) -> u32 {
    (imm as u32) << 20 | rs1 << 15 | f3 << 12 | rd << 7 | opcode
}

/// `bne rs1, x0` by `delta` bytes.
fn bnez(rs1: u32, delta: i32) -> u32 {
    let d = delta as u32;
    (d >> 12 & 1) << 31
        | (d >> 5 & 63) << 25
        | rs1 << 15
        | 1 << 12
        | (d >> 1 & 15) << 8
        | (d >> 11 & 1) << 7
        | 0x63
}

/// `jal rd` by `delta` bytes.
fn jal(rd: u32, delta: i32) -> u32 {
    let d = delta as u32;
    (d >> 20 & 1) << 31 | (d >> 1 & 1023) << 21 | (d >> 11 & 1) << 20 | (d >> 12 & 255) << 12 | rd << 7 | 0x6f
}

/// Instructions of a function.
const FUNCTION: usize = 16;

/// `count` pages side by side in U mode, full of hot functions with loops, loads, stores and calls of the one
/// before and of the one after it; every `seed` is another program.
pub(crate) fn pages(count: usize, seed: i32) -> Vec<Page> {
    let functions = count * 1024 / FUNCTION;
    let (a0, a1, ra) = (10, 11, 1);
    let mut code: Vec<u32> = Vec::new();
    for n in 0..functions {
        let here = n as i32 + seed * 1000;
        // The functions before and after, or itself.
        let step = 4 * FUNCTION as i32;
        let (before, after) = (if n == 0 { 0 } else { -step }, if n + 1 < functions { step } else { 0 });
        code.extend([
            i(here & 0x7ff, a0, 0, a0, 0x13), // addi a0, a0, n
            i(8, a0, 3, a1, 0x03),            // ld a1, 8(a0)
            i(here & 31, a1, 1, a1, 0x13),    // slli a1, a1, n
            i(1, a1, 0, a1, 0x13),            // addi a1, a1, 1
            i(-1, a0, 0, a0, 0x13),           // loop: addi a0, a0, -1
            i(3, a1, 4, a1, 0x13),            // xori a1, a1, 3
            bnez(a1, 8),                      // over the next
            if n % 2 == 0 { jal(ra, before - 28) } else { i(16, a1, 3, a1, 0x03) },
            bnez(a0, -16), // to the loop
            i(0, a0, 0, a0, 0x13),
            0x00b5_3023, // sd a1, 0(a0)
            bnez(a1, if n % 3 == 0 { after - 44 } else { 8 }),
            i(2, a1, 0, a1, 0x13), // addi a1, a1, 2
            if n % 4 == 0 { jal(0, after - 52) } else { i(0, 0, 0, 0, 0x13) },
            i(0, a0, 0, a0, 0x13), // mv a0, a0
            0x0000_8067,           // ret
        ]);
    }
    let page = |(number, words): (usize, &[u32])| {
        let mut indirect = vec![0; 4096];
        let starts = (0..4096).step_by(4 * FUNCTION).enumerate();
        starts.filter(|(n, _)| n % 3 != 1).for_each(|(_, offset)| indirect[offset] = 1);
        // Hotter and hotter.
        let counts = (0..4096u32).map(|at| match at % 4 {
            0 => 100 + number as u32 * 10_000 + at / 2,
            _ => 0,
        });
        Page {
            bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            mode: Mode::User,
            va: 0x10_0000 + number as u64 * 4096,
            next: (number + 1 < count).then_some(number + 1),
            counts: counts.collect(),
            indirect,
            links: Vec::new(),
        }
    };
    code.chunks(1024).enumerate().map(page).collect()
}

/// Lifts a region without any cache.
pub(crate) fn lift(program: &Program, region: &Region) -> Made {
    let isa = opt::host_isa(true).unwrap();
    let options = Options { layout: LAYOUT, call_conv: opt::call_conv(&isa) };
    let made = region.functions.iter().map(|function| {
        let mut clif = ir::Function::new();
        let callees = lift::lift(&Rv64, program, function, &options, &mut clif);
        opt::optimize(&mut clif, &isa).unwrap();
        let body = forelift_emit::emit(&clif).map_err(|e| e.to_string())?;
        Ok(Code { body, callees: callees.into_iter().map(|at| name_of(program, at)).collect() })
    });
    made.collect()
}
