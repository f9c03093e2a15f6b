/* The Hadamard transform: the reference against an oracle in binary64, every variant and thread count against the
 * reference, bit for bit. */
#include "runners.h"

#include "common/convert.h"
#include "hadamard/hadamard_variants.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One call. */
typedef struct {
    krn_hadamard_options options;
    int64_t rows, cols, source_ld, target_ld;
    int32_t type;
    guard_side side;
    int in_place;
    void *source;
} hadamard_case;

static int64_t size_of(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

static int64_t bytes_of(const hadamard_case *c, int64_t ld) {
    return c->rows == 0 ? 0 : ((c->rows - 1) * ld + c->cols) * size_of(c->type);
}

static uint8_t *make_signs(test_random *random, int64_t n) {
    uint8_t *signs = guarded_allocate((n + 7) / 8, GUARD_END);
    for (int64_t i = 0; i < (n + 7) / 8; i++)
        signs[i] = (uint8_t)random_next(random);
    return signs;
}

static hadamard_case make_case(test_random *random, int64_t n, int64_t blocks, int64_t rows) {
    static const int32_t types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    hadamard_case c = {
        .options = {.struct_size = sizeof c.options,
                    .normalized = (int32_t)random_between(random, 0, 1),
                    .n = n,
                    .inverse = (int32_t)random_between(random, 0, 1)},
        .rows = rows,
        .cols = blocks * n,
        .type = types[random_between(random, 0, 2)],
        .side = random_next(random) & 1 ? GUARD_START : GUARD_END,
        .in_place = random_between(random, 0, 2) == 0,
    };
    if (random_next(random) & 1)
        c.options.signs_before = make_signs(random, n);
    if (random_next(random) & 1)
        c.options.signs_after = make_signs(random, n);
    c.source_ld = c.cols + (random_next(random) & 1 ? 0 : random_between(random, 1, 9));
    c.target_ld = c.in_place ? c.source_ld : c.cols + (random_next(random) & 1 ? 0 : random_between(random, 1, 9));
    const int64_t elems = bytes_of(&c, c.source_ld) / size_of(c.type);
    c.source = guarded_allocate(bytes_of(&c, c.source_ld), c.side);
    /* Small integers have ties and sums that cancel to zero, whose sign is defined as well. */
    const int integers = random_between(random, 0, 3) == 0;
    for (int64_t i = 0; i < elems; i++)
        krn_put_float(c.type, c.source, i, integers ? (float)random_between(random, -2, 2) : random_activation(random));
    return c;
}

static void transform(const hadamard_case *c, krn_context *context, const void *source, void *target) {
    int64_t bytes;
    CHECK_OK(krn_hadamard_workspace_size(context, &c->options, &bytes));
    /* One byte too many touches the guard page. */
    void *workspace = guarded_allocate((bytes + 63) / 64 * 64, GUARD_END);
    CHECK_OK(krn_hadamard(context, &c->options, c->rows, c->cols, c->type, source, c->source_ld, target, c->target_ld,
                          workspace, bytes));
}

/* The target of a case; padding keeps what was there. */
static void *result_of(const hadamard_case *c, krn_context *context) {
    void *target = guarded_allocate(bytes_of(c, c->target_ld), c->side);
    if (c->in_place)
        memcpy(target, c->source, (size_t)bytes_of(c, c->source_ld));
    transform(c, context, c->in_place ? target : c->source, target);
    return target;
}

static int negative_at(const uint8_t *signs, int64_t i) { return signs != NULL && (signs[i / 8] >> (i % 8) & 1); }

/* Additions on the way from an input to an output. */
static double depth_of(int64_t n) {
    const krn_hadamard_options options = {.struct_size = sizeof options, .n = n};
    krn_hadamard_plan plan;
    CHECK_OK(krn_hadamard_make_plan(&options, &plan));
    double depth = plan.levels;
    for (int32_t b = 0; b < plan.num_bases; b++)
        depth += 2 + plan.bases[b].order / 4 - 1;
    return depth;
}

static void check_block(const hadamard_case *c, const int8_t *matrix, const void *source, const void *target,
                        int64_t at_source, int64_t at_target) {
    const int64_t n = c->options.n;
    const uint8_t *before = c->options.inverse ? c->options.signs_after : c->options.signs_before;
    const uint8_t *after = c->options.inverse ? c->options.signs_before : c->options.signs_after;
    const double scale = c->options.normalized ? 1 / sqrt((double)n) : 1;
    double magnitudes = 0;
    for (int64_t j = 0; j < n; j++)
        magnitudes += fabs((double)krn_float_at(c->type, source, at_source + j));
    /* Half a unit for each addition, the rounding of the scale, and the product. */
    const double relative = (depth_of(n) + 2) * (FLT_EPSILON / 2) * 1.0001;
    /* What narrowing adds: half a unit of a 16-bit type, or of its subnormals. */
    const double unit = c->type == KRN_TYPE_F16 ? 0x1p-11 : c->type == KRN_TYPE_BF16 ? 0x1p-8 : 0;
    const double smallest = c->type == KRN_TYPE_F16 ? 0x1p-25 : 0x1p-149;
    for (int64_t i = 0; i < n; i++) {
        double expected = 0;
        for (int64_t j = 0; j < n; j++) {
            const int entry = c->options.inverse ? matrix[j * n + i] : matrix[i * n + j];
            const double x = (double)krn_float_at(c->type, source, at_source + j);
            expected += entry * (negative_at(before, j) ? -x : x);
        }
        expected *= negative_at(after, i) ? -scale : scale;
        const double actual = (double)krn_float_at(c->type, target, at_target + i);
        const double error = relative * magnitudes * scale;
        const double bound = error + unit * (fabs(expected) + error) + smallest;
        CHECK(fabs(actual - expected) <= bound, "n %lld, y[%lld] is %g, not %g (bound %g)", (long long)n, (long long)i,
              actual, expected, bound);
    }
}

static void check_case(const hadamard_case *c, const int8_t *matrix, const void *target) {
    for (int64_t row = 0; row < c->rows; row++)
        for (int64_t at = 0; at < c->cols; at += c->options.n)
            check_block(c, matrix, c->source, target, row * c->source_ld + at, row * c->target_ld + at);
    const uint8_t *was = c->in_place ? c->source : NULL;
    for (int64_t i = 0; i < bytes_of(c, c->target_ld); i++)
        if (i % (c->target_ld * size_of(c->type)) >= c->cols * size_of(c->type))
            CHECK(((const uint8_t *)target)[i] == (was == NULL ? 0xA5 : was[i]), "padding was written");
}

static void compare_runners(const hadamard_case *c, const void *expected, const runner *runners, int num_runners) {
    const size_t bytes = (size_t)bytes_of(c, c->target_ld);
    for (int r = 1; r < num_runners; r++) {
        const void *actual = result_of(c, runners[r].context);
        CHECK(memcmp(actual, expected, bytes) == 0, "%s: n %lld, %lld x %lld of type %d, inverse %d, in place %d",
              runners[r].name, (long long)c->options.n, (long long)c->rows, (long long)c->cols, c->type,
              c->options.inverse, c->in_place);
    }
}

/* All orders up to 400, one after the other. */
static void small_orders(test_random *random, const runner *runners, int num_runners) {
    int8_t *matrix = malloc(400 * 400);
    CHECK(matrix != NULL, "out of memory");
    for (int64_t n = 1; n <= 400; n++) {
        if (krn_hadamard_matrix(n, matrix) != KRN_OK)
            continue;
        for (int i = 0; i < 4; i++) {
            const hadamard_case c = make_case(random, n, random_between(random, 1, 3), random_between(random, 0, 4));
            const void *expected = result_of(&c, runners[0].context);
            if (tests_reference())
                check_case(&c, matrix, expected);
            compare_runners(&c, expected, runners, num_runners);
            guarded_free_all();
        }
    }
    free(matrix);
}

/* Widths of models and powers of two: every way in which levels and bases fall into passes, and rows into pieces. */
static void model_widths(test_random *random, const runner *runners, int num_runners) {
    static const int64_t orders[] = {512,   768,   896,   1024,  1536,  2048,  2304,  2880,  3584,
                                     4096,  4864,  5120,  6144,  8192,  10944, 11008, 13824, 14336,
                                     16384, 18944, 24576, 28672, 29568, 32768, 131072};
    for (size_t o = 0; o < sizeof orders / sizeof orders[0]; o++) {
        const int64_t n = orders[o];
        for (int i = 0; i < 3; i++) {
            const hadamard_case c = make_case(random, n, random_between(random, 1, 2), random_between(random, 1, 3));
            const void *expected = result_of(&c, runners[0].context);
            compare_runners(&c, expected, runners, num_runners);
            guarded_free_all();
        }
    }
}

static void model_widths_are_exact(test_random *random, krn_context *context) {
    static const int64_t checked[] = {512, 896, 1536, 2048, 2880};
    for (int o = 0; o < 5; o++) {
        const int64_t n = checked[o];
        int8_t *matrix = malloc((size_t)(n * n));
        CHECK(matrix != NULL, "out of memory");
        CHECK_OK(krn_hadamard_matrix(n, matrix));
        const hadamard_case c = make_case(random, n, 1, 1);
        check_case(&c, matrix, result_of(&c, context));
        free(matrix);
        guarded_free_all();
    }
}

/* What other ops call: the same bits as the transform of f32 in place. */
static void row_kernels_agree(test_random *random, const runner *runners, int num_runners) {
    static const int64_t orders[] = {1, 4, 12, 64, 80, 128, 512, 1024, 4096, 14336};
    for (int i = 0; i < 40; i++) {
        const int64_t n = orders[random_between(random, 0, 9)];
        hadamard_case c = make_case(random, n, random_between(random, 1, 4), 1);
        c.type = KRN_TYPE_F32;
        c.source_ld = c.target_ld = c.cols;
        c.source = guarded_allocate(c.cols * 4, c.side);
        for (int64_t j = 0; j < c.cols; j++)
            ((float *)c.source)[j] = random_activation(random);
        krn_hadamard_plan plan;
        CHECK_OK(krn_hadamard_make_plan(&c.options, &plan));
        const void *expected = result_of(&c, runners[0].context);
        for (int r = 0; r < num_runners; r++) {
            float *row = guarded_allocate(c.cols * 4, c.side);
            memcpy(row, c.source, (size_t)c.cols * 4);
            krn_hadamard_kernels_of(runners[r].context)->row(&plan, KRN_TYPE_F32, c.cols / n, row, (krn_ahead){0}, row);
            CHECK(memcmp(row, expected, (size_t)c.cols * 4) == 0, "row of %s, n %lld", runners[r].name, (long long)n);
        }
        guarded_free_all();
    }
}

/* A rotation and its inverse give the input back to rounding, with either at the start. */
static void inverse_inverts(test_random *random, krn_context *context) {
    static const int64_t orders[] = {1, 2, 8, 12, 28, 64, 96, 172, 128, 1024, 14336, 29568};
    for (int i = 0; i < 48; i++) {
        hadamard_case c = make_case(random, orders[i % 12], 2, 2);
        c.type = KRN_TYPE_F32;
        c.options.normalized = 1;
        c.source_ld = c.target_ld = c.cols;
        const int64_t elems = c.rows * c.cols;
        float *x = guarded_allocate(elems * 4, c.side), *y = guarded_allocate(elems * 4, c.side);
        for (int64_t j = 0; j < elems; j++)
            x[j] = random_activation(random);
        transform(&c, context, x, y);
        c.options.inverse = !c.options.inverse;
        transform(&c, context, y, y);
        /* Both ways keep the norm of a block, up to (depth + 2) units times the sum of magnitudes, which is at most
         * sqrt(n) times the norm. */
        const double n = (double)c.options.n;
        for (int64_t from = 0; from < elems; from += c.options.n) {
            double norm = 0;
            for (int64_t j = from; j < from + c.options.n; j++)
                norm += (double)x[j] * (double)x[j];
            const double bound = 2.01 * (depth_of(c.options.n) + 2) * (FLT_EPSILON / 2) * sqrt(n) * sqrt(norm);
            for (int64_t j = from; j < from + c.options.n; j++)
                CHECK(fabs((double)y[j] - (double)x[j]) <= bound, "n %g: %g came back as %g", n, (double)x[j],
                      (double)y[j]);
        }
        guarded_free_all();
    }
}

/* Too large for any cache: written past it where rows allow, and the next row is fetched ahead. */
static void large_tensors(test_random *random, const runner *runners, int num_runners) {
    static const int64_t orders[] = {128, 1024, 5120};
    for (int i = 0; i < 6; i++) {
        const int64_t n = orders[i % 3], cols = 5120 / n * n, rows = 1100;
        hadamard_case c = {.options = {.struct_size = sizeof c.options, .normalized = 1, .n = n},
                           .rows = rows,
                           .cols = cols,
                           .type = KRN_TYPE_F32,
                           .source_ld = cols + i,
                           .target_ld = cols + (i < 3 ? 0 : 1),
                           .side = i % 2 ? GUARD_START : GUARD_END};
        c.source = guarded_allocate(bytes_of(&c, c.source_ld), c.side);
        for (int64_t j = 0; j < bytes_of(&c, c.source_ld) / 4; j++)
            ((float *)c.source)[j] = (float)(int32_t)random_next(random);
        compare_runners(&c, result_of(&c, runners[0].context), runners, num_runners);
        guarded_free_all();
    }
}

static void table_is_in_order(void) {
#define ADDRESS(variant) &variant,
    static const krn_hadamard_kernels *const variants[] = {KRN_HADAMARD_VARIANTS(ADDRESS)};
#undef ADDRESS
    enum { COUNT = sizeof variants / sizeof variants[0] };
    CHECK(variants[COUNT - 1]->features == 0, "the last variant must run everywhere");
    for (int v = 1; v < COUNT; v++)
        CHECK((variants[v]->features & ~variants[v - 1]->features) == 0, "%s asks for more than %s", variants[v]->name,
              variants[v - 1]->name);
}

int main(void) {
    runner runners[MAX_RUNNERS];
    const int num_runners = make_runners(runners, 3);
    test_random random = {4};
    table_is_in_order();
    small_orders(&random, runners, num_runners);
    model_widths(&random, runners, num_runners);
    row_kernels_agree(&random, runners, num_runners);
    if (tests_reference()) {
        model_widths_are_exact(&random, runners[0].context);
        inverse_inverts(&random, runners[0].context);
    }
    large_tensors(&random, runners, num_runners);
    destroy_runners(runners, num_runners);
    puts("hadamard: ok");
    return 0;
}
