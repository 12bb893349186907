/* Indirect jumps: an interpreter with computed goto, large switches, tables of functions; code across page
 * borders; the counters that programs can read. */
#include "check.h"
#include <setjmp.h>
#include <time.h>

#define R4(X, n) X((n) * 4) X((n) * 4 + 1) X((n) * 4 + 2) X((n) * 4 + 3)
#define R16(X, n) R4(X, (n) * 4) R4(X, (n) * 4 + 1) R4(X, (n) * 4 + 2) R4(X, (n) * 4 + 3)
#define R64(X, n) R16(X, (n) * 4) R16(X, (n) * 4 + 1) R16(X, (n) * 4 + 2) R16(X, (n) * 4 + 3)
#define R256(X) R64(X, 0) R64(X, 1) R64(X, 2) R64(X, 3)

/* 64 operations on an accumulator and a small stack. */
static uint64_t __attribute__((noinline)) interpret(const unsigned char *code, unsigned long steps)
{
    static const void *const labels[64] = {
        &&o0,  &&o1,  &&o2,  &&o3,  &&o4,  &&o5,  &&o6,  &&o7,  &&o8,  &&o9,  &&o10, &&o11, &&o12, &&o13, &&o14, &&o15,
        &&o16, &&o17, &&o18, &&o19, &&o20, &&o21, &&o22, &&o23, &&o24, &&o25, &&o26, &&o27, &&o28, &&o29, &&o30, &&o31,
        &&o32, &&o33, &&o34, &&o35, &&o36, &&o37, &&o38, &&o39, &&o40, &&o41, &&o42, &&o43, &&o44, &&o45, &&o46, &&o47,
        &&o48, &&o49, &&o50, &&o51, &&o52, &&o53, &&o54, &&o55, &&o56, &&o57, &&o58, &&o59, &&o60, &&o61, &&o62, &&o63};
    uint64_t a = 1, s[16] = {0};
    unsigned sp = 0, pc = 0;
    double d = 1;
#define NEXT \
    do { \
        if (steps-- == 0) \
            return a ^ (uint64_t)(d * 4096) ^ s[sp & 15]; \
        goto *labels[code[pc++ & 4095] & 63]; \
    } while (0)
#define GROUP(n0, n1, n2, n3, n4, n5, n6, n7, k) \
    o##n0: a += k; NEXT; \
    o##n1: a ^= a << (k + 1); NEXT; \
    o##n2: a = a * 0x9e3779b97f4a7c15 + k; NEXT; \
    o##n3: s[sp++ & 15] = a; NEXT; \
    o##n4: a += s[--sp & 15]; NEXT; \
    o##n5: a ^= a >> (k + 3); NEXT; \
    o##n6: if (a & (1UL << k)) pc += k; NEXT; \
    o##n7: d = d * 0.75 + k; if (d > 1e3) a /= (k | 1); NEXT;
    NEXT;
    GROUP(0, 1, 2, 3, 4, 5, 6, 7, 1)
    GROUP(8, 9, 10, 11, 12, 13, 14, 15, 2)
    GROUP(16, 17, 18, 19, 20, 21, 22, 23, 3)
    GROUP(24, 25, 26, 27, 28, 29, 30, 31, 5)
    GROUP(32, 33, 34, 35, 36, 37, 38, 39, 8)
    GROUP(40, 41, 42, 43, 44, 45, 46, 47, 13)
    GROUP(48, 49, 50, 51, 52, 53, 54, 55, 21)
    GROUP(56, 57, 58, 59, 60, 61, 62, 63, 34)
}

static void interpreter(void)
{
    static unsigned char code[4096];
    for (int program = 0; program < 40; program++) {
        for (unsigned i = 0; i < sizeof code; i++)
            code[i] = (unsigned char)random64();
        hash(interpret(code, 20000 + (unsigned)program * 1000));
    }
    report_hash("interpreter");
}

/* A switch with 256 cases, dense, each its own code; and one with gaps. */
#define CASE(n) \
    case n: \
        a = (a ^ (a >> ((n) % 60 + 1))) * ((n) * 2 + 1) + (n); \
        if (a >> (n) % 13 & 1) \
            a -= (n); \
        break;
static uint64_t __attribute__((noinline)) dense(uint64_t a, unsigned n)
{
    switch (n) { R256(CASE) default: a = ~a; }
    return a;
}
#define SPARSE(n) \
    case (n) * (n) * 37UL: \
        a = a * 5 + (n); \
        break;
static uint64_t __attribute__((noinline)) sparse(uint64_t a, unsigned long n)
{
    switch (n) { R256(SPARSE) default: a ^= n; }
    return a;
}
static void switches(void)
{
    uint64_t a = 1;
    for (int i = 0; i < 1000000; i++)
        a = dense(a, (a >> 20 & 255) + (i % 1000 == 0 ? 256 : 0));
    hash(a);
    for (int i = 0; i < 300000; i++) {
        unsigned long n = a >> 20 & 255;
        a = sparse(a + 1, n * n * 37 + (i % 100 == 0));
    }
    hash(a);
    report_hash("switches");
}

