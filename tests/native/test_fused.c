/* Fused steps: values against binary64, the fused call against its parts, every variant and thread count against the
 * reference, all bit for bit but the first. */
#include "fused_case.h"
#include "runners.h"

#include "fused/fused_variants.h"

#include <float.h>
#include <math.h>
#include <string.h>

static void every_runner_agrees(test_random *random, const runner *runners, int num_runners, int cases,
                                int64_t max_elems) {
    for (int i = 0; i < cases; i++) {
        const fused_case c = fused_case_make(random, max_elems);
        float *values = guarded_allocate(c.rows * c.cols * 4, GUARD_END);
        fused_result parts = fused_case_run_parts(&c, runners[0].context, values);
        if (tests_reference())
            fused_case_check_values(&c, &parts, values);
        if (c.static_scale != 0) {
            parts = fused_case_run(&c, runners[0].context);
            CHECK_OK(parts.status);
            fused_case_check_static(&c, &parts, runners[0].context, values);
        }
        for (int r = 0; r < num_runners; r++) {
            const fused_result actual = fused_case_run(&c, runners[r].context);
            fused_case_compare(&c, &parts, &actual, runners[r].name);
            float *others = guarded_allocate(c.rows * c.cols * 4, GUARD_START);
            (void)fused_case_run_parts(&c, runners[r].context, others);
            CHECK(memcmp(values, others, (size_t)(c.rows * c.cols) * 4) == 0, "values of %s, step %d", runners[r].name,
                  c.step);
        }
        guarded_free_all();
    }
}

/* A bad row has scales of NaN and codes of the zero point; the others are what they are without it; the first is
 * named. */
static void bad_rows_are_marked(test_random *random, const runner *runners, int num_runners) {
    for (int i = 0; i < 300; i++) {
        const fused_case c = fused_case_make(random, i % 10 == 0 ? 40000 : 500);
        const fused_result good = fused_case_run(&c, runners[0].context);
        const int64_t row = random_between(random, 0, c.rows - 1), col = random_between(random, 0, c.cols - 1);
        fused_case_poison(&c, row, col, i % 2);
        char where[32];
        snprintf(where, sizeof where, "row %lld ", (long long)row);
        const int64_t blocks = c.quantize.granularity == KRN_GRANULARITY_TENSOR ? 0 : good.scale_count / c.rows;
        const int64_t width = krn_type_row_bytes(c.quantize.type, c.cols);
        for (int r = 0; r < num_runners; r++) {
            const fused_result bad = fused_case_run(&c, runners[r].context);
            CHECK(bad.status == KRN_ERROR_NON_FINITE, "status %d of step %d", bad.status, c.step);
            CHECK(strstr(krn_last_error(), where) != NULL, "\"%s\" does not say %s", krn_last_error(), where);
            for (int64_t at = 0; at < c.rows; at++) {
                const uint8_t *codes = bad.codes + at * c.codes_ld_bytes;
                if (at != row) {
                    CHECK(memcmp(codes, good.codes + at * c.codes_ld_bytes, (size_t)width) == 0, "codes of row %lld",
                          (long long)at);
                    CHECK(memcmp(bad.scales + at * blocks, good.scales + at * blocks, (size_t)blocks * 4) == 0,
                          "scales of row %lld", (long long)at);
                    continue;
                }
                for (int64_t b = 0; b < blocks; b++)
                    CHECK(c.static_scale != 0 ? bad.scales[at * blocks + b] == c.static_scale
                                              : isnan(bad.scales[at * blocks + b]),
                          "scale %lld", (long long)b);
                const int eight = c.quantize.type == KRN_TYPE_S8 || c.quantize.type == KRN_TYPE_U8;
                const int32_t zero = bad.zero_points == NULL ? 0 : bad.zero_points[at * blocks];
                for (int64_t e = 0; e < c.cols; e++) {
                    const int code = eight ? codes[e] : codes[e / 2] >> (e % 2 * 4) & 15;
                    CHECK(code == (zero & (eight ? 255 : 15)), "code %lld of a bad row is %d", (long long)e, code);
                }
            }
            for (int64_t at = width; at < (c.rows > 1 ? c.codes_ld_bytes : width); at++)
                CHECK(bad.codes[at] == 0xA5, "padding was written");
        }
        guarded_free_all();
    }
}

