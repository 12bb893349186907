/* Signals into hot loops: timers, handlers that change what was interrupted, faults that are mended, jumps
 * out. */
#include "check.h"
#include <fenv.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static volatile sig_atomic_t ticks;
static sigjmp_buf escape;

static void every(int which, long microseconds)
{
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    CHECK(setitimer(which, &timer, NULL) == 0);
}

static unsigned long *registers(void *context) { return ((ucontext_t *)context)->uc_mcontext.__gregs; }

/* A pure computation that must not notice anything. */
static uint64_t __attribute__((noinline)) compute(uint64_t x, unsigned long n)
{
    double d = 1;
    for (unsigned long i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        d = d * 1.0000001 + (double)(x >> 60);
        if (x & 0x80)
            x += i;
    }
    uint64_t bits;
    memcpy(&bits, &d, 8);
    return x ^ bits;
}

/* Uses every kind of register there is. */
static void on_tick(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    fesetround(ticks & 1 ? FE_UPWARD : FE_TOWARDZERO);
    volatile double d = ticks;
    volatile uint64_t u = compute(ticks, 3);
    d = d / 3 + (double)u;
    ticks++;
}

static void timers(void)
{
    static const struct {
        int timer, signal, count;
    } kinds[] = {{ITIMER_REAL, SIGALRM, 1000}, {ITIMER_VIRTUAL, SIGVTALRM, 200}, {ITIMER_PROF, SIGPROF, 200}};
    uint64_t expected = compute(42, 20000);
    for (int k = 0; k < 3; k++) {
        ticks = 0;
        on(kinds[k].signal, on_tick, SA_RESTART);
        every(kinds[k].timer, 1000);
        while (ticks < kinds[k].count)
            EQUAL(compute(42, 20000), expected);
        every(kinds[k].timer, 0);
    }
    hash(expected);
    report_hash("timers");
}

