/*
 * The oracle's side in the guest: reads records from standard input, executes the instruction each names with
 * fcsr = frm only, and writes the result and the flags. The order of the operations is that of `OPS` in
 * oracle/guest.rs. Runs under qemu-riscv64; little endian, no padding in the structures.
 */
#include <stdint.h>
#include <unistd.h>

struct record {
    uint8_t op, rm, pad[6];
    uint64_t a, b, c;
};

struct answer {
    uint64_t result, flags;
};

#define SET_RM(rm) __asm__ volatile("fscsr %0" ::"r"((uint64_t)(rm) << 5) : "memory")
#define GET_FLAGS(f) __asm__ volatile("frflags %0" : "=r"(f)::"memory")

/* float results from one, two or three float operands; `m` is w or d, the width of the moves */
#define FF1(insn, m) \
    __asm__ volatile("fmv." m ".x ft0, %1\n" insn " ft3, ft0\nfmv.x." m " %0, ft3" \
                     : "=r"(r) : "r"(q->a) : "ft0", "ft3", "memory")
#define FF2(insn, m) \
    __asm__ volatile("fmv." m ".x ft0, %1\nfmv." m ".x ft1, %2\n" insn " ft3, ft0, ft1\nfmv.x." m " %0, ft3" \
                     : "=r"(r) : "r"(q->a), "r"(q->b) : "ft0", "ft1", "ft3", "memory")
#define FF3(insn, m) \
    __asm__ volatile("fmv." m ".x ft0, %1\nfmv." m ".x ft1, %2\nfmv." m ".x ft2, %3\n" insn \
                     " ft3, ft0, ft1, ft2\nfmv.x." m " %0, ft3" \
                     : "=r"(r) : "r"(q->a), "r"(q->b), "r"(q->c) : "ft0", "ft1", "ft2", "ft3", "memory")
/* integer results from two or one float operands */
#define IF2(insn, m) \
    __asm__ volatile("fmv." m ".x ft0, %1\nfmv." m ".x ft1, %2\n" insn " %0, ft0, ft1" \
                     : "=r"(r) : "r"(q->a), "r"(q->b) : "ft0", "ft1", "memory")
#define IF1(insn, m, rm) \
    __asm__ volatile("fmv." m ".x ft0, %1\n" insn " %0, ft0" rm : "=r"(r) : "r"(q->a) : "ft0", "memory")
/* a float result from an integer */
#define FI1(insn, m) \
    __asm__ volatile(insn " ft3, %1\nfmv.x." m " %0, ft3" : "=r"(r) : "r"(q->a) : "ft3", "memory")
/* between the formats */
#define CVT(insn, from, to) \
    __asm__ volatile("fmv." from ".x ft0, %1\n" insn " ft3, ft0\nfmv.x." to " %0, ft3" \
                     : "=r"(r) : "r"(q->a) : "ft0", "ft3", "memory")

#define ARITHMETIC(base, s, m) \
    case base + 0: FF2("fadd." s, m); break; \
    case base + 1: FF2("fsub." s, m); break; \
    case base + 2: FF2("fmul." s, m); break; \
    case base + 3: FF2("fdiv." s, m); break; \
    case base + 4: FF1("fsqrt." s, m); break; \
    case base + 5: FF3("fmadd." s, m); break; \
    case base + 6: IF2("feq." s, m); break; \
    case base + 7: IF2("flt." s, m); break; \
    case base + 8: IF2("fle." s, m); break; \
    case base + 9: FF2("fmin." s, m); break; \
    case base + 10: FF2("fmax." s, m); break; \
    case base + 11: IF1("fclass." s, m, ""); break; \
    case base + 12: IF1("fcvt.w." s, m, ", dyn"); break; \
    case base + 13: IF1("fcvt.wu." s, m, ", dyn"); break; \
    case base + 14: IF1("fcvt.l." s, m, ", dyn"); break; \
    case base + 15: IF1("fcvt.lu." s, m, ", dyn"); break; \
    case base + 16: FI1("fcvt." s ".w", m); break; \
    case base + 17: FI1("fcvt." s ".wu", m); break; \
    case base + 18: FI1("fcvt." s ".l", m); break; \
    case base + 19: FI1("fcvt." s ".lu", m); break;

static void execute(const struct record *q, struct answer *out)
{
    uint64_t r = 0, flags;
    SET_RM(q->rm);
    switch (q->op) {
        ARITHMETIC(0, "s", "w")
        ARITHMETIC(20, "d", "d")
    case 40: CVT("fcvt.s.d", "d", "w"); break;
    case 41: CVT("fcvt.d.s", "w", "d"); break;
    default: _exit(3);
    }
    GET_FLAGS(flags);
    out->result = r;
    out->flags = flags;
}

#define BLOCK 4096
static struct record records[BLOCK];
static struct answer answers[BLOCK];

/* Reads or writes all of it; returns what was moved before the end of the file. */
static size_t whole(int fd, char *at, size_t want, int writing)
{
    size_t done = 0;
    while (done < want) {
        ssize_t n = writing ? write(fd, at + done, want - done) : read(fd, at + done, want - done);
        if (n < 0)
            _exit(4);
        if (n == 0)
            break;
        done += n;
    }
    return done;
}

int main(void)
{
    for (;;) {
        size_t bytes = whole(0, (char *)records, sizeof records, 0);
        size_t n = bytes / sizeof records[0];
        if (bytes % sizeof records[0] != 0)
            return 5;
        for (size_t i = 0; i < n; i++)
            execute(&records[i], &answers[i]);
        if (whole(1, (char *)answers, n * sizeof answers[0], 1) != n * sizeof answers[0])
            return 6;
        if (n < BLOCK)
            return 0;
    }
}
