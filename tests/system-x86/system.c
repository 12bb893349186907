// System registers and segments.

#include "guest.h"

static const unsigned SELECTORS[] = {
    0,    3,     CODE64, DATA, CODE32, USER32, USER_DATA, USER64, TASK, LDT,       NO_CODE,    NO_DATA,    CONFORMING, READ_ONLY, UNREADABLE,
    BOTH, NO_USER_DATA, NO_USER_CODE, TASK2, BUSY, CODE_1, DATA_1, SMALL, CALL_GATE, A_GATE, FRESH_DATA, FRESH_CODE, DOWNWARDS, OLD_TASK, BEYOND,
};
#define COUNT (sizeof SELECTORS / sizeof SELECTORS[0])

static void local_table(void) {
    static u64 ldt[4] = {0x00cff3000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff, 0x00cff1000000ffff};
    u64 base = (u64)ldt;
    gdt[LDT / 8] = 31 | (base & 0xffffff) << 16 | 0x82ul << 40 | (base >> 24 & 0xff) << 56;
    gdt[LDT / 8 + 1] = base >> 32;
}

void segments(void) {
    local_table();
    gdt[CALL_GATE / 8] = 0x0000ec0000080000;
    gdt[CALL_GATE / 8 + 1] = 0;
    // What can be known of descriptors.
    for (unsigned n = 1; n < COUNT; n++) {
        for (int level = 0; level < 3; level++) {
            for (int rpl = 0; rpl < 4; rpl += 3) {
                const void *code = level == 2 ? CODE(".code32; .byte 0x0f, 2, 0xc1; pushfd; .byte 0x0f, 3, 0xd1; pushfd; verr cx; pushfd; verw cx; pushfd; pop ebx; pop esi; pop edi; pop ebp; ud2")
                                              : CODE("lar eax, ecx; pushfq; lsl edx, ecx; pushfq; verr cx; pushfq; verw cx; pushfq; pop rbx; pop rsi; pop rdi; pop rbp");
                if (level == 1) user();
                if (level == 2) compat();
                in.r[RCX] = (SELECTORS[n] & ~3u) | rpl | 0x30000;
                in.r[RAX] = in.r[RDX] = 0x5555;
                silently(code);
                put(level == 0 ? "kernel " : level == 1 ? "user " : "compat ");
                hex(in.r[RCX] & 0xffff);
                put(": lar ");
                hex(out.r[RAX]);
                put(" lsl ");
                hex(out.r[RDX]);
                put(" flags");
                for (int k = 0; k < 4; k++) {
                    put(" ");
                    hex(out.r[k == 0 ? RBP : k == 1 ? RDI : k == 2 ? RSI : RBX]);
                }
                put("\n");
                kernel();
            }
        }
    }
    // Loads of segment registers.
    for (unsigned n = 0; n < COUNT; n++) {
        for (int is_user = 0; is_user < 2; is_user++) {
            static const char *const NAMES[] = {"ds", "ss", "fs", "pop gs", "lss"};
            const void *code[] = {
                CODE("mov ds, ecx"), CODE("mov ss, ecx; nop"), CODE("mov fs, ecx; mov eax, fs"), CODE("push rcx; pop gs; mov eax, gs"),
                CODE("mov [rsp-16], esp; mov [rsp-12], cx; lss esp, [rsp-16]; nop"),
            };
            for (int k = 0; k < 5; k++) {
                if (is_user) user();
                in.r[RCX] = SELECTORS[n];
                put(is_user ? "user " : "");
                put(NAMES[k]);
                put(" with ");
                hex(SELECTORS[n]);
                run("", code[k]);
            }
        }
    }
    say("data descriptor accessed", gdt[FRESH_DATA / 8] >> 40 & 1);
    // The task register and the local table.
    for (unsigned n = 0; n < COUNT; n++) {
        // QEMU's emulator takes a 16-bit task state, and none.
        if (SELECTORS[n] != TASK2 && !(on_qemu && (SELECTORS[n] < 4 || SELECTORS[n] == OLD_TASK))) {
            in.r[RCX] = SELECTORS[n];
            put("ltr ");
            hex(SELECTORS[n]);
            CASE("", "ltr cx; str eax");
        }
        in.r[RCX] = SELECTORS[n];
        put("lldt ");
        hex(SELECTORS[n]);
        CASE("", "lldt cx; sldt eax; mov ecx, 0xc; mov ds, ecx; mov ecx, 0x1c; mov es, ecx");
    }
    CASE("lldt", "mov ecx, 0x48; lldt cx; sldt eax; mov ecx, 0xc; mov ds, ecx");
    CASE("level 3 in the local table", "mov ecx, 0xf; mov ds, ecx; mov es, ecx");
    user();
    CASE("user, local table", "mov ecx, 0xf; mov ds, ecx; mov ecx, 7; mov es, ecx");
    user();
    CASE("beyond the local table", "mov ecx, 0x27; mov ds, ecx");
    CASE("code in the local table", "push 0xf; push rsp; pushq 2; push 0x17; lea rax, [rip + 1f]; push rax; iretq; 1: nop");
    CASE("ltr of another task", "mov ecx, 0x98; ltr cx; str eax");
    say("busy then", gdt[TASK2 / 8] >> 40 & 0xff);
    CASE("ltr of the busy task", "mov ecx, 0x98; ltr cx");
    silently(CODE("xor ecx, ecx; lldt cx"));
    kernel();
    CASE("no local table", "mov ecx, 0xf; mov ds, ecx");
    // A table that ends in the middle of a descriptor.
    struct table shorter = gdt_register;
    shorter.limit = TASK2 + 7;
    gdt[TASK2 / 8] &= ~(2ul << 40);
    asm volatile("lgdt %0" : : "m"(shorter));
    CASE("half a task state", "mov ecx, 0x98; ltr cx");
    shorter.limit = TASK2 + 6;
    asm volatile("lgdt %0" : : "m"(shorter));
    CASE("no task state", "mov ecx, 0x98; ltr cx");
    CASE("nothing beyond", "mov ecx, 0xf0; mov ds, ecx");
    asm volatile("lgdt %0" : : "m"(gdt_register));
    // QEMU's emulator takes them.
    if (on_qemu) return;
    CASE("lgdt of what is not canonical", "mov rax, 0x800000000000; mov [rsp-8], rax; lgdt [rsp-10]");
    CASE("lidt of what is not canonical", "mov rax, 0x800000000000; mov [rsp-8], rax; lidt [rsp-10]");
}

