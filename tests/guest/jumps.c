/* Control flow that no call graph has: longjmp, coroutines, deep recursion, returns to elsewhere,
 * unwinding. */
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unwind.h>

static jmp_buf back;

static unsigned long __attribute__((noinline)) dive(unsigned long depth, unsigned long x)
{
    if (depth == 0)
        longjmp(back, (int)(x & 0xffff) + 1);
    unsigned long y = dive(depth - 1, x * 5 + depth);
    __asm__ volatile("" ::: "memory");
    return y + depth;
}

static void long_jumps(void)
{
    for (volatile unsigned long i = 0; i < 20000; i++) {
        int got = setjmp(back);
        if (got == 0)
            dive(i % 200, i);
        hash(got);
    }
    report_hash("long_jumps");
}

/* Coroutines in a ring, each with a loop of its own. */
enum { ROUTINES = 16 };
static ucontext_t routine[ROUTINES], mainline;
static unsigned long passed[ROUTINES], token;

static void body(int me)
{
    unsigned long own = me;
    double d = me;
    for (int turn = 0; turn < 3000; turn++) {
        for (int i = 0; i < me * 3; i++)
            own = own * 7 + i, d = d * 0.5 + i;
        token = token * 31 + own + (unsigned long)(d * 1000);
        passed[me]++;
        CHECK(swapcontext(&routine[me], me + 1 < ROUTINES ? &routine[me + 1] : &mainline) == 0);
    }
}

static void coroutines(void)
{
    for (volatile int i = 0; i < ROUTINES; i++) {
        CHECK(getcontext(&routine[i]) == 0);
        routine[i].uc_stack.ss_sp = malloc(65536);
        routine[i].uc_stack.ss_size = 65536;
        routine[i].uc_link = &mainline;
        makecontext(&routine[i], (void (*)(void))body, 1, i);
    }
    for (int turn = 0; turn < 3000; turn++) {
        CHECK(swapcontext(&mainline, &routine[0]) == 0);
        hash(token);
    }
    for (int i = 0; i < ROUTINES; i++)
        EQUAL(passed[i], 3000);
    report_hash("coroutines");
}

/* A million frames. */
static unsigned long __attribute__((noinline)) deep(unsigned long n)
{
    if (n == 0)
        return 1;
    unsigned long r = deep(n - 1);
    __asm__ volatile("" : "+r"(r));
    return r * 3 + n;
}
static unsigned long __attribute__((noinline)) odd(unsigned long n);
static unsigned long __attribute__((noinline)) even(unsigned long n)
{
    if (n == 0)
        return 1;
    unsigned long r = odd(n - 1);
    __asm__ volatile("" : "+r"(r));
    return r ^ (n << 7);
}
static unsigned long odd(unsigned long n)
{
    if (n == 0)
        return 2;
    unsigned long r = even(n - 1);
    __asm__ volatile("" : "+r"(r));
    return r * 9 + 1;
}
static unsigned long ackermann(unsigned long m, unsigned long n)
{
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}
static void *on_big_stack(void *unused)
{
    for (int i = 0; i < 3; i++)
        hash(deep(1000000)), hash(even(1000000 + i));
    for (int i = 0; i < 2000; i++)
        hash(deep(i)), hash(odd(i));
    hash(ackermann(2, 500)), hash(ackermann(3, 8));
    return unused;
}
static void recursion(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    CHECK(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 96UL << 20) == 0);
    CHECK(pthread_create(&thread, &attr, on_big_stack, NULL) == 0 && pthread_join(thread, NULL) == 0);
    report_hash("recursion");
}

