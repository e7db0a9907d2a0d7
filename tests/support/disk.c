/* A disk that is slow, failing or full, for one process: LD_PRELOAD this into it.
 *
 * CHATQ_DISK names a file of three ints that a test may change at any time: how many microseconds
 * a sync takes longer, the errno of every sync, and the errno of every write with a position
 * (SQLite writes so; logs do not). 0: as the real disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

struct faults {
    volatile int delay, sync, write;
};
static struct faults none, *faults = &none;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHATQ_DISK");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0)
        return;
    void *shared = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED)
        faults = shared;
    close(file);
}

static int sync_with(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (faults->delay)
        usleep(faults->delay);
    if (faults->sync) {
        errno = faults->sync;
        return -1;
    }
    return real(file);
}

int fsync(int file) { return sync_with("fsync", file); }

int fdatasync(int file) { return sync_with("fdatasync", file); }

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (faults->write) {
        errno = faults->write;
        return -1;
    }
    return real(file, bytes, size, at);
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) {
    return pwrite64(file, bytes, size, at);
}
