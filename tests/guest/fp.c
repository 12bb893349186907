/* Floating point in hot loops: all rounding modes, the flags after each operation, both widths, every kind of
 * number. */
#include "check.h"
#include <setjmp.h>

static const uint64_t doubles[] = {
    0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x3ff0000000000001, 0x3fefffffffffffff,
    0x4000000000000000, 0x3fe0000000000000, 0x0000000000000001, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
    0x8010000000000001, 0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
    0xfff8000000000000, 0x7ff0000000000001, 0xfff7ffffffffffff, 0x7ff8000000123456, 0x43e0000000000000, 0xc3e0000000000000,
    0x43dfffffffffffff, 0x43f0000000000000, 0x41dfffffffc00000, 0x41dfffffffe00000, 0xc1e0000000000000, 0xc1e0000000100000,
    0x41efffffffe00000, 0x41effffffff00000, 0xbfe0000000000001, 0x3fdfffffffffffff, 0x4330000000000001, 0x432fffffffffffff,
    0x47efffffe0000000, 0x47efffffefffffff, 0x47effffff0000000, 0x380fffffffffffff, 0x36a0000000000000, 0x369fffffffffffff,
    0x1ff0000000000000, 0x20000000000fffff, 0x400921fb54442d18, 0x3fd5555555555555,
};
static const uint32_t floats[] = {
    0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0x40000000, 0x3f000000, 0x00000001, 0x80000001,
    0x007fffff, 0x00800000, 0x80800001, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001,
    0xffbfffff, 0x7fc12345, 0x5f000000, 0xdf000000, 0x5effffff, 0x5f800000, 0x4f000000, 0xcf000000, 0xcf000001, 0x4effffff,
    0x4f800000, 0x4f7fffff, 0xbf000001, 0x3effffff, 0x4b000001, 0x4affffff, 0x20000000, 0x1fffffff, 0x40490fdb, 0x3eaaaaab,
};
enum { DOUBLES = sizeof doubles / sizeof *doubles, FLOATS = sizeof floats / sizeof *floats };

/* All modes: to nearest even, to zero, down, up, to nearest away from zero. */
#define MODES 5
static void set_mode(unsigned long mode) { __asm__ volatile("fsrm %0" ::"r"(mode)); }
#define FLAGS(f) __asm__ volatile("frflags %0" : "=r"(f))
#define CLEAR "fsflags zero\n "

/* Operands come as bits, and go out as bits: no compiler folds anything. */
#define BINARY(name, op, width) \
    static void __attribute__((noinline)) name(uint64_t a, uint64_t b) \
    { \
        uint64_t r, f; \
        __asm__ volatile(CLEAR "fmv." #width ".x ft0, %2\n fmv." #width ".x ft1, %3\n " op " ft2, ft0, ft1\n frflags %1\n fmv.x.d %0, ft2" \
                         : "=r"(r), "=r"(f) : "r"(a), "r"(b) : "ft0", "ft1", "ft2"); \
        hash(r), hash(f); \
    }
#define COMPARE(name, op, width) \
    static void __attribute__((noinline)) name(uint64_t a, uint64_t b) \
    { \
        uint64_t r, f; \
        __asm__ volatile(CLEAR "fmv." #width ".x ft0, %2\n fmv." #width ".x ft1, %3\n " op " %0, ft0, ft1\n frflags %1" \
                         : "=&r"(r), "=r"(f) : "r"(a), "r"(b) : "ft0", "ft1"); \
        hash(r), hash(f); \
    }
#define TERNARY(name, op, width) \
    static void __attribute__((noinline)) name(uint64_t a, uint64_t b, uint64_t c) \
    { \
        uint64_t r, f; \
        __asm__ volatile(CLEAR "fmv." #width ".x ft0, %2\n fmv." #width ".x ft1, %3\n fmv." #width ".x ft2, %4\n " op " ft3, ft0, ft1, ft2\n frflags %1\n fmv.x.d %0, ft3" \
                         : "=r"(r), "=r"(f) : "r"(a), "r"(b), "r"(c) : "ft0", "ft1", "ft2", "ft3"); \
        hash(r), hash(f); \
    }
