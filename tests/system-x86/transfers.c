// Transfers of control between segments and levels.

#include "guest.h"

#define FRAME(ss, rsp, flags, cs, rip) "push " #ss "; push " #rsp "; pushq " #flags "; push " #cs "; push " #rip "; "

// `iretq` from level 0 with a frame of the case's: CS in r8, SS in r9, RSP in r10, RFLAGS in r11, RIP in r12.
static void iret(const char *name, u64 cs, u64 ss, u64 rsp, u64 flags, u64 rip) {
    in.r[R8] = cs;
    in.r[R9] = ss;
    in.r[R10] = rsp;
    in.r[R11] = flags;
    in.r[R12] = rip;
    put("iretq ");
    CASE(name, "push r9; push r10; push r11; push r8; push r12; iretq");
}

static void iretd(const char *name, u64 cs, u64 ss, u64 rsp, u64 flags, u64 rip) {
    in.r[R8] = rip | cs << 32;
    in.r[R9] = flags | rsp << 32;
    in.r[R10] = ss;
    put("iretd ");
    CASE(name, "push r10; push r9; push r8; iretd");
}

void iret_cases(void) {
    there = (u64)CODE("nop");
    u64 narrow = (u64)CODE(".code32; nop; ud2");
    u64 us = TOP(1), ks = TOP(0);
    iret("to level 3", USER64, USER_DATA, us, 2, there);
    iret("to level 3 with flags", USER64, USER_DATA, us, 0x244ed7, there);
    iret("to level 3 with IOPL", USER64, USER_DATA, us, 0x3202, there);
    iret("to level 3, 32-bit", USER32, USER_DATA, us, 0x202, narrow);
    iret("to level 3, 32-bit, wide rsp", USER32, USER_DATA, 0xffffffff00000000 | us, 0x202, narrow);
    iret("to level 3, 32-bit, wide rip", USER32, USER_DATA, us, 0x202, 0x100000000 + narrow);
    iret("to level 0", CODE64, DATA, us, 2, there);
    iret("to level 0 with flags", CODE64, DATA, us, 0x240dd7 - 0x100, there);
    iret("to level 0, SS of no segment", CODE64, 0, us, 2, there);
    iret("to level 0, SS null of level 1", CODE64, 1, us, 2, there);
    iret("to level 0, SS of level 3", CODE64, USER_DATA, us, 2, there);
    iret("to level 0, 32-bit", CODE32, DATA, ks, 2, narrow);
    iret("to level 0, 32-bit, SS null", CODE32, 0, ks, 2, narrow);
    iret("to level 0, compatible, then SS null", CODE32, DATA, ks - 512, 2, (u64)CODE(".code32; xor eax, eax; mov ss, eax"));
    iret("to level 3, SS null", USER64, 0, us, 2, there);
    iret("to level 3, SS null of level 3", USER64, 3, us, 2, there);
    iret("to level 3, 32-bit, SS null of level 3", USER32, 3, us, 2, narrow);
    iret("to level 3, SS of level 0", USER64, DATA, us, 2, there);
    iret("to level 3, SS RPL 2", USER64, USER_DATA - 1, us, 2, there);
    iret("to level 3, SS code", USER64, USER32, us, 2, there);
    iret("to level 3, SS not present", USER64, NO_USER_DATA, us, 2, there);
    iret("to level 3, SS beyond the table", USER64, BEYOND | 3, us, 2, there);
    iret("to level 3, SS of no local table", USER64, 0xf, us, 2, there);
    iret("to level 3, SS a task state", USER64, TASK | 3, us, 2, there);
    iret("to level 3, stack nowhere", USER64, USER_DATA, 0x800000000000, 2, there);
    iret("to CS null", 0, DATA, ks, 2, there);
    iret("to CS null of level 3", 3, USER_DATA, us, 2, there);
    iret("to CS beyond the table", BEYOND, DATA, ks, 2, there);
    iret("to CS data", DATA, DATA, ks, 2, there);
    iret("to CS data of level 3", USER_DATA, USER_DATA, us, 2, there);
    iret("to CS not present", NO_CODE, DATA, ks, 2, there);
    iret("to CS of level 3, not present", NO_USER_CODE, USER_DATA, us, 2, there);
    iret("to CS RPL 3 of level 0", CODE64 | 3, USER_DATA, us, 2, there);
    iret("to CS RPL 0 of level 3", USER64 & ~3, DATA, ks, 2, there);
    iret("to CS conforming", CONFORMING, DATA, ks, 2, there);
    iret("to CS conforming, level 3", CONFORMING | 3, USER_DATA, us, 2, there);
    iret("to CS of both sizes", BOTH, DATA, ks, 2, there);
    iret("to CS of a task state", TASK, DATA, ks, 2, there);
    iret("to level 1", CODE_1 | 1, DATA_1 | 1, ks, 2, there);
    iret("to level 1, SS of level 3", CODE_1 | 1, USER_DATA, ks, 2, there);
    iret("to CS never accessed", FRESH_CODE, FRESH_DATA, us, 2, there);
    say("accessed code", gdt[FRESH_CODE / 8] >> 40 & 1);
    say("accessed stack", gdt[FRESH_DATA / 8] >> 40 & 1);
    in.flags |= NT;
    iret("with NT", CODE64, DATA, ks, 2, there);
    user();
    in.flags |= NT;
    iret("with NT at level 3", USER64, USER_DATA, us, 2, there);
    user();
    iret("at level 3 to itself", USER64, USER_DATA, us, 0x3247ed7 - 0x100, there);
    user();
    iret("at level 3, 32-bit", USER32, USER_DATA, us, 0x202, narrow);
    user();
    iret("at level 3 to level 0", CODE64, DATA, ks, 2, there);
    user();
    iret("at level 3 to level 2", CODE64 | 2, DATA, ks, 2, there);
    user();
    in.flags |= IOPL3;
    iret("at level 3 with IOPL", USER64, USER_DATA, us, 0x202, there);
    iretd("to level 3", USER64, USER_DATA, us, 0x244ed7, there);
    iretd("to level 3, 32-bit", USER32, USER_DATA, us, 0x202, narrow);
    iretd("to level 0", CODE64, DATA, ks, 2, there);
    iretd("to CS null", 0, DATA, ks, 2, there);
    // 16-bit operands: addresses of 16 bits, where nothing is.
    CASE("iretw", "pushw 0x10; pushw 0; pushw 2; pushw 0x58; pushw 0; iretw");
    // From 32-bit code, to its own level no stack pointer is popped.
    compat();
    CASE("iretd in 32-bit code", ".code32; push 0x4ed7; push 0x23; call 1f; 1: add dword ptr [esp], 5; iretd; nop; ud2");
    compat();
    CASE("iretd in 32-bit code to 64-bit", ".code32; push 0x2; push 0x33; call 1f; 1: add dword ptr [esp], 5; iretd; nop; ud2");
    compat();
    CASE("iretd in 32-bit code to level 0", ".code32; push 0x2; push 8; push 0; iretd");
    // Segments that level 3 may not have become null.
    silently(CODE("mov eax, 0x10; mov ds, eax; mov eax, 0x2b; mov es, eax; mov eax, 0x60; push 0x2b; push rsp; push 2; push 0x33; lea rax, [rip + 1f]; push rax; iretq; 1: nop"));
    say("DS at level 3", out.ds);
    say("ES at level 3", out.es);
    kernel();
}

