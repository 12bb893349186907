/* Code that changes without a store to the address it runs at: through another mapping of the page, through
 * the file, by being thrown away. qemu-user does not notice such changes, so the expected output is written
 * down (alias.expected). */
#include "maps.h"

static int hot(int i)
{
    static const int some[] = {1, 3000, 10, 500, 1, 1, 2000, 100};
    return some[i & 7];
}

static void run(void *code, int imm, unsigned long n)
{
    EQUAL(((code_fn *)code)(9, n), 9 + n * (unsigned long)imm);
}

static int any(void) { return (int)(random64() % 4096) - 2048; }

/* W^X as JIT compilers do it: written here, executed there. */
static void twice_mapped(void)
{
    int fd = file_of(2);
    put_loop(fd, 64, 0);
    uint32_t *writable = map(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    unsigned char *code = map(NULL, 2 * PAGE, RX, MAP_SHARED, fd, 0);
    for (int i = 0; i < 4000; i++) {
        int imm = any();
        writable[16] = enc_addi(10, 10, imm);
        flush_code(code + 64, 4);
        run(code + 64, imm, hot(i));
    }
    report_ok("twice_mapped");
}

/* The file is written, by the kernel into its page cache. */
static void through_file(void)
{
    int fd = file_of(1);
    put_loop(fd, 0, 0);
    unsigned char *shared = map(NULL, PAGE, RX, MAP_SHARED, fd, 0);
    unsigned char *private = map(NULL, PAGE, RX, MAP_PRIVATE, fd, 0);
    for (int i = 0; i < 2000; i++) {
        int imm = any();
        put_loop(fd, 0, imm);
        flush_code(shared, 16);
        run(shared, imm, hot(i));
        run(private, imm, hot(i + 1));
    }
    report_ok("through_file");
}

/* A changed copy of a page of a file is thrown away: the file's code is back. */
static void thrown_away(void)
{
    int fd = file_of(1);
    put_loop(fd, 0, 4);
    uint32_t *code = map(NULL, PAGE, RW | PROT_EXEC, MAP_PRIVATE, fd, 0);
    for (int i = 0; i < 1000; i++) {
        run(code, 4, hot(i));
        int imm = any();
        code[0] = enc_addi(10, 10, imm);
        flush_code(code, 4);
        run(code, imm, hot(i + 1));
        CHECK(madvise(code, PAGE, MADV_DONTNEED) == 0);
        flush_code(code, 4);
    }
    report_ok("thrown_away");
}

/* A page of code becomes a page of zeros, which is no instruction. */
static void zeroed(void)
{
    uint32_t *code = map(NULL, PAGE, RW | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    on(SIGILL, on_fault, 0);
    for (int i = 0; i < 500; i++) {
        int imm = any();
        code[0] = enc_addi(10, 10, imm);
        code[1] = enc_addi(11, 11, -1);
        code[2] = enc_bnez(11, -8);
        code[3] = ENC_RET;
        flush_code(code, 16);
        run(code, imm, hot(i));
        CHECK(madvise(code, PAGE, MADV_DONTNEED) == 0);
        flush_code(code, 16);
        if (sigsetjmp(escape, 1) == 0) {
            ((code_fn *)code)(0, 1);
            FAIL("zeros were executed");
        }
        EQUAL(escape_address, (uintptr_t)code);
    }
    report_ok("zeroed");
}

/* Code stores to itself by way of its other mapping. a0: 0, a1: count, a2: the instruction's writable
 * address. */
static void by_itself(void)
{
    static const uint32_t words[] = {
        0x00150513, /*  0: addi a0, a0, 1 */
        0x00062e83, /*  4: lw t4, 0(a2) */
        0x00100f37, /*  8: lui t5, 0x100: 1 in the immediate */
        0x01ee8eb3, /* 12: add t4, t4, t5 */
        0x01d62023, /* 16: sw t4, 0(a2) */
        0x0000100f, /* 20: fence.i */
        0xfff58593, /* 24: addi a1, a1, -1 */
        0xfe0592e3, /* 28: bnez a1, -28 */
        ENC_RET,
    };
    int fd = file_of(1);
    uint32_t *writable = map(NULL, PAGE, RW, MAP_SHARED, fd, 0);
    unsigned char *code = map(NULL, PAGE, RX, MAP_SHARED, fd, 0);
    for (int place = 0; place < 100; place++) {
        int at = place * 10;
        memcpy(writable + at, words, sizeof words);
        flush_code(code, PAGE);
        unsigned long n = 1 + random64() % 2000;
        unsigned long got = ((unsigned long (*)(unsigned long, unsigned long, void *))(code + 4 * at))(0, n, writable + at);
        EQUAL(got, n * (n + 1) / 2);
    }
    report_ok("by_itself");
}

int main(void)
{
    twice_mapped();
    through_file();
    thrown_away();
    zeroed();
    by_itself();
    return 0;
}
