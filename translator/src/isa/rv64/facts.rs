//! Facts about instructions, from the table.

use crate::isa::{Access, Decoded, Flow, Insn, Plt, Registers, Sum};
use forelift_abi::lift::Mode;
use forelift_isa::rv64::{self, Fields, Op, Regs};

/// Entries of 16 bytes; `R_RISCV_JUMP_SLOT` and `R_RISCV_64` (RISC-V psABI, procedure linkage table and
/// relocation types).
pub(super) const PLT: Plt = Plt { entry: 16, relocations: &[5, 2] };

/// The bits of the first instruction of `code`; those of half an instruction when there is no more.
pub(super) fn word(code: &[u8]) -> Option<u32> {
    let half = |at: usize| Some(u32::from(u16::from_le_bytes([*code.get(at)?, *code.get(at + 1)?])));
    let low = half(0)?;
    if rv64::length(low as u16) == 2 { Some(low) } else { Some(low | half(2)? << 16) }
}

/// Whether a register holds return addresses by convention (unprivileged manual, table of return-address
/// prediction hints).
fn is_link(register: u8) -> bool {
    register == 1 || register == 5
}

/// Registers as bits.
fn set(regs: Regs) -> Registers {
    u64::from(regs.x & !1) | u64::from(regs.f) << 32
}

pub(super) fn decode(code: &[u8], mode: Mode) -> Decoded {
    let Some(bits) = word(code) else { return Decoded::Truncated };
    let len = rv64::length(bits as u16);
    let Some(insn) = rv64::decode(bits) else { return Decoded::Illegal(len as u8) };
    let mut facts = Insn::new(&code[..len]);
    facts.flow = flow(&insn, mode);
    facts.access = access(&insn);
    facts.reads = set(insn.reads());
    facts.writes = set(insn.writes());
    facts.sum = sum(&insn);
    facts.speculative = is_speculative(&insn);
    facts.remaps = insn.flow() == rv64::Flow::Csr && mode.is_kernel();
    facts.links = insn.flow() == rv64::Flow::Jump && is_link(insn.rd);
    facts.pairs = insn.op == Op::Auipc;
    Decoded::Insn(facts)
}

fn flow(insn: &rv64::Insn, mode: Mode) -> Flow {
    match insn.flow() {
        rv64::Flow::Next | rv64::Flow::Csr => Flow::Next,
        rv64::Flow::Branch => Flow::Branch(insn.imm),
        rv64::Flow::Jump => jump(insn, (insn.op == Op::Jal).then_some(insn.imm)),
        rv64::Flow::System => match insn.op {
            Op::Ecall if !mode.is_kernel() => Flow::Trap,
            Op::Sret if mode.is_kernel() => Flow::TrapReturn,
            // A call of the firmware among them.
            op => Flow::Unlifted(op.mnemonic()),
        },
    }
}

/// Where a jump goes; `delta` is how far, where that is known.
fn jump(insn: &rv64::Insn, delta: Option<i32>) -> Flow {
    match (delta, insn.rd) {
        (Some(delta), 0) => Flow::Jump(delta),
        (Some(delta), _) => Flow::Call(delta),
        (None, 0) if is_link(insn.rs1) => Flow::Return,
        // Who links elsewhere, as stubs of the PLT do with t1, does not come back.
        (None, link) if !is_link(link) => Flow::JumpRegister,
        (None, _) => Flow::CallRegister,
    }
}

/// The load or store that an instruction is; accesses that must be aligned look at the TLB by themselves.
fn access(insn: &rv64::Insn) -> Option<Access> {
    let (bytes, write) = match insn.access() {
        rv64::Access::Load { bytes, .. } => (bytes, false),
        rv64::Access::Store { bytes } => (bytes, true),
        _ => return None,
    };
    (insn.rs1 != 0).then_some(Access { base: insn.rs1, offset: insn.imm, bytes, write })
}

fn sum(insn: &rv64::Insn) -> Option<Sum> {
    let (register, constant) = match insn.op {
        Op::Addi => (insn.rs1, insn.imm),
        Op::Add if insn.rs1 == 0 => (insn.rs2, 0),
        Op::Add if insn.rs2 == 0 => (insn.rs1, 0),
        _ => return None,
    };
    (register != 0).then_some(Sum { register, constant })
}

/// Whether an instruction is arithmetic that cannot fail and costs little.
fn is_speculative(insn: &rv64::Insn) -> bool {
    let division = matches!(
        insn.op,
        Op::Div | Op::Divu | Op::Rem | Op::Remu | Op::Divw | Op::Divuw | Op::Remw | Op::Remuw
    );
    let plain = insn.flow() == rv64::Flow::Next && insn.access() == rv64::Access::None;
    plain && insn.op != Op::Fence && !insn.op.needs_fp() && !division
}

/// Where a `jalr` goes when `first` is an `auipc` that makes its register.
pub(super) fn pair(first: &Insn, second: &Insn) -> Option<Flow> {
    if !first.pairs || second.len != 4 {
        return None;
    }
    let (before, insn) = (super::whole(first)?, super::whole(second)?);
    if insn.op != Op::Jalr || before.rd != insn.rs1 || insn.rs1 == 0 {
        return None;
    }
    let delta = before.imm.checked_add(insn.imm)?.checked_sub(4)?;
    (delta % 2 == 0).then(|| jump(&insn, Some(delta)))
}

/// Stubs as a procedure linkage table has them (psABI, "Program Linkage Table"): `auipc`, `ld`, `jalr`.
pub(super) fn stub(code: &[u8], mode: Mode) -> Option<Vec<Insn>> {
    let word = |n: usize| rv64::decode(word(code.get(4 * n..4 * n + 4)?)?).filter(|insn| insn.len == 4);
    let [auipc, ld, jalr] = [word(0)?, word(1)?, word(2)?];
    let chained = auipc.rd == ld.rs1 && ld.rd == jalr.rs1 && auipc.rd != 0 && ld.rd != 0;
    let stub = auipc.op == Op::Auipc && ld.op == Op::Ld && jalr.op == Op::Jalr && chained;
    // Without a link that somebody returns to.
    if !stub || is_link(jalr.rd) {
        return None;
    }
    let facts = |n: usize| match decode(&code[4 * n..], mode) {
        Decoded::Insn(insn) => Some(insn),
        _ => None,
    };
    (0..3).map(facts).collect()
}

/// What an entry of a procedure linkage table loads: `auipc t3; ld t3; jalr t1, t3; nop`.
pub(super) fn plt_pointer(code: &[u8], address: u64) -> Option<u64> {
    let word = |at: usize| rv64::decode(u32::from_le_bytes(code.get(at..at + 4)?.try_into().ok()?));
    let (high, load) = (word(0)?, word(4)?);
    let chained = high.op == Op::Auipc && load.op == Op::Ld && load.rs1 == high.rd;
    chained.then(|| address.wrapping_add_signed(i64::from(high.imm)).wrapping_add_signed(i64::from(load.imm)))
}

/// An addition with another immediate.
pub(super) fn spoil(insn: &Insn) -> Option<Insn> {
    let whole = super::whole(insn)?;
    let adds = matches!(whole.op, Op::Addi | Op::Addiw) && whole.rd != 0 && whole.rd != 2;
    if !adds {
        return None;
    }
    let fields = Fields { rd: whole.rd, rs1: whole.rs1, imm: whole.imm ^ 1, ..Fields::default() };
    let mut spoilt = Insn::new(&rv64::encode(whole.op, &fields).to_le_bytes());
    (spoilt.reads, spoilt.writes) = (insn.reads, insn.writes);
    Some(spoilt)
}
