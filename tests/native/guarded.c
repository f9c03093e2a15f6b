/* Memory between two inaccessible pages. */
#if !defined(_WIN32)
#define _GNU_SOURCE
#endif
#include "check.h"

#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>

static size_t page_bytes(void) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
}

/* `bytes` bytes of which the pages first..first+count-1 may be accessed; NULL when there is no memory. */
static void *map(size_t bytes, size_t first, size_t count) {
    unsigned char *base = VirtualAlloc(NULL, bytes, MEM_RESERVE, PAGE_NOACCESS);
    if (base != NULL && count > 0 &&
        VirtualAlloc(base + first * page_bytes(), count * page_bytes(), MEM_COMMIT, PAGE_READWRITE) == NULL)
        return NULL;
    return base;
}

static void unmap(void *base, size_t bytes) {
    (void)bytes;
    VirtualFree(base, 0, MEM_RELEASE);
}
#else
#include <sys/mman.h>
#include <unistd.h>

static size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static void *map(size_t bytes, size_t first, size_t count) {
    unsigned char *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (count > 0 && mprotect(base + first * page_bytes(), count * page_bytes(), PROT_READ | PROT_WRITE) != 0)
        return NULL;
    return base;
}

static void unmap(void *base, size_t bytes) { munmap(base, bytes); }
#endif

static struct {
    void *base;
    size_t bytes;
} * mappings;
static size_t num_mappings;

void *guarded_allocate(int64_t bytes, guard_side side) {
    const size_t page = page_bytes();
    const size_t pages = ((size_t)bytes + page - 1) / page;
    const size_t body = pages * page;
    unsigned char *base = map(body + 2 * page, 1, pages);
    CHECK(base != NULL, "no memory for %lld bytes", (long long)bytes);
    mappings = realloc(mappings, (num_mappings + 1) * sizeof *mappings);
    CHECK(mappings != NULL, "out of memory");
    mappings[num_mappings].base = base;
    mappings[num_mappings].bytes = body + 2 * page;
    num_mappings++;
    memset(base + page, 0xA5, body);
    return side == GUARD_START ? base + page : base + page + body - bytes;
}

void guarded_free_all(void) {
    for (size_t i = 0; i < num_mappings; i++)
        unmap(mappings[i].base, mappings[i].bytes);
    free(mappings);
    mappings = NULL;
    num_mappings = 0;
}
