/* Threads that work on the same memory: every locked instruction under contention, the pthread primitives,
 * thread-local memory, and signals that interrupt locked sequences. One processor runs them, at changing
 * moments. */
#include "../check.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/time.h>

enum { THREADS = 6, ROUNDS = 4000 };

static struct {
    unsigned long add, sub, inc, dec, xadd, exchanged, swapped, bits, ors, nots, negs;
    unsigned int words[4];
    unsigned char bytes[8];
    __attribute__((aligned(16))) unsigned long wide[2];
} m = {.negs = 77};
static _Thread_local unsigned long own[2];

static void *contend(void *argument)
{
    unsigned long number = (unsigned long)argument, sum = 0;
    for (unsigned long i = 0; i < ROUNDS; i++) {
        unsigned long v = number + i;
        __asm__ volatile("lock addq %1, %0" : "+m"(m.add) : "r"(v) : "cc");
        __asm__ volatile("lock subq %1, %0" : "+m"(m.sub) : "r"(v) : "cc");
        __asm__ volatile("lock incq %0\n lock decw 2+%1\n lock negq %2\n lock notq %3" : "+m"(m.inc), "+m"(m.dec), "+m"(m.negs), "+m"(m.nots)::"cc");
        __asm__ volatile("lock xaddq %0, %1" : "+r"(v), "+m"(m.xadd)::"cc", "memory");
        v = 1;
        __asm__ volatile("lock xaddl %k0, %1" : "+r"(v), "+m"(m.words[1])::"cc", "memory");
        sum += v;
        /* A value that goes from hand to hand. */
        v = 1UL << number;
        __asm__ volatile("xchgq %0, %1" : "+r"(v), "+m"(m.swapped)::"memory");
        __atomic_xor_fetch(&m.ors, v, __ATOMIC_SEQ_CST);
        unsigned long old = m.exchanged, next;
        do {
            next = old * 6364136223846793005 + 1;
        } while (!__atomic_compare_exchange_n(&m.exchanged, &old, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
        unsigned char set;
        __asm__ volatile("lock btcq %2, %1\n setc %0" : "=q"(set), "+m"(m.bits) : "r"(number * 8 + i % 8) : "cc");
        /* Both halves always agree. */
        unsigned long low = m.wide[0], high = m.wide[1];
        __asm__ volatile("1: mov %%rax, %%rbx\n add $1, %%rbx\n mov %%rdx, %%rcx\n sub $1, %%rcx\n lock cmpxchg16b %2\n jnz 1b"
                         : "+a"(low), "+d"(high), "+m"(m.wide)::"rbx", "rcx", "cc");
        CHECK(low + high == 0);
        __asm__ volatile("lock incb %0\n lock orb $0, %1" : "+m"(m.bytes[i & 3]), "+m"(m.bytes[7])::"cc");
        own[0] += sum, own[1]++;
        if (i % 512 == number)
            sched_yield();
    }
    EQUAL(own[1], ROUNDS);
    return (void *)sum;
}

static volatile int alarms;
static void tick(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    alarms++;
}

static void contention(void)
{
    pthread_t threads[THREADS];
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    m.words[1] = 0;
    on(SIGALRM, tick, SA_RESTART);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (unsigned long t = 0; t < THREADS; t++)
        CHECK(pthread_create(&threads[t], NULL, contend, (void *)t) == 0);
    unsigned long sum = 0;
    for (int t = 0; t < THREADS; t++) {
        void *part;
        CHECK(pthread_join(threads[t], &part) == 0);
        sum += (unsigned long)part;
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    unsigned long n = THREADS * ROUNDS;
    EQUAL(sum, n * (n - 1) / 2);
    EQUAL(m.inc, n);
    EQUAL(m.wide[0], n);
    hash(m.add), hash(m.sub), hash(m.dec), hash(m.xadd), hash(m.exchanged), hash(m.bits), hash(m.ors ^ m.swapped), hash(m.nots), hash(m.negs);
    for (int i = 0; i < 8; i++)
        hash(m.bytes[i]);
    report_hash("contention");
}

/* Turns are passed around by a mutex and a condition, by semaphores, by a barrier, by spinning. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphores[THREADS];
static unsigned long turn, order, spun;
static atomic_int flag;

static void *take_turns(void *argument)
{
    unsigned long number = (unsigned long)argument;
    for (int i = 0; i < 200; i++) {
        CHECK(pthread_mutex_lock(&mutex) == 0);
        while (turn % THREADS != number)
            CHECK(pthread_cond_wait(&turn_changed, &mutex) == 0);
        order = order * 31 + number, turn++;
        CHECK(pthread_cond_broadcast(&turn_changed) == 0 && pthread_mutex_unlock(&mutex) == 0);
    }
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 200; i++) {
        CHECK(sem_wait(&semaphores[number]) == 0);
        order = order * 31 + number;
        CHECK(sem_post(&semaphores[(number + 1) % THREADS]) == 0);
    }
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 100; i++) {
        int result = pthread_barrier_wait(&barrier);
        CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
        if (result)
            order++;
        pthread_barrier_wait(&barrier);
    }
    for (int i = 0; i < 100; i++) {
        CHECK((i % 5 == 0 ? pthread_rwlock_wrlock(&rwlock) : pthread_rwlock_rdlock(&rwlock)) == 0);
        if (i % 5 == 0)
            order++;
        CHECK(pthread_rwlock_unlock(&rwlock) == 0);
        while (atomic_exchange_explicit(&flag, 1, memory_order_acquire))
            sched_yield();
        spun += 3;
        atomic_store_explicit(&flag, 0, memory_order_release);
    }
    return NULL;
}

static void turns(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (int t = 0; t < THREADS; t++)
        CHECK(sem_init(&semaphores[t], 0, t == 0) == 0);
    for (unsigned long t = 0; t < THREADS; t++)
        CHECK(pthread_create(&threads[t], NULL, take_turns, (void *)t) == 0);
    for (int t = 0; t < THREADS; t++)
        CHECK(pthread_join(threads[t], NULL) == 0);
    hash(order), hash(turn), hash(spun);
    report_hash("turns");
}

/* Vector and x87 registers are each thread's own. */
static void *vectors(void *argument)
{
    unsigned long number = (unsigned long)argument, left = 3000, bad = 0;
    long double before = 1.25L + (long double)number, after = 0;
    double lanes[2] __attribute__((aligned(16))) = {(double)number, -(double)number};
    __asm__ volatile("fldt %4\n movapd %3, %%xmm7\n movapd %3, %%xmm14\n"
                     "1: cmp $0, %0\n je 3f\n dec %0\n test $63, %b0\n jne 2f\n mov $24, %%eax\n syscall\n"
                     "2: movapd %%xmm7, %%xmm1\n cmpneqpd %%xmm14, %%xmm1\n movmskpd %%xmm1, %%eax\n add %%rax, %1\n jmp 1b\n 3: fstpt %2"
                     : "+r"(left), "+r"(bad), "=m"(after)
                     : "m"(lanes), "m"(before)
                     : "rax", "rcx", "r11", "xmm1", "xmm7", "xmm14", "memory", "cc");
    EQUAL(bad, 0);
    CHECK(before == after);
    return NULL;
}

static void registers(void)
{
    pthread_t threads[THREADS];
    for (unsigned long t = 0; t < THREADS; t++)
        CHECK(pthread_create(&threads[t], NULL, vectors, (void *)t) == 0);
    for (int t = 0; t < THREADS; t++)
        CHECK(pthread_join(threads[t], NULL) == 0);
    report_ok("registers");
}

int main(void)
{
    contention();
    turns();
    registers();
    return 0;
}
