/* Threads and atomics: every AMO on corner cases and under contention, lr/sc in all its uses, the pthread
 * primitives. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { THREADS = 8 };

/* Each AMO with each ordering, on values that matter. */
static const uint64_t corners[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                                   0x7fffffffffffffff, 0x8000000000000000, 0xffffffff80000000, 0xffffffffffffffff,
                                   0x123456789abcdef0, 0xfedcba9876543210};
enum { CORNERS = sizeof corners / sizeof *corners };

#define AMO(op) \
    static void __attribute__((noinline)) do_##op(void) \
    { \
        for (int a = 0; a < CORNERS; a++) \
            for (int b = 0; b < CORNERS; b++) { \
                uint64_t old, memory[3] = {~corners[b], corners[a], ~corners[a]}; \
                __asm__ volatile("amo" #op ".w %0, %2, (%1)" : "=&r"(old) : "r"(&memory[1]), "r"(corners[b]) : "memory"); \
                hash(old), hash(memory[0]), hash(memory[1]), hash(memory[2]); \
                __asm__ volatile("amo" #op ".d.aqrl %0, %2, (%1)" : "=&r"(old) : "r"(&memory[1]), "r"(corners[b]) : "memory"); \
                hash(old), hash(memory[0]), hash(memory[1]), hash(memory[2]); \
                __asm__ volatile("amo" #op ".w.aq %0, %2, (%1)" : "=&r"(old) : "r"((char *)&memory[1] + 4), "r"(corners[a]) : "memory"); \
                hash(old), hash(memory[0]), hash(memory[1]), hash(memory[2]); \
                __asm__ volatile("amo" #op ".d.rl zero, %1, (%0)" ::"r"(&memory[1]), "r"(corners[a]) : "memory"); \
                hash(memory[1]); \
                /* The register of the address, of the operand, is the result's. */ \
                uint64_t *p = &memory[0]; \
                __asm__ volatile("amo" #op ".d %0, %1, (%0)" : "+r"(p) : "r"(corners[b]) : "memory"); \
                hash((uint64_t)p), hash(memory[0]); \
                old = corners[b]; \
                __asm__ volatile("amo" #op ".w %0, %0, (%1)" : "+r"(old) : "r"(&memory[2]) : "memory"); \
                hash(old), hash(memory[2]); \
            } \
        report_hash("amo" #op); \
    }
AMO(add) AMO(swap) AMO(xor) AMO(and) AMO(or) AMO(min) AMO(max) AMO(minu) AMO(maxu)

static void reservations(void)
{
    _Alignas(64) uint64_t memory[16] = {0};
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t value, failed;
        __asm__ volatile("lr.d %0, (%2)\n sc.d %1, %3, (%2)" : "=&r"(value), "=&r"(failed) : "r"(memory), "r"(i) : "memory");
        hash(value), hash(failed);
        /* The reservation is used up, whether it succeeded or not. */
        __asm__ volatile("sc.d %0, %2, (%1)" : "=&r"(failed) : "r"(memory), "r"(~i) : "memory");
        EQUAL(failed, 1);
        EQUAL(memory[0], i);
        __asm__ volatile("lr.w %0, (%2)\n sc.w %1, %3, (%2)" : "=&r"(value), "=&r"(failed) : "r"((char *)(memory + 1) + 4), "r"(i << 31 | i) : "memory");
        hash(value), hash(failed), hash(memory[1]);
        /* lr.w sign-extends; so does nothing else here. */
        ((int32_t *)memory)[6] = (int32_t)(i * 0x10001);
        __asm__ volatile("lr.w.aq %0, (%1)" : "=r"(value) : "r"(memory + 3) : "memory");
        EQUAL(value, (int64_t)(int32_t)(i * 0x10001));
        /* Somewhere else than the reservation. */
        __asm__ volatile("lr.d zero, (%1)\n sc.d %0, %3, (%2)" : "=&r"(failed) : "r"(memory), "r"(memory + 8), "r"(i) : "memory");
        EQUAL(failed, 1);
        EQUAL(memory[8], 0);
        /* sc whose result is thrown away, whose result is its operand. */
        __asm__ volatile("lr.d.aqrl zero, (%0)\n sc.d.rl zero, %1, (%0)" ::"r"(memory + 4), "r"(i) : "memory");
        EQUAL(memory[4], i);
        failed = i + 5;
        __asm__ volatile("lr.d zero, (%1)\n sc.d %0, %0, (%1)" : "+r"(failed) : "r"(memory + 5) : "memory");
        EQUAL(failed, 0);
        EQUAL(memory[5], i + 5);
    }
    report_hash("reservations");
}

/* Counters, each by another means. */
enum { ROUNDS = 20000 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_spinlock_t spin;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static unsigned long by_mutex, by_spin, by_rwlock;
static _Atomic unsigned long by_add, by_cas, by_xor, by_max, by_lrsc;
static _Atomic unsigned int by_add32;
static _Atomic unsigned char by_byte[8];
static _Atomic unsigned short by_half[2];
static _Thread_local unsigned long own;

struct node {
    struct node *next;
    unsigned long value;
};
static _Atomic(struct node *) stack;

static void *count(void *arg)
{
    unsigned long me = (unsigned long)arg;
    struct node *nodes = calloc(ROUNDS, sizeof *nodes);
    for (unsigned long i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        by_mutex++;
        pthread_mutex_unlock(&mutex);
        pthread_spin_lock(&spin);
        by_spin += me;
        pthread_spin_unlock(&spin);
        if (i % 4 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            by_rwlock++;
            pthread_rwlock_unlock(&rwlock);
        } else {
            pthread_rwlock_rdlock(&rwlock);
            own += by_rwlock != 0;
            pthread_rwlock_unlock(&rwlock);
        }
        by_add += i;
        by_add32 += (unsigned)me;
        unsigned long old = by_cas;
        while (!atomic_compare_exchange_weak(&by_cas, &old, old * 3 + 1 - old * 2))
            ;
        atomic_fetch_xor(&by_xor, (i + 1) * (me + 1));
        old = by_max;
        while (old < i * me && !atomic_compare_exchange_strong(&by_max, &old, i * me))
            ;
        by_byte[me % 8] += 1;
        by_half[me % 2] += 1;
        unsigned long t;
        __asm__ volatile("1: lr.d %0, (%1)\n addi %0, %0, 7\n sc.d %0, %0, (%1)\n bnez %0, 1b" : "=&r"(t) : "r"(&by_lrsc) : "memory");
        nodes[i].value = i + me;
        nodes[i].next = stack;
        while (!atomic_compare_exchange_weak(&stack, &nodes[i].next, &nodes[i]))
            ;
        if (i % 1000 == 0)
            sched_yield();
    }
    return NULL;
}

static void counters(void)
{
    pthread_t thread[THREADS];
    CHECK(pthread_spin_init(&spin, 0) == 0);
    for (unsigned long i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, count, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    EQUAL(by_mutex, THREADS * ROUNDS);
    EQUAL(by_spin, 28UL * ROUNDS);
    EQUAL(by_rwlock, THREADS * ROUNDS / 4);
    EQUAL(by_add, (unsigned long)THREADS * ROUNDS * (ROUNDS - 1) / 2);
    EQUAL(by_add32, 28U * ROUNDS);
    EQUAL(by_cas, THREADS * ROUNDS);
    EQUAL(by_max, 7UL * (ROUNDS - 1));
    EQUAL(by_lrsc, 7UL * THREADS * ROUNDS);
    for (int i = 0; i < 8; i++)
        EQUAL(by_byte[i], (unsigned char)ROUNDS);
    EQUAL(by_half[0], (unsigned short)(4 * ROUNDS));
    EQUAL(by_half[1], (unsigned short)(4 * ROUNDS));
    unsigned long sum = 0, number = 0;
    for (struct node *n = stack; n; n = n->next)
        sum += n->value, number++;
    EQUAL(number, THREADS * ROUNDS);
    EQUAL(sum, (unsigned long)THREADS * ROUNDS * (ROUNDS - 1) / 2 + 28UL * ROUNDS);
    hash(by_xor);
    report_hash("counters");
}

/* Ping-pong by condition variables, barriers. */
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static unsigned long turn, log_[THREADS * 500], logged, matrix[2][THREADS];
static void *alternate(void *arg)
{
    unsigned long me = (unsigned long)arg;
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != me)
            pthread_cond_wait(&turn_changed, &mutex);
        log_[logged++] = turn++ * 10 + me;
        pthread_cond_broadcast(&turn_changed);
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < 500; i++) {
        matrix[i & 1][me] = matrix[~i & 1][(me + 1) % THREADS] * 3 + me;
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}
static void turns(void)
{
    pthread_t thread[THREADS];
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (unsigned long i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, alternate, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    for (unsigned long i = 0; i < logged; i++)
        hash(log_[i]);
    for (int i = 0; i < THREADS; i++)
        hash(matrix[0][i]), hash(matrix[1][i]);
    report_hash("turns");
}

int main(void)
{
    do_add(), do_swap(), do_xor(), do_and(), do_or(), do_min(), do_max(), do_minu(), do_maxu();
    reservations();
    counters();
    turns();
    return 0;
}
