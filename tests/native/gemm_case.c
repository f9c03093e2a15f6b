#include "gemm_case.h"

#include "common/fma.h"
#include "common/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NESTED_BLOCK = 256 };

int64_t type_bytes(int32_t type) { return krn_type_row_bytes(type, 1); }

int is_integer_type(int32_t type) { return type == KRN_TYPE_S8 || type == KRN_TYPE_U8 || type == KRN_TYPE_S4; }

static void put_float(int32_t type, void *data, int64_t index, float value) {
    if (type == KRN_TYPE_F32)
        ((float *)data)[index] = value;
    else
        ((uint16_t *)data)[index] = type == KRN_TYPE_F16 ? krn_f32_to_f16(value) : krn_f32_to_bf16(value);
}

double float_element(int32_t type, const void *data, int64_t index) {
    if (type == KRN_TYPE_F32)
        return ((const float *)data)[index];
    const uint16_t bits = ((const uint16_t *)data)[index];
    return type == KRN_TYPE_F16 ? krn_f16_to_f32(bits) : krn_bf16_to_f32(bits);
}

/* The last row has no padding behind it: the guard page follows its last element. */
static int64_t tensor_elems(int64_t rows, int64_t width, int64_t ld) { return rows == 0 ? 0 : (rows - 1) * ld + width; }

static void *random_floats(test_random *random, int32_t type, int64_t count, guard_side side) {
    void *data = guarded_allocate(count * type_bytes(type), side);
    for (int64_t i = 0; i < count; i++)
        put_float(type, data, i, random_activation(random));
    return data;
}

static void make_tables(gemm_case *c, test_random *random) {
    const gemm_shape *s = &c->shape;
    if (s->format == KRN_TYPE_C4) {
        c->codebook = guarded_allocate(16 * 4, s->side);
        for (int i = 0; i < 16; i++)
            c->codebook[i] = s->seed % 2 == 0 ? krn_nf4_codebook()[i] : random_activation(random);
    }
    if (s->scale_type == KRN_TYPE_U8) {
        c->scale_map = guarded_allocate(256 * 4, s->side);
        for (int i = 0; i < 256; i++)
            c->scale_map[i] = random_activation(random);
        const int64_t nested = (c->num_scales + NESTED_BLOCK - 1) / NESTED_BLOCK;
        c->nested_scales = guarded_allocate(nested * 4, s->side);
        for (int64_t i = 0; i < nested; i++)
            c->nested_scales[i] = random_activation(random);
        c->scale_offset = 0.3f;
    }
    if (s->ordered) {
        c->group_index = guarded_allocate(s->k * 4, s->side);
        for (int64_t k = 0; k < s->k; k++)
            c->group_index[k] = (int32_t)(k / c->group);
        for (int64_t k = s->k - 1; k > 0; k--) {
            const int64_t other = random_between(random, 0, k);
            const int32_t index = c->group_index[k];
            c->group_index[k] = c->group_index[other];
            c->group_index[other] = index;
        }
        c->inputs = guarded_allocate(s->k * 8, GUARD_END);
        int64_t count = 0;
        for (int64_t g = 0; g < c->num_groups; g++)
            for (int64_t k = 0; k < s->k; k++)
                if (c->group_index[k] == g)
                    c->inputs[count++] = k;
    }
}

static void *make_scales(gemm_case *c, test_random *random) {
    const gemm_shape *s = &c->shape;
    if (s->scale_type == KRN_TYPE_U8) {
        uint8_t *scales = guarded_allocate(c->num_scales, s->side);
        for (int64_t i = 0; i < c->num_scales; i++)
            scales[i] = (uint8_t)random_next(random);
        return scales;
    }
    const int32_t type = s->scale_type == 0 ? KRN_TYPE_F32 : s->scale_type;
    void *scales = guarded_allocate(c->num_scales * type_bytes(type), s->side);
    for (int64_t i = 0; i < c->num_scales; i++)
        put_float(type, scales, i, (float)random_between(random, 0, 1000) * 1e-5f);
    return scales;
}

