//! Random programs: blocks of instructions over the data, in loops, with branches over parts of them, calls,
//! string instructions and consumers of flags.
//!
//! A program depends on nothing that is undefined: before an instruction reads a flag that another left
//! undefined, and before each transfer of control, a comparison defines all of them.

use crate::case::{Case, Mode, RSP};
use crate::forms;
use crate::generate::{self, TAME_BASE, TAME_COUNTER, TAME_HIGH};
use crate::layout::{CODE, CODE_SIZE, DATA, DATA_SIZE, HIGH, STACK, STACK_SIZE};
use crate::random::Random;
use crate::undefined::{Approximate, undefined, unspecified_bytes};
use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, FlowControl, Instruction, InstructionBlock, MemoryOperand,
    Mnemonic, OpCodeOperandKind, OpKind, Register, RflagsBits,
};
use std::sync::OnceLock;

/// Bytes of code that a program fills before it ends.
const ENOUGH: usize = CODE_SIZE - 1200;
/// Ticks that a program may take: more than a hundred times what it takes on an idle host.
const PATIENCE: u32 = 100;
/// What a branch's instruction is called by before it has an address.
type Label = u64;

/// Whether an instruction goes well with others in a program.
fn fits(code: Code) -> bool {
    use Mnemonic::*;
    use OpCodeOperandKind as Kind;
    let info = code.op_code();
    let fixed = |kind: &Kind| {
        matches!(
            kind,
            Kind::mem_offs
                | Kind::seg_rSI
                | Kind::es_rDI
                | Kind::seg_rDI
                | Kind::seg_rBX_al
                | Kind::seg_reg
                | Kind::fs
                | Kind::gs
                | Kind::cr_reg
                | Kind::dr_reg
        )
    };
    let mut i = Instruction::new();
    i.set_code(code);
    let case = Case::new(Mode::Long, &[]);
    code.flow_control() == FlowControl::Next
        && !code.is_stack_instruction()
        && !code.is_string_instruction()
        && !info.is_privileged()
        && !info.is_input_output()
        && !info.op_kinds().iter().any(fixed)
        && info.memory_size().size() <= 16
        && undefined(&i, &case).approximate == Approximate::Exact
        && unspecified_bytes(&i, Mode::Long).is_empty()
        && !matches!(
            code.mnemonic(),
            // Control words from memory, and words that hold what is undefined.
            Fldcw | Fldenv | Ldmxcsr | Fnstsw | Fnstcw | Div | Idiv | Std | Popf | Popfq | Lss | Lfs | Lgs
            // Bits far from the operand; results that are undefined; what a flag of the system decides.
            | Bt | Bts | Btr | Btc | Shld | Shrd | Lar | Lsl | Verr | Verw | Sti | Cli | Clts
            // Which NaN it is, see `Maker::leave`.
            | Dpps | Dppd
        )
}

fn usable() -> &'static [Code] {
    static CODES: OnceLock<Vec<Code>> = OnceLock::new();
    CODES.get_or_init(|| forms::forms(Mode::Long).into_iter().filter(|&c| fits(c)).collect())
}

struct Writer<'a> {
    r: &'a mut Random,
    out: Vec<Instruction>,
    bytes: usize,
    /// Flags that are undefined here, as iced-x86 numbers them.
    undefined: u32,
    /// A label for the next instruction.
    here: Option<Label>,
    labels: Label,
}

const DEFINED_BY_COMPARISON: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

