// Page faults: every combination of rights at every size of page, reserved bits, accessed and dirty bits,
// accesses across two pages.

#include "guest.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (1ul << 63)
#define ADDRESS 0xffffffffff000ul

// Tables for the window, from level 4 down, and pages with `ud2` at their beginnings.
static u64 level3[512] __attribute__((aligned(4096)));
static u64 level2[512] __attribute__((aligned(4096)));
static u64 level1[512] __attribute__((aligned(4096)));
static u8 pages[4][4096] __attribute__((aligned(4096)));
// The window: entry 1 of level 4, entry 2 of level 3, entry 3 of level 2, entry 4 of level 1.
#define WINDOW ((1ul << 39) + (2ul << 30) + (3ul << 21) + (4ul << 12))

static u64 *entries[5];

// Maps the window's page to the first of `pages`, by a page of 4 KiB, 2 MiB or 1 GiB (level 1, 2 or 3), with
// all rights; gives the address.
static u64 map(int level) {
    u64 page = (u64)pages[0];
    entries[4] = &boot_tables[1];
    entries[3] = &level3[2];
    entries[2] = &level2[3];
    entries[1] = &level1[4];
    *entries[4] = (u64)level3 | P | W | U;
    *entries[3] = level == 3 ? (page & ~0x3ffffffful) | P | W | U | PS : (u64)level2 | P | W | U;
    *entries[2] = level == 2 ? (page & ~0x1ffffful) | P | W | U | PS : (u64)level1 | P | W | U;
    *entries[1] = page | P | W | U;
    flush();
    return (WINDOW & -(1ul << (3 + 9 * level))) | (page & ((1ul << (3 + 9 * level)) - 1));
}

static void contents(void) {
    for (int n = 0; n < 4; n++) {
        memset(pages[n], 0x90, 4096);
        pages[n][0] = 0x0f;
        pages[n][1] = 0x0b;
    }
}

enum { READ, WRITE, MODIFY, FETCH, PROBE };

static void *code_of(int access) {
    switch (access) {
    case READ:
        return CODE("mov al, [rbx]");
    case WRITE:
        return CODE("mov byte ptr [rbx], 0xf");
    case MODIFY:
        // Locked, since QEMU else loads before it asks whether it may store.
        return CODE("lock or byte ptr [rbx], 0");
    case FETCH:
        return CODE("jmp rbx");
    default:
        return CODE("cmpxchg [rbx], cl");
    }
}

// Tells, shortly, how an access to the window ended, and what became of the bits A and D in each entry.
static void result(int level, u64 va) {
    u64 where = out.rip - va;
    put(" v=");
    hex(out.vector);
    put(" e=");
    hex(out.code);
    put(out.rip == in.rip ? " at" : where < 16 ? " there" : " behind");
    if (out.cr2 != 0xc2c2) {
        put(" cr2=");
        hex(out.cr2 - va);
    }
    put(" ");
    // QEMU's emulator says of an entry for 1 GiB that it was accessed even where it denies the access.
    int last = level == 3 && out.vector == 14 && out.code & 9 ? 4 : level;
    for (int n = 4; n >= last; n--) {
        u64 e = *entries[n];
        put(e & A ? e & D ? "B" : "A" : e & D ? "D" : "-");
    }
    put("\n");
    kernel();
}

static void attempt(int access, int is_user, u64 va) {
    if (is_user) user();
    else kernel();
    in.r[RBX] = va;
    silently(code_of(access));
}

static const char *const SIZES[] = {"", "4K", "2M", "1G"};
static const char *const ACCESSES[] = {"read", "write", "modify", "fetch", "cmpxchg"};

static void rights_of(u64 e) {
    put(e & P ? "p" : "-");
    put(e & W ? "w" : "-");
    put(e & U ? "u" : "-");
    put(e & NX ? "n" : "-");
}

// All rights of the leaf, and of each level above.
static void matrix(int level, u64 wp) {
    u64 cr0 = read_cr0();
    write_cr0(wp ? cr0 | 0x10000 : cr0 & ~0x10000ul);
    for (int at = level; at <= 4; at++) {
        for (u64 bits = 0; bits < 16; bits++) {
            u64 rights = (bits & 7) | (bits & 8 ? NX : 0);
            // Above the leaf one thing is missing at a time.
            if (at != level && rights != W + U && rights != P + U && rights != P + W && rights != P + W + U + NX) continue;
            for (int access = READ; access <= FETCH; access++) {
                for (int is_user = 0; is_user < 2; is_user++) {
                    u64 va = map(level);
                    *entries[at] = (*entries[at] & ~(P | W | U | NX)) | rights;
                    flush();
                    attempt(access, is_user, va);
                    put(SIZES[level]);
                    if (at != level) {
                        put(" below ");
                        hex(at);
                    }
                    put(wp ? " " : " wp=0 ");
                    rights_of(rights);
                    put(is_user ? " user " : " ");
                    put(ACCESSES[access]);
                    put(":");
                    result(level, va);
                }
            }
        }
    }
    write_cr0(cr0);
}

