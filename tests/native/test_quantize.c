/* Quantization: the reference against the oracle, every variant and thread count against the reference, bit for bit. */
#include "quantize_case.h"
#include "runners.h"

#include "common/cpu_features.h"
#include "quantize/quantize_variants.h"

#include <string.h>

static void every_runner_agrees(test_random *random, const runner *runners, int num_runners, int cases,
                                int64_t max_elems) {
    for (int i = 0; i < cases; i++) {
        const quantize_case c = quantize_case_make(random, max_elems);
        const quantize_result expected = quantize_case_run(&c, runners[0].context);
        if (tests_reference())
            quantize_case_check(&c, &expected);
        for (int r = 1; r < num_runners; r++) {
            const quantize_result actual = quantize_case_run(&c, runners[r].context);
            quantize_case_compare(&c, &expected, &actual, runners[r].name);
        }
        guarded_free_all();
    }
}

/* Codes and zero points that quantizing never makes, scales of every kind, infinities and NaN among them. */
static void decodes_anything(test_random *random, const runner *runners, int num_runners) {
    for (int i = 0; i < 300; i++) {
        quantize_case c = quantize_case_make(random, 700);
        quantize_result expected = quantize_case_buffers(&c);
        for (int64_t b = 0; b < expected.codes_bytes; b++)
            expected.codes[b] = (uint8_t)random_next(random);
        for (int64_t s = 0; s < expected.scale_count; s++) {
            const uint32_t bits = (uint32_t)random_next(random);
            memcpy(&expected.scales[s], &bits, sizeof bits);
            if (expected.zero_points != NULL)
                expected.zero_points[s] = (int32_t)random_between(random, INT16_MIN, INT16_MAX);
        }
        const int has_zero_points = c.options.asymmetric || (random_next(random) & 1);
        for (int r = 0; r < num_runners; r++) {
            quantize_result actual = expected;
            if (r > 0)
                actual.target = guarded_allocate(expected.target_bytes, c.side);
            CHECK_OK(krn_dequantize(runners[r].context, &c.options, c.rows, c.cols, actual.codes, c.codes_ld_bytes,
                                    actual.scales, has_zero_points ? actual.zero_points : NULL, c.target_type,
                                    actual.target, c.target_ld));
            quantize_case_compare(&c, &expected, &actual, runners[r].name);
        }
        guarded_free_all();
    }
}

static void refuses_non_finite(test_random *random, const runner *runners, int num_runners) {
    for (int i = 0; i < 300; i++) {
        const int64_t max_elems = i % 10 == 0 ? 50000 : 200;
        const quantize_case c = quantize_case_make(random, max_elems);
        const int64_t row = random_between(random, 0, c.rows - 1);
        const int64_t col = i % 3 == 0 ? c.cols - 1 : random_between(random, 0, c.cols - 1);
        quantize_case_poison(&c, row * c.source_ld + col, i % 2);
        char where[64];
        snprintf(where, sizeof where, "source[%lld, %lld]", (long long)row, (long long)col);
        const quantize_result untouched = quantize_case_buffers(&c), actual = quantize_case_buffers(&c);
        for (int r = 0; r < num_runners; r++) {
            quantize_result result = actual;
            CHECK_STATUS(krn_quantize(runners[r].context, &c.options, c.rows, c.cols, c.source_type, c.source,
                                      c.source_ld, result.codes, c.codes_ld_bytes, result.scales, result.zero_points,
                                      &result.error),
                         KRN_ERROR_NON_FINITE);
            CHECK(strstr(krn_last_error(), where) != NULL, "%s does not say %s", krn_last_error(), where);
            quantize_case_compare(&c, &untouched, &result, runners[r].name);
        }
        guarded_free_all();
    }
}

/* Too large for any cache: codes go past it where rows and blocks allow, and the last rows are more than the first pass
 * keeps the scales of. */