/* Every register has a value that is its own, while a timer strikes; a0: iterations. */
uint64_t keep(uint64_t n);
__asm__(".text\n.balign 4\nkeep:\n"
        "  addi sp, sp, -256\n"
        "  sd ra, 0(sp)\n  sd gp, 8(sp)\n  sd tp, 16(sp)\n"
        "  sd s0, 24(sp)\n  sd s1, 32(sp)\n  sd s2, 40(sp)\n  sd s3, 48(sp)\n  sd s4, 56(sp)\n  sd s5, 64(sp)\n"
        "  sd s6, 72(sp)\n  sd s7, 80(sp)\n  sd s8, 88(sp)\n  sd s9, 96(sp)\n  sd s10, 104(sp)\n  sd s11, 112(sp)\n"
        "  fsd fs0, 120(sp)\n  fsd fs1, 128(sp)\n  fsd fs2, 136(sp)\n  fsd fs3, 144(sp)\n  fsd fs4, 152(sp)\n"
        "  fsd fs5, 160(sp)\n  fsd fs6, 168(sp)\n  fsd fs7, 176(sp)\n  fsd fs8, 184(sp)\n  fsd fs9, 192(sp)\n"
        "  fsd fs10, 200(sp)\n  fsd fs11, 208(sp)\n"
        "  li ra, 1\n  li t0, 5\n  li t1, 6\n  li t2, 7\n  li s0, 8\n  li s1, 9\n  li a1, 11\n  li a2, 12\n  li a3, 13\n"
        "  li a4, 14\n  li a5, 15\n  li a6, 16\n  li a7, 17\n  li s2, 18\n  li s3, 19\n  li s4, 20\n  li s5, 21\n"
        "  li s6, 22\n  li s7, 23\n  li s8, 24\n  li s9, 25\n  li s10, 26\n  li s11, 27\n  li t3, 28\n  li t4, 29\n"
        "  li t5, 30\n  li t6, 31\n"
        "  fcvt.d.l ft0, zero\n  fcvt.d.l ft1, ra\n  fcvt.d.l ft2, t0\n  fcvt.d.l ft3, t1\n  fcvt.d.l ft4, t2\n"
        "  fcvt.d.l ft5, s0\n  fcvt.d.l ft6, s1\n  fcvt.d.l ft7, a1\n  fcvt.d.l fs0, a2\n  fcvt.d.l fs1, a3\n"
        "  fcvt.d.l fa0, a4\n  fcvt.d.l fa1, a5\n  fcvt.d.l fa2, a6\n  fcvt.d.l fa3, a7\n  fcvt.d.l fa4, s2\n"
        "  fcvt.d.l fa5, s3\n  fcvt.d.l fa6, s4\n  fcvt.d.l fa7, s5\n  fcvt.d.l fs2, s6\n  fcvt.d.l fs3, s7\n"
        "  fcvt.d.l fs4, s8\n  fcvt.d.l fs5, s9\n  fcvt.d.l fs6, s10\n  fcvt.d.l fs7, s11\n  fcvt.d.l fs8, t3\n"
        "  fcvt.d.l fs9, t4\n  fcvt.d.l fs10, t5\n  fcvt.d.l fs11, t6\n  fcvt.d.l ft8, ra\n  fcvt.d.l ft9, ra\n"
        "  fcvt.d.l ft10, ra\n  fcvt.d.l ft11, ra\n"
        /* The loop changes each of them and changes it back. */
        "1:\n"
        "  addi ra, ra, 1\n  addi t0, t0, 1\n  addi t1, t1, 1\n  addi t2, t2, 1\n  addi s0, s0, 1\n  addi s1, s1, 1\n"
        "  addi a1, a1, 1\n  addi a2, a2, 1\n  addi a3, a3, 1\n  addi a4, a4, 1\n  addi a5, a5, 1\n  addi a6, a6, 1\n"
        "  fadd.d ft11, ft11, ft8\n  fsub.d ft10, ft10, ft8\n"
        "  xori ra, ra, -1\n  xori t3, t3, -1\n  xori t4, t4, -1\n  xori t5, t5, -1\n  xori t6, t6, -1\n  xori s11, s11, -1\n"
        "  xori ra, ra, -1\n  xori t3, t3, -1\n  xori t4, t4, -1\n  xori t5, t5, -1\n  xori t6, t6, -1\n  xori s11, s11, -1\n"
        "  addi ra, ra, -1\n  addi t0, t0, -1\n  addi t1, t1, -1\n  addi t2, t2, -1\n  addi s0, s0, -1\n  addi s1, s1, -1\n"
        "  addi a1, a1, -1\n  addi a2, a2, -1\n  addi a3, a3, -1\n  addi a4, a4, -1\n  addi a5, a5, -1\n  addi a6, a6, -1\n"
        "  addi a0, a0, -1\n"
        "  bnez a0, 1b\n"
        /* A sum in which each has another factor. */
        "  li a0, 0\n"
        ".irp r, ra, t0, t1, t2, s0, s1, a1, a2, a3, a4, a5, a6, a7, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, t3, t4, t5, t6\n"
        "  slli a0, a0, 1\n  add a0, a0, \\r\n"
        ".endr\n"
        ".irp r, ft0, ft1, ft2, ft3, ft4, ft5, ft6, ft7, fs0, fs1, fa0, fa1, fa2, fa3, fa4, fa5, fa6, fa7, fs2, fs3, fs4, fs5, fs6, fs7, fs8, fs9, fs10, fs11, ft8, ft9, ft10, ft11\n"
        "  fcvt.l.d t0, \\r\n  slli a0, a0, 1\n  add a0, a0, t0\n"
        ".endr\n"
        "  ld ra, 0(sp)\n  ld gp, 8(sp)\n  ld tp, 16(sp)\n"
        "  ld s0, 24(sp)\n  ld s1, 32(sp)\n  ld s2, 40(sp)\n  ld s3, 48(sp)\n  ld s4, 56(sp)\n  ld s5, 64(sp)\n"
        "  ld s6, 72(sp)\n  ld s7, 80(sp)\n  ld s8, 88(sp)\n  ld s9, 96(sp)\n  ld s10, 104(sp)\n  ld s11, 112(sp)\n"
        "  fld fs0, 120(sp)\n  fld fs1, 128(sp)\n  fld fs2, 136(sp)\n  fld fs3, 144(sp)\n  fld fs4, 152(sp)\n"
        "  fld fs5, 160(sp)\n  fld fs6, 168(sp)\n  fld fs7, 176(sp)\n  fld fs8, 184(sp)\n  fld fs9, 192(sp)\n"
        "  fld fs10, 200(sp)\n  fld fs11, 208(sp)\n"
        "  addi sp, sp, 256\n"
        "  ret\n");

