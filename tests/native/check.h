/* A small test frame: named checks, buffers with guard pages, a deterministic random source. */
#ifndef KRN_TEST_CHECK_H
#define KRN_TEST_CHECK_H

#include "common/portability.h"
#include "kernels/kernels.h"

#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Ends the test program with a message when `condition` is false. The rest of the arguments is a printf format. */
#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__);                                                 \
    } while (0)

/* Checks that a call returns exactly `expected`. */
#define CHECK_STATUS(call, expected)                                                                                   \
    do {                                                                                                               \
        const krn_status check_status_ = (call);                                                                       \
        CHECK(check_status_ == (expected), "%s gave %s (%s), expected %s", #call, krn_status_name(check_status_),      \
              krn_last_error(), krn_status_name(expected));                                                            \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(call, KRN_OK)

KRN_NORETURN KRN_PRINTF(4, 5) void check_failed(const char *file, int line, const char *condition, const char *format,
                                                ...);

/* Memory between two inaccessible pages, filled with 0xA5. With GUARD_END its last byte touches the page behind, with
 * GUARD_START its first byte the page before, so that one access too far is a crash. */
typedef enum { GUARD_START, GUARD_END } guard_side;
void *guarded_allocate(int64_t bytes, guard_side side);
/* Frees all guarded memory of the program. */
void guarded_free_all(void);

/* splitmix64. */
typedef struct {
    uint64_t state;
} test_random;
uint64_t random_next(test_random *random);
/* Uniform in low..high, both included. */
int64_t random_between(test_random *random, int64_t low, int64_t high);
/* Roughly normal, with one value in 64 twenty times larger: activations have outliers. */
float random_activation(test_random *random);

/* A context of a level and thread count; ends the test when it cannot be made. */
krn_context *context_of(int32_t isa, int32_t num_threads);
/* The levels to test, the reference first, the best last; returns their number (at most 8). That is all of this
 * machine, or the reference and the level that the environment names in KRN_TEST_LEVEL, as ctest does, one after the
 * other. When the machine lacks that one, the program says so and ends as skipped. */
int machine_levels(int32_t levels[8]);
/* The same without the reference, unless it is one to test: for what is compared with an oracle. */
int tested_levels(int32_t levels[8]);
/* Whether the reference is one of the levels to test, and not only what others are compared with. */
int tests_reference(void);

#ifdef __cplusplus
}
#endif

#endif
