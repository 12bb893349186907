/* Writes or reads a file from front to back, in blocks, and knows what must be in it.
 *
 *   stream write FILE BLOCK BYTES     makes the file, and returns when fsync did
 *   stream read FILE BLOCK BYTES      fails when the file has other bytes, or not so many
 *
 * BLOCK is a multiple of 512, BYTES one of BLOCK. Each sector of 512 bytes begins with a number made of its
 * place. That is all that is checked when the file is read, so that the time is the file system's. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512

static void fail(const char *what, const char *why) {
    fprintf(stderr, "stream: %s: %s\n", what, why);
    exit(1);
}

static uint64_t mark(uint64_t offset) { return (offset / SECTOR + 1) * 0x9e3779b97f4a7c15u; }

static void fill(unsigned char *block, size_t size, uint64_t offset) {
    for (size_t i = 0; i < size; i += SECTOR) {
        uint64_t value = mark(offset + i);
        memcpy(block + i, &value, sizeof value);
    }
}

static void verify(const char *file, const unsigned char *block, size_t size, uint64_t offset) {
    char why[80];
    for (size_t i = 0; i < size; i += SECTOR) {
        uint64_t value = mark(offset + i);
        if (memcmp(block + i, &value, sizeof value) != 0) {
            snprintf(why, sizeof why, "wrong data at %llu", (unsigned long long)(offset + i));
            fail(file, why);
        }
    }
}

static void write_file(const char *file, unsigned char *block, size_t size, uint64_t bytes) {
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0)
        fail(file, strerror(errno));
    for (uint64_t offset = 0; offset < bytes; offset += size) {
        fill(block, size, offset);
        ssize_t done = write(fd, block, size);
        if (done != (ssize_t)size)
            fail(file, done < 0 ? strerror(errno) : "short write");
    }
    if (fsync(fd) != 0 || close(fd) != 0)
        fail(file, strerror(errno));
}

static void read_file(const char *file, unsigned char *block, size_t size, uint64_t bytes) {
    int fd = open(file, O_RDONLY);
    uint64_t offset = 0;
    ssize_t done;
    if (fd < 0)
        fail(file, strerror(errno));
    while ((done = read(fd, block, size)) > 0) {
        if (done % SECTOR != 0)
            fail(file, "the end of a read is within a sector");
        verify(file, block, done, offset);
        offset += done;
    }
    if (done < 0)
        fail(file, strerror(errno));
    if (offset != bytes)
        fail(file, "not as long as it must be");
}

int main(int argc, char **argv) {
    if (argc != 5)
        fail("usage", "stream write|read FILE BLOCK BYTES");
    size_t size = strtoul(argv[3], NULL, 10);
    uint64_t bytes = strtoull(argv[4], NULL, 10);
    if (size == 0 || size % SECTOR != 0 || bytes % size != 0)
        fail("BLOCK and BYTES", "must be multiples of 512 and of BLOCK");
    unsigned char *block = malloc(size);
    if (!block)
        fail("memory", strerror(errno));
    memset(block, 0x5a, size);
    (strcmp(argv[1], "write") == 0 ? write_file : read_file)(argv[2], block, size, bytes);
    printf("%s %llu\n", argv[1], (unsigned long long)bytes);
    return 0;
}
