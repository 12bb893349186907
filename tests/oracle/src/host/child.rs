//! The process that executes the cases.
//!
//! It lives in the handler of the signals that end a case: the handler notes what the kernel saved of the
//! registers, replaces that by the registers of the next case, and returns into it. That is one signal a
//! case, without any other system call. When a batch is done it waits for the next one.
//!
//! Cases may write anywhere and jump anywhere. What they can reach is theirs alone; what is here is at
//! addresses that no case uses, and system calls from the code pages are refused by a filter. If a case hits
//! something vital all the same, the process dies, and the tests start another.

use super::shared::{
    CODE_IN_FILE, FILE_SIZE, MEMORY_IN_FILE, READ_ONLY_IN_FILE, SHARED_AT, SLOTS, Shared, Slot,
};
use crate::case::{Fx, TICK, flag};
use crate::layout::{CODE, CODE_SIZE, DATA, DATA_SIZE, HIGH, PAGE, READ_ONLY, STACK, STACK_SIZE};
use core::arch::{asm, global_asm};
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use libc::{c_int, c_void, siginfo_t, ucontext_t};

/// Signals that end a case.
const SIGNALS: [c_int; 7] =
    [libc::SIGTRAP, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGSYS, libc::SIGVTALRM];

const ALTERNATE_STACK: usize = 256 << 10;

/// `uc_flags`: the stack segment is part of the state (asm/ucontext.h).
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

/// Offset of XSTATE_BV in the saved extended state, and its bits for x87 and SSE (Intel SDM vol. 1, 13.4.2).
const XSTATE_BV: usize = 512;
const X87_AND_SSE: u64 = 3;

// A case may have set AC, ID or NT: Linux leaves AC for handlers, and none of it is replaced by what a return
// restores.
global_asm!(
    ".globl forelift_oracle_entry",
    "forelift_oracle_entry:",
    "cld",
    "pushfq",
    "and qword ptr [rsp], {not_ac}",
    "popfq",
    "jmp {handler}",
    not_ac = const !0x244000i32,
    handler = sym handler,
);

unsafe extern "C" {
    fn forelift_oracle_entry();
}

/// Turns this process, a fresh fork, into the one that executes cases. `file` is the shared file.
///
/// # Safety
/// Only in a process of its own.
pub(super) unsafe fn serve(file: c_int) -> ! {
    // SAFETY: the process is the caller's to use up; all mappings are at addresses that are free, or the
    // calls fail.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        let view = |at: u64, len: usize, offset: usize, protection: c_int| {
            let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE | libc::MAP_POPULATE;
            let got = libc::mmap(at as *mut c_void, len, protection, flags, file, offset as i64);
            if got as u64 != at {
                libc::_exit(10);
            }
        };
        let (read, write, execute) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE, libc::PROT_EXEC);
        view(SHARED_AT, FILE_SIZE, 0, write);
        view(CODE, CODE_SIZE, CODE_IN_FILE, read | execute);
        view(DATA, DATA_SIZE, MEMORY_IN_FILE, write);
        view(HIGH, DATA_SIZE, MEMORY_IN_FILE, write);
        view(STACK, STACK_SIZE, MEMORY_IN_FILE + DATA_SIZE, write);
        view(READ_ONLY, PAGE as usize, READ_ONLY_IN_FILE, read);

        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let stack = libc::mmap(ptr::null_mut(), ALTERNATE_STACK, write, flags, -1, 0);
        let alternate = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: ALTERNATE_STACK };
        if stack == libc::MAP_FAILED || libc::sigaltstack(&alternate, ptr::null_mut()) != 0 {
            libc::_exit(11);
        }
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = forelift_oracle_entry as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigfillset(&mut action.sa_mask);
        let mut none = core::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
        for signal in SIGNALS {
            if libc::sigaction(signal, &action, ptr::null_mut()) != 0 {
                libc::_exit(12);
            }
        }
        let interval = libc::timeval { tv_sec: 0, tv_usec: TICK };
        let timer = libc::itimerval { it_interval: interval, it_value: interval };
        // Not in the libc crate: setitimer.
        if libc::syscall(libc::SYS_setitimer, 1 /* ITIMER_VIRTUAL */, &timer, ptr::null_mut::<c_void>()) != 0
        {
            libc::_exit(13);
        }
        if !refuse_system_calls() {
            libc::_exit(14);
        }
        asm!("int3");
        libc::_exit(15)
    }
}