static void kept(void)
{
    uint64_t unit = keep(1), step = keep(1000);
    /* ft11 counts up, and ft10 down with twice the weight. */
    EQUAL(step, unit - 999);
    ticks = 0;
    on(SIGALRM, on_tick, SA_RESTART);
    every(ITIMER_REAL, 1000);
    for (int i = 0; ticks < 500; i++) {
        unsigned long n = 1000 + i % 7 * 999;
        EQUAL(keep(n), unit - (n - 1));
    }
    every(ITIMER_REAL, 0);
    hash(unit);
    hash(step);
    report_hash("kept");
}

/* The handler ends a loop that has no other end: by a register, by the program counter, by a float, by
 * memory. */
unsigned long spin_register(void), spin_pc(void), spin_float(unsigned long *flags);
extern const char in_register[], in_register_end[], in_pc[], in_pc_end[], in_float[], in_float_end[];
__asm__(".text\n.balign 4\n"
        "spin_register:\n  li a5, 0\n  li a4, 0\n"
        "in_register:\n  addi a4, a4, 1\n  beqz a5, in_register\n"
        "in_register_end:\n  mv a0, a5\n  ret\n"
        "spin_pc:\n  li a0, 5\n"
        "in_pc:\n  j in_pc\n"
        "in_pc_end:\n  ret\n"
        "spin_float:\n  fsflags zero\n  fmv.d.x fa5, zero\n"
        "in_float:\n  fcvt.l.d a1, fa5\n  beqz a1, in_float\n"
        "in_float_end:\n  frflags a2\n  sd a2, 0(a0)\n  mv a0, a1\n  ret\n");

/* The timer is periodic, as the first signal may come before the loop is reached; and one may be pending when
 * the timer is stopped. */
static volatile sig_atomic_t armed;
static void arm(void)
{
    armed = 1;
    every(ITIMER_REAL, 1000);
}
static int is_in(void *context, const char *from, const char *to)
{
    unsigned long pc = registers(context)[REG_PC];
    if (!armed || pc < (unsigned long)from || pc >= (unsigned long)to)
        return 0;
    every(ITIMER_REAL, 0);
    armed = 0;
    ticks++;
    return 1;
}
static void on_register(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    if (is_in(context, in_register, in_register_end))
        registers(context)[REG_A0 + 5] = ticks;
}
static void on_pc(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    if (is_in(context, in_pc, in_pc_end)) {
        registers(context)[REG_PC] = (unsigned long)in_pc_end;
        registers(context)[REG_A0] += ticks;
    }
}
static void on_float(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    union __riscv_mc_fp_state *fp = &((ucontext_t *)context)->uc_mcontext.__fpregs;
    if (is_in(context, in_float, in_float_end)) {
        double value = ticks;
        memcpy(&fp->__d.__f[15], &value, 8); /* fa5 */
        fp->__d.__fcsr = 0x1f;               /* all flags */
    }
}
static void on_memory(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    ticks++;
}

