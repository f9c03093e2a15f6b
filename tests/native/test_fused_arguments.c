/* Fused steps: every misuse has its status, names the argument and writes nothing; empty tensors. */
#include "check.h"

#include <math.h>
#include <string.h>

enum { ROWS = 3, COLS = 64, LD = 72, SPACE = 1 << 16 };

/* All the arguments of a good call of the norm with a residual. Every check changes one of them. */
typedef struct {
    krn_context *context;
    krn_fused_options options;
    krn_quantize_options quantize;
    krn_hadamard_options rotation;
    krn_fused_input input;
    krn_fused_codes codes;
    int64_t rows, cols;
    int32_t target_type;
    void *target;
    int64_t target_ld;
    void *workspace;
    int64_t workspace_bytes;
} call;

static float source[ROWS * LD], residual[ROWS * LD], sum[ROWS * LD], target[ROWS * LD], vector[COLS];
static uint8_t codes[ROWS * LD];
static float scales[ROWS];
static int32_t zero_points[ROWS];
static _Alignas(64) unsigned char space[SPACE];

static call good_norm(krn_context *context) {
    for (int i = 0; i < ROWS * LD; i++)
        source[i] = residual[i] = (float)(i % 11) - 5;
    for (int i = 0; i < COLS; i++)
        vector[i] = 1;
    memset(sum, 0xA5, sizeof sum);
    memset(target, 0xA5, sizeof target);
    memset(codes, 0xA5, sizeof codes);
    memset(scales, 0xA5, sizeof scales);
    memset(zero_points, 0xA5, sizeof zero_points);
    return (call){
        .context = context,
        .options = {.struct_size = sizeof(krn_fused_options), .weight = vector, .bias = vector, .eps = 1e-5f},
        .quantize = {.struct_size = sizeof(krn_quantize_options),
                     .type = KRN_TYPE_U8,
                     .asymmetric = 1,
                     .granularity = KRN_GRANULARITY_TOKEN},
        .input = {.struct_size = sizeof(krn_fused_input),
                  .type = KRN_TYPE_F32,
                  .source = source,
                  .source_ld = LD,
                  .residual = residual,
                  .residual_ld = LD,
                  .sum = sum,
                  .sum_ld = LD},
        .codes = {.struct_size = sizeof(krn_fused_codes),
                  .codes = codes,
                  .codes_ld_bytes = LD,
                  .scales = scales,
                  .zero_points = zero_points},
        .rows = ROWS,
        .cols = COLS,
        .target_type = KRN_TYPE_F32,
        .target = target,
        .target_ld = LD,
        .workspace = space,
        .workspace_bytes = SPACE,
    };
}

/* Of two matrices, without anything that belongs to norms. */
static call good_gate(krn_context *context) {
    call c = good_norm(context);
    c.options = (krn_fused_options){.struct_size = sizeof c.options};
    c.input = (krn_fused_input){.struct_size = sizeof c.input,
                                .type = KRN_TYPE_F32,
                                .source = source,
                                .source_ld = LD,
                                .up = residual,
                                .up_ld = LD};
    return c;
}

static call good_rotation(krn_context *context) {
    call c = good_gate(context);
    c.rotation = (krn_hadamard_options){.struct_size = sizeof c.rotation, .n = 64};
    c.options.rotation = &c.rotation;
    c.input.up = NULL;
    c.input.up_ld = 0;
    return c;
}

static void nothing_was_written(const char *name) {
    const void *const buffers[] = {sum, target, codes, scales, zero_points};
    const size_t sizes[] = {sizeof sum, sizeof target, sizeof codes, sizeof scales, sizeof zero_points};
    for (int b = 0; b < 5; b++)
        for (size_t i = 0; i < sizes[b]; i++)
            CHECK(((const uint8_t *)buffers[b])[i] == 0xA5, "%s: buffer %d was written", name, b);
}

static void refused(krn_status status, krn_status expected, const char *name) {
    CHECK(status == expected, "%s gave %s (%s), expected %s", name, krn_status_name(status), krn_last_error(),
          krn_status_name(expected));
    CHECK(strstr(krn_last_error(), name) != NULL, "\"%s\" does not name %s", krn_last_error(), name);
    nothing_was_written(name);
}

