/* Ceilings: who has which loop, the work it tells, and the memory it touches. How fast they are is for a benchmark. */
#include "check.h"

#include "common/portability.h"

#include <string.h>

enum { GRANULE = 4096, NUM_CEILINGS = 7 };

static const int32_t ceilings[NUM_CEILINGS] = {KRN_CEILING_INT8_DOT, KRN_CEILING_INT16_MADD, KRN_CEILING_BF16_DOT,
                                               KRN_CEILING_F32_FMA,  KRN_CEILING_READ,       KRN_CEILING_COPY,
                                               KRN_CEILING_NARROW};

/* What a context of a level runs: levels inherit what they do not improve. Operations of one turn; 0 for memory. */
static const struct {
    int32_t ceiling;
    int32_t from_isa;
    const char *variant;
    int64_t turn_operations;
} expected[] = {
#if defined(KRN_ARM64)
    {KRN_CEILING_INT8_DOT, KRN_ISA_NEON_I8MM, "neon_i8mm", 16 * 32 * 2},
    {KRN_CEILING_INT8_DOT, KRN_ISA_NEON_DOTPROD, "neon_dotprod", 16 * 16 * 2},
    {KRN_CEILING_INT16_MADD, KRN_ISA_NEON, "neon", 16 * 4 * 2},
    {KRN_CEILING_BF16_DOT, KRN_ISA_NEON_BF16, "neon_bf16", 16 * 16 * 2},
    {KRN_CEILING_F32_FMA, KRN_ISA_NEON, "neon", 16 * 4 * 2},
    {KRN_CEILING_READ, KRN_ISA_NEON, "neon", 0},
    {KRN_CEILING_COPY, KRN_ISA_NEON, "neon", 0},
    {KRN_CEILING_NARROW, KRN_ISA_NEON, "neon", 0},
#else
    {KRN_CEILING_INT8_DOT, KRN_ISA_AVX512VNNI, "avx512vnni", 16 * 64 * 2},
    {KRN_CEILING_INT8_DOT, KRN_ISA_AVX2, "avx2", 14 * 32 * 2},
    {KRN_CEILING_INT16_MADD, KRN_ISA_AVX512, "avx512", 15 * 32 * 2},
    {KRN_CEILING_INT16_MADD, KRN_ISA_AVX2, "avx2", 14 * 16 * 2},
    {KRN_CEILING_BF16_DOT, KRN_ISA_AVX512BF16, "avx512bf16", 16 * 32 * 2},
    {KRN_CEILING_F32_FMA, KRN_ISA_AVX512, "avx512", 16 * 16 * 2},
    {KRN_CEILING_F32_FMA, KRN_ISA_AVX2, "avx2", 12 * 8 * 2},
    {KRN_CEILING_READ, KRN_ISA_AVX512, "avx512", 0},
    {KRN_CEILING_READ, KRN_ISA_AVX2, "avx2", 0},
    {KRN_CEILING_COPY, KRN_ISA_AVX512, "avx512", 0},
    {KRN_CEILING_COPY, KRN_ISA_AVX2, "avx2", 0},
    {KRN_CEILING_NARROW, KRN_ISA_AVX512, "avx512", 0},
    {KRN_CEILING_NARROW, KRN_ISA_AVX2, "avx2", 0},
#endif
    {KRN_CEILING_READ, KRN_ISA_REF, "ref", 0},
    {KRN_CEILING_COPY, KRN_ISA_REF, "ref", 0},
    {KRN_CEILING_NARROW, KRN_ISA_REF, "ref", 0},
};
enum { NUM_EXPECTED = sizeof expected / sizeof expected[0] };

/* Index into `expected`, or -1 when the level has no such loop. */
static int expected_of(int32_t ceiling, int32_t isa) {
    for (int i = 0; i < NUM_EXPECTED; i++)
        if (expected[i].ceiling == ceiling && isa >= expected[i].from_isa)
            return i;
    return -1;
}