static void once(long microseconds)
{
    struct itimerval timer = {{0, 0}, {0, microseconds}};
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void ended(void)
{
    on(SIGALRM, on_register, 0);
    ticks = 0;
    for (unsigned long i = 1; i <= 100; i++) {
        arm();
        EQUAL(spin_register(), i);
    }
    on(SIGALRM, on_pc, 0);
    ticks = 0;
    for (unsigned long i = 1; i <= 100; i++) {
        arm();
        EQUAL(spin_pc(), 5 + i);
    }
    on(SIGALRM, on_float, 0);
    ticks = 0;
    for (unsigned long i = 1; i <= 100; i++) {
        unsigned long flags;
        arm();
        EQUAL(spin_float(&flags), i);
        /* The conversion that follows is exact and raises nothing. */
        EQUAL(flags, 0x1f);
    }
    on(SIGALRM, on_memory, 0);
    ticks = 0;
    for (int i = 1; i <= 100; i++) {
        once(1000);
        while (ticks < i)
            ;
        EQUAL(ticks, i);
    }
    report_ok("ended");
}

static void on_jump(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    siglongjmp(escape, ++ticks);
}

static unsigned long __attribute__((noinline)) down(unsigned long depth, unsigned long x)
{
    if (depth == 0)
        for (;;)
            x = compute(x, 10);
    return down(depth - 1, x + 1) ^ depth;
}

static void jumped(void)
{
    on(SIGALRM, on_jump, 0);
    ticks = 0;
    for (volatile int i = 1; i <= 200; i++) {
        int got = sigsetjmp(escape, 1);
        if (got == 0) {
            once(1000);
            down(i, 0);
        }
        EQUAL(got, i);
    }
    report_ok("jumped");
}

/* The stack is used up; the handler has one of its own. */
static volatile unsigned long deepest;
static unsigned long __attribute__((noinline)) swallow(unsigned long n)
{
    volatile char big[512];
    big[n % 512] = (char)n;
    deepest = n;
    return swallow(n + 1) + big[n % 512];
}
static void on_overflow(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    unsigned long sp = registers(context)[REG_SP], at = (unsigned long)info->si_addr;
    if (at + 4096 < sp || at > sp + 4096)
        FAIL("the fault at %#lx is nowhere near the stack pointer %#lx", at, sp);
    siglongjmp(escape, 1);
}
static void overflowed(void)
{
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536}, off = {.ss_flags = SS_DISABLE};
    CHECK(sigaltstack(&stack, NULL) == 0);
    on(SIGSEGV, on_overflow, SA_ONSTACK);
    for (volatile int i = 0; i < 10; i++)
        if (sigsetjmp(escape, 1) == 0) {
            swallow(0);
            FAIL("no end of stack");
        }
    CHECK(deepest > 4000);
    signal(SIGSEGV, SIG_DFL);
    CHECK(sigaltstack(&off, NULL) == 0);
    report_ok("overflowed");
}

/* Each page faults when it is reached, and the handler mends it. */
static volatile unsigned long mended;
static int mend_to;
static void on_mend(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    void *page = (void *)((unsigned long)info->si_addr & ~(PAGE - 1));
    if (mprotect(page, PAGE, mend_to) != 0)
        FAIL("fault at %p", info->si_addr);
    mended++;
}
static void mend(void)
{
    enum { PAGES = 512 };
    unsigned char *base = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    on(SIGSEGV, on_mend, 0);
    for (int round = 0; round < 6; round++) {
        unsigned long step = round & 1 ? 8 : 264, sum = 0, expected = 0;
        CHECK(mprotect(base, PAGES * PAGE, round % 3 == 2 ? PROT_READ : PROT_NONE) == 0);
        mend_to = PROT_READ | PROT_WRITE;
        mended = 0;
        /* Stores: value, place and count live in registers over the fault. */
        for (unsigned long i = 0; i < PAGES * PAGE; i += step)
            *(volatile uint64_t *)(base + i) = i * 3;
        EQUAL(mended, PAGES);
        CHECK(mprotect(base, PAGES * PAGE, PROT_NONE) == 0);
        mend_to = PROT_READ;
        mended = 0;
        for (unsigned long i = 0; i < PAGES * PAGE; i += step) {
            sum = sum * 5 + *(volatile uint64_t *)(base + i);
            expected = expected * 5 + i * 3;
        }
        EQUAL(mended, PAGES);
        EQUAL(sum, expected);
        /* Read, then written: the page is readable only. */
        mend_to = PROT_READ | PROT_WRITE;
        mended = 0;
        for (unsigned long i = 0; i < PAGES * PAGE; i += step)
            *(volatile uint64_t *)(base + i) += i;
        EQUAL(mended, PAGES);
        for (unsigned long i = 0; i < PAGES * PAGE; i += step)
            EQUAL(*(volatile uint64_t *)(base + i), i * 4);
        /* Atomics fault as stores do. */
        CHECK(mprotect(base, PAGES * PAGE, PROT_READ) == 0);
        mended = 0;
        for (unsigned long i = 0; i < PAGES * PAGE; i += step)
            __atomic_fetch_add((uint64_t *)(base + i), i, __ATOMIC_RELAXED);
        EQUAL(mended, PAGES);
        for (unsigned long i = 0; i < PAGES * PAGE; i += step)
            EQUAL(*(volatile uint64_t *)(base + i), i * 5);
        hash(sum);
    }
    signal(SIGSEGV, SIG_DFL);
    munmap(base, PAGES * PAGE);
    report_hash("mend");
}