void far_cases(void) {
    there = (u64)CODE("nop");
    u64 narrow = (u64)CODE(".code32; nop; ud2");
    static const struct {
        const char *name;
        u16 cs;
        u8 is_narrow;
    } TO[] = {
        {"the same", CODE64, 0}, {"32-bit", CODE32, 1}, {"null", 0, 0}, {"null 3", 3, 0}, {"data", DATA, 0}, {"beyond", BEYOND, 0},
        {"not present", NO_CODE, 0}, {"conforming", CONFORMING, 0}, {"conforming RPL 3", CONFORMING | 3, 0}, {"RPL 3", CODE64 | 3, 0},
        {"level 3", USER64, 0}, {"level 3 RPL 0", USER64 & ~3, 0}, {"level 3, 32-bit", USER32, 1}, {"level 1", CODE_1 | 1, 0}, {"both", BOTH, 0},
        {"task", TASK, 0}, {"interrupt gate", A_GATE, 0}, {"local table", CODE64 | 4, 0}, {"level 3 not present", NO_USER_CODE, 0},
        {"not readable", UNREADABLE, 0},
    };
    for (unsigned n = 0; n < sizeof TO / sizeof TO[0]; n++) {
        for (int is_user = 0; is_user < 2; is_user++) {
            const void *code[] = {
                CODE("mov [rsp-16], r8d; mov [rsp-12], r9w; jmp fword ptr [rsp-16]"),
                CODE("mov [rsp-32], r8d; mov [rsp-28], r9w; call fword ptr [rsp-32]"),
                CODE("mov [rsp-48], r8; mov [rsp-40], r9w; rex.w call fword ptr [rsp-48]"),
                CODE("mov [rsp-48], r8; mov [rsp-40], r9w; rex.w jmp fword ptr [rsp-48]"),
                CODE("push r9; push r8; retfq"),
                CODE("push rbx; push rdx; push r9; push r8; retfq"),
                CODE("shl r9, 32; or r8, r9; push rax; push r8; .byte 0xca, 8, 0"),
            };
            static const char *const NAMES[] = {"jmp", "call", "wide call", "wide jmp", "retfq", "retfq with a stack", "retf 8"};
            for (int k = 0; k < 7; k++) {
                // Level 1 has no stack here; QEMU's emulator does not check for a code segment of both sizes.
                if ((TO[n].cs == (CODE_1 | 1) && k >= 4) || (TO[n].cs == BOTH && k)) continue;
                if (is_user) user();
                in.r[R8] = TO[n].is_narrow ? narrow : there;
                in.r[R9] = TO[n].cs;
                in.r[RBX] = USER_DATA;
                in.r[RDX] = TOP(1);
                put(is_user ? "user far " : "far ");
                put(NAMES[k]);
                put(" to ");
                run(TO[n].name, code[k]);
            }
        }
    }
    // Where a far call left its words.
    CASE("far call and return", "lea rax, [rip + 1f]; mov [rsp-64], eax; mov word ptr [rsp-60], 0x68; call fword ptr [rsp-64]; nop; int3; 1: pop rcx; push rcx; mov edx, [rsp]; .byte 0xcb");
    CASE("wide far call", "lea rax, [rip + 1f]; mov [rsp-64], rax; mov word ptr [rsp-56], 8; rex.w call fword ptr [rsp-64]; nop; int3; 1: mov rcx, [rsp]; mov rdx, [rsp+8]; retfq");
    compat();
    CASE("far jmp in 32-bit code to 64-bit", ".code32; .byte 0xea; .long 1f; .word 0x33; .code64; 1: mov rax, 0x1234567890abcdef");
    compat();
    CASE("far call in 32-bit code", ".code32; .byte 0x9a; .long 1f; .word 0x23; nop; int3; 1: pop eax; pop ecx; push ecx; push eax; .byte 0xcb");
    compat();
    CASE("far call in 32-bit code to 64-bit and back", ".code32; .byte 0x9a; .long 1f; .word 0x33; nop; int3; .code64; 1: mov eax, [rsp]; mov ecx, [rsp+4]; .byte 0xcb");
    compat();
    CASE("far jmp in 32-bit code to level 0", ".code32; .byte 0xea; .long 0; .word 8");
}

