// Random operations on one file against a model of it in memory, in the manner of fsx (Apple, 1991): what is
// read, by pread or through a mapping, by any of three descriptors, must be what was written, and the size
// what it must be.
//
//     fsx FILE SEED COUNT [plain|all]
//
// `all`: with fallocate, holes and copy_file_range, which not every file system has.
//
// Without arguments, 2000 operations on ./fsx.tmp.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX = 256 * 1024, MOST = 40 * 1024 };

static unsigned char model[MAX], buffer[MAX];
static size_t size;
static const char *path;
static int fds[3];
static uint64_t state;
static long step;

static uint32_t below(uint32_t n) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 16) % n;
}

static void fail(const char *what, long at) {
    printf("operation %ld: %s at %ld: %s\n", step, what, at, strerror(errno));
    exit(1);
}

static void compare(const unsigned char *got, size_t at, size_t len, const char *how) {
    for (size_t i = 0; i < len; i++) {
        if (got[i] != model[at + i]) {
            printf("operation %ld: %s: byte %zu is %02x, not %02x (size %zu)\n", step, how, at + i, got[i], model[at + i],
                   size);
            exit(1);
        }
    }
}

static int some(void) { return fds[below(3)]; }

static void grow(size_t to) {
    if (to > size) size = to;
}

static void range(size_t *at, size_t *len, size_t limit) {
    *at = below(limit);
    *len = 1 + below(MOST);
    if (*at + *len > limit) *len = limit - *at;
}

static void check_size(void) {
    struct stat s;
    if (fstat(some(), &s) != 0) fail("fstat", 0);
    if ((size_t)s.st_size != size) {
        printf("operation %ld: the size is %ld, not %zu\n", step, (long)s.st_size, size);
        exit(1);
    }
    if (stat(path, &s) != 0 || (size_t)s.st_size != size) fail("stat by name", (long)s.st_size);
}

static void read_some(void) {
    size_t at, len;
    range(&at, &len, MAX);
    ssize_t expected = at >= size ? 0 : (ssize_t)(at + len > size ? size - at : len);
    ssize_t got = pread(some(), buffer, len, (off_t)at);
    if (got != expected) fail("pread gave another length", got);
    compare(buffer, at, (size_t)got, "pread");
}

static void fill(size_t len) {
    unsigned char first = (unsigned char)below(256);
    for (size_t i = 0; i < len; i++) buffer[i] = (unsigned char)(first + i * 7 + (i >> 8));
}

static void write_some(void) {
    size_t at, len;
    range(&at, &len, MAX);
    fill(len);
    if (pwrite(some(), buffer, len, (off_t)at) != (ssize_t)len) fail("pwrite", (long)at);
    memcpy(model + at, buffer, len);
    grow(at + len);
}

static void map_some(int writing) {
    if (size == 0) return;
    size_t at, len;
    range(&at, &len, size);
    size_t start = at & ~(size_t)4095;
    unsigned char *m = mmap(NULL, at + len - start, writing ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, some(),
                            (off_t)start);
    if (m == MAP_FAILED) fail("mmap", (long)at);
    if (writing) {
        fill(len);
        memcpy(m + (at - start), buffer, len);
        memcpy(model + at, buffer, len);
        if (below(2) && msync(m, at + len - start, MS_SYNC) != 0) fail("msync", (long)at);
    } else {
        compare(m + (at - start), at, len, "the mapping");
    }
    munmap(m, at + len - start);
}

static void cut(void) {
    size_t to = below(MAX);
    if ((below(2) ? ftruncate(some(), (off_t)to) : truncate(path, (off_t)to)) != 0) fail("truncate", (long)to);
    if (to < size) memset(model + to, 0, size - to);
    size = to;
}

static void allocate(int mode) {
    size_t at, len;
    range(&at, &len, MAX);
    if (fallocate(some(), mode, (off_t)at, (off_t)len) != 0) fail("fallocate", (long)at);
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) memset(model + at, 0, len);
    if (!(mode & FALLOC_FL_KEEP_SIZE)) grow(at + len);
}

static void copy(void) {
    if (size == 0) return;
    size_t at, len, to;
    range(&at, &len, size);
    to = below(MAX);
    if (to + len > MAX) len = MAX - to;
    if (at < to + len && to < at + len) return;
    loff_t from = (loff_t)at, into = (loff_t)to;
    for (size_t left = len; left > 0;) {
        ssize_t n = copy_file_range(some(), &from, some(), &into, left, 0);
        if (n <= 0) fail("copy_file_range", (long)at);
        left -= (size_t)n;
    }
    memmove(model + to, model + at, len);
    grow(to + len);
}

static void reopen(int which) {
    if (fds[which] >= 0 && close(fds[which]) != 0) fail("close", which);
    fds[which] = open(path, O_RDWR);
    if (fds[which] < 0) fail("open", which);
}

static void rename_it(void) {
    char other[4096];
    snprintf(other, sizeof other, "%s.other", path);
    if (rename(path, other) != 0) fail("rename", 0);
    if (link(other, path) != 0 && errno != EPERM && errno != ENOSYS) fail("link", 0);
    if (rename(other, path) != 0) fail("rename back", 0);
    unlink(other);
}

int main(int argc, char **argv) {
    path = argc > 1 ? argv[1] : "fsx.tmp";
    state = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1) * 0x9e3779b97f4a7c15u + 1;
    long count = argc > 3 ? atol(argv[3]) : 2000;
    int all = argc > 4 && strcmp(argv[4], "all") == 0;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) fail("creating the file", 0);
    close(fd);
    for (int i = 0; i < 3; i++) fds[i] = -1, reopen(i);
    for (step = 1; step <= count; step++) {
        switch (below(all ? 22 : 17)) {
        case 0: case 1: case 2: case 3: read_some(); break;
        case 4: case 5: case 6: case 7: write_some(); break;
        case 8: case 9: map_some(0); break;
        case 10: case 11: case 12: map_some(1); break;
        case 13: cut(); break;
        case 14: reopen((int)below(3)); break;
        case 15: if (below(4) == 0 && fsync(some()) != 0) fail("fsync", 0); break;
        case 16: if (below(8) == 0) rename_it(); break;
        case 17: allocate(0); break;
        case 18: allocate(FALLOC_FL_KEEP_SIZE); break;
        case 19: allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE); break;
        case 20: allocate(FALLOC_FL_ZERO_RANGE); break;
        default: copy(); break;
        }
        check_size();
    }
    for (int i = 0; i < 3; i++) close(fds[i]);
    fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, buffer, MAX) != (ssize_t)size) fail("reading it all", (long)size);
    compare(buffer, 0, size, "the whole file");
    unlink(path);
    printf("%ld operations, no difference\n", count);
    return 0;
}