/* float to float */
#define UNARY(name, op, width) \
    static void __attribute__((noinline)) name(uint64_t a) \
    { \
        uint64_t r, f; \
        __asm__ volatile(CLEAR "fmv." #width ".x ft0, %2\n " op "\n frflags %1\n fmv.x.d %0, ft1" : "=r"(r), "=r"(f) : "r"(a) : "ft0", "ft1"); \
        hash(r), hash(f); \
    }
/* float to integer, by each static rounding mode and the dynamic one */
#define TO_INTEGER(name, op, width) \
    static void __attribute__((noinline)) name(uint64_t a) \
    { \
        uint64_t r, f; \
        TO_MODE(op, width, "rne") TO_MODE(op, width, "rtz") TO_MODE(op, width, "rdn") TO_MODE(op, width, "rup") \
        TO_MODE(op, width, "rmm") TO_MODE(op, width, "dyn") \
    }
#define TO_MODE(op, width, mode) \
    __asm__ volatile(CLEAR "fmv." #width ".x ft0, %2\n " op " %0, ft0, " mode "\n frflags %1" : "=&r"(r), "=r"(f) : "r"(a) : "ft0"); \
    hash(r), hash(f);
#define FROM_INTEGER(name, op) \
    static void __attribute__((noinline)) name(uint64_t a) \
    { \
        uint64_t r, f; \
        __asm__ volatile(CLEAR op " ft0, %2\n frflags %1\n fmv.x.d %0, ft0" : "=r"(r), "=r"(f) : "r"(a) : "ft0"); \
        hash(r), hash(f); \
    }

#define WIDTH(w, bits) \
    BINARY(add_##w, "fadd." #w, bits) BINARY(sub_##w, "fsub." #w, bits) BINARY(mul_##w, "fmul." #w, bits) \
    BINARY(div_##w, "fdiv." #w, bits) BINARY(min_##w, "fmin." #w, bits) BINARY(max_##w, "fmax." #w, bits) \
    BINARY(sgnj_##w, "fsgnj." #w, bits) BINARY(sgnjn_##w, "fsgnjn." #w, bits) BINARY(sgnjx_##w, "fsgnjx." #w, bits) \
    COMPARE(eq_##w, "feq." #w, bits) COMPARE(lt_##w, "flt." #w, bits) COMPARE(le_##w, "fle." #w, bits) \
    TERNARY(madd_##w, "fmadd." #w, bits) TERNARY(msub_##w, "fmsub." #w, bits) \
    TERNARY(nmadd_##w, "fnmadd." #w, bits) TERNARY(nmsub_##w, "fnmsub." #w, bits) \
    UNARY(sqrt_##w, "fsqrt." #w " ft1, ft0", bits) UNARY(class_##w, "fclass." #w " t0, ft0\n fmv.d.x ft1, t0", bits) \
    TO_INTEGER(w_##w, "fcvt.w." #w, bits) TO_INTEGER(wu_##w, "fcvt.wu." #w, bits) \
    TO_INTEGER(l_##w, "fcvt.l." #w, bits) TO_INTEGER(lu_##w, "fcvt.lu." #w, bits) \
    FROM_INTEGER(from_w_##w, "fcvt." #w ".w") FROM_INTEGER(from_wu_##w, "fcvt." #w ".wu") \
    FROM_INTEGER(from_l_##w, "fcvt." #w ".l") FROM_INTEGER(from_lu_##w, "fcvt." #w ".lu") \
    typedef void binary_##w(uint64_t, uint64_t); \
    static binary_##w *const binaries_##w[] = {add_##w, sub_##w, mul_##w, div_##w, min_##w, max_##w, sgnj_##w, sgnjn_##w, sgnjx_##w, eq_##w, lt_##w, le_##w}; \
    static void (*const ternaries_##w[])(uint64_t, uint64_t, uint64_t) = {madd_##w, msub_##w, nmadd_##w, nmsub_##w}; \
    static void (*const unaries_##w[])(uint64_t) = {sqrt_##w, class_##w, w_##w, wu_##w, l_##w, lu_##w, to_other_##w, from_w_##w, from_wu_##w, from_l_##w, from_lu_##w};

UNARY(to_other_s, "fcvt.d.s ft1, ft0", w)
UNARY(to_other_d, "fcvt.s.d ft1, ft0", d)
WIDTH(s, w)
WIDTH(d, d)

/* Single operands that are not boxed are NaNs. */
BINARY(add_unboxed, "fadd.s", d)
COMPARE(le_unboxed, "fle.s", d)
UNARY(class_unboxed, "fclass.s t0, ft0\n fmv.d.x ft1, t0", d)
UNARY(sgnj_unboxed, "fsgnj.s ft1, ft0, ft0", d)
UNARY(move_unboxed, "fmv.x.w t0, ft0\n fmv.d.x ft1, t0", d)
UNARY(cvt_unboxed, "fcvt.d.s ft1, ft0", d)

static uint64_t d_of(int i) { return i < DOUBLES ? doubles[i] : random64(); }
static uint64_t s_of(int i) { return i < FLOATS ? floats[i] : random64() & 0xffffffff; }

#define SUITE(w, COUNT, of) \
    static void suite_##w(void) \
    { \
        static const char *const mode_name[] = {"rne", "rtz", "rdn", "rup", "rmm"}; \
        char name[40]; \
        for (unsigned long mode = 0; mode < MODES; mode++) { \
            random_state = 0x1234567 + mode; \
            set_mode(mode); \
            for (unsigned op = 0; op < sizeof binaries_##w / sizeof *binaries_##w; op++) \
                for (int a = 0; a < COUNT + 20; a++) \
                    for (int b = 0; b < COUNT + 20; b++) \
                        binaries_##w[op](of(a), of(b)); \
            snprintf(name, sizeof name, "binary_%s_%s", #w, mode_name[mode]); \
            set_mode(0), report_hash(name), set_mode(mode); \
            for (unsigned op = 0; op < sizeof unaries_##w / sizeof *unaries_##w; op++) \
                for (int a = 0; a < COUNT + 3000; a++) \
                    unaries_##w[op](of(a)); \
            snprintf(name, sizeof name, "unary_%s_%s", #w, mode_name[mode]); \
            set_mode(0), report_hash(name), set_mode(mode); \
            for (unsigned op = 0; op < 4; op++) \
                for (int a = 0; a < COUNT + 1; a++) \
                    for (int b = 0; b < COUNT + 1; b++) \
                        for (int c = (int)mode % 3; c < COUNT + 1; c += 3) \
                            ternaries_##w[op](of(a), of(b), of(c)); \
            snprintf(name, sizeof name, "ternary_%s_%s", #w, mode_name[mode]); \
            set_mode(0), report_hash(name); \
        } \
    }
SUITE(s, FLOATS, s_of)
SUITE(d, DOUBLES, d_of)

static void boxes(void)
{
    for (int i = 0; i < 20000; i++) {
        uint64_t a = d_of(i % 100), b = i % 3 ? a | 0xffffffff00000000 : d_of(i % 77);
        add_unboxed(a, b), le_unboxed(a, b), class_unboxed(a), class_unboxed(b), sgnj_unboxed(a), move_unboxed(a), cvt_unboxed(b);
        /* Loads and stores move bits and box them. */
        uint64_t memory[2] = {a, b}, loaded;
        __asm__ volatile("flw ft0, 4(%1)\n fsw ft0, 8(%1)\n fld ft1, 0(%1)\n fsw ft1, 12(%1)\n fmv.x.d %0, ft0"
                         : "=&r"(loaded) : "r"(memory) : "ft0", "ft1", "memory");
        hash(loaded), hash(memory[0]), hash(memory[1]);
    }
    report_hash("boxes");
}

/* The flags accumulate, fcsr's parts are one register, and an invalid mode makes dynamic rounding
 * illegal. */
static sigjmp_buf escape;
static void on_illegal(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    siglongjmp(escape, 1);
}
static void control(void)
{
    unsigned long f, old;
    for (unsigned long i = 0; i < 20000; i++) {
        __asm__ volatile("fscsr %0, %1" : "=r"(old) : "r"(i * 0x9e37));
        __asm__ volatile("frcsr %0" : "=r"(f));
        EQUAL(f, i * 0x9e37 & 0xff);
        __asm__ volatile("fsrmi %0, 3\n frcsr %1" : "=&r"(old), "=r"(f));
        hash(old), hash(f);
        __asm__ volatile("csrrs %0, fflags, %2\n csrrc %1, frm, %2" : "=&r"(old), "=r"(f) : "r"(i % 32));
        hash(old), hash(f);
        __asm__ volatile("csrrci %0, fcsr, 7\n csrrsi %1, fflags, 16" : "=&r"(old), "=r"(f));
        hash(old), hash(f);
        __asm__ volatile("fscsr zero");
        double d = (double)(i + 1), t = 3;
        __asm__ volatile("fdiv.d %0, %0, %1\n fdiv.d %0, %0, %2" : "+f"(d) : "f"(t), "f"(0.0));
        FLAGS(f);
        hash(f);
    }
    report_hash("control");
    on(SIGILL, on_illegal, 0);
    for (volatile int i = 0; i < 300; i++) {
        volatile unsigned long mode = 5 + (unsigned)i % 3;
        if (sigsetjmp(escape, 1) == 0) {
            __asm__ volatile("fsrm %0\n fmv.d.x ft0, zero" ::"r"(mode) : "ft0");
            /* A static mode does not care. */
            __asm__ volatile("fadd.d ft0, ft0, ft0, rtz\n fsgnj.d ft0, ft0, ft0\n feq.d t0, ft0, ft0" ::: "ft0", "t0");
            if (i & 1)
                __asm__ volatile("fadd.d ft0, ft0, ft0" ::: "ft0");
            else
                __asm__ volatile("fcvt.w.s t0, ft0" ::: "t0");
            FAIL("mode %lu is none", mode);
        }
        set_mode(0);
    }
    report_ok("modes");
}

/* Loops as compilers write them, in each mode. */
static double __attribute__((noinline)) series(unsigned long n)
{
    double sum = 0, x = 1;
    float product = 1;
    for (unsigned long i = 1; i <= n; i++) {
        x = x * -0.7 + 1.0 / (double)i;
        sum += x * x - (double)(float)x;
        product = product * 1.0001f + (float)i / 3.0f;
        if (product > 1e6f)
            product /= 1024.0f;
        sum = __builtin_fma(x, sum * 1e-3, sum) + __builtin_sqrt(__builtin_fabs(x));
        sum += (double)(int)(sum * 3) * 0.5 - (double)(unsigned long)(product);
    }
    return sum + product;
}
static void loops(void)
{
    for (unsigned long mode = 0; mode < MODES; mode++) {
        set_mode(mode);
        double d = series(200000);
        uint64_t bits;
        memcpy(&bits, &d, 8);
        set_mode(0);
        hash(bits);
    }
    report_hash("loops");
}

int main(void)
{
    suite_s();
    suite_d();
    boxes();
    control();
    loops();
    return 0;
}
