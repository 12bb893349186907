//! Executes one instruction on the host and by its family's function, and compares the FPU, memory, AX and
//! flags.

use super::new_machine;
use crate::cpu::x86::family::testing::direct::{DATA, HostCode, Machine, Random, decode};
use crate::cpu::x86::flags::ARITHMETIC;
use core::arch::asm;
use iced_x86::{Instruction, Mnemonic};

/// What an instruction sees and leaves.
#[derive(Clone, Copy, PartialEq)]
#[repr(C, align(16))]
struct State {
    /// As FNSAVE writes it.
    fpu: [u8; 112],
    /// What RBX points to.
    memory: [u8; 512],
    rax: u64,
    flags: u64,
}

/// Where a word of the FPU's state is.
const CONTROL: usize = 0;
const STATUS: usize = 4;
const TAGS: usize = 8;
const REGISTERS: usize = 28;

impl State {
    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.fpu[at], self.fpu[at + 1]])
    }

    fn set_word(&mut self, at: usize, word: u16) {
        self.fpu[at..at + 2].copy_from_slice(&word.to_le_bytes());
    }
}

/// Executes the code.
fn run(page: &HostCode, state: &mut State) {
    let mut saved = 0u32;
    // SAFETY: the code is one instruction, which changes what is saved or told here, and accesses the state's
    // memory. No exception is pending before; FNSAVE does not wait for one, and leaves the FPU as the ABI
    // wants it.
    unsafe {
        asm!(
            "push rbx",
            "stmxcsr [r10]",
            "frstor [r8]",
            "lea rbx, [r8 + 112]",
            "mov rax, [r8 + 624]",
            "push qword ptr [r8 + 632]",
            "popfq",
            "call r9",
            "pushfq",
            "pop qword ptr [r8 + 632]",
            "mov [r8 + 624], rax",
            "fnsave [r8]",
            "ldmxcsr [r10]",
            "pop rbx",
            in("r8") core::ptr::from_mut(state),
            in("r9") page.0,
            in("r10") core::ptr::from_mut(&mut saved),
            out("rax") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    state.flags &= ARITHMETIC;
}

/// The same by the emulator.
fn emulate(machine: &mut Machine, code: &[u8], state: &mut State) {
    assert!(machine.mem.write(DATA, &state.fpu));
    machine.run("dd 23").unwrap();
    assert!(machine.mem.write(DATA, &state.memory));
    machine.vcpu().r[0] = state.rax;
    machine.vcpu().set_all_flags(state.flags);
    machine.execute(code).unwrap_or_else(|fault| panic!("{:?}: {fault:?}", decode(code).code()));
    state.rax = machine.vcpu().r[0];
    state.flags = machine.vcpu().flags.arithmetic();
    state.memory = machine.mem.read_array(DATA).unwrap();
    machine.run("dd 33").unwrap();
    state.fpu = machine.mem.read_array(DATA).unwrap();
}

impl Random {
    /// A register: mostly an ordinary number or a small integer, else anything.
    fn register(&mut self) -> [u8; 10] {
        let sign = (self.next() & 0x8000) as u16;
        let significand = 1 << 63 | self.next() & u64::MAX << self.below(64);
        let (sign_exp, mantissa) = match self.below(10) {
            0 => (sign, 0),
            1 => (sign, significand & u64::MAX >> 1),
            2 => (sign | 0x7fff, 1 << 63),
            3 => (sign | 0x7fff, significand),
            4 => (self.next() as u16, self.next()),
            5 => (sign | self.below(0x7fff) as u16, significand),
            6 => (sign | 0x3fff, 1 << 63),
            _ => (sign | (0x3fff - 10 + self.below(80)) as u16, significand),
        };
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&mantissa.to_le_bytes());
        bytes[8..].copy_from_slice(&u16::to_le_bytes(sign_exp));
        bytes
    }

    fn state(&mut self) -> State {
        let mut state =
            State { fpu: [0; 112], memory: [0; 512], rax: self.next(), flags: self.next() & ARITHMETIC };
        let masked = if self.below(2) == 0 { 0x3f } else { self.next() as u16 & 0x3f };
        let precision = [0, 2, 3][self.below(3) as usize] << 8;
        state.set_word(CONTROL, 0x40 | masked | precision | (self.next() as u16 & 0xc00));
        // TOP and conditions; no exception that is not masked.
        state.set_word(STATUS, self.next() as u16 & (0x7f00 | masked));
        let empty = match self.below(3) {
            0 => 0,
            1 => 0xc0 >> self.below(8) | 0xc000 >> self.below(8),
            _ => self.next() as u8 as u16,
        };
        let tags = (0..8).fold(0, |tags, n| if empty >> n & 1 != 0 { tags | 3 << (2 * n) } else { tags });
        state.set_word(TAGS, tags);
        for n in 0..8 {
            state.fpu[REGISTERS + 10 * n..][..10].copy_from_slice(&self.register());
        }
        self.fill_memory(&mut state.memory);
        state
    }

    /// Memory that is a number in every format, at times.
    fn fill_memory(&mut self, memory: &mut [u8; 512]) {
        for chunk in memory.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        let number = (self.below(2000) as f64 - 1000.0) / 4.0;
        match self.below(8) {
            0 => memory[..8].copy_from_slice(&number.to_le_bytes()),
            1 => memory[..4].copy_from_slice(&(number as f32).to_le_bytes()),
            2 => memory[..8].copy_from_slice(&(number as i64).to_le_bytes()),
            3 => memory[..8].copy_from_slice(&(0x7ff0_0000_0000_0000 | self.below(3) << 50).to_le_bytes()),
            4 => memory[..4].copy_from_slice(&(0x7f80_0000 | (self.below(3) as u32) << 21).to_le_bytes()),
            5 => memory[..8].copy_from_slice(&(self.next() >> 12).to_le_bytes()),
            _ => memory[..10].copy_from_slice(&self.register()),
        }
    }
}

/// Makes what an instruction reads from memory valid.
fn prepare(i: &Instruction, state: &mut State, random: &mut Random) {
    match i.mnemonic() {
        Mnemonic::Fbld => {
            for byte in &mut state.memory[..9] {
                *byte = (random.below(10) << 4 | random.below(10)) as u8;
            }
        }
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => {
            state.memory[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
            for n in 0..8 {
                state.memory[32 + 16 * n..][..10].copy_from_slice(&random.register());
            }
        }
        Mnemonic::Frstor => {
            for n in 0..8 {
                state.memory[28 + 10 * n..][..10].copy_from_slice(&random.register());
            }
        }
        _ => {}
    }
}

/// Removes what is undefined, or depends on where the code is.
fn mask(i: &Instruction, state: &mut State) {
    // Opcode and addresses; what follows the state.
    state.fpu[12..28].fill(0);
    state.fpu[108..].fill(0);
    match i.mnemonic() {
        Mnemonic::Fnstenv | Mnemonic::Fnsave => match i.memory_size().size() {
            14 | 94 => state.memory[6..14].fill(0),
            _ => state.memory[12..28].fill(0),
        },
        // Also MXCSR and XMM registers.
        Mnemonic::Fxsave | Mnemonic::Fxsave64 => {
            state.memory[6..32].fill(0);
            state.memory[160..].fill(0);
        }
        _ => {}
    }
}

/// Whether the results are the host's within a unit in the last place only.
fn is_approximate(i: &Instruction) -> bool {
    matches!(
        i.mnemonic(),
        Mnemonic::F2xm1
            | Mnemonic::Fyl2x
            | Mnemonic::Fyl2xp1
            | Mnemonic::Fptan
            | Mnemonic::Fpatan
            | Mnemonic::Fsin
            | Mnemonic::Fcos
            | Mnemonic::Fsincos
    )
}

/// Takes the host's results where they may be different.
fn approximate(i: &Instruction, found: &mut State, expected: &State, before: &State) {
    let number = |state: &State, n: usize| {
        let at = REGISTERS + 10 * n;
        let bytes: [u8; 8] = state.fpu[at..at + 8].try_into().unwrap();
        let magnitude = i128::from(u64::from_le_bytes(bytes) & u64::MAX >> 1);
        magnitude | i128::from(u16::from_le_bytes([state.fpu[at + 8], state.fpu[at + 9]])) << 63
    };
    // Outside of its domain the result is undefined.
    let domain = i128::from(match i.mnemonic() {
        Mnemonic::F2xm1 => 0x3fff,
        Mnemonic::Fyl2xp1 => 0x3ffd,
        _ => 0x7fff,
    });
    let undefined = number(before, 0) >> 63 & 0x7fff >= domain && domain != 0x7fff;
    if undefined {
        *found = *expected;
    }
    for n in 0..8 {
        if (number(found, n) - number(expected, n)).abs() <= 1 {
            let range = REGISTERS + 10 * n..REGISTERS + 10 * n + 10;
            found.fpu[range.clone()].copy_from_slice(&expected.fpu[range]);
        }
    }
    // UE, OE, PE, and what follows from them.
    let different = 0x8080 | 0x38 | 0x200;
    found.set_word(STATUS, found.word(STATUS) & !different | expected.word(STATUS) & different);
}

fn compare(code: &[u8], rounds: usize, random: &mut Random, failures: &mut Vec<String>) {
    let i = decode(code);
    let mut machine = new_machine();
    let page = HostCode::new(code);
    for _ in 0..rounds {
        let mut before = random.state();
        prepare(&i, &mut before, random);
        let (mut expected, mut found) = (before, before);
        run(&page, &mut expected);
        emulate(&mut machine, code, &mut found);
        mask(&i, &mut expected);
        mask(&i, &mut found);
        if is_approximate(&i) {
            approximate(&i, &mut found, &expected, &before);
        }
        if found != expected {
            let show = |s: &State| {
                let registers: Vec<String> = s.fpu[REGISTERS..108]
                    .chunks(10)
                    .map(|r| r.iter().rev().map(|byte| format!("{byte:02x}")).collect())
                    .collect();
                format!(
                    "control {:#x} status {:#x} tags {:#x} {registers:?} rax {:x} flags {:x} {:02x?}",
                    s.word(CONTROL),
                    s.word(STATUS),
                    s.word(TAGS),
                    s.rax,
                    s.flags,
                    &s.memory[..32]
                )
            };
            failures.push(format!(
                "{:?} {code:02x?}\nbefore   {}\nexpected {}\nfound    {}",
                i.code(),
                show(&before),
                show(&expected),
                show(&found)
            ));
        }
    }
}

/// Cases for an encoding.
const ROUNDS: usize = 200;

#[test]
fn all_encodings_agree_with_the_host() {
    let mut random = Random(0x5eed);
    let mut failures = Vec::new();
    let mut encodings = 0;
    for first in 0xd8..=0xdf_u8 {
        // Memory at RBX, registers.
        let forms = (0..8).map(|n| n << 3 | 3).chain(0xc0..=0xff);
        for second in forms {
            let code = [first, second];
            let i = decode(&code);
            if i.is_invalid() {
                continue;
            }
            encodings += 1;
            let before = failures.len();
            compare(&code, ROUNDS, &mut random, &mut failures);
            failures.truncate(before + 2);
        }
    }
    // With operands of 16 bits; FXSAVE, FXRSTOR.
    for code in [&[0x66, 0xd9, 0x33][..], &[0x66, 0xd9, 0x23], &[0x66, 0xdd, 0x33], &[0x66, 0xdd, 0x23]] {
        compare(code, ROUNDS, &mut random, &mut failures);
    }
    for code in
        [&[0x0f, 0xae, 0x03][..], &[0x0f, 0xae, 0x0b], &[0x48, 0x0f, 0xae, 0x03], &[0x48, 0x0f, 0xae, 0x0b]]
    {
        compare(code, ROUNDS, &mut random, &mut failures);
    }
    assert!(encodings > 450, "only {encodings}");
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}
