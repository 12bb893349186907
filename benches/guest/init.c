/* The first process of the comparison's other machine: makes what a container of Forelift sees, runs the
 * command that follows `--` on the kernel's command line, and ends the machine.
 *
 * Words `mount:TYPE:SOURCE:DIRECTORY:OPTIONS` before the command are mounted, in this order.
 *
 * Forelift's containers have an overlay in memory over the read-only root file system, and tmpfs on /dev/shm
 * with 64 MiB: the same here, so that the same kernel code is run on both sides. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOT "/tmp/root"

static void off(void) {
    sync();
    /* QEMU runs with -no-reboot; not every machine that it has can be switched off. */
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

static void check(int result, const char *what) {
    if (result == 0)
        return;
    printf("@failed init: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    off();
}

static void mount_as(const char *source, const char *type, const char *at, const char *options) {
    if (mkdir(at, 0755) != 0 && errno != EEXIST)
        check(-1, at);
    check(mount(source, at, type, MS_NOSUID, options), at);
}

static void mount_on(const char *type, const char *at, const char *options) { mount_as(type, type, at, options); }

/* Mounts what a word `mount:TYPE:SOURCE:DIRECTORY:OPTIONS` says. */
static void mount_asked(char *word) {
    char *part[4], *next = word + strlen("mount:");
    for (int i = 0; i < 4; i++)
        if (!(part[i] = strsep(&next, ":")))
            check((errno = EINVAL, -1), word);
    mount_as(part[1], part[0], part[2], part[3]);
}

static void make_root(void) {
    mount_on("tmpfs", "/tmp", "mode=755");
    check(mkdir("/tmp/upper", 0755), "upper");
    check(mkdir("/tmp/work", 0755), "work");
    check(mkdir(ROOT, 0755), "root");
    check(mount("overlay", ROOT, "overlay", MS_RELATIME,
                "lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work,redirect_dir=on,metacopy=on,volatile"),
          "overlay");
    check(mount("/dev", ROOT "/dev", NULL, MS_MOVE, NULL), "moving /dev");
    check(chroot(ROOT), "chroot");
    check(chdir("/"), "chdir");
    mount_on("proc", "/proc", "");
    mount_on("sysfs", "/sys", "");
    mount_on("tmpfs", "/dev/shm", "mode=1777,size=65536k");
}

int main(int argc, char **argv) {
    int status;
    if (getpid() != 1) {
        fprintf(stderr, "bench-init: this is for a virtual machine's first process\n");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_root();
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", "/root", 1);
    for (; argc > 1 && strncmp(argv[1], "mount:", strlen("mount:")) == 0; argc--, argv++)
        mount_asked(argv[1]);
    if (argc < 2)
        check((errno = EINVAL, -1), "no command");
    pid_t child = fork();
    if (child == 0) {
        setsid();
        execv(argv[1], argv + 1);
        check(-1, argv[1]);
    }
    check(child < 0 ? -1 : 0, "fork");
    while (waitpid(-1, &status, 0) != child)
        ;
    printf("@exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
    off();
}
