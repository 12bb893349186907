// Exceptions that instructions raise, and how they are delivered.

#include "guest.h"

// A case at level 0 and at level 3.
#define BOTH_LEVELS(name, text)        \
    do {                               \
        const void *code = CODE(text); \
        kernel();                      \
        run("kernel " name, code);     \
        user();                        \
        run("user " name, code);       \
    } while (0)
#define USER(name, text) \
    do {                 \
        user();          \
        CASE(name, text); \
    } while (0)
#define COMPAT(name, text)                \
    do {                                  \
        compat();                         \
        CASE(name, ".code32; " text "; ud2"); \
    } while (0)

static void arithmetic(void) {
    BOTH_LEVELS("div by 0", "xor ecx, ecx; div ecx");
    BOTH_LEVELS("div overflow", "mov edx, 5; mov ecx, 5; div ecx");
    BOTH_LEVELS("idiv overflow", "mov eax, 0x80000000; mov edx, -1; mov ecx, -1; idiv ecx");
    BOTH_LEVELS("int3", "nop; int3");
    BOTH_LEVELS("int 3", "int 3");
    // QEMU's emulator takes `int1` for its debugger's.
    if (!on_qemu) BOTH_LEVELS("int1", ".byte 0xf1");
    BOTH_LEVELS("ud2", "nop");
    BOTH_LEVELS("ud1", "ud1 eax, ecx");
    BOTH_LEVELS("push es in 64-bit mode", ".byte 6");
    BOTH_LEVELS("into in 64-bit mode", ".byte 0xce");
    BOTH_LEVELS("far jmp by immediate", ".byte 0xea, 0, 0, 0, 0, 8, 0");
    BOTH_LEVELS("lea of a register", ".byte 0x8d, 0xc0");
    BOTH_LEVELS("mov to cs", ".byte 0x8e, 0xc8");
    BOTH_LEVELS("mov from segment 6", ".byte 0x8c, 0xf0");
    BOTH_LEVELS("lock nop", ".byte 0xf0, 0x90");
    BOTH_LEVELS("lock add to a register", ".byte 0xf0, 0x01, 0xc0");
    BOTH_LEVELS("lock mov", ".byte 0xf0, 0x89, 0x04, 0x24");
    BOTH_LEVELS("cmpxchg8b of a register", ".byte 0x0f, 0xc7, 0xc8");
    BOTH_LEVELS("15 bytes", ".fill 11, 1, 0x66; .byte 0x0f, 0x1f, 0x40, 0x00");
    BOTH_LEVELS("16 bytes", ".fill 12, 1, 0x66; .byte 0x0f, 0x1f, 0x40, 0x00");
    in.flags |= OF;
    compat();
    in.flags |= OF | CF;
    CASE("into", ".code32; nop; into; ud2");
    COMPAT("into without overflow", "into");
    COMPAT("bound above", "push 9; push 5; mov eax, 10; bound eax, [esp]");
    COMPAT("bound below", "push 9; push 5; mov eax, 4; bound eax, [esp]");
    COMPAT("bound inside", "push 9; push -5; mov eax, 9; bound eax, [esp]");
    COMPAT("16-bit bound", "push 0x00090005; mov eax, 0x10009; bound ax, [esp]; mov al, 10; bound ax, [esp]");
    COMPAT("syscall", "syscall");
}

