/* What krn_hadamard and its neighbours refuse, and rotated weights. */
#include "check.h"

#include "common/convert.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, N = 24, COLS = 2 * N, LD = COLS + 5 };

static float source[ROWS * LD], target[ROWS * LD];
static _Alignas(64) unsigned char workspace[1 << 16];

typedef struct {
    krn_context *context;
    krn_hadamard_options options;
    int64_t rows, cols;
    int32_t type;
    float *source, *target;
    int64_t source_ld, target_ld;
    unsigned char *workspace;
    int64_t workspace_bytes;
} call;

static call good_call(krn_context *context) {
    return (call){.context = context,
                  .options = {.struct_size = sizeof(krn_hadamard_options), .normalized = 1, .n = N},
                  .rows = ROWS,
                  .cols = COLS,
                  .type = KRN_TYPE_F32,
                  .source = source,
                  .target = target,
                  .source_ld = LD,
                  .target_ld = LD,
                  .workspace = workspace,
                  .workspace_bytes = sizeof workspace};
}

static krn_status run(const call *c) {
    return krn_hadamard(c->context, &c->options, c->rows, c->cols, c->type, c->source, c->source_ld, c->target,
                        c->target_ld, c->workspace, c->workspace_bytes);
}

/* Changes a good call, and checks that it is refused with the name of the argument and writes nothing. */
#define REFUSES(change, status, name)                                                                                  \
    do {                                                                                                               \
        call c = good_call(context);                                                                                   \
        change;                                                                                                        \
        memset(target, 0xA5, sizeof target);                                                                           \
        CHECK_STATUS(run(&c), status);                                                                                 \
        CHECK(strstr(krn_last_error(), name) == krn_last_error(), "\"%s\" does not begin with %s", krn_last_error(),   \
              name);                                                                                                   \
        for (size_t i = 0; i < sizeof target; i++)                                                                     \
            CHECK(((unsigned char *)target)[i] == 0xA5, "something was written");                                      \
    } while (0)