// Call gates, which have the target's address in 16 bytes.
static void call_gate(u64 entry, unsigned selector, unsigned access) {
    gdt[CALL_GATE / 8] = (entry & 0xffff) | (u64)selector << 16 | (u64)access << 40 | (entry >> 16 & 0xffff) << 48;
    gdt[CALL_GATE / 8 + 1] = entry >> 32;
}

void gate_cases(void) {
    there = (u64)CODE("mov rax, [rsp]; mov rcx, [rsp+8]; mov rdx, [rsp+16]; mov rbx, [rsp+24]; nop");
    u64 back = (u64)CODE("mov ax, ss; retfq");
    static const struct {
        const char *name;
        unsigned selector, access;
    } GATES[] = {
        {"usual", CODE64, 0xec}, {"level 0", CODE64, 0x8c}, {"not present", CODE64, 0x6c}, {"level 0, not present", CODE64, 0xc},
        {"null", 0, 0xec}, {"data", DATA, 0xec}, {"code not present", NO_CODE, 0xec}, {"beyond", BEYOND, 0xec}, {"32-bit", CODE32, 0xec},
        {"conforming", CONFORMING, 0xec}, {"level 3", USER64, 0xec}, {"both", BOTH, 0xec}, {"RPL 3", CODE64 | 3, 0xec},
    };
    for (unsigned n = 0; n < sizeof GATES / sizeof GATES[0]; n++) {
        for (int k = 0; k < 6; k++) {
            call_gate(k == 5 ? back : there, GATES[n].selector, GATES[n].access);
            static const char *const HOW[] = {"call", "user call", "user jmp", "jmp", "user call by RPL 0", "user call and return"};
            if (k == 5 && n) continue;
            if (k == 1 || k == 2 || k >= 4) user();
            in.r[R9] = CALL_GATE | (k == 0 || k == 3 || k == 4 ? 0 : 3);
            in.r[R8] = 0x99999999;
            put(HOW[k]);
            put(" by a gate, ");
            run(GATES[n].name, k == 2 || k == 3 ? CODE("mov [rsp-64], r8d; mov [rsp-60], r9w; jmp fword ptr [rsp-64]")
                                                : CODE("mov [rsp-64], r8d; mov [rsp-60], r9w; call fword ptr [rsp-64]"));
        }
    }
    // The upper half has a type, too, which must be 0.
    call_gate(there, CODE64, 0xec);
    gdt[CALL_GATE / 8 + 1] |= 1ul << 40;
    user();
    CASE("gate with an upper type", "mov word ptr [rsp-60], 0xd3; call fword ptr [rsp-64]");
    call_gate(0x800000000000, CODE64, 0xec);
    user();
    CASE("gate to nowhere", "mov word ptr [rsp-60], 0xd3; call fword ptr [rsp-64]");
}

