/* Every instruction of RV64IMC for user programs, on corner cases and random numbers, in hot loops; results
 * are hashed. */
#include "check.h"

static const uint64_t corners[] = {
    0, 1, 2, 3, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x7ff, 0x800, 0xfff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
    0x80000001, 0xffffffff, 0x100000000, 0x7fffffff00000000, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000001,
    0xffffffff00000000, 0xffffffff7fffffff, 0xffffffff80000000, 0xfffffffffffff800, 0xfffffffffffffffe, 0xffffffffffffffff,
    0x5555555555555555, 0xaaaaaaaaaaaaaaaa,
};
enum { CORNERS = sizeof corners / sizeof *corners, MORE = CORNERS + 14 };
static uint64_t value(int i) { return i < CORNERS ? corners[i] : random64(); }

/* Two sources, one destination; and the destination is the first, the second, both sources. */
#define RRR(op) \
    static void __attribute__((noinline)) rrr_##op(uint64_t a, uint64_t b) \
    { \
        uint64_t r, s = a, t = b, u = a, z; \
        __asm__ volatile(#op " %0, %5, %6\n " #op " %1, %1, %6\n " #op " %2, %5, %2\n " #op " %3, %3, %3\n " #op " %4, zero, %6\n " #op " zero, %5, %6" \
                         : "=&r"(r), "+&r"(s), "+&r"(t), "+&r"(u), "=&r"(z) : "r"(a), "r"(b)); \
        hash(r), hash(s), hash(t), hash(u), hash(z); \
    }
#define RRR_ALL(X) \
    X(add) X(sub) X(sll) X(slt) X(sltu) X(xor) X(srl) X(sra) X(or) X(and) X(addw) X(subw) X(sllw) X(srlw) X(sraw) X(mul) \
    X(mulh) X(mulhsu) X(mulhu) X(div) X(divu) X(rem) X(remu) X(mulw) X(divw) X(divuw) X(remw) X(remuw)
RRR_ALL(RRR)

