//! Executes one instruction on the host and by its family's function, and compares everything.

use super::new_machine;
use crate::cpu::x86::family::testing::direct::{DATA, HostCode, Machine, Random, decode, parse};
use crate::cpu::x86::fault::{Fault, XM};
use crate::cpu::x86::flags::ARITHMETIC;
use core::arch::asm;
use iced_x86::{Mnemonic, Register};

/// What an instruction sees and leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
pub(super) struct State {
    /// XMM0 to XMM2.
    pub(super) xmm: [u128; 3],
    /// The memory that RBX, and for `maskmov` RDI, points to.
    pub(super) memory: [u128; 2],
    /// MM1 and MM2.
    pub(super) mm: [u64; 2],
    /// RAX, RCX, RDX.
    pub(super) r: [u64; 3],
    pub(super) flags: u64,
    pub(super) mxcsr: u32,
}

const XMM: [Register; 3] = [Register::XMM0, Register::XMM1, Register::XMM2];
const MM: [Register; 2] = [Register::MM1, Register::MM2];

impl State {
    /// [`State::numbers`] with any MXCSR.
    pub(super) fn unmasked(random: &mut Random) -> Self {
        let state = State::numbers(random);
        // Few masks are off, mostly: else the first exception is all that is seen.
        let off = random.next() as u32 & if random.below(4) == 0 { MASKS } else { 0x80 << random.below(6) };
        State { mxcsr: state.mxcsr & !off, ..state }
    }

    /// Numbers in all places, and any MXCSR that masks all exceptions.
    pub(super) fn numbers(random: &mut Random) -> Self {
        let mut state = State {
            xmm: [(); 3].map(|()| random.floats()),
            memory: [(); 2].map(|()| random.floats()),
            mxcsr: 0x1f80,
            ..State::random(random)
        };
        if random.below(2) == 0 {
            state.mxcsr |= random.next() as u32 & 0xffff;
        }
        // Equal operands.
        if random.below(8) == 0 {
            state.xmm[2] = state.xmm[1];
            state.memory[0] = state.xmm[1];
        }
        state
    }

    pub(super) fn random(random: &mut Random) -> Self {
        State {
            xmm: [(); 3].map(|()| random.vector()),
            memory: [(); 2].map(|()| random.vector()),
            mm: [(); 2].map(|()| random.vector() as u64),
            r: [(); 3].map(|()| random.vector() as u64),
            flags: random.next() & ARITHMETIC,
            mxcsr: 0x1f80,
        }
    }
}

/// The bits of MXCSR that mask exceptions.
pub(super) const MASKS: u32 = 0x1f80;

/// The handler of unmasked exceptions: masks them and leaves the instruction for the address in R14.
extern "C" fn leave(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context, which is the handler's to change, to a handler with
    // SA_SIGINFO.
    unsafe {
        let context = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        context.gregs[libc::REG_RIP as usize] = context.gregs[libc::REG_R14 as usize];
        (*context.fpregs).mxcsr |= MASKS;
    }
}

/// Lets [`run`] survive unmasked exceptions, in this whole process.
fn catch_exceptions() {
    // SAFETY: a zeroed sigaction is valid; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = leave as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGFPE, &action, core::ptr::null_mut()), 0);
    }
}