impl Writer<'_> {
    fn label(&mut self) -> Label {
        self.labels += 1;
        self.labels
    }

    /// Puts a label at the next instruction.
    fn place(&mut self, label: Label) {
        // One label at a place.
        if self.here.is_some() {
            self.push(Instruction::with(Code::Nopd));
        }
        self.here = Some(label);
    }

    fn push(&mut self, mut i: Instruction) {
        let label = self.here.take().unwrap_or_else(|| self.label());
        i.set_ip(label);
        self.bytes += if i.is_jcc_short_or_near() || i.is_call_near() { 6 } else { 8 };
        self.undefined = self.undefined & !i.rflags_modified() | i.rflags_undefined();
        self.out.push(i);
    }

    fn with2(&mut self, code: Code, a: Register, b: Register) {
        self.push(Instruction::with2(code, a, b).unwrap_or_default());
    }

    /// Defines all flags.
    fn define_flags(&mut self) {
        if self.undefined & DEFINED_BY_COMPARISON != 0 {
            let (a, b) =
                (self.r.pick(&[Register::EAX, Register::EDX]), self.r.pick(&[Register::EBX, Register::R9D]));
            self.with2(Code::Cmp_r32_rm32, a, b);
        }
    }

    fn branch(&mut self, code: Code, to: Label) {
        self.define_flags();
        self.push(Instruction::with_branch(code, to).unwrap_or_default());
    }

    fn ordinary(&mut self) {
        // Often integer instructions, which are fewer than the others.
        let code = loop {
            let code = self.r.pick(usable());
            if code.op_code().is_available_in_mode(32) || self.r.chance(60) {
                break code;
            }
        };
        let Some((i, index)) = generate::tame(code, self.r) else { return };
        // Whether that is a use of MMX is the maker's: see `generate::single`.
        if i.mnemonic() == Mnemonic::Cvtpi2ps && i.op1_kind() == OpKind::Memory {
            return;
        }
        // Shifts by a count of 0 define nothing, and rotations by more than 1 leave OF undefined, also those
        // that iced-x86 takes for ones by 0: through carry, by a multiple of the width and one.
        let rotates = matches!(i.mnemonic(), Mnemonic::Rol | Mnemonic::Ror | Mnemonic::Rcl | Mnemonic::Rcr);
        let shifts =
            rotates || matches!(i.mnemonic(), Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar);
        let before = if shifts { self.undefined } else { 0 } | if rotates { RflagsBits::OF } else { 0 };
        if i.rflags_read() & self.undefined != 0 {
            self.define_flags();
        }
        if let Some(index) = index {
            let low = Register::AL + index.number() as u32 + if index.number() > 3 { 4 } else { 0 };
            self.with2(Code::Movzx_r32_rm8, index.full_register32(), low);
        }
        self.push(i);
        self.undefined |= before;
    }

    fn division(&mut self) {
        self.with2(Code::Xor_r32_rm32, Register::EDX, Register::EDX);
        let one = Instruction::with2(Code::Or_rm32_imm8, Register::ECX, 1).unwrap_or_default();
        self.push(one);
        let (code, register) =
            self.r.pick(&[(Code::Div_rm64, Register::RCX), (Code::Div_rm32, Register::ECX)]);
        self.push(Instruction::with1(code, register).unwrap_or_default());
    }

    fn string(&mut self) {
        let offset = |w: &mut Self| w.r.below(DATA_SIZE as u64 - 512) as i64;
        for register in [Register::RSI, Register::RDI] {
            let from = MemoryOperand::with_base_displ(TAME_BASE, offset(self));
            self.push(Instruction::with2(Code::Lea_r64_m, register, from).unwrap_or_default());
        }
        let count = self.r.below(60) as u32;
        self.push(Instruction::with2(Code::Mov_r32_imm32, Register::ECX, count).unwrap_or_default());
        let i = match self.r.below(8) {
            0 => Instruction::with_rep_movsb(64),
            1 => Instruction::with_rep_movsq(64),
            2 => Instruction::with_rep_stosd(64),
            3 => Instruction::with_repe_cmpsb(64),
            4 => Instruction::with_repne_scasb(64),
            5 => Instruction::with_rep_lodsw(64),
            6 => Instruction::with_movsd(64, Register::None, iced_x86::RepPrefixKind::None),
            _ => Instruction::with_rep_stosb(64),
        };
        let i = i.unwrap_or_default();
        // A comparison of nothing leaves the flags.
        let before = self.undefined;
        self.push(i);
        self.undefined |= before;
    }

    fn stack(&mut self) {
        const REGISTERS: [Register; 8] = {
            use Register::*;
            [RAX, RCX, RDX, RBX, RBP, RSI, R8, R12]
        };
        let depth = 1 + self.r.below(4);
        for _ in 0..depth {
            if self.r.chance(20) {
                self.define_flags();
                self.push(Instruction::with(Code::Pushfq));
            } else {
                let register = self.r.pick(&REGISTERS);
                self.push(Instruction::with1(Code::Push_r64, register).unwrap_or_default());
            }
        }
        self.ordinary();
        for _ in 0..depth {
            let register = self.r.pick(&REGISTERS);
            self.push(Instruction::with1(Code::Pop_r64, register).unwrap_or_default());
        }
    }

    /// A block of instructions, some of which are jumped over.
    fn block(&mut self, functions: &[Label]) {
        let mut left = 10 + self.r.below(40);
        while left > 0 {
            left -= 1;
            match self.r.below(40) {
                0..=3 => {
                    let (over, code) = (self.label(), self.condition());
                    self.branch(code, over);
                    for _ in 0..self.r.below(5) {
                        self.ordinary();
                    }
                    self.define_flags();
                    self.place(over);
                }
                4 => self.division(),
                5 => self.string(),
                6 => self.stack(),
                7 | 8 if !functions.is_empty() => {
                    let to = self.r.pick(functions);
                    self.branch(Code::Call_rel32_64, to);
                }
                _ => self.ordinary(),
            }
        }
        self.define_flags();
    }

    fn condition(&mut self) -> Code {
        use Code::*;
        self.r.pick(&[
            Jo_rel32_64,
            Jno_rel32_64,
            Jb_rel32_64,
            Jae_rel32_64,
            Je_rel32_64,
            Jne_rel32_64,
            Jbe_rel32_64,
            Ja_rel32_64,
            Js_rel32_64,
            Jns_rel32_64,
            Jp_rel32_64,
            Jnp_rel32_64,
            Jl_rel32_64,
            Jge_rel32_64,
            Jle_rel32_64,
            Jg_rel32_64,
        ])
    }
}

