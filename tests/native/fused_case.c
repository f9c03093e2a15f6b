#include "fused_case.h"

#include "quantize_case.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double UNIT = 0x1p-24;

static int64_t bytes_of(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

static int is_gate(const fused_case *c) {
    return c->step == STEP_SILU_MUL || c->step == STEP_GELU_MUL || c->step == STEP_SILU_MUL_HADAMARD;
}

static int is_norm(const fused_case *c) {
    return c->step == STEP_RMSNORM || c->step == STEP_LAYERNORM || c->step == STEP_RMSNORM_HADAMARD;
}

static int rotates(const fused_case *c) { return c->step >= STEP_HADAMARD; }

/* A float of about this size in a type, by the upper bits of its binary32 or by way of integers for f16. */
static void put(int32_t type, void *data, int64_t index, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (type == KRN_TYPE_F32) {
        ((uint32_t *)data)[index] = bits;
    } else if (type == KRN_TYPE_BF16) {
        ((uint16_t *)data)[index] = (uint16_t)(bits >> 16);
    } else {
        const int32_t exponent = (int32_t)(bits >> 23 & 0xFF) - 127 + 15;
        const uint32_t magnitude = exponent <= 0 || exponent > 30 ? 0 : (uint32_t)exponent << 10 | (bits >> 13 & 0x3FF);
        ((uint16_t *)data)[index] = (uint16_t)((bits >> 16 & 0x8000) | magnitude);
    }
}

/* Activations of a size, or zeros, or tiny ones; in the padding NaN. */
static void *random_matrix(test_random *random, const fused_case *c, int64_t width, int64_t ld, float size) {
    const int32_t type = c->input.type;
    const int64_t elems = c->rows == 0 ? 0 : (c->rows - 1) * ld + width;
    void *data = guarded_allocate(elems * bytes_of(type), c->side);
    const float offset = random_between(random, 0, 3) == 0 ? 10 * size : 0;
    for (int64_t i = 0; i < elems; i++) {
        const int64_t row = i / ld;
        float value = size * random_activation(random) + offset;
        if (row % 7 == 5)
            value = 0;
        else if (row % 7 == 6)
            value *= 1e-20f;
        if (i % ld >= width)
            value = NAN;
        put(type, data, i, value);
        if (i % ld >= width && type == KRN_TYPE_F16)
            ((uint16_t *)data)[i] = 0x7E00;
    }
    return data;
}

static const void *random_vector(test_random *random, const fused_case *c, float middle) {
    void *data = guarded_allocate(c->cols * bytes_of(c->options.vector_type), c->side);
    for (int64_t i = 0; i < c->cols; i++)
        put(c->options.vector_type, data, i, middle + 0.3f * random_activation(random));
    return data;
}

static int64_t some_padding(test_random *random) { return random_next(random) & 1 ? 0 : random_between(random, 1, 9); }

static void make_quantization(fused_case *c, test_random *random) {
    static const int32_t types[] = {KRN_TYPE_S8, KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
    static const int32_t scale_types[] = {0, 0, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t groups[] = {16, 31, 64, 128, 1000, 2049};
    c->quantize = (krn_quantize_options){
        .struct_size = sizeof c->quantize,
        .type = types[random_between(random, 0, 5)],
        .granularity = (int32_t)random_between(random, KRN_GRANULARITY_CHANNEL, KRN_GRANULARITY_GROUP),
        .asymmetric = random_between(random, 0, 2) == 0,
        .clip_ratio = random_between(random, 0, 2) == 0 ? 0.8f : 0,
        .scale_type = scale_types[random_between(random, 0, 4)],
    };
    if (c->quantize.type == KRN_TYPE_C4)
        c->quantize.asymmetric = 0;
    if (c->quantize.granularity == KRN_GRANULARITY_GROUP)
        c->quantize.group_size = groups[random_between(random, 0, 5)];
    if (random_between(random, 0, 4) == 0) {
        c->static_scale = 0.02f * (float)random_between(random, 1, 20);
        if (random_next(random) & 1)
            c->quantize.granularity = KRN_GRANULARITY_TENSOR;
        const int is_signed = c->quantize.type == KRN_TYPE_S8 || c->quantize.type == KRN_TYPE_S4;
        const int half = c->quantize.type == KRN_TYPE_S8 || c->quantize.type == KRN_TYPE_U8 ? 128 : 8;
        if (c->quantize.asymmetric)
            c->static_zero_point = (int32_t)random_between(random, 0, 2 * half - 1) - (is_signed ? half : 0);
    }
    c->codes_ld_bytes = krn_type_row_bytes(c->quantize.type, c->cols) + some_padding(random);
}

fused_case fused_case_make(test_random *random, int64_t max_elems) {
    static const int32_t floats[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t orders[] = {1, 2, 16, 64, 12, 28, 128, 20};
    static const float sizes[] = {1, 1, 1, 0.01f, 30};
    fused_case c = {.step = (fused_step)random_between(random, 0, NUM_STEPS - 1),
                    .side = random_next(random) & 1 ? GUARD_START : GUARD_END};
    c.cols = random_between(random, 1, random_next(random) & 1 ? 200 : max_elems);
    if (rotates(&c)) {
        c.rotation = (krn_hadamard_options){.struct_size = sizeof c.rotation,
                                            .normalized = (int32_t)random_between(random, 0, 1),
                                            .n = orders[random_between(random, 0, 7)]};
        c.cols = (c.cols / c.rotation.n + 1) * c.rotation.n;
    }
    c.rows = random_between(random, 1, max_elems / c.cols + 2);
    c.options =
        (krn_fused_options){.struct_size = sizeof c.options, .vector_type = floats[random_between(random, 0, 2)]};
    c.input = (krn_fused_input){.struct_size = sizeof c.input, .type = floats[random_between(random, 0, 2)]};
    const float size = sizes[random_between(random, 0, 4)];
    int64_t width = c.cols;
    if (is_gate(&c)) {
        c.options.gate_layout = (int32_t)random_between(random, KRN_GATE_SEPARATE, KRN_GATE_INTERLEAVED);
        c.options.gelu_tanh = c.step == STEP_GELU_MUL ? (int32_t)random_between(random, 0, 1) : 0;
        width *= c.options.gate_layout == KRN_GATE_SEPARATE ? 1 : 2;
        if (c.options.gate_layout == KRN_GATE_SEPARATE) {
            c.input.up_ld = c.cols + some_padding(random);
            c.input.up = random_matrix(random, &c, c.cols, c.input.up_ld, 1);
        }
    }
    c.input.source_ld = width + some_padding(random);
    c.input.source = random_matrix(random, &c, width, c.input.source_ld, size);
    if (is_norm(&c)) {
        c.options.eps = random_next(random) & 1 ? 1e-5f : 1e-6f;
        if (random_between(random, 0, 3) > 0)
            c.options.weight = random_vector(random, &c, 1);
        if (random_between(random, 0, 2) == 0)
            c.options.bias = random_vector(random, &c, 0);
        if (random_next(random) & 1) {
            c.input.residual_ld = c.cols + some_padding(random);
            c.input.residual = random_matrix(random, &c, c.cols, c.input.residual_ld, size);
            c.input.sum_ld = c.cols + some_padding(random);
        }
    }
    if (c.step == STEP_MULTIPLY)
        c.options.weight = random_vector(random, &c, 1);
    make_quantization(&c, random);
    return c;
}

static void *workspace_of(const fused_case *c, krn_context *context, int64_t *bytes) {
    CHECK_OK(krn_fused_workspace_size(context, c->cols, bytes));
    return guarded_allocate(*bytes, GUARD_START);
}

static fused_result buffers_of(const fused_case *c) {
    fused_result r = {0};
    CHECK_OK(krn_quantize_scale_count(&c->quantize, c->rows, c->cols, &r.scale_count));
    if (c->rows > 0) {
        r.codes_bytes = (c->rows - 1) * c->codes_ld_bytes + krn_type_row_bytes(c->quantize.type, c->cols);
        if (c->input.residual != NULL)
            r.sum_bytes = ((c->rows - 1) * c->input.sum_ld + c->cols) * bytes_of(c->input.type);
    }
    r.codes = guarded_allocate(r.codes_bytes, c->side);
    r.scales = guarded_allocate(r.scale_count * 4, c->side);
    if (c->quantize.type != KRN_TYPE_C4)
        r.zero_points = guarded_allocate(r.scale_count * 4, c->side);
    if (c->input.residual != NULL)
        r.sum = guarded_allocate(r.sum_bytes, c->side);
    return r;
}

typedef krn_status quantizing(krn_context *, const krn_fused_options *, int64_t, int64_t, const krn_fused_input *,
                              const krn_fused_codes *, void *, int64_t);
typedef krn_status applying(krn_context *, const krn_fused_options *, int64_t, int64_t, const krn_fused_input *,
                            int32_t, void *, int64_t, void *, int64_t);

fused_result fused_case_run(const fused_case *c, krn_context *context) {
    static quantizing *const functions[NUM_STEPS] = {
        krn_rmsnorm_quantize, krn_layernorm_quantize, krn_silu_mul_quantize,         krn_gelu_mul_quantize,
        krn_smooth_quantize,  krn_hadamard_quantize,  krn_rmsnorm_hadamard_quantize, krn_silu_mul_hadamard_quantize,
    };
    fused_result r = buffers_of(c);
    int64_t bytes;
    void *workspace = workspace_of(c, context, &bytes);
    krn_fused_options options = c->options;
    options.rotation = rotates(c) ? &c->rotation : NULL;
    krn_fused_input input = c->input;
    input.sum = r.sum;
    const krn_fused_codes codes = {.struct_size = sizeof codes,
                                   .static_scale = c->static_scale,
                                   .static_zero_point = c->static_zero_point,
                                   .options = &c->quantize,
                                   .codes = r.codes,
                                   .codes_ld_bytes = c->codes_ld_bytes,
                                   .scales = r.scales,
                                   .zero_points = r.zero_points};
    r.status = functions[c->step](context, &options, c->rows, c->cols, &input, &codes, workspace, bytes);
    return r;
}

static void rotate(const fused_case *c, krn_context *context, float *values) {
    if (!rotates(c))
        return;
    int64_t bytes;
    CHECK_OK(krn_hadamard_workspace_size(context, &c->rotation, &bytes));
    CHECK_OK(krn_hadamard(context, &c->rotation, c->rows, c->cols, KRN_TYPE_F32, values, c->cols, values, c->cols,
                          guarded_allocate(bytes, GUARD_START), bytes));
}

fused_result fused_case_run_parts(const fused_case *c, krn_context *context, float *values) {
    static applying *const functions[NUM_STEPS] = {krn_rmsnorm,  krn_layernorm, krn_silu_mul, krn_gelu_mul,
                                                   krn_multiply, krn_multiply,  krn_rmsnorm,  krn_silu_mul};
    fused_result r = buffers_of(c);
    int64_t bytes;
    void *workspace = workspace_of(c, context, &bytes);
    krn_fused_options options = c->options;
    float *ones = guarded_allocate(c->cols * 4, GUARD_END);
    for (int64_t i = 0; i < c->cols; i++)
        ones[i] = 1;
    if (c->step == STEP_HADAMARD) {
        options.weight = ones;
        options.vector_type = KRN_TYPE_F32;
    }
    krn_fused_input input = c->input;
    input.sum = r.sum;
    CHECK_OK(functions[c->step](context, &options, c->rows, c->cols, &input, KRN_TYPE_F32, values, c->cols, workspace,
                                bytes));
    if (c->static_scale != 0)
        return r;
    const size_t value_bytes = (size_t)(c->rows * c->cols) * 4;
    float *rotated = guarded_allocate((int64_t)value_bytes, GUARD_END);
    memcpy(rotated, values, value_bytes);
    rotate(c, context, rotated);
    CHECK_OK(krn_quantize(context, &c->quantize, c->rows, c->cols, KRN_TYPE_F32, rotated, c->cols, r.codes,
                          c->codes_ld_bytes, r.scales, r.zero_points, NULL));
    return r;
}

void fused_case_compare(const fused_case *c, const fused_result *expected, const fused_result *actual,
                        const char *who) {
    CHECK(expected->status == actual->status, "status of %s, step %d: %d and %d", who, c->step, expected->status,
          actual->status);
    const size_t scale_bytes = (size_t)expected->scale_count * 4;
    CHECK(memcmp(expected->scales, actual->scales, scale_bytes) == 0, "scales of %s, step %d, %lld x %lld", who,
          c->step, (long long)c->rows, (long long)c->cols);
    CHECK(expected->zero_points == NULL || memcmp(expected->zero_points, actual->zero_points, scale_bytes) == 0,
          "zero points of %s, step %d", who, c->step);
    CHECK(memcmp(expected->codes, actual->codes, (size_t)expected->codes_bytes) == 0,
          "codes of %s, step %d, %lld x %lld, type %d", who, c->step, (long long)c->rows, (long long)c->cols,
          c->input.type);
    CHECK(expected->sum == NULL || memcmp(expected->sum, actual->sum, (size_t)expected->sum_bytes) == 0,
          "sum of %s, step %d", who, c->step);
}

/* The row that a norm is of, exactly as it was written, and checked. */
static void normed_row(const fused_case *c, const fused_result *r, int64_t row, double *x) {
    for (int64_t i = 0; i < c->cols; i++) {
        const double a = quantize_float_at(c->input.type, c->input.source, row * c->input.source_ld + i);
        x[i] = a;
        if (c->input.residual == NULL)
            continue;
        const double b = quantize_float_at(c->input.type, c->input.residual, row * c->input.residual_ld + i);
        x[i] = quantize_float_at(c->input.type, r->sum, row * c->input.sum_ld + i);
        const double unit = c->input.type == KRN_TYPE_F32 ? 0x1p-24 : c->input.type == KRN_TYPE_F16 ? 0x1p-11 : 0x1p-8;
        /* Two roundings, to f32 and to the type; the smallest steps of a type are those of its subnormals. */
        const double bound = fabs(a + b) * (unit + UNIT) * 1.001 + (c->input.type == KRN_TYPE_F16 ? 0x1p-25 : 0x1p-134);
        CHECK(fabs(x[i] - (a + b)) <= bound, "sum[%lld, %lld] is %a, not %a", (long long)row, (long long)i, x[i],
              a + b);
    }
}

static double vector_at(const fused_case *c, const void *vector, int64_t i, double otherwise) {
    return vector == NULL ? otherwise : quantize_float_at(c->options.vector_type, vector, i);
}

static void check_norm(const fused_case *c, const double *x, int64_t row, const float *values) {
    const double n = (double)c->cols, additions = n / 64 + 8;
    double mean = 0, magnitude = 0, variance = 0;
    for (int64_t i = 0; c->step == STEP_LAYERNORM && i < c->cols; i++) {
        mean += x[i] / n;
        magnitude += fabs(x[i]) / n;
    }
    for (int64_t i = 0; i < c->cols; i++)
        variance += (x[i] - mean) * (x[i] - mean) / n;
    const double inverse = 1 / sqrt(variance + (double)c->options.eps);
    /* Of the sum in lanes, its division, and the first addition of x - mean. */
    const double mean_error = (additions + 1) * UNIT * magnitude;
    /* Half of what the radicand is off, and roundings of the root and of the division. */
    const double inverse_error =
        ((additions + 4) * UNIT + mean_error * mean_error * inverse * inverse) / 2 * 1.01 + 3 * UNIT;
    for (int64_t i = 0; i < c->cols; i++) {
        const double weight = vector_at(c, c->options.weight, i, 1), bias = vector_at(c, c->options.bias, i, 0);
        const double d = x[i] - mean, y = d * weight * inverse;
        const double bound = fabs(weight) * inverse * (mean_error + UNIT * fabs(d)) * 1.1 +
                             fabs(y) * (inverse_error + 3 * UNIT) + fabs(y + bias) * UNIT * 1.1 + 0x1p-140;
        CHECK(fabs((double)values[i] - (y + bias)) <= bound, "[%lld, %lld] of step %d is %a, not %a within %a",
              (long long)row, (long long)i, c->step, (double)values[i], y + bias, bound);
    }
}

static double gate_of(const fused_case *c, double g) {
    if (c->step != STEP_GELU_MUL)
        return g / (1 + exp(-g));
    if (c->options.gelu_tanh)
        return g / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g)));
    return g / 2 * erfc(-g / sqrt(2));
}

static void check_gate(const fused_case *c, int64_t row, const float *values) {
    const krn_fused_input *in = &c->input;
    for (int64_t i = 0; i < c->cols; i++) {
        const int64_t g_at = row * in->source_ld + (c->options.gate_layout == KRN_GATE_INTERLEAVED ? 2 * i : i);
        const double g = quantize_float_at(in->type, in->source, g_at);
        const double u =
            c->options.gate_layout == KRN_GATE_SEPARATE ? quantize_float_at(in->type, in->up, row * in->up_ld + i)
            : c->options.gate_layout == KRN_GATE_HALVES ? quantize_float_at(in->type, in->source, g_at + c->cols)
                                                        : quantize_float_at(in->type, in->source, g_at + 1);
        const double y = gate_of(c, g) * u;
        /* What the header says of the gates, and the product. */
        const double bound = 2.5 * UNIT * fabs(g * u) + UNIT * 1.01 * fabs(y) + 0x1p-118;
        CHECK(fabs((double)values[i] - y) <= bound, "[%lld, %lld] of step %d: gate %a, up %a gives %a, not %a",
              (long long)row, (long long)i, c->step, g, u, (double)values[i], y);
    }
}

void fused_case_check_values(const fused_case *c, const fused_result *result, const float *values) {
    double *x = guarded_allocate(c->cols * 8, GUARD_END);
    for (int64_t row = 0; row < c->rows; row++) {
        const float *made = values + row * c->cols;
        if (is_gate(c)) {
            check_gate(c, row, made);
            continue;
        }
        normed_row(c, result, row, x);
        if (is_norm(c)) {
            check_norm(c, x, row, made);
            continue;
        }
        for (int64_t i = 0; i < c->cols; i++) {
            const float exact = (float)(x[i] * vector_at(c, c->options.weight, i, 1));
            CHECK(made[i] == exact, "[%lld, %lld] is %a, not %a", (long long)row, (long long)i, (double)made[i],
                  (double)exact);
        }
    }
}

void fused_case_check_static(const fused_case *c, const fused_result *result, krn_context *context,
                             const float *values) {
    float *y = guarded_allocate(c->rows * c->cols * 4, GUARD_END);
    memcpy(y, values, (size_t)(c->rows * c->cols) * 4);
    rotate(c, context, y);
    const int32_t type = c->quantize.type;
    const int is_signed = type == KRN_TYPE_S8 || type == KRN_TYPE_S4,
              eight = type == KRN_TYPE_S8 || type == KRN_TYPE_U8;
    const int half = eight ? 128 : 8;
    const int zero = c->quantize.asymmetric ? c->static_zero_point : is_signed || type == KRN_TYPE_C4 ? 0 : half;
    const int low = c->quantize.asymmetric ? (is_signed ? -half : 0) : zero - half + 1;
    const int high = c->quantize.asymmetric ? low + 2 * half - 1 : zero + half - 1;
    const float inverse = 1 / c->static_scale;
    for (int64_t i = 0; i < result->scale_count; i++)
        CHECK(result->scales[i] == c->static_scale && (result->zero_points == NULL || result->zero_points[i] == zero),
              "scale %lld", (long long)i);
    for (int64_t i = 0; type != KRN_TYPE_C4 && i < c->rows * c->cols; i++) {
        const int64_t col = i % c->cols;
        const uint8_t *codes = result->codes + i / c->cols * c->codes_ld_bytes;
        int code = eight ? (is_signed ? (int8_t)codes[col] : codes[col]) : codes[col / 2] >> (col % 2 * 4) & 15;
        if (type == KRN_TYPE_S4 && code > 7)
            code -= 16;
        const double scaled = fmin(fmax((double)(y[i] * inverse), low - zero), high - zero);
        CHECK(code == (int)nearbyint(scaled) + zero, "code of %a is %d, not %d", (double)y[i], code,
              (int)nearbyint(scaled) + zero);
    }
}

void fused_case_poison(const fused_case *c, int64_t row, int64_t col, int is_nan) {
    const int64_t index = row * c->input.source_ld + col;
    void *source = (void *)(uintptr_t)c->input.source;
    if (c->input.type == KRN_TYPE_F32)
        ((uint32_t *)source)[index] = is_nan ? 0xFFC00000 : 0x7F800000;
    else
        ((uint16_t *)source)[index] =
            (uint16_t)(c->input.type == KRN_TYPE_F16 ? (is_nan ? 0x7E01 : 0xFC00) : (is_nan ? 0x7FC1 : 0xFF80));
}
