// String instructions that meet a fault in the middle: registers, memory and flags are those of the element
// that met it.

#include "guest.h"

enum { P = 1, W = 2, U = 4 };

static u64 level3[512] __attribute__((aligned(4096)));
static u64 level2[512] __attribute__((aligned(4096)));
static u64 level1[512] __attribute__((aligned(4096)));
static u8 memory[8 * 4096] __attribute__((aligned(4096)));
// Four pages for the source and four for the destination, below 4 GiB so that narrow addresses reach them,
// and an absent page before and after each.
#define SOURCE 0x50001000ul
#define TARGET 0x50007000ul

static u64 sum(void) {
    u64 total = 0;
    for (int n = 0; n < 8 * 4096; n++) total = total * 31 + memory[n];
    return total;
}

static void prepare(void) {
    for (int n = 0; n < 512; n++) level1[n] = level2[n] = level3[n] = 0;
    for (int n = 0; n < 4; n++) {
        level1[1 + n] = (u64)&memory[4096 * n] | P | U;
        level1[7 + n] = (u64)&memory[4096 * (4 + n)] | P | W | U;
    }
    // The usual mapping of the first GiB, and of the next one.
    u64 *first = (u64 *)(boot_tables[0] & ~0xffful);
    first[1] = (u64)level2 | P | W | U;
    level2[0x10000000 >> 21] = (u64)level1 | P | W | U;
    flush();
    for (int n = 0; n < 8 * 4096; n++) memory[n] = n < 4 * 4096 ? n * 7 + (n >> 8) : 0xa5;
}

static void result(const char *name, u64 count, int is_user) {
    // QEMU's emulator shows the last comparison's flags at a fault, and the manual those from before (volume
    // 2, REP).
    if (on_qemu && out.vector == 14) out.flags = in.flags;
    put(name);
    put(is_user ? " user " : " ");
    hex(count);
    put(": v=");
    hex(out.vector);
    put(" e=");
    hex(out.code);
    put(" rip=");
    place(out.rip);
    put(" cr2=");
    hex(out.cr2);
    put(" fl=");
    hex(out.flags & ~RF);
    put(" rcx=");
    hex(out.r[RCX]);
    put(" rsi=");
    hex(out.r[RSI]);
    put(" rdi=");
    hex(out.r[RDI]);
    put(" rax=");
    hex(out.r[RAX]);
    put(" memory=");
    hex(sum());
    put("\n");
    kernel();
}

// Begins `before` bytes ahead of the fault that the source or the destination meets first.
static void attempt(const char *name, const void *code, int size, int backwards, u64 source, u64 target, int is_user) {
    prepare();
    if (is_user) user();
    u64 count = 0x300;
    in.r[RCX] = count;
    in.r[RAX] = 0x8877665544332211;
    in.flags |= backwards ? DF : 0;
    in.flags |= CF;
    // The last element that is whole, going upwards: its end is the page's.
    in.r[RSI] = backwards ? SOURCE + source : SOURCE + 0x4000 - source;
    in.r[RDI] = backwards ? TARGET + target : TARGET + 0x4000 - target;
    silently(code);
    put(backwards ? "down " : "up ");
    hex(size);
    put(" ");
    result(name, source << 16 | target, is_user);
}