static void msr(u32 number, u64 value) { wrmsr(number, value); }

void syscall_cases(void) {
    there = (u64)CODE("nop");
    u64 narrow = (u64)CODE(".code32; nop; ud2");
    msr(0xc0000081, (u64)(USER32) << 48 | (u64)CODE64 << 32);
    msr(0xc0000082, there);
    for (int n = 0; n < 4; n++) {
        static const u64 MASKS[] = {0, 0x47700, 0xffffffff, 0x200};
        msr(0xc0000084, MASKS[n]);
        // QEMU's emulator loses the arithmetic flags.
        user();
        in.flags |= 0x244200;
        put("syscall, mask ");
        hex(MASKS[n]);
        CASE("", "syscall");
        in.flags |= TF;
        put("syscall with TF, mask ");
        hex(MASKS[n]);
        CASE("", "syscall");
        in.flags |= IF;
        put("syscall at level 0, mask ");
        hex(MASKS[n]);
        CASE("", "syscall");
    }
    msr(0xc0000084, 0x4);
    in.flags |= 0xcd7;
    CASE("syscall with arithmetic flags", "syscall");
    msr(0xc0000084, 0);
    msr(0xc0000080, 0x900 & ~1ul);
    user();
    CASE("syscall without SCE", "syscall");
    CASE("sysret without SCE", "sysretq");
    msr(0xc0000080, 0x901 | 0x800);
    // sysret: RIP from rcx, flags from r11.
    static const u64 FLAGS[] = {2, 0x200, 0x3c7ed7, 0x244ed7, 0};
    for (int n = 0; n < 5; n++) {
        in.r[RCX] = there;
        in.r[R11] = FLAGS[n];
        put("sysretq, flags ");
        hex(FLAGS[n]);
        CASE("", "sysretq");
        in.r[RCX] = 0x900000000 | narrow;
        in.r[R11] = FLAGS[n];
        put("sysretl, flags ");
        hex(FLAGS[n]);
        CASE("", ".byte 0x0f, 0x07");
    }
    in.r[RCX] = 0x800000000000;
    in.r[R11] = 2;
    CASE("sysretq to nowhere", "sysretq");
    in.r[RCX] = there;
    in.r[R11] = 2;
    msr(0xc0000081, (u64)0x20 << 48 | (u64)CODE64 << 32);
    CASE("sysretq, star of level 0", "sysretq");
    msr(0xc0000081, (u64)(USER32) << 48 | (u64)(CODE64 | 3) << 32);
    user();
    CASE("syscall, star of level 3", "syscall");
    msr(0xc0000081, (u64)(USER32) << 48 | (u64)CODE64 << 32);
    compat();
    CASE("sysret in 32-bit code", ".code32; .byte 0x0f, 0x07");
    // sysenter and sysexit.
    msr(0x174, CODE64);
    msr(0x175, TOP(2));
    msr(0x176, there);
    for (int n = 0; n < 3; n++) {
        if (n == 1) user();
        if (n == 2) compat();
        in.flags |= 0x244cd7 | IF;
        put(n == 0 ? "kernel " : n == 1 ? "user " : "compat ");
        CASE("sysenter", "sysenter");
        in.r[RCX] = TOP(1);
        in.r[RDX] = there;
        in.flags |= IF;
        if (n) continue;
        CASE("sysexitq", "sysexitq");
        in.r[RCX] = 0x100000000 | TOP(1);
        in.r[RDX] = 0x100000000 | narrow;
        CASE("sysexitl", ".byte 0x0f, 0x35");
    }
    in.r[RCX] = TOP(1);
    in.r[RDX] = 0x800000000000;
    CASE("sysexitq to nowhere", "sysexitq");
    in.r[RCX] = 0x800000000000;
    in.r[RDX] = there;
    CASE("sysexitq with a stack nowhere", "sysexitq");
    msr(0x174, CODE64 | 3);
    user();
    CASE("sysenter, level 3 in the selector", "sysenter");
    msr(0x174, 0);
    user();
    CASE("sysenter without a segment", "sysenter");
    CASE("sysexit without a segment", "sysexitq");
    msr(0x174, 3);
    user();
    CASE("sysenter with a null segment", "sysenter");
    // swapgs and the bases.
    msr(0xc0000101, 0x1111);
    msr(0xc0000102, 0xffff800000002222);
    silently(CODE("swapgs"));
    kernel();
    say("GS base swapped", rdmsr(0xc0000101));
    say("the other", rdmsr(0xc0000102));
    msr(0xc0000101, (u64)&out);
    msr(0xc0000100, (u64)&in);
    CASE("loads by FS and GS", "mov rax, fs:[8]; mov rcx, gs:[8]");
    silently(CODE("xor eax, eax; mov fs, eax; mov eax, 0x2b; mov gs, eax"));
    kernel();
    say("GS base of a segment", rdmsr(0xc0000101));
    compat();
    CASE("swapgs in 32-bit code", ".code32; .byte 0x0f, 0x01, 0xf8");
    CASE("rdfsbase", "rdfsbase rax");
    write_cr4(read_cr4());
    asm volatile("mov %0, %%fs; mov %0, %%gs" : : "r"(0));
    msr(0xc0000100, 0);
    msr(0xc0000101, 0);
    msr(0xc0000102, 0);
}