static void streams_large_tensors(test_random *random, const runner *runners, int num_runners) {
    enum { ROWS = 8300, COLS = 832 };
    const krn_quantize_options options = {
        .struct_size = sizeof options, .type = KRN_TYPE_S8, .granularity = KRN_GRANULARITY_TOKEN};
    float *source = guarded_allocate((int64_t)ROWS * COLS * 4, GUARD_END);
    for (int64_t i = 0; i < (int64_t)ROWS * COLS; i++)
        source[i] = (float)(int32_t)random_next(random);
    float *expected_scales = guarded_allocate(ROWS * 4, GUARD_END), *scales = guarded_allocate(ROWS * 4, GUARD_END);
    /* Rows that all begin on a line, and rows that do not. */
    for (int64_t ld = COLS; ld <= COLS + 1; ld++) {
        const int64_t bytes = (ROWS - 1) * ld + COLS;
        uint8_t *expected = guarded_allocate(bytes, GUARD_START), *codes = guarded_allocate(bytes, GUARD_START);
        CHECK_OK(krn_quantize(runners[0].context, &options, ROWS, COLS, KRN_TYPE_F32, source, COLS, expected, ld,
                              expected_scales, NULL, NULL));
        for (int r = 1; r < num_runners; r++) {
            /* Of the numbers of threads, the fewest and the most. */
            if (runners[r].threads == 2 || runners[r].threads == 3)
                continue;
            memset(codes, 0xA5, (size_t)bytes);
            CHECK_OK(krn_quantize(runners[r].context, &options, ROWS, COLS, KRN_TYPE_F32, source, COLS, codes, ld,
                                  scales, NULL, NULL));
            CHECK(memcmp(codes, expected, (size_t)bytes) == 0, "codes of %s, ld %lld", runners[r].name, (long long)ld);
            CHECK(memcmp(scales, expected_scales, ROWS * 4) == 0, "scales of %s", runners[r].name);
        }
    }
    guarded_free_all();
}

static void table_is_in_order(void) {
#define ADDRESS(variant) &variant,
    static const krn_quantize_kernels *const variants[] = {KRN_QUANTIZE_VARIANTS(ADDRESS)};
#undef ADDRESS
    enum { COUNT = sizeof variants / sizeof variants[0] };
    CHECK(variants[COUNT - 1]->features == 0, "the last variant must run everywhere");
    for (int v = 1; v < COUNT; v++)
        CHECK((variants[v]->features & ~variants[v - 1]->features) == 0, "%s asks for more than %s", variants[v]->name,
              variants[v - 1]->name);
    static const struct {
        int32_t isa;
        const char *name;
    } chosen[] = {{KRN_ISA_REF, "ref"},           {KRN_ISA_AVX2, "avx2"}, {KRN_ISA_AVX512, "avx512"},
                  {KRN_ISA_AVX512VNNI, "avx512"}, {KRN_ISA_NEON, "neon"}, {KRN_ISA_NEON_I8MM, "neon"}};
    for (size_t i = 0; i < sizeof chosen / sizeof chosen[0]; i++) {
        if ((krn_isa_features(chosen[i].isa) & ~krn_cpu_features()) != 0)
            continue;
        krn_context *context = context_of(chosen[i].isa, 1);
        CHECK(strcmp(krn_quantize_variant(context), chosen[i].name) == 0, "level %s runs %s",
              krn_isa_name(chosen[i].isa), krn_quantize_variant(context));
        krn_context_destroy(context);
    }
    CHECK(krn_quantize_variant(NULL) == NULL, "variant of no context");
}

int main(void) {
    runner runners[MAX_RUNNERS];
    const int num_runners = make_runners(runners, MAX_RUNNER_THREADS);
    test_random random = {.state = 2};
    table_is_in_order();
    every_runner_agrees(&random, runners, num_runners, 1500, 400);
    every_runner_agrees(&random, runners, num_runners, 200, 6000);
    /* Large enough for several threads. */
    every_runner_agrees(&random, runners, num_runners, 12, 150000);
    streams_large_tensors(&random, runners, num_runners);
    decodes_anything(&random, runners, num_runners);
    refuses_non_finite(&random, runners, num_runners);
    destroy_runners(runners, num_runners);
    puts("quantize: ok");
    return 0;
}
