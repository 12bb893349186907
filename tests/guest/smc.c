/* Self-modifying code: functions are rewritten thousands of times, each version runs from once to often
 * enough to be hot. */
#include "check.h"
#include <sys/mman.h>
#include <sys/wait.h>

static unsigned char *pages(unsigned long count)
{
    void *p = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

static int lengths(int i)
{
    static const int some[] = {1, 2, 3, 7, 20, 50, 100, 300, 700, 2000};
    return some[i % 10];
}

/* A constant, called in a loop that is the compiler's. */
static void constants(void)
{
    uint32_t *code = (uint32_t *)pages(1);
    for (int version = 0; version < 3000; version++) {
        uint32_t value = (uint32_t)random64() & 0x7fffffff;
        code[0] = enc_lui(10, (value + 0x800) >> 12 & 0xfffff);
        code[1] = enc_addi(10, 10, (int)(value << 20) >> 20) | 8; /* addiw */
        code[2] = ENC_RET;
        flush_code(code, 12);
        long expected = (int32_t)((value + 0x800) & 0xfffff000) + ((int)(value << 20) >> 20);
        expected = (int32_t)expected;
        int calls = lengths(version);
        unsigned long sum = 0;
        for (int n = 0; n < calls; n++)
            sum += ((code_fn *)code)(0, 0);
        EQUAL(sum, expected * calls);
        hash(sum);
    }
    report_hash("constants");
}

/* A loop of which one instruction, or one half of a word, is exchanged. */
static void loops(void)
{
    uint32_t *code = (uint32_t *)pages(1);
    code[0] = enc_addi(10, 10, 1);
    code[1] = enc_addi(12, 12, 1);
    code[2] = enc_addi(11, 11, -1);
    code[3] = enc_bnez(11, -12);
    code[4] = ENC_RET;
    flush_code(code, 20);
    for (int version = 0; version < 6000; version++) {
        int imm = (int)(random64() % 4096) - 2048;
        unsigned long n = lengths(version) * 2, expected;
        if (version % 3 == 0) {
            /* Two compressed instructions in the place of one. */
            int small = imm % 31 | 1;
            code[0] = (uint32_t)enc_c_addi(10, small) | ENC_C_NOP << 16;
            expected = 5 + n * small;
        } else if (version % 3 == 1) {
            code[0] = enc_addi(10, 10, imm);
            expected = 5 + n * imm;
        } else {
            /* Only the upper half is stored: the immediate. */
            code[0] = enc_addi(10, 10, 3);
            flush_code(code, 4);
            EQUAL(((code_fn *)code)(5, 2), 11);
            ((uint16_t *)code)[1] = (uint16_t)(enc_addi(10, 10, imm) >> 16);
            expected = 5 + n * imm;
        }
        flush_code(code, 4);
        EQUAL(((code_fn *)code)(5, n), expected);
        hash(expected);
    }
    report_hash("loops");
}

/* Copied to a page of its own: rewrites `neighbour`, which lies in the same page, and calls it. a0: pointer
 * to `neighbour` in the copy, a1: count. */
extern const char neighbour_begin[], neighbour_code[], neighbour_end[];
__asm__(".pushsection .text.templates, \"ax\"\n"
        ".balign 4\n"
        ".option push\n.option norvc\n.option norelax\n"
        "neighbour_begin:\n"
        "  mv t3, ra\n"
        "  mv t1, a0\n"
        "  mv t2, a1\n"
        "  lw t4, 0(t1)\n"
        "  li t5, 1 << 20\n"
        "  li a0, 0\n"
        "1: sw t4, 0(t1)\n"
        "  fence.i\n"
        "  jalr t1\n"
        "  jalr t1\n"
        "  add t4, t4, t5\n"
        "  addi t2, t2, -1\n"
        "  bnez t2, 1b\n"
        "  mv ra, t3\n"
        "  ret\n"
        "neighbour_code:\n"
        "  addi a0, a0, 0\n"
        "  ret\n"
        "neighbour_end:\n"
        /* Rewrites an instruction before, and one after, the store that does it. a0: 0, a1: count, a2:
         * itself. */
        "self_begin:\n"
        "  li t5, 1 << 20\n"
        "1: addi a0, a0, 1\n"
        "  lw t4, 4(a2)\n"
        "  add t4, t4, t5\n"
        "  sw t4, 4(a2)\n"
        "  lw t4, 36(a2)\n"
        "  add t4, t4, t5\n"
        "  sw t4, 36(a2)\n"
        "  fence.i\n"
        "  addi a0, a0, 2\n"
        "  addi a1, a1, -1\n"
        "  bnez a1, 1b\n"
        "  ret\n"
        "self_end:\n"
        ".option pop\n"
        ".popsection\n");
extern const char self_begin[], self_end[];

static void neighbours(void)
{
    unsigned char *page = pages(1);
    unsigned long length = neighbour_end - neighbour_begin;
    for (int place = 0; place < 64; place++) {
        unsigned char *at = page + (unsigned)place * 60;
        memcpy(at, neighbour_begin, length);
        flush_code(at, length);
        unsigned long n = 1 + random64() % 2000;
        unsigned long got = ((code_fn *)at)((unsigned long)(at + (neighbour_code - neighbour_begin)), n), expected = 0;
        for (unsigned long i = 0; i < n; i++)
            expected += 2 * ((i & 2047) - (i & 2048));
        EQUAL(got, expected);
        hash(got);
    }
    report_hash("neighbours");
}

static void self(void)
{
    unsigned char *page = pages(1);
    unsigned long length = self_end - self_begin;
    for (int place = 0; place < 64; place++) {
        unsigned char *at = page + (unsigned)place * 60;
        memcpy(at, self_begin, length);
        flush_code(at, length);
        unsigned long n = 1 + random64() % 1900;
        unsigned long got = ((unsigned long (*)(unsigned long, unsigned long, void *))at)(0, n, at), expected = 0;
        for (unsigned long i = 0; i < n; i++)
            expected += 1 + i + (2 + i + 1);
        EQUAL(got, expected);
        hash(got);
    }
    report_hash("self");
}

/* Never writable and executable at once. */
static void toggled(void)
{
    uint32_t *code = (uint32_t *)pages(2);
    for (int version = 0; version < 2000; version++) {
        int imm = (int)(random64() % 4096) - 2048, n = lengths(version);
        CHECK(mprotect(code, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
        code[0] = version & 1 ? enc_xori(10, 10, imm) : enc_addi(10, 10, imm);
        code[1] = enc_addi(11, 11, -1);
        code[2] = enc_bnez(11, -8);
        code[3] = ENC_RET;
        CHECK(mprotect(code, 2 * PAGE, PROT_READ | PROT_EXEC) == 0);
        flush_code(code, 16);
        unsigned long got = ((code_fn *)code)(77, n);
        unsigned long expected = version & 1 ? (n & 1 ? 77UL ^ (unsigned long)imm : 77) : 77 + (unsigned long)n * imm;
        EQUAL(got, expected);
        hash(got);
    }
    report_hash("toggled");
}

/* The kernel writes the code: read(2) from a pipe. */
static void kernel_writes(void)
{
    uint32_t *code = (uint32_t *)pages(1);
    int ends[2];
    CHECK(pipe(ends) == 0);
    for (int version = 0; version < 2000; version++) {
        int imm = (int)(random64() % 4096) - 2048, n = lengths(version);
        uint32_t words[] = {enc_addi(10, 10, imm), enc_addi(11, 11, -1), enc_bnez(11, -8), ENC_RET};
        CHECK(write(ends[1], words, sizeof words) == sizeof words);
        CHECK(read(ends[0], code, sizeof words) == sizeof words);
        flush_code(code, 16);
        EQUAL(((code_fn *)code)(3, n), 3 + (unsigned long)n * imm);
    }
    report_ok("kernel_writes");
}

/* Many functions that call each other in a chain over many pages; one is changed at a time. */
static void chain(void)
{
    enum { FUNCTIONS = 512, EACH = 128 };
    unsigned char *base = pages(FUNCTIONS * EACH / PAGE);
    int imm[FUNCTIONS];
    for (int i = 0; i < FUNCTIONS; i++) {
        uint32_t *code = (uint32_t *)(base + i * EACH);
        imm[i] = i;
        code[0] = enc_addi(10, 10, i);
        code[1] = i + 1 < FUNCTIONS ? enc_jal(0, EACH - 4) : ENC_RET;
    }
    flush_code(base, FUNCTIONS * EACH);
    unsigned long sum = 0;
    for (int i = 0; i < FUNCTIONS; i++)
        sum += imm[i];
    for (int version = 0; version < 2000; version++) {
        int which = random64() % FUNCTIONS, value = (int)(random64() % 4096) - 2048;
        uint32_t *code = (uint32_t *)(base + which * EACH);
        sum += value - imm[which];
        imm[which] = value;
        code[0] = enc_addi(10, 10, value);
        flush_code(code, 4);
        for (int n = lengths(version) / 20 + 1; n; n--)
            EQUAL(((code_fn *)base)(0, 0), sum);
        hash(sum);
    }
    report_hash("chain");
}

/* After a fork the pages are shared until one side writes: the other keeps its code. */
static void forked(void)
{
    uint32_t *code = (uint32_t *)pages(1);
    code[0] = enc_addi(10, 10, 1);
    code[1] = enc_addi(11, 11, -1);
    code[2] = enc_bnez(11, -8);
    code[3] = ENC_RET;
    flush_code(code, 16);
    EQUAL(((code_fn *)code)(0, 5000), 5000);
    for (int i = 2; i < 40; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            EQUAL(((code_fn *)code)(0, 5000), 5000UL * (i - 1));
            code[0] = enc_addi(10, 10, -i);
            flush_code(code, 4);
            EQUAL(((code_fn *)code)(0, 5000), -5000L * i);
            _exit(40);
        }
        EQUAL(((code_fn *)code)(0, 5000), 5000UL * (i - 1));
        code[0] = enc_addi(10, 10, i);
        flush_code(code, 4);
        EQUAL(((code_fn *)code)(0, 5000), 5000UL * i);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 40);
        EQUAL(((code_fn *)code)(0, 5000), 5000UL * i);
    }
    report_ok("forked");
}

/* Data in the page of hot code: stores that change no code, from the code itself. a0: pointer to data, a1:
 * count. */
static void data_in_code(void)
{
    unsigned char *page = pages(1);
    uint32_t *code = (uint32_t *)page;
    static const uint32_t words[] = {
        0x00053603, /* ld a2, 0(a0) */
        0x00b60633, /* add a2, a2, a1 */
        0x00c53023, /* sd a2, 0(a0) */
        0xfff58593, /* addi a1, a1, -1 */
        0xfe0598e3, /* bnez a1, -16 */
        ENC_RET,
    };
    memcpy(code, words, sizeof words);
    flush_code(code, sizeof words);
    uint64_t *data = (uint64_t *)(page + 512);
    unsigned long expected = 0;
    for (unsigned long i = 0; i < 200; i++) {
        unsigned long n = 1 + random64() % 500;
        ((code_fn *)code)((unsigned long)data, n);
        expected += n * (n + 1) / 2;
        EQUAL(*data, expected);
    }
    hash(expected);
    report_hash("data_in_code");
}

int main(void)
{
    constants();
    loops();
    neighbours();
    self();
    toggled();
    kernel_writes();
    chain();
    forked();
    data_in_code();
    return 0;
}