/// Lets no system call through from below 4 GiB, where the code of cases lies.
unsafe fn refuse_system_calls() -> bool {
    let statement = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // The upper half of seccomp_data.instruction_pointer.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 12, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_TRAP, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program is valid for the call.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    }
}

/// `futex` without libc, whose `errno` hangs on the FS base, which is the case's.
unsafe fn futex(word: *const u32, operation: c_int, value: u32) {
    // SAFETY: the call writes no memory, and clobbers what is said.
    unsafe {
        asm!("syscall",
            inlateout("rax") libc::SYS_futex => _,
            in("rdi") word, in("rsi") i64::from(operation), in("rdx") u64::from(value), in("r10") 0,
            out("rcx") _, out("r11") _, options(nostack));
    }
}

/// A case has ended, or the timer ticked.
unsafe extern "C" fn handler(signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: mapped by `serve` for this process's life; nothing else touches what belongs to the executing
    // side, and the slots of a batch are this side's until it is done.
    let shared = unsafe { &mut *(SHARED_AT as *mut Shared) };
    // SAFETY: the kernel's pointer to what it saved.
    let context = unsafe { &mut *(context as *mut ucontext_t) };
    if shared.started == 0 {
        shared.started = 1;
        if signal == libc::SIGVTALRM {
            return;
        }
    } else {
        if signal == libc::SIGVTALRM && shared.ticks_left > 0 {
            shared.ticks_left -= 1;
            return;
        }
        let trap = context.uc_mcontext.gregs[libc::REG_TRAPNO as usize];
        if signal == libc::SIGTRAP && trap == 1 && shared.steps_left > 1 {
            shared.steps_left -= 1;
            return;
        }
        let at = shared.at.load(Relaxed) as usize;
        // SAFETY: `context` is the kernel's.
        unsafe { save(&mut shared.slots[at % SLOTS], context, signal) };
        shared.at.store(at as u32 + 1, Relaxed);
    }
    while shared.busy == 0 || shared.at.load(Relaxed) >= shared.count.load(Relaxed) {
        if shared.busy == 1 {
            shared.busy = 0;
            shared.done.store(shared.posted.load(Relaxed), Release);
            // SAFETY: wakes the waiting process.
            unsafe { futex(shared.done.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
        let batch = shared.posted.load(Acquire);
        if batch == shared.done.load(Relaxed) {
            // SAFETY: waits while the number is the same.
            unsafe { futex(shared.posted.as_ptr(), libc::FUTEX_WAIT, batch) };
        } else {
            shared.busy = 1;
        }
    }
    let Shared { slots, at, old_code, .. } = shared;
    let slot = &slots[at.load(Relaxed) as usize % SLOTS];
    // SAFETY: as above.
    unsafe { load(slot, old_code, context) };
    shared.steps_left = slot.steps;
    shared.ticks_left = slot.patience;
}

/// Register numbers of `ucontext_t` in the order of [`State::r`](crate::case::State::r).
const GENERAL: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// Where the data segment registers are read and written: the kernel leaves them alone.
macro_rules! segment {
    ($name:literal) => {{
        let selector: u16;
        // SAFETY: reads a register.
        unsafe { asm!(concat!("mov {0:x}, ", $name), out(reg) selector, options(nomem, nostack, preserves_flags)) };
        selector
    }};
    ($name:literal, $value:expr) => {
        // SAFETY: null and the data selector can always be loaded; nothing here uses the segment.
        unsafe { asm!(concat!("mov ", $name, ", {0:x}"), in(reg) $value, options(nomem, nostack, preserves_flags)) }
    };
}

/// Notes how a case ended.
unsafe fn save(slot: &mut Slot, context: &ucontext_t, signal: c_int) {
    let registers = &context.uc_mcontext.gregs;
    let out = &mut slot.out;
    for (to, from) in out.r.iter_mut().zip(GENERAL) {
        *to = registers[from as usize] as u64;
    }
    out.rip = registers[libc::REG_RIP as usize] as u64;
    out.flags = registers[libc::REG_EFL as usize] as u64;
    let packed = registers[libc::REG_CSGSFS as usize] as u64;
    out.segments = [
        segment!("es"),
        packed as u16,
        (packed >> 48) as u16,
        segment!("ds"),
        segment!("fs"),
        segment!("gs"),
    ];
    // SAFETY: the host has these instructions, or there were no `Host`. The state that the kernel saved is
    // as large as FXSAVE's at least, and `memory_out` as large as the mapping.
    unsafe {
        asm!("rdfsbase {}", out(reg) out.fs_base, options(nomem, nostack, preserves_flags));
        asm!("rdgsbase {}", out(reg) out.gs_base, options(nomem, nostack, preserves_flags));
        let saved = context.uc_mcontext.fpregs as *const u8;
        ptr::copy_nonoverlapping(saved, (&raw mut out.fx).cast(), size_of::<Fx>());
        ptr::copy_nonoverlapping(DATA as *const u8, slot.memory_out.as_mut_ptr(), DATA_SIZE);
        ptr::copy_nonoverlapping(STACK as *const u8, slot.memory_out.as_mut_ptr().add(DATA_SIZE), STACK_SIZE);
    }
    slot.trap = registers[libc::REG_TRAPNO as usize] as u64;
    slot.error = registers[libc::REG_ERR as usize] as u64;
    slot.address = registers[libc::REG_CR2 as usize] as u64;
    slot.signal = signal as u32;
}

/// Makes the return from the handler start a case.
unsafe fn load(slot: &Slot, old_code: &mut (u32, u32), context: &mut ucontext_t) {
    // SAFETY: lengths are within the mappings, which `Host` has seen to; the code is written through the
    // shared view, and returning from a signal serialises. The saved state is as large as said above,
    // followed by the XSAVE header since the processor has XSAVE.
    unsafe {
        let code = (SHARED_AT as usize + CODE_IN_FILE) as *mut u8;
        ptr::write_bytes(code.add(old_code.0 as usize), 0xcc, old_code.1 as usize);
        ptr::copy_nonoverlapping(slot.code.as_ptr(), code.add(slot.code_at as usize), slot.code_len as usize);
        *old_code = (slot.code_at, slot.code_len);
        ptr::copy_nonoverlapping(slot.memory.as_ptr(), DATA as *mut u8, DATA_SIZE);
        ptr::copy_nonoverlapping(slot.memory.as_ptr().add(DATA_SIZE), STACK as *mut u8, STACK_SIZE);
        let saved = context.uc_mcontext.fpregs as *mut u8;
        ptr::copy_nonoverlapping((&raw const slot.state.fx).cast(), saved, size_of::<Fx>());
        *saved.add(XSTATE_BV).cast::<u64>() |= X87_AND_SSE;
    }
    let state = &slot.state;
    let [es, cs, ss, ds, fs, gs] = state.segments;
    segment!("es", es);
    segment!("ds", ds);
    segment!("fs", fs);
    segment!("gs", gs);
    // SAFETY: see `save`; nothing here uses the bases.
    unsafe {
        asm!("wrfsbase {}", in(reg) state.fs_base, options(nomem, nostack, preserves_flags));
        asm!("wrgsbase {}", in(reg) state.gs_base, options(nomem, nostack, preserves_flags));
    }
    let registers = &mut context.uc_mcontext.gregs;
    for (from, to) in state.r.iter().zip(GENERAL) {
        registers[to as usize] = *from as i64;
    }
    registers[libc::REG_RIP as usize] = state.rip as i64;
    let step = if slot.steps > 0 { flag::TF } else { 0 };
    registers[libc::REG_EFL as usize] = (state.flags | step) as i64;
    registers[libc::REG_CSGSFS as usize] = (u64::from(ss) << 48 | u64::from(cs)) as i64;
    context.uc_flags |= UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
}