/* 256 functions by a table, and tail calls from one into the next. */
typedef uint64_t step_fn(uint64_t, uint64_t);
static step_fn *table[256];
#define STEP(k) \
    static uint64_t __attribute__((noinline)) step##k(uint64_t a, uint64_t left) \
    { \
        a = a * 6364136223846793005 + k * 2 + 1; \
        if (left == 0) \
            return a; \
        return table[a >> 56](a, left - 1); \
    }
STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)
static void tables(void)
{
    static step_fn *const steps[] = {step0, step1, step2, step3, step4, step5, step6, step7};
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 256; i++)
            table[i] = steps[random64() % 8];
        hash(table[round](round, 10000));
    }
    report_hash("tables");
}

/* Hot loops that lie across the border of two pages, at every distance; for some an instruction is in
 * both. */
#define STRADDLE(n) \
    __asm__(".pushsection .text.straddle, \"ax\"\n.balign 4096\n.space 4096 - " #n "\n.globl straddle_" #n "\nstraddle_" #n ":\n" \
            "mv a2, a0\n li a0, 0\n" \
            ".option push\n.option norvc\n" \
            "1: addi a0, a0, 3\n xori a0, a0, 0x155\n" \
            ".option pop\n" \
            "slli a3, a0, 3\n add a0, a0, a3\n" \
            ".option push\n.option norvc\n" \
            "mul a3, a0, a1\n addi a2, a2, -1\n bnez a2, 1b\n" \
            ".option pop\n" \
            "add a0, a0, a3\n ret\n.popsection\n"); \
    extern uint64_t straddle_##n(uint64_t, uint64_t);
STRADDLE(0) STRADDLE(2) STRADDLE(4) STRADDLE(6) STRADDLE(8) STRADDLE(10) STRADDLE(12) STRADDLE(14) STRADDLE(16)
STRADDLE(18) STRADDLE(20) STRADDLE(22) STRADDLE(24) STRADDLE(26) STRADDLE(28) STRADDLE(30) STRADDLE(32) STRADDLE(34)
static uint64_t unstraddled(uint64_t n, uint64_t b)
{
    uint64_t a = 0, m;
    do {
        a = (a + 3) ^ 0x155;
        a += a << 3;
        m = a * b;
    } while (--n);
    return a + m;
}
static void straddles(void)
{
    static uint64_t (*const f[])(uint64_t, uint64_t) = {
        straddle_0,  straddle_2,  straddle_4,  straddle_6,  straddle_8,  straddle_10, straddle_12, straddle_14, straddle_16,
        straddle_18, straddle_20, straddle_22, straddle_24, straddle_26, straddle_28, straddle_30, straddle_32, straddle_34};
    for (unsigned i = 0; i < sizeof f / sizeof *f; i++)
        for (int round = 1; round < 100; round++) {
            uint64_t r = f[i](round * 101, round);
            EQUAL(r, unstraddled(round * 101, round));
            hash(r);
        }
    report_hash("straddles");
}

/* Time passes; so do the counters of cycles and instructions, where the kernel lets programs read them. */
static sigjmp_buf escape;
static void on_illegal(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    siglongjmp(escape, 1);
}
#define READ(counter) ({ uint64_t v_; __asm__ volatile("rd" #counter " %0" : "=r"(v_)); v_; })
#define MONOTONIC(counter, strictly) \
    if (sigsetjmp(escape, 1) == 0) { \
        uint64_t last = READ(counter); \
        for (int i = 0; i < 100000; i++) { \
            uint64_t now = READ(counter); \
            if (now < last || (strictly && now == last)) \
                FAIL("rd" #counter " went from %lu to %lu", (unsigned long)last, (unsigned long)now); \
            last = now; \
        } \
    }
static void counters(void)
{
    on(SIGILL, on_illegal, 0);
    MONOTONIC(cycle, 0)
    MONOTONIC(instret, 0)
    signal(SIGILL, SIG_DFL);
    MONOTONIC(time, 0)
    /* Against the kernel's clock, over 50 ms. */
    struct timespec start, end;
    uint64_t before = READ(time), last = 0, spins = 0;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &start) == 0);
    do {
        spins++;
        CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
        uint64_t now = (uint64_t)end.tv_sec * 1000000000 + (uint64_t)end.tv_nsec;
        CHECK(now >= last);
        last = now;
    } while (last - ((uint64_t)start.tv_sec * 1000000000 + (uint64_t)start.tv_nsec) < 50000000);
    CHECK(READ(time) > before && spins > 1);
    report_ok("counters");
}

int main(void)
{
    interpreter();
    switches();
    tables();
    straddles();
    counters();
    return 0;
}
