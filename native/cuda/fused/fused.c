/* The door of the fused steps on devices. */
#include "kernels/cuda_fused.h"

#include "cuda/common/arguments.h"
#include "cuda/fused/fused_params.h"
#include "cuda/hadamard/rotation.h"
#include "cuda/quantize/quantize_codes.h"
#include "fused/fused_arguments.h"

_Static_assert(sizeof(krn_cuda_rotated_params) <= 4096, "parameters of a kernel have 4 KiB at most");

static const krn_fused_step RMSNORM = {.op = KRN_FUSED_RMSNORM};
static const krn_fused_step LAYERNORM = {.op = KRN_FUSED_LAYERNORM};
static const krn_fused_step SILU_MUL = {.op = KRN_FUSED_GATE};
static const krn_fused_step GELU_MUL = {.op = KRN_FUSED_GATE, .is_gelu = 1};
static const krn_fused_step MULTIPLY = {.op = KRN_FUSED_MULTIPLY, .needs_weight = 1};
static const krn_fused_step HADAMARD = {.op = KRN_FUSED_MULTIPLY, .rotates = 1};
static const krn_fused_step RMSNORM_HADAMARD = {.op = KRN_FUSED_RMSNORM, .rotates = 1};
static const krn_fused_step SILU_MUL_HADAMARD = {.op = KRN_FUSED_GATE, .rotates = 1};

/* A call, but for its result. */
typedef struct {
    const krn_fused_step *step;
    krn_cuda_context *context;
    krn_fused_arguments arguments;
    void *stream;
} fused_call;

