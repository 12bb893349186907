/* Runs GCC's execute tests, which scripts/torture links into this program, each in a process of its own.
 *
 *     torture-O2 [NAME...]        all tests, or those named
 *
 * A line `NAME exit STATUS` or `NAME signal NUMBER` for each, in the order of the list, then `ran COUNT`.
 * What tests print is thrown away; one that hangs is ended by SIGALRM. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* No test needs a hundredth of it on qemu-user. */
#define SECONDS 300

#define TEST(symbol, name) extern int symbol(int, char **, char **);
#include "tests.h"
#undef TEST

static const struct {
    const char *name;
    int (*main)(int, char **, char **);
} tests[] = {
#define TEST(symbol, name) {name, symbol},
#include "tests.h"
#undef TEST
};

static int wanted(const char *name, char **names)
{
    if (!*names)
        return 1;
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return 1;
    return 0;
}

static void die(const char *what)
{
    perror(what);
    exit(99);
}

int main(int argc, char **argv, char **envp)
{
    int ran = 0;
    (void)argc;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (!wanted(tests[i].name, argv + 1))
            continue;
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid == 0) {
            char *args[] = {(char *)tests[i].name, NULL};
            int null = open("/dev/null", O_RDWR);
            if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
                _exit(98);
            alarm(SECONDS);
            exit(tests[i].main(1, args, envp));
        }
        int status;
        if (waitpid(pid, &status, 0) != pid)
            die("waitpid");
        if (WIFEXITED(status))
            dprintf(1, "%s exit %d\n", tests[i].name, WEXITSTATUS(status));
        else
            dprintf(1, "%s signal %d\n", tests[i].name, WTERMSIG(status));
        ran++;
    }
    dprintf(1, "ran %d\n", ran);
    return 0;
}
