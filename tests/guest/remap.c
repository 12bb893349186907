/* The page of hot code is exchanged by mmap, munmap, mremap, mprotect; one page at several addresses;
 * functions that cross into a page which is exchanged. */
#include "maps.h"
#include <sys/wait.h>

static int hot(int i)
{
    static const int some[] = {1, 3000, 10, 500, 1, 1, 2000, 100};
    return some[i & 7];
}

static void run(void *code, int imm, unsigned long n)
{
    EQUAL(((code_fn *)code)(9, n), 9 + n * (unsigned long)imm);
}

static void alternating(int flags, const char *name)
{
    enum { FILES = 5 };
    int fd[FILES];
    unsigned char *at = reserve(3) + PAGE;
    for (int i = 0; i < FILES; i++) {
        fd[i] = file_of(1);
        put_loop(fd[i], 0, i * 7 - 11);
    }
    for (int i = 0; i < 2000; i++) {
        int which = random64() % FILES;
        map(at, PAGE, RX, flags | MAP_FIXED, fd[which], 0);
        run(at, which * 7 - 11, hot(i));
        if (i % 50 == 0) {
            CHECK(munmap(at, PAGE) == 0);
            must_fault(at, at);
        }
    }
    report_ok(name);
}

static void anonymous(void)
{
    unsigned char *at = reserve(3) + PAGE;
    for (int i = 0; i < 1000; i++) {
        int imm = (int)(random64() % 4096) - 2048;
        uint32_t *code = map(at, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        code[0] = enc_addi(10, 10, imm);
        code[1] = enc_addi(11, 11, -1);
        code[2] = enc_bnez(11, -8);
        code[3] = ENC_RET;
        CHECK(mprotect(code, PAGE, RX) == 0);
        flush_code(code, 16);
        run(code, imm, hot(i));
        CHECK(munmap(code, PAGE) == 0);
    }
    report_ok("anonymous");
}

/* The right to execute comes and goes. */
static void rights(void)
{
    int fd = file_of(1);
    put_loop(fd, 0, 5);
    unsigned char *at = map(NULL, PAGE, RX, MAP_PRIVATE, fd, 0);
    for (int i = 0; i < 300; i++) {
        run(at, 5, hot(i));
        CHECK(mprotect(at, PAGE, i & 1 ? PROT_NONE : PROT_READ) == 0);
        must_fault(at, at);
        CHECK(mprotect(at, PAGE, RX) == 0);
    }
    report_ok("rights");
}

/* Two pages change places. */
static void moved(void)
{
    int a = file_of(1), b = file_of(1);
    put_loop(a, 0, 1);
    put_loop(b, 0, -1);
    unsigned char *at = reserve(5), *one = at + PAGE, *two = at + 2 * PAGE, *spare = at + 3 * PAGE;
    map(one, PAGE, RX, MAP_PRIVATE | MAP_FIXED, a, 0);
    map(two, PAGE, RX, MAP_PRIVATE | MAP_FIXED, b, 0);
    int imm = 1;
    for (int i = 0; i < 500; i++) {
        run(one, imm, hot(i));
        run(two, -imm, hot(i + 1));
        CHECK(mremap(one, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, spare) == spare);
        must_fault(one, one);
        CHECK(mremap(two, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, one) == one);
        CHECK(mremap(spare, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, two) == two);
        imm = -imm;
    }
    report_ok("moved");
}

/* One page of a file at many addresses; its code tells where it is. A page that is lifted must not know its
 * address. */
static void everywhere(void)
{
    enum { PLACES = 16 };
    int fd = file_of(1);
    uint32_t code[] = {
        enc_auipc(12, 0),     /*  0 */
        enc_add(10, 10, 12),  /*  4 */
        enc_jal(5, 12),       /*  8: to 20, t0 = 12 */
        enc_bnez(11, -12),    /* 12: to 0 */
        ENC_RET,              /* 16 */
        enc_add(10, 10, 5),   /* 20 */
        enc_addi(11, 11, -1), /* 24 */
        enc_jal(0, -16),      /* 28: to 12 */
    };
    CHECK(pwrite(fd, code, sizeof code, 256) == sizeof code);
    unsigned char *places[PLACES];
    for (int i = 0; i < PLACES; i++)
        places[i] = map(NULL, PAGE, RX, i & 1 ? MAP_PRIVATE : MAP_SHARED, fd, 0);
    for (int i = 0; i < 3000; i++) {
        int which = i % 64 < 32 ? (int)(random64() % PLACES) : i / 64 % PLACES;
        unsigned long at = (unsigned long)places[which] + 256, n = hot(i);
        EQUAL(((code_fn *)at)(1, n), 1 + n * (at + at + 12));
    }
    report_ok("everywhere");
}

/* Two pages, an instruction of four bytes across their border; the second is exchanged, the first never. */
static void border(void)
{
    enum { FILES = 4 };
    int first = file_of(1), second[FILES], imm[FILES];
    unsigned char *at = reserve(2);
    uint32_t jump = enc_addi(10, 10, 0);
    uint16_t head[] = {ENC_C_NOP, (uint16_t)jump};
    CHECK(pwrite(first, head, sizeof head, PAGE - 4) == sizeof head);
    for (int i = 0; i < FILES; i++) {
        imm[i] = i * 300 - 500;
        uint32_t add = enc_addi(10, 10, imm[i]), dec = enc_addi(11, 11, -1), back = enc_bnez(11, -6 - 2), ret = ENC_RET;
        unsigned char tail[14];
        CHECK((uint16_t)add == head[1]);
        memcpy(tail, (unsigned char *)&add + 2, 2);
        memcpy(tail + 2, &dec, 4);
        memcpy(tail + 6, &back, 4); /* at PAGE + 6, to PAGE - 2 */
        memcpy(tail + 10, &ret, 4);
        second[i] = file_of(1);
        CHECK(pwrite(second[i], tail, sizeof tail, 0) == sizeof tail);
    }
    map(at, PAGE, RX, MAP_PRIVATE | MAP_FIXED, first, 0);
    for (int i = 0; i < 2000; i++) {
        int which = random64() % FILES;
        map(at + PAGE, PAGE, RX, MAP_PRIVATE | MAP_FIXED, second[which], 0);
        run(at + PAGE - 4, imm[which], hot(i));
        if (i % 40 == 0) {
            CHECK(mprotect(at + PAGE, PAGE, PROT_NONE) == 0);
            must_fault(at + PAGE - 4, at + PAGE);
        }
    }
    report_ok("border");
}

/* The first page of the same is exchanged, the second never; and it runs on from one page into the next. */
static void border_first(void)
{
    enum { FILES = 3 };
    int first[FILES], second = file_of(1);
    unsigned char *at = reserve(2);
    put_loop(second, 0, 3);
    for (int i = 0; i < FILES; i++) {
        first[i] = file_of(1);
        uint32_t words[] = {enc_addi(10, 10, i * 1000), enc_addi(10, 10, i)};
        CHECK(pwrite(first[i], words, sizeof words, PAGE - 8) == sizeof words);
    }
    map(at + PAGE, PAGE, RX, MAP_PRIVATE | MAP_FIXED, second, 0);
    for (int i = 0; i < 2000; i++) {
        int which = random64() % FILES;
        map(at, PAGE, RX, MAP_PRIVATE | MAP_FIXED, first[which], 0);
        unsigned long n = hot(i);
        EQUAL(((code_fn *)(at + PAGE - 8))(0, n), which * 1001 + 3 * n);
    }
    report_ok("border_first");
}

/* Processes with different code at the same address take turns. */
static void processes(void)
{
    enum { CHILDREN = 4, TURNS = 100 };
    unsigned char *at = reserve(1);
    int to[CHILDREN][2], from[CHILDREN][2];
    for (int c = 0; c < CHILDREN; c++) {
        CHECK(pipe(to[c]) == 0 && pipe(from[c]) == 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            int fd = file_of(1);
            put_loop(fd, 0, c + 1);
            map(at, PAGE, RX, MAP_PRIVATE | MAP_FIXED, fd, 0);
            for (int turn = 0; turn < TURNS; turn++) {
                unsigned long value;
                CHECK(read(to[c][0], &value, sizeof value) == sizeof value);
                value = ((code_fn *)at)(value, hot(turn));
                CHECK(write(from[c][1], &value, sizeof value) == sizeof value);
            }
            _exit(0);
        }
    }
    unsigned long value = 0, expected = 0;
    for (int turn = 0; turn < TURNS; turn++)
        for (int c = 0; c < CHILDREN; c++) {
            CHECK(write(to[c][1], &value, sizeof value) == sizeof value);
            CHECK(read(from[c][0], &value, sizeof value) == sizeof value);
            expected += (unsigned long)(c + 1) * hot(turn);
            EQUAL(value, expected);
        }
    for (int c = 0; c < CHILDREN; c++) {
        int status;
        CHECK(wait(&status) > 0 && status == 0);
    }
    hash(value);
    report_hash("processes");
}

int main(void)
{
    alternating(MAP_PRIVATE, "private");
    alternating(MAP_SHARED, "shared");
    anonymous();
    rights();
    moved();
    everywhere();
    border();
    border_first();
    processes();
    return 0;
}