/// The program of a seed.
///
/// # Panics
/// When the encoder refuses it: a mistake in this module.
pub fn program(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let mut state = generate::values::state(Mode::Long, &mut random);
    // All exceptions masked, and nothing pending.
    state.fx.cw |= 0x3f;
    state.fx.sw &= !0x8080;
    state.fx.mxcsr |= 0x1f80;
    state.flags &= !crate::case::flag::DF;
    state.r[RSP] = STACK + STACK_SIZE as u64 / 2;
    state.r[TAME_BASE.number()] = DATA;
    state.r[TAME_HIGH.number()] = HIGH;
    let mut w = Writer { r: &mut random, out: Vec::new(), bytes: 0, undefined: 0, here: None, labels: 0 };
    let start = w.label();
    w.branch(Code::Jmp_rel32_64, start);
    let mut functions = Vec::new();
    for _ in 0..2 {
        let function = w.label();
        w.place(function);
        w.block(&[]);
        w.push(Instruction::with(Code::Retnq));
        functions.push(function);
    }
    w.place(start);
    while w.bytes < ENOUGH {
        let count = 20 + w.r.below(60) as u32;
        w.push(
            Instruction::with2(Code::Mov_r32_imm32, TAME_COUNTER.full_register32(), count)
                .unwrap_or_default(),
        );
        let again = w.label();
        w.place(again);
        w.block(&functions);
        let one =
            Instruction::with2(Code::Sub_rm32_imm8, TAME_COUNTER.full_register32(), 1).unwrap_or_default();
        w.push(one);
        w.branch(Code::Jne_rel32_64, again);
    }
    w.define_flags();
    w.push(Instruction::with(Code::Int3));
    let block = InstructionBlock::new(&w.out, CODE);
    let options = BlockEncoderOptions::DONT_FIX_BRANCHES;
    let encoded = BlockEncoder::encode(64, block, options).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let mut case = Case::new(Mode::Long, &encoded.code_buffer);
    case.state = state;
    case.patience = PATIENCE;
    generate::fill(&mut case.memory, &mut random);
    case
}
