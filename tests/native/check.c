#include "check.h"

#include "common/cpu_features.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void check_failed(const char *file, int line, const char *condition, const char *format, ...) {
    fprintf(stderr, "%s:%d: check failed: %s: ", file, line, condition);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

uint64_t random_next(test_random *random) {
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

int64_t random_between(test_random *random, int64_t low, int64_t high) {
    return low + (int64_t)(random_next(random) % (uint64_t)(high - low + 1));
}

float random_activation(test_random *random) {
    const uint64_t bits = random_next(random);
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)((bits >> (8 * i)) & 255) / 255.0f - 0.5f;
    return (bits >> 58) == 0 ? 20.0f * sum : sum;
}

krn_context *context_of(int32_t isa, int32_t num_threads) {
    const krn_context_options options = {.struct_size = sizeof options, .isa = isa, .num_threads = num_threads};
    krn_context *context = NULL;
    CHECK_OK(krn_context_create(&options, &context));
    return context;
}

/* What ctest takes for a skipped test; see CMakeLists.txt. */
enum { EXIT_SKIPPED = 77 };

static const int32_t all_levels[] = {KRN_ISA_REF,          KRN_ISA_AVX2,       KRN_ISA_AVX512,
                                     KRN_ISA_AVX512VNNI,   KRN_ISA_AVX512BF16, KRN_ISA_NEON,
                                     KRN_ISA_NEON_DOTPROD, KRN_ISA_NEON_I8MM,  KRN_ISA_NEON_BF16};
enum { NUM_LEVELS = sizeof all_levels / sizeof all_levels[0] };

static int has_level(int32_t isa) { return (krn_isa_features(isa) & ~krn_cpu_features()) == 0; }

int machine_levels(int32_t levels[8]) {
    const char *only = getenv("KRN_TEST_LEVEL");
    int count = 0, is_known = only == NULL;
    for (int i = 0; i < NUM_LEVELS; i++) {
        const int is_asked = only == NULL || strcmp(only, krn_isa_name(all_levels[i])) == 0;
        is_known |= is_asked;
        if (only != NULL && is_asked && !has_level(all_levels[i])) {
            printf("level %s: the processor or the operating system lacks it; the best level here is %s\n", only,
                   krn_isa_name(krn_isa_best()));
            exit(EXIT_SKIPPED);
        }
        /* The reference is what the others are compared with. */
        if (has_level(all_levels[i]) && (is_asked || all_levels[i] == KRN_ISA_REF))
            levels[count++] = all_levels[i];
    }
    CHECK(is_known, "KRN_TEST_LEVEL is %s, which is no level", only);
    return count;
}

int tests_reference(void) {
    const char *only = getenv("KRN_TEST_LEVEL");
    return only == NULL || strcmp(only, krn_isa_name(KRN_ISA_REF)) == 0;
}

int tested_levels(int32_t levels[8]) {
    const int count = machine_levels(levels), first = tests_reference() ? 0 : 1;
    for (int i = first; i < count; i++)
        levels[i - first] = levels[i];
    return count - first;
}