static void privileged(void) {
    USER("user hlt", "hlt");
    USER("user cli", "cli");
    USER("user sti", "sti");
    USER("user in", "in al, 0x80");
    USER("user out dx", "mov edx, 0x3f9; out dx, eax");
    USER("user insb", "mov edx, 0x3fd; mov rdi, rsp; insb");
    USER("user rep outsb of nothing", "mov edx, 0x3fd; xor ecx, ecx; rep outsb");
    USER("user mov from cr0", "mov rax, cr0");
    USER("user mov to cr3", "mov cr3, rax");
    USER("user mov from cr8", "mov rax, cr8");
    USER("user mov from dr7", "mov rax, dr7");
    USER("user mov to dr0", "mov dr0, rax");
    USER("user clts", "clts");
    USER("user lmsw", "lmsw ax");
    USER("user smsw", "smsw eax");
    USER("user lgdt", "lgdt [rsp-16]");
    USER("user lidt", "lidt [rsp-16]");
    USER("user lldt", "xor eax, eax; lldt ax");
    USER("user ltr", "mov eax, 0x98; ltr ax");
    USER("user sldt and str", "sldt eax; str ecx");
    USER("user sgdt", "sgdt [rsp-16]; mov ax, [rsp-16]; sidt [rsp-16]; mov cx, [rsp-16]; and eax, 0xfffff; and ecx, 0xfffff");
    USER("user invlpg", "invlpg [rsp]");
    USER("user wbinvd", "wbinvd");
    USER("user invd", "invd");
    USER("user rdmsr", "mov ecx, 0xc0000080; rdmsr");
    USER("user wrmsr", "mov ecx, 0xc0000102; wrmsr");
    USER("user swapgs", "swapgs");
    USER("user sysret", "sysretq");
    USER("user sysexit", "sysexitq");
    USER("user rdpmc", "xor ecx, ecx; rdpmc");
    USER("user iret to level 0", "push 0x10; push 0; push 2; push 8; push 0; iretq");
    write_cr4(read_cr4() | 4);
    USER("user rdtsc with TSD", "rdtsc");
    USER("user rdtscp with TSD", "rdtscp");
    write_cr4(read_cr4() & ~4ul);
    for (u64 level = 0; level < 4; level++) {
        user();
        in.flags |= level << 12 | IF;
        CASE(level == 3 ? "cli by IOPL 3" : level == 2 ? "cli by IOPL 2" : level ? "cli by IOPL 1" : "cli by IOPL 0",
             "cli");
    }
    user();
    in.flags |= IOPL3;
    CASE("ports by IOPL 3", "in al, 0x61; mov eax, 0; mov edx, 0x80; out dx, al");
    user();
    in.flags |= IOPL3 | IF;
    CASE("popf by IOPL 3", "pushq 0x202cd7; popfq; pushfq; pop rax");
    user();
    in.flags |= IF;
    CASE("popf by IOPL 0", "pushq 0x3cd7; popfq; pushfq; pop rax");
    in.flags |= IOPL3;
    CASE("popf at level 0", "pushq 0x247fd7 - 0x100; popfq; pushfq; pop rax; cli");
    CASE("16-bit popf at level 0", "pushq 0; pushw 0x7ed7; popfw; pushfq; pop rax; cli; cld");
    COMPAT("popfd", "push 0x3ff6d7 - 0x200; popfd; pushfd; pop eax");
}

// Ports by the task's bitmap.
static void bitmap(void) {
    u16 usual = task.map;
    task.map = __builtin_offsetof(struct task, bitmap);
    memset(task.bitmap, 0xff, sizeof task.bitmap);
    task.bitmap[0x80 / 8] = 0xfe;
    task.bitmap[0x61 / 8] &= ~2;
    USER("a port that is free", "xor eax, eax; out 0x80, al");
    USER("a port that is not", "xor eax, eax; out 0x81, al");
    USER("two ports, one of them free", "xor eax, eax; out 0x80, ax");
    USER("two ports, the second free", "mov edx, 0x60; in ax, dx");
    task.bitmap[0xffff / 8] = 0x7f;
    USER("the last port", "mov edx, 0xffff; xor eax, eax; out dx, al");
    USER("two ports at the end", "mov edx, 0xffff; xor eax, eax; out dx, ax");
    task.map = usual;
}