// Bits that must be 0, in each level.
static void reserved(void) {
    u64 efer = rdmsr(0xc0000080);
    for (int nxe = 1; nxe >= 0; nxe--) {
        wrmsr(0xc0000080, nxe ? efer : efer & ~0x800ul);
        for (int level = 1; level <= 3; level++) {
            for (int at = 4; at >= level; at--) {
                for (int bit = 7; bit < 64; bit++) {
                    // Between them there is nothing new.
                    if ((bit > 13 && bit < 20) || (bit > 21 && bit < 29) || (bit > 30 && bit < 39) || (bit > 41 && bit < 51)) continue;
                    if (!nxe && bit < 63) continue;
                    // A larger page, or another table, is not an error.
                    int is_leaf = at == level;
                    if (bit == 7 && at < 4) continue;
                    if (!is_leaf && bit >= 12 && bit < 40) continue;
                    if (is_leaf && bit >= 3 + 9 * level && bit < 40) continue;
                    u64 va = map(level);
                    *entries[at] |= 1ul << bit;
                    flush();
                    attempt(nxe ? READ : WRITE, bit & 1, va);
                    put(SIZES[level]);
                    put(nxe ? " entry " : " nxe=0 entry ");
                    hex(at);
                    put(" bit ");
                    hex(bit);
                    put(":");
                    result(level, va);
                }
            }
        }
    }
    // Reserved bits of entries that are not present mean nothing; those of an entry above come first.
    for (int at = 4; at >= 1; at--) {
        u64 va = map(1);
        *entries[at] = (*entries[at] & ~(u64)P) | 0x7fful << 41;
        flush();
        attempt(FETCH, 1, va);
        put("not present, entry ");
        hex(at);
        put(":");
        result(1, va);
    }
    // Without NXE the error code does not distinguish a fetch from a load.
    for (int bits = 0; bits < 4; bits++) {
        u64 va = map(1);
        *entries[1] &= ~(u64)(bits & 1 ? P : U);
        flush();
        attempt(bits & 2 ? FETCH : READ, 1, va);
        put(bits & 1 ? "nxe=0 not present " : "nxe=0 kernel's ");
        put(bits & 2 ? "fetch:" : "read:");
        result(1, va);
    }
    wrmsr(0xc0000080, efer);
}

// The bits A and D that are there already, and those that come one after the other.
static void accessed(void) {
    for (int level = 1; level <= 3; level++) {
        u64 va = map(level);
        for (int access = READ; access <= PROBE; access += access == READ ? FETCH : 1) {
            attempt(access, 0, va);
            put(SIZES[level]);
            put(" again ");
            put(ACCESSES[access]);
            put(":");
            result(level, va);
        }
        attempt(WRITE, 0, va);
        put(SIZES[level]);
        put(" again write:");
        result(level, va);
        // A page that was only read before is dirty after the first store.
        va = map(level);
        attempt(READ, 1, va);
        attempt(MODIFY, 1, va);
        put(SIZES[level]);
        put(" read, then modified:");
        result(level, va);
        // Taken away, they are set again once the translation is dropped.
        *entries[level] &= ~(u64)(A | D);
        asm volatile("invlpg (%0)" : : "r"(va) : "memory");
        attempt(WRITE, 1, va);
        put(SIZES[level]);
        put(" after invlpg, write:");
        result(level, va);
        // A fault for the rights sets none in the leaf.
        va = map(level);
        *entries[level] &= ~(u64)W;
        flush();
        attempt(WRITE, 1, va);
        put(SIZES[level]);
        put(" write denied:");
        result(level, va);
    }
}

void rights(void) {
    contents();
    for (int level = 1; level <= 3; level++) matrix(level, 1);
}

void rights_without_wp(void) {
    contents();
    for (int level = 1; level <= 3; level++) matrix(level, 0);
}

void reserved_bits(void) {
    contents();
    reserved();
    accessed();
}

static u64 sum(void) {
    u64 total = 0;
    for (int n = 0; n < 2; n++) {
        for (int k = 0; k < 4096; k++) total = total * 31 + pages[n][k];
    }
    return total;
}