static void runs_what_the_variant_says(const krn_context *context, int32_t ceiling) {
    const int index = expected_of(ceiling, krn_context_isa(context));
    const char *variant = krn_ceiling_variant(context, ceiling);
    const char *isa = krn_isa_name(krn_context_isa(context));
    unsigned char *buffer = guarded_allocate(GRANULE, GUARD_END);
    double work = -1;
    if (index < 0) {
        CHECK(variant == NULL, "ceiling %d has %s on %s", ceiling, variant, isa);
        CHECK_STATUS(krn_ceiling_run(context, ceiling, buffer, GRANULE, 1, &work), KRN_ERROR_UNSUPPORTED);
        CHECK(work == -1, "a failing call wrote its output");
        return;
    }
    CHECK(variant != NULL && strcmp(variant, expected[index].variant) == 0, "ceiling %d has %s on %s, expected %s",
          ceiling, variant == NULL ? "nothing" : variant, isa, expected[index].variant);
    const int64_t operations = expected[index].turn_operations;
    static const int64_t iterations[] = {1, 2, 3, 1000, 12345};
    for (size_t i = 0; i < sizeof iterations / sizeof iterations[0]; i++) {
        /* Register loops ignore the buffer. */
        void *memory = operations > 0 ? NULL : buffer;
        CHECK_OK(krn_ceiling_run(context, ceiling, memory, operations > 0 ? -1 : GRANULE, iterations[i], &work));
        const double moved = ceiling == KRN_CEILING_NARROW ? GRANULE / 320 * 320 : GRANULE;
        const double unit = operations > 0 ? (double)operations : moved;
        CHECK(work == unit * (double)iterations[i], "ceiling %d on %s: %.0f of work in %lld iterations", ceiling, isa,
              work, (long long)iterations[i]);
    }
}

static const unsigned char *random_bytes(int64_t bytes, guard_side side) {
    unsigned char *made = guarded_allocate(bytes, side);
    test_random random = {(uint64_t)bytes};
    for (int64_t i = 0; i < bytes; i++)
        made[i] = (unsigned char)random_next(&random);
    return made;
}

static void touches_only_its_buffer(const krn_context *context, int64_t bytes) {
    static const guard_side sides[] = {GUARD_START, GUARD_END};
    const int64_t half = bytes / 2;
    for (int side = 0; side < 2; side++) {
        unsigned char *buffer = guarded_allocate(bytes, sides[side]);
        const unsigned char *before = random_bytes(bytes, sides[side]);
        memcpy(buffer, before, (size_t)bytes);
        double work = 0;
        CHECK_OK(krn_ceiling_run(context, KRN_CEILING_READ, buffer, bytes, 2, &work));
        CHECK(work == 2.0 * (double)bytes, "read tells %.0f for %lld bytes", work, (long long)bytes);
        CHECK(memcmp(buffer, before, (size_t)bytes) == 0, "reading changed the buffer");
        for (int64_t passes = 1; passes <= 3; passes++) {
            memcpy(buffer, before, (size_t)bytes);
            CHECK_OK(krn_ceiling_run(context, KRN_CEILING_COPY, buffer, bytes, passes, &work));
            CHECK(work == (double)passes * (double)bytes, "copy tells %.0f for %lld bytes", work, (long long)bytes);
            CHECK(memcmp(buffer, before, (size_t)half) == 0, "copying changed the first half");
            CHECK(memcmp(buffer + half, before, (size_t)half) == 0, "the second half is not a copy of the first");
        }
    }
}

