/* Files that hold code, for remap.c and alias.c. */
#ifndef MAPS_H
#define MAPS_H

#include "check.h"
#include <setjmp.h>
#include <sys/mman.h>

/* mmap that must succeed. */
static inline void *map(void *at, unsigned long length, int prot, int flags, int fd, long offset)
{
    void *p = mmap(at, length, prot, flags, fd, offset);
    CHECK(p != MAP_FAILED);
    CHECK(!(flags & MAP_FIXED) || p == at);
    return p;
}

#define RX (PROT_READ | PROT_EXEC)
#define RW (PROT_READ | PROT_WRITE)

/* An address range of our own, nothing in it. */
static inline unsigned char *reserve(unsigned long count)
{
    return map(NULL, count * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* A file of `count` pages without a name. */
static inline int file_of(unsigned long count)
{
    int fd = memfd_create("code", 0);
    CHECK(fd >= 0 && ftruncate(fd, (long)(count * PAGE)) == 0);
    return fd;
}

/* Writes a loop that adds `imm` a1 times to a0, at `at` of the file. */
static inline void put_loop(int fd, long at, int imm)
{
    uint32_t words[] = {enc_addi(10, 10, imm), enc_addi(11, 11, -1), enc_bnez(11, -8), ENC_RET};
    CHECK(pwrite(fd, words, sizeof words, at) == sizeof words);
}

static sigjmp_buf escape;
static volatile uintptr_t escape_address;
static inline void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    escape_address = (uintptr_t)info->si_addr;
    siglongjmp(escape, 1);
}

/* Calling there must fault, with that address. */
static inline void must_fault(void *function, void *address)
{
    on(SIGSEGV, on_fault, 0);
    if (sigsetjmp(escape, 1) == 0) {
        ((code_fn *)function)(0, 1);
        FAIL("no fault at %p", function);
    }
    EQUAL(escape_address, (uintptr_t)address);
    signal(SIGSEGV, SIG_DFL);
}

#endif