static krn_status check_input(const fused_call *c) {
    const krn_fused_arguments *a = &c->arguments;
    if (c->context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_status status = krn_fused_check_matrices(c->step, a);
    if (status == KRN_OK)
        status = krn_cuda_check_sizes(a->rows, a->cols);
    const struct {
        const char *name;
        const void *data;
    } tensors[] = {{"options->weight", a->options != NULL ? a->options->weight : NULL},
                   {"options->bias", a->options != NULL ? a->options->bias : NULL},
                   {"input->source", a->input != NULL ? a->input->source : NULL},
                   {"input->up", a->input != NULL ? a->input->up : NULL},
                   {"input->residual", a->input != NULL ? a->input->residual : NULL},
                   {"input->sum", a->input != NULL ? a->input->sum : NULL}};
    for (size_t i = 0; status == KRN_OK && i < sizeof tensors / sizeof tensors[0]; i++)
        if (tensors[i].data != NULL)
            status = krn_cuda_check_tensor(tensors[i].name, tensors[i].data, a->rows * a->cols);
    return status;
}

static krn_cuda_matrix matrix_of(const krn_fused_input *in, const void *data, int64_t ld) {
    return (krn_cuda_matrix){(void *)(uintptr_t)data, data == NULL ? 0 : ld * krn_element_bytes(in->type)};
}

static krn_cuda_fused_params params_of(const fused_call *c) {
    const krn_fused_options *options = c->arguments.options;
    const krn_fused_input *in = c->arguments.input;
    const krn_fused_op op = c->step->op;
    krn_cuda_fused_params p = {
        .source = matrix_of(in, in->source, in->source_ld),
        .second =
            op == KRN_FUSED_GATE ? matrix_of(in, in->up, in->up_ld) : matrix_of(in, in->residual, in->residual_ld),
        .sum = matrix_of(in, in->sum, in->sum_ld),
        .weight = options->weight,
        .bias = options->bias,
        .eps = options->eps,
        .op = op == KRN_FUSED_GATE       ? KRN_CUDA_STEP_GATE
              : op == KRN_FUSED_MULTIPLY ? KRN_CUDA_STEP_MULTIPLY
                                         : KRN_CUDA_STEP_NORM,
        .is_layernorm = op == KRN_FUSED_LAYERNORM,
        .gate = !c->step->is_gelu    ? KRN_CUDA_GATE_SILU
                : options->gelu_tanh ? KRN_CUDA_GATE_GELU_TANH
                                     : KRN_CUDA_GATE_GELU,
        .is_interleaved = options->gate_layout == KRN_GATE_INTERLEAVED,
        .vector_type = options->vector_type == 0 ? KRN_TYPE_F32 : options->vector_type,
    };
    int64_t up_offset = 0;
    if (op == KRN_FUSED_GATE && options->gate_layout == KRN_GATE_HALVES) {
        up_offset = c->arguments.cols * krn_element_bytes(in->type);
        p.second = (krn_cuda_matrix){(unsigned char *)p.source.data + up_offset, p.source.ld_bytes};
    }
    p.is_aligned =
        p.source.ld_bytes % 16 == 0 && p.second.ld_bytes % 16 == 0 && p.sum.ld_bytes % 16 == 0 && up_offset % 16 == 0;
    return p;
}

static int64_t shared_room(const krn_cuda_context *context) {
    return context->properties.shared_bytes_per_block - KRN_CUDA_ROW_SCRATCH_BYTES - 16;
}

/* What a row has in shared memory, if it is to have anything and that fits. */
static void stage(const fused_call *c, krn_cuda_fused_params *p, int is_wanted, int64_t row_bytes) {
    p->is_staged = is_wanted && row_bytes <= shared_room(c->context);
    p->plan = krn_cuda_plan_rows(c->arguments.rows, (int32_t)c->arguments.cols, p->is_staged ? (int32_t)row_bytes : 0);
}

static krn_status launch(const fused_call *c, const krn_cuda_fused_params *p) {
    static const char *const names[] = {
        [KRN_CUDA_STEP_NORM] = "norm", [KRN_CUDA_STEP_MULTIPLY] = "multiply", [KRN_CUDA_STEP_GATE] = "gate"};
    char name[KRN_CUDA_NAME_BYTES];
    const uint32_t grid[3] = {krn_cuda_row_blocks(&p->plan), 1, 1};
    krn_cuda_kernel_name(name, names[p->op], c->arguments.input->type);
    return krn_cuda_run(c->context, name, grid, krn_cuda_row_threads(&p->plan), krn_cuda_row_shared_bytes(&p->plan), p,
                        sizeof *p, c->stream);
}

static krn_status launch_rotated(const fused_call *c, krn_cuda_rotated_params *p) {
    const krn_fused_arguments *a = &c->arguments;
    uint32_t threads = 0;
    const krn_status status = krn_cuda_rotation_threads(&p->rotation, a->cols, &threads);
    if (status != KRN_OK)
        return status;
    const int32_t cols = (int32_t)a->cols, tile_bytes = (cols + 31) / 32 * KRN_CUDA_ROTATION_ROW_BYTES;
    const int32_t input_bytes =
        p->step.op == KRN_CUDA_STEP_GATE ? 0 : cols * (int32_t)krn_element_bytes(a->input->type);
    /* The input of a norm is read once more from memory where there is no room for both. */
    p->step.is_staged = input_bytes > 0 && tile_bytes + input_bytes <= shared_room(c->context);
    if (tile_bytes > shared_room(c->context))
        return krn_fail(KRN_ERROR_UNSUPPORTED, "cols is %d, which takes %d bytes of shared memory; %s has %d", cols,
                        tile_bytes + KRN_CUDA_ROW_SCRATCH_BYTES, c->context->properties.name,
                        c->context->properties.shared_bytes_per_block);
    if (threads < 128 && cols > 1024)
        threads = 128;
    p->step.plan =
        (krn_cuda_row_plan){a->rows, cols, (int32_t)threads, 1, tile_bytes + (p->step.is_staged ? input_bytes : 0)};
    char name[KRN_CUDA_NAME_BYTES];
    const uint32_t grid[3] = {krn_cuda_row_blocks(&p->step.plan), 1, 1};
    const uint32_t shared_bytes = (krn_cuda_row_shared_bytes(&p->step.plan) + 15) / 16 * 16;
    krn_cuda_kernel_name(name, "rotate", a->input->type);
    return krn_cuda_run(c->context, name, grid, threads, shared_bytes, p, sizeof *p, c->stream);
}

static krn_status quantize(const fused_call *c, const krn_fused_codes *codes, int32_t *device_flags) {
    const krn_fused_arguments *a = &c->arguments;
    krn_cuda_rotated_params p = {0};
    krn_status status = check_input(c);
    if (status == KRN_OK)
        status = krn_fused_check_codes(a, codes);
    if (status == KRN_OK)
        status = krn_cuda_check_tensor("codes->codes", codes->codes, a->rows * a->cols);
    if (status == KRN_OK)
        status = krn_cuda_check_flags(device_flags);
    if (status == KRN_OK && c->step->rotates)
        status = krn_cuda_rotation_of(a->options->rotation, &p.rotation);
    if (status == KRN_OK && c->step->rotates && a->cols % p.rotation.n != 0)
        status = krn_fail(KRN_ERROR_SHAPE, "cols is %lld, not a multiple of options->rotation->n, %d",
                          (long long)a->cols, p.rotation.n);
    if (status != KRN_OK)
        return status;
    const krn_quantize_scheme scheme = krn_quantize_scheme_of(codes->options);
    const int is_static = codes->static_scale != 0;
    const int32_t zero = is_static && scheme.asymmetric ? codes->static_zero_point : scheme.zero;
    if (a->rows == 0 || a->cols == 0)
        return krn_cuda_fill_scales(c->context, codes->options, a->rows, a->cols, codes->scales, codes->zero_points,
                                    codes->static_scale, zero, c->stream);
    p.step = params_of(c);
    p.step.has_codes = 1;
    p.step.codes = krn_cuda_codes_of(codes->options, a->cols, codes->codes, codes->codes_ld_bytes, codes->scales,
                                     codes->zero_points, device_flags);
    p.step.codes.is_static = is_static;
    p.step.codes.static_scale = codes->static_scale;
    p.step.codes.static_zero_point = zero;
    if (c->step->rotates)
        return launch_rotated(c, &p);
    stage(c, &p.step, 1, a->cols * (p.step.op == KRN_CUDA_STEP_GATE ? 4 : krn_element_bytes(a->input->type)));
    return launch(c, &p.step);
}

static krn_status apply(const fused_call *c, int32_t target_type, void *target, int64_t target_ld) {
    const krn_fused_arguments *a = &c->arguments;
    krn_status status = check_input(c);
    if (status == KRN_OK)
        status = krn_fused_check_target(a, target_type, target, target_ld);
    if (status == KRN_OK)
        status = krn_cuda_check_tensor("target", target, a->rows * a->cols);
    if (status != KRN_OK || a->rows == 0 || a->cols == 0)
        return status;
    krn_cuda_fused_params p = params_of(c);
    p.target = (krn_cuda_matrix){target, target_ld * krn_element_bytes(target_type)};
    p.target_type = target_type;
    p.is_target_aligned = p.target.ld_bytes % 16 == 0;
    if (p.op != KRN_CUDA_STEP_GATE) {
        stage(c, &p, p.op == KRN_CUDA_STEP_NORM, a->cols * krn_element_bytes(a->input->type));
        return launch(c, &p);
    }
    /* Results lie where other threads still look for gates and ups. */
    const int is_shifted = p.is_interleaved && target == a->input->source;
    stage(c, &p, is_shifted, 4 * a->cols);
    if (is_shifted && !p.is_staged)
        return krn_fail(KRN_ERROR_UNSUPPORTED,
                        "cols is %lld, too wide to put results in place of gates and ups that take turns",
                        (long long)a->cols);
    return launch(c, &p);
}

#define QUANTIZES(name, what)                                                                                          \
    krn_status krn_cuda_##name##_quantize(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,   \
                                          int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,    \
                                          int32_t *device_flags, void *stream) {                                       \
        const fused_call call = {&what, context, {NULL, options, rows, cols, input, NULL, 0}, stream};                 \
        return quantize(&call, codes, device_flags);                                                                   \
    }

#define APPLIES(name, what)                                                                                            \
    krn_status krn_cuda_##name(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,              \
                               int64_t cols, const krn_fused_input *input, int32_t target_type, void *target,          \
                               int64_t target_ld, void *stream) {                                                      \
        const fused_call call = {&what, context, {NULL, options, rows, cols, input, NULL, 0}, stream};                 \
        return apply(&call, target_type, target, target_ld);                                                           \
    }

QUANTIZES(rmsnorm, RMSNORM)
QUANTIZES(layernorm, LAYERNORM)
QUANTIZES(silu_mul, SILU_MUL)
QUANTIZES(gelu_mul, GELU_MUL)
QUANTIZES(smooth, MULTIPLY)
QUANTIZES(hadamard, HADAMARD)
QUANTIZES(rmsnorm_hadamard, RMSNORM_HADAMARD)
QUANTIZES(silu_mul_hadamard, SILU_MUL_HADAMARD)

APPLIES(rmsnorm, RMSNORM)
APPLIES(layernorm, LAYERNORM)
APPLIES(silu_mul, SILU_MUL)
APPLIES(gelu_mul, GELU_MUL)
APPLIES(multiply, MULTIPLY)