static uint32_t word_at(const unsigned char *bytes) {
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* A line for every four, behind them; what is left of the buffer is left alone. */
static void narrows_four_lines_to_one(const krn_context *context, int64_t bytes) {
    enum { LINE = 64 };
    const int64_t lines = bytes / (5 * LINE), read = 4 * lines * LINE, end = read + lines * LINE;
    unsigned char *buffer = guarded_allocate(bytes, GUARD_END);
    const unsigned char *before = random_bytes(bytes, GUARD_END);
    memcpy(buffer, before, (size_t)bytes);
    double work = 0;
    CHECK_OK(krn_ceiling_run(context, KRN_CEILING_NARROW, buffer, bytes, 2, &work));
    CHECK(work == 2.0 * (double)end, "narrowing tells %.0f for %lld bytes", work, (long long)bytes);
    CHECK(memcmp(buffer, before, (size_t)read) == 0, "narrowing changed what it reads");
    CHECK(memcmp(buffer + end, before + end, (size_t)(bytes - end)) == 0, "narrowing wrote behind its lines");
    for (int64_t at = 0; at < lines * LINE; at += 4) {
        uint32_t sum = 0;
        for (int64_t i = 0; i < 4; i++)
            sum += word_at(before + (4 * (at / LINE) + i) * LINE + at % LINE);
        CHECK(word_at(buffer + read + at) == sum, "the word at %lld is %u, not %u", (long long)at,
              word_at(buffer + read + at), sum);
    }
}

static void refused(const krn_context *context, int32_t ceiling, void *buffer, int64_t bytes, int64_t iterations,
                    krn_status status, const char *argument) {
    double work = -1;
    CHECK_STATUS(krn_ceiling_run(context, ceiling, buffer, bytes, iterations, &work), status);
    CHECK(strstr(krn_last_error(), argument) != NULL, "the message does not name %s: %s", argument, krn_last_error());
    CHECK(work == -1, "a failing call wrote its output");
}

static void refuses_misuse(const krn_context *context) {
    unsigned char *buffer = guarded_allocate(2 * GRANULE, GUARD_END);
    static const int32_t memory_ceilings[] = {KRN_CEILING_READ, KRN_CEILING_COPY, KRN_CEILING_NARROW};
    static const int64_t bad_sizes[] = {0, -GRANULE, 1, GRANULE - 64, GRANULE + 64, INT64_MIN, INT64_MAX};
    static const int32_t not_ceilings[] = {0, -1, 5, 9, 13, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 3; i++) {
        const int32_t ceiling = memory_ceilings[i];
        refused(NULL, ceiling, buffer, GRANULE, 1, KRN_ERROR_NULL_ARGUMENT, "context");
        refused(context, ceiling, NULL, GRANULE, 1, KRN_ERROR_NULL_ARGUMENT, "buffer");
        refused(context, ceiling, buffer + 32, GRANULE, 1, KRN_ERROR_ALIGNMENT, "buffer");
        refused(context, ceiling, buffer, GRANULE, 0, KRN_ERROR_INVALID_ARGUMENT, "iterations");
        refused(context, ceiling, buffer, GRANULE, INT64_MIN, KRN_ERROR_INVALID_ARGUMENT, "iterations");
        for (size_t size = 0; size < sizeof bad_sizes / sizeof bad_sizes[0]; size++)
            refused(context, ceiling, buffer, bad_sizes[size], 1, KRN_ERROR_INVALID_ARGUMENT, "buffer_bytes");
        CHECK_STATUS(krn_ceiling_run(context, ceiling, buffer, GRANULE, 1, NULL), KRN_ERROR_NULL_ARGUMENT);
        CHECK(strstr(krn_last_error(), "work") != NULL, "the message does not name work: %s", krn_last_error());
        CHECK(krn_ceiling_variant(NULL, ceiling) == NULL, "NULL context has a variant");
    }
    for (size_t i = 0; i < sizeof not_ceilings / sizeof not_ceilings[0]; i++) {
        CHECK(krn_ceiling_variant(context, not_ceilings[i]) == NULL, "%d has a variant", not_ceilings[i]);
        refused(context, not_ceilings[i], buffer, GRANULE, 1, KRN_ERROR_INVALID_ARGUMENT, "ceiling");
    }
}

int main(void) {
    int32_t levels[8];
    const int num_levels = tested_levels(levels);
    for (int level = 0; level < num_levels; level++) {
        krn_context *context = context_of(levels[level], 1);
        for (int i = 0; i < NUM_CEILINGS; i++)
            runs_what_the_variant_says(context, ceilings[i]);
        static const int64_t sizes[] = {GRANULE, 2 * GRANULE, 3 * GRANULE, 64 * GRANULE, 771 * GRANULE};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            touches_only_its_buffer(context, sizes[i]);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            narrows_four_lines_to_one(context, sizes[i]);
        refuses_misuse(context);
        guarded_free_all();
        krn_context_destroy(context);
    }
    puts("ceiling: ok");
    return 0;
}