static void refuses(krn_context *context) {
    const krn_status invalid = KRN_ERROR_INVALID_ARGUMENT, null = KRN_ERROR_NULL_ARGUMENT;
    const krn_status ld = KRN_ERROR_LEADING_DIMENSION, align = KRN_ERROR_ALIGNMENT;
    REFUSES(c.context = NULL, null, "context");
    REFUSES(c.options.struct_size--, KRN_ERROR_STRUCT_SIZE, "options->struct_size");
    REFUSES(c.options.normalized = 2, invalid, "options->normalized");
    REFUSES(c.options.inverse = -1, invalid, "options->inverse");
    REFUSES(c.options.flags = 1, invalid, "options->flags");
    REFUSES(c.options.n = 0, invalid, "n is 0");
    REFUSES(c.options.n = -8, invalid, "n is -8");
    REFUSES(c.options.n = KRN_HADAMARD_MAX_N + 1, invalid, "n is");
    REFUSES((c.options.n = 6, c.cols = 48), KRN_ERROR_UNSUPPORTED, "n is 6 = 2^1 * 3");
    REFUSES((c.options.n = 188, c.cols = 188, c.source_ld = c.target_ld = 188), KRN_ERROR_UNSUPPORTED, "n is 188");
    REFUSES(c.rows = -1, KRN_ERROR_SHAPE, "rows");
    REFUSES(c.cols = -N, KRN_ERROR_SHAPE, "cols");
    REFUSES(c.cols = N + 1, KRN_ERROR_SHAPE, "cols");
    REFUSES((c.options.n = 1, c.cols = INT64_MAX), KRN_ERROR_SHAPE, "3 rows of");
    REFUSES(c.type = KRN_TYPE_S8, invalid, "type");
    REFUSES(c.source = NULL, null, "source");
    REFUSES(c.target = NULL, null, "target");
    REFUSES(c.source = (float *)(void *)((char *)source + 2), align, "source");
    REFUSES(c.target = (float *)(void *)((char *)target + 1), align, "target");
    REFUSES(c.source_ld = COLS - 1, ld, "source_ld");
    REFUSES(c.target_ld = COLS - 1, ld, "target_ld");
    REFUSES(c.source_ld = INT64_MAX / 4, ld, "source_ld");
    REFUSES((c.source = target, c.source_ld = COLS), ld, "target_ld");
    REFUSES(c.workspace = NULL, null, "workspace");
    REFUSES(c.workspace += 32, align, "workspace");
    int64_t bytes;
    const call good = good_call(context);
    CHECK_OK(krn_hadamard_workspace_size(context, &good.options, &bytes));
    REFUSES(c.workspace_bytes = bytes - 1, KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes");
    CHECK_STATUS(krn_hadamard_workspace_size(NULL, &good.options, &bytes), null);
    CHECK_STATUS(krn_hadamard_workspace_size(context, NULL, &bytes), null);
    CHECK_STATUS(krn_hadamard_workspace_size(context, &good.options, NULL), null);
    uint8_t signs[1];
    CHECK_STATUS(krn_hadamard_random_signs(1, 0, signs), invalid);
    CHECK_STATUS(krn_hadamard_random_signs(1, 8, NULL), null);
    CHECK_STATUS(krn_hadamard_matrix(32769, NULL), KRN_ERROR_UNSUPPORTED);
    CHECK_STATUS(krn_hadamard_matrix(65536, NULL), invalid);
    CHECK_STATUS(krn_hadamard_matrix(8, NULL), null);
    CHECK(krn_hadamard_variant(NULL) == NULL, "the variant of nothing");
}

static void accepts_nothing(krn_context *context) {
    call c = good_call(context);
    c.source = c.target = NULL;
    c.rows = 0;
    CHECK_OK(run(&c));
    c.rows = ROWS;
    c.cols = 0;
    CHECK_OK(run(&c));
}

/* The first words of splitmix64 from state 1234567, as its author publishes them. */
static void signs_are_splitmix64(void) {
    uint8_t signs[16], few[2] = {0, 0xFF};
    CHECK_OK(krn_hadamard_random_signs(1234567, 128, signs));
    uint64_t words[2] = {0, 0};
    for (int i = 0; i < 16; i++)
        words[i / 8] |= (uint64_t)signs[i] << (i % 8 * 8);
    CHECK(words[0] == UINT64_C(6457827717110365317) && words[1] == UINT64_C(3203168211198807973), "%llu %llu",
          (unsigned long long)words[0], (unsigned long long)words[1]);
    CHECK_OK(krn_hadamard_random_signs(1234567, 3, few));
    CHECK(few[0] == (signs[0] & 7) && few[1] == 0xFF, "signs of 3 elements: %d", few[0]);
}

enum { OUT = 56, IN = 48, TOKENS = 5 };

static double dot(const float *a, const float *b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* (X R)(R^T W^T) S = (X W^T) S: on either side and on both, in either precision. */
static void rotated_weights_keep_products(krn_context *context, test_random *random) {
    uint8_t input_signs[IN / 8], output_signs[OUT / 8];
    CHECK_OK(krn_hadamard_random_signs(1, IN, input_signs));
    CHECK_OK(krn_hadamard_random_signs(2, OUT, output_signs));
    const krn_hadamard_options input = {
        .struct_size = sizeof input, .normalized = 1, .n = IN, .signs_before = input_signs};
    const krn_hadamard_options output = {
        .struct_size = sizeof output, .normalized = 1, .n = OUT / 2, .signs_after = output_signs};
    float x[TOKENS * IN], w[OUT * IN], rotated_x[TOKENS * IN], rotated_w[OUT * IN], y[TOKENS * OUT];
    for (int i = 0; i < TOKENS * IN; i++)
        x[i] = random_activation(random);
    for (int i = 0; i < OUT * IN; i++)
        w[i] = random_activation(random);
    for (int sides = 1; sides <= 3; sides++) {
        for (int32_t use_float64 = 0; use_float64 <= 1; use_float64++) {
            const krn_hadamard_options *in = sides & 1 ? &input : NULL, *out = sides & 2 ? &output : NULL;
            CHECK_OK(krn_hadamard_weights(context, in, out, use_float64, OUT, IN, KRN_TYPE_F32, w, IN, rotated_w, IN));
            memcpy(rotated_x, x, sizeof x);
            for (int t = 0; t < TOKENS; t++)
                for (int o = 0; o < OUT; o++)
                    y[t * OUT + o] = (float)dot(x + t * IN, w + o * IN, IN);
            if (in != NULL)
                CHECK_OK(krn_hadamard(context, in, TOKENS, IN, KRN_TYPE_F32, x, IN, rotated_x, IN, workspace,
                                      sizeof workspace));
            if (out != NULL)
                CHECK_OK(
                    krn_hadamard(context, out, TOKENS, OUT, KRN_TYPE_F32, y, OUT, y, OUT, workspace, sizeof workspace));
            for (int t = 0; t < TOKENS; t++) {
                /* Every number passes at most 3 rounded transforms, each of relative error below 16 units against the
                 * norm of its row; an output is a product of two rows, or a rotated one of OUT / 2 such. */
                const double norm_x = sqrt(dot(x + t * IN, x + t * IN, IN)), norm_w = sqrt(dot(w, w, OUT * IN));
                const double bound = 48 * (FLT_EPSILON / 2) * norm_x * norm_w;
                for (int o = 0; o < OUT; o++) {
                    const double actual = dot(rotated_x + t * IN, rotated_w + o * IN, IN);
                    CHECK(fabs(actual - (double)y[t * OUT + o]) <= bound, "sides %d, f64 %d: %g, not %g", sides,
                          use_float64, actual, (double)y[t * OUT + o]);
                }
            }
        }
    }
}

/* In binary64 the result is the rounded one: it equals what a matrix product in binary64 gives, rounded once, but where
 * that is within the error of binary64 of a tie. */
static void float64_rounds_once(krn_context *context, test_random *random) {
    static const int32_t types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static int8_t matrix[IN * IN];
    CHECK_OK(krn_hadamard_matrix(IN, matrix));
    const krn_hadamard_options input = {.struct_size = sizeof input, .normalized = 1, .n = IN};
    for (int t = 0; t < 3; t++) {
        uint32_t w[3 * IN], rotated[3 * IN];
        for (int i = 0; i < 3 * IN; i++)
            krn_put_float(types[t], w, i, random_activation(random));
        CHECK_OK(krn_hadamard_weights(context, &input, NULL, 1, 3, IN, types[t], w, IN, rotated, IN));
        const double units = types[t] == KRN_TYPE_F32 ? 0x1p-24 : types[t] == KRN_TYPE_F16 ? 0x1p-11 : 0x1p-8;
        for (int i = 0; i < 3 * IN; i++) {
            double sum = 0, magnitudes = 0;
            for (int j = 0; j < IN; j++) {
                const double x = (double)krn_float_at(types[t], w, i / IN * IN + j);
                sum += matrix[i % IN * IN + j] * x;
                magnitudes += fabs(x);
            }
            sum /= sqrt((double)IN);
            const double error = fabs((double)krn_float_at(types[t], rotated, i) - sum);
            CHECK(error <= units * fabs(sum) + 64 * DBL_EPSILON * magnitudes + 0x1p-25 * (types[t] == KRN_TYPE_F16),
                  "type %d: an error of %g in %g", types[t], error, sum);
        }
    }
}

/* In binary32 they are the bits of the transform along rows, whatever the threads and in place or not. */
static void float32_is_the_transform(krn_context *context, test_random *random) {
    enum { TALL = 150, LD_W = 200 };
    const krn_hadamard_options input = {.struct_size = sizeof input, .normalized = 1, .n = 64, .inverse = 1};
    static uint16_t w[TALL * LD_W], expected[TALL * LD_W], actual[TALL * LD_W];
    for (int i = 0; i < TALL * LD_W; i++)
        w[i] = krn_f32_to_bf16(random_activation(random));
    memcpy(expected, w, sizeof w);
    memcpy(actual, w, sizeof w);
    CHECK_OK(
        krn_hadamard(context, &input, TALL, 192, KRN_TYPE_BF16, w, LD_W, expected, LD_W, workspace, sizeof workspace));
    CHECK_OK(krn_hadamard_weights(context, &input, NULL, 0, TALL, 192, KRN_TYPE_BF16, actual, LD_W, actual, LD_W));
    CHECK(memcmp(actual, expected, sizeof actual) == 0, "weights in place");
}

static void weights_refuse(krn_context *context) {
    const krn_hadamard_options o = {.struct_size = sizeof o, .normalized = 1, .n = N};
    float w[N * N] = {0};
#define REFUSES_WEIGHTS(call, status, name)                                                                            \
    do {                                                                                                               \
        CHECK_STATUS(call, status);                                                                                    \
        CHECK(strstr(krn_last_error(), name) == krn_last_error(), "\"%s\" does not begin with %s", krn_last_error(),   \
              name);                                                                                                   \
    } while (0)
    const krn_status null = KRN_ERROR_NULL_ARGUMENT, ld = KRN_ERROR_LEADING_DIMENSION;
    REFUSES_WEIGHTS(krn_hadamard_weights(NULL, &o, &o, 0, N, N, KRN_TYPE_F32, w, N, w, N), null, "context");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, NULL, NULL, 0, N, N, KRN_TYPE_F32, w, N, w, N), null, "input and");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 2, N, N, KRN_TYPE_F32, w, N, w, N),
                    KRN_ERROR_INVALID_ARGUMENT, "use_float64");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 0, 12, N, KRN_TYPE_F32, w, N, w, N), KRN_ERROR_SHAPE, "n is");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 0, N, 12, KRN_TYPE_F32, w, N, w, N), KRN_ERROR_SHAPE, "k is");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 0, -N, N, KRN_TYPE_F32, w, N, w, N), KRN_ERROR_SHAPE, "n is");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 0, N, N, 0, w, N, w, N), KRN_ERROR_INVALID_ARGUMENT, "type");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 0, N, N, KRN_TYPE_F32, NULL, N, w, N), null, "weights");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 0, N, N, KRN_TYPE_F32, w, N, NULL, N), null, "target");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 0, N, N, KRN_TYPE_F32, w, N - 1, w, N), ld, "weights_ld");
    REFUSES_WEIGHTS(krn_hadamard_weights(context, &o, &o, 0, N, N, KRN_TYPE_F32, w, N, w, N + 1), ld, "target_ld");
    CHECK_OK(krn_hadamard_weights(context, &o, &o, 0, 0, N, KRN_TYPE_F32, NULL, N, NULL, N));
}

int main(void) {
    int32_t levels[8];
    const int num_levels = tested_levels(levels);
    test_random random = {5};
    signs_are_splitmix64();
    for (int l = 0; l < num_levels; l++) {
        krn_context *context = context_of(levels[l], 2);
        refuses(context);
        accepts_nothing(context);
        weights_refuse(context);
        rotated_weights_keep_products(context, &random);
        float64_rounds_once(context, &random);
        float32_is_the_transform(context, &random);
        krn_context_destroy(context);
    }
    puts("hadamard arguments: ok");
    return 0;
}