// How an access behaves.
enum {
    PLAIN,
    MODIFIES,   // Loads first: QEMU's emulator does not ask before whether it may store.
    PIECES,     // Is several accesses, of which the first ones may have been done.
    LEAVES,     // Goes somewhere else if it does not fault.
};

// Accesses that begin in one page and end in the next, at the window and past it.
static void straddle(const char *name, const void *code, u64 size, int kind, u64 first, u64 second, int is_user) {
    u64 va = map(1);
    contents();
    entries[1][0] = (u64)pages[0] | first;
    entries[1][1] = (u64)pages[1] | second;
    flush();
    if (is_user) user();
    else kernel();
    for (u64 n = 0; n < 16; n++) stacks[0][4096 - 512 + n] = n;
    in.r[RBX] = va + 4096 - size / 2;
    in.r[RDI] = in.r[RBX];
    in.r[RAX] = in.r[RCX] = 0x1122334455667788;
    u64 before = sum();
    silently(code);
    put(name);
    put(is_user ? " user " : " ");
    rights_of(first);
    put(" ");
    rights_of(second);
    if (out.cr2 != 0xc2c2) out.cr2 -= va;
    int writes = out.code & 2;
    if (kind == MODIFIES) out.code &= ~3ul;
    u64 *const pointers[] = {&out.r[RDI], &out.r[RSP], &out.r[RBP], &out.r[RSI]};
    for (int n = 0; n < 4; n++) {
        if (*pointers[n] - va < 8192) *pointers[n] -= va;
    }
    report("");
    if (kind == MODIFIES && !on_qemu && !writes && out.vector == 14) put("no store was meant: 0\n");
    if (kind == PLAIN || kind == MODIFIES) {
        put(name);
        put(is_user ? " user " : " ");
        rights_of(first);
        put(" ");
        rights_of(second);
        put(sum() == before ? " memory: same\n" : " memory: changed\n");
    }
    kernel();
}

void boundaries(void) {
    const struct {
        const char *name;
        const void *code;
        u64 size;
        int kind;
    } CODES[] = {
        {"load", CODE("mov rax, [rbx]"), 8, PLAIN},
        {"store", CODE("mov [rbx], rax"), 8, PLAIN},
        {"16-bit store", CODE("mov [rbx], ax"), 2, PLAIN},
        {"store of a constant", CODE("mov dword ptr [rbx], 5"), 4, PLAIN},
        {"add", CODE("add [rbx], eax"), 4, MODIFIES},
        {"adc", CODE("adc [rbx], rax"), 8, MODIFIES},
        {"inc", CODE("lock inc qword ptr [rbx]"), 8, MODIFIES},
        {"xchg", CODE("xchg [rbx], rax"), 8, MODIFIES},
        {"xadd", CODE("lock xadd [rbx], rax"), 8, MODIFIES},
        {"cmpxchg", CODE("cmpxchg [rbx], rdx"), 8, MODIFIES},
        {"cmpxchg8b", CODE("cmpxchg8b [rbx]"), 8, MODIFIES},
        {"bts", CODE("bts dword ptr [rbx], 3"), 4, MODIFIES},
        {"shld", CODE("shld [rbx], rax, 3"), 8, MODIFIES},
        {"push", CODE("lea rsp, [rbx+8]; push rax"), 8, PLAIN},
        {"pop", CODE("mov rsp, rbx; pop rax"), 8, PLAIN},
        {"pop into memory", CODE("pop qword ptr [rbx]"), 8, PLAIN},
        {"call", CODE("lea rsp, [rbx+8]; call 1f; 1:"), 8, PLAIN},
        {"ret", CODE("mov rsp, rbx; ret"), 8, LEAVES},
        {"enter", CODE("lea rsp, [rbx+8]; enter 16, 0"), 8, PIECES},
        {"leave", CODE("mov rbp, rbx; leave"), 8, LEAVES},
        {"movups load", CODE("movups xmm0, [rbx]"), 16, PLAIN},
        {"movups store", CODE("movups [rbx], xmm0"), 16, PLAIN},
        {"movq store", CODE("movq [rbx], xmm0"), 8, PLAIN},
        {"fstp m80", CODE("fninit; fldz; fstp tbyte ptr [rbx]"), 10, PIECES},
        {"fistp", CODE("fninit; fldz; fistp qword ptr [rbx]"), 8, PLAIN},
        {"fnstenv", CODE("fnstenv [rbx]"), 28, PIECES},
        {"fnsave", CODE("fninit; fnsave [rbx]"), 108, PIECES},
        {"fxsave", CODE("and bl, 0xf0; fxsave [rbx]"), 512, PIECES},
        {"sgdt", CODE("sgdt [rbx]"), 10, PIECES},
        {"smsw", CODE("smsw [rbx]"), 2, PLAIN},
        {"mov from segment", CODE("mov [rbx], ss"), 2, PLAIN},
        {"movs", CODE("mov rsi, rsp; movsq"), 8, PLAIN},
        {"stos", CODE("stosq"), 8, PLAIN},
        {"movbe", CODE("movbe [rbx], rax"), 8, PLAIN},
        {"pushf", CODE("lea rsp, [rbx+8]; pushfq"), 8, PLAIN},
        {"popf", CODE("mov rsp, rbx; popfq"), 8, LEAVES},
        {"lgdt", CODE("lgdt [rbx]"), 10, LEAVES},
        {"load of a segment", CODE("lfs eax, [rbx]"), 6, LEAVES},
        {"iretq", CODE("mov rsp, rbx; iretq"), 40, LEAVES},
        {"retf", CODE("mov rsp, rbx; retfq"), 16, LEAVES},
        {"far jmp", CODE("jmp fword ptr [rbx]"), 6, LEAVES},
    };
    static const u64 RIGHTS[][2] = {{P | W | U, W | U}, {U, P | W | U}, {P | W | U, P | U}, {P | U, P | W | U}, {P | W, P | W | U}};
    own_stacks(1);
    for (unsigned n = 0; n < sizeof CODES / sizeof CODES[0]; n++) {
        int kind = CODES[n].kind;
        for (int k = 0; k < (kind == LEAVES ? 2 : 5); k++) {
            straddle(CODES[n].name, CODES[n].code, CODES[n].size, kind, RIGHTS[k][0], RIGHTS[k][1], k == 4);
        }
    }
    own_stacks(0);
}

