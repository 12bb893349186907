/* What the stress programs share. Each prints one line per part, hashes or `ok`, and exits 0; a check that
 * fails says where and exits 1. Nothing that is printed may depend on time, addresses or who runs it. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096UL

#define FAIL(...) (fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), _exit(1))
#define CHECK(condition) \
    do { \
        if (!(condition)) \
            FAIL("not so: %s (errno %d)", #condition, errno); \
    } while (0)
#define EQUAL(a, b) \
    do { \
        unsigned long a_ = (unsigned long)(a), b_ = (unsigned long)(b); \
        if (a_ != b_) \
            FAIL("%s is %#lx, not %#lx", #a, a_, b_); \
    } while (0)

/* FNV-1a by words: enough to tell results apart, and cheap on the guest. */
static uint64_t hash_state = 0xcbf29ce484222325;
static inline void hash(uint64_t value) { hash_state = (hash_state ^ value) * 0x100000001b3 ^ hash_state >> 29; }
static inline void report_hash(const char *part)
{
    printf("%s %016lx\n", part, (unsigned long)hash_state);
    fflush(stdout);
    hash_state = 0xcbf29ce484222325;
}
static inline void report_ok(const char *part)
{
    printf("%s ok\n", part);
    fflush(stdout);
}

static uint64_t random_state = 0x9e3779b97f4a7c15;
static inline uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1d;
}

static inline void on(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    CHECK(sigaction(sig, &action, NULL) == 0);
}

/* Makes code that was written executable by all means there are: the system call and fence.i. */
static inline void flush_code(void *from, unsigned long length)
{
    __builtin___clear_cache((char *)from, (char *)from + length);
#ifdef __riscv
    __asm__ volatile("fence.i" ::: "memory");
#endif
}

/* Encodings. Registers by number: ra 1, t0 5, a0 10, a1 11, a2 12. */
static inline uint32_t enc_addi(int rd, int rs, int imm) { return (uint32_t)imm << 20 | rs << 15 | rd << 7 | 0x13; }
static inline uint32_t enc_xori(int rd, int rs, int imm) { return (uint32_t)imm << 20 | rs << 15 | 4 << 12 | rd << 7 | 0x13; }
static inline uint32_t enc_add(int rd, int rs, int rt) { return rt << 20 | rs << 15 | rd << 7 | 0x33; }
static inline uint32_t enc_mul(int rd, int rs, int rt) { return 1 << 25 | rt << 20 | rs << 15 | rd << 7 | 0x33; }
static inline uint32_t enc_lui(int rd, uint32_t imm20) { return imm20 << 12 | rd << 7 | 0x37; }
static inline uint32_t enc_auipc(int rd, uint32_t imm20) { return imm20 << 12 | rd << 7 | 0x17; }
static inline uint32_t enc_bnez(int rs, int offset)
{
    uint32_t o = (uint32_t)offset;
    return (o >> 12 & 1) << 31 | (o >> 5 & 63) << 25 | rs << 15 | 1 << 12 | (o >> 1 & 15) << 8 | (o >> 11 & 1) << 7 | 0x63;
}
static inline uint32_t enc_jal(int rd, int offset)
{
    uint32_t o = (uint32_t)offset;
    return (o >> 20 & 1) << 31 | (o >> 1 & 1023) << 21 | (o >> 11 & 1) << 20 | (o >> 12 & 255) << 12 | rd << 7 | 0x6f;
}
#define ENC_RET 0x00008067U
#define ENC_C_NOP 0x0001U
#define ENC_C_RET 0x8082U
static inline uint16_t enc_c_addi(int rd, int imm) { return (uint16_t)((imm >> 5 & 1) << 12 | rd << 7 | (imm & 31) << 2 | 1); }

/* A function of generated code: a0 is what it works on, a1 how often its loop runs. */
typedef unsigned long code_fn(unsigned long, unsigned long);

#endif
