/* Faults as a program sees them: which signal, which code, at which address and instruction, with which
 * registers and flags; and that execution continues, at the same instruction or after it, when a handler says
 * so. */
#include "../check.h"
#include <fenv.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

static volatile int hits;
static siginfo_t last;
static greg_t frame[NGREG];
static long skip;

static void skipping(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig;
    hits++;
    last = *info;
    memcpy(frame, uc->uc_mcontext.gregs, sizeof frame);
    uc->uc_mcontext.gregs[REG_RIP] += skip;
}

/* Executes `text`, `length` bytes long, which must end in a signal; hashes what the handler was told. */
#define FAULTS(name, length, text, ...) \
    do { \
        unsigned long at_; \
        hits = 0; \
        skip = (length); \
        __asm__ volatile("lea 1f(%%rip), %0\n 1: " text "\n 2: " : "=&r"(at_) : __VA_ARGS__ : "memory", "cc", "rax", "rdx", "rcx"); \
        EQUAL(hits, 1); \
        EQUAL(frame[REG_RIP], at_); \
        hash((unsigned long)last.si_signo), hash((unsigned long)(unsigned)last.si_code); \
        hash((unsigned long)frame[REG_TRAPNO]), hash((unsigned long)frame[REG_ERR]); \
        printf("%s: signal %d code %d trap %lld error %lld\n", name, last.si_signo, last.si_code, frame[REG_TRAPNO], frame[REG_ERR]); \
    } while (0)

static void kinds(void)
{
    unsigned char *page = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && mprotect(page + PAGE, PAGE, PROT_READ) == 0 && mprotect(page + 2 * PAGE, PAGE, PROT_NONE) == 0);
    int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    for (int i = 0; i < 5; i++)
        on(signals[i], skipping, 0);
    FAULTS("read of nothing", 3, "movq (%%rbx), %%rcx", "b"(0));
    EQUAL(last.si_addr, 0);
    FAULTS("write of a page that is read-only", 2, "movb %%cl, (%%rbx)", "b"(page + PAGE + 5));
    EQUAL(last.si_addr, page + PAGE + 5);
    EQUAL(frame[REG_CR2], page + PAGE + 5);
    FAULTS("read of a page without rights", 2, "movl (%%rbx), %%ecx", "b"(page + 2 * PAGE + 8));
    FAULTS("write across into a page without rights", 3, "movq %%rcx, (%%rbx)", "b"(page + PAGE - 4));
    EQUAL(last.si_addr, page + PAGE);
    FAULTS("an address that is not canonical", 3, "movq (%%rbx), %%rcx", "b"(0x800000000000UL));
    FAULTS("an address of the kernel", 3, "movq (%%rbx), %%rcx", "b"(0xffffffff81000000UL));
    FAULTS("ud2", 2, "ud2", "b"(0));
    FAULTS("hlt", 1, "hlt", "b"(0));
    FAULTS("cli", 1, "cli", "b"(0));
    FAULTS("in", 1, ".byte 0xec", "b"(0));
    FAULTS("mov from cr0", 3, ".byte 0x0f, 0x20, 0xc0", "b"(0));
    FAULTS("rdmsr", 2, "rdmsr", "b"(0));
    FAULTS("int 0x50", 2, "int $0x50", "b"(0));
    FAULTS("an aligned load that is not aligned", 3, "movaps (%%rbx), %%xmm0", "b"(page + 8));
}

/* Division: by zero, and where the quotient does not fit; of every width. */
#define DIVIDES(op, high, low, by) \
    do { \
        unsigned long a_ = (low), d_ = (high), c_ = (by); \
        hits = 0; \
        __asm__ volatile(op : "+a"(a_), "+d"(d_), "+c"(c_)::"cc", "memory"); \
        hash(a_), hash(d_), hash((unsigned long)hits); \
        CHECK(!hits || (last.si_signo == SIGFPE && last.si_code == FPE_INTDIV)); \
    } while (0)

static void divide_handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig;
    hits++;
    last = *info;
    EQUAL(info->si_addr, uc->uc_mcontext.gregs[REG_RIP]);
    /* Again, by what fits. */
    uc->uc_mcontext.gregs[REG_RCX] = 3;
    uc->uc_mcontext.gregs[REG_RDX] = 0;
    uc->uc_mcontext.gregs[REG_RAX] = 100;
}