/* The handler steps over the instruction, whatever its length, and puts a value into a0. */
static void on_skip(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    unsigned long *r = registers(context);
    r[REG_PC] += (*(uint16_t *)r[REG_PC] & 3) == 3 ? 4 : 2;
    r[REG_A0] = 1000;
    ticks++;
}
static unsigned long load_wide(const unsigned long *p)
{
    register unsigned long a0 __asm__("a0") = (unsigned long)p;
    __asm__ volatile(".option push\n.option norvc\nld a0, 0(a0)\n.option pop" : "+r"(a0)::"memory");
    return a0;
}
static unsigned long load_short(const unsigned long *p)
{
    register unsigned long a0 __asm__("a0") = (unsigned long)p;
    __asm__ volatile("c.ld a0, 0(a0)" : "+r"(a0)::"memory");
    return a0;
}
static void skipped(void)
{
    static const unsigned long value = 7;
    on(SIGSEGV, on_skip, 0);
    unsigned long sum = 0, expected = 0;
    ticks = 0;
    for (int i = 0; i < 20000; i++) {
        sum += load_wide(i % 7 == 3 ? NULL : &value) + load_short(i % 11 == 5 ? (unsigned long *)1 : &value);
        expected += (i % 7 == 3 ? 1000 : 7) + (i % 11 == 5 ? 1000 : 7);
    }
    EQUAL(sum, expected);
    hash(sum), hash(ticks);
    signal(SIGSEGV, SIG_DFL);
    report_hash("skipped");
}

/* Instructions that do not exist, and ebreak, are emulated by the handler. */
static void on_emulate(int sig, siginfo_t *info, void *context)
{
    unsigned long *r = registers(context), pc = r[REG_PC];
    if (info->si_addr != (void *)pc)
        FAIL("signal %d at %p, not at %#lx", sig, info->si_addr, pc);
    if (sig == SIGTRAP) {
        r[REG_A0] += 1;
        r[REG_PC] += (*(uint16_t *)pc & 3) == 3 ? 4 : 2;
    } else {
        uint32_t code = *(uint16_t *)pc | (uint32_t)*(uint16_t *)(pc + 2) << 16;
        if ((code & 0x7f) != 0x0b)
            FAIL("instruction %#x is illegal", code);
        r[REG_A0] = r[REG_A0] * 3 + (code >> 20);
        r[REG_PC] += 4;
    }
}
static void emulated(void)
{
    on(SIGILL, on_emulate, 0);
    on(SIGTRAP, on_emulate, 0);
    unsigned long value = 1, expected = 1;
    for (int i = 0; i < 5000; i++) {
        register unsigned long a0 __asm__("a0") = value;
        __asm__ volatile(".insn r 0x0b, 0, 0, zero, zero, x5\n"
                         "c.ebreak\n"
                         ".option push\n.option norvc\nebreak\n.option pop\n"
                         : "+r"(a0));
        value = a0;
        expected = expected * 3 + 5 + 2;
    }
    EQUAL(value, expected);
    hash(expected);
    signal(SIGILL, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
    report_hash("emulated");
}

/* Handlers that are interrupted by others. */
static volatile sig_atomic_t nesting, most;
static void on_nested(int sig, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    if (++nesting > most)
        most = nesting;
    if (sig < SIGRTMIN + 9)
        raise(sig + 1);
    ticks++;
    nesting--;
}
static void nested(void)
{
    for (int i = 0; i < 10; i++)
        on(SIGRTMIN + i, on_nested, 0);
    ticks = 0;
    for (int i = 0; i < 500; i++)
        raise(SIGRTMIN);
    EQUAL(ticks, 5000);
    EQUAL(most, 10);
    /* Blocked signals come in order and all of them: they are queued. */
    sigset_t set, old;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, &old);
    ticks = 0;
    for (int i = 0; i < 50; i++)
        raise(SIGRTMIN + 9);
    EQUAL(ticks, 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
    EQUAL(ticks, 50);
    report_ok("nested");
}

/* Another process sends them as fast as it can. */
static void flood(void)
{
    on(SIGUSR1, on_tick, SA_RESTART);
    ticks = 0;
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        for (;;)
            kill(parent, SIGUSR1);
    }
    uint64_t expected = compute(7, 5000);
    while (ticks < 200)
        EQUAL(compute(7, 5000), expected);
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    report_ok("flood");
}

int main(void)
{
    timers();
    kept();
    ended();
    jumped();
    overflowed();
    mend();
    skipped();
    emulated();
    nested();
    flood();
    return 0;
}