static void fpu(void) {
    u64 cr0 = read_cr0(), cr4 = read_cr4();
    for (u64 n = 0; n < 8; n++) {
        // TS, EM and MP in all combinations.
        u64 bits = (n & 1) << 3 | (n & 2) << 1 | (n & 4) >> 1;
        static const char *const NAMES[8] = {"none", "TS", "EM", "TS EM", "MP", "TS MP", "EM MP", "TS EM MP"};
        const void *code[] = {
            CODE("fld1; fstp st(0)"), CODE("fwait"),          CODE("paddb mm0, mm1; emms"), CODE("movaps xmm0, xmm1"),
            CODE("fxsave [rsp-512]"), CODE("ldmxcsr [rsp-4]"), CODE("movnti [rsp-8], eax"),  CODE("fnstsw ax"),
            CODE("crc32 eax, al"),    CODE("fninit"),          CODE("lfence; prefetcht0 [rsp]"),
        };
        static const char *const WHAT[] = {"x87", "fwait", "MMX", "SSE", "fxsave", "ldmxcsr", "movnti", "fnstsw", "crc32", "fninit", "lfence"};
        for (unsigned k = 0; k < sizeof code / sizeof code[0]; k++) {
            asm volatile("fninit");
            memset(stacks[0], 0, 4096);
            write_cr0((cr0 & ~0xeul) | bits);
            silently(code[k]);
            write_cr0(cr0 & ~0xeul);
            put(WHAT[k]);
            put(" with ");
            report(NAMES[n]);
            kernel();
        }
    }
    write_cr0(cr0);
    write_cr4(cr4 & ~0x200ul);
    CASE("SSE without OSFXSR", "movaps xmm0, xmm1");
    CASE("SSE2 without OSFXSR", "paddb xmm0, xmm1");
    CASE("MMX without OSFXSR", "paddb mm0, mm1; emms");
    CASE("ldmxcsr without OSFXSR", "movd [rsp-4], 0x1f80; ldmxcsr [rsp-4]");
    CASE("movnti without OSFXSR", "movnti [rsp-8], eax");
    CASE("fxsave without OSFXSR", "fxsave [rsp-512]");
    write_cr4(cr4);
    CASE("x87 error", "fninit; mov dword ptr [rsp-4], 0x37b; fldcw [rsp-4]; fld1; fldz; fdivp st(1), st; nop; fwait");
    CASE("x87 error at the next instruction", "fninit; mov dword ptr [rsp-4], 0x37b; fldcw [rsp-4]; fld1; fldz; fdivp st(1), st; fnstsw ax; fnop; nop; fld1");
    CASE("x87 error cleared", "fninit; mov dword ptr [rsp-4], 0x37b; fldcw [rsp-4]; fld1; fldz; fdivp st(1), st; fnclex; fwait");
    user();
    CASE("user x87 invalid", "fninit; mov dword ptr [rsp-4], 0x37e; fldcw [rsp-4]; fldz; fldz; fdivp st(1), st; nop; fwait");
    asm volatile("fninit");
#define DIVIDES "mov dword ptr [rsp-4], 0x1d80; ldmxcsr [rsp-4]; mov eax, 0x3f800000; movd xmm0, eax; xorps xmm1, xmm1; divss xmm0, xmm1; "
#define QUIET "mov dword ptr [rsp-4], 0x1f80; ldmxcsr [rsp-4]; "
    CASE("SSE error", DIVIDES);
    user();
    CASE("user SSE error", DIVIDES);
    write_cr4(cr4 & ~0x400ul);
    CASE("SSE error without OSXMMEXCPT", DIVIDES);
    write_cr4(cr4);
    CASE("SSE error masked", QUIET "mov eax, 0x3f800000; movd xmm0, eax; xorps xmm1, xmm1; divss xmm0, xmm1; stmxcsr [rsp-4]; mov eax, [rsp-4]");
    CASE("ldmxcsr of a reserved bit", "mov dword ptr [rsp-4], 0x11f80; ldmxcsr [rsp-4]");
    CASE("SSE operand misaligned", QUIET "movaps xmm0, [rsp-15]");
    CASE("SSE store misaligned", "movaps [rsp-15], xmm0");
    CASE("fxsave misaligned", "fxsave [rsp-520]");
    user();
    CASE("user cmpxchg16b misaligned", "cmpxchg16b [rsp-24]");
}

// Gates and what is wrong with them.
static void gates(void) {
    const u64 entry = (u64)vectors + 16 * 0x90;
    static const struct {
        const char *name;
        unsigned selector, access, ist;
    } GATES[] = {
        {"usual", CODE64, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"trap", CODE64, PRESENT | LEVEL3 | TRAP, 0},
        {"level 0", CODE64, PRESENT | INTERRUPT, 0},
        {"level 1", CODE64, PRESENT | 0x20 | INTERRUPT, 0},
        {"not present", CODE64, LEVEL3 | INTERRUPT, 0},
        {"level 0 and not present", CODE64, INTERRUPT, 0},
        {"task", CODE64, PRESENT | LEVEL3 | 5, 0},
        {"call", CODE64, PRESENT | LEVEL3 | 12, 0},
        {"16-bit", CODE64, PRESENT | LEVEL3 | 6, 0},
        {"code segment", CODE64, PRESENT | LEVEL3 | 0x1e, 0},
        {"null selector", 0, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"null selector of level 3", 3, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"data selector", DATA, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"selector beyond the table", BEYOND, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"selector of no local table", CODE64 | 4, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"segment not present", NO_CODE, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"32-bit segment", CODE32, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"segment of both sizes", BOTH, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"task selector", TASK, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"selector with level 3", CODE64 | 3, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"level 3 segment", USER64, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"conforming segment", CONFORMING, PRESENT | LEVEL3 | INTERRUPT, 0},
        {"interrupt stack 1", CODE64, PRESENT | LEVEL3 | INTERRUPT, 1},
        {"interrupt stack 7", CODE64, PRESENT | LEVEL3 | TRAP, 7},
    };
    for (unsigned n = 0; n < sizeof GATES / sizeof GATES[0]; n++) {
        gate(0x90, entry, GATES[n].selector, GATES[n].access, GATES[n].ist);
        for (int level = 0; level < 3; level++) {
            if (level == 1) user();
            if (level == 2) compat();
            in.flags |= IF | AC | ZF;
            put(level == 0 ? "kernel" : level == 1 ? "user" : "compat");
            put(" gate, ");
            run(GATES[n].name, CODE("int 0x90"));
        }
    }
    usual_gate(0x90);
    gate(0x90, 0x800000000000, CODE64, PRESENT | LEVEL3 | INTERRUPT, 0);
    USER("handler nowhere", "int 0x90");
    usual_gate(0x90);
    // The table's end.
    struct table shorter = {16 * 0x90 - 1, (u64)idt}, usual = {4095, (u64)idt};
    asm volatile("lidt %0" : : "m"(shorter));
    CASE("vector beyond the table", "int 0x90");
    USER("user vector beyond the table", "int 0x90");
    shorter.limit = 16 * 0x90 + 14;
    asm volatile("lidt %0" : : "m"(shorter));
    CASE("vector half beyond the table", "int 0x90");
    shorter.limit = 16 * 0x90 + 15;
    asm volatile("lidt %0" : : "m"(shorter));
    gate(0x90, entry, CODE64, PRESENT | LEVEL3 | INTERRUPT, 0);
    CASE("vector at the table's end", "int 0x90");
    asm volatile("lidt %0" : : "m"(usual));
    usual_gate(0x90);
    // Gates of exceptions are not for software.
    USER("int 14", "int 14");
    USER("int 13", "int 13");
    CASE("int 6 of level 0", "int 6");
    gate(3, (u64)vectors + 48, CODE64, PRESENT | INTERRUPT, 0);
    USER("int3 by a gate of level 0", "int3");
    usual_gate(3);
    gate(4, (u64)vectors + 64, CODE64, PRESENT | INTERRUPT, 0);
    compat();
    in.flags |= OF;
    CASE("into by a gate of level 0", ".code32; into");
    usual_gate(4);
    // Stacks: the frame is aligned to 16 bytes only where it is pushed by level 0 (SDM 6.14.2).
    for (int n = 0; n < 16; n += 5) {
        in.r[RSP] -= n;
        put("stack -");
        hex(n);
        CASE("", "int 0x80");
    }
    user();
    in.r[RSP] -= 3;
    CASE("user stack misaligned", "int 0x80");
    u64 stack = task.rsp[0];
    task.rsp[0] = stack - 5;
    USER("stack of level 0 misaligned", "int 0x80");
    task.rsp[0] = stack;
}