typedef krn_status quantizing(krn_context *, const krn_fused_options *, int64_t, int64_t, const krn_fused_input *,
                              const krn_fused_codes *, void *, int64_t);

static krn_status quantize(quantizing *step, call *c) {
    c->codes.options = &c->quantize;
    if (c->options.rotation != NULL)
        c->options.rotation = &c->rotation;
    return step(c->context, &c->options, c->rows, c->cols, &c->input, &c->codes, c->workspace, c->workspace_bytes);
}

static krn_status apply(const call *c) {
    return krn_rmsnorm(c->context, &c->options, c->rows, c->cols, &c->input, c->target_type, c->target, c->target_ld,
                       c->workspace, c->workspace_bytes);
}

/* Changes one argument of a good call and checks that it is refused. */
#define REFUSES(good, step, change, status, name)                                                                      \
    do {                                                                                                               \
        call c = good(context);                                                                                        \
        change;                                                                                                        \
        refused(quantize(step, &c), status, name);                                                                     \
    } while (0)

/* A norm, with both kinds of result. */
#define REFUSES_NORM(change, status, name)                                                                             \
    do {                                                                                                               \
        REFUSES(good_norm, krn_rmsnorm_quantize, change, status, name);                                                \
        REFUSES(good_norm, krn_layernorm_quantize, change, status, name);                                              \
        call c = good_norm(context);                                                                                   \
        change;                                                                                                        \
        refused(apply(&c), status, name);                                                                              \
    } while (0)

static void *shifted(void *p, int bytes) { return (char *)p + bytes; }

