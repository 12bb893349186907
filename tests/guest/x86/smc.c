/* Code that changes: written, patched while it runs, in the page it runs in, through another mapping, across
 * pages, by another thread. x86 needs no instruction for it but a jump (Intel SDM vol. 3A, section 9.1.3),
 * nor even that. */
#include "../check.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

typedef unsigned long fn(unsigned long, unsigned long);

static unsigned char *code_pages(unsigned long count)
{
    void *p = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

/* lea rax, [rdi + imm32]; ret */
static unsigned long put_add(unsigned char *at, int imm)
{
    static const unsigned char bytes[] = {0x48, 0x8d, 0x87, 0, 0, 0, 0, 0xc3};
    memcpy(at, bytes, sizeof bytes);
    memcpy(at + 3, &imm, 4);
    return sizeof bytes;
}

static void rewritten(void)
{
    unsigned char *p = code_pages(4);
    for (int i = 0; i < 20000; i++) {
        unsigned char *at = p + random64() % (3 * PAGE);
        put_add(at, i);
        hash(((fn *)at)(5, 0));
        at[3] ^= 1;
        hash(((fn *)at)(5, 0));
    }
    report_hash("rewritten");
    /* Across the end of a page, each byte by itself. */
    for (int split = 1; split < 8; split++)
        for (int byte = 3; byte < 7; byte++)
            for (int i = 0; i < 50; i++) {
                unsigned char *at = p + PAGE - split;
                if (i == 0)
                    put_add(at, 0x01020304);
                at[byte] = (unsigned char)i;
                hash(((fn *)at)(7, 0));
            }
    report_hash("across pages");
}

/* A loop whose own immediate is changed by each round: mov eax, imm; inc dword [rip - 7]; add rsi, rax; dec
 * rdi; jnz; the changed instruction stands before and after the one that changes it. */
static void loops(void)
{
    unsigned char *p = code_pages(2);
    static const unsigned char before[] = {0x31, 0xf6, 0xb8, 1, 0, 0, 0, 0xff, 0x05, 0xf6, 0xff, 0xff, 0xff, 0x48, 0x01, 0xc6,
                                           0x48, 0xff, 0xcf, 0x75, 0xed, 0x48, 0x89, 0xf0, 0xc3};
    static const unsigned char behind[] = {0x31, 0xf6, 0xff, 0x05, 0x01, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0x48, 0x01, 0xc6,
                                           0x48, 0xff, 0xcf, 0x75, 0xed, 0x48, 0x89, 0xf0, 0xc3};
    for (unsigned long at = PAGE - 30; at < PAGE + 2; at++) {
        memcpy(p + at, before, sizeof before);
        hash(((fn *)(p + at))(300, 0));
        memcpy(p + at, behind, sizeof behind);
        hash(((fn *)(p + at))(300, 0));
    }
    report_hash("loops");
}

/* `rep movsb` over the instructions that follow it. */
static void overwritten(void)
{
    unsigned char *p = code_pages(2);
    static const unsigned char text[] = {0xf3, 0xa4, 0xb8, 1, 0, 0, 0, 0x05, 2, 0, 0, 0, 0xc3};
    for (int i = 0; i < 2000; i++) {
        unsigned char *at = p + PAGE - 6 + i % 6, fresh[10];
        memcpy(at, text, sizeof text);
        memcpy(fresh, text + 2, 10);
        fresh[1] = (unsigned char)i, fresh[6] = (unsigned char)(i >> 8);
        unsigned char *di = at + 2, *si = fresh;
        unsigned long cx = sizeof fresh, ax;
        __asm__ volatile("sub $128, %%rsp\n call *%4\n add $128, %%rsp" : "+D"(di), "+S"(si), "+c"(cx), "=a"(ax) : "r"(at) : "memory", "cc");
        hash(ax);
    }
    report_hash("overwritten");
}

/* One file, mapped writable here and executable there; then another file in its place. */
static void aliases(void)
{
    int fds[2];
    unsigned char *writable[2];
    for (int f = 0; f < 2; f++) {
        fds[f] = memfd_create("code", 0);
        CHECK(fds[f] >= 0 && ftruncate(fds[f], 2 * PAGE) == 0);
        writable[f] = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[f], 0);
        CHECK(writable[f] != MAP_FAILED);
    }
    unsigned char *run = mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fds[0], 0);
    CHECK(run != MAP_FAILED);
    for (int i = 0; i < 3000; i++) {
        unsigned long at = i % 5 ? (unsigned long)i % 4000 : PAGE - 4;
        int f = i / 8 % 2;
        if (i % 8 == 0)
            CHECK(mmap(run, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fds[f], 0) == run);
        put_add(writable[f] + at, i * 3);
        hash(((fn *)(run + at))(1, 0));
        int imm = i * 7;
        if (i % 3)
            CHECK(pwrite(fds[f], &imm, 4, (long)at + 3) == 4);
        hash(((fn *)(run + at))(1, 0));
    }
    report_hash("aliases");
    /* A child's copy of the page is its own. */
    unsigned char *own = code_pages(1);
    put_add(own, 1);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            put_add(own, i);
            _exit((int)((fn *)own)(0, 0) == i ? 0 : 1);
        }
        EQUAL(((fn *)own)(0, 0), 1);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        EQUAL(((fn *)own)(0, 0), 1);
    }
    report_ok("copies");
}

/* A direct jump of 2 bytes, aligned, that another thread turns back and forth, as kernels patch theirs. */
static unsigned char *shared;
static atomic_int done;
static void *patcher(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3000; i++) {
        atomic_store((_Atomic unsigned short *)shared, i & 1 ? 0x04eb : 0x9066);
        if (i % 64 == 0)
            sched_yield();
    }
    atomic_store(&done, 1);
    return NULL;
}

static void threads(void)
{
    shared = code_pages(1);
    /* 66 90 (nop) or eb 04 (jump over); add edi, 1 (4 bytes with its prefix); lea rax, [rdi]; ret */
    static const unsigned char text[] = {0x66, 0x90, 0x40, 0x83, 0xc7, 1, 0x48, 0x8d, 0x07, 0xc3};
    memcpy(shared, text, sizeof text);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, patcher, NULL) == 0);
    unsigned long seen[2] = {0, 0};
    while (!atomic_load(&done)) {
        unsigned long r = ((fn *)shared)(0, 0);
        CHECK(r < 2);
        seen[r]++;
    }
    CHECK(pthread_join(thread, NULL) == 0);
    EQUAL(((fn *)shared)(0, 0), 0);
    report_ok("threads");
}

int main(void)
{
    rewritten();
    loops();
    overwritten();
    aliases();
    threads();
    return 0;
}