static void divisions(void)
{
    static const unsigned long values[] = {0, 1, 3, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
                                           0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0x123456789abcdef0};
    enum { N = sizeof values / sizeof *values };
    on(SIGFPE, divide_handler, 0);
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++)
            for (int c = 0; c < N; c++) {
                DIVIDES("divb %b2", values[a], values[b], values[c]);
                DIVIDES("idivb %b2", values[a], values[b], values[c]);
                DIVIDES("divw %w2", values[a], values[b], values[c]);
                DIVIDES("idivw %w2", values[a], values[b], values[c]);
                DIVIDES("divl %k2", values[a], values[b], values[c]);
                DIVIDES("idivl %k2", values[a], values[b], values[c]);
                DIVIDES("divq %2", values[a], values[b], values[c]);
                DIVIDES("idivq %2", values[a], values[b], values[c]);
            }
    report_hash("divisions");
}

/* A store that faults is made again once its page may be written: dirty pages, counted by the handler. */
static unsigned char *area;
static void open_page(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    unsigned long at = (unsigned long)info->si_addr & ~(PAGE - 1);
    hits++;
    CHECK(mprotect((void *)at, PAGE, PROT_READ | PROT_WRITE) == 0);
}

static void restarts(void)
{
    enum { PAGES = 12 };
    area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    on(SIGSEGV, open_page, 0);
    for (int i = 0; i < 200; i++) {
        unsigned long at = random64() % (8 * PAGE), count = random64() % (3 * PAGE), value = random64();
        CHECK(mprotect(area, PAGES * PAGE, i % 3 ? PROT_READ : PROT_NONE) == 0);
        hits = 0;
        unsigned char *di = area + at;
        unsigned long cx = count;
        switch (i % 6) {
        case 0: __asm__ volatile("rep stosb" : "+D"(di), "+c"(cx) : "a"(value) : "memory"); break;
        case 1: cx /= 8; __asm__ volatile("rep stosq" : "+D"(di), "+c"(cx) : "a"(value) : "memory"); break;
        case 2: di += cx; __asm__ volatile("std\n rep stosb\n cld" : "+D"(di), "+c"(cx) : "a"(value) : "memory"); break;
        case 3: *(unsigned long *)(area + (at | 0xffc)) += value; break;
        case 4: __asm__ volatile("lock xaddq %1, %0" : "+m"(*(unsigned long *)(area + (at | 0xff8))), "+r"(value)); hash(value); break;
        case 5: {
            unsigned char *si = area + random64() % (8 * PAGE);
            __asm__ volatile("rep movsb" : "+D"(di), "+S"(si), "+c"(cx)::"memory");
            hash((unsigned long)(si - area));
            break;
        }
        }
        hash((unsigned long)hits), hash((unsigned long)(di - area)), hash(cx);
        CHECK(mprotect(area, PAGES * PAGE, PROT_READ) == 0);
        for (unsigned long w = 0; w < PAGES * PAGE / 8; w += 3)
            hash(((unsigned long *)area)[w]);
        if (i % 6 == 2)
            CHECK(mprotect(area, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
    }
    report_hash("restarts");
}

/* The trap flag: a signal after each instruction, a string instruction's after each round. */
static volatile int steps;
static greg_t step_at[64];
static void stepping(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig;
    EQUAL(info->si_code, TRAP_TRACE);
    if (steps < 64)
        step_at[steps] = uc->uc_mcontext.gregs[REG_RIP];
    steps++;
}

static void single_steps(void)
{
    unsigned char buffer[8] = {0}, *di = buffer;
    unsigned long cx = 5, from;
    on(SIGTRAP, stepping, 0);
    steps = 0;
    __asm__ volatile("lea 1f(%%rip), %2\n pushfq\n orq $0x100, (%%rsp)\n popfq\n 1: nop\n mov $7, %%eax\n rep stosb\n cpuid\n"
                     "pushfq\n andq $~0x100, (%%rsp)\n popfq\n nop"
                     : "+D"(di), "+c"(cx), "=&r"(from)::"rax", "rbx", "rdx", "memory");
    for (int i = 0; i < steps && i < 64; i++)
        hash((unsigned long)(step_at[i] - (greg_t)from));
    printf("steps %d\n", steps);
    report_hash("single steps");
}

static void breakpoints(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig;
    hits++;
    hash((unsigned long)info->si_code);
    uc->uc_mcontext.gregs[REG_RAX] += 5;
}

static void int3s(void)
{
    unsigned long a = 1;
    on(SIGTRAP, breakpoints, 0);
    hits = 0;
    for (int i = 0; i < 50; i++)
        __asm__ volatile("int3\n add %0, %0\n .byte 0xcd, 3" : "+a"(a));
    EQUAL(hits, 100);
    hash(a);
    report_hash("int3");
}

/* Registers survive a handler that uses them all, and what it changes in its context arrives. */
static void churn(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig, (void)info;
    volatile double d = 1;
    volatile long double l = 2;
    for (int i = 1; i < 20; i++)
        d = d * i / 3 + (double)l, l = l * d;
    fesetround(FE_UPWARD);
    __asm__ volatile("pxor %%xmm0, %%xmm0\n pcmpeqd %%xmm1, %%xmm1\n movdqa %%xmm1, %%xmm15\n fninit\n fldpi\n fldz\n std\n cld" ::: "xmm0", "xmm1", "xmm15");
    uc->uc_mcontext.fpregs->_xmm[3].element[0] += 1;
    hits++;
}

static void kept(void)
{
    on(SIGUSR1, churn, 0);
    for (int round = 0; round < 300; round++) {
        unsigned long x[4] __attribute__((aligned(16))) = {random64(), random64(), random64(), random64()}, flags;
        unsigned short control;
        long double sum = 0;
        unsigned mxcsr = 0x1f80 | (unsigned)(round & 3) << 13 | (unsigned)(round & 0x3f);
        pid_t pid = getpid();
        hits = 0;
        __asm__ volatile("ldmxcsr %4\n fninit\n fld1\n fldl2t\n fldpi\n movdqa (%3), %%xmm3\n movdqa 16(%3), %%xmm15\n"
                         "mov $62, %%eax\n mov %5, %%edi\n mov $10, %%esi\n cmp $1, %%eax\n stc\n syscall\n"
                         "pushfq\n pop %0\n stmxcsr %4\n fnstcw %1\n movdqa %%xmm3, (%3)\n movdqa %%xmm15, 16(%3)\n faddp\n faddp\n fstpt %2"
                         : "=&r"(flags), "=m"(control), "=m"(sum), "+r"((unsigned long *){x}), "+m"(mxcsr)
                         : "r"(pid)
                         : "rax", "rdi", "rsi", "rcx", "r11", "xmm3", "xmm15", "memory", "cc");
        EQUAL(hits, 1);
        unsigned long words[2] = {0};
        memcpy(words, &sum, 10);
        hash(x[0]), hash(x[1]), hash(x[2]), hash(x[3]), hash(flags), hash(mxcsr), hash(control), hash(words[0]), hash(words[1]);
    }
    report_hash("kept");
}

/* Stack overflow, handled on another stack, again and again. */
static sigjmp_buf jump;
static void overflown(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    siglongjmp(jump, 1);
}
static unsigned long __attribute__((noinline)) deep(unsigned long n)
{
    volatile unsigned long pad[64];
    pad[n & 63] = n;
    return deep(n + 1) + pad[n & 63];
}

static void overflows(void)
{
    static unsigned char other[1 << 16];
    stack_t stack = {.ss_sp = other, .ss_size = sizeof other};
    CHECK(sigaltstack(&stack, NULL) == 0);
    on(SIGSEGV, overflown, SA_ONSTACK);
    for (volatile int i = 0; i < 3; i++)
        if (sigsetjmp(jump, 1) == 0) {
            hash(deep(0));
            FAIL("no overflow");
        }
    report_ok("overflows");
}

/* x87 and SSE exceptions that are not masked. */
static void fpe(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig;
    hits++;
    hash((unsigned long)info->si_code), hash(uc->uc_mcontext.fpregs->mxcsr & 0x3f), hash(uc->uc_mcontext.fpregs->swd & 0xff);
    siglongjmp(jump, 1);
}

static void float_faults(void)
{
    static const int exceptions[] = {FE_DIVBYZERO, FE_INVALID, FE_OVERFLOW, FE_UNDERFLOW, FE_INEXACT};
    static const double operands[][2] = {{1, 0}, {0, 0}, {1e308, 1e-308}, {1e-308, 1e308}, {1, 3}, {6, 3}};
    on(SIGFPE, fpe, 0);
    for (volatile int e = 0; e < 5; e++)
        for (volatile int o = 0; o < 6; o++)
            for (volatile int x87 = 0; x87 < 2; x87++) {
                hits = 0;
                if (sigsetjmp(jump, 1) == 0) {
                    volatile double a = operands[o][0], b = operands[o][1], r;
                    volatile long double c;
                    feclearexcept(FE_ALL_EXCEPT);
                    feenableexcept(exceptions[e]);
                    if (x87) {
                        c = (long double)a / (long double)b;
                        r = (double)c;
                    } else
                        r = a / b;
                    fedisableexcept(FE_ALL_EXCEPT);
                    hash((union { double d; unsigned long w; }){.d = r}.w), hash((unsigned long)fetestexcept(FE_ALL_EXCEPT));
                }
                hash((unsigned long)hits);
                fesetenv(FE_DFL_ENV);
            }
    report_hash("float faults");
}

int main(void)
{
    kinds();
    report_hash("kinds");
    divisions();
    restarts();
    single_steps();
    int3s();
    kept();
    overflows();
    float_faults();
    return 0;
}
