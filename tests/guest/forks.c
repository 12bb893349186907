/* Processes: a tree of forks, vfork and exec, pipes. The same code runs in many address spaces at once. */
#include "check.h"
#include <sys/wait.h>

static unsigned long __attribute__((noinline)) work(unsigned long seed, unsigned long n)
{
    for (unsigned long i = 0; i < n; i++)
        seed = (seed ^ seed >> 29) * 0xbf58476d1ce4e5b9 + i;
    return seed;
}

/* Each node is a process; gives the sum over its subtree, by a pipe. */
static unsigned long tree(int depth, unsigned long id)
{
    static unsigned long private_data[2048];
    int ends[2], status;
    unsigned long sum = work(id, 3000), part;
    for (int i = 0; i < 2048; i++)
        private_data[i] = id;
    if (depth == 0)
        return sum;
    CHECK(pipe(ends) == 0);
    for (int child = 0; child < 2; child++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            unsigned long mine = tree(depth - 1, id * 2 + child);
            CHECK(write(ends[1], &mine, sizeof mine) == sizeof mine);
            _exit(depth);
        }
    }
    for (int child = 0; child < 2; child++) {
        CHECK(read(ends[0], &part, sizeof part) == sizeof part);
        sum += part;
        CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == depth);
    }
    for (int i = 0; i < 2048; i++)
        EQUAL(private_data[i], id);
    close(ends[0]), close(ends[1]);
    return sum;
}

static void execs(const char *self)
{
    for (int i = 0; i < 100; i++) {
        char number[12];
        int status;
        snprintf(number, sizeof number, "%d", i);
        pid_t pid = i & 1 ? vfork() : fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            execl(self, self, number, NULL);
            _exit(127);
        }
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        EQUAL(WEXITSTATUS(status), work(i, 1000) & 63);
    }
    report_ok("execs");
}

/* A ring of processes; a number goes round. */
static void ring(void)
{
    enum { SIZE = 8, ROUNDS = 300 };
    int link[SIZE][2];
    unsigned long value = 1;
    for (int i = 0; i < SIZE; i++)
        CHECK(pipe(link[i]) == 0);
    for (int i = 1; i < SIZE; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            for (int round = 0; round < ROUNDS; round++) {
                CHECK(read(link[i - 1][0], &value, sizeof value) == sizeof value);
                value = work(value + i, 200);
                CHECK(write(link[i][1], &value, sizeof value) == sizeof value);
            }
            _exit(0);
        }
    }
    for (int round = 0; round < ROUNDS; round++) {
        value = work(value, 200);
        CHECK(write(link[0][1], &value, sizeof value) == sizeof value);
        CHECK(read(link[SIZE - 1][0], &value, sizeof value) == sizeof value);
        hash(value);
    }
    for (int i = 1; i < SIZE; i++) {
        int status;
        CHECK(wait(&status) > 0 && status == 0);
    }
    report_hash("ring");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return (int)(work(strtoul(argv[1], NULL, 10), 1000) & 63);
    hash(tree(7, 1));
    report_hash("tree");
    execs(argv[0]);
    ring();
    return 0;
}
