/* Misaligned loads and stores of each size at each offset, over cache lines and pages, also where the second
 * page faults. */
#include "check.h"
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf escape;
static volatile uintptr_t fault;
static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    fault = (uintptr_t)info->si_addr;
    siglongjmp(escape, 1);
}

#define LOAD(name, type, op) \
    static uint64_t __attribute__((noinline)) name(const unsigned char *p) \
    { \
        uint64_t v; \
        __asm__ volatile(op : "=r"(v) : "r"(p) : "ft0", "memory"); \
        return v; \
    }
LOAD(load_h, int16_t, "lh %0, 0(%1)") LOAD(load_hu, uint16_t, "lhu %0, 0(%1)") LOAD(load_w, int32_t, "lw %0, 0(%1)")
LOAD(load_wu, uint32_t, "lwu %0, 0(%1)") LOAD(load_d, uint64_t, "ld %0, 0(%1)")
LOAD(load_fs, float, "flw ft0, 0(%1)\n fmv.x.d %0, ft0") LOAD(load_fd, double, "fld ft0, 0(%1)\n fmv.x.d %0, ft0")

#define STORE(name, op) \
    static void __attribute__((noinline)) name(unsigned char *p, uint64_t v) { __asm__ volatile(op ::"r"(p), "r"(v) : "ft0", "memory"); }
STORE(store_h, "sh %1, 0(%0)") STORE(store_w, "sw %1, 0(%0)") STORE(store_d, "sd %1, 0(%0)")
STORE(store_fs, "fmv.w.x ft0, %1\n fsw ft0, 0(%0)") STORE(store_fd, "fmv.d.x ft0, %1\n fsd ft0, 0(%0)")

static const struct {
    uint64_t (*load)(const unsigned char *);
    unsigned size;
    int sign, box;
} loads[] = {{load_h, 2, 1, 0}, {load_hu, 2, 0, 0}, {load_w, 4, 1, 0}, {load_wu, 4, 0, 0}, {load_d, 8, 0, 0}, {load_fs, 4, 0, 1}, {load_fd, 8, 0, 0}};
static const struct {
    void (*store)(unsigned char *, uint64_t);
    unsigned size;
} stores[] = {{store_h, 2}, {store_w, 4}, {store_d, 8}, {store_fs, 4}, {store_fd, 8}};
enum { LOADS = sizeof loads / sizeof *loads, STORES = sizeof stores / sizeof *stores };

static uint64_t bytewise(int which, const unsigned char *p)
{
    uint64_t v = 0;
    unsigned size = loads[which].size;
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)p[i] << 8 * i;
    if (size < 8 && loads[which].sign)
        v = (uint64_t)((int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size));
    return loads[which].box ? v | 0xffffffff00000000 : v;
}