/* Finite, but not on its way. */
static void overflow_is_not_finite(const runner *runners, int num_runners) {
    float x[3 * 64], scales[3], weight[64];
    uint8_t codes[3 * 64];
    _Alignas(64) unsigned char space[64 * 1024];
    for (int i = 0; i < 64; i++)
        weight[i] = i == 5 ? 3e38f : 1;
    for (int i = 0; i < 3 * 64; i++)
        x[i] = i / 64 == 1 ? 1e25f : 2;
    const krn_quantize_options quantize = {
        .struct_size = sizeof quantize, .type = KRN_TYPE_S8, .granularity = KRN_GRANULARITY_TOKEN};
    const krn_fused_input input = {.struct_size = sizeof input, .type = KRN_TYPE_F32, .source = x, .source_ld = 64};
    const krn_fused_codes to = {
        .struct_size = sizeof to, .options = &quantize, .codes = codes, .codes_ld_bytes = 64, .scales = scales};
    for (int r = 0; r < num_runners; r++) {
        krn_fused_options options = {.struct_size = sizeof options, .eps = 1e-5f};
        CHECK_STATUS(krn_rmsnorm_quantize(runners[r].context, &options, 3, 64, &input, &to, space, sizeof space),
                     KRN_ERROR_NON_FINITE);
        CHECK(strstr(krn_last_error(), "row 1 ") != NULL, "%s", krn_last_error());
        CHECK(!isnan(scales[0]) && isnan(scales[1]) && !isnan(scales[2]), "scales");
        options = (krn_fused_options){.struct_size = sizeof options, .weight = weight};
        CHECK_STATUS(krn_smooth_quantize(runners[r].context, &options, 3, 64, &input, &to, space, sizeof space),
                     KRN_ERROR_NON_FINITE);
        CHECK(strstr(krn_last_error(), "row 0 ") != NULL, "%s", krn_last_error());
    }
}

/* The sum may replace one of its terms, and the result of a float step its input. */
static void works_in_place(test_random *random, const runner *runners, int num_runners) {
    enum { ROWS = 5, COLS = 150 };
    float x[ROWS * COLS], residual[ROWS * COLS], sum[ROWS * COLS], expected[ROWS * COLS], y[ROWS * COLS];
    _Alignas(64) unsigned char space[64 * 1024];
    for (int i = 0; i < ROWS * COLS; i++) {
        x[i] = random_activation(random);
        residual[i] = random_activation(random);
    }
    const krn_fused_options options = {.struct_size = sizeof options, .eps = 1e-5f};
    krn_fused_input input = {.struct_size = sizeof input,
                             .type = KRN_TYPE_F32,
                             .source = x,
                             .source_ld = COLS,
                             .residual = residual,
                             .residual_ld = COLS,
                             .sum = sum,
                             .sum_ld = COLS};
    CHECK_OK(krn_rmsnorm(runners[0].context, &options, ROWS, COLS, &input, KRN_TYPE_F32, expected, COLS, space,
                         sizeof space));
    for (int r = 0; r < num_runners; r++) {
        float copy[ROWS * COLS];
        memcpy(copy, residual, sizeof copy);
        input.residual = copy;
        input.sum = copy;
        CHECK_OK(
            krn_rmsnorm(runners[r].context, &options, ROWS, COLS, &input, KRN_TYPE_F32, y, COLS, space, sizeof space));
        CHECK(memcmp(y, expected, sizeof y) == 0 && memcmp(copy, sum, sizeof copy) == 0, "in place of the residual");
        krn_fused_input alone = {.struct_size = sizeof alone, .type = KRN_TYPE_F32, .source = copy, .source_ld = COLS};
        CHECK_OK(krn_rmsnorm(runners[r].context, &options, ROWS, COLS, &alone, KRN_TYPE_F32, copy, COLS, space,
                             sizeof space));
        CHECK(memcmp(copy, expected, sizeof y) == 0, "in place of the source");
    }
}