static void make_weights(gemm_case *c, test_random *random) {
    const gemm_shape *s = &c->shape;
    const int64_t row_bytes = krn_type_row_bytes(s->format, s->k);
    c->codes_ld_bytes = row_bytes + s->slack;
    const int64_t bytes = tensor_elems(s->n, row_bytes, c->codes_ld_bytes);
    c->codes = guarded_allocate(bytes, s->side);
    /* One byte in four is extreme, so that sums reach their limits. */
    for (int64_t i = 0; i < bytes; i++) {
        const uint64_t r = random_next(random);
        c->codes[i] = (r & 0x300) == 0 ? (uint8_t)(r & 1 ? 0x80 : 0x7F) : (uint8_t)r;
    }
    c->scales = make_scales(c, random);
    if (s->format == KRN_TYPE_U4 && s->zero_type == 0) {
        c->zero_points = guarded_allocate(c->num_scales * 4, s->side);
        for (int64_t i = 0; i < c->num_scales; i++)
            c->zero_points[i] = (int32_t)random_between(random, 0, 15);
    }
    if (s->zero_type != 0) {
        c->zero_offsets = guarded_allocate(c->num_scales * type_bytes(s->zero_type), s->side);
        for (int64_t i = 0; i < c->num_scales; i++)
            put_float(s->zero_type, c->zero_offsets, i, (float)random_between(random, -900, 100) * 1e-4f);
    }
    make_tables(c, random);
}

static void make_activations(gemm_case *c, test_random *random) {
    const gemm_shape *s = &c->shape;
    krn_activations *a = &c->activations;
    *a = (krn_activations){.struct_size = sizeof *a, .type = s->activation_type, .ld = s->k + s->slack};
    const int64_t count = tensor_elems(s->m, s->k, a->ld);
    if (!is_integer_type(s->activation_type)) {
        a->data = random_floats(random, s->activation_type, count, s->side);
        return;
    }
    const int64_t bytes = tensor_elems(s->m, krn_type_row_bytes(a->type, s->k), krn_type_row_bytes(a->type, a->ld));
    uint8_t *data = guarded_allocate(bytes, s->side);
    for (int64_t i = 0; i < bytes; i++) {
        const uint64_t r = random_next(random);
        data[i] = (r & 0x300) == 0 ? (uint8_t)(r & 1 ? 0x80 : 0x7F) : (uint8_t)r;
    }
    float *scales = guarded_allocate(s->m * 4, s->side);
    int32_t *zeros = guarded_allocate(s->m * 4, s->side);
    for (int64_t i = 0; i < s->m; i++) {
        scales[i] = (float)random_between(random, 1, 1000) * 1e-4f;
        zeros[i] = (int32_t)random_between(random, 0, 255);
    }
    a->data = data;
    a->scales = scales;
    a->zero_points = s->activation_type == KRN_TYPE_U8 ? zeros : NULL;
}

gemm_case gemm_case_make(const gemm_shape *shape) {
    gemm_case c = {.shape = *shape};
    test_random random = {shape->seed};
    c.group =
        shape->group_size == 0 || (shape->group_size > shape->k && !shape->flattened) ? shape->k : shape->group_size;
    c.num_groups = c.group == 0 ? 0 : (shape->k + c.group - 1) / c.group;
    c.num_scales = shape->flattened ? (shape->n * shape->k + c.group - 1) / c.group : shape->n * c.num_groups;
    make_weights(&c, &random);
    make_activations(&c, &random);
    c.ld = shape->n + shape->slack;
    if (shape->has_bias)
        c.bias = random_floats(&random, KRN_TYPE_F32, shape->n, shape->side);
    if (shape->has_residual)
        c.residual = random_floats(&random, shape->output_type, tensor_elems(shape->m, shape->n, c.ld), shape->side);
    return c;
}

krn_weights_desc gemm_case_desc(const gemm_case *c) {
    return (krn_weights_desc){.struct_size = sizeof(krn_weights_desc),
                              .format = c->shape.format,
                              .n = c->shape.n,
                              .k = c->shape.k,
                              .group_size = c->shape.group_size,
                              .scale_type = c->shape.scale_type,
                              .zero_type = c->shape.zero_type,
                              .flattened = c->shape.flattened,
                              .ordered = c->shape.ordered,
                              .num_outliers = c->num_outliers,
                              .outlier_type = c->outlier_type};
}

