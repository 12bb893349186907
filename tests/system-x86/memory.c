// Translations and code that change while they are in use.

#include "guest.h"

enum { P = 1, W = 2, U = 4, PS = 0x80, G = 0x100 };
static u64 level3[512] __attribute__((aligned(4096)));
static u64 level2[512] __attribute__((aligned(4096)));
static u64 level1[512] __attribute__((aligned(4096)));
static u64 other1[512] __attribute__((aligned(4096)));
static u64 pages[4][512] __attribute__((aligned(4096)));
#define WINDOW ((2ul << 39) + (5ul << 30) + (6ul << 21) + (7ul << 12))

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

// Code that changes: the next instruction executes what was stored, by whatever store or mapping.
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
                // mov [rdi], cl (or others); mov al, 1; inc eax; ud2, the immediate of `mov` being what is
                // stored.
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
                // `pop [rdi]` stores eight bytes, which end after the code.
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
        memset(area[0], 0x90, 4096);
        // add eax, imm32 at the end: 05 ii ii | ii ii; then mov byte [rdi], 7; dec ecx; jnz back; ud2.
        static const u8 FIRST[] = {0x05, 1, 0}, SECOND[] = {0, 0, 0xc6, 0x07, 7, 0xff, 0xc9, 0x75, 0xf4, 0x0f, 0x0b};
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