/* Float results in the narrow types are the f32 result rounded once. */
static void narrow_results_are_rounded(test_random *random, const runner *runners, int num_runners) {
    enum { ROWS = 3, COLS = 203, LD = 210 };
    float x[ROWS * COLS], wide[ROWS * COLS];
    uint16_t narrow[ROWS * LD], expected[ROWS * LD];
    _Alignas(64) unsigned char space[64 * 1024];
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = random_activation(random);
    const krn_fused_options options = {.struct_size = sizeof options};
    const krn_fused_input input = {
        .struct_size = sizeof input, .type = KRN_TYPE_F32, .source = x, .source_ld = COLS, .up = x, .up_ld = COLS};
    CHECK_OK(
        krn_silu_mul(runners[0].context, &options, ROWS, COLS, &input, KRN_TYPE_F32, wide, COLS, space, sizeof space));
    memset(expected, 0xA5, sizeof expected);
    CHECK_OK(krn_silu_mul(runners[0].context, &options, ROWS, COLS, &input, KRN_TYPE_BF16, expected, LD, space,
                          sizeof space));
    for (int i = 0; i < ROWS * LD; i++) {
        if (i % LD >= COLS) {
            CHECK(expected[i] == 0xA5A5, "padding was written");
            continue;
        }
        uint32_t bits;
        memcpy(&bits, &wide[i / LD * COLS + i % LD], sizeof bits);
        CHECK(expected[i] == (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16), "bf16 of %08x", bits);
    }
    for (int32_t type = KRN_TYPE_F16; type <= KRN_TYPE_BF16; type++) {
        CHECK_OK(
            krn_silu_mul(runners[0].context, &options, ROWS, COLS, &input, type, expected, LD, space, sizeof space));
        for (int r = 1; r < num_runners; r++) {
            memset(narrow, 0xA5, sizeof narrow);
            CHECK_OK(
                krn_silu_mul(runners[r].context, &options, ROWS, COLS, &input, type, narrow, LD, space, sizeof space));
            CHECK(memcmp(narrow, expected, (ROWS - 1) * LD * 2 + COLS * 2) == 0, "type %d of %s", type,
                  runners[r].name);
        }
    }
}

static void table_is_in_order(void) {
#define ADDRESS(variant) &variant,
    static const krn_fused_kernels *const variants[] = {KRN_FUSED_VARIANTS(ADDRESS)};
#undef ADDRESS
    enum { COUNT = sizeof variants / sizeof variants[0] };
    CHECK(variants[COUNT - 1]->features == 0, "the last variant must run everywhere");
    for (int v = 1; v < COUNT; v++)
        CHECK((variants[v]->features & ~variants[v - 1]->features) == 0, "%s asks for more than %s", variants[v]->name,
              variants[v - 1]->name);
    CHECK(krn_fused_variant(NULL) == NULL, "variant of no context");
    krn_context *context = context_of(KRN_ISA_REF, 1);
    CHECK(strcmp(krn_fused_variant(context), "ref") == 0, "the reference runs %s", krn_fused_variant(context));
    krn_context_destroy(context);
}

int main(void) {
    runner runners[MAX_RUNNERS];
    const int num_runners = make_runners(runners, 3);
    test_random random = {.state = 3};
    table_is_in_order();
    every_runner_agrees(&random, runners, num_runners, 1500, 500);
    /* Wide enough for chunks and tiles, and enough rows for several threads and for streaming stores. */
    every_runner_agrees(&random, runners, num_runners, 60, 20000);
    every_runner_agrees(&random, runners, num_runners, 8, 1500000);
    bad_rows_are_marked(&random, runners, num_runners);
    overflow_is_not_finite(runners, num_runners);
    works_in_place(&random, runners, num_runners);
    narrow_results_are_rounded(&random, runners, num_runners);
    destroy_runners(runners, num_runners);
    puts("fused: ok");
    return 0;
}
