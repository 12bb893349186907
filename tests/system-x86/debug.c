// Single steps.

#include "guest.h"

// Steps from the case's beginning to `ud2`, and reports where each trap came.
static void steps(const char *name, const void *code, int most) {
    in.flags |= TF;
    struct state first = in;
    first.rip = (u64)code;
    in.rip = (u64)code;
    for (int n = 0; n < most; n++) {
        go();
        put(name);
        put(" ");
        hex(n);
        put(": v=");
        hex(out.vector);
        put(" rip=+");
        hex(out.rip - first.rip);
        put(" cs=");
        hex(out.cs);
        put(" fl=");
        hex(out.flags & ~(RF | CF | PF | AF | ZF | SF | OF));
        put(" dr6=");
        hex(out.dr6);
        put(" rcx=");
        hex(out.r[RCX]);
        put(" in fl=");
        hex(out.inner_flags & ~(CF | PF | AF | ZF | SF | OF));
        put("\n");
        if (out.vector != 1) break;
        // Continues where it was.
        struct state next = out;
        for (int k = 0; k < 16; k++) in.r[k] = next.r[k];
        in.rip = next.rip;
        in.cs = next.cs;
        in.ss = next.ss;
        in.flags = next.flags;
    }
    kernel();
}

static void msr(u32 number, u64 value) { wrmsr(number, value); }

void single_steps(void) {
    for (int is_user = 0; is_user < 2; is_user++) {
#define STEPS(name, text)                                           \
    do {                                                            \
        if (is_user) user();                                        \
        const void *code = CODE(text);                              \
        steps(is_user ? "user " name : name, code, 12);             \
    } while (0)
        STEPS("plain", "nop; mov eax, 1; add eax, ecx; jmp 1f; nop; 1: call 2f; 2: pop rax");
        STEPS("rep", "mov rsi, rsp; lea rdi, [rsp-64]; mov ecx, 3; rep movsb; nop");
        STEPS("rep of nothing", "xor ecx, ecx; rep stosb; nop");
        STEPS("repne scasb that finds", "lea rdi, [rsp-64]; mov al, [rdi]; mov ecx, 5; repne scasb; nop");
        STEPS("fault", "nop; mov rax, 0x7000000000; mov rax, [rax]");
        STEPS("int n", "nop; int 0x80; nop");
        STEPS("int3", "nop; int3");
        STEPS("pushf and popf", "pushfq; mov eax, [rsp]; popfq; nop; nop");
        STEPS("popf that clears TF", "pushfq; and dword ptr [rsp], 0xfffffeff; popfq; nop; nop");
        STEPS("loads of segments", "mov eax, ds; mov ds, eax; mov es, eax; nop");
        STEPS("cpuid and rdtsc", "xor eax, eax; cpuid; rdtsc; nop");
        STEPS("taken and not", "xor ecx, ecx; jnz 1f; jz 1f; nop; 1: jrcxz 2f; nop; 2: nop");
        STEPS("x87", "fninit; fld1; fwait; fstp st(0)");
    }
    // There is no trap after the instruction that sets TF.
    CASE("popf that sets TF", "pushfq; or dword ptr [rsp], 0x100; popfq; nop; nop");
    CASE("iretq that sets TF", "mov rax, rsp; push 0x10; push rax; pushq 0x102; push 8; lea rax, [rip + 1f]; push rax; iretq; nop; 1: nop; nop");
    CASE("iretq that sets TF, level 3", "push 0x2b; push rsp; pushq 0x102; push 0x33; lea rax, [rip + 1f]; push rax; iretq; nop; 1: nop; nop");
    in.flags |= TF;
    steps("iretq that clears TF", CODE("mov rax, rsp; push 0x10; push rax; pushq 2; push 8; lea rax, [rip + 1f]; push rax; iretq; nop; 1: nop; nop"), 12);
    // Calls of the system.
    there = (u64)CODE("nop; nop");
    msr(0xc0000081, (u64)(USER32) << 48 | (u64)CODE64 << 32);
    msr(0xc0000082, there);
    msr(0xc0000084, TF);
    user();
    in.flags |= TF;
    CASE("syscall that clears TF", "syscall");
    msr(0xc0000084, 0);
    user();
    in.flags |= TF;
    CASE("syscall that keeps TF", "syscall");
    in.r[RCX] = there;
    in.r[R11] = 0x102;
    CASE("sysretq that sets TF", "sysretq");
    msr(0x174, CODE64);
    msr(0x175, TOP(2));
    msr(0x176, there);
    user();
    in.flags |= TF;
    CASE("sysenter with TF", "sysenter");
    // Shadows: nothing traps between a load of SS and the next instruction.
    steps("mov ss", CODE("mov eax, ss; mov ss, eax; nop; nop"), 8);
    steps("pop ss by lss", CODE("mov [rsp-16], esp; mov [rsp-12], ss; lss esp, [rsp-16]; nop; nop"), 8);
    steps("sti", CODE("sti; nop; nop; cli"), 2);
    CASE("mov ss, then a fault", "mov eax, ss; mov ss, eax; ud2");
    in.flags |= TF;
    CASE("mov ss with TF, then a fault", "mov ss, ebx; ud2");
    in.flags |= TF;
    in.r[RBX] = DATA;
    CASE("mov ss with TF, then an interrupt", "mov ss, ebx; int 0x80");
    // The handler runs without it.
    in.flags |= TF | IF | NT | AC | DF;
    CASE("flags in the handler", "nop");
    asm volatile("mov %0, %%dr6" : : "r"(0ul));
    in.flags |= TF;
    CASE("dr6 from 0", "nop");
    in.flags |= TF;
    CASE("dr6 is cleared by nobody", "nop");
}