void fetches(void) {
    // An instruction of 10 bytes that begins in one page and ends in the next.
    u64 va = map(1);
    static const u64 RIGHTS[] = {P | W | U, W | U, P | W, P | W | U | NX};
    for (int first = 0; first < 4; first++) {
        for (int second = 0; second < 4; second++) {
            for (int is_user = 0; is_user < 2; is_user++) {
                contents();
                static const u8 MOV[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0x0f, 0x0b};
                memcpy(&pages[0][4096 - 5], MOV, 5);
                memcpy(pages[1], MOV + 5, 7);
                entries[1][0] = (u64)pages[0] | RIGHTS[first];
                entries[1][1] = (u64)pages[1] | RIGHTS[second];
                flush();
                if (is_user) user();
                else kernel();
                silently((void *)((va & ~0xffful) + 4096 - 5));
                put("fetch ");
                rights_of(RIGHTS[first]);
                put(" ");
                rights_of(RIGHTS[second]);
                put(is_user ? " user" : "");
                if (out.cr2 != 0xc2c2) out.cr2 -= va;
                report("");
                kernel();
            }
        }
    }
    // The last byte of a page is a whole instruction: what follows does not matter until it is executed.
    contents();
    pages[0][4095] = 0x90;
    entries[1][0] = (u64)pages[0] | P | W | U;
    entries[1][1] = 0;
    flush();
    run("the page's last byte", (void *)((va & ~0xffful) + 4095));
    // An instruction that needs no more bytes to be known as undefined.
    pages[0][4094] = 0x0f;
    pages[0][4095] = 0x0b;
    run("ud2 at the page's end", (void *)((va & ~0xffful) + 4094));
}

static u64 canonical_table[512] __attribute__((aligned(4096)));