// Exceptions while an exception is delivered.
static void nested(void) {
    u64 stack = task.rsp[0], ist = task.ist[1];
    // No page is there.
    const u64 nowhere = 0x7000000000;
    task.ist[1] = nowhere;
    const u64 entry = (u64)vectors;
    gate(13, entry + 16 * 13, CODE64, PRESENT | INTERRUPT, 2);
    CASE("no stack for #GP", "mov eax, 0x200; mov ds, eax");
    gate(14, entry + 16 * 14, CODE64, PRESENT | INTERRUPT, 2);
    CASE("no stack for #PF", "mov rbx, 0x7000001000; mov al, [rbx]");
    usual_gate(13);
    gate(14, entry + 16 * 14, NO_CODE, PRESENT | INTERRUPT, 0);
    CASE("#NP for #PF", "mov rbx, 0x7000001000; mov al, [rbx]");
    usual_gate(14);
    gate(0, entry, NO_CODE, PRESENT | INTERRUPT, 0);
    CASE("#NP for #DE", "xor ecx, ecx; div ecx");
    gate(0, entry, CODE64, PRESENT | INTERRUPT, 2);
    CASE("#PF for #DE", "xor ecx, ecx; div ecx");
    usual_gate(0);
    gate(0x90, entry + 16 * 0x90, CODE64, PRESENT | LEVEL3 | INTERRUPT, 2);
    CASE("#PF for int n", "int 0x90");
    USER("#PF for int n of level 3", "int 0x90");
    usual_gate(0x90);
    gate(6, entry + 16 * 6, CODE64, PRESENT | INTERRUPT, 2);
    CASE("#PF for #UD", "nop");
    usual_gate(6);
    task.ist[1] = ist;
    // #PF has a stack of its own, so that there is one for it.
    gate(14, entry + 16 * 14, CODE64, PRESENT | INTERRUPT, 3);
    task.rsp[0] = nowhere;
    USER("no stack for int n", "int 0x80");
    USER("no stack for #UD", "");
    gate(8, entry + 16 * 8, CODE64, PRESENT | INTERRUPT, 1);
    USER("no stack for #DE", "xor ecx, ecx; div ecx");
    task.rsp[0] = stack;
    usual_gate(14);
}

void faults(void) {
    arithmetic();
    privileged();
    bitmap();
    fpu();
}

void delivery(void) {
    gates();
    nested();
}

// The last thing that is said: there is no handler for anything.
void triple_fault(void) {
    put("about to fault\n");
    struct table none = {0, 0};
    asm volatile("lidt %0; ud2" : : "m"(none));
}