// Bits of a register that cannot be changed because that faults, those that do not change, and those that do.
static u64 refused, ignored, changed;

static void bit_tried(u64 bit, u64 before, u64 after) {
    if (out.vector == 13 && out.code == 0 && out.rip == in.rip) refused |= bit;
    else if (before == after) ignored |= bit;
    else if ((before ^ after) == bit) changed |= bit;
    else put("another bit changed: 1\n");
    kernel();
}

static void bits(const char *name) {
    put(name);
    put(": refused ");
    hex(refused);
    put(" ignored ");
    hex(ignored);
    put(" changed ");
    hex(changed);
    put("\n");
    refused = ignored = changed = 0;
}

void control_registers(void) {
    u64 cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4(), efer = rdmsr(0xc0000080);
    // On QEMU's emulator no write faults, and what a register has no bit for may be kept, or stop it.
    for (int bit = 0; bit < 64 && !on_qemu; bit++) {
        // Without the FPU's bits nothing here works, so the value is taken back at once.
        in.r[RAX] = cr0 ^ 1ul << bit;
        in.r[RBX] = cr0;
        silently(CODE("mov cr0, rax; mov rcx, cr0; mov cr0, rbx; ud2"));
        bit_tried(1ul << bit, cr0, out.r[RCX]);
    }
    if (!on_qemu) bits("cr0");
    in.r[RAX] = cr0 | 3ul << 29;
    in.r[RBX] = cr0;
    CASE("cr0 with CD and NW", "mov cr0, rax; mov rcx, cr0; mov cr0, rbx");
    for (int bit = 0; bit < 64; bit++) {
        if (on_qemu && (bit == 5 || bit > 10)) continue;
        in.r[RAX] = cr4 ^ 1ul << bit;
        in.r[RBX] = cr4;
        silently(CODE("mov cr4, rax; mov rcx, cr4; mov cr4, rbx; ud2"));
        bit_tried(1ul << bit, cr4, out.r[RCX]);
    }
    bits("cr4");
    for (int bit = 40; bit < 64 && !on_qemu; bit++) {
        in.r[RAX] = cr3 ^ 1ul << bit;
        silently(CODE("mov cr3, rax; nop"));
        bit_tried(1ul << bit, cr3, read_cr3());
        write_cr3(cr3);
    }
    if (!on_qemu) bits("cr3");
    for (int bit = 0; bit < 64 && !on_qemu; bit++) {
        u64 value = efer ^ 1ul << bit;
        in.r[RAX] = (u32)value;
        in.r[RDX] = value >> 32;
        in.r[RCX] = 0xc0000080;
        silently(CODE("wrmsr"));
        value = rdmsr(0xc0000080);
        wrmsr(0xc0000080, efer);
        bit_tried(1ul << bit, efer, value);
    }
    if (!on_qemu) bits("efer");
    for (u64 value = 0; value < 16; value = value ? 2 * value : 1) {
        in.r[RAX] = value;
        put("cr8 with ");
        hex(value);
        CASE("", "mov cr8, rax; mov rcx, cr8; xor eax, eax; mov cr8, rax");
    }
    if (!on_qemu) {
        in.r[RAX] = 16;
        CASE("cr8 with 10", "mov cr8, rax; mov rcx, cr8");
        static const u32 UNKNOWN[] = {0x2, 0xc0000105, 0xc0011030, 0x4b564d05, 0xdeadbeef, 0x830};
        for (unsigned n = 0; n < sizeof UNKNOWN / sizeof UNKNOWN[0]; n++) {
            in.r[RCX] = UNKNOWN[n];
            silently(CODE("rdmsr; ud2"));
            bit_tried(1 << 2 * n, 0, out.r[RAX] == in.r[RAX] && out.r[RDX] == in.r[RDX] ? 0 : 1 << 2 * n);
            in.r[RCX] = UNKNOWN[n];
            silently(CODE("wrmsr"));
            bit_tried(2 << 2 * n, 0, 2 << 2 * n);
        }
        bits("unknown msrs");
    }
    static const u32 ADDRESSES[] = {0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102};
    for (unsigned n = 0; n < sizeof ADDRESSES / sizeof ADDRESSES[0]; n++) {
        for (int k = 0; k < (on_qemu ? 2 : 4); k++) {
            static const u64 VALUES[] = {0x7fffffffffff, 0xffff800000000000, 0x800000000000, 0x8000000000000000};
            wrmsr(ADDRESSES[n], 0);
            in.r[RCX] = ADDRESSES[n];
            in.r[RAX] = (u32)VALUES[k];
            in.r[RDX] = VALUES[k] >> 32;
            silently(CODE("wrmsr"));
            u64 value = rdmsr(ADDRESSES[n]);
            bit_tried(1 << k, 0, value ? value ^ VALUES[k] ? 0x100 : 1 << k : 0);
            wrmsr(ADDRESSES[n], 0);
        }
        put("addresses in ");
        hex(ADDRESSES[n]);
        bits("");
    }
    static const u64 PAT[] = {0x0007040600070406, 0x0007010500070106, 0x0002040600070406, 0x0007040600070403, 0x0807040600070406};
    for (int n = 0; n < (on_qemu ? 2 : 5); n++) {
        in.r[RCX] = 0x277;
        in.r[RAX] = (u32)PAT[n];
        in.r[RDX] = PAT[n] >> 32;
        silently(CODE("wrmsr"));
        put("pat with ");
        hex(PAT[n]);
        u64 value = rdmsr(0x277);
        wrmsr(0x277, 0x0007040600070406);
        outcome(value);
    }
    CASE("mov to cr1", ".byte 0x0f, 0x22, 0xc8");
    CASE("mov from cr5", ".byte 0x0f, 0x20, 0xe8");
    CASE("mov from cr15", ".byte 0x44, 0x0f, 0x20, 0xf8");
    CASE("mov cr0 by a form of memory", ".byte 0x0f, 0x20, 0x00; mov rcx, cr0");
    CASE("lmsw", "smsw rbx; mov eax, 0xf; lmsw ax; smsw ecx; xor eax, eax; lmsw ax; smsw edx; lmsw bx; smsw esi; mov [rsp-8], rsi; smsw [rsp-8]; mov rdi, [rsp-8]");
    CASE("clts", "mov rax, cr0; or eax, 8; mov cr0, rax; smsw eax; clts; smsw ecx");
    CASE("rdpmc", "xor ecx, ecx; mov ecx, 0x12345; rdpmc");
}