krn_weights_source gemm_case_source(const gemm_case *c) {
    return (krn_weights_source){.struct_size = sizeof(krn_weights_source),
                                .high_nibble_first = c->shape.high_nibble_first,
                                .codes = c->codes,
                                .codes_ld_bytes = c->codes_ld_bytes,
                                .scales = c->scales,
                                .zero_points = c->zero_points,
                                .zero_offsets = c->zero_offsets,
                                .codebook = c->codebook,
                                .group_index = c->group_index,
                                .scale_map = c->scale_map,
                                .nested_scales = c->nested_scales,
                                .scale_offset = c->scale_offset,
                                .outlier_columns = c->outlier_columns,
                                .outlier_weights = c->outlier_weights};
}

krn_weights *gemm_case_pack(const gemm_case *c, krn_context *context) {
    const krn_weights_desc desc = gemm_case_desc(c);
    const krn_weights_source source = gemm_case_source(c);
    krn_weights *weights = NULL;
    CHECK_OK(krn_weights_pack(context, &desc, &source, &weights));
    int64_t count = -1;
    CHECK_OK(krn_weights_scale_count(&desc, &count));
    CHECK(count == c->num_scales, "%lld scales, expected %lld", (long long)count, (long long)c->num_scales);
    return weights;
}

void *gemm_case_run(const gemm_case *c, krn_context *context, const krn_weights *weights, int64_t first_row,
                    int64_t rows) {
    const gemm_shape *s = &c->shape;
    krn_activations a = c->activations;
    a.data = (const uint8_t *)a.data + first_row * krn_type_row_bytes(a.type, a.ld);
    if (a.scales != NULL)
        a.scales += first_row;
    if (a.zero_points != NULL)
        a.zero_points += first_row;
    const int64_t bytes = tensor_elems(rows, s->n, c->ld) * type_bytes(s->output_type);
    void *y = guarded_allocate(bytes, s->side);
    const uint8_t *residual = c->residual;
    if (residual != NULL)
        residual += first_row * c->ld * type_bytes(s->output_type);
    if (residual != NULL && s->residual_is_output && bytes > 0) {
        memcpy(y, residual, (size_t)bytes);
        residual = y;
    }
    const krn_gemm_output output = {.struct_size = sizeof output,
                                    .type = s->output_type,
                                    .data = y,
                                    .ld = c->ld,
                                    .bias = c->bias,
                                    .residual = residual,
                                    .residual_ld = c->ld};
    int64_t workspace_bytes = -1;
    CHECK_OK(krn_gemm_workspace_bytes(context, weights, a.type, c->options, rows, &workspace_bytes));
    /* Guarded behind: sizes are multiples of 64, so the end of the page keeps the alignment. */
    void *workspace = guarded_allocate(workspace_bytes, GUARD_END);
    CHECK_OK(krn_gemm(context, weights, rows, &a, &output, c->options, workspace, workspace_bytes));
    return y;
}

/* The group of an input within its channel. */
static int64_t group_of(const gemm_case *c, int64_t k) {
    return c->group_index != NULL ? c->group_index[k] : k / c->group;
}

static int64_t scale_index(const gemm_case *c, int64_t n, int64_t k) {
    if (c->shape.flattened)
        return (n * c->shape.k + k) / c->group;
    return n * c->num_groups + group_of(c, k);
}

double case_weight(const gemm_case *c, int64_t n, int64_t k) {
    const uint8_t *row = c->codes + n * c->codes_ld_bytes;
    if (c->shape.format == KRN_TYPE_S8)
        return (int8_t)row[k];
    const int is_high = (k % 2 == 1) != (c->shape.high_nibble_first == 1);
    const int32_t nibble = (row[k / 2] >> (is_high ? 4 : 0)) & 15;
    if (c->shape.format == KRN_TYPE_S4)
        return nibble >= 8 ? nibble - 16 : nibble;
    if (c->shape.format == KRN_TYPE_C4)
        return c->codebook[nibble];
    return c->zero_points == NULL ? nibble : nibble - c->zero_points[scale_index(c, n, k)];
}

float case_scale(const gemm_case *c, int64_t n, int64_t k) {
    const int64_t index = scale_index(c, n, k);
    if (c->shape.scale_type != KRN_TYPE_U8)
        return (float)float_element(c->shape.scale_type == 0 ? KRN_TYPE_F32 : c->shape.scale_type, c->scales, index);
    const float product = c->scale_map[((const uint8_t *)c->scales)[index]] * c->nested_scales[index / NESTED_BLOCK];
    return product + c->scale_offset;
}