/// Executes the code; tells whether it met an unmasked exception.
fn run(page: &HostCode, state: &mut State) -> bool {
    let mut saved = 0u32;
    let masks = state.mxcsr & MASKS;
    // SAFETY: the code is one instruction, which changes what is saved or told here, and accesses the state's
    // memory.
    unsafe {
        asm!(
            "push rbx",
            "mov r12, rsp",
            "lea r14, [rip + 2f]",
            "stmxcsr [r10]",
            "ldmxcsr [r8 + 128]",
            "movups xmm0, [r8]",
            "movups xmm1, [r8 + 16]",
            "movups xmm2, [r8 + 32]",
            "movq mm1, [r8 + 80]",
            "movq mm2, [r8 + 88]",
            "mov rax, [r8 + 96]",
            "mov rcx, [r8 + 104]",
            "mov rdx, [r8 + 112]",
            "lea rbx, [r8 + 48]",
            "mov rdi, rbx",
            "push qword ptr [r8 + 120]",
            "popfq",
            "call r9",
            "2:",
            "mov rsp, r12",
            "pushfq",
            "pop qword ptr [r8 + 120]",
            "mov [r8 + 96], rax",
            "mov [r8 + 104], rcx",
            "mov [r8 + 112], rdx",
            "movups [r8], xmm0",
            "movups [r8 + 16], xmm1",
            "movups [r8 + 32], xmm2",
            "movq [r8 + 80], mm1",
            "movq [r8 + 88], mm2",
            "stmxcsr [r8 + 128]",
            "ldmxcsr [r10]",
            "emms",
            "pop rbx",
            in("r8") core::ptr::from_mut(state),
            in("r9") page.0,
            in("r10") core::ptr::from_mut(&mut saved),
            out("rax") _, out("rcx") _, out("rdx") _, out("rdi") _, out("r12") _, out("r14") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _,
            out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _,
            out("mm4") _, out("mm5") _, out("mm6") _, out("mm7") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    state.flags &= ARITHMETIC;
    // `ldmxcsr` has masks too, and they are all set by the handler only.
    let faulted = masks != MASKS && state.mxcsr & MASKS == MASKS;
    if faulted {
        state.mxcsr = state.mxcsr & !MASKS | masks;
    }
    faulted
}

/// Executes an instruction in the emulator.
pub(super) fn emulate(machine: &mut Machine, code: &[u8], before: &State) -> (State, Option<Fault>) {
    for (n, register) in XMM.into_iter().enumerate() {
        machine.vcpu().set_xmm(register, before.xmm[n]);
    }
    for (n, register) in MM.into_iter().enumerate() {
        machine.vcpu().set_mm(register, before.mm[n]);
    }
    machine.vcpu().r[..3].copy_from_slice(&before.r);
    machine.vcpu().r[3] = DATA;
    machine.vcpu().r[7] = DATA;
    machine.vcpu().set_all_flags(before.flags);
    machine.vcpu().mxcsr = before.mxcsr;
    for (n, value) in before.memory.iter().enumerate() {
        assert!(machine.mem.write(DATA + 16 * n as u64, &value.to_le_bytes()));
    }
    let fault = machine.execute(code).err();
    let vcpu = machine.vcpu();
    let mut after = State {
        xmm: XMM.map(|register| vcpu.xmm(register)),
        memory: [0; 2],
        mm: MM.map(|register| vcpu.mm(register)),
        r: [vcpu.r[0], vcpu.r[1], vcpu.r[2]],
        flags: vcpu.flags.arithmetic(),
        mxcsr: vcpu.mxcsr,
    };
    after.memory = [0, 1].map(|n| u128::from_le_bytes(machine.mem.read_array(DATA + 16 * n).unwrap()));
    (after, fault)
}

/// Whether Intel made the host's processor, where the guest's does as AMD's.
fn host_is_of_intel() -> bool {
    core::arch::x86_64::__cpuid(0).ebx.to_le_bytes() == *b"Genu"
}

/// Replaces the NaNs in `expected` by those in `found`. A dot product's sum of two NaNs is either of them, as
/// the maker likes.
fn take_nans(expected: &mut u128, found: u128, singles: bool) {
    let (width, mask) = if singles { (32, u128::from(u32::MAX)) } else { (64, u128::from(u64::MAX)) };
    for shift in (0..128).step_by(width) {
        let nan = |vector: u128| match singles {
            true => f32::from_bits((vector >> shift) as u32).is_nan(),
            false => f64::from_bits((vector >> shift) as u64).is_nan(),
        };
        if nan(*expected) && nan(found) {
            *expected = *expected & !(mask << shift) | found & mask << shift;
        }
    }
}

/// Compares one instruction on `rounds` states that `make` makes; tells how many times it met an unmasked
/// exception.
pub(super) fn compare(code: &[u8], rounds: usize, mut make: impl FnMut() -> State) -> usize {
    let mut machine = new_machine();
    let page = HostCode::new(code);
    catch_exceptions();
    let mut faults = 0;
    for _ in 0..rounds {
        let before = make();
        let mut expected = before;
        let fault = run(&page, &mut expected).then_some(Fault::plain(XM));
        let (found, found_fault) = emulate(&mut machine, code, &before);
        if matches!(decode(code).mnemonic(), Mnemonic::Dpps | Mnemonic::Dppd) && host_is_of_intel() {
            take_nans(&mut expected.xmm[1], found.xmm[1], decode(code).mnemonic() == Mnemonic::Dpps);
        }
        assert!(
            found == expected && found_fault == fault,
            "{:?} {code:02x?}\nbefore   {before:x?}\nexpected {expected:x?} {fault:?}\nfound    {found:x?} {found_fault:?}",
            decode(code).code()
        );
        faults += usize::from(fault.is_some());
    }
    faults
}

/// ModRM: XMM1 (or MM1, ECX) and XMM2 (or MM2, EDX).
pub(super) const REGISTER: u8 = 0xca;
/// The same with the memory at RBX.
pub(super) const MEMORY: u8 = 0x0b;

/// Compares an opcode with registers and with memory, as `forms` tells.
fn opcode(
    prefix: &str,
    opcode: &str,
    forms: &[u8],
    immediates: &[u8],
    make: &mut impl FnMut() -> State,
) -> usize {
    let mut faults = 0;
    for form in forms {
        let mut code = parse(prefix);
        code.extend(parse(opcode));
        code.push(*form);
        if immediates.is_empty() {
            faults += compare(&code, 2000, &mut *make);
        }
        for immediate in immediates {
            let code = [code.as_slice(), &[*immediate]].concat();
            faults += compare(&code, 100, &mut *make);
        }
    }
    faults
}

/// Compares each opcode with each prefix.
pub(super) fn opcodes(prefixes: &[&str], list: &[&str], forms: &[u8], immediates: &[u8]) {
    let mut random = Random(list.len() as u64);
    opcodes_with(prefixes, list, forms, immediates, || State::random(&mut random));
}

/// The same on states that `make` makes.
pub(super) fn opcodes_with(
    prefixes: &[&str],
    list: &[&str],
    forms: &[u8],
    immediates: &[u8],
    mut make: impl FnMut() -> State,
) -> usize {
    let each = list.iter().flat_map(|name| prefixes.iter().map(move |prefix| (prefix, name)));
    each.map(|(prefix, name)| opcode(prefix, name, forms, immediates, &mut make)).sum()
}

/// Every immediate.
pub(super) const ALL: [u8; 256] = {
    let mut all = [0; 256];
    let mut n = 0;
    while n < 256 {
        all[n] = n as u8;
        n += 1;
    }
    all
};