static void norms_refuse(krn_context *context) {
    const krn_status null = KRN_ERROR_NULL_ARGUMENT, invalid = KRN_ERROR_INVALID_ARGUMENT, align = KRN_ERROR_ALIGNMENT,
                     ld = KRN_ERROR_LEADING_DIMENSION;
    REFUSES_NORM(c.context = NULL, null, "context");
    REFUSES_NORM(c.rows = -1, KRN_ERROR_SHAPE, "rows");
    REFUSES_NORM(c.cols = -1, KRN_ERROR_SHAPE, "cols");
    REFUSES_NORM(c.rows = INT64_MAX / 4, KRN_ERROR_SHAPE, "rows");
    REFUSES_NORM(c.cols = INT64_MAX, KRN_ERROR_SHAPE, "cols");
    REFUSES_NORM(c.options.struct_size += 8, KRN_ERROR_STRUCT_SIZE, "options->struct_size");
    REFUSES_NORM(c.options.reserved = 1, invalid, "options->reserved");
    REFUSES_NORM(c.options.vector_type = KRN_TYPE_S8, invalid, "options->vector_type");
    REFUSES_NORM(c.options.weight = shifted(vector, 2), align, "options->weight");
    REFUSES_NORM(c.options.bias = shifted(vector, 1), align, "options->bias");
    REFUSES_NORM(c.options.eps = 0, invalid, "options->eps");
    REFUSES_NORM(c.options.eps = -1, invalid, "options->eps");
    REFUSES_NORM(c.options.eps = NAN, invalid, "options->eps");
    REFUSES_NORM(c.options.eps = INFINITY, invalid, "options->eps");
    REFUSES_NORM(c.options.gate_layout = 1, invalid, "options->gate_layout");
    REFUSES_NORM(c.options.gelu_tanh = 1, invalid, "options->gelu_tanh");
    REFUSES_NORM(c.options.rotation = &c.rotation, invalid, "options->rotation");
    REFUSES_NORM(c.input.struct_size = 0, KRN_ERROR_STRUCT_SIZE, "input->struct_size");
    REFUSES_NORM(c.input.type = KRN_TYPE_S8, invalid, "input->type");
    REFUSES_NORM(c.input.source = NULL, null, "input->source");
    REFUSES_NORM(c.input.source = shifted(source, 2), align, "input->source");
    REFUSES_NORM(c.input.source_ld = COLS - 1, ld, "input->source_ld");
    REFUSES_NORM(c.input.source_ld = INT64_MAX / 4, ld, "input->source_ld");
    REFUSES_NORM(c.input.up = source, invalid, "input->up");
    REFUSES_NORM(c.input.up_ld = 1, invalid, "input->up_ld");
    REFUSES_NORM(c.input.residual = shifted(residual, 2), align, "input->residual");
    REFUSES_NORM(c.input.residual_ld = COLS - 1, ld, "input->residual_ld");
    REFUSES_NORM(c.input.residual = NULL, invalid, "input->residual_ld");
    REFUSES_NORM((c.input.residual = NULL, c.input.residual_ld = 0), invalid, "input->sum");
    REFUSES_NORM(c.input.sum = NULL, null, "input->sum");
    REFUSES_NORM(c.input.sum_ld = COLS - 1, ld, "input->sum_ld");
    REFUSES_NORM((c.input.residual = c.input.sum, c.input.residual_ld = COLS), ld, "input->sum_ld");
    REFUSES_NORM(c.workspace = NULL, null, "workspace");
    REFUSES_NORM(c.workspace = shifted(space, 32), align, "workspace");
    REFUSES_NORM(c.workspace_bytes = 256, KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes");
    REFUSES(good_norm, krn_rmsnorm_quantize, c.codes.codes = NULL, null, "codes");
    call c = good_norm(context);
    refused(krn_rmsnorm(context, NULL, ROWS, COLS, &c.input, KRN_TYPE_F32, target, LD, space, SPACE), null, "options");
    refused(krn_rmsnorm(context, &c.options, ROWS, COLS, NULL, KRN_TYPE_F32, target, LD, space, SPACE), null, "input");
    refused(krn_rmsnorm_quantize(context, &c.options, ROWS, COLS, &c.input, NULL, space, SPACE), null, "codes");
    c.target_type = KRN_TYPE_U8;
    refused(apply(&c), invalid, "target_type");
    c = good_norm(context);
    c.target = NULL;
    refused(apply(&c), null, "target");
    c.target = shifted(target, 2);
    refused(apply(&c), align, "target");
    c = good_norm(context);
    c.target_ld = COLS - 1;
    refused(apply(&c), ld, "target_ld");
}

static void results_are_checked(krn_context *context) {
    const krn_status invalid = KRN_ERROR_INVALID_ARGUMENT;
    quantizing *const step = krn_rmsnorm_quantize;
    REFUSES(good_norm, step, c.codes.struct_size = 8, KRN_ERROR_STRUCT_SIZE, "codes->struct_size");
    REFUSES(good_norm, step, c.codes.reserved = 1, invalid, "codes->reserved");
    REFUSES(good_norm, step, c.quantize.type = KRN_TYPE_F32, invalid, "options->type");
    REFUSES(good_norm, step, c.quantize.clip_ratio = 2, invalid, "options->clip_ratio");
    REFUSES(good_norm, step, c.quantize.granularity = KRN_GRANULARITY_TENSOR, invalid, "static_scale");
    REFUSES(good_norm, step, c.codes.codes_ld_bytes = COLS - 1, KRN_ERROR_LEADING_DIMENSION, "codes_ld_bytes");
    REFUSES(good_norm, step, c.codes.scales = NULL, KRN_ERROR_NULL_ARGUMENT, "scales");
    REFUSES(good_norm, step, c.codes.zero_points = NULL, KRN_ERROR_NULL_ARGUMENT, "zero_points");
    REFUSES(good_norm, step, c.codes.static_scale = -1, invalid, "codes->static_scale");
    REFUSES(good_norm, step, c.codes.static_scale = NAN, invalid, "codes->static_scale");
    REFUSES(good_norm, step, c.codes.static_scale = INFINITY, invalid, "codes->static_scale");
    REFUSES(good_norm, step, c.codes.static_scale = 1e-40f, invalid, "codes->static_scale");
    REFUSES(good_norm, step, c.codes.static_zero_point = 1, invalid, "codes->static_zero_point");
    REFUSES(good_norm, step, (c.codes.static_scale = 1, c.codes.static_zero_point = 256), invalid,
            "codes->static_zero_point");
    REFUSES(good_norm, step, (c.codes.static_scale = 1, c.codes.static_zero_point = 7, c.quantize.asymmetric = 0),
            invalid, "codes->static_zero_point");
}

static void other_steps_refuse(krn_context *context) {
    const krn_status null = KRN_ERROR_NULL_ARGUMENT, invalid = KRN_ERROR_INVALID_ARGUMENT;
    REFUSES(good_gate, krn_silu_mul_quantize, c.options.gate_layout = 3, invalid, "options->gate_layout");
    REFUSES(good_gate, krn_silu_mul_quantize, c.options.gate_layout = -1, invalid, "options->gate_layout");
    REFUSES(good_gate, krn_silu_mul_quantize, c.options.gelu_tanh = 1, invalid, "options->gelu_tanh");
    REFUSES(good_gate, krn_gelu_mul_quantize, c.options.gelu_tanh = 2, invalid, "options->gelu_tanh");
    REFUSES(good_gate, krn_silu_mul_quantize, c.options.weight = vector, invalid, "options->weight");
    REFUSES(good_gate, krn_silu_mul_quantize, c.options.bias = vector, invalid, "options->bias");
    REFUSES(good_gate, krn_silu_mul_quantize, c.options.eps = 1, invalid, "options->eps");
    REFUSES(good_gate, krn_silu_mul_quantize, c.input.up = NULL, null, "input->up");
    REFUSES(good_gate, krn_silu_mul_quantize, c.input.up_ld = COLS - 1, KRN_ERROR_LEADING_DIMENSION, "input->up_ld");
    REFUSES(good_gate, krn_silu_mul_quantize, c.options.gate_layout = KRN_GATE_HALVES, KRN_ERROR_LEADING_DIMENSION,
            "input->source_ld");
    REFUSES(good_gate, krn_silu_mul_quantize, (c.options.gate_layout = KRN_GATE_HALVES, c.input.source_ld = 2 * COLS),
            invalid, "input->up");
    REFUSES(good_gate, krn_silu_mul_quantize, c.input.residual = residual, invalid, "input->residual");
    REFUSES(good_gate, krn_silu_mul_hadamard_quantize, (void)c, null, "options->rotation");
    REFUSES(good_rotation, krn_smooth_quantize, c.options.rotation = NULL, null, "options->weight");
    REFUSES(good_rotation, krn_hadamard_quantize, c.options.weight = vector, invalid, "options->weight");
    REFUSES(good_rotation, krn_hadamard_quantize, c.rotation.struct_size = 0, KRN_ERROR_STRUCT_SIZE, "struct_size");
    REFUSES(good_rotation, krn_hadamard_quantize, c.rotation.n = 128, KRN_ERROR_SHAPE, "options->rotation->n");
    REFUSES(good_rotation, krn_hadamard_quantize, c.rotation.n = 6, KRN_ERROR_UNSUPPORTED, "6");
}

static void empty_tensors_are_fine(krn_context *context) {
    call c = good_norm(context);
    c.rows = 0;
    c.input.source = c.input.residual = NULL;
    c.input.residual_ld = 0;
    c.input.sum = NULL;
    c.input.sum_ld = 0;
    c.codes.codes = NULL;
    c.workspace = NULL;
    CHECK_OK(quantize(krn_rmsnorm_quantize, &c));
    nothing_was_written("no rows");
    c = good_gate(context);
    c.cols = 0;
    c.workspace = NULL;
    c.input.source = c.input.up = NULL;
    CHECK_OK(quantize(krn_silu_mul_quantize, &c));
    for (int i = 0; i < ROWS; i++)
        CHECK(scales[i] == 0 && zero_points[i] == 0, "scale %d of a row of no elements", i);
    int64_t bytes = -1;
    CHECK_OK(krn_fused_workspace_size(context, 0, &bytes));
    CHECK(bytes == 0, "%lld bytes of workspace for nothing", (long long)bytes);
    CHECK_STATUS(krn_fused_workspace_size(context, 0, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_fused_workspace_size(NULL, 0, &bytes), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_fused_workspace_size(context, -1, &bytes), KRN_ERROR_SHAPE);
}

int main(void) {
    krn_context *context = context_of(KRN_ISA_AUTO, 2);
    norms_refuse(context);
    results_are_checked(context);
    other_steps_refuse(context);
    empty_tensors_are_fine(context);
    call c = good_norm(context);
    CHECK_OK(quantize(krn_layernorm_quantize, &c));
    c = good_gate(context);
    CHECK_OK(quantize(krn_gelu_mul_quantize, &c));
    c = good_rotation(context);
    CHECK_OK(quantize(krn_hadamard_quantize, &c));
    krn_context_destroy(context);
    puts("fused arguments: ok");
    return 0;
}