/* Immediates */
#define RRI1(op, imm) \
    __asm__ volatile(#op " %0, %1, " #imm : "=r"(r) : "r"(a)); \
    hash(r); \
    r = a; \
    __asm__ volatile(#op " %0, %0, " #imm : "+r"(r)); \
    hash(r);
#define RRI(op) \
    static void __attribute__((noinline)) rri_##op(uint64_t a) \
    { \
        uint64_t r; \
        RRI1(op, 0) RRI1(op, 1) RRI1(op, -1) RRI1(op, 31) RRI1(op, -32) RRI1(op, 2047) RRI1(op, -2048) RRI1(op, 0x555) \
    }
#define SHIFT(op, most) \
    static void __attribute__((noinline)) rri_##op(uint64_t a) \
    { \
        uint64_t r; \
        RRI1(op, 0) RRI1(op, 1) RRI1(op, 7) RRI1(op, 8) RRI1(op, 16) RRI1(op, 30) RRI1(op, 31) RRI1(op, most) \
    }
RRI(addi) RRI(slti) RRI(sltiu) RRI(xori) RRI(ori) RRI(andi) RRI(addiw)
SHIFT(slli, 63) SHIFT(srli, 63) SHIFT(srai, 63) SHIFT(slliw, 13) SHIFT(srliw, 13) SHIFT(sraiw, 13)
#define RRI_ALL(X) X(addi) X(slti) X(sltiu) X(xori) X(ori) X(andi) X(addiw) X(slli) X(srli) X(srai) X(slliw) X(srliw) X(sraiw)

/* Branches, taken and not, forward and back. */
#define BRANCH(op) \
    static void __attribute__((noinline)) branch_##op(uint64_t a, uint64_t b) \
    { \
        uint64_t r = 0; \
        __asm__ volatile(#op " %1, %2, 1f\n addi %0, %0, 1\n 1: " #op " %2, %1, 2f\n addi %0, %0, 2\n 2: " #op " %1, zero, 3f\n addi %0, %0, 4\n 3: " #op \
                         " zero, %2, 4f\n addi %0, %0, 8\n 4: " #op " %1, %1, 5f\n addi %0, %0, 16\n 5: j 7f\n 6: addi %0, %0, 32\n j 8f\n 7: " #op " %1, %2, 6b\n 8:" \
                         : "+&r"(r) : "r"(a), "r"(b)); \
        hash(r); \
    }
#define BRANCH_ALL(X) X(beq) X(bne) X(blt) X(bge) X(bltu) X(bgeu)
BRANCH_ALL(BRANCH)

/* Compressed instructions; a and b go through a0 and a1, the result too. */
#define C(name, text) \
    static void __attribute__((noinline)) c_##name(uint64_t a, uint64_t b) \
    { \
        register uint64_t x __asm__("a0") = a; \
        register uint64_t y __asm__("a1") = b; \
        __asm__ volatile(text : "+r"(x), "+r"(y)::"t0", "t1", "memory"); \
        hash(x), hash(y); \
    }
C(addi, "c.addi a0, 31\n c.addi a1, -32") C(addiw, "c.addiw a0, 31\n c.addiw a1, -32\n c.addiw a0, 0")
C(li, "c.li t0, -32\n c.add a0, t0\n c.li t0, 31\n c.add a1, t0") C(lui, "c.lui t0, 0xfffe0\n c.add a0, t0\n c.lui t0, 0x1f\n c.add a1, t0")
C(shifts, "c.slli a0, 1\n c.srli a1, 3\n c.srai a0, 5\n c.slli a1, 33\n c.srai a1, 40\n c.srli a0, 32")
C(logic, "c.andi a0, -17\n c.xor a1, a0\n c.or a0, a1\n c.and a1, a0") C(arith, "c.sub a0, a1\n c.addw a1, a0\n c.subw a0, a1\n c.add a1, a0")
C(move, "c.mv t0, a0\n c.mv a0, a1\n c.mv a1, t0\n c.nop")
C(branch, "c.beqz a0, 1f\n c.addi a1, 1\n1: c.bnez a1, 2f\n c.addi a0, 3\n2: c.j 3f\n c.addi a0, 7\n3: c.addi a1, 9")
C(stack, "addi sp, sp, -64\n c.sdsp a0, 8(sp)\n c.sdsp a1, 16(sp)\n c.swsp a0, 24(sp)\n c.swsp a1, 28(sp)\n c.ldsp a0, 24(sp)\n c.lwsp a1, 8(sp)\n c.ldsp t0, 16(sp)\n c.add a1, t0\n c.addi16sp sp, 32\n c.addi16sp sp, 32")
C(stackf, "addi sp, sp, -64\n c.sdsp a0, 8(sp)\n c.fldsp ft0, 8(sp)\n c.fsdsp ft0, 24(sp)\n c.ldsp a1, 24(sp)\n addi sp, sp, 64")
C(spn, "c.addi16sp sp, -64\n c.addi4spn a4, sp, 16\n c.sd a0, 8(a4)\n c.sw a1, 4(a4)\n c.lw a0, 4(a4)\n c.ld a1, 8(a4)\n c.fld fa4, 8(a4)\n c.fsd fa4, 16(a4)\n c.ld a4, 16(a4)\n c.add a0, a4\n c.addi16sp sp, 64")
C(jump, "lla t0, 1f\n c.jr t0\n c.addi a0, 1\n1: mv t1, ra\n lla t0, 2f\n c.jalr t0\n c.addi a1, 5\n c.j 3f\n2: c.addi a0, 3\n ret\n3: mv ra, t1")
#define C_ALL(X) X(addi) X(addiw) X(li) X(lui) X(shifts) X(logic) X(arith) X(move) X(branch) X(stack) X(stackf) X(spn) X(jump)

/* Loads and stores of every width, offsets at both ends. */
static unsigned char memory[8192] __attribute__((aligned(8)));
static void __attribute__((noinline)) access_all(uint64_t a, uint64_t b)
{
    uint64_t r[7];
    unsigned char *p = memory + 4096 + (b & 0x3f8);
    __asm__ volatile("sd %8, 0(%7)\n sb %9, 1(%7)\n sh %9, 4(%7)\n sd %9, -2048(%7)\n sw %8, 2044(%7)\n"
                     "lb %0, 1(%7)\n lbu %1, 7(%7)\n lh %2, 4(%7)\n lhu %3, 2(%7)\n lw %4, 2044(%7)\n lwu %5, -2048(%7)\n ld %6, 0(%7)"
                     : "=&r"(r[0]), "=&r"(r[1]), "=&r"(r[2]), "=&r"(r[3]), "=&r"(r[4]), "=&r"(r[5]), "=&r"(r[6])
                     : "r"(p), "r"(a), "r"(b) : "memory");
    for (int i = 0; i < 7; i++)
        hash(r[i]);
    /* The base is overwritten by what it loads. */
    unsigned char *q = p;
    __asm__ volatile("ld %0, 0(%0)" : "+r"(q)::"memory");
    hash((uint64_t)q);
    __asm__ volatile("lb zero, 0(%0)" ::"r"(p) : "memory");
}

static void places(void)
{
    /* auipc, jal and jalr say where they are: differences only. */
    for (int i = 0; i < 20000; i++) {
        uint64_t a, b, c;
        __asm__ volatile("1: auipc %0, 0\n auipc %1, 1\n jal %2, 2f\n 2: sub %1, %1, %0\n sub %2, %2, %0\n lui %0, 0x80000\n" : "=&r"(a), "=&r"(b), "=&r"(c));
        hash(a), hash(b), hash(c);
        __asm__ volatile("lui %0, 0xfffff\n lui %1, 0x7ffff\n lui %2, 0" : "=r"(a), "=r"(b), "=r"(c));
        hash(a), hash(b), hash(c);
    }
    report_hash("places");
}

#define ENTRY_RRR(op) {#op, rrr_##op},
#define ENTRY_BRANCH(op) {#op, branch_##op},
#define ENTRY_C(op) {"c." #op, c_##op},
#define ENTRY_RRI(op) {#op, rri_##op},

static const struct {
    const char *name;
    void (*run)(uint64_t, uint64_t);
} binary[] = {RRR_ALL(ENTRY_RRR) BRANCH_ALL(ENTRY_BRANCH) C_ALL(ENTRY_C) {"access", access_all}};
static const struct {
    const char *name;
    void (*run)(uint64_t);
} unary[] = {RRI_ALL(ENTRY_RRI)};

int main(void)
{
    for (unsigned op = 0; op < sizeof binary / sizeof *binary; op++) {
        random_state = 99 + op;
        for (int round = 0; round < 10; round++)
            for (int a = 0; a < MORE; a++)
                for (int b = 0; b < MORE; b++)
                    binary[op].run(value(a), value(b));
        report_hash(binary[op].name);
    }
    for (unsigned op = 0; op < sizeof unary / sizeof *unary; op++) {
        random_state = 77 + op;
        for (int round = 0; round < 300; round++)
            for (int a = 0; a < MORE; a++)
                unary[op].run(value(a));
        report_hash(unary[op].name);
    }
    places();
    return 0;
}
