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
                CASE_CODE("", code[k]);
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

// Only which exception there is, and the value afterwards.
static void outcome(u64 value) {
    put(": v=");
    hex(out.vector);
    put(" e=");
    hex(out.code);
    put(out.rip == in.rip ? " at " : " behind ");
    hex(value);
    put("\n");
    kernel();
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

enum { P = 1, W = 2, U = 4, PS = 0x80, G = 0x100 };
static u64 level3[512] __attribute__((aligned(4096)));
static u64 level2[512] __attribute__((aligned(4096)));
static u64 level1[512] __attribute__((aligned(4096)));
static u64 other1[512] __attribute__((aligned(4096)));
static u64 pages[4][512] __attribute__((aligned(4096)));
#define WINDOW ((2ul << 39) + (5ul << 30) + (6ul << 21) + (7ul << 12))
#define VALUE (*(volatile u64 *)WINDOW)

static void drop(u64 va) { asm volatile("invlpg (%0)" : : "r"(va) : "memory"); }

static void try(const char *name, int is_user, int writes) {
    if (is_user) user();
    in.r[RBX] = WINDOW;
    silently(writes ? CODE("mov [rbx], rbx; mov rax, [rbx]") : CODE("mov rax, [rbx]"));
    put(name);
    outcome(out.vector == 14 ? out.cr2 - WINDOW : out.r[RAX]);
}

// Translations that were in use before they changed.
void translations(void) {
    boot_tables[2] = (u64)level3 | P | W | U;
    level3[5] = (u64)level2 | P | W | U;
    level2[6] = (u64)level1 | P | W | U;
    for (int global = 0; global < 2; global++) {
        u64 g = global ? G : 0;
        put(global ? "global\n" : "local\n");
#define NAME(text) (global ? "global, " text : text)
        for (int n = 0; n < 4; n++) pages[n][0] = 0x1000 + n;
        level1[7] = 0;
        flush();
        drop(WINDOW);
        try(NAME("absent"), 0, 0);
        // An entry that was not present is not remembered.
        level1[7] = (u64)pages[0] | P | W | U | g;
        try(NAME("made present"), 0, 0);
        try(NAME("by the user"), 1, 0);
        level1[7] = (u64)pages[1] | P | W | U | g;
        drop(WINDOW + 0x123);
        try(NAME("another page"), 0, 0);
        try(NAME("another page for the user"), 1, 0);
        level1[7] = (u64)pages[1] | P | U | g;
        drop(WINDOW);
        try(NAME("made read-only"), 1, 1);
        try(NAME("made read-only, level 0"), 0, 1);
        level1[7] = (u64)pages[1] | P | W | g;
        drop(WINDOW);
        try(NAME("made the kernel's"), 1, 0);
        try(NAME("made the kernel's, level 0"), 0, 1);
        level1[7] = (u64)pages[2] | P | W | U | g;
        flush();
        if (!global) try("another page by cr3", 0, 0);
        write_cr4(read_cr4() & ~0x80ul);
        write_cr4(read_cr4() | 0x80);
        try(NAME("another page by PGE"), 0, 0);
        // A table is replaced.
        other1[7] = (u64)pages[3] | P | W | U | g;
        level2[6] = (u64)other1 | P | W | U;
        drop(WINDOW);
        try(NAME("another table"), 1, 0);
        // A page of 2 MiB in its place, dropped by an address anywhere in it.
        level2[6] = ((u64)pages & ~0x1ffffful) | P | W | U | PS | g;
        drop(WINDOW);
        in.r[RBX] = (WINDOW & ~0x1ffffful) + ((u64)pages[1] & 0x1fffff);
        silently(CODE("mov rax, [rbx]"));
        put(NAME("2 MiB"));
        outcome(out.r[RAX]);
        u64 va = (WINDOW & ~0x1ffffful) + ((u64)pages[1] & 0x1fffff);
        level2[6] = 0;
        drop((WINDOW & ~0x1ffffful) + 0x1ff000);
        in.r[RBX] = va;
        silently(CODE("mov rax, [rbx]"));
        put(NAME("2 MiB dropped"));
        outcome(out.cr2 - va);
        level2[6] = (u64)level1 | P | W | U;
        // Write protection that the kernel begins to respect.
        level1[7] = (u64)pages[0] | P | U | g;
        drop(WINDOW);
        u64 cr0 = read_cr0();
        write_cr0(cr0 & ~0x10000ul);
        try(NAME("read-only without WP"), 0, 1);
        write_cr0(cr0);
        try(NAME("read-only with WP"), 0, 1);
        // Execution.
        level1[7] = (u64)pages[0] | P | W | U | g;
        drop(WINDOW);
        pages[0][0] = 0x0b0f90;
        in.r[RBX] = WINDOW;
        silently(CODE("jmp rbx"));
        put(NAME("executed"));
        outcome(out.rip - WINDOW);
        level1[7] |= 1ul << 63;
        drop(WINDOW);
        in.r[RBX] = WINDOW;
        silently(CODE("jmp rbx"));
        put(NAME("executed no more"));
        outcome(out.rip - WINDOW);
        level1[7] = (u64)pages[1] | P | W | U | g;
        pages[1][0] = 0x0b0f909090;
        drop(WINDOW);
        in.r[RBX] = WINDOW;
        silently(CODE("jmp rbx"));
        put(NAME("executed from another page"));
        outcome(out.rip - WINDOW);
        level1[7] = 0;
        drop(WINDOW);
    }
    boot_tables[2] = 0;
    flush();
}

// Code that changes: what was stored is executed by the next instruction, whoever stores it where.
void changing_code(void) {
    static u8 area[3][4096] __attribute__((aligned(4096)));
    boot_tables[2] = (u64)level3 | P | W | U;
    level3[5] = (u64)level2 | P | W | U;
    level2[6] = (u64)level1 | P | W | U;
    // The first page twice, and the second.
    level1[7] = (u64)area[0] | P | W | U;
    level1[8] = (u64)area[1] | P | W | U;
    level1[9] = (u64)area[0] | P | W | U;
    flush();
    for (int is_user = 0; is_user < 2; is_user++) {
        for (int how = 0; how < 6; how++) {
            for (int round = 0; round < 3; round++) {
                // mov [rdi], cl (or others); mov al, 1; inc eax; ud2, the immediate of `mov` being what is stored.
                static const u8 STORES[6][4] = {{0x88, 0x0f, 0x90, 0x90}, {0xf3, 0xaa, 0x90, 0x90}, {0xf3, 0xa4, 0x90, 0x90},
                                                {0x86, 0x0f, 0x90, 0x90}, {0xf0, 0x00, 0x0f, 0x90}, {0x90, 0x90, 0x8f, 0x07}};
                static const u8 REST[6] = {0xb0, 1, 0xff, 0xc0, 0x0f, 0x0b};
                memcpy(&area[0][0x100], STORES[how], 4);
                memcpy(&area[0][0x104], REST, 6);
                if (is_user) user();
                in.r[RDI] = WINDOW + 0x105 + (round == 1 ? 0x2000 : 0);
                if (round == 2) in.r[RDI] = (u64)&area[0][0x105];
                in.r[RCX] = how == 1 || how == 2 ? 1 : 0x40;
                in.r[RAX] = 0x33;
                static u8 byte = 0x22;
                in.r[RSI] = (u64)&byte;
                u64 word = 0x0b0fc0ff55;
                // `pop [rdi]` stores eight bytes, which end behind the code.
                memcpy(is_user ? &stacks[1][4088] : &stacks[0][4088], &word, 8);
                if (how == 5) in.r[RSP] -= 8;
                in.rip = WINDOW + 0x100;
                go();
                put(is_user ? "user " : "");
                hex(how);
                put(round == 0 ? " in place" : round == 1 ? " by an alias" : " by the first mapping");
                put(": rax=");
                hex(out.r[RAX]);
                put(" rip=");
                hex(out.rip - WINDOW);
                put(" v=");
                hex(out.vector);
                put("\n");
                kernel();
            }
        }
        // An instruction across two pages, whose second half changes, and which is executed again.
        static const u8 LOOP[] = {0x00, 0xff, 0xc9, 0x75, 0xfa - 0, 0x0f, 0x0b};
        memset(area[0], 0x90, 4096);
        // add eax, imm32 at the end: 05 ii ii | ii ii; then mov byte [rdi], 7; dec ecx; jnz back; ud2.
        static const u8 FIRST[] = {0x05, 1, 0}, SECOND[] = {0, 0, 0xc6, 0x07, 7, 0xff, 0xc9, 0x75, 0xf4, 0x0f, 0x0b};
        (void)LOOP;
        memcpy(&area[0][4093], FIRST, 3);
        memcpy(area[1], SECOND, 11);
        if (is_user) user();
        in.r[RDI] = WINDOW + 0x1000;
        in.r[RCX] = 3;
        in.r[RAX] = 0;
        in.rip = WINDOW + 4093;
        go();
        put(is_user ? "user " : "");
        put("across two pages: rax=");
        hex(out.r[RAX]);
        put(" rip=");
        hex(out.rip - WINDOW);
        put(" rcx=");
        hex(out.r[RCX]);
        put("\n");
        kernel();
        // Another page in the place of the second, by invlpg at level 0.
        if (is_user) continue;
        memcpy(area[1], SECOND, 2);
        memcpy(area[2], SECOND, 11);
        area[2][0] = 9;
        static const u8 FLIP[] = {0, 0, 0x48, 0x89, 0x1e, 0x0f, 0x01, 0x3f, 0xff, 0xc9, 0x75, 0xf1, 0x0f, 0x0b};
        memcpy(area[1], FLIP, 14);
        memcpy(area[2], FLIP, 14);
        area[2][0] = 9;
        in.r[RDI] = WINDOW + 0x1000;
        in.r[RSI] = (u64)&level1[8];
        in.r[RBX] = (u64)area[2] | P | W | U;
        in.r[RCX] = 2;
        in.r[RAX] = 0;
        in.rip = WINDOW + 4093;
        go();
        say("second page replaced", out.r[RAX]);
        kernel();
        level1[8] = (u64)area[1] | P | W | U;
        flush();
    }
    // The stack in the page of the code.
    memset(area[0], 0x90, 4096);
    static const u8 CALLS[] = {0xe8, 0, 0, 0, 0, 0x58, 0x50, 0x58, 0xe2, 0xf6, 0x0f, 0x0b};
    memcpy(&area[0][0x200], CALLS, 12);
    in.r[RSP] = WINDOW + 0x200;
    in.r[RCX] = 50;
    in.rip = WINDOW + 0x200;
    go();
    say("stack in the code's page", out.r[RAX] - WINDOW);
    kernel();
    boot_tables[2] = 0;
    flush();
}