/* Returns that go elsewhere than after the call, calls by other link registers, calls by jumps. */
unsigned long astray(unsigned long n);
__asm__(".text\n.balign 4\nastray:\n"
        "  mv a7, ra\n  li a1, 0\n"
        "1:\n"
        "  jal ra, 2f\n"           /* returns past the next instruction */
        "  addi a1, a1, 1024\n"    /* never */
        "  addi a1, a1, 1\n"
        "  jal t0, 3f\n"           /* by the other link register */
        "  addi a1, a1, 2\n"
        "  lla t1, 4f\n"
        "  jalr ra, 0(t1)\n"
        "  addi a1, a1, 4\n"
        "  lla ra, 4f\n"
        "  jalr ra, 0(ra)\n"       /* source and destination are one */
        "  addi a1, a1, 8\n"
        "  lla t0, 3f\n"
        "  jalr t0, 0(t0)\n"
        "  addi a1, a1, 16\n"
        "  jal ra, 5f\n"           /* 5 calls 6, which returns to our level at once */
        "  addi a1, a1, 1024\n"    /* never */
        "6:addi a1, a1, 32\n"
        "  lla ra, 7f\n"            /* a return that was no call */
        "  ret\n"
        "  addi a1, a1, 1024\n"
        "7:addi a0, a0, -1\n"
        "  lla t1, 8f + 1\n"          /* bit 0 is ignored */
        "  jr t1\n"
        "  addi a1, a1, 1024\n"
        "8:bnez a0, 1b\n"
        "  mv ra, a7\n  mv a0, a1\n  ret\n"
        "2:.option push\n.option norvc\n"
        "  addi ra, ra, 0\n"
        ".option pop\n"
        "  lhu t1, 0(ra)\n  andi t1, t1, 3\n  xori t1, t1, 3\n  snez t1, t1\n  slli t1, t1, 1\n"
        "  addi ra, ra, 4\n  sub ra, ra, t1\n"
        "  ret\n"
        "3:jr t0\n"
        "4:ret\n"
        "5:jal t0, 9f\n"
        "  addi a1, a1, 1024\n"
        "9:lla ra, 6b\n  jr ra\n");

static void returns(void)
{
    for (int i = 1; i < 300; i++)
        EQUAL(astray(i * 7), 63UL * i * 7);
    report_ok("returns");
}

/* The unwinder, by force, out of a deep chain with cleanups. */
static volatile unsigned long cleaned;
static jmp_buf unwound;
static void clean(int *p) { cleaned += *p; }
static _Unwind_Reason_Code stop(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
                                struct _Unwind_Exception *exception, struct _Unwind_Context *context, void *end)
{
    (void)version, (void)class, (void)exception;
    if (actions & _UA_END_OF_STACK || _Unwind_GetCFA(context) >= (unsigned long)end)
        longjmp(unwound, 1);
    return _URC_NO_REASON;
}
static int __attribute__((noinline)) nest(int depth, void *end)
{
    int mine __attribute__((cleanup(clean))) = depth;
    if (depth == 0) {
        static struct _Unwind_Exception exception;
        _Unwind_ForcedUnwind(&exception, stop, end);
        FAIL("_Unwind_ForcedUnwind came back");
    }
    int r = nest(depth - 1, end);
    __asm__ volatile("" : "+r"(r));
    return r + mine;
}
static void __attribute__((noinline)) unwind_once(int depth)
{
    if (setjmp(unwound) == 0)
        nest(depth, __builtin_frame_address(0));
}
static void unwinding(void)
{
    unsigned long expected = 0;
    for (int i = 0; i < 1000; i++) {
        unwind_once(i % 40);
        for (int d = 0; d <= i % 40; d++)
            expected += d;
        EQUAL(cleaned, expected);
    }
    report_ok("unwinding");
}

static volatile unsigned long cancelled;
static void on_cancel(void *arg) { cancelled += (unsigned long)arg; }
static void *victim(void *arg)
{
    pthread_cleanup_push(on_cancel, arg);
    int own __attribute__((cleanup(clean))) = 3;
    for (;;)
        pause();
    pthread_cleanup_pop(0);
    return NULL;
}
static void *spinner(void *arg)
{
    pthread_cleanup_push(on_cancel, arg);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (volatile unsigned long x = 1;; x = x * 3 + 1)
        ;
    pthread_cleanup_pop(0);
    return NULL;
}
static void cancelling(void)
{
    unsigned long expected = 0, cleanups = cleaned;
    for (unsigned long i = 1; i <= 100; i++) {
        pthread_t a, b;
        void *result;
        CHECK(pthread_create(&a, NULL, victim, (void *)i) == 0 && pthread_create(&b, NULL, spinner, (void *)i) == 0);
        usleep(1000);
        CHECK(pthread_cancel(a) == 0 && pthread_cancel(b) == 0);
        CHECK(pthread_join(a, &result) == 0 && result == PTHREAD_CANCELED);
        CHECK(pthread_join(b, &result) == 0 && result == PTHREAD_CANCELED);
        /* They may have been cancelled before they pushed anything. */
        expected += 2 * i;
    }
    CHECK(cancelled <= expected && cancelled > 0);
    CHECK(cleaned - cleanups <= 300);
    report_ok("cancelling");
}

int main(void)
{
    long_jumps();
    coroutines();
    recursion();
    returns();
    unwinding();
    cancelling();
    return 0;
}
