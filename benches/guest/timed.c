/* Runs a command and tells how long it took by the guest's own clock.
 *
 *   timed NAME COMMAND [ARG...]
 *
 * To file descriptor 3, a line each: "@start NAME" before, "@end NAME WALL USER SYSTEM" after; nanoseconds of
 * CLOCK_MONOTONIC from before fork to after wait, and the processor time of the command and its children as
 * the kernel accounts it (100 Hz ticks at worst). The exit status is the command's. The host reads the lines
 * as they come, so that it can read the emulator's own processor time at the same two moments. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long nanoseconds(long long seconds, long long rest) { return seconds * 1000000000LL + rest; }

static void fail(const char *what) {
    fprintf(stderr, "timed: %s: %s\n", what, strerror(errno));
    exit(125);
}

int main(int argc, char **argv) {
    struct timespec from, to;
    struct rusage used;
    int status;
    if (argc < 3) {
        fprintf(stderr, "usage: timed NAME COMMAND [ARG...]\n");
        return 125;
    }
    if (dprintf(3, "@start %s\n", argv[1]) < 0)
        fail("writing to descriptor 3");
    clock_gettime(CLOCK_MONOTONIC, &from);
    pid_t child = fork();
    if (child == 0) {
        close(3);
        execvp(argv[2], argv + 2);
        fail(argv[2]);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child)
        fail("starting the command");
    clock_gettime(CLOCK_MONOTONIC, &to);
    dprintf(3, "@end %s %lld %lld %lld\n", argv[1],
            nanoseconds(to.tv_sec, to.tv_nsec) - nanoseconds(from.tv_sec, from.tv_nsec),
            nanoseconds(used.ru_utime.tv_sec, used.ru_utime.tv_usec * 1000LL),
            nanoseconds(used.ru_stime.tv_sec, used.ru_stime.tv_usec * 1000LL));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