static unsigned char *fresh(int count)
{
    unsigned char *p = mmap(NULL, (unsigned long)count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    for (unsigned long i = 0; i < (unsigned long)count * PAGE; i++)
        p[i] = (unsigned char)random64();
    return p;
}

static void walk(void)
{
    unsigned char *p = fresh(4);
    for (int which = 0; which < LOADS; which++)
        for (unsigned long at = 0; at < 4 * PAGE - 8; at++) {
            uint64_t v = loads[which].load(p + at);
            EQUAL(v, bytewise(which, p + at));
            hash(v);
        }
    for (int which = 0; which < STORES; which++)
        for (unsigned long at = 1; at < 4 * PAGE - 9; at += 1 + (at & 4095) / 4080 % 2) {
            uint64_t v = random64();
            unsigned char before = p[at - 1], after = p[at + stores[which].size];
            stores[which].store(p + at, v);
            CHECK(memcmp(p + at, &v, stores[which].size) == 0);
            CHECK(p[at - 1] == before && p[at + stores[which].size] == after);
        }
    for (unsigned long at = 0; at < 4 * PAGE; at++)
        hash(p[at]);
    report_hash("walk");
}

/* Over the border of two pages that are no neighbours in memory: mappings of a file in the wrong order. */
static void shuffled(void)
{
    int fd = memfd_create("shuffled", 0);
    CHECK(fd >= 0 && ftruncate(fd, 8 * PAGE) == 0);
    unsigned char *p = fresh(8);
    for (int i = 0; i < 8; i++)
        CHECK(mmap(p + (unsigned long)i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (7 - i) * (long)PAGE) != MAP_FAILED);
    for (int round = 0; round < 200; round++)
        for (int border = 1; border < 8; border++)
            for (int which = 0; which < STORES; which++)
                for (unsigned back = 1; back < stores[which].size; back++) {
                    unsigned char *at = p + (unsigned long)border * PAGE - back, seen[8];
                    uint64_t v = random64();
                    stores[which].store(at, v);
                    for (unsigned i = 0; i < stores[which].size; i++)
                        EQUAL(at[i], v >> 8 * i & 0xff);
                    unsigned long file = back > 0 ? (unsigned long)(7 - border + 2) * PAGE - back : 0;
                    CHECK(pread(fd, seen, back, (long)file) == (long)back && memcmp(seen, &v, back) == 0);
                    for (int load = 0; load < LOADS; load++)
                        EQUAL(loads[load].load(at), bytewise(load, at));
                }
    for (unsigned long at = 0; at < 8 * PAGE; at++)
        hash(p[at]);
    report_hash("shuffled");
}

/* The second page, or the first, faults: with an address inside of the access, in the page that is to
 * blame. */
static void faults(void)
{
    unsigned char *p = fresh(2), *border = p + PAGE;
    on(SIGSEGV, on_fault, 0);
    volatile unsigned long count = 0;
    for (volatile int round = 0; round < 60; round++) {
        volatile int bad = round & 1, rights = round % 3 == 0 ? PROT_READ : PROT_NONE;
        CHECK(mprotect(p + (unsigned long)bad * PAGE, PAGE, rights) == 0);
        for (volatile int which = 0; which < STORES + (rights == PROT_NONE ? LOADS : 0); which++) {
            volatile unsigned size = which < STORES ? stores[which].size : loads[which - STORES].size;
            for (volatile unsigned back = 1; back < size; back++) {
                unsigned char *at = border - back;
                unsigned char good[8];
                unsigned char *volatile whole = bad ? border - 8 : border;
                memcpy(good, whole, 8);
                /* The neighbouring accesses that do not cross are done, hot. */
                for (int i = 0; i < 50; i++)
                    CHECK(load_w(bad ? border - 4 : border) == bytewise(2, bad ? border - 4 : border));
                if (sigsetjmp(escape, 1) == 0) {
                    if (which < STORES)
                        stores[which].store(at, 0x5a5a5a5a5a5a5a5a ^ random64());
                    else
                        loads[which - STORES].load(at);
                    FAIL("no fault %u bytes before the border, size %u", back, size);
                }
                if (fault < (uintptr_t)at || fault >= (uintptr_t)at + size || fault / PAGE != (uintptr_t)(p + (unsigned long)bad * PAGE) / PAGE)
                    FAIL("a fault at %#lx, an access of %u bytes at %p, page %d is bad", (unsigned long)fault, size, at, bad);
                CHECK(memcmp(good, whole, 8) == 0);
                count++;
            }
        }
        CHECK(mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE) == 0);
    }
    hash(count);
    signal(SIGSEGV, SIG_DFL);
    report_hash("faults");
}

/* Unaligned copies, as hot loops. */
static void copies(void)
{
    unsigned char *from = fresh(8), *to = fresh(8);
    for (unsigned s = 0; s < 9; s++)
        for (unsigned d = 0; d < 9; d++) {
            for (unsigned long i = 0; i + 16 < 8 * PAGE; i += 8)
                store_d(to + d + i, load_d(from + s + i));
            CHECK(memcmp(to + d, from + s, 8 * PAGE - 24) == 0);
            hash(load_d(to + 4093 + d));
        }
    report_hash("copies");
}

int main(void)
{
    walk();
    shuffled();
    faults();
    copies();
    return 0;
}