float case_offset(const gemm_case *c, int64_t n, int64_t k) {
    if (c->zero_offsets == NULL)
        return 0;
    return (float)float_element(c->shape.zero_type, c->zero_offsets, scale_index(c, n, k));
}

double case_activation(const gemm_case *c, int64_t m, int64_t k) {
    const krn_activations *a = &c->activations;
    const int64_t index = m * a->ld + k;
    switch (a->type) {
    case KRN_TYPE_S8: return ((const int8_t *)a->data)[index];
    case KRN_TYPE_U8: return ((const uint8_t *)a->data)[index] - a->zero_points[m];
    case KRN_TYPE_S4: {
        const int32_t byte = ((const uint8_t *)a->data)[m * krn_type_row_bytes(KRN_TYPE_S4, a->ld) + k / 2];
        const int32_t nibble = k % 2 == 0 ? byte & 15 : byte >> 4;
        return nibble >= 8 ? nibble - 16 : nibble;
    }
    default: return float_element(a->type, a->data, index);
    }
}

/* Input of the tensor that is input i of the packed order. */
static int64_t input_of(const gemm_case *c, int64_t i) { return c->inputs != NULL ? c->inputs[i] : i; }

/* Groups in which inputs of a channel share a scale: for flattened groups those that the library splits them into. */
static int64_t summed_group(const gemm_case *c) {
    if (!c->shape.flattened || c->shape.k % c->group == 0)
        return c->group;
    int64_t a = c->shape.k, b = c->group;
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return c->shape.n == 1 ? c->group : a;
}

/* The exact sums over a group of x * w and of x. */
static void sum_group(const gemm_case *c, int64_t m, int64_t n, int64_t g, int64_t size, int64_t *acc, int64_t *x_sum) {
    *acc = *x_sum = 0;
    for (int64_t i = g * size; i < c->shape.k && i < (g + 1) * size; i++) {
        const int64_t k = input_of(c, i), x = (int64_t)case_activation(c, m, k);
        *acc += x * (int64_t)case_weight(c, n, k);
        *x_sum += x;
    }
}

float integer_oracle(const gemm_case *c, int64_t m, int64_t n) {
    const gemm_shape *s = &c->shape;
    const int64_t size = summed_group(c), groups = s->k == 0 ? 0 : (s->k + size - 1) / size;
    int64_t acc, x_sum;
    float t = 0;
    for (int64_t g = 0; g < groups && c->zero_offsets != NULL; g++) {
        sum_group(c, m, n, g, size, &acc, &x_sum);
        t = krn_fmaf((float)x_sum, case_offset(c, n, input_of(c, g * size)), t);
    }
    for (int64_t g = 0; g < groups; g++) {
        sum_group(c, m, n, g, size, &acc, &x_sum);
        t = krn_fmaf((float)acc, case_scale(c, n, input_of(c, g * size)), t);
    }
    t *= c->activations.scales[m];
    if (c->side != NULL)
        t += c->side[m * s->n + n];
    if (c->bias != NULL)
        t += c->bias[n];
    if (c->residual != NULL)
        t += (float)float_element(s->output_type, c->residual, m * c->ld + n);
    return t;
}

double float_oracle(const gemm_case *c, int64_t m, int64_t n, int bf16_entries, double *magnitude,
                    double *side_magnitude) {
    const gemm_shape *s = &c->shape;
    double t = 0;
    *magnitude = 0;
    *side_magnitude = 0;
    for (int64_t k = 0; k < s->k; k++) {
        double weight = case_weight(c, n, k);
        if (bf16_entries && c->codebook != NULL)
            weight = krn_bf16_to_f32(krn_f32_to_bf16((float)weight));
        const double product = case_activation(c, m, k) * weight * case_scale(c, n, k);
        const double offset = case_activation(c, m, k) * case_offset(c, n, k);
        t += product + offset;
        *magnitude += fabs(product) + fabs(offset);
    }
    if (c->exact_side != NULL) {
        t += c->exact_side[m * s->n + n];
        *side_magnitude = c->side_magnitude[m * s->n + n];
    }
    if (c->bias != NULL) {
        t += c->bias[n];
        *magnitude += fabs((double)c->bias[n]);
    }
    if (c->residual != NULL) {
        const double residual = float_element(s->output_type, c->residual, m * c->ld + n);
        t += residual;
        *magnitude += fabs(residual);
    }
    return t;
}
