/* Prints the frequency in kHz of the counter that QEMU's TCG hands to a guest as its time-stamp counter: the
 * host's own, or nanoseconds where QEMU reads none. */
#include <stdio.h>
#include <time.h>

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

#ifdef __x86_64__
#include <x86intrin.h>

/* The counter at a moment that is known as well as can be: the least time for which both were read in
 * turn. */
static long long together(long long *at) {
    long long best = 0, least = -1;
    for (int i = 0; i < 1000; i++) {
        long long from = now(), ticks = __rdtsc(), to = now();
        if (least < 0 || to - from < least)
            least = to - from, best = ticks, *at = from + least / 2;
    }
    return best;
}
#else
static long long together(long long *at) { return *at = now(); }
#endif

int main(void) {
    long long from, to, first = together(&from);
    while (now() < from + 200000000)
        ;
    long long ticks = together(&to) - first;
    printf("%lld\n", (ticks * 1000000 + (to - from) / 2) / (to - from));
    return 0;
}