#define ALL(op, prefix)                                                                                        \
    {prefix #op, {CODE(prefix " " #op "b"), CODE(prefix " " #op "w"), CODE(prefix " " #op "d"), CODE(prefix " " #op "q")}}

void strings(void) {
    const struct {
        const char *name;
        const void *code[4];
    } CODES[] = {
        ALL(movs, "rep"), ALL(stos, "rep"), ALL(lods, "rep"), ALL(scas, "repne"), ALL(cmps, "repne"), ALL(movs, ""), ALL(cmps, ""),
    };
    for (unsigned n = 0; n < sizeof CODES / sizeof CODES[0]; n++) {
        for (int log2 = 0; log2 < 4; log2++) {
            for (int backwards = 0; backwards < 2; backwards++) {
                int size = 1 << log2;
                u64 few = 5 * size + (log2 ? 1 : 0), many = 0x2000 + 3 * size;
                if (n >= 5) few = 0;
                attempt(CODES[n].name, CODES[n].code[log2], size, backwards, few, many, 0);
                attempt(CODES[n].name, CODES[n].code[log2], size, backwards, many, few, 1);
                if (n == 0) attempt(CODES[n].name, CODES[n].code[log2], size, backwards, few, few, 0);
                // A page and a half before the fault.
                if (n < 5) attempt(CODES[n].name, CODES[n].code[log2], size, backwards, 0x180 * size, 0x2f00, 0);
            }
        }
    }
}

void more_strings(void) {
    // A read-only destination, and the flags of a comparison before the fault.
    prepare();
    in.r[RCX] = 0x100;
    in.r[RSI] = SOURCE;
    in.r[RDI] = SOURCE + 0x10;
    silently(CODE("rep movsb"));
    result("to a read-only page", 0, 0);
    prepare();
    in.r[RCX] = 0x2000;
    in.r[RAX] = 0xa5;
    in.r[RDI] = TARGET + 0x3ff0;
    in.flags |= OF | AF | CF;
    silently(CODE("repe scasb"));
    result("repe scasb that is equal to the end", 0, 0);
    for (int n = 0; n < 3; n++) {
        // Fill, compare, find: they end before the fault.
        prepare();
        in.r[RCX] = n == 0 ? 0x10 : 0x2000;
        in.r[RSI] = SOURCE + 0x100;
        in.r[RDI] = n == 2 ? TARGET + 0x3ff0 : TARGET + 0x3fef;
        in.r[RAX] = 0x11;
        memory[0x7ffc] = 0x11;
        silently(n == 0 ? CODE("rep stosb") : n == 1 ? CODE("repe cmpsb") : CODE("repne scasb"));
        result(n == 0 ? "stos up to the end" : n == 1 ? "cmps that differs" : "scas that finds", n, 0);
    }
    // Copies onto themselves.
    for (int distance = -9; distance <= 9; distance += 3) {
        for (int backwards = 0; backwards < 2; backwards++) {
            for (int wide = 0; wide < 2; wide++) {
                prepare();
                for (int n = 0; n < 256; n++) memory[0x5000 + n] = n;
                in.r[RCX] = wide ? 12 : 90;
                in.r[RSI] = TARGET + 0x1080;
                in.r[RDI] = TARGET + 0x1080 + distance;
                in.flags |= backwards ? DF : 0;
                silently(wide ? CODE("rep movsq") : CODE("rep movsb"));
                put(backwards ? "down " : "up ");
                put(distance < 0 ? "-" : "");
                result(wide ? "overlapping quadwords" : "overlapping bytes", distance < 0 ? -distance : distance, 0);
            }
        }
    }
    // Two pages of the window that are one of memory.
    prepare();
    level1[9] = level1[7];
    flush();
    for (int n = 0; n < 256; n++) memory[0x4000 + n] = n;
    in.r[RCX] = 64;
    in.r[RSI] = TARGET;
    in.r[RDI] = TARGET + 0x2001;
    silently(CODE("rep movsb"));
    result("overlapping by aliases", 0, 0);
    // Narrow addresses and counts.
    prepare();
    in.r[RCX] = 0x500000010;
    in.r[RSI] = 0x700000000 + SOURCE + 0x3ff8;
    in.r[RDI] = 0x900000000 + TARGET;
    silently(CODE("rep movsb [edi], [esi]"));
    result("32-bit addresses", 0, 0);
    prepare();
    in.r[RCX] = 0x500000004;
    in.r[RSI] = 0x700000000 + SOURCE + 0x3ff8;
    in.r[RDI] = 0x900000000 + TARGET;
    silently(CODE("rep movsw [edi], [esi]"));
    result("32-bit addresses to the end", 0, 0);
    // Without anything to do nothing is touched.
    prepare();
    in.r[RCX] = 0;
    in.r[RSI] = in.r[RDI] = 1ul << 63;
    in.flags |= ZF | CF;
    silently(CODE("rep movsb; repne scasb; repe cmpsb"));
    result("no elements", 0, 0);
    prepare();
    in.r[RCX] = 0x100000000;
    in.r[RSI] = in.r[RDI] = 0x111111111;
    silently(CODE("rep movsb [edi], [esi]"));
    result("no elements of a narrow count", 0, 0);
    // 32-bit code.
    prepare();
    compat();
    in.r[RCX] = 0x10;
    in.r[RSI] = SOURCE + 0x3ff8;
    in.r[RDI] = TARGET + 3;
    silently(CODE(".code32; rep movsb"));
    result("32-bit code", 0, 1);
    prepare();
    compat();
    in.r[RCX] = 0x10;
    in.r[RSI] = SOURCE + 0x8;
    in.r[RDI] = TARGET + 8;
    in.flags |= DF;
    silently(CODE(".code32; rep movsd"));
    result("32-bit code downwards", 0, 1);
}