void addresses(void) {
    // The last page below the hole, and the first one above.
    contents();
    for (int n = 0; n < 512; n++) level1[n] = level2[n] = level3[n] = canonical_table[n] = 0;
    boot_tables[255] = (u64)level3 | P | W | U;
    level3[511] = (u64)level2 | P | W | U;
    level2[511] = (u64)level1 | P | W | U;
    level1[511] = (u64)pages[0] | P | W | U;
    flush();
    own_stacks(1);
    static const u64 BAD[] = {0x800000000000, 0xffff7fffffffffff, 0x8000000000000000, 0x7fffffffffffffff, 0x1000000000000};
    for (int n = 0; n < 5; n++) {
        for (int is_user = 0; is_user < 2; is_user++) {
// QEMU's emulator has no #SS for addresses.
#define BAD_CASE(vector_, name, text)                                       \
    do {                                                                    \
        if (is_user) user();                                                \
        in.r[RBX] = BAD[n];                                                 \
        silently(CODE(text));                                               \
        if (on_qemu && out.vector == 13) out.vector = vector_;              \
        put(is_user ? "user " name " of " : name " of ");                   \
        hex(BAD[n]);                                                        \
        report("");                                                         \
        kernel();                                                           \
    } while (0)
            BAD_CASE(13, "load", "mov rax, [rbx]");
            BAD_CASE(13, "store", "mov [rbx], eax");
            BAD_CASE(12, "load by rbp", "mov rbp, rbx; mov rax, [rbp]");
            BAD_CASE(12, "load by rsp", "mov rsp, rbx; mov rax, [rsp]");
            BAD_CASE(12, "load by rsp and ds", "mov rsp, rbx; mov rax, ds:[rsp]");
            BAD_CASE(13, "load by rbp and gs", "mov rbp, rbx; mov rax, gs:[rbp]");
            BAD_CASE(12, "load by rbp and an index", "mov rbp, rbx; xor eax, eax; mov rax, [rbp+rax*2]");
            BAD_CASE(13, "load by rbp as index", "mov rbp, rbx; xor eax, eax; mov rax, [rax+rbp]");
            BAD_CASE(12, "push", "lea rsp, [rbx+8]; push rax");
            BAD_CASE(12, "pop", "mov rsp, rbx; pop rax");
            BAD_CASE(12, "call", "lea rsp, [rbx+8]; call 1f; 1:");
            BAD_CASE(12, "ret", "mov rsp, rbx; ret");
            BAD_CASE(12, "leave", "mov rbp, rbx; leave");
            BAD_CASE(13, "movs", "mov rsi, rbx; mov rdi, rsp; movsb");
            BAD_CASE(13, "rep stos", "mov rdi, rbx; mov ecx, 1; rep stosb");
            BAD_CASE(13, "movups", "movups xmm0, [rbx]");
            BAD_CASE(13, "fld", "fld qword ptr [rbx]");
            BAD_CASE(13, "invlpg", "invlpg [rbx]");
            BAD_CASE(13, "prefetch", "prefetcht0 [rbx]");
            BAD_CASE(13, "lgdt", "lgdt [rbx]");
            if (n) continue;
            BAD_CASE(13, "jmp", "jmp rbx");
            BAD_CASE(13, "call to", "call rbx");
            BAD_CASE(13, "ret to", "push rbx; ret");
            BAD_CASE(13, "iretq to", "mov rax, rsp; xor ecx, ecx; mov cx, ss; push rcx; push rax; pushq 2; mov cx, cs; push rcx; push rbx; iretq");
            BAD_CASE(13, "retf to", "xor ecx, ecx; mov cx, cs; push rcx; push rbx; retfq");
        }
    }
    // Across the end of the lower half.
    for (int is_user = 0; is_user < 2; is_user++) {
#define END_CASE(vector_, name, at, text)                      \
    do {                                                       \
        if (is_user) user();                                   \
        in.r[RBX] = (at);                                      \
        silently(CODE(text));                                  \
        if (on_qemu && out.vector == 13) out.vector = vector_; \
        report(is_user ? "user " name : name);                 \
        kernel();                                              \
    } while (0)
        END_CASE(13, "load to the end", 0x7ffffffffff8, "mov rax, [rbx]");
        END_CASE(13, "load across the end", 0x7ffffffffffc, "mov rax, [rbx]");
        END_CASE(13, "store across the end", 0x7ffffffffffc, "mov [rbx], rax");
        END_CASE(13, "add across the end", 0x7ffffffffffd, "add [rbx], eax");
        END_CASE(13, "movups across the end", 0x7ffffffffff8, "movups xmm0, [rbx]");
        END_CASE(12, "load by rbp across the end", 0x7ffffffffff9, "mov rbp, rbx; mov rax, [rbp]");
        END_CASE(12, "push across the end", 0x7ffffffffffc, "lea rsp, [rbx+8]; push rax");
        END_CASE(12, "pop across the end", 0x7ffffffffffc, "mov rsp, rbx; pop rax");
        level1[511] = 0;
        flush();
        END_CASE(13, "load across the end, of no page", 0x7ffffffffffc, "mov rax, [rbx]");
        level1[511] = (u64)pages[0] | P | W | U;
        flush();
    }
    own_stacks(0);
    put("last bytes");
    say("", pages[0][4095] | pages[0][4094] << 8);
    boot_tables[255] = 0;
    flush();
}
